"""What it costs to be a member: joining, heartbeats."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from clients import CLIENTS, Embedded
from limits import aio_missing
from measure import OURS, Record, io_bytes
from peers import sanlock as peer
from room import Room

SHAPE = {"max_hosts": 64, "max_leases": 64}
HOSTS = 64


def test_join(
    room: Room,
    record: Record,
    benchmark: Any,
    client_kind: str,
    sanlock: peer.Sanlock | None,
    once: bool,
    long: bool,
) -> None:
    """From nothing to a host that may take leases; then it leaves, untimed."""
    joined: list[Any] = []
    took: list[float] = []

    def leave() -> None:
        if joined:
            joined.pop().leave()

    def join() -> None:
        begin = time.monotonic()
        joined.append(CLIENTS[client_kind](room.paths))
        took.append(time.monotonic() - begin)

    benchmark.pedantic(join, setup=leave, rounds=1 if once else 20 if long else 5)
    leave()
    theirs = sanlock.joins if sanlock is not None else []
    record.row("join", f"sanlock: io_timeout {sanlock.io_timeout}" if sanlock is not None else "")
    record.times(diskpaxos=took, sanlock=theirs)


def test_heartbeat(
    room: Room, record: Record, benchmark: Any, sanlock: peer.Sanlock | None, once: bool, client_kind: str
) -> None:
    """Bytes that idle hosts move, counted by the kernel, while all 64 slots are in use."""
    if client_kind != "embedded":
        pytest.skip("an agent's heartbeat is that of the host that it embeds")
    others = 2 if once else HOSTS - 1  # one is the room's own
    if reason := aio_missing(others):
        pytest.skip(reason)
    with ThreadPoolExecutor(others) as pool:
        hosts = list(pool.map(lambda i: Embedded(room.paths, f"idle{i}"), range(others)))
    assert isinstance(room.client, Embedded)
    everybody = [room.client, *hosts]
    info = room.client.space.info()
    daemons = [daemon.pid for daemon in sanlock.daemons] if sanlock is not None else []
    renewal = 2.0 * sanlock.io_timeout if sanlock is not None else 0.0
    seconds = 0.2 if once else max(renewal + 1.0, 2.2 * info.heartbeat)

    def beats() -> int:
        return sum(host.host.status().beats for host in everybody)

    def idle() -> tuple[list[tuple[int, int]], int]:
        pids = [os.getpid(), *daemons]
        before, first = [io_bytes(pid) for pid in pids], beats()
        time.sleep(seconds)
        after, last = [io_bytes(pid) for pid in pids], beats()
        moved = [(two[0] - one[0], two[1] - one[1]) for one, two in zip(before, after, strict=True)]
        return moved, last - first

    moved, count = benchmark.pedantic(idle, rounds=1)
    record.row("heartbeat", f"{len(everybody)} hosts, idle for {seconds:.0f} s; per host")
    if count:
        read, written = moved[0][0] / count, moved[0][1] / count
        per_minute = (read + written) * 60 / info.heartbeat
        record.values(OURS, beats=count, read_bytes=round(read), written_bytes=round(written))
        record.values(OURS, every_s=info.heartbeat, bytes_per_minute=round(per_minute))
    # Its log goes through the page cache and would be counted among the writes: each renewal writes one sector.
    reads = [read for read, _ in moved[1:] if read >= peer.MEBI]
    if reads and not once:
        renewals = sum(round(read / peer.MEBI) for read in reads)
        read = sum(reads) / renewals
        record.values("sanlock", beats=renewals, read_bytes=round(read), written_bytes=512, every_s=renewal)
        record.values("sanlock", bytes_per_minute=round((read + 512) * 60 / renewal))
    with ThreadPoolExecutor(others) as pool:
        list(pool.map(Embedded.leave, hosts))
