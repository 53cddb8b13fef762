"""The floor of the benchmarks makes the I/Os that it is told to, as deep as it is told to, and changes nothing;
and what many hosts need of the machine is asked before they are started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import limits
import pytest
from child import HERE, compiled

from diskpaxos import Lockspace

PAGE = 4096


def deepest(trace: str) -> tuple[int, int]:
    """(I/Os in all, the most that were in flight together), by the calls that strace saw."""
    total = flying = most = 0
    for line in trace.splitlines():
        if match := re.search(r"io_submit\(.* = (\d+)$", line):
            total += int(match[1])
            flying += int(match[1])
            most = max(most, flying)
        elif match := re.search(r"io_getevents\(.* = (\d+)$", line):
            flying -= int(match[1])
    assert flying == 0
    return total, most


@pytest.mark.strace
@pytest.mark.parametrize(("count", "depth", "most"), [(40, 8, 8), (40, 64, 40)])
def test_as_deep_as_it_is_told(tmp_path: Path, count: int, depth: int, most: int) -> None:
    strace = shutil.which("strace")
    if strace is None or shutil.which("cc") is None:
        pytest.skip("needs strace and a C compiler")
    file = tmp_path / "file"
    content = os.urandom(PAGE * count)
    file.write_bytes(content)
    trace = tmp_path / "trace"
    calls = ["-e", "trace=io_submit,io_getevents", "-o", str(trace)]
    command = [strace, *calls, str(compiled(HERE / "floor.c")), str(file)]
    order = f"{count} {depth} 0 {PAGE} 0 w512r{PAGE}\n"
    done = subprocess.run(command, input=order, capture_output=True, text=True, check=False, timeout=60)
    if "ptrace" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip(f"tracing is not permitted here: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) == 1
    assert deepest(trace.read_text()) == (2 * count, most)
    assert file.read_bytes() == content


def test_what_a_host_sets_aside_is_what_is_counted(tmp_path: Path) -> None:
    """A joined host's share of fs.aio-max-nr, by the kernel; others come and go meanwhile, so: the least of several."""
    paths = [tmp_path / f"disk{i}" for i in range(3)]
    Lockspace.create(paths, "locks", max_hosts=8, max_leases=8).close()
    program = """
import sys
import diskpaxos

def used():
    with open("/proc/sys/fs/aio-nr") as file:
        return int(file.read())

before = used()
with diskpaxos.Lockspace.open(sys.argv[1:]):
    print(used() - before)
"""
    command = [sys.executable, "-c", program, *map(str, paths)]
    seen = [int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(5)]
    assert limits.aio_of(1, 3) in seen, seen


def test_hosts_that_the_machine_has_no_room_for_are_refused_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aio-max-nr").write_text("65536\n")
    (tmp_path / "aio-nr").write_text("1000\n")
    monkeypatch.setattr(limits, "_PROC", tmp_path)
    each = limits.aio_of(1)
    assert limits.aio_missing(64536 // each) == ""
    assert limits.aio_missing(64536 // each + 1) != ""
    assert "64 hosts of 3 disks" in (reason := limits.aio_missing(64, 3))
    assert "64,536 of 65,536" in reason
    assert "fs.aio-max-nr" in reason
