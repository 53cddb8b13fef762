#!/usr/bin/env python3
"""Which safety bugs the image target notices: tests/mutants/ledger.toml, one after the other.

    tests/fuzz/mutants.py [--seconds N] [--keep DIR] [NAME …]

Each is fuzzed from the corpus for so long.  The mutants' own suite (tests/mutants) kills all of
them; this tells how much of that a fuzzer finds by itself, so it fails nobody's build.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "mutants"))

import run as mutants  # noqa: E402

_SAID = re.compile(r"violated: .*\n +(.*)|(Assertion .* failed)|(ERROR: .*)|(runtime error: .*)|(ALARM: .*)")
_EXECUTED = re.compile(r"number_of_executed_units: +(\d+)|^#(\d+)", re.MULTILINE)


def build(base: Path) -> Path:
    target = base / "build" / "fuzz_image"
    command = [
        "make",
        "-s",
        "-j2",
        "-C",
        str(base / "tests/fuzz"),
        f"OUT={base / 'build'}",
        "STRICT=-std=c11 -UNDEBUG -w",
    ]
    done = subprocess.run([*command, str(target)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return target


def fuzz(target: Path, corpus: Path, seconds: int, kept: Path | None) -> tuple[bool, int, str]:
    """Noticed or not, after how many executions, and by what."""
    with tempfile.TemporaryDirectory() as grown:
        done = subprocess.run(
            [
                str(target),
                *(f"-max_total_time={seconds}", "-timeout=20", "-max_len=600", "-print_final_stats=1"),
                *(f"-artifact_prefix={kept or grown}/", grown, str(corpus)),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=8:max_malloc_fill_size=0"},
        )
    said = _SAID.search(done.stderr)
    counts = _EXECUTED.findall(done.stderr)
    executed = max((int(a or b) for a, b in counts), default=0)
    words = next((group for group in said.groups() if group), "") if said else ""
    return done.returncode != 0, executed, words


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=15, help="of fuzzing each (15)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave inputs that noticed one here, for the corpus")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    ledger = mutants.read_ledger()
    unknown = [name for name in options.names if name not in ledger]
    if unknown:
        parser.error(f"not in the ledger: {', '.join(unknown)}")
    chosen = [m for m in ledger.values() if m.file.startswith(("format/", "protocol/"))]
    chosen = [m for m in chosen if not options.names or m.name in options.names]
    noticed = 0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for part in ("native/format", "native/protocol", "tests/fuzz", "tests/native"):
            shutil.copytree(ROOT / part, base / part, ignore=shutil.ignore_patterns("build*", "__pycache__"))
        build(base)
        for mutant in chosen:
            source = mutant.source(base)
            sound = source.read_text()
            source.write_text(mutant.apply(sound))
            found, executed, words = fuzz(build(base), base / "tests/fuzz/corpus/image", options.seconds, options.keep)
            source.write_text(sound)
            noticed += found
            print(f"{mutant.name:32} {'noticed ' if found else 'survived'} {executed:>7}  {words}", flush=True)
    print(f"{noticed} of {len(chosen)} noticed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
