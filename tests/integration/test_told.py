"""What a caller is told when it did not get what it asked for: whose fault it is, and how long it will take."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fix_members import MemberProcess
from fix_slow import SlowDisks
from fix_spaces import QUICK, Maker
from program import clean_environment, diskpaxos, eventually, is_running, running
from speaker import Speaker

from diskpaxos import HostEvent, Lockspace, errors

Opener = Callable[..., Lockspace]
Members = Callable[[Lockspace], MemberProcess]

# ---- held, or out of time, or the storage


@pytest.mark.parametrize("patience", [0.005, 0.05])
def test_a_lease_that_is_held_is_never_called_a_storage_fault(
    make_space: Maker, open_space: Opener, patience: float
) -> None:
    """Deadlines fall into rounds under way, of two threads that stand in each other's way."""
    space = make_space()
    told: Counter[str] = Counter()
    with space.join("alpha") as alpha, open_space(space).join("beta") as beta, beta.acquire("vm"):
        with pytest.raises(errors.HeldError):
            alpha.acquire("vm")  # from now on it has seen the holder

        def contend() -> None:
            end = time.monotonic() + 4
            while time.monotonic() < end:
                try:
                    alpha.acquire("vm", timeout=patience)
                except errors.DiskPaxosError as error:
                    told[type(error).__name__] += 1

        threads = [threading.Thread(target=contend) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert told["HeldError"] > 50
    # A look may fall behind on a busy machine; then there is no recent one, and only the time ran out.
    assert set(told) <= {"HeldError", "WaitTimeoutError"}, told
    assert told["WaitTimeoutError"] <= told["HeldError"] / 10, told


def test_an_old_look_is_no_holder(slow_disks: SlowDisks, make_space: Maker, open_space: Opener) -> None:
    """The last look showed a holder, but it is long past: what is told is that the time ran out."""
    space = make_space(outage_tolerance=4.0)
    beta = open_space(space).join("beta")
    speaker = Speaker(slow_disks, space.paths)
    try:
        assert "slot" in speaker.ask()
        with beta.acquire("vm"):
            assert speaker.acquire("vm", timeout=0.2)["error"] == "HeldError"
        time.sleep(0.6)  # more than S / 8
        slow_disks.slow(Path(space.paths[0]), 300)
        answer = speaker.acquire("vm", timeout=0.1)
        assert answer["error"] == "WaitTimeoutError", answer
        assert "nothing was taken" in answer["text"]
    finally:
        speaker.end()
        beta.leave()


# ---- the holder's life


def test_a_holder_that_lives_is_said_to(make_space: Maker, open_space: Opener) -> None:
    space = make_space(**QUICK)
    with space.join("alpha") as alpha, open_space(space).join("beta") as beta, beta.acquire("vm"):
        time.sleep(0.5)  # four heartbeats
        with pytest.raises(errors.HeldError) as caught:
            alpha.acquire("vm")
        error = caught.value
        assert error.alive is True
        assert error.silent_for is not None
        assert error.silent_for < 1.0
        assert "wait until it lets go" in error.advice


@pytest.mark.timing
def test_a_holder_that_died_is_counted_down(make_space: Maker, member: Members) -> None:
    space = make_space(**(QUICK | {"outage_tolerance": 4.0}))
    dead_time = space.info().dead_time
    alpha = space.join("alpha")
    other = member(space)
    other.call("join", name="beta")
    other.call("acquire", name="vm")
    time.sleep(1.2)
    other.kill()
    killed = time.monotonic()
    time.sleep(1.8)
    with pytest.raises(errors.HeldError) as caught:
        alpha.acquire("vm")
    error = caught.value
    passed = time.monotonic() - killed
    assert error.alive is None
    assert error.silent_for is not None
    assert passed - 0.1 <= error.silent_for + 0.5, "silence counts from when a heartbeat was last seen, not written"
    assert error.silent_for <= passed + 1.1
    assert error.free_in is not None
    assert abs(error.silent_for + error.free_in - (dead_time + 0.5)) < 0.2
    assert f"free in about {error.free_in:.1f} s" in error.advice
    alpha.acquire("vm", timeout=error.free_in).release()  # what was promised
    alpha.leave()


def test_another_holder_here_lives_as_we_do(make_space: Maker) -> None:
    with make_space().join("alpha") as host, host.acquire("vm"), pytest.raises(errors.HeldByThisHostError) as caught:
        host.acquire("vm")
    assert (caught.value.alive, caught.value.silent_for, caught.value.free_in) == (True, None, None)


# ---- which disk


@pytest.mark.parametrize("hung", [(1, 2), (0, 2), (0, 1)])
def test_the_disk_that_hangs_is_named_and_not_one_that_answers(
    slow_disks: SlowDisks, make_space: Maker, hung: tuple[int, int]
) -> None:
    space = make_space(3, outage_tolerance=2.0)
    paths = [Path(path) for path in space.paths]
    # Indexes are in the superblocks: the order of the paths does not matter.
    speaker = Speaker(slow_disks, tuple(reversed(space.paths)))
    try:
        assert "slot" in speaker.ask()
        assert "token" in speaker.acquire("vm", timeout=5)
        for index in hung:
            slow_disks.hang(paths[index])
        answer = speaker.acquire("other")
        assert answer["error"] == "StorageError", answer
        assert answer["disk"] in hung
        assert answer["path"] == str(paths[answer["disk"]])
        assert answer["path"] in answer["text"]
        assert "disk " not in answer["text"]
        assert "unknown error" not in answer["text"]
    finally:
        for path in paths:
            slow_disks.slow(path, 0)
        speaker.end()


def test_a_release_on_hung_storage_ends_in_time(slow_disks: SlowDisks, make_space: Maker, open_space: Opener) -> None:
    """The host goes on with it by itself, and the next one gets the lease when the storage is back."""
    space = make_space(outage_tolerance=4.0)
    (disk,) = (Path(path) for path in space.paths)
    speaker = Speaker(slow_disks, space.paths)
    try:
        assert "slot" in speaker.ask()
        assert "token" in speaker.acquire("vm")
        slow_disks.hang(disk)
        answer = speaker.release(0.3)
        assert answer["error"] == "WaitTimeoutError", answer
        assert 0.25 <= answer["took"] < 3
        assert "others get it once that is written" in answer["text"]
        slow_disks.slow(disk, 0)
        with open_space(space).join("next") as host:
            host.acquire("vm", timeout=5).release()
    finally:
        slow_disks.slow(disk, 0)
        speaker.end()


def test_events_name_the_disk_by_its_path(
    make_space: Maker, open_space: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    space = make_space(3, outage_tolerance=2.0)
    other = open_space(space)
    heard: list[HostEvent] = []
    with other.join("alpha") as host:
        host.on_event(heard.append)
        gone = Path(space.paths[1])
        gone.write_bytes(b"")  # a disk that was replaced by an empty one
        end = time.monotonic() + 10
        while not any(event.kind == "disk_down" for event in heard) and time.monotonic() < end:
            time.sleep(0.05)
        down = next(event for event in heard if event.kind == "disk_down")
        assert (down.disk, down.path, down.slot, down.block) == (1, space.paths[1], -1, -1)
        assert f"{space.paths[1]} is down" in caplog.text


# ---- joining


@pytest.mark.timing
def test_slow_storage_is_said_to_be_slow_in_time_and_keeps_few_slots(slow_disks: SlowDisks, make_space: Maker) -> None:
    """One attempt may keep a slot busy: sixteen of them filled a lockspace."""
    space = make_space(outage_tolerance=16.0, claim_time=0.2)
    disk = Path(space.paths[0])
    for timeout, most in ((1.0, 2.5), (10.0, 4.0)):
        speaker = Speaker(slow_disks, space.paths, timeout=timeout)
        try:
            slow_disks.slow(disk, 150)  # table and notices fit into T_claim, the write does not
            answer = speaker.ask()
        finally:
            slow_disks.slow(disk, 0)
            speaker.end()
        assert answer["error"] == "TimingError", answer
        assert answer["path"] == str(disk)
        assert "met another" not in answer["text"]
        assert answer["took"] < most
    used = [host for host in space.hosts() if host.liveness != "free"]
    assert len(used) <= 6, "three attempts each, at most"


def join_slowly(slow_disks: SlowDisks, space: Lockspace) -> dict[str, Any]:
    """What became of a join while each I/O took 400 ms."""
    speaker = Speaker(slow_disks, space.paths)
    try:
        slow_disks.slow(Path(space.paths[0]), 400)
        return speaker.ask()
    finally:
        slow_disks.slow(Path(space.paths[0]), 0)
        speaker.end()


@pytest.mark.timing
def test_who_cannot_join_is_told_which_claim_time_would_do(slow_disks: SlowDisks, make_space: Maker) -> None:
    """400 ms for each I/O, and the default T_claim; then what was advised."""
    space = make_space(outage_tolerance=40.0, claim_time=1.0)
    answer = join_slowly(slow_disks, space)
    assert answer["error"] == "TimingError", answer
    assert answer["took"] < 10, "the call"
    assert answer["claim_time"] == 1.0
    assert 2.4 <= answer["needed"] <= 4.0, answer
    assert f"--claim-time {answer['needed']:.1f}".removesuffix(".0") in answer["text"]
    assert "reading the slots 4" in answer["text"]

    space = make_space(outage_tolerance=40.0, claim_time=answer["needed"])
    answer = join_slowly(slow_disks, space)
    assert "slot" in answer, answer
    assert answer["took"] < 10


def test_few_free_slots_are_warned_of(make_space: Maker, caplog: pytest.LogCaptureFixture) -> None:
    """64 jobs that wait for one lease would fill the default lockspace in silence."""
    space = make_space(max_hosts=4)
    hosts = []
    for count in range(1, 5):
        caplog.clear()
        hosts.append(space.join(f"job-{count}"))
        low = [record.getMessage() for record in caplog.records if "slots run low" in record.getMessage()]
        assert len(low) == (4 - count < 2), (count, low)
    assert "0 of 4 are free" in low[0]
    with pytest.raises(errors.NoFreeSlotError) as caught:
        space.join("one too many", timeout=0)
    assert len(caught.value.waiting) == 4
    assert f"process {os.getpid()}" in str(caught.value)
    assert "one that only waits for a lease has a slot, too" in caught.value.advice
    for host in hosts:
        host.leave()


def test_wait_covers_the_slot_too(tmp_path: Path) -> None:
    """All slots are taken: `run --wait` waits for one, and hears signals meanwhile."""
    path = tmp_path / "lockspace"
    space = Lockspace.create(
        path, max_hosts=2, max_leases=8, outage_tolerance=2, kill_grace=1, watchdog_timeout=0.4, claim_time=0.1
    )
    with space:
        hosts = [space.join("one"), space.join("two")]
        arguments = ("run", "-L", path, "-l", "vm", "--wait", "forever", "--", "echo", "it ran")
        with running(*arguments) as waiting, running(*arguments) as interrupted:
            time.sleep(4)  # more than any number of attempts to claim
            assert waiting.poll() is None, waiting.communicate()
            assert interrupted.poll() is None, interrupted.communicate()
            interrupted.send_signal(signal.SIGTERM)
            assert interrupted.wait(3) == 128 + signal.SIGTERM
            hosts.pop().leave()
            assert waiting.wait(15) == 0
            assert waiting.stdout is not None
            assert waiting.stdout.read() == "it ran\n"
        done = diskpaxos("run", "-L", path, "-l", "vm", "--", "true", expect=0)
        hosts.append(space.join("two"))
        began = time.monotonic()
        done = diskpaxos("run", "-L", path, "-l", "vm", "--wait", "3s", "--", "true", expect=73)
        assert time.monotonic() - began > 3
        assert "all 2 host slots" in done.stderr
        for host in hosts:
            host.leave()


# ---- a disk that hangs


@pytest.mark.timing
def test_run_says_what_keeps_it(slow_disks: SlowDisks, make_space: Maker) -> None:
    """One of three disks hangs: the command runs and ends, the lease is released, yet the kernel (here: our stand-in
    for it) keeps the process."""
    space = make_space(3, outage_tolerance=2.0)
    disk = Path(space.paths[1])
    disks = [word for path in space.paths for word in ("-L", path)]
    with running(
        *("run", *disks, "-l", "vm", "--", "sh", "-c", "sleep 2; echo over"),
        env=clean_environment(**slow_disks.environment),
    ) as process:
        time.sleep(1.5)
        slow_disks.hang(disk)
        assert process.stderr is not None
        told = process.stderr.readline()
        while "does not answer" not in told or "all is done" not in told:
            assert told, "nothing was said"
            told = process.stderr.readline()
        assert f"{disk} does not answer, for " in told
        assert f"UTC); the kernel keeps process {process.pid}" in told
        slow_disks.slow(disk, 0)
        assert process.wait(10) == 0


@pytest.mark.timing
def test_run_says_that_its_command_is_dead_though_it_lives_on(slow_disks: SlowDisks, make_space: Maker) -> None:
    """The only disk hangs: the command is ended at S; only `run` stays for as long as the kernel says."""
    space = make_space(outage_tolerance=2.0, kill_grace=1.0, watchdog_timeout=0.4)
    disk = Path(space.paths[0])
    with running(
        *("run", "-L", disk, "-l", "vm", "--", "sh", "-c", "echo $$; exec sleep 60"),
        env=clean_environment(**slow_disks.environment),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        command = int(process.stdout.readline())
        slow_disks.hang(disk)
        began = time.monotonic()
        eventually(lambda: not is_running(command))
        assert time.monotonic() - began < 3.5, "S, K and a little"
        told = process.stderr.readline()
        while "does not answer" not in told:
            assert told, "nothing was said"
            told = process.stderr.readline()
        assert re.search(r"does not answer, for \d\S* now \(since 2\d+-.* UTC\); the kernel keeps process", told), told
        assert "the command has ended" in told
        assert process.poll() is None
        slow_disks.slow(disk, 0)
        assert process.wait(20) == 76
