"""Clients in processes of their own (worker.py)."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from child import HERE, Child
from limits import aio_missing


class Worker(Child):
    """``call(do, …)`` runs a method of worker.py's class over there."""

    def __init__(self, kind: str, paths: Sequence[Path]) -> None:
        super().__init__([sys.executable, HERE / "worker.py", kind, *paths])

    def order(self, do: str, **arguments: Any) -> None:
        self.send(json.dumps({"do": do, **arguments}))

    def result(self) -> Any:
        answer = json.loads(self.answer())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["ok"]

    def call(self, do: str, **arguments: Any) -> Any:
        self.order(do, **arguments)
        return self.result()


@contextmanager
def workers(kind: str, paths: Sequence[Path], count: int) -> Iterator[list[Worker]]:
    """So many, joined; at the end they leave.  Skips what this machine has no room for."""
    if reason := aio_missing(count, len(paths)):
        pytest.skip(reason)
    made: list[Worker] = []
    try:
        for _ in range(count):
            made.append(Worker(kind, paths))
        together(made, "join")
        yield made
    finally:
        for worker in made:
            worker.close()


def together(of: list[Worker], do: str, **arguments: Any) -> list[Any]:
    """The same of each at the same time."""
    for worker in of:
        worker.order(do, **arguments)
    return [worker.result() for worker in of]


def soon(seconds: float = 0.05) -> int:
    """A time at which several processes may begin together."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(seconds * 1e9)
