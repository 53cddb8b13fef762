"""The observer outside of the guests: sees the cells, the holders' logs and, on the shared disk, the heartbeats.

All of it goes to the history, with this machine's time.  Cells are read every few milliseconds with O_DIRECT; what is
missed shows in the numbers of the writes.
"""

from __future__ import annotations

import json
import mmap
import os
import threading
import time
from pathlib import Path

import diskpaxos
from diskpaxos import DiskPaxosError
from lab.history import Beat, Event, Told, Write, encode
from lab.holders.cell import APART, LEASES, SECTOR, parse

CELLS_EVERY = 0.003
LOGS_EVERY = 0.02
BEATS_EVERY = 0.1
_FIELDS = ("host", "holder", "event", "lease", "token", "pid")


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Observer:
    """Runs from ``start`` to ``stop``; ``events`` is the history so far."""

    def __init__(self, guard: Path, logs: Path, history: Path, shared: Path | None) -> None:
        self._guard, self._logs, self._shared = guard, logs, shared
        self.history = history
        self._file = history.open("a", buffering=1)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.events: list[Event] = []
        self.last_write: dict[str, Write] = {}
        self.last_told: dict[tuple[str, str], Told] = {}
        self.trouble: BaseException | None = None
        jobs = [self._watch_cells, self._watch_logs] + ([self._watch_beats] if shared else [])
        self._threads = [threading.Thread(target=self._guarded, args=(job,), daemon=True) for job in jobs]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._file.close()

    def add(self, event: Event) -> None:
        """One more line of the history."""
        with self._lock:
            self.events.append(event)
            self._file.write(encode(event) + "\n")

    def since(self, at: float) -> list[Event]:
        """What was seen from then on."""
        with self._lock:
            return [event for event in self.events if event.at >= at]

    def holder(self, lease: str) -> Write | None:
        """Who writes its cell these days."""
        write = self.last_write.get(lease)
        return write if write is not None and now() - write.at < 1.0 else None

    def _guarded(self, job: object) -> None:
        assert callable(job)
        try:
            job()
        except BaseException as error:
            self.trouble = error
            raise

    def _watch_cells(self) -> None:
        fd = os.open(self._guard, os.O_RDONLY | os.O_DIRECT)
        buffer = mmap.mmap(-1, len(LEASES) * APART)
        before = [b""] * len(LEASES)
        while not self._over.wait(CELLS_EVERY):
            os.preadv(fd, [buffer], 0)
            at = now()
            for i, lease in enumerate(LEASES):
                sector = buffer[i * APART : i * APART + SECTOR]
                if sector == before[i] or (content := parse(sector)) is None:
                    continue
                before[i] = sector
                content.pop("boottime")
                write = self.last_write[lease] = Write(at, **content)
                self.add(write)
        os.close(fd)

    def _watch_logs(self) -> None:
        places: dict[Path, int] = {}
        while not self._over.wait(LOGS_EVERY):
            for path in self._logs.glob("*.jsonl"):
                with path.open("rb") as file:
                    file.seek(places.get(path, 0))
                    lines = file.read()
                at = now()
                whole = lines[: lines.rfind(b"\n") + 1]
                places[path] = places.get(path, 0) + len(whole)
                for line in whole.splitlines():
                    self._tell(at, path.stem, json.loads(line))

    def _tell(self, at: float, stem: str, line: dict[str, object]) -> None:
        host, holder = stem.split("-")
        fields = {name: line.pop(name) for name in _FIELDS if name in line}
        told = Told(at, host, holder, more=line, **fields)  # type: ignore[arg-type]
        self.last_told[host, holder] = told
        self.add(told)

    def _watch_beats(self) -> None:
        assert self._shared is not None
        seen: dict[int, tuple[int, int]] = {}
        with diskpaxos.Lockspace.open(str(self._shared), read_only=True) as space:
            while not self._over.wait(BEATS_EVERY):
                try:
                    hosts = space.hosts()
                except DiskPaxosError:
                    continue  # the machine is busy; the next look comes at once
                at = now()
                for host in hosts:
                    move = (host.generation, host.counter)
                    if host.liveness != "free" and seen.get(host.slot) != move:
                        seen[host.slot] = move
                        self.add(Beat(at, host.name, host.slot, *move))
