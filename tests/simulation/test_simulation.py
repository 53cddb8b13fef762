"""A fixed set of simulated histories; README.md in this folder says how to run long ones.

Every history follows from its seed: the same ones run each time, so a red run is always about
the change.  DISKPAXOS_SEED=N starts elsewhere, DISKPAXOS_HISTORIES=N runs more or fewer.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
HISTORIES = os.environ.get("DISKPAXOS_HISTORIES", "200000")
STRETCHED = os.environ.get("DISKPAXOS_STRETCHED", "20000")
JOBS = min(os.cpu_count() or 1, 4)


def build(*variables: str, program: str) -> Path:
    if not shutil.which("make") or not shutil.which("cc"):
        pytest.skip("needs make and a C compiler")
    done = subprocess.run(
        ["make", "-C", str(HERE), f"-j{JOBS}", "CFLAGS=-O3 -g -Werror", *variables],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return HERE / program


@pytest.fixture(scope="module")
def simulate() -> Path:
    return build(program="build/simulate")


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)


def first_seed() -> str:
    return os.environ.get("DISKPAXOS_SEED", "1")


@pytest.mark.slow
def test_the_first_histories_violate_nothing(simulate: Path) -> None:
    done = run(simulate, "--seed", first_seed(), "--histories", "20000", "--jobs", str(JOBS), "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_history_violates_anything_and_every_fault_occurs(simulate: Path) -> None:
    done = run(
        simulate,
        *("--seed", first_seed(), "--histories", HISTORIES, "--jobs", str(JOBS)),
        *("--report", "--coverage", "--keep-going"),
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_stretched_history_violates_anything_and_every_fault_occurs(simulate: Path) -> None:
    """Those that strike at moments of their own: README.md."""
    done = run(
        simulate,
        *("--stretched", "--seed", first_seed(), "--histories", STRETCHED, "--jobs", str(JOBS)),
        *("--report", "--coverage", "--keep-going"),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_theme_plays_its_own_seeds_and_tells_how_to_play_them(simulate: Path) -> None:
    """The histories of a theme are the same ones that all themes together play."""
    seeds = ("--seed", "1", "--histories", "400")
    counts = [
        int(re.search(r"histories (\d+)", run(simulate, *kind, *seeds).stdout).group(1))  # type: ignore[union-attr]
        for kind in (("--stretched",), ("--theme", "sleepers"), ("--without", "sleepers"))
    ]
    assert counts[0] == 400
    assert 0 < counts[1] < counts[0]
    assert counts[1] + counts[2] == counts[0]
    assert run(simulate, "--theme", "nonsense").returncode == 2


@pytest.mark.slow
def test_short_lives_share_what_they_have_seen(simulate: Path) -> None:
    """‡D11: that is what their judgements rest on, and nothing is violated."""
    done = run(simulate, "--sightings", "--seed", first_seed(), "--histories", "10000", "--jobs", str(JOBS), "--report")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"silent, as others had seen +(\d+)", done.stdout)
    assert found
    assert int(found[1]) > 1000


def test_a_seed_is_a_history(simulate: Path) -> None:
    """The same whether it runs first or after others, alone or beside others, told or not."""
    digests = {
        re.search(r"digest (\w+)", run(simulate, *arguments).stdout).group(1)  # type: ignore[union-attr]
        for arguments in (
            ("--seed", "1000", "--histories", "300"),
            ("--seed", "1000", "--histories", "300", "--jobs", "3"),
            ("--seed", "1000", "--histories", "300", "--trace"),
        )
    }
    assert len(digests) == 1


def test_a_history_in_words(simulate: Path) -> None:
    done = run(simulate, "--seed", "7", "--trace")
    assert done.returncode == 0
    for words in ("S 0", "joins slot", "holds vm-", "all faults stop", "own block of slot", "no violation"):
        assert words in done.stdout


def test_usage(simulate: Path) -> None:
    assert run(simulate, "--nonsense").returncode == 2


@pytest.mark.slow
def test_under_sanitizers() -> None:
    """With the real checksum, too."""
    program = build("SANITIZE=1", "CFLAGS=-O1 -g", program="build/sanitize/simulate")
    done = run(program, "--seed", first_seed(), "--histories", "2000", "--jobs", str(JOBS), "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr
