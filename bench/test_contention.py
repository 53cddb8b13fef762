"""Several hosts want one lease: who gets it, how often, how long the others wait.

Each host is a process; of sanlock, a daemon and a client process.  sanlock has no waiting call:
its clients ask again at once when refused, which is the fastest that they can do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fights import fight, throughput
from measure import OURS, Record
from peers import sanlock as peer
from room import Room
from storage import Storage
from workers import Worker, soon, together, workers


@contextmanager
def sanlock_hosts(
    count: int, sanlock: peer.Sanlock | None, storage: Storage, *, once: bool
) -> Iterator[list[peer.Client]]:
    """So many, or none: those of the session when two will do."""
    if sanlock is None or (count > 2 and once):
        yield []
    elif count <= len(sanlock.clients):
        yield sanlock.clients[:count]
    else:
        with storage.peer("sanlock-many") as place, peer.Sanlock(place, count) as many:
            yield many.clients


@pytest.mark.parametrize("hosts", [2, pytest.param(8, marks=pytest.mark.full)])
def test_fight(
    room: Room,
    record: Record,
    benchmark: Any,
    client_kind: str,
    sanlock: peer.Sanlock | None,
    storage: Storage,
    once: bool,
    seconds: float,
    hosts: int,
) -> None:
    """Take, release, again, all of them at once."""
    with sanlock_hosts(hosts, sanlock, storage, once=once) as theirs:
        fight(record, benchmark, room, client_kind, hosts, theirs, 1 if once else 3, seconds)


@pytest.mark.parametrize("processes", [*(pytest.param(n, marks=pytest.mark.full) for n in (1, 2, 4)), 8])
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
    if once and processes not in (1, 4):
        pytest.skip("only with benchmarks enabled")
    throughput(record, benchmark, room, client_kind, sanlock, processes, 1 if once else 3, seconds)


@pytest.mark.full
def test_contended(
    room: Room,
    record: Record,
    benchmark: Any,
    client_kind: str,
    sanlock: peer.Sanlock | None,
    once: bool,
    rounds: int,
) -> None:
    """Two hosts begin to take a free lease at the same moment: when does the winner know?"""
    name = room.fresh()[0]
    won: dict[str, list[float]] = {OURS: [], "sanlock": []}
    told: dict[str, list[float]] = {OURS: [], "sanlock": []}

    def sort(system: str, answers: list[Any]) -> list[bool]:
        for given, begin, end in answers:
            (won if given else told)[system].append((end - begin) / 1e9)
        return [bool(given) for given, _, _ in answers]

    def ours(pair: list[Worker]) -> None:
        results = sort(OURS, together(pair, "at", name=name, start=soon(0.005)))
        assert sum(results) < 2
        for host, given in zip(pair, results, strict=True):
            if given:
                host.call("release")

    def theirs() -> None:
        assert sanlock is not None
        start = soon(0.005)
        for client in sanlock.clients:
            client.send(f"at 0 {start}")
        answers = [tuple(int(word) for word in client.answer().split()) for client in sanlock.clients]
        results = sort("sanlock", [(code == 0, begin, end) for code, begin, end in answers])
        for client, given in zip(sanlock.clients, results, strict=True):
            if given:
                client.release(0)

    count = 1 if once else max(1, rounds // 10)
    with workers(client_kind, room.paths, 2) as pair:

        def turns() -> None:
            for i in range(count):
                ours(pair)
                if sanlock is not None and i % 4 == 0:  # a loser of theirs needs half a second
                    theirs()

        benchmark.pedantic(turns, rounds=1)
    record.row("take-contended", "two hosts begin at the same moment; the winner's time")
    record.times(**won)
    for system, losers in told.items():
        if won[system] or losers:
            median = round(statistics.median(losers) * 1e3, 2) if losers else None
            record.values(system, winners=len(won[system]), losers=len(losers), loser_told_median_ms=median)


@pytest.mark.full
def test_handover(
    room: Room,
    record: Record,
    benchmark: Any,
    client_kind: str,
    sanlock: peer.Sanlock | None,
    once: bool,
    rounds: int,
) -> None:
    """One host holds, another waits: from the beginning of the release until the other has it."""
    name = room.fresh()[0]
    taken: dict[str, list[float]] = {OURS: [], "sanlock": []}

    def ours(holder: Worker, waiter: Worker, held_for: float) -> None:
        holder.call("take", names=[name])
        waiter.order("take", names=[name], timeout=None)
        time.sleep(held_for)
        begin, _ = holder.call("release")
        _, had = waiter.result()
        waiter.call("release")
        taken[OURS].append((had - begin) / 1e9)

    def theirs(holder: peer.Client, waiter: peer.Client, held_for: float) -> None:
        holder.take(0)
        waiter.send(f"until 0 {soon(60)} 0")
        time.sleep(held_for)
        _, begin, _ = (int(word) for word in holder.ask("release 0 1").split())
        code, _, had = (int(word) for word in waiter.answer().split())
        assert code == 0
        waiter.release(0)
        taken["sanlock"].append((had - begin) / 1e9)

    count = 1 if once else max(1, rounds // 10)
    with workers(client_kind, room.paths, 2) as pair:

        def turns() -> None:
            for i in range(count):
                # Held from a few milliseconds to many: a waiter that asks ever more seldom must show it.
                held_for = 0.005 + 0.01 * (i % 10)
                ours(pair[i % 2], pair[1 - i % 2], held_for)
                if sanlock is not None:
                    theirs(sanlock.clients[i % 2], sanlock.clients[1 - i % 2], held_for)

        benchmark.pedantic(turns, rounds=1)
    record.row("handover", "release begun until the waiting host has it; held for 5 to 95 ms")
    record.times(**taken)
