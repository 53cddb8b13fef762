"""SIGSTOP at every I/O of every operation, for longer than the lifetime, then SIGCONT.

The victim (sleeper.py) joins, takes a lease that is there and one that it makes, releases both and leaves.
strace stops it right after its Nth io_submit, or after its Nth completion and so before whatever follows:
the next write, or the report that a lease is taken.  While it sleeps another host takes the leases; then
it goes on, and must not believe for a moment that it holds what the other one holds.

Seen to fail with a lifetime that lasts for 2 S, and with one that is never tested (rule L4; `no-lifetime-test` of the
ledger of mutants: two hold). One test less may go unnoticed: the lease's caller and the heart thread test again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import diskpaxos
from diskpaxos import errors

SLEEPER = Path(__file__).with_name("sleeper.py")
LEASES = ("vm", "new")  # the first is there, the second is made by the victim
SHAPE = {"max_hosts": 4, "max_leases": 8}
TIMES = {"outage_tolerance": 2.0, "kill_grace": 0.1, "watchdog_timeout": 0.1, "claim_time": 0.1}
T_DEAD = 2.2 * 1.11 + 0.25
POINTS = 30  # I/Os of the victim's busiest thread; later ones stop nothing
AT_ONCE = 15


class Victim:
    """The sleeper under strace, which stops it at the Nth such call of one of its threads."""

    def __init__(self, path: Path, call: str, number: int) -> None:
        tracing = ["-f", "-qq", "-o", os.devnull, "-e", f"trace={call}"]
        inject = f"inject={call}:signal=SIGSTOP:when={number}"
        command = ["strace", *tracing, "-e", inject, sys.executable, str(SLEEPER), str(path), *LEASES]
        self.strace = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.strace.stdout is not None
        self.output = self.strace.stdout
        self.pid = json.loads(self.output.readline())["pid"]
        self.handle = os.pidfd_open(self.pid)

    def sleeps(self) -> bool:
        """Wait until it is stopped (the kernel says so again and again) or has ended."""
        seen = 0
        while seen < 6:
            if self.strace.poll() is not None:
                return False
            try:
                status = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            seen = seen + 1 if status.split()[0] in "tT" else 0
            time.sleep(0.03)
        return True

    def wake(self) -> list[dict[str, Any]]:
        """Until its end, since other threads stop at their own Nth call; all that it said, be it without an end."""
        limit = time.monotonic() + 60
        while self.strace.poll() is None:
            if time.monotonic() > limit:
                self.kill()
                return [json.loads(line) for line in self.output.read().splitlines()]
            try:
                signal.pidfd_send_signal(self.handle, signal.SIGCONT)
            except ProcessLookupError:
                pass
            time.sleep(0.05)
        assert self.strace.returncode == 0
        return [json.loads(line) for line in self.output.read().splitlines()]

    def kill(self) -> None:
        try:
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.strace.kill()
        self.strace.wait()

    def close(self) -> None:
        self.kill()
        self.output.close()
        os.close(self.handle)


@dataclass
class Night:
    """One victim stopped at one point, and the host that takes over meanwhile."""

    path: Path
    call: str
    number: int
    stopped: bool = False
    said: list[dict[str, Any]] = field(default_factory=list)
    ours: dict[str, tuple[int, float]] = field(default_factory=dict)  # token, since when

    def play(self) -> Night:
        with diskpaxos.Lockspace.create(self.path, **SHAPE, **TIMES) as space, space.join("heir") as heir:
            heir.create(LEASES[0])
            victim = Victim(self.path, self.call, self.number)
            try:
                self.stopped = victim.sleeps()
                for name in LEASES if self.stopped else ():
                    self.take_over(heir, name)
                self.said = victim.wake()
            finally:
                victim.close()
            self.judge()
            for lease in heir.leases():
                lease.check()
                lease.release()
            for name in LEASES:  # whatever was left half done: it can be had now, and all is in order
                at_last(heir, name).release()
            assert not [finding for finding in space.check() if finding.severity == "error"]
        return self

    def take_over(self, heir: diskpaxos.Host, name: str) -> None:
        try:
            lease = heir.acquire(name, timeout=2.5 * T_DEAD)
        except (errors.UnfinishedChangeError, errors.WaitTimeoutError):
            return  # its making was interrupted: left alone until the victim is drained
        self.ours[name] = lease.token, time.clock_gettime(time.CLOCK_BOOTTIME)

    def judge(self) -> None:
        for line in self.said:
            if line.get("held") in self.ours:
                token, since = self.ours[line["held"]]
                assert line["at"] < since, f"{self}: two hold {line['held']}"
                assert line["token"] < token, f"{self}: tokens do not grow"
        assert self.said and "end" in self.said[-1], f"{self}: it does not end"


def at_last(host: diskpaxos.Host, name: str) -> diskpaxos.Lease:
    """The lease, once the victim is drained: its process is gone, and the others of its machine see that."""
    limit = time.monotonic() + 60
    while True:
        try:
            return host.acquire(name, timeout=60)
        except errors.UnfinishedChangeError:
            assert time.monotonic() < limit, "the victim's slot is never drained"
            time.sleep(0.2)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory: disks of test machines have hiccups longer than the lifetimes used here."""
    with tempfile.TemporaryDirectory(prefix="dpx-stops-", dir="/dev/shm") as folder:
        try:
            os.close(os.open(Path(folder, "probe"), os.O_RDWR | os.O_CREAT | os.O_DIRECT))
        except OSError:  # before Linux 6.6
            yield tmp_path
        else:
            yield Path(folder)


@pytest.mark.strace
@pytest.mark.slow
@pytest.mark.parametrize("call", ["io_submit", "io_getevents"])
def test_stopped_at_any_io_it_never_holds_what_another_holds(memory: Path, direct_io: None, call: str) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    probe = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"tracing is not permitted here: {probe.stderr.strip()}")
    nights = [Night(memory / f"lockspace{number}", call, number) for number in range(1, POINTS + 1)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(Night.play, nights))
    slept = [night for night in nights if night.stopped]
    taken = sum(len(night.ours) for night in slept)
    left = sum(len(LEASES) - len(night.ours) for night in slept)
    ends = sorted({night.said[-1]["end"] for night in slept})
    print(f"{call}: stopped at {len(slept)} points; {taken} leases taken meanwhile, {left} left alone; ends: {ends}")
    # Join, take, make, release, leave: the victim was stopped in each, and mostly lost what it had.
    assert len(slept) >= 15
    assert taken > 1.5 * len(slept)
    assert {"LeaseLostError", "FinishedError"} & set(ends)
