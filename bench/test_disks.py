"""A lockspace on three disks: files beside one another here, so the device is asked three times as often.

sanlock has nothing to hold against it: its code for several disks is called untested by its own source.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from clients import CLIENTS
from fights import fight
from floor import Floor
from limits import aio_missing
from measure import Record
from room import Compare, Room
from storage import Storage
from test_take import Holder

DISKS = 3
MAJORITY = 2

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def three(storage: Storage, client_kind: str) -> Iterator[Room]:
    if storage.device:
        pytest.skip("needs a directory or a file: a device is one disk")
    if reason := aio_missing(1, DISKS):
        pytest.skip(reason)
    with ExitStack() as stack:
        paths = stack.enter_context(storage.mirrored(DISKS, max_hosts=128, max_leases=256))
        client = CLIENTS[client_kind](paths)
        stack.callback(client.leave)
        yield Room(paths, client, stack.enter_context(Floor(paths[0])))


def test_take(three: Room, compare: Compare) -> None:
    """W R on all of them at once; a majority decides.  So does the floor: the second of three to end."""
    holder = Holder(three, three.fresh())
    holder.take()  # seen from here on
    block = three.shape.block_size
    steps = f"w{block}r{block * (1 + three.shape.max_hosts)}"
    with ExitStack() as stack:
        floors = [three.floor, *(stack.enter_context(Floor(path)) for path in three.paths[1:])]

        def bare() -> float:
            for floor in floors:
                floor.begin(steps, three.at, 0)
            return sorted(floor.ended()[0] for floor in floors)[MAJORITY - 1]

        note = f"floor: {steps} on {DISKS} files at once, the second one to end"
        compare("disks-3-take", holder.take, before=holder.release, floor=bare, note=note)
    holder.release()


@pytest.mark.parametrize("hosts", [8, 64])
def test_fight(
    three: Room, record: Record, benchmark: Any, client_kind: str, once: bool, seconds: float, hosts: int
) -> None:
    """Take, release, again, all of them at once.  64 hosts need a higher fs.aio-max-nr than the default."""
    hosts = min(hosts, 4) if once else hosts
    fight(record, benchmark, three, client_kind, hosts, [], 1 if once else 3, seconds, f"disks-3-fight-{hosts}")
