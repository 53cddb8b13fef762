#!/usr/bin/env python3
"""Builds the simulator with one safety bug after the other and says what noticed it.

    tests/mutants/run.py                     all of ledger.toml
    tests/mutants/run.py NAME …              these; the command that reproduces each is printed
    tests/mutants/run.py --keep DIR NAME     leaves sources and simulator in DIR
    tests/mutants/run.py --record [NAME …]   searches from seed 1 and notes in the ledger what was found

A mutant is killed by the first history that violates something, or by the tests of the machines
(tests/native) where histories do not notice it.  The ledger names a history or a test that does;
should that one have changed with the code, others are searched.  The sources are copied, changed
in one place, and built: nothing of this exists in a release.
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
UNIT_TESTS = (
    "test_lease_rules",
    "test_own_rules",
    "test_death_rules",
    "test_slot_rules",
    "test_claim_rules",
    "test_notice_rules",
    "test_note_rules",
    "test_sightings",
    "test_sightings_file",
    "test_marks",
    "test_protocol",
)
FLAGS = "CFLAGS=-O1 -w"  # a mutant runs few histories: what it costs is its compiler
_VIOLATION = re.compile(r"VIOLATION \((.+?)\) (.*)\n\s+(simulate --seed \d+)")
_FAILED = re.compile(r": (test_\w+): failed: ")
_HISTORIES = re.compile(r"^histories (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """One entry of the ledger."""

    name: str
    rule: str
    file: str  # below native/, or below the root: the simulated host room is one, too
    old: str
    new: str
    breaks: str
    after: str = ""
    seed: int = 0  # a history that notices it; recorded: the first one from seed 1
    unit: str = ""  # … or a program of tests/native that does

    def source(self, tree: Path) -> Path:
        """Where the bug goes."""
        return tree / self.file if self.file.startswith("tests/") else tree / "native" / self.file

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
    seed: int = 0
    unit: str = ""


def read_ledger() -> dict[str, Mutant]:
    """All mutants by name."""
    entries = tomllib.loads(LEDGER.read_text())
    return {name: Mutant(name=name, **fields) for name, fields in entries.items()}


def make(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["make", "-s", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def build_unit_test(base: Path, name: str) -> Path:
    make(base / NATIVE_TESTS, "-j2", f"build/{name}", "CFLAGS=-O0", "STRICT=-std=c11 -UNDEBUG -pthread -w")
    return base / NATIVE_TESTS / "build" / name


def prepare(base: Path) -> None:
    """A copy of the sources with everything built, for others to start from."""
    for folder in ("native/format", "native/protocol", "native/io", "native/host", SIMULATION, NATIVE_TESTS):
        shutil.copytree(ROOT / folder, base / folder, ignore=shutil.ignore_patterns("build*", "__pycache__"))
    make(base / SIMULATION, f"-j{os.cpu_count()}", FLAGS)
    for name in UNIT_TESTS:
        build_unit_test(base, name)


def simulate(mutant: Mutant, tree: Path, first: int, histories: int) -> Verdict | None:
    """Histories until one of them notices."""
    program = tree / SIMULATION / "build/simulate"
    arguments = ["--seed", str(first), "--histories", str(histories)]
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=900)
    except subprocess.TimeoutExpired:
        return Verdict(mutant, "does not end", 0, "")
    found_after = _HISTORIES.search(done.stdout)
    count = int(found_after[1]) if found_after else 0
    seed = first + count - 1
    if found := _VIOLATION.search(done.stdout):
        return Verdict(mutant, found[1], count, f"{found[3]} --trace: {found[2]}", seed=seed)
    if done.returncode:
        return Verdict(mutant, "crash", count, done.stdout.strip().splitlines()[-1], seed=seed)
    return None


def unit_test(mutant: Mutant, tree: Path, name: str) -> Verdict | None:
    """One of the machines' own tests."""
    program = build_unit_test(tree, name)
    try:
        done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return Verdict(mutant, name, 0, "does not end", unit=name)
    if done.returncode == 0:
        return None
    failed = _FAILED.search(done.stderr)
    return Verdict(mutant, f"`{failed[1]}`" if failed else name, 0, done.stderr.partition("\n")[0], unit=name)


def attempts(mutant: Mutant, tree: Path, options: argparse.Namespace) -> Iterator[Verdict | None]:
    """What is known to notice it; then whatever may."""
    if mutant.seed and not options.record:
        yield simulate(mutant, tree, mutant.seed, 1)
    if mutant.unit and not options.record:
        yield unit_test(mutant, tree, mutant.unit)
    yield simulate(mutant, tree, options.seed, options.histories)
    for name in dict.fromkeys((*UNIT_TESTS, *filter(None, [mutant.unit]))):
        yield unit_test(mutant, tree, name)


def examine(mutant: Mutant, base: Path, options: argparse.Namespace) -> Verdict:
    """Builds and runs one mutant."""
    scratch = Path(options.keep) if options.keep else Path(tempfile.mkdtemp(prefix="mutant-"))
    tree = scratch / mutant.name
    try:
        shutil.copytree(base, tree, copy_function=shutil.copy2)
        source = mutant.source(tree)
        source.write_text(mutant.apply(source.read_text()))
        make(tree / SIMULATION, "-j2" if mutant.file.endswith(".h") else "-j1", FLAGS)
        found = next(filter(None, attempts(mutant, tree, options)), None)
        return found or Verdict(mutant, "", options.histories, "")
    finally:
        if not options.keep:
            shutil.rmtree(scratch)


def sound(base: Path) -> Verdict | None:
    """Without any mutant nothing is to be noticed."""
    nothing = Mutant("none", "", "", "", "", "")
    checks = (unit_test(nothing, base, name) for name in UNIT_TESTS)
    return simulate(nothing, base, 1, 500) or next(filter(None, checks), None)


def record(verdict: Verdict) -> None:
    """Notes in the ledger what noticed the mutant."""
    note = f"seed = {verdict.seed}\n" if verdict.seed else f'unit = "{verdict.unit}"\n' if verdict.unit else ""
    head, section, rest = LEDGER.read_text().partition(f"[{verdict.mutant.name}]\n")
    entry, blank, rest = rest.partition("\n\n")
    entry = re.sub(r"^(seed|unit) = .*\n?", "", entry.rstrip("\n") + "\n", flags=re.MULTILINE)
    LEDGER.write_text(head + section + (entry + note).rstrip("\n") + (blank + rest if blank else "\n"))


def examine_all(mutants: list[Mutant], options: argparse.Namespace) -> Iterator[Verdict]:
    """In the order of the ledger, several at a time."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        base = Path(folder) / "base"
        prepare(base)
        if whole := sound(base):
            raise SystemExit(f"histories fail without any mutant: {whole.detail}")
        with ThreadPoolExecutor(options.jobs) as pool:
            yield from pool.map(lambda mutant: examine(mutant, base, options), mutants)


def row(verdict: Verdict) -> str:
    mutant = verdict.mutant
    killer = verdict.killer or f"**survives** {verdict.histories} histories"
    count = "–"
    if verdict.killer and verdict.seed:
        count = f"{verdict.histories} (seed {verdict.seed})"
    return f"| `{mutant.name}` | {mutant.rule} | {mutant.breaks} | {killer} | {count} |"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--histories", type=int, default=20_000, help="at most, for each")
    parser.add_argument("--seed", type=int, default=1, help="of the first history")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 8))
    parser.add_argument("--record", action="store_true", help="search anew, and note it in the ledger")
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
        survivors += not verdict.killer
        if options.record:
            record(verdict)
        print(row(verdict), flush=True)
        if options.names and verdict.detail:
            print(f"\n{verdict.detail}\n")
    print(f"\n{len(mutants)} mutants, {survivors} survivors")
    return min(survivors, 100)


if __name__ == "__main__":
    sys.exit(main())
