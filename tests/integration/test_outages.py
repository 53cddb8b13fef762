"""The storage is out of reach for a while: whatever a holder outlasts, those who wait outlast, too.

Their time (`--wait`, ``timeout``) ends a wait, and nothing else does."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest
from fix_slow import SlowDisks
from fix_spaces import Maker
from program import clean_environment, eventually, running
from speaker import Speaker

from diskpaxos import Lockspace

pytestmark = pytest.mark.timing

S = 4.0  #: seconds; an I/O may take a quarter of that
SHAPE = {"outage_tolerance": S, "kill_grace": 1.0, "watchdog_timeout": 0.4}


def reader(stream: object) -> list[str]:
    """Lines of a stream, as they come."""
    lines: list[str] = []
    threading.Thread(target=lambda: lines.extend(stream), daemon=True).start()  # type: ignore[call-overload]
    return lines


def run_on(space: Lockspace, lease: str, wait: str, *command: str) -> tuple[str, ...]:
    return ("run", "-L", space.paths[0], "-l", lease, "--wait", wait, "--", *command)


def joined(space: Lockspace, count: int) -> None:
    """Until so many hosts are there, and a moment for what they do next."""
    eventually(lambda: len([host for host in space.hosts() if host.liveness not in ("free", "claiming")]) == count)
    time.sleep(0.5)


def outage(slow: SlowDisks, disk: str, seconds: float) -> None:
    slow.hang(Path(disk))
    time.sleep(seconds)
    slow.slow(Path(disk), 0)


def test_a_waiter_outlasts_what_its_holder_outlasts(slow_disks: SlowDisks, make_space: Maker) -> None:
    """2.5 s of silence: more than two limits of an I/O, less than S."""
    space = make_space(**SHAPE)
    environment = clean_environment(**slow_disks.environment)
    with running(*run_on(space, "vm", "0s", "sh", "-c", "sleep 9; echo held"), env=environment) as holder:
        joined(space, 1)
        with running(*run_on(space, "vm", "forever", "echo", "it ran"), env=environment) as waiter:
            joined(space, 2)
            outage(slow_disks, space.paths[0], 2.5)
            time.sleep(0.5)
            assert waiter.poll() is None, waiter.communicate()
            assert holder.wait(20) == 0, holder.communicate()
            assert waiter.wait(20) == 0, waiter.communicate()
            assert waiter.stdout is not None
            assert waiter.stdout.read() == "it ran\n"


def test_a_waiter_joins_again_after_an_outage_longer_than_s(slow_disks: SlowDisks, make_space: Maker) -> None:
    """Only its own way to the storage is cut: the holder lives on, and the waiter's membership ends."""
    space = make_space(**SHAPE)
    with space.join("alpha") as alpha:
        lease = alpha.acquire("vm")
        arguments = run_on(space, "vm", "forever", "echo", "it ran")
        with running(*arguments, env=clean_environment(**slow_disks.environment)) as waiter:
            joined(space, 2)
            outage(slow_disks, space.paths[0], S + 2)
            time.sleep(1)
            assert waiter.poll() is None, waiter.communicate()
            lease.release()
            assert waiter.wait(20) == 0, waiter.communicate()
            assert waiter.stderr is not None
            assert "joining again" in waiter.stderr.read()


def test_a_waiter_outlasts_an_outage_when_it_opens(slow_disks: SlowDisks, make_space: Maker) -> None:
    """12 s: longer than opening takes otherwise."""
    space = make_space(**SHAPE)
    slow_disks.hang(Path(space.paths[0]))
    environment = clean_environment(**slow_disks.environment)
    with running(*run_on(space, "vm", "forever", "echo", "it ran"), env=environment) as waiter:
        assert waiter.stderr is not None
        told = reader(waiter.stderr)
        eventually(lambda: any("waiting …" in line for line in told), timeout=30)
        time.sleep(2)
        assert waiter.poll() is None, told
        slow_disks.slow(Path(space.paths[0]), 0)
        assert waiter.wait(20) == 0, told
    slow_disks.hang(Path(space.paths[0]))
    with running(*run_on(space, "vm", "1s", "echo", "it ran"), env=environment) as waiter:
        assert waiter.stderr is not None
        told = reader(waiter.stderr)
        eventually(lambda: any("cannot open" in line for line in told), timeout=20)
        slow_disks.slow(Path(space.paths[0]), 0)  # the kernel's part: no process ends while its I/O hangs
        assert waiter.wait(10) == 74, told


def test_a_join_outlasts_an_outage(slow_disks: SlowDisks, make_space: Maker) -> None:
    """Seven limits of an I/O, without a slot lost for it."""
    space = make_space(**SHAPE)
    speaker = Speaker(slow_disks, space.paths, timeout=None)
    try:
        slow_disks.hang(Path(space.paths[0]))
        timer = threading.Timer(7 * S / 4, slow_disks.slow, (Path(space.paths[0]), 0))
        timer.start()
        answer = speaker.ask()
        timer.join()
        assert "slot" in answer, answer
        assert 7 * S / 4 < answer["took"] < 7 * S / 4 + 5
        assert len([host for host in space.hosts() if host.liveness != "free"]) == 1
    finally:
        slow_disks.slow(Path(space.paths[0]), 0)
        speaker.end()


def test_the_callers_time_ends_a_wait_and_the_storage_is_named(slow_disks: SlowDisks, make_space: Maker) -> None:
    space = make_space(**SHAPE)
    speaker = Speaker(slow_disks, space.paths)
    try:
        assert "slot" in speaker.ask()
        assert "token" in speaker.acquire("vm")
        slow_disks.hang(Path(space.paths[0]))
        answer = speaker.acquire("other", timeout=2.5)
        assert answer["error"] == "StorageError", answer
        assert answer["path"] == space.paths[0]
        assert 2.4 < answer["took"] < 3.5
    finally:
        slow_disks.slow(Path(space.paths[0]), 0)
        speaker.end()


def test_signals_end_a_wait_for_the_storage(slow_disks: SlowDisks, make_space: Maker) -> None:
    space = make_space(**SHAPE)
    environment = clean_environment(**slow_disks.environment)
    with space.join("alpha") as alpha, alpha.acquire("vm"):
        with running(*run_on(space, "vm", "forever", "true"), env=environment) as waiter:
            joined(space, 2)
            slow_disks.hang(Path(space.paths[0]))
            time.sleep(2)
            waiter.terminate()
            time.sleep(0.5)
            slow_disks.slow(Path(space.paths[0]), 0)
            assert waiter.wait(10) == 128 + 15


def test_a_mistake_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    with running("run", "-L", tmp_path / "nothing", "-l", "vm", "--wait", "forever", "--", "true") as process:
        assert process.wait(10) == 66
    assert time.monotonic() - began < 5
    assert isinstance(process, subprocess.Popen)
