"""The cost table of docs/protocol.md, counted by the kernel: /sys/block/loopN/stat around each operation.

S is so long that no heartbeat falls in between; should one do so all the same, the operation is done again.
(Which of a batch's I/Os go together: test_rounds.py.)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import diskpaxos
from diskpaxos import errors

AREA = 36_864  # of 64 slots in 512-byte blocks, padding included
TIMES = {"outage_tolerance": 240.0, "kill_grace": 10.0, "watchdog_timeout": 10.0, "claim_time": 0.3}


pytestmark = [pytest.mark.root, pytest.mark.loop]


@dataclass(frozen=True)
class Count:
    """I/Os that reached the device, and their bytes."""

    reads: int
    read_bytes: int
    writes: int
    written_bytes: int

    def __sub__(self, other: Count) -> Count:
        return Count(
            self.reads - other.reads,
            self.read_bytes - other.read_bytes,
            self.writes - other.writes,
            self.written_bytes - other.written_bytes,
        )


class Device:
    """A loop device and its counters."""

    def __init__(self, backing: Path) -> None:
        backing.write_bytes(b"")
        os.truncate(backing, 48 << 20)
        made = subprocess.run(
            ["losetup", "--find", "--show", str(backing)], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            pytest.skip(f"loop devices are not permitted here: {made.stderr.strip()}")
        self.path = made.stdout.strip()
        self._stat = Path("/sys/block", Path(self.path).name, "stat")

    def count(self) -> Count:
        fields = [int(field) for field in self._stat.read_text().split()]
        return Count(fields[0], fields[2] * 512, fields[4], fields[6] * 512)

    def settled(self) -> Count:
        """The counters once they have stood still for a while."""
        before = self.count()
        while True:
            time.sleep(0.2)
            now = self.count()
            if now == before:
                return now
            before = now

    def close(self) -> None:
        subprocess.run(["losetup", "--detach", self.path], check=True)


@pytest.fixture
def devices(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Device]]:
    if os.geteuid() != 0 or not shutil.which("losetup"):
        pytest.skip("loop devices need root and losetup")
    made: list[Device] = []
    try:
        for i in range(getattr(request, "param", 1)):
            made.append(Device(tmp_path / f"disk{i}"))
        yield made
    finally:
        for device in made:
            device.close()


@dataclass
class Pair:
    """Two hosts in one lockspace, and what their operations cost."""

    devices: list[Device]
    us: diskpaxos.Host
    them: diskpaxos.Host

    def cost(self, operation: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> list[Count]:
        """What one operation costs on each device; ``prepare`` is not counted."""
        for _ in range(5):
            prepare()
            before = [device.settled() for device in self.devices]
            beats = self.us.status().beats, self.them.status().beats
            operation()
            after = [device.settled() for device in self.devices]
            if beats == (self.us.status().beats, self.them.status().beats):
                return [now - then for now, then in zip(after, before, strict=True)]
        raise AssertionError("a heartbeat fell into every one of five attempts")


@pytest.fixture
def pair(devices: list[Device]) -> Iterator[Pair]:
    paths = [device.path for device in devices]
    with (
        diskpaxos.Lockspace.create(paths, max_hosts=64, max_leases=1200, block_size=512, **TIMES) as space,
        diskpaxos.Lockspace.open(paths) as other_space,
        space.join("us") as us,
        other_space.join("them") as them,
    ):
        yield Pair(devices, us, them)


def reads_and_writes(counts: list[Count]) -> list[tuple[int, int]]:
    """(reads, writes) per device, after a look at the bytes: at most an area per read, a block per write."""
    for count in counts:
        assert count.read_bytes <= count.reads * AREA
        assert count.written_bytes == count.writes * 512
    return [(count.reads, count.writes) for count in counts]


def test_take_cached_is_one_write_and_one_read(pair: Pair) -> None:
    leases = [pair.us.acquire("vm")]
    cost = pair.cost(lambda: leases.append(pair.us.acquire("vm")), lambda: leases.pop().release())
    assert reads_and_writes(cost) == [(1, 1)]
    leases.pop().release()


def test_take_never_seen_is_one_read_more(pair: Pair) -> None:
    names = iter([f"vm{i}" for i in range(5)])
    pair.them.create("warm")
    pair.us.acquire("warm").release()
    taken: list[diskpaxos.Lease] = []
    fresh: list[str] = []

    def prepare() -> None:
        fresh.append(next(names))
        pair.them.create(fresh[-1])

    cost = pair.cost(lambda: taken.append(pair.us.acquire(fresh[-1])), prepare)
    assert reads_and_writes(cost) == [(2, 1)]
    pair.us.release_many(taken)


def test_release_is_one_write(pair: Pair) -> None:
    leases: list[diskpaxos.Lease] = []
    cost = pair.cost(lambda: leases.pop().release(), lambda: leases.append(pair.us.acquire("vm")))
    assert reads_and_writes(cost) == [(0, 1)]


def refused(host: diskpaxos.Host, name: str) -> None:
    with pytest.raises(errors.HeldError):
        host.acquire(name, create=False)


def test_refused_by_a_holder_seen_before_is_one_read(pair: Pair) -> None:
    with pair.them.acquire("vm"):
        refused(pair.us, "vm")
        assert reads_and_writes(pair.cost(lambda: refused(pair.us, "vm"))) == [(1, 0)]


def test_refused_by_a_new_holder_is_two_reads(pair: Pair) -> None:
    pair.us.acquire("vm").release()
    with pair.them.acquire("before"):
        refused(pair.us, "before")  # a host that was never met costs a heartbeat, and so another attempt here
    leases: list[diskpaxos.Lease] = []

    def new_holder() -> None:
        pair.them.release_many(leases)
        leases[:] = [pair.them.acquire("vm")]
        pair.us.acquire("other").release()

    pair.us.acquire("other").release()
    # The flag is met by a Look where the cached image shows one; here it shows a free lease, so
    # a round raises its own flag first, meets a higher one or a lower one, and voids.
    counts = pair.cost(lambda: refused(pair.us, "vm"), new_holder)
    ((reads, writes),) = reads_and_writes(counts)
    assert writes == 2, "raise and void"
    assert 2 <= reads <= 5


def test_refused_on_first_sight_is_two_reads(pair: Pair) -> None:
    leases: list[diskpaxos.Lease] = []
    names = iter([f"vm{i}" for i in range(5)])

    def new_holder() -> None:
        leases.append(pair.them.acquire(next(names)))

    cost = pair.cost(lambda: refused(pair.us, leases[-1].name), new_holder)
    assert reads_and_writes(cost) == [(2, 0)]
    pair.them.release_many(leases)


def test_create_is_about_nine(pair: Pair) -> None:
    pair.us.create("warm")
    names = iter([f"vm{i}" for i in range(5)])
    fresh: list[str] = []
    (count,) = pair.cost(lambda: pair.us.create(fresh[-1]), lambda: fresh.append(next(names)))
    # R (find) · W R (directory) · R (find again) · R W R (area) · W (header) · W W (both flags, together)
    assert count.reads + count.writes <= 12
    assert count.writes == 5
    assert count.written_bytes == 5 * 512


@pytest.mark.parametrize("devices", [3], indirect=True)
def test_three_disks_cost_the_same_on_each(pair: Pair) -> None:
    leases = [pair.us.acquire("vm")]
    cost = pair.cost(lambda: leases.append(pair.us.acquire("vm")), lambda: leases.pop().release())
    assert reads_and_writes(cost) == [(1, 1)] * 3
    assert reads_and_writes(pair.cost(lambda: leases.pop().release())) == [(0, 1)] * 3
