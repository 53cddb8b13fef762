"""Many hosts at once, in a lockspace with room for them."""

from __future__ import annotations

from typing import Any

import pytest
from fights import fight, throughput
from measure import Record
from peers import sanlock as peer
from room import Room
from storage import Storage

SHAPE = {"max_hosts": 128}  # twice as many slots as hosts, as is advised
HOSTS = 64

pytestmark = pytest.mark.full


def test_fight(
    room: Room,
    record: Record,
    benchmark: Any,
    client_kind: str,
    no_sanlock: str,
    storage: Storage,
    once: bool,
    long: bool,
    seconds: float,
) -> None:
    """Take, release, again, all of them at once.  64 sanlock daemons only in a long run."""
    hosts = 4 if once else HOSTS
    turns = 1 if once else 3
    if no_sanlock or once or not long:
        fight(record, benchmark, room, client_kind, hosts, [], turns, seconds)
        return
    with storage.peer("sanlock-many") as place, peer.Sanlock(place, hosts) as many:
        fight(record, benchmark, room, client_kind, hosts, many.clients, turns, seconds)


@pytest.mark.parametrize("processes", [16, 32, 64])
def test_throughput(
    room: Room,
    record: Record,
    benchmark: Any,
    client_kind: str,
    sanlock: peer.Sanlock | None,
    once: bool,
    seconds: float,
    processes: int,
) -> None:
    """Take, release, again, each its own lease."""
    if once:
        pytest.skip("only with benchmarks enabled")
    throughput(record, benchmark, room, client_kind, sanlock, processes, 2, seconds)
