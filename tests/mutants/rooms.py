#!/usr/bin/env python3
"""The rooms with a clock, a kernel and a person in them: bugs of rooms.toml, each with the test that notices it.

    tests/mutants/rooms.py                     all of them
    tests/mutants/rooms.py NAME …              these; what the test said is printed
    tests/mutants/rooms.py --record NAME …     looks through SEARCHED for a test, and notes it

`file` is below the root.  Bugs in native/io and native/host are built into a program of tests/native (`unit`), those in
native/guard and in Python run under one test of pytest (`test`), in a copy of the sources.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LEDGER = HERE / "rooms.toml"
COPIED = ("diskpaxos", "native", "tests", "pyproject.toml")
LIMIT = 120  # seconds for a test: one that hangs has noticed, too
SEARCHED = {
    "native/io": ("test_disk", "test_life"),
    "native/host": ("test_blocks", "test_host", "test_takeover"),
    "native/guard": ("tests/integration/test_run.py",),
    "diskpaxos/cli": ("tests/integration/test_run.py", "tests/unit/test_cli_parts.py"),
    "diskpaxos/rebuild": ("tests/integration/test_repair.py",),
    "diskpaxos": (
        "tests/integration/test_fork.py",
        "tests/integration/test_lease.py",
        "tests/integration/test_signals.py",
        "tests/integration/test_host.py",
        "tests/integration/test_lockspace.py",
    ),
}


@dataclass(frozen=True)
class RoomMutant:
    """One entry of rooms.toml."""

    name: str
    file: str
    old: str
    new: str
    breaks: str
    unit: str = ""
    test: str = ""

    def apply(self, text: str) -> str:
        """The source with the bug in it; ValueError: the ledger does not fit the source any more."""
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.name}: {self.old!r} is {found} times in {self.file}, not once")
        return text.replace(self.old, self.new)

    def candidates(self) -> Iterable[str]:
        """What may notice it, when nothing is recorded."""
        return next(tests for room, tests in SEARCHED.items() if self.file.startswith(room))


@dataclass(frozen=True)
class RoomVerdict:
    """What became of one."""

    mutant: RoomMutant
    killer: str  # empty: nobody noticed
    said: str


def read_rooms() -> dict[str, RoomMutant]:
    """All of them by name."""
    return {name: RoomMutant(name=name, **fields) for name, fields in tomllib.loads(LEDGER.read_text()).items()}


def prepare_rooms(base: Path, units: Iterable[str] = ()) -> None:
    """A copy of the sources, with what is built beside them."""
    ignored = shutil.ignore_patterns("__pycache__", "build*", "corpus", "crash-*")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, base / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, base / name)
    for unit in units:
        make_unit(base, unit)


def make_unit(tree: Path, unit: str) -> Path:
    folder = tree / "tests/native"
    command = ["make", "-s", "-C", str(folder), f"build/{unit}", "CFLAGS=-O0", "STRICT=-std=c11 -UNDEBUG -pthread -w"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder / "build" / unit


def linked(source: str, target: str) -> str:
    """What a compiler writes to must be a file of its own."""
    return shutil.copy2(source, target) if "/build/" in source else (os.link(source, target), target)[1]


def build_guard(tree: Path) -> None:
    sources = [str(path) for path in sorted((tree / "native/guard").glob("*.c"))]
    subprocess.run(
        ["cc", "-std=gnu11", "-O1", "-w", *sources, "-o", str(tree / "diskpaxos/_guard")],
        check=True,
        capture_output=True,
        timeout=60,
    )


def run_unit(tree: Path, unit: str) -> tuple[str, str]:
    """The test that fails of a program of tests/native, "" if none does."""
    program = str(make_unit(tree, unit))
    try:
        done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return unit, "does not end"
    failed = re.search(r": (test_\w+|\w+): failed: ", done.stderr)
    return ("" if done.returncode == 0 else failed[1] if failed else unit), done.stderr


def run_pytest(tree: Path, *tests: str) -> tuple[str, str]:
    """The first test that fails, "" if none does."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--basetemp={tree}/tmp", *tests]
    command += [] if "::" in tests[0] else ["-m", "not timing"]  # a file, to be searched: not by chance
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_STORAGE": ""}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT * len(tests)
        )
    except subprocess.TimeoutExpired:
        return tests[0], "does not end"
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{tests}: {done.stdout}{done.stderr}")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return (failed[1] if failed else "") if done.returncode else "", done.stdout


def examine_room(mutant: RoomMutant, base: Path, search: bool = False) -> RoomVerdict:
    """Builds and runs one."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(base, tree, copy_function=linked)
        source = tree / mutant.file
        text = mutant.apply(source.read_text())
        source.unlink()  # the others' is the same file
        source.write_text(text)
        if mutant.file.startswith("native/guard"):
            (tree / "diskpaxos/_guard").unlink()
            build_guard(tree)
        for test in mutant.candidates() if search else (mutant.unit or mutant.test,):
            killer, said = (run_pytest if test.startswith("tests/") else run_unit)(tree, test)
            if killer:
                return RoomVerdict(mutant, killer if test.startswith("tests/") else test, said)
        return RoomVerdict(mutant, "", "")


def examine_rooms(mutants: list[RoomMutant], jobs: int, search: bool) -> Iterator[RoomVerdict]:
    """In the order of the ledger, several at a time."""
    with tempfile.TemporaryDirectory(prefix="rooms-") as folder:
        base = Path(folder) / "base"
        native = [mutant for mutant in mutants if mutant.file.startswith(("native/io", "native/host"))]
        prepare_rooms(base, {unit for mutant in native for unit in (mutant.candidates() if search else (mutant.unit,))})
        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(lambda mutant: examine_room(mutant, base, search), mutants)


def record(verdict: RoomVerdict) -> None:
    """Notes in the ledger what noticed the mutant."""
    kind = "test" if verdict.killer.startswith("tests/") else "unit"
    head, section, rest = LEDGER.read_text().partition(f"[{verdict.mutant.name}]\n")
    entry, blank, rest = rest.partition("\n\n")
    lines = [line for line in entry.splitlines() if not line.startswith(("test = ", "unit = "))]
    lines.append(f'{kind} = "{verdict.killer}"')
    LEDGER.write_text(head + section + "\n".join(lines) + (blank + rest if blank else "\n"))


def main(arguments: list[str] | None = None) -> int:
    """Exit status: how many survived (at most 100)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--record", action="store_true", help="search anew, and note it in the ledger")
    options = parser.parse_args(arguments)
    ledger = read_rooms()
    mutants = [ledger[name] for name in options.names] or list(ledger.values())
    survivors = 0
    for verdict in examine_rooms(mutants, options.jobs, options.record):
        survivors += not verdict.killer
        if options.record and verdict.killer:
            record(verdict)
        print(f"{verdict.mutant.name}: {verdict.killer or 'SURVIVES'}", flush=True)
        if options.names and not options.record:
            print(verdict.said)
    print(f"{len(mutants)} mutants, {survivors} survivors")
    return min(survivors, 100)


if __name__ == "__main__":
    sys.exit(main())
