"""The floor program (floor.c): built, started, and told what to do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

HERE = Path(__file__).parent
BUILD = HERE / "build"


def build() -> Path:
    """Compile the program; its path.

    :raises FileNotFoundError: no C compiler
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("a C compiler (cc, gcc)")
    BUILD.mkdir(exist_ok=True)
    program = BUILD / "floor"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra"]
    subprocess.run([compiler, *flags, str(HERE / "floor.c"), "-o", str(program)], check=True)
    return program


class Floor:
    """Bare I/Os on one file, one operation at a time, timed by the program itself."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen([build(), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, at: int, *, count: int = 1, step: int = 0, write: int = 0, read: int = 0) -> float:
        """Seconds for ``count`` writes and then ``count`` reads of so many bytes, ``step`` apart."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count} {at} {step} {write} {read}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the floor program ended; it says why on standard error")
        return int(answer) / 1e9

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def __enter__(self) -> Floor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Measure(Protocol):
    """Alternates an operation with its floor; ``between`` prepares the operation, untimed."""

    def __call__(
        self,
        operation: Callable[[], object],
        floor_operation: Callable[[], float],
        between: Callable[[], object] = lambda: None,
        rounds: int | None = None,
    ) -> None: ...
