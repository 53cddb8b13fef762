"""A cell of the guarded disk: the sector that only the holder of its lease may write.

A holder reads the cell with O_DIRECT, then writes it, with its fencing token, a number that counts its writes, and
what it had just read there.  So the cells alone show, without any clock, whether somebody wrote between two writes of
one holder.
"""

from __future__ import annotations

import json
import mmap
import os
import time
from typing import Any

SECTOR = 512
APART = 4096  # bytes from cell to cell: no layer below may ever write two of them in one piece
LEASES = ("run", "library")  # the lease of cell 0, of cell 1


def parse(sector: bytes) -> dict[str, Any] | None:
    """What a holder wrote there; None: nobody wrote yet, or the sector is torn."""
    try:
        content = json.loads(sector)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


class Cell:
    """The cell of one lease, for one session of one holder."""

    def __init__(self, path: str, lease: str, token: int, host: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
        self._buffer = mmap.mmap(-1, 4096)
        self._offset = LEASES.index(lease) * APART
        self.session = f"{host}/{os.getpid()}/{time.clock_gettime_ns(time.CLOCK_BOOTTIME)}"
        self._mine = {"lease": lease, "token": token, "host": host, "session": self.session}
        self.writes = 0

    def write(self) -> None:
        """Read the cell, and write it."""
        view = memoryview(self._buffer)[:SECTOR]
        os.preadv(self._fd, [view], self._offset)
        before = parse(bytes(view)) or {}
        self.writes += 1
        boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
        saw = {"saw": before.get("token", 0), "saw_session": before.get("session", "")}
        text = json.dumps({**self._mine, "n": self.writes, "boottime": round(boottime, 3), **saw}).encode()
        view[:] = text.ljust(SECTOR)
        os.pwritev(self._fd, [view], self._offset)

    def close(self) -> None:
        os.close(self._fd)


class Log:
    """A holder's own account: lines of JSON in a folder outside of the guest, which see every end of it."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def tell(self, event: str, **more: Any) -> None:
        boottime = round(time.clock_gettime(time.CLOCK_BOOTTIME), 3)
        line = json.dumps({"event": event, "pid": os.getpid(), "boottime": boottime, **more}) + "\n"
        os.write(self._fd, line.encode())  # at once and whole


class Pace:
    """Sleeps between writes, and tells when that took much longer than asked: a late processor."""

    LATE = 1.0  # seconds

    def __init__(self, log: Log, pause: float) -> None:
        self._log, self._pause = log, pause

    def sleep(self) -> None:
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        time.sleep(self._pause)
        late = time.clock_gettime(time.CLOCK_BOOTTIME) - began - self._pause
        if late > self.LATE:
            self._log.tell("late", by=round(late, 3))
