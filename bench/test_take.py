"""Embedded take and release against the same I/Os made bare, alternating on one file.

The ratio is in ``extra_info`` and at the end of the output.  What the floor's time leaves out:
Python, the hop to the I/O thread and back, checksums, judging.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from floor import Floor, Measure

import diskpaxos


class Holder:
    """Takes some leases and lets them go, so that the one can be measured and the other not."""

    def __init__(self, host: diskpaxos.Host, names: list[str]) -> None:
        self.host = host
        self.names = names
        self.leases: list[diskpaxos.Lease] = []

    def take(self) -> None:
        if not self.leases:
            self.leases = self.host.acquire_many(self.names)

    def release(self) -> None:
        leases, self.leases = self.leases, []
        self.host.release_many(leases)


class Scratch:
    """Where the floor works: own blocks that no host of this run writes, in areas of its own."""

    def __init__(self, host: diskpaxos.Host) -> None:
        shape = host.space.geometry
        self.block = shape.block_size
        self.area = shape.area_blocks * shape.block_size
        self.read = (1 + shape.max_hosts) * shape.block_size
        slot = shape.max_hosts - 1 if host.slot == 0 else 0
        self.at = shape.own_block(1, slot) * shape.block_size


@pytest.fixture
def scratch(host: diskpaxos.Host) -> Scratch:
    return Scratch(host)


@pytest.fixture
def names(host: diskpaxos.Host, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Leases made beforehand, as many as the test's parameter says (1 by default)."""
    made = [f"{request.node.name}-{i}" for i in range(getattr(request, "param", 1))]
    for name in made:
        host.create(name)
    yield made
    for name in made:
        host.delete(name)


def test_take_cached(
    host: diskpaxos.Host, floor: Floor, scratch: Scratch, against_floor: Measure, names: list[str]
) -> None:
    """W R"""
    holder = Holder(host, names)
    holder.take()
    against_floor(holder.take, lambda: floor.run(scratch.at, write=scratch.block, read=scratch.read), holder.release)
    holder.release()


def test_release(
    host: diskpaxos.Host, floor: Floor, scratch: Scratch, against_floor: Measure, names: list[str]
) -> None:
    """W"""
    holder = Holder(host, names)
    against_floor(holder.release, lambda: floor.run(scratch.at, write=scratch.block), holder.take)


@pytest.mark.parametrize("names", [8, 64], indirect=True)
def test_take_many(
    host: diskpaxos.Host, floor: Floor, scratch: Scratch, against_floor: Measure, names: list[str]
) -> None:
    """All W in flight together, then all R: the floor does the same with Linux AIO."""
    holder = Holder(host, names)
    holder.take()

    def bare() -> float:
        return floor.run(scratch.at, count=len(names), step=scratch.area, write=scratch.block, read=scratch.read)

    against_floor(holder.take, bare, holder.release, rounds=200)
    holder.release()


def test_refused(
    host: diskpaxos.Host, floor: Floor, scratch: Scratch, against_floor: Measure, names: list[str]
) -> None:
    """R, of a lease whose holder this host has seen before."""
    with diskpaxos.Lockspace.open(host.space.paths[0]) as space, space.join("holder") as other:
        lease = other.acquire(names[0])

        def refused() -> None:
            with pytest.raises(diskpaxos.errors.HeldError):
                host.acquire(names[0])

        refused()
        against_floor(refused, lambda: floor.run(scratch.at, read=scratch.read))
        lease.release()
