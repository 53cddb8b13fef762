"""What a cached take costs as the lockspace grows: with its slots, and with its areas."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from clients import CLIENTS
from floor import Floor
from measure import OURS, Record
from room import Compare, Room
from storage import Storage
from test_take import Holder

pytestmark = pytest.mark.full


def measure(row: str, storage: Storage, kind: str, record: Record, compare: Compare, once: bool, **shape: int) -> None:
    with ExitStack() as stack:
        path = stack.enter_context(storage.lockspace(**shape))
        client = CLIENTS[kind]((path,))
        stack.callback(client.leave)
        room = Room((path,), client, stack.enter_context(Floor(path)))
        holder = Holder(room, room.fresh())
        read, written = holder.cost(record)
        steps = f"w{written}r{read}"
        compare(
            row,
            holder.take,
            before=holder.release,
            floor=lambda: room.bare(steps),
            most=300,
            note=", ".join(f"{name} {value:,}" for name, value in shape.items()),
        )
        holder.release()
    record.values(OURS, **shape)


@pytest.mark.parametrize("hosts", [8, 64, 256, 1000, 2000])
def test_hosts(storage: Storage, client_kind: str, record: Record, compare: Compare, once: bool, hosts: int) -> None:
    """Slots: an area has a block for each."""
    if once and hosts > 64:
        pytest.skip("only with benchmarks enabled")
    measure(f"hosts-{hosts}", storage, client_kind, record, compare, once, max_hosts=hosts, max_leases=16)


@pytest.mark.parametrize("leases", [10, 100, 1_000, 10_000, 100_000])
def test_leases(storage: Storage, client_kind: str, record: Record, compare: Compare, once: bool, leases: int) -> None:
    """Areas: nothing should depend on them."""
    if once and leases > 100:
        pytest.skip("only with benchmarks enabled")
    measure(f"leases-{leases}", storage, client_kind, record, compare, once, max_hosts=8, max_leases=leases)
