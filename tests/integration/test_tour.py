"""The README's tour runs as printed: its commands are typed into two terminals, and what comes is what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import clean_environment

ROOT = Path(__file__).resolve().parents[2]
OVER = "--- over"


class Terminal:
    """A shell; its output and errors together, as a person sees them."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / f".terminal-{time.monotonic_ns()}"
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                ["bash", "--norc"],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                env=clean_environment(),
                start_new_session=True,
            )
        self._read = 0
        self.type(f"over() {{ local status=$?; echo '{OVER}'; return $status; }}")

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def shown(self, lines: int, seconds: float) -> list[str]:
        """The next ``lines`` lines."""
        end = time.monotonic() + seconds
        while True:
            text = self._log.read_text()[self._read :]
            if text.count("\n") >= lines:
                break
            assert time.monotonic() < end, f"only {text!r} in {seconds} s"
            time.sleep(0.05)
        got = text.splitlines(keepends=True)[:lines]
        self._read += len("".join(got))
        return [line.rstrip("\n") for line in got]

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            os.killpg(self._process.pid, 9)
        except ProcessLookupError:
            pass
        self._process.wait()


def tour() -> list[tuple[str, str, list[str]]]:
    """(terminal, command, what it shows) of every command, in order."""
    section = (ROOT / "README.md").read_text().split("## A 60-second tour")[1].split("\n## ")[0]
    steps: list[tuple[str, str, list[str]]] = []
    blocks = re.findall(r"<!-- tour: (\w) -->\n```console\n(.*?)```", section, flags=re.DOTALL)
    assert len(blocks) == section.count("```console"), "every block says which terminal it is"
    for terminal, block in blocks:
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((terminal, line[2:], []))
            else:
                steps[-1][2].append(line)
    return steps


def plain(line: str) -> str:
    """Without what differs from run to run: numbers, times, UUIDs, the width of columns."""
    line = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", line)
    return re.sub(r"\s+", " ", re.sub(r"\d+", "N", line))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory as the README's first command leaves it."""
    environment = Path(sys.executable).parent.parent
    if (environment / "bin" / "activate").exists():
        (tmp_path / ".venv").symlink_to(environment)
    else:
        activate = tmp_path / ".venv" / "bin" / "activate"
        activate.parent.mkdir(parents=True)
        activate.write_text(f'export PATH="{Path(sys.executable).parent}:$PATH"\n')
    return tmp_path


@pytest.fixture
def terminals(folder: Path, direct_io: None) -> Iterator[dict[str, Terminal]]:
    both = {name: Terminal(folder) for name in "AB"}
    yield both
    for terminal in both.values():
        terminal.end()


@pytest.mark.timing
def test_the_tour_runs_as_printed(terminals: dict[str, Terminal], folder: Path) -> None:
    steps = tour()
    last_of_a = max(i for i, (terminal, _, _) in enumerate(steps) if terminal == "A")
    for i, (name, command, expected) in enumerate(steps):
        terminal = terminals[name]
        terminal.type(command)
        shown = terminal.shown(len(expected), 60)
        if command == "echo $?":
            assert shown == expected
        assert [*map(plain, shown)] == [*map(plain, expected)], command
        if i != last_of_a:  # that one runs until it is killed
            terminal.type("over")
            assert terminal.shown(1, 60) == [OVER], f"{command} shows more than the README says"
    assert not (folder / "locks").exists(), "nothing is left behind"
    killed = terminals["A"].shown(1, 10)[0]
    assert "Killed" in killed


def test_the_waiting_takes_as_long_as_it_says() -> None:
    """The figures in the text belong to the timings in the command."""
    section = (ROOT / "README.md").read_text().split("## A 60-second tour")[1].split("\n## ")[0]
    options = dict(re.findall(r"--(outage-tolerance|kill-grace|watchdog) (\d+)", section))
    s, k, w = (int(options[name]) for name in ("outage-tolerance", "kill-grace", "watchdog"))
    dead = (s + k + w) * 1.11 + s / 8
    assert f"free after:  {dead:.1f}s" in section
    assert f"{dead:.1f} seconds after A" in section
