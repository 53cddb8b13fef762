"""Holds the compiled core to the rules of rounds.pml, in simulated histories.

    python3 tests/model/trace.py                              # 1,000 histories
    python3 tests/model/trace.py --histories 100000 --seed 1
    python3 tests/model/trace.py --mutant void-hides-a-taking # a core with a bug of tests/mutants/ledger.toml
    python3 tests/model/trace.py --without NO_L7              # the model without a rule

record.c is linked around the simulator and writes down what the lease rounds of the core are shown, write
and decide; Spin compiles trace.pml, which replays that through the very inlines (round_rules.pml) that
rounds.pml searches exhaustively.  Exit status 1: the two differ, and the first differences are printed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SIMULATION = Path("tests/simulation")
WRAPPED = (
    "dpx_view_scan",
    "dpx_judge_learn",
    "dpx_judge",
    "dpx_content_raise",
    "dpx_content_held",
    "dpx_round_finish",
    "dpx_round_step",
    "dpx_change_step",
    "dpx_heart_step",
    "check_write",
    "world_run",
)
CHUNK = 1000  # histories in one log: some 10 MB
_SUMMARY = re.compile(
    r"^(\d+) events of (\d+) histories: (\d+) looks, (\d+) raised, (\d+) judged, (\d+) taken, (\d+) lowered, "
    r"(\d+) not followed, (\d+) past the end; (\d+) gave way unasked; (\d+) differences$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Replay:
    """What replaying some histories came to."""

    events: int = 0
    histories: int = 0
    looks: int = 0
    raised: int = 0
    judged: int = 0
    taken: int = 0
    lowered: int = 0
    unfollowed: int = 0
    late: int = 0  # steps of machines past their lifetime
    unasked: int = 0
    differences: int = 0
    details: tuple[str, ...] = ()

    def __add__(self, other: Replay) -> Replay:
        mine, theirs = vars(self), vars(other)
        return Replay(**{name: mine[name] + theirs[name] for name in mine})

    def __str__(self) -> str:
        return (
            f"{self.histories:,} histories, {self.events:,} events: {self.looks:,} looks, {self.raised:,} flags "
            f"raised, {self.judged:,} judgements, {self.taken:,} takings, {self.lowered:,} flags lowered, "
            f"{self.late:,} steps past the lifetime: {self.differences:,} differences; {self.unasked:,} gave way "
            f"unasked, {self.unfollowed:,} healed or rewritten (not followed)"
        )


def missing_tools() -> list[str]:
    return [tool for tool in ("spin", "gcc", "make") if shutil.which(tool) is None]


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **variables}
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def copy_tree(base: Path) -> None:
    """The simulator's sources, with what is built of them already."""
    for folder in (Path("native/format"), Path("native/protocol"), SIMULATION):
        ignored = shutil.ignore_patterns("__pycache__", "sanitize")
        shutil.copytree(ROOT / folder, base / folder, ignore=ignored)
    (base / "tests/model").mkdir()
    shutil.copy2(HERE / "record.c", base / "tests/model")


def build_recorder(base: Path) -> Path:
    """The simulator of this tree, with record.c around it."""
    folder = base / "tests/model"
    cflags = ("-O2", "-g", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", f"-I{base}", f"-I{base}/native")
    run("gcc", *cflags, "-c", "record.c", folder=folder)
    program = base / SIMULATION / "build/simulate"
    program.unlink(missing_ok=True)
    link = " ".join([*(f"-Wl,--wrap={name}" for name in WRAPPED), str(folder / "record.o")])
    jobs = f"-j{min(os.cpu_count() or 1, 4)}"
    make = ("make", "-s", jobs, "build/simulate", "CFLAGS=-O2 -g -Wno-error", f"LDFLAGS={link}")
    run(*make, folder=base / SIMULATION)
    return program.replace(folder / "record")


def build_checker(folder: Path, without: str = "") -> Path:
    """Spin's program of trace.pml; without: a switch that takes a rule away."""
    for path in HERE.glob("*.pml"):
        shutil.copy(path, folder)
    run("spin", "-a", *([f"-D{without}"] if without else []), "trace.pml", folder=folder)
    run("gcc", "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c", folder=folder)
    return folder / "pan"


def record(recorder: Path, log: Path, seed: int, histories: int) -> None:
    """Writes the log; a core with a bug may well violate something or crash meanwhile, and its log counts."""
    log.unlink(missing_ok=True)
    subprocess.run(
        [recorder, "--seed", str(seed), "--histories", str(histories), "--keep-going"],
        env={**os.environ, "TRACE": str(log)},
        stdout=subprocess.DEVNULL,
        check=False,
    )


def replay(checker: Path, log: Path) -> Replay:
    """Each event of the log through the model's rules."""
    with tempfile.TemporaryDirectory(prefix="trace-") as name:
        (Path(name) / "trace.log").symlink_to(log)
        output = run(checker, "-E", "-m1000", "-w16", folder=Path(name))
    summary = _SUMMARY.search(output)
    if summary is None or "errors: 0" not in output:
        raise RuntimeError(f"the replay broke off: {output[-2000:]}")
    details = tuple(line for line in output.splitlines() if line.startswith("history "))
    return Replay(*(int(figure) for figure in summary.groups()), details)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the first history")
    parser.add_argument("--mutant", help="a core with this bug")
    parser.add_argument("--without", default="", metavar="SWITCH", help="the model without this rule")
    options = parser.parse_args()
    if missing_tools():
        print(f"needs {', '.join(missing_tools())}", file=sys.stderr)
        return 2
    total = Replay()
    with tempfile.TemporaryDirectory(prefix="trace-") as name:
        folder = Path(name)
        copy_tree(folder / "tree")
        if options.mutant:
            apply_mutant(folder / "tree", options.mutant)
        recorder = build_recorder(folder / "tree")
        checker = build_checker(folder, options.without)
        for first in range(0, options.histories, CHUNK):
            record(recorder, folder / "log", options.seed + first, min(CHUNK, options.histories - first))
            total += replay(checker, folder / "log")
    print("\n".join(total.details[:20]))
    print(total)
    return 1 if total.differences else 0


def apply_mutant(base: Path, name: str) -> None:
    """Changes one line of the core in this tree."""
    sys.path.append(str(ROOT / "tests"))
    from mutants.run import read_ledger

    mutant = read_ledger()[name]
    source = base / "native" / mutant.file
    source.write_text(mutant.apply(source.read_text()))


if __name__ == "__main__":
    sys.exit(main())
