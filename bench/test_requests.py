"""I/Os of each operation, as strace sees them: how many, how large, in which order.  Nothing is timed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from measure import OURS, Record
from peers import sanlock as peer
from storage import Storage

pytestmark = pytest.mark.full

CALLS = "trace=io_submit,pread64,pwrite64,preadv,pwritev,preadv2,pwritev2,write"
OPTIONS = ["-f", "-e", CALLS, "-e", "signal=none", "-s", "40"]

SCRIPT = """
import os, sys, time
import diskpaxos

null = os.open(os.devnull, os.O_WRONLY)

def mark(text):
    time.sleep(0.05)  # whatever was begun is over
    os.write(null, b"MARK " + text.encode())

with diskpaxos.Lockspace.open(sys.argv[1]) as space, space.join("maker") as maker, space.join("traced") as host:
    names = [f"vm{i}" for i in range(8)]
    for name in names:
        maker.create(name)
    time.sleep(0.5)  # whatever joining has caused is over
    mark("take-unseen")
    lease = host.acquire(names[0])
    mark("release")
    lease.release()
    mark("take-cached")
    lease = host.acquire(names[0])
    mark("-")
    lease.release()
    host.release_many(host.acquire_many(names))
    mark("take-8")
    leases = host.acquire_many(names)
    mark("release-8")
    host.release_many(leases)
    mark("-")
"""


def parse(trace: str) -> dict[str, list[tuple[str, int]]]:
    """Per mark: ("r" or "w", bytes) of each I/O, in order of submission."""
    found: dict[str, list[tuple[str, int]]] = {}
    mark = "-"
    for line in trace.splitlines():
        if match := re.search(r'write\(\d+, "MARK ([\w-]+)"', line):
            mark = match[1]
            found.setdefault(mark, [])
            continue
        steps = found.setdefault(mark, [])
        for kind, size in re.findall(r"IOCB_CMD_P(READ|WRITE)V?.*?aio_nbytes=(\d+)", line):
            steps.append((kind[0].lower(), int(size)))
        if match := re.search(r"\bp(read|write)(?:64|v2?)\(.*= (\d+)$", line):
            steps.append((match[1][0], int(match[2])))
    return found


def note(record: Record, system: str, seen: dict[str, list[tuple[str, int]]]) -> None:
    for name, steps in seen.items():
        record.values(
            system,
            **{
                name: {
                    "reads": sum(1 for kind, _ in steps if kind == "r"),
                    "writes": sum(1 for kind, _ in steps if kind == "w"),
                    "read_bytes": sum(size for kind, size in steps if kind == "r"),
                    "written_bytes": sum(size for kind, size in steps if kind == "w"),
                }
            },
        )


@contextmanager
def traced(pid: int, out: Path) -> Iterator[None]:
    """strace attached to a running process."""
    strace = subprocess.Popen(["strace", *OPTIONS, "-p", str(pid), "-o", str(out)], stderr=subprocess.PIPE, text=True)
    assert strace.stderr is not None
    strace.stderr.readline()  # "Process … attached"
    try:
        yield
    finally:
        strace.terminate()
        strace.communicate(timeout=20)


def test_requests(
    storage: Storage, record: Record, benchmark: Any, sanlock: peer.Sanlock | None, tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    out = tmp_path / "trace"

    def run(path: Path) -> subprocess.CompletedProcess[str]:
        command = ["strace", *OPTIONS, "-o", str(out), sys.executable, "-c", SCRIPT, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)

    with storage.lockspace(max_hosts=64, max_leases=200, outage_tolerance=240.0, claim_time=0.3) as path:
        done = benchmark.pedantic(run, args=(path,), rounds=1)
    if "ptrace" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip(f"tracing is not permitted here: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    record.row("requests", "I/Os of one operation, by strace; 64 slots, 512-byte blocks")
    seen = parse(out.read_text())
    seen.pop("-", None)
    note(record, OURS, seen)
    if sanlock is None:
        return
    client = sanlock.clients[0]
    client.take(0)
    client.release(0)
    theirs = {}
    for name, operation, count in (
        ("take-cached", client.take, 1),
        ("release", client.release, 1),
        ("take-8", client.take, 8),
        ("release-8", client.release, 8),
    ):
        with traced(sanlock.daemons[0].pid, out):
            operation(0, count)
            time.sleep(0.1)
        theirs[name] = parse(out.read_text())["-"]
    theirs["take-unseen"] = theirs["take-cached"]  # it caches nothing
    note(record, "sanlock", theirs)
