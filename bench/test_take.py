"""One client's operations against the same I/Os made bare and against sanlock's, alternating.

What the floor's time leaves out: Python, hops between threads, checksums, judging.  Its reads are as
long as those that the operation makes (counted by the kernel), so a shorter read is no advantage
over the floor; the bytes are in the report.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from clients import CLIENTS
from limits import queue_depth
from measure import OURS, Record, Timed, io_of
from peers.sanlock import Sanlock
from room import Compare, Room

import diskpaxos


class Holder:
    """Takes some leases and lets them go, so that the one can be measured and the other not."""

    def __init__(self, room: Room, names: list[str], *, shared: bool = False) -> None:
        self.client = room.client
        self.names = names
        self.shared = shared
        self.held: Any = None

    def take(self) -> None:
        if self.held is None:
            self.held = self.client.take(self.names, shared=self.shared)

    def release(self) -> None:
        if self.held is not None:
            held, self.held = self.held, None
            self.client.release(held)

    def cost(self, record: Record) -> tuple[int, int]:
        """Bytes that a cached take reads and writes, per lease; left released."""
        self.take()
        self.release()
        read, written = io_of(os.getpid(), self.take, self.release)
        count = len(self.names)
        record.values(OURS, read_bytes=read, written_bytes=written, leases=count)
        return read // count, written // count


def peer_take(sanlock: Sanlock | None, count: int = 1, *, shared: bool = False) -> Timed | None:
    """A sanlock take; what was taken is released, untimed."""
    if sanlock is None:
        return None
    client = sanlock.clients[0]

    def take() -> float:
        took = client.take(0, count, shared=shared)
        client.release(0, count)
        return took

    return take


def peer_release(sanlock: Sanlock | None) -> Timed | None:
    if sanlock is None:
        return None
    client = sanlock.clients[0]

    def release() -> float:
        client.take(0)
        return client.release(0)

    return release


def test_take_cached(room: Room, record: Record, compare: Compare, sanlock: Sanlock | None) -> None:
    """W R"""
    holder = Holder(room, room.fresh())
    read, written = holder.cost(record)
    steps = f"w{written}r{read}"
    compare(
        "take-cached",
        holder.take,
        before=holder.release,
        floor=lambda: room.bare(steps),
        sanlock=peer_take(sanlock),
        note=f"floor: {steps}",
    )
    holder.release()


def test_take_unseen(
    room: Room, record: Record, compare: Compare, sanlock: Sanlock | None, client_kind: str, once: bool, rounds: int
) -> None:
    """R W R, of leases that another host has made and this one has never read."""
    names = room.fresh(1 if once else rounds + 20)
    read, written = Holder(room, room.fresh()).cost(record)
    steps = f"r{read}w{written}r{read}"
    other = CLIENTS[client_kind](room.paths)
    left = iter(names)
    held: list[Any] = []

    def release() -> None:
        if held:
            other.release(held.pop())

    compare(
        "take-unseen",
        lambda: held.append(other.take([next(left)])),
        before=release,
        floor=lambda: room.bare(steps),
        sanlock=peer_take(sanlock),
        note=f"floor: {steps}",
    )
    release()
    other.leave()


@pytest.mark.full
def test_take_shared(room: Room, record: Record, compare: Compare, sanlock: Sanlock | None) -> None:
    """W R"""
    holder = Holder(room, room.fresh(), shared=True)
    read, written = holder.cost(record)
    steps = f"w{written}r{read}"
    compare(
        "take-shared",
        holder.take,
        before=holder.release,
        floor=lambda: room.bare(steps),
        sanlock=peer_take(sanlock, shared=True),
        note=f"floor: {steps}",
    )
    holder.release()


def test_release(room: Room, compare: Compare, sanlock: Sanlock | None) -> None:
    """W"""
    holder = Holder(room, room.fresh())
    steps = f"w{room.shape.block_size}"
    compare(
        "release",
        holder.release,
        before=holder.take,
        floor=lambda: room.bare(steps),
        sanlock=peer_release(sanlock),
        note=f"floor: {steps}",
    )
    holder.release()


@pytest.mark.full
def test_take_refused(room: Room, record: Record, compare: Compare, sanlock: Sanlock | None, client_kind: str) -> None:
    """R, of a lease whose holder this host has seen before."""
    holder = Holder(room, room.fresh())
    read, _ = holder.cost(record)
    other = CLIENTS[client_kind](room.paths)
    held = other.take(holder.names)

    def refused() -> None:
        with pytest.raises(diskpaxos.errors.HeldError):
            room.client.take(holder.names)

    refused()
    theirs: Callable[[], float] | None = None
    if sanlock is not None:
        one, two = sanlock.clients
        one.take(1)
        theirs = lambda: two.refused(1)  # noqa: E731
    compare("take-refused", refused, floor=lambda: room.bare(f"r{read}"), sanlock=theirs, note=f"floor: r{read}")
    if sanlock is not None:
        sanlock.clients[0].release(1)
    other.release(held)
    other.leave()


@pytest.mark.parametrize(
    ("count", "most", "sparse"), [(8, 1000, 4), pytest.param(64, 1000, 1, marks=pytest.mark.full), (1000, 100, 1)]
)
def test_take_many(
    room: Room,
    record: Record,
    compare: Compare,
    sanlock: Sanlock | None,
    once: bool,
    count: int,
    most: int,
    sparse: int,
) -> None:
    """All W in flight together, then all R: the floor does the same with Linux AIO, as deep as we do.

    Of more leases than that, the floor is then made with all of them in flight, too: what a deeper queue of
    ours would give, or cost.
    """
    row = count
    count = min(count, 64) if once else count
    holder = Holder(room, room.fresh(count))
    read, written = holder.cost(record)
    steps = f"w{written}r{read}"
    depth = queue_depth()
    compare(
        f"take-{count}",
        holder.take,
        before=holder.release,
        floor=lambda: room.bare(steps, count),
        sanlock=peer_take(sanlock, count) if count <= 8 else None,
        sparse=sparse,
        most=most,
        note=f"floor: {count} x {steps[: steps.index('r')]} together, then {count} x r{read}"
        + (f"; {depth} in flight" if row > depth else ""),
    )
    holder.release()
    if row > depth:
        deeper = [room.bare(steps, count, count) for _ in range(1 if once else 20)]
        record.values("floor", all_in_flight_median_us=round(statistics.median(deeper) * 1e6, 1))
