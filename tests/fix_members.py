"""Hosts in processes of their own, to be killed and stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from diskpaxos import Lockspace

PROGRAM = Path(__file__).with_name("member.py")


class MemberError(Exception):
    """What a call in the member raised; ``kind``: the name of its class."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class MemberProcess:
    """``call(do, …)`` runs a method of tests/member.py over there."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def call(self, do: str, **arguments: Any) -> Any:
        self.send(do, **arguments)
        return self._answer()

    def send(self, do: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise MemberError(answer["error"], answer["text"])
        return answer["ok"]

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def proceed(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.proceed()
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass


@pytest.fixture
def member() -> Iterator[Callable[[Lockspace], MemberProcess]]:
    """``member(space)``: a process that has opened the lockspace; killed at the end."""
    started: list[MemberProcess] = []

    def start(space: Lockspace) -> MemberProcess:
        started.append(MemberProcess(space.paths))
        return started[-1]

    yield start
    for process in started:
        process.end()
