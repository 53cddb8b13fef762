#!/usr/bin/env python3
"""Holders die by kill -9, and `diskpaxos run --wait W`, again and again, each shorter than T_dead, gets the lease.

    tests/integration/short_waits.py [KILLS] [WAIT]     100 kills, and waits of 1 s, unless said otherwise

Each process sees only a part of the silence; what it saw it leaves to the next one (docs/protocol.md, ‡D11).  Prints
how long after the kill the lease was there, and fails where that is more than T_dead + 2 W + 2 s, or less than T_dead
after the last heartbeat.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")] if __name__ == "__main__" else []

from program import PROGRAM, T_DEAD, K, S, W, clean_environment, running  # noqa: E402

from diskpaxos import Lockspace  # noqa: E402
from diskpaxos.cli.exit_codes import ExitCode  # noqa: E402

HELD = 7  # exit status of a run that met a holder to its end
Takeover = tuple[float, float, int]  # seconds since the kill, and since the last heartbeat; how many runs it took


def make_lockspace(path: Path) -> Path:
    """One that fails over in four seconds, with time and slots enough to join on a busy machine."""
    Lockspace.create(path, max_hosts=32, outage_tolerance=S, kill_grace=K, watchdog_timeout=W, claim_time=S / 4).close()
    return path


def attempt(lockspace: Path, wait: float, runtime: str) -> int:
    """One `run` that waits for a while; its exit status."""
    done = subprocess.run(
        [*PROGRAM, "run", "-L", str(lockspace), "-l", "vm", "--wait", f"{wait}s", "-E", str(HELD), "--", "true"],
        env=clean_environment(DISKPAXOS_RUNTIME_DIR=runtime),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    cut_short = "time ran out" in done.stderr  # in the middle of a taking
    busy = done.returncode in (ExitCode.FULL, ExitCode.STORAGE)  # I/Os that take longer than S / 4
    assert done.returncode in (0, HELD) or cut_short or busy, f"{done.returncode}: {done.stderr}"
    if done.returncode != 0 and "-v" in sys.argv:
        print(f"   {done.stderr.splitlines()[0]}")
    return done.returncode


def last_heartbeat(lockspace: Path, pid: int) -> float:
    """When the process wrote it, on CLOCK_BOOTTIME."""
    with Lockspace.open(lockspace, read_only=True) as space:
        written = max(host.last_heartbeat for host in space.hosts() if host.pid == pid)
    return written - time.time() + time.clock_gettime(time.CLOCK_BOOTTIME)


def take_over(lockspace: Path, wait: float, runtime: str, enough: float = 60.0) -> Takeover:
    """Kill a holder, then run short waits until one gets the lease."""
    hold = ("run", "-L", lockspace, "-l", "vm", "--wait", "30s", "--", "sh", "-c", "echo held; exec sleep 1000")
    with running(*hold, env=clean_environment(DISKPAXOS_RUNTIME_DIR=runtime)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        time.sleep(0.1)
        killed = time.clock_gettime(time.CLOCK_BOOTTIME)
        holder.kill()
        holder.wait()
        beat = last_heartbeat(lockspace, holder.pid)
    runs = 1
    while attempt(lockspace, wait, runtime) != 0:
        runs += 1
        assert time.clock_gettime(time.CLOCK_BOOTTIME) < killed + enough, f"{runs} runs, and nobody got it"
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    return now - killed, now - beat, runs


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    wait = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    limit = T_DEAD + 2 * wait + 2
    took = []
    with tempfile.TemporaryDirectory() as folder:
        lockspace = make_lockspace(Path(folder) / "lockspace")
        for i in range(kills):
            since_kill, since_beat, runs = take_over(lockspace, wait, f"{folder}/run")
            print(f"{i + 1}: {since_kill:.2f} s after the kill, {since_beat:.2f} s after the last beat, {runs} runs")
            took.append(since_kill)
            if since_beat < T_DEAD:
                print(f"too early: T_dead is {T_DEAD:.2f} s")
                return 1
    late = [seconds for seconds in took if seconds > limit]
    print(
        f"{kills} kills, waits of {wait} s: {min(took):.2f} to {max(took):.2f} s, "
        f"median {statistics.median(took):.2f} s; T_dead {T_DEAD:.2f} s, "
        f"limit {limit:.2f} s, later than that: {len(late)}"
    )
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
