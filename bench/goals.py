"""What is to be reached, as ratios within one run; and whether it was."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from measure import OURS

Info = dict[str, Any]  #: extra_info of one benchmark
Figure = Callable[[Info], float | None]
Reason = Callable[[Info], str]  #: what limits it, with the numbers of that run; "" where they say something else


@dataclass(frozen=True)
class Goal:
    """``figure`` of ``row`` is to be at most, or at least, ``bound``; ``why`` is said where it is not."""

    title: str
    row: str
    against: str
    figure: Figure
    bound: float
    most: bool
    unit: str = " ×"
    why: Reason = field(default=lambda info: "")

    def target(self) -> str:
        return f"{'≤' if self.most else '≥'} {self.bound:g}{self.unit}"

    def reached(self, value: float) -> bool:
        return value <= self.bound if self.most else value >= self.bound


def _ratio(system: str) -> Figure:
    return lambda info: info["ratios"].get(system)


def _of(system: str, name: str) -> Figure:
    return lambda info: info["values"].get(system, {}).get(name)


def _faster(name: str, *, less: bool = False) -> Figure:
    """How many times ours is theirs; with ``less``, how many times smaller it is."""

    def figure(info: Info) -> float | None:
        ours, theirs = _of(OURS, name)(info), _of("sanlock", name)(info)
        if not ours or not theirs:
            return None
        return theirs / ours if less else ours / theirs

    return figure


def _tail(info: Info) -> float | None:
    """p99 / median, ours over the floor's."""
    ours, bare = info["series"].get(OURS), info["series"].get("floor")
    if not ours or not bare:
        return None
    return float((ours["p99_us"] / ours["median_us"]) / (bare["p99_us"] / bare["median_us"]))


def _beat(info: Info) -> float | None:
    ours = info["values"].get(OURS, {})
    return (ours["read_bytes"] + ours["written_bytes"]) / 1024 if "read_bytes" in ours else None


def _storage_bound(bound: float) -> Reason:
    """Times faster than sanlock, where even the bare I/Os of ours are not much more."""

    def why(info: Info) -> str:
        bare, theirs = info["series"].get("floor"), info["series"].get("sanlock")
        if not bare or not theirs:
            return ""
        times = theirs["median_us"] / bare["median_us"]
        left = times / bound - 1
        rest = f"leave {left:.0%} for everything that is not the I/Os themselves" if left > 0 else "are out of reach"
        return (
            f"The bare I/Os alone, without any lease, were {times:.1f} times as fast as sanlock here: {bound:g} {rest}."
        )

    return why


def _rate_bound(info: Info) -> str:
    """Failover at equal times: what the allowance for wrong clock rates costs."""
    ours, theirs = info["values"].get(OURS, {}), info["values"].get("sanlock", {})
    if "nominal" not in ours or "seconds" not in theirs:
        return ""
    times = ours["outage_tolerance"] + ours["kill_grace"] + ours["watchdog"]
    beat = ours["outage_tolerance"] / 8
    rates = ours["nominal"] - times - beat
    bare = times + beat
    return (
        f"T_dead = (S + K + W) × {1 + rates / times:.2f} + S / 8 = {ours['nominal']:g} s. The factor allows for clocks "
        f"whose rates are wrong by 5 % on both sides, and costs {rates:.1f} s; sanlock counts its "
        f"{theirs['nominal']:g} s as if all clocks ran alike. Without it T_dead would be {bare:g} s, and sanlock's "
        f"{theirs['seconds']:g} s are {theirs['seconds'] / bare:.2f} times that; giving it up would weaken the "
        "protocol: a host whose clock is slow could still write when another has taken over. The rest, "
        f"S / 8 = {beat:g} s, is one heartbeat. By default S + K + W is 60 s, sanlock's 140 s."
    )


def _alone(info: Info) -> str:
    """Takings in a fight: sanlock's are one host's."""
    ours, theirs = info["values"].get(OURS, {}), info["values"].get("sanlock", {})
    if not theirs.get("takings_per_second") or not ours.get("takings_per_second"):
        return ""
    return (
        f"Of sanlock's {theirs['takings_per_second']:g} takings a second only {theirs['handovers_per_second']:g} go to "
        "another host than the one before: all the others are those of a host that goes on alone, as if there were no "
        f"fight, while the other waits, up to {theirs['wait_longest_ms'] / 1000:.1f} s. Of our "
        f"{ours['takings_per_second']:g}, {ours['handovers_per_second']:g} go to the other host. Each of those "
        "contains the pause of a waiter between two looks, 3 ms for the first in line (protocol.md, section 3a); "
        "looking more often would load the storage for every wait that lasts. Without a fight: see throughput-1."
    )


GOALS = [
    Goal("take, cached", "take-cached", "floor (W R)", _ratio("floor"), 1.25, True),
    Goal("take, cached", "take-cached", "sanlock", _ratio("sanlock"), 25, False, why=_storage_bound(25)),
    Goal("take, never seen", "take-unseen", "floor (R W R)", _ratio("floor"), 1.25, True),
    Goal("take, never seen", "take-unseen", "sanlock", _ratio("sanlock"), 18, False, why=_storage_bound(18)),
    Goal("release", "release", "floor (W)", _ratio("floor"), 1.25, True),
    Goal("release", "release", "sanlock", _ratio("sanlock"), 3, False),
    Goal("8 leases in one request", "take-8", "floor (8 W together, 8 R together)", _ratio("floor"), 1.3, True),
    Goal("8 leases in one request", "take-8", "sanlock", _ratio("sanlock"), 50, False),
    Goal("1,000 leases in one request", "take-1000", "floor (the same batch in C)", _ratio("floor"), 1.3, True),
    Goal("throughput, 8 processes", "throughput-8", "sanlock", _faster("per_second"), 15, False),
    Goal("two hosts, one lease: handovers per second", "fight-2", "sanlock", _faster("handovers_per_second"), 5, False),
    Goal(
        "two hosts, one lease: takings per second",
        "fight-2",
        "sanlock",
        _faster("takings_per_second"),
        5,
        False,
        why=_alone,
    ),
    Goal("two hosts, one lease: unfairness", "fight-2", "1 : 1", _of(OURS, "unfairness"), 1.5, True, " : 1"),
    Goal("join", "join", "sanlock", _ratio("sanlock"), 10, False),
    Goal("failover, defaults: later than T_dead", "failover-defaults", "T_dead", _of(OURS, "late"), 2, True, " s"),
    Goal("failover, defaults", "failover-defaults", "sanlock", _faster("seconds", less=True), 2, False),
    Goal(
        "failover, S + K + W = 68 s",
        "failover-equal-1",
        "sanlock",
        _faster("seconds", less=True),
        1,
        False,
        why=_rate_bound,
    ),
    Goal(
        "failover, S + K + W = 140 s",
        "failover-equal-10",
        "sanlock",
        _faster("seconds", less=True),
        1,
        False,
        why=_rate_bound,
    ),
    Goal("heartbeat, 64 hosts: a beat", "heartbeat", "64 blocks", _beat, 40, True, " KiB"),
    Goal("heartbeat, 64 hosts: a minute", "heartbeat", "sanlock", _faster("bytes_per_minute", less=True), 6, False),
    Goal("p99 / median of take", "take-cached", "the floor's own", _tail, 2, True),
]


def combined(runs: list[dict[str, Info]]) -> dict[str, Info]:
    """Each row once: its latest run, with every figure the median of all runs."""
    rows: dict[str, Info] = {}
    for name in dict.fromkeys(name for run in runs for name in run):
        found = [run[name] for run in runs if name in run]
        rows[name] = {
            **found[-1],
            **{part: _medians([info[part] for info in found]) for part in ("series", "values", "ratios")},
        }
    return rows


def _medians(found: list[Any]) -> Any:
    """Of dictionaries, key by key; of numbers; of anything else (text, lists), the last."""
    last = found[-1]
    if isinstance(last, dict):
        return {key: _medians([item[key] for item in found if key in item]) for key in last}
    if isinstance(last, int | float) and not isinstance(last, bool):
        return statistics.median(found)
    return last


def judge(runs: list[dict[str, Info]]) -> list[list[str]]:
    """Rows of a table: what, against what, target, reached (median of the runs, and their range)."""
    table = []
    for goal in GOALS:
        values = [value for run in runs if goal.row in run and (value := goal.figure(run[goal.row])) is not None]
        if not values:
            table.append([goal.title, goal.against, goal.target(), "not measured", ""])
            continue
        value = statistics.median(values)
        text = f"{value:.3g}{goal.unit}"
        if len(values) > 1:
            text += f" ({min(values):.3g} … {max(values):.3g})"
        table.append([goal.title, goal.against, goal.target(), text, "yes" if goal.reached(value) else "**no**"])
    return table


def limits_of(runs: list[dict[str, Info]]) -> list[str]:
    """Of each goal that was not reached and whose limit the figures show: what it is."""
    rows = combined(runs)
    found = []
    for goal in GOALS:
        values = [value for run in runs if goal.row in run and (value := goal.figure(run[goal.row])) is not None]
        if values and not goal.reached(statistics.median(values)) and (why := goal.why(rows[goal.row])):
            found.append(f"*{goal.title}*, {goal.target()} against {goal.against}: {why}")
    return found
