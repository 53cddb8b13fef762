"""Several processes take and release leases as fast as they can, and what is made of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import pairwise, repeat
from typing import Any

from floor import Floor
from measure import OURS, Record
from peers import sanlock as peer
from room import Room
from workers import Worker, soon, workers

Taking = tuple[int, int, int]  # first tried, had, release begun


def judged(takings: list[list[Taking]], seconds: float) -> dict[str, Any]:
    """Figures of a fight: of each host, its takings."""
    shares = sorted((len(mine) for mine in takings), reverse=True)
    order = sorted((had, host) for host, mine in enumerate(takings) for _, had, _ in mine)
    changes = sum(1 for (_, one), (_, two) in pairwise(order) if one != two)
    waits = sorted(had - tried for mine in takings for tried, had, _ in mine) or [0]
    least = shares[-1] or 0.5  # one that got nothing at all: worse than one that got one
    squares = sum(share * share for share in shares)
    return {
        "takings_per_second": round(sum(shares) / seconds, 1),
        "handovers_per_second": round(changes / seconds, 1),
        "unfairness": round(shares[0] / least, 2),
        "fairness_index": round(sum(shares) ** 2 / (len(shares) * squares), 3) if squares else 0.0,
        "wait_median_ms": round(statistics.median(waits) / 1e6, 2),
        "wait_p99_ms": round(waits[int(len(waits) * 0.99)] / 1e6, 2),
        "wait_longest_ms": round(waits[-1] / 1e6, 1),
        "shares": shares,
    }


def apart(takings: list[list[Taking]]) -> bool:
    """Whether no two hosts had it at once: what all this is about."""
    spans = sorted((had, released) for mine in takings for _, had, released in mine)
    return all(one[1] <= two[1] and one[0] < two[0] for one, two in pairwise(spans))


def our_fight(hosts: list[Worker], leases: Iterable[str], seconds: float) -> list[list[Taking]]:
    """Of each host, its takings of its lease."""
    start = soon(0.1)
    for host, lease in zip(hosts, leases, strict=False):
        host.order("fight", name=lease, start=start, end=start + int(seconds * 1e9))
    return [[(tried, had, released) for tried, had, released in host.result()] for host in hosts]


def their_fight(hosts: list[peer.Client], leases: Iterable[int], seconds: float) -> list[list[Taking]]:
    """Of each host, its takings of its lease."""
    start = soon(0.1)
    for host, lease in zip(hosts, leases, strict=False):
        host.send(f"fight {lease} {start} {start + int(seconds * 1e9)} 0")
    takings = []
    for host in hosts:
        code, _, *times = (int(word) for word in host.answer().split())
        assert code == 0
        takings.append(list(zip(times[0::3], times[1::3], times[2::3], strict=True)))
    return takings


def fight(
    record: Record,
    benchmark: Any,
    room: Room,
    kind: str,
    hosts: int,
    theirs: list[peer.Client],
    turns: int,
    seconds: float,
    row: str = "",
) -> None:
    """All want one lease; the systems take turns."""
    name = room.fresh()[0]
    takings: dict[str, list[list[Taking]]] = {OURS: [[] for _ in range(hosts)], "sanlock": [[] for _ in theirs]}

    with workers(kind, room.paths, hosts) as mine:

        def once() -> None:
            for _ in range(turns):
                add(takings[OURS], our_fight(mine, repeat(name), seconds))
                add(takings["sanlock"], their_fight(theirs, repeat(0), seconds))

        benchmark.pedantic(once, rounds=1)
    assert apart(takings[OURS])
    record.row(row or f"fight-{hosts}", f"{hosts} hosts, one lease, take and release without a pause")
    for system, found in takings.items():
        if found:
            record.values(system, **judged(found, turns * seconds))


def throughput(
    record: Record,
    benchmark: Any,
    room: Room,
    kind: str,
    sanlock: peer.Sanlock | None,
    processes: int,
    turns: int,
    seconds: float,
) -> None:
    """Each process has a lease of its own.  Ours: each is a host.  sanlock: all are clients of one
    daemon.  Floor: as many processes that make the same I/Os."""
    names = room.fresh(processes)
    block = room.shape.block_size
    takings: dict[str, list[list[Taking]]] = {OURS: [[] for _ in names], "sanlock": [[] for _ in names]}
    bare = 0
    with ExitStack() as stack:
        mine = stack.enter_context(workers(kind, room.paths, processes))
        read = cost(mine[0], names[0])
        floors = [stack.enter_context(Floor(room.paths[0])) for _ in names]
        theirs = [stack.enter_context(sanlock.daemons[0].client()) for _ in names] if sanlock is not None else []
        for number, client in enumerate(theirs):
            client.take(number)  # registered, and its memory warm
            client.release(number)

        def once() -> None:
            nonlocal bare
            for _ in range(turns):
                add(takings[OURS], our_fight(mine, names, seconds))
                add(takings["sanlock"], their_fight(theirs, range(processes), seconds))
                until = soon(seconds)
                for number, floor in enumerate(floors):
                    floor.begin(f"w{block}r{read}w{block}", room.at + number * room.area, until)
                bare += sum(floor.ended()[1] for floor in floors)

        benchmark.pedantic(once, rounds=1)
    record.row(f"throughput-{processes}", f"{processes} processes, each its own lease, take and release")
    for system, found in takings.items():
        if any(found):
            takes = sorted(had - tried for mine_ in found for tried, had, _ in mine_)
            record.values(
                system,
                per_second=round(len(takes) / (turns * seconds), 1),
                take_median_us=round(takes[len(takes) // 2] / 1e3, 1),
                take_p99_us=round(takes[int(len(takes) * 0.99)] / 1e3, 1),
            )
    record.values("floor", per_second=round(bare / (turns * seconds), 1))


def add(kept: list[list[Taking]], new: list[list[Taking]]) -> None:
    """Another turn of the same hosts."""
    for mine, more in zip(kept, new, strict=False):
        mine.extend(more)


def cost(worker: Worker, name: str) -> int:
    """Bytes that a cached take reads over there; a heartbeat in between can only add, so: the least."""
    seen: list[int] = []
    for _ in range(5):
        before = worker.call("io")["read"]
        worker.call("take", names=[name])
        seen.append(worker.call("io")["read"] - before)
        worker.call("release")
    return min(seen)
