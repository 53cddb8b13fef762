"""Several inits at once, also some that were stopped or killed half-way: exactly one success, one whole lockspace.

`DISKPAXOS_INIT_PAIRS` sets how many pairs of each kind are run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fix_spaces import CALM, QUICK, Maker, read_block, write_block

from diskpaxos import Lockspace, claim, errors
from diskpaxos.rebuild import rebuild_disk, rebuild_superblocks

PROGRAM = Path(__file__).parents[1] / "formatter.py"
PAIRS = int(os.environ.get("DISKPAXOS_INIT_PAIRS", "2"))

#: LIMIT, SETTLE and STALE: a busy test machine is slow, a stopped one should not be waited for for long.
TIMES = ("0.6", "0.9", "2.0")


class Formatter:
    """One init after the other, in a process of its own."""

    def __init__(self, *times: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *(times or TIMES)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.answer() == {"ok": "ready"}

    def begin(self, paths: list[Path], force: bool, stop: int = 0, announce: bool = False) -> None:
        assert self.process.stdin is not None
        command = {"paths": [str(path) for path in paths], "force": force, "stop": stop, "announce": announce}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def proceed(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass


@pytest.fixture
def formatter() -> Iterator[Callable[..., Formatter]]:
    started: list[Formatter] = []

    def start(*times: str) -> Formatter:
        started.append(Formatter(*times))
        return started[-1]

    yield start
    for process in started:
        process.end()


def disks_in(folder: Path, count: int, old: bool) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"disk{i}" for i in range(count)]
    if old:
        Lockspace.create(paths, **CALM).close()
    return paths


def one_lockspace(paths: list[Path], answers: list[dict[str, Any]]) -> None:
    """Exactly one success, and what lies there is its."""
    made = [answer["ok"] for answer in answers if "ok" in answer]
    assert len(made) == 1, answers
    with Lockspace.open(paths) as space:
        assert str(space.uuid) == made[0]
        assert all(disk.online for disk in space.info().disks)
        assert space.check() == []
        with space.join() as host:
            host.acquire("vm").release()


def at_most_one_lockspace(paths: list[Path], answers: list[dict[str, Any]]) -> None:
    """Who stands still between its last look and its write for longer than the other one waits may write over that
    one's claim: then both find the other's on some disk, and give way.  A third one makes what they wanted."""
    if any("ok" in answer for answer in answers):
        one_lockspace(paths, answers)
        return
    assert [answer["error"] for answer in answers] == ["BeingFormattedError"] * 2
    with Lockspace.create(paths, **CALM, force=True) as space:
        one_lockspace(paths, [{"ok": str(space.uuid)}])


@pytest.mark.timing
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("disks", [1, 3])
def test_of_two_inits_at_once_one_succeeds(
    tmp_path: Path, direct_io: None, formatter: Callable[..., Formatter], disks: int, force: bool
) -> None:
    one, two = formatter(), formatter()
    rng = random.Random(f"{disks} {force}")
    for pair in range(PAIRS):
        paths = disks_in(tmp_path / str(pair), disks, force)
        one.begin(paths, force)
        time.sleep(rng.choice([0, 0, rng.uniform(0, 0.02), rng.uniform(0, 0.5)]))
        two.begin(rng.sample(paths, len(paths)), force)
        one_lockspace(paths, [one.answer(), two.answer()])


@pytest.mark.timing
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("disks", [1, 3])
def test_one_of_two_inits_is_stopped_at_any_time(
    tmp_path: Path, direct_io: None, formatter: Callable[..., Formatter], disks: int, force: bool
) -> None:
    """Both begin, and one stands still for a while: shorter, or longer, than the other one waits for."""
    one, two = formatter(), formatter()
    rng = random.Random(f"{disks} {force}")
    for pair in range(PAIRS):
        paths = disks_in(tmp_path / str(pair), disks, force)
        one.begin(paths, force, announce=True)
        two.begin(paths, force)
        first = one.answer()
        if "looked" in first:  # who has not looked yet begins later, and force is force
            time.sleep(rng.uniform(0, 1.5))
            one.pause()
            time.sleep(rng.choice([0.1, 1.0, 2.5, 4.0]))
            one.proceed()
            first = one.answer()
        at_most_one_lockspace(paths, [first, two.answer()])


@pytest.mark.long
@pytest.mark.timing
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("disks", [1, 3])
def test_an_init_that_was_stopped_after_any_io_gives_way(
    tmp_path: Path, direct_io: None, formatter: Callable[..., Formatter], disks: int, force: bool
) -> None:
    """It stands still after its n-th I/O while another one runs from beginning to end."""
    one, two = formatter("0.6", "0.7", "0.8"), formatter("0.6", "0.7", "0.8")
    looked = 3 * disks  # who has not looked yet begins later, and force is force
    every = range(looked if force else 1, 30 * disks)
    chosen = random.Random(f"{disks} {force}").sample(every, min(3 * PAIRS, len(every)))
    for stop in sorted(chosen):
        paths = disks_in(tmp_path / str(stop), disks, force)
        one.begin(paths, force, stop)
        first = one.answer()
        if "stopped" not in first:  # it was done before
            assert "ok" in first
            return
        two.begin(paths, force)
        second = two.answer()
        one.proceed()
        one_lockspace(paths, [one.answer(), second])


@pytest.mark.parametrize("force", [False, True])
def test_a_killed_init_locks_nobody_out(
    tmp_path: Path, direct_io: None, formatter: Callable[..., Formatter], force: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "STALE", 0.5)
    for stop in (1, 2, 3, 4, 6, 9, 12):
        paths = disks_in(tmp_path / str(stop), 1, force)
        victim = formatter("0.6", "0.7", "0.8")
        victim.begin(paths, force, stop)
        assert victim.answer() == {"stopped": 1}
        victim.end()
        empty = paths[0].read_bytes()[4096:].strip(b"\0") == b""
        if not force and not empty:
            with pytest.raises(errors.NotEmptyError, match=r"interrupted|without hosts"):
                Lockspace.create(paths, **CALM)
        with Lockspace.create(paths, **CALM, force=force or not empty) as space:
            assert space.check() == []


def test_who_comes_while_another_formats_gives_way_at_once(
    tmp_path: Path, direct_io: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    caught: list[errors.BeingFormattedError] = []
    began: list[float] = []

    def meanwhile(action: str, done: int, total: int) -> None:
        if action.startswith("formatting") and not caught:
            monkeypatch.setattr(claim, "REFRESH", 0.0)  # its claim moves at each step; here there is no time for it
            real = time.sleep

            def step(seconds: float) -> None:
                monkeypatch.setattr(time, "sleep", real)
                running[0].hold()

            monkeypatch.setattr(time, "sleep", step)
            began.append(time.monotonic())
            with pytest.raises(errors.BeingFormattedError, match=f"process {os.getpid()}") as refused:
                Lockspace.create(tmp_path / "disk", **CALM, force=True)
            caught.append(refused.value)

    running: list[claim.MediumClaim] = []
    real_take = claim.MediumClaim.take

    def take(self: claim.MediumClaim) -> bool:
        running.append(self)
        return real_take(self)

    monkeypatch.setattr(claim.MediumClaim, "take", take)
    with Lockspace.create(tmp_path / "disk", **CALM, progress=meanwhile) as space:
        assert space.check() == []
    assert caught
    assert time.monotonic() - began[0] < claim.STALE


def test_a_host_that_joins_under_an_init_stops_it(make_space: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opened the lockspace before; the claim comes, and then the last look at the slots."""
    space = make_space(**QUICK)
    before = read_block(space, 0)
    real = claim.MediumClaim.take

    hosts = []

    def take(self: claim.MediumClaim) -> bool:
        hosts.append(space.join("late"))
        return real(self)

    monkeypatch.setattr(claim.MediumClaim, "take", take)
    with pytest.raises(errors.InUseError, match="late"):
        Lockspace.create(space.paths, **QUICK, force=True)
    assert read_block(space, 0) == before, "its superblock is back"
    assert space.check() == []
    hosts[0].leave()


def test_content_that_is_changed_behind_an_init_is_written_again(
    tmp_path: Path, direct_io: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late write of another init that was stopped, for instance."""
    path, spoiled = tmp_path / "disk", []

    def spoil(action: str, done: int, total: int) -> None:
        if action.startswith("formatting") and done == total and not spoiled:
            spoiled.append(True)
            with path.open("r+b") as file:
                file.seek(20_000)
                file.write(b"late")

    with Lockspace.create(path, **CALM, progress=spoil) as space:
        assert space.check() == []
    assert spoiled


def test_what_a_late_superblock_covered_is_told(
    tmp_path: Path, direct_io: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between the last look and the superblock's write, for longer than another init takes."""
    path, other = tmp_path / "disk", []
    real = claim.MediumClaim._put

    def put(self: claim.MediumClaim, position: int, head: bytes, may: Callable[[], bool]) -> bool:
        assert may()
        if claim.Claim.decode(head) is None and not other:
            monkeypatch.setattr(claim.MediumClaim, "_put", real)
            with monkeypatch.context() as patch:
                patch.setattr(claim, "STALE", 0.0)
                with Lockspace.create(path, **CALM, force=True) as space:
                    other.append(space.uuid)
        return real(self, position, head, lambda: True)

    monkeypatch.setattr(claim.MediumClaim, "_put", put)
    with pytest.raises(errors.BeingFormattedError, match="rebuild --superblocks"):
        Lockspace.create(path, **CALM)
    rebuild_superblocks(path)
    with Lockspace.open(path) as space:
        assert [space.uuid] == other
        assert space.check() == []


# ---- the same claim elsewhere


def test_two_rebuilds_of_one_disk(make_space: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = make_space(3, **QUICK)
    one, two, three = space.paths
    space.close()
    Path(two).unlink()
    caught: list[BaseException] = []

    def meanwhile(action: str, done: int, total: int) -> None:
        if action.startswith("copying") and not caught:
            monkeypatch.setattr(claim, "_POLL", 0.0)
            with pytest.raises((errors.BeingFormattedError, errors.NotEmptyError)) as refused:
                Lockspace.create(two, **CALM)
            caught.append(refused.value)

    assert rebuild_disk([one, three], two, progress=meanwhile) == 1
    with Lockspace.open(space.paths) as again:
        assert again.check() == []


def test_repair_leaves_a_claimed_disk_alone(make_space: Maker) -> None:
    space = make_space(3, **QUICK)
    head = claim.Claim(b"0123456789abcdef", 1, claim.Phase.FORMATTING, 4711, "elsewhere").encode()
    for opened_before in (True, False):
        write_block(space, 0, head, 1)
        with space if opened_before else Lockspace.open(space.paths) as some:
            report = some.repair()
            assert not report.mended
            assert "an init or rebuild is under way" in report.left[0]
        assert read_block(space, 0, 1) == head[:512]


def test_claims_there_and_back() -> None:
    made = claim.Claim(bytes(range(16)), 7, claim.Phase.ASKING, 4711, "hôst")
    head = made.encode()
    assert claim.Claim.decode(head) == made
    assert claim.Claim.decode(head[:512]) == made, "as a block of 512 bytes shows it"
    for position in range(100):
        broken = bytearray(head)
        broken[position] ^= 1
        assert claim.Claim.decode(bytes(broken)) is None
    assert claim.Claim.decode(bytes(4096)) is None


# ---- what no init can exclude


@pytest.mark.timing
@pytest.mark.parametrize("disks", [1, 3])
def test_a_host_whose_lockspace_was_formatted_under_it_is_finished(make_space: Maker, disks: int) -> None:
    """A superblock that was held up for longer than any wait lands on a lockspace in use: its hosts end at their
    next heartbeat, long before others of that new lockspace could have been waited for."""
    space, other = make_space(disks, **QUICK), make_space(disks, **QUICK)
    late = [read_block(other, 0, disk) for disk in range(disks)]
    host = space.join()
    lease = host.acquire("vm")
    for disk in range(disks // 2):  # a minority of the disks is not the lockspace
        write_block(space, 0, late[disk], disk)
    time.sleep(0.5)
    lease.check()
    for disk in range(disks // 2 + 1):
        write_block(space, 0, late[disk], disk)
    written = time.monotonic()
    assert lease.lost.wait(1.0)
    assert time.monotonic() - written < 0.6, "S / 8 and a few I/Os, not S"
    with pytest.raises(errors.FinishedError, match="formatted anew"):
        host.acquire("another")
    host.close()


def test_a_damaged_superblock_or_a_claim_ends_nobody(make_space: Maker) -> None:
    """Damage is repaired; and an init that met a living host takes its claim back."""
    space = make_space(**QUICK)
    before = read_block(space, 0)
    head = claim.Claim(b"0123456789abcdef", 1, claim.Phase.FORMATTING, 4711, "elsewhere").encode()
    damaged = bytearray(before)
    damaged[300] ^= 4
    with space.join() as host:
        lease = host.acquire("vm")
        for content in (damaged, bytes(512), head):
            write_block(space, 0, content)
            time.sleep(0.5)
            lease.check()
        write_block(space, 0, before)
        host.acquire("another").release()
