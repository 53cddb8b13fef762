"""A host dies by kill -9: another joins at once, and has its lease after T_dead, never before."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from fix_members import MemberProcess
from program import json_of

import diskpaxos

Maker = Callable[..., diskpaxos.Lockspace]
Members = Callable[[diskpaxos.Lockspace], MemberProcess]

FAST = {"outage_tolerance": 0.5, "kill_grace": 0.2, "watchdog_timeout": 0.1, "claim_time": 0.1}
DEFAULTS = {"outage_tolerance": 40.0, "kill_grace": 10.0, "watchdog_timeout": 10.0, "claim_time": 1.0}
ATTEMPTS = 3  # a machine shared with others has slow moments; "never before" is demanded of each


def fail_over(space: diskpaxos.Lockspace, member: Members) -> tuple[float, float, float]:
    """Seconds: of the join after the kill; until the lease was there, since the kill and since the last heartbeat."""
    victim, heir = member(space), member(space)
    slot = victim.call("join", name="victim")
    token = victim.call("acquire", name="vm")["token"]
    time.sleep(space.info().heartbeat)
    victim.kill()
    killed = time.clock_gettime(time.CLOCK_BOOTTIME)
    silent_since = space.hosts()[slot].last_heartbeat - time.time() + time.clock_gettime(time.CLOCK_BOOTTIME)
    assert heir.call("join", name="heir") != slot
    joined = time.clock_gettime(time.CLOCK_BOOTTIME)
    taken = heir.call("acquire", name="vm", timeout=300)
    assert taken["token"] > token
    heir.call("release", name="vm")
    heir.call("leave")
    return joined - killed, taken["at"] - killed, taken["at"] - silent_since


def test_every_listing_shows_one_holder(make_space: Maker, member: Members) -> None:
    """The loser was cut off: its flag stands, its slot is not drained, and so nobody may write there."""
    space = make_space(max_hosts=8, max_leases=16, **FAST)
    victim, heir = member(space), member(space)
    victim.call("join", name="victim")
    victim.call("acquire", name="vm")
    victim.pause()
    heir.call("join", name="heir")
    token = heir.call("acquire", name="vm", timeout=30)["token"]
    for watch in (0.0, 0.0, 0.3):
        (lease,) = [lease for lease in space.leases(watch=watch) if lease.holders]
        assert [(holder.host, holder.token) for holder in lease.holders] == [("heir", token)]
    held = json_of("leases", "-L", space.paths[0], "--held")
    assert [holder["host"] for holder in held[0]["holders"]] == ["heir"]
    heir.call("release", name="vm")
    assert not [lease for lease in space.leases() if lease.holders]


@pytest.mark.timing
@pytest.mark.parametrize(
    ("times", "limit"),
    [
        pytest.param(FAST, 3.0, id="S=0.5"),
        pytest.param(
            DEFAULTS,
            90.0,
            id="defaults",
            marks=pytest.mark.skipif("DISKPAXOS_LONG" not in os.environ, reason="72 s: set DISKPAXOS_LONG=1"),
        ),
    ],
)
def test_failover(make_space: Maker, member: Members, times: dict[str, Any], limit: float) -> None:
    seen = []
    for _ in range(ATTEMPTS):
        space = make_space(max_hosts=64, max_leases=1024, **times)
        dead_time = space.info().dead_time
        join, since_kill, silent = fail_over(space, member)
        print(
            f"joined in {join:.2f} s; took the lease {since_kill:.2f} s after the kill, "
            f"{silent:.2f} s after the last heartbeat (T_dead: {dead_time:.2f} s)"
        )
        assert silent >= dead_time - 0.001
        seen.append((join, since_kill))
        if join < 2.0 and since_kill < limit:
            return
    raise AssertionError(f"(join, takeover) in seconds: {seen}")
