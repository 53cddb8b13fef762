"""A client in a process of its own, driven line by line: what sanlock_client.c is for sanlock.

    worker.py CLIENT PATH...

Each line on standard input is a JSON object {"do": name, ...}; each gets one JSON line in answer,
{"ok": value} or {"error": text}.  Times in nanoseconds of CLOCK_BOOTTIME.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from clients import CLIENTS, Client

import diskpaxos


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def sleep_until(when: int) -> None:
    while (left := when - now()) > 0:
        time.sleep(left / 1e9)


class Worker:
    def __init__(self, kind: str, *paths: str) -> None:
        self.kind = kind
        self.paths = [Path(path) for path in paths]
        self.client: Client | None = None
        self.held: Any = None

    def use(self) -> Client:
        assert self.client is not None
        return self.client

    def join(self) -> float:
        """Seconds."""
        begin = now()
        self.client = CLIENTS[self.kind](self.paths)
        return (now() - begin) / 1e9

    def create(self, names: list[str]) -> None:
        self.use().create(names)

    def take(self, names: list[str], timeout: float | None = 0) -> tuple[int, int]:
        begin = now()
        self.held = self.use().take(names, timeout=timeout)
        return begin, now()

    def release(self) -> tuple[int, int]:
        begin = now()
        self.use().release(self.held)
        return begin, now()

    def at(self, name: str, start: int) -> tuple[bool, int, int]:
        """Try to take at that time: whether it was given, when asked, when told."""
        sleep_until(start)
        begin = now()
        try:
            self.held = self.use().take([name])
        except diskpaxos.errors.HeldError:
            return False, begin, now()
        return True, begin, now()

    def fight(self, name: str, start: int, end: int) -> list[tuple[int, int, int]]:
        """From start to end: take, release, again.  Of each taking: first tried, had, release begun."""
        client = self.use()
        takings = []
        sleep_until(start)
        while (begin := now()) < end:
            try:
                held = client.take([name], timeout=(end - begin) / 1e9)
            except (diskpaxos.errors.HeldError, diskpaxos.errors.WaitTimeoutError):
                continue  # the end has come
            had = now()
            takings.append((begin, had, now()))
            client.release(held)
        return takings

    def io(self) -> dict[str, int]:
        """Bytes that this process read from and wrote to storage so far."""
        text = Path("/proc/self/io").read_text()
        counts = {key: int(value) for key, value in (line.split(": ") for line in text.splitlines())}
        return {"read": counts["read_bytes"], "written": counts["write_bytes"]}

    def leave(self) -> None:
        if self.client is not None:
            self.client.leave()
            self.client = None


def main() -> None:
    worker = Worker(*sys.argv[1:])
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"ok": getattr(worker, order.pop("do"))(**order)}
        except diskpaxos.DiskPaxosError as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    worker.leave()


if __name__ == "__main__":
    main()
