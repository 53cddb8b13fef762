"""The suite's short version: two hosts on a shared disk, one fault of each sort, a few minutes.

Not part of any run yet (CI is short of time); by hand:  .venv/bin/pytest tests/lab -s
The first run fetches the guests' kernel and programs from Debian.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from lab.guests import Lab
from lab.storage import STORAGES
from lab.suite import Setting, Suite, read_results

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

SEED = int(os.environ.get("DISKPAXOS_SEED", "1"))
MINUTES = 4.5  # no fault is begun after; the last may take one
KINDS = ["holder killed", "disk hangs", "host stopped", "host killed", "disk fails writes", "host paused"]


@pytest.fixture
def lab() -> Lab:
    """One that is built and not in use."""
    if os.geteuid() != 0:
        pytest.skip("has to be root: guests share the machine's root folder")
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("needs qemu-system-x86_64")
    lab = Lab()
    lab.build.build()
    if any(host.alive() for host in lab.hosts()):
        pytest.skip(f"the laboratory in {lab.folder} is in use")
    return lab


def test_no_fault_gives_two_holders(lab: Lab, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    end = time.monotonic() + MINUTES * 60
    print(f"DISKPAXOS_SEED={SEED}")
    with Suite(lab, Setting(STORAGES["san"], SEED, kinds=KINDS, say=print), results) as suite:
        while time.monotonic() < end and len(read_results(results)) < len(KINDS):
            print(suite.next())
    rows = read_results(results)
    assert not [text for row in rows for text in row["violations"]]
    assert any(row["takeovers"] for row in rows), "no fault took a lease away: this run has shown nothing"
    assert all(row["writes_seen"] for row in rows)
