"""Every I/O of every operation fails once, on real files, in real processes: is refused, fails, takes place and fails,
is torn, late, or does not return.  After each the operation has told the truth, `check` finds nothing that was not
torn, and the next host goes on; where one of three disks was struck, nothing was lost at all.

each_io.py carries it out, one_fault.c strikes.  (tests/native/test_each_io.c does the same with the machines alone,
without a gap, in simulated time.)  DISKPAXOS_EACH_IO=all: every way, every I/O; it takes half an hour.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ALL = os.environ.get("DISKPAXOS_EACH_IO") == "all"
WAYS = ("refused", "no-space", "failed", "landed", "torn", "late", "hang", "hang-landed")
JOBS = 12  # they wait, most of the time

#: Operations, and every how many-th of their I/Os is struck by default: those that poll or copy have many alike.
OPERATIONS = {
    "init": 3,
    "open": 1,
    "info": 1,
    "leases": 1,
    "hosts": 1,
    "check": 5,
    "join": 5,
    "create lease": 5,
    "acquire": 2,
    "acquire, cached": 2,
    "acquire, shared": 3,
    "acquire, many": 4,
    "acquire, of a dead host": 37,
    "release": 1,
    "delete": 5,
    "heartbeat": 3,
    "leave": 1,
    "retire": 19,
    "repair": 13,
    "rebuild": 9,
    "superblocks": 7,
}
Plan = tuple[str, int, str]

#: They need all disks, not a majority.
ALL_DISKS = ("init", "rebuild", "superblocks")
#: They begin with damage, and end with it when they fail.
DAMAGED = ("repair", "rebuild", "superblocks")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    built = tmp_path_factory.mktemp("shim") / "one_fault.so"
    source = str(HERE / "one_fault.c")
    subprocess.run(
        ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(built), source],
        check=True,
    )
    return built


def tries(shim: Path, folder: Path, operation: str, disks: int, way: str) -> list[dict[str, Any]]:
    folder.mkdir()
    step = 1 if ALL else OPERATIONS[operation] * (disks if way == "landed" else 2 * disks if disks > 1 else 1)
    done = subprocess.run(
        [sys.executable, str(HERE / "each_io.py"), str(folder), operation, str(disks), way, str(step)],
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder)
    return [json.loads(line) for line in done.stdout.splitlines()]


def faults_of(said: dict[str, Any], operation: str, disks: int, way: str) -> list[str]:
    """What is not as it must be, in words."""
    after, wrong = said["after"], []
    hangs, torn = way.startswith("hang"), way == "torn" and said.get("struck") == 2
    if "crash" in said or "crash" in after or after.get("hung"):
        return ["crashed or hung"]
    if said.get("hung") and not (hangs and (disks == 1 or operation in ALL_DISKS)):
        wrong.append("hung")
    # A host whose write hangs cannot leave: its slot is left to die (protocol, ‡S10).  And what is damaged on the disk
    # that hangs stays so.
    undrained = hangs and operation in ("leave", "repair")
    unread = operation == "repair" and "could not be read" in said.get(
        "error", ""
    )  # what it did not see, it cannot mend
    excused = undrained or unread or operation in ALL_DISKS
    if said.get("error") and (not said["struck"] or (disks > 1 and not excused)):
        wrong.append("failed")
    if said.get("overtaken"):
        wrong.append(said["overtaken"])
    # An init that hung at its last superblock has made a lockspace that is whole, but for that; repair gives it.
    last_superblock = operation == "init" and hangs and after["found"] == ["disk-offline"]
    mended = last_superblock and not after["left"] and not after["after"]
    if after["found"] and operation not in DAMAGED and not torn and not mended:
        wrong.append("damage without a torn write")
    if any(kind.startswith("damaged") for kind in after["after"]) and not after["left"]:
        wrong.append("not repaired, and not said so")
    if operation == "repair" and after["found"] and not said.get("error") and not torn:
        wrong.append("said to be repaired, and is not")
    if after["next"]:
        wrong.append("the next host cannot go on")
    return wrong


@pytest.fixture(scope="module")
def runs(
    shim: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[Plan, Future[list[dict[str, Any]]]]]:
    """All that are asked for at once; each test waits for its own."""
    folder = tmp_path_factory.mktemp("each-io")
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = [item.callspec.params.get("operation") for item in items if hasattr(item, "callspec")]
    plans = [(operation, *way) for operation in OPERATIONS if operation in chosen for way in ways_of(operation)]
    with ThreadPoolExecutor(JOBS) as pool:
        yield {plan: pool.submit(tries, shim, folder / str(number), *plan) for number, plan in enumerate(plans)}


def ways_of(operation: str) -> list[tuple[int, str]]:
    if ALL:
        return [(disks, way) for disks in (1, 3) for way in WAYS if operation != "rebuild" or disks == 3]
    short = [(1, "failed"), (1, "torn"), (3, "landed"), (3, "hang-landed")]
    return [plan for plan in short if operation != "rebuild" or plan[0] == 3]


@pytest.mark.long
@pytest.mark.timeout(3600 if ALL else 300)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_io_fails_once(operation: str, runs: dict[Plan, Future[list[dict[str, Any]]]], direct_io: None) -> None:
    wrong, struck = [], 0
    for disks, way in ways_of(operation):
        for said in runs[operation, disks, way].result():
            struck += bool(said.get("struck") or said.get("hung"))
            wrong += [(disks, way, fault, said) for fault in faults_of(said, operation, disks, way)]
    assert not wrong, "\n".join(map(str, wrong))
    assert struck or operation == "info"  # which needs no I/O
