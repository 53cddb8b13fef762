"""What is kept of a measurement: of each system a latency distribution, or some named values, as
``extra_info`` in pytest-benchmark's JSON.  report.py reads it.

    row       what was measured, like "take-cached"
    client    how diskpaxos was reached, like "embedded"
    series    per system (diskpaxos, floor, sanlock): median_us, p99_us, count, quantiles_us (0 … 100 %)
    values    per system: other figures, by name
    ratios    floor: our median / the floor's; sanlock: its median / ours (how many times faster)
    absent    per peer that could not be measured: why
    note      how to read it
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

OURS = "diskpaxos"
Timed = Callable[[], float]  #: does it once, says how many seconds that took


def series(seconds: Sequence[float]) -> dict[str, Any]:
    """A distribution, small enough to be kept."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {
        "count": len(ordered),
        "median_us": round(statistics.median(ordered) * 1e6, 1),
        "p99_us": round(ordered[min(last, int(len(ordered) * 0.99))] * 1e6, 1),
        "quantiles_us": [round(ordered[round(last * i / 100)] * 1e6, 1) for i in range(101)],
    }


class Record:
    """Fills one benchmark's ``extra_info``."""

    def __init__(self, info: dict[str, Any], client: str, absent: dict[str, str]) -> None:
        self.info = info
        info.update(client=client, absent=absent, series={}, values={}, ratios={})

    def row(self, name: str, note: str = "") -> None:
        self.info.update(row=name, note=note)

    def times(self, **seconds: Sequence[float]) -> None:
        """Latencies by system; those of ours are compared with every other's."""
        kept = self.info["series"]
        kept.update((system, series(values)) for system, values in seconds.items() if values)
        ours = kept.get(OURS)
        for system, theirs in kept.items():
            if ours is None or system == OURS:
                continue
            ratio = ours["median_us"] / theirs["median_us"]
            self.info["ratios"][system] = round(ratio if system == "floor" else 1 / ratio, 3)

    def values(self, system: str, **figures: Any) -> None:
        self.info["values"].setdefault(system, {}).update(figures)


def io_bytes(pid: int) -> tuple[int, int]:
    """Bytes that a process has read from and written to storage so far."""
    counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(counts["read_bytes"]), int(counts["write_bytes"])


def io_of(pid: int, operation: Callable[[], object], undo: Callable[[], object], tries: int = 5) -> tuple[int, int]:
    """Bytes read and written by one operation; a heartbeat in between can only add, so: the least."""
    seen = []
    for _ in range(tries):
        before = io_bytes(pid)
        operation()
        after = io_bytes(pid)
        undo()
        seen.append((after[0] - before[0], after[1] - before[1]))
    return min(seen)
