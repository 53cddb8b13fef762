#!/usr/bin/env python3
"""The rooms with a clock, a kernel and a person in them: bugs of rooms.toml, each with the test that notices it.

    tests/mutants/rooms.py                     all of them
    tests/mutants/rooms.py NAME …              these; what the test said is printed
    tests/mutants/rooms.py --record NAME …     looks through SEARCHED for a test, and notes it

`file` is below the root.  `unit` is a program of tests/native, or one test of it ("test_host:forked_child"); `test` is
one of pytest, for bugs in Python, in native/guard, and in what the extension is built of (the binding and all C rooms
below it).  Everything is built once, in a copy of the sources; a bug costs the object that it is in.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
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
FLAGS = ("CFLAGS=-O0 -fPIC", "STRICT=-std=c11 -UNDEBUG -pthread -w")
CORE_ROOMS = ("format", "protocol", "io", "host")
BINDING = re.compile(r"native/\w+\.py[xd]")
SEARCHED = {
    "native/io": ("test_disk", "test_life"),
    "native/host": ("test_blocks", "test_host", "test_batches", "test_memberships", "test_takeover", "test_replaced"),
    "native/guard": ("tests/integration/test_run.py",),
    "native/": (
        "tests/integration/test_fork.py",
        "tests/integration/test_lease.py",
        "tests/integration/test_signals.py",
        "tests/integration/test_host.py",
    ),
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

    def core(self) -> bool:
        """Is it in what the extension is built of, and noticed by a test of Python?"""
        below = self.file.startswith(tuple(f"native/{room}/" for room in CORE_ROOMS))
        return bool(BINDING.fullmatch(self.file)) or (below and bool(self.test))


@dataclass(frozen=True)
class RoomVerdict:
    """What became of one."""

    mutant: RoomMutant
    killer: str  # empty: nobody noticed
    said: str
    seconds: float


def read_rooms() -> dict[str, RoomMutant]:
    """All of them by name."""
    return {name: RoomMutant(name=name, **fields) for name, fields in tomllib.loads(LEDGER.read_text()).items()}


def prepare_rooms(base: Path, mutants: Iterable[RoomMutant]) -> None:
    """A copy of the sources, with all that is built of them."""
    ignored = shutil.ignore_patterns("__pycache__", "build*", "corpus", "crash-*")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, base / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, base / name)
    mutants = list(mutants)
    programs = {mutant.unit.partition(":")[0] for mutant in mutants if mutant.unit}
    make(base, *sorted(f"build/{program}" for program in programs))
    if any(mutant.core() for mutant in mutants):
        build_core(base)


def make(tree: Path, *targets: str) -> None:
    """Of tests/native, with flags that suit its programs and the extension."""
    if targets:
        command = ["make", "-s", f"-j{os.cpu_count()}", "-C", str(tree / "tests/native"), *FLAGS, *targets]
        subprocess.run(command, check=True, capture_output=True, text=True)


def build_core(tree: Path) -> None:
    """The extension, of the same objects as the programs of tests/native."""
    native, out = tree / "native", tree / "tests/native/build"
    sources = [path for room in CORE_ROOMS for path in sorted((native / room).glob("*.c"))]
    objects = [out / path.relative_to(native).with_suffix(".o") for path in sources]
    make(tree, *(str(path.relative_to(tree / "tests/native")) for path in objects))
    generated, binding = out / "core.c", out / "core.o"
    newest = max(path.stat().st_mtime_ns for path in native.glob("*.py[xd]"))
    if not binding.exists() or binding.stat().st_mtime_ns < newest:
        cython = [sys.executable, "-m", "cython", "--module-name", "diskpaxos._core", "-3", "-I", str(native)]
        subprocess.run(
            [*cython, "-o", str(generated), str(native / "core.pyx")], check=True, capture_output=True, text=True
        )
        headers = [f"-I{native}", f"-I{sysconfig.get_paths()['include']}"]
        compiler = ["cc", "-std=c11", "-O0", "-UNDEBUG", "-w", "-fPIC", "-pthread", *headers]
        subprocess.run([*compiler, "-c", str(generated), "-o", str(binding)], check=True, capture_output=True)
    target = tree / "diskpaxos" / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    target.unlink(missing_ok=True)
    command = ["cc", "-shared", "-pthread", *map(str, objects), str(binding), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True)


def linked(source: str, target: str) -> str:
    """What a compiler writes to must be a file of its own."""
    return shutil.copy2(source, target) if "/build/" in source else (os.link(source, target), target)[1]


def link_tree(base: Path, tree: Path) -> Path:
    """A copy that costs nothing but what is written in it."""
    return Path(shutil.copytree(base, tree, copy_function=linked))


def build_guard(tree: Path) -> None:
    sources = [str(path) for path in sorted((tree / "native/guard").glob("*.c"))]
    subprocess.run(
        ["cc", "-std=gnu11", "-O1", "-w", *sources, "-o", str(tree / "diskpaxos/_guard")],
        check=True,
        capture_output=True,
        timeout=60,
    )


def run_unit(tree: Path, unit: str) -> tuple[str, str]:
    """The test that fails of a program of tests/native ("program:test" runs only that one), "" if none does."""
    program, _, only = unit.partition(":")
    make(tree, f"build/{program}")
    environment = os.environ | ({"CHECK_ONLY": only} if only else {})
    command = [str(tree / "tests/native/build" / program)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return unit, "does not end"
    if done.returncode == 64:  # there is no such test
        raise RuntimeError(f"{unit}: {done.stdout}{done.stderr}")
    failed = re.search(r": (\w+): failed: ", done.stderr)
    return ("" if done.returncode == 0 else f"{program}:{failed[1]}" if failed else unit), done.stdout + done.stderr


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
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = link_tree(base, Path(folder) / "tree")
        source = tree / mutant.file
        text = mutant.apply(source.read_text())
        source.unlink()  # the others' is the same file
        source.write_text(text)
        if mutant.file.startswith("native/guard"):
            (tree / "diskpaxos/_guard").unlink()
            build_guard(tree)
        elif mutant.core():
            build_core(tree)
        said = ""
        for test in mutant.candidates() if search else (mutant.unit or mutant.test,):
            killer, said = (run_pytest if test.startswith("tests/") else run_unit)(tree, test)
            if killer:
                return RoomVerdict(mutant, killer, said, time.monotonic() - begin)
        return RoomVerdict(mutant, "", said, time.monotonic() - begin)


def examine_rooms(mutants: list[RoomMutant], jobs: int, search: bool) -> Iterator[RoomVerdict]:
    """In the order of the ledger, several at a time."""
    with tempfile.TemporaryDirectory(prefix="rooms-") as folder:
        base = Path(folder) / "base"
        prepare_rooms(base, mutants)
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
        print(f"{verdict.mutant.name}: {verdict.killer or 'SURVIVES'} ({verdict.seconds:.1f} s)", flush=True)
        if options.names and not options.record:
            print(verdict.said)
    print(f"{len(mutants)} mutants, {survivors} survivors")
    return min(survivors, 100)


if __name__ == "__main__":
    sys.exit(main())
