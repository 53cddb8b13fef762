#!/usr/bin/env python3
"""Builds the simulator with one safety bug after the other and says what noticed it.

    tests/mutants/run.py                     all of ledger.toml
    tests/mutants/run.py NAME …              these; the command that reproduces each is printed
    tests/mutants/run.py --keep DIR NAME     leaves sources and simulator in DIR

A mutant is killed by the first history that violates something, or by the unit tests of the
machines (tests/native/test_*_rules.c, test_marks.c, test_protocol.c) where histories do not notice it.  The sources are
copied, changed in one place, and built: nothing of this exists in a release.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LEDGER = HERE / "ledger.toml"
SIMULATION = Path("tests/simulation")
NATIVE_TESTS = Path("tests/native")
MACHINE_TESTS = ("test_lease_rules", "test_slot_rules", "test_marks", "test_protocol")
_VIOLATION = re.compile(r"VIOLATION \((.+?)\) (.*)\n\s+(simulate --seed \d+)")
_FAILED = re.compile(r": (test_\w+): failed: ")
_HISTORIES = re.compile(r"^histories (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """One entry of the ledger."""

    name: str
    rule: str
    file: str
    old: str
    new: str
    breaks: str
    after: str = ""
    seed: int = 0  # a history that notices it, where few do
    survives: str = ""

    def apply(self, text: str) -> str:
        """The source with the bug in it; ValueError: the ledger does not fit the source any more."""
        start = text.index(self.after) + len(self.after) if self.after else 0
        at = text.index(self.old, start)
        if not self.after and text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} is not unique in {self.file}")
        if "\n" in self.old + self.new:
            raise ValueError(f"{self.name}: more than one line")
        return text[:at] + self.new + text[at + len(self.old) :]


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    killer: str  # empty: nobody noticed
    histories: int
    detail: str


def read_ledger() -> dict[str, Mutant]:
    """All mutants by name."""
    entries = tomllib.loads(LEDGER.read_text())
    return {name: Mutant(name=name, **fields) for name, fields in entries.items()}


def make(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["make", "-s", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def prepare(base: Path) -> None:
    """A copy of the sources with everything built, for others to start from."""
    for folder in (Path("native/format"), Path("native/protocol"), SIMULATION, NATIVE_TESTS):
        shutil.copytree(ROOT / folder, base / folder, ignore=shutil.ignore_patterns("build*", "__pycache__"))
    for folder in ("native/io", "native/host"):
        shutil.copytree(ROOT / folder, base / folder)
    make(base / SIMULATION, f"-j{os.cpu_count()}")


def simulate(mutant: Mutant, tree: Path, options: argparse.Namespace) -> Verdict | None:
    """Histories until one of them notices."""
    make(tree / SIMULATION, "-j2" if mutant.file.endswith(".h") else "-j1", "CFLAGS=-O2 -g -Wno-error")
    program = tree / SIMULATION / "build/simulate"
    arguments = ["--seed", str(mutant.seed or options.seed), "--histories", str(options.histories)]
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=600)
    except subprocess.TimeoutExpired:
        return Verdict(mutant, "does not end", 0, "")
    histories = _HISTORIES.search(done.stdout)
    count = int(histories[1]) if histories else 0
    if found := _VIOLATION.search(done.stdout):
        return Verdict(mutant, found[1], count, f"{found[3]} --trace: {found[2]}")
    if done.returncode:
        return Verdict(mutant, "crash", count, done.stdout.strip().splitlines()[-1])
    return None


def unit_tests(mutant: Mutant, tree: Path) -> Verdict | None:
    """The machines' own tests."""
    folder = tree / NATIVE_TESTS
    make(folder, *(f"build/{test}" for test in MACHINE_TESTS), "STRICT=-std=c11 -UNDEBUG -pthread")
    for test in MACHINE_TESTS:
        done = subprocess.run([folder / "build" / test], capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            failed = _FAILED.search(done.stderr)
            return Verdict(mutant, f"`{failed[1]}`" if failed else test, 0, done.stderr.partition("\n")[0])
    return None


def examine(mutant: Mutant, base: Path, options: argparse.Namespace) -> Verdict:
    """Builds and runs one mutant."""
    scratch = Path(options.keep) if options.keep else Path(tempfile.mkdtemp(prefix="mutant-"))
    tree = scratch / mutant.name
    try:
        shutil.copytree(base, tree, copy_function=shutil.copy2)
        source = tree / "native" / mutant.file
        source.write_text(mutant.apply(source.read_text()))
        return simulate(mutant, tree, options) or unit_tests(mutant, tree) or Verdict(mutant, "", options.histories, "")
    finally:
        if not options.keep:
            shutil.rmtree(scratch)


def examine_all(mutants: list[Mutant], options: argparse.Namespace) -> Iterator[Verdict]:
    """In the order of the ledger, several at a time."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        base = Path(folder) / "base"
        prepare(base)
        if whole := simulate(Mutant("none", "", "protocol/world.c", "", "", ""), base, options):
            raise SystemExit(f"histories fail without any mutant: {whole.detail}")
        with ThreadPoolExecutor(options.jobs) as pool:
            yield from pool.map(lambda mutant: examine(mutant, base, options), mutants)


def row(verdict: Verdict) -> str:
    mutant = verdict.mutant
    killer = verdict.killer or ("**survives**: " + (mutant.survives or "a check is missing"))
    count = str(verdict.histories) if verdict.histories and verdict.killer else "–"
    if verdict.killer and mutant.seed:
        count = f"seed {mutant.seed}"
    return f"| `{mutant.name}` | {mutant.rule} | {mutant.breaks} | {killer} | {count} |"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--histories", type=int, default=20_000, help="at most, for each")
    parser.add_argument("--seed", type=int, default=1, help="of the first history")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 8))
    parser.add_argument("--keep", metavar="DIR", help="leave sources and programs there")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: how many survived (at most 100)."""
    options = parse(arguments)
    ledger = read_ledger()
    mutants = [ledger[name] for name in options.names] or list(ledger.values())
    survivors = 0
    print("| mutant | rule | what is broken | killed by | after histories |")
    print("| --- | --- | --- | --- | ---: |", flush=True)
    for verdict in examine_all(mutants, options):
        survivors += not verdict.killer and not verdict.mutant.survives
        print(row(verdict), flush=True)
        if options.names and verdict.detail:
            print(f"\n{verdict.detail}\n")
    print(f"\n{len(mutants)} mutants, {survivors} unexpected survivors")
    return min(survivors, 100)


if __name__ == "__main__":
    sys.exit(main())
