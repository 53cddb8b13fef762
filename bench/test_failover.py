"""A host crashes: when does another have its lease?

The holder is a process that is killed at any moment between two heartbeats; the other host, which has
watched it for a while, waits for the lease.  Of sanlock: daemon and client are killed, the other host's
client asks again every 0.1 s (it is refused at first, then blocked).
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pytest
from measure import OURS, Record
from peers import sanlock as peer
from storage import Storage
from workers import soon, workers

import diskpaxos


@dataclass(frozen=True)
class Case:
    """``name``; S, K and W of ours; io_timeout of sanlock beside it, or 0."""

    name: str
    outage_tolerance: float
    kill_grace: float
    watchdog_timeout: float
    io_timeout: int = 0

    def __str__(self) -> str:
        return self.name


QUICK = [Case("S=1", 1, 0.5, 0.5), Case("S=4", 4, 1, 1)]
LONG = [
    Case("S=8", 8, 2, 2),
    Case("S=20", 20, 5, 5),
    Case("defaults", 40, 10, 10, 10),
    Case("equal-1", 8, 50, 10, 1),  # sanlock: 8 io_timeouts until it lets go, 60 s until it is reset
    Case("equal-10", 80, 50, 10, 10),
]


def sanlock_failover(storage: Storage, case: Case, figures: dict[str, float]) -> None:
    with storage.peer("sanlock-failover") as place, peer.Sanlock(place, 2, case.io_timeout) as hosts:
        time.sleep((2 + random.random()) * 2 * case.io_timeout)  # renewed, seen to be alive; at any phase
        holder, waiter = hosts.clients
        holder.take(0)
        waiter.refused(0)
        begin = soon(0)
        hosts.daemons[0].kill()
        holder.kill()
        code, _, had = (int(word) for word in waiter.ask(f"until 0 {soon(600)} {10**8}").split())
        assert code == 0
        figures.update(seconds=round((had - begin) / 1e9, 2), io_timeout=case.io_timeout)
        figures["nominal"] = 8 * case.io_timeout + 60
        waiter.release(0)


@pytest.mark.parametrize(
    "case",
    [
        *(pytest.param(case, marks=pytest.mark.full) for case in QUICK),
        *(pytest.param(case, marks=pytest.mark.long) for case in LONG),
    ],
    ids=str,
)
@pytest.mark.timeout(600)
def test_failover(
    storage: Storage, record: Record, benchmark: Any, client_kind: str, no_sanlock: str, case: Case, once: bool
) -> None:
    if once and case is not QUICK[0]:
        pytest.skip("only with benchmarks enabled")
    theirs: dict[str, float] = {}
    other = Thread(target=sanlock_failover, args=(storage, case, theirs))
    with ExitStack() as stack:
        path = stack.enter_context(
            storage.lockspace(
                max_hosts=64,
                max_leases=64,
                outage_tolerance=case.outage_tolerance,
                kill_grace=case.kill_grace,
                watchdog_timeout=case.watchdog_timeout,
                claim_time=min(1.0, case.outage_tolerance / 8),
            )
        )
        with diskpaxos.Lockspace.open(path, read_only=True) as space:
            dead_time = space.info().dead_time
        holder, waiter = stack.enter_context(workers(client_kind, (path,), 2))
        if case.io_timeout and not no_sanlock:
            other.start()
            stack.callback(other.join)
        holder.call("create", names=["vm"])
        holder.call("take", names=["vm"])
        time.sleep(case.outage_tolerance * (2 + random.random()) / 8)  # seen to be alive; at any phase

        def fail_over() -> float:
            begin = soon(0)
            holder.kill()
            _, had = waiter.call("take", names=["vm"], timeout=None)
            return float((had - begin) / 1e9)

        took = benchmark.pedantic(fail_over, rounds=1)
        waiter.call("release")
    record.row(f"failover-{case}", f"S {case.outage_tolerance:g}, K {case.kill_grace:g}, W {case.watchdog_timeout:g} s")
    record.values(OURS, seconds=round(took, 2), nominal=round(dead_time, 2), late=round(took - dead_time, 2))
    record.values(
        OURS, outage_tolerance=case.outage_tolerance, kill_grace=case.kill_grace, watchdog=case.watchdog_timeout
    )
    if theirs:
        record.values("sanlock", **theirs)
