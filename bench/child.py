"""Small C programs of this folder: compiled, started, told what to do line by line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).parent
BUILD = HERE / "build"


def compiled(source: Path, *libraries: str) -> Path:
    """The program made of one C file.

    :raises FileNotFoundError: no C compiler
    :raises subprocess.CalledProcessError: it does not compile
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("a C compiler (cc, gcc)")
    BUILD.mkdir(exist_ok=True)
    program = BUILD / source.stem
    made = BUILD / f"{source.stem}.{os.getpid()}"  # runs beside each other must not see half a program
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra"]
    subprocess.run([compiler, *flags, str(source), "-o", str(made), *libraries], check=True)
    made.replace(program)
    return program


class Child:
    """A process that answers each line with one line."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment} if environment is not None else None,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, line: str) -> None:
        """Tell it something; :meth:`answer` waits for what comes of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended; it says why on standard error")
        return line.rstrip("\n")

    def ask(self, line: str) -> str:
        self.send(line)
        return self.answer()

    def kill(self) -> None:
        """As a crash would end it."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Its input ends, and so does it."""
        try:
            self.process.communicate(timeout=60)
        except (BrokenPipeError, ValueError):  # it was killed; its pipes are closed
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
