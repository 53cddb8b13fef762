"""A batch takes the rounds of one: the I/Os as strace sees them, plain or by io_submit.

S is so long that no heartbeat falls in between.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import diskpaxos

SCRIPT = """
import os, sys, time
import diskpaxos

null = os.open(os.devnull, os.O_WRONLY)
with diskpaxos.Lockspace.open(sys.argv[1]) as space, space.join("traced") as host:
    for count in (1, 64):
        names = [f"vm{i}" for i in range(count)]
        host.release_many(host.acquire_many(names))
        time.sleep(0.5)  # whatever heartbeat joining has caused is over
        os.write(null, b"MARK take %d" % count)
        leases = host.acquire_many(names)
        os.write(null, b"MARK release %d" % count)
        host.release_many(leases)
        os.write(null, b"MARK end")
"""


def note(steps: list[tuple[str, int]], opcode: str, count: int) -> None:
    if steps and steps[-1][0] == opcode:
        steps[-1] = (opcode, steps[-1][1] + count)
    else:
        steps.append((opcode, count))


def rounds(trace: str) -> dict[str, list[tuple[str, int]]]:
    """Per mark: the opcodes in their order, equal neighbours put together, with how many I/Os."""
    found: dict[str, list[tuple[str, int]]] = {}
    mark = "end"
    for line in trace.splitlines():
        if match := re.search(r'write\(\d+, "MARK (\w+(?: \d+)?)"', line):
            mark = match[1]
            found[mark] = []
        elif match := re.search(r"io_submit\(\w+, (\d+), \[\{.*?IOCB_CMD_([A-Z]+)", line):
            note(found.setdefault(mark, []), match[2], int(match[1]))
        elif match := re.search(r" (pwrite|pread)64\(\d+, ", line):
            note(found.setdefault(mark, []), match[1].upper(), 1)
    return found


@pytest.mark.strace
def test_a_batch_takes_the_rounds_of_one(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    path = tmp_path / "lockspace"
    diskpaxos.Lockspace.create(path, max_hosts=64, max_leases=200, block_size=512, outage_tolerance=240.0).close()
    out = tmp_path / "trace"
    options = ["-f", "-e", "trace=io_submit,pwrite64,pread64,write", "-e", "signal=none", "-s", "64", "-o", str(out)]
    run = subprocess.run(
        [strace, *options, sys.executable, "-c", SCRIPT, str(path)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    if "ptrace" in run.stderr or "Operation not permitted" in run.stderr:
        pytest.skip(f"tracing is not permitted here: {run.stderr.strip().splitlines()[0]}")
    assert run.returncode == 0, run.stderr
    seen = rounds(out.read_text())
    assert seen["take 1"] == [("PWRITE", 1), ("PREAD", 1)]
    assert seen["release 1"] == [("PWRITE", 1)]
    assert seen["take 64"] == [("PWRITE", 64), ("PREAD", 64)]
    assert seen["release 64"] == [("PWRITE", 64)]
