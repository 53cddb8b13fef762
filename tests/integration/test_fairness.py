"""Hosts in processes of their own that want one lease at the same time (docs/protocol.md, section 3a).

How fast they are is a matter for bench/; here it is who gets how much.  The same rounds with 64 hosts
and thousands of handovers: tests/simulation/test_fairness.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fix_members import MemberError, MemberProcess
from fix_spaces import Maker

from diskpaxos import Lockspace

LONG = pytest.mark.skipif(not os.environ.get("DISKPAXOS_LONG"), reason="a minute: needs DISKPAXOS_LONG=1")
PROGRAM = Path(__file__).parent.parent / "contender.py"


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def contend(space: Lockspace, threads: list[int], takes: int, hold: float = 0.0) -> list[int]:
    """How often each host had had the lease when the first one had had it ``takes`` times."""
    commands = [[sys.executable, str(PROGRAM), str(count), str(takes), str(hold), *space.paths] for count in threads]
    hosts = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for command in commands
    ]
    try:
        assert [hear(host) for host in hosts] == ["ready\n"] * len(hosts)
        for host in hosts:
            tell(host)
        tokens = [json.loads(hear(host)) for host in hosts]
        for host in hosts:
            tell(host)
        assert [host.wait(60) for host in hosts] == [0] * len(hosts)
    finally:
        for host in hosts:
            host.kill()
            host.communicate()
    order = sorted((token, number) for number, own in enumerate(tokens) for token in own)
    assert len({token for token, _ in order}) == len(order)
    end = min(own[takes - 1] for own in tokens)
    return [sum(token <= end for token in own) for own in tokens]


@pytest.mark.timing
@pytest.mark.parametrize(
    ("hosts", "takes", "disks"),
    [
        (2, 150, 1),
        (2, 150, 3),
        (8, 40, 1),
        (8, 40, 3),
        pytest.param(64, 17, 1, marks=LONG),  # 64 on 3 disks need more contexts than fs.aio-max-nr allows by default
    ],
)
def test_equal_shares(make_space: Maker, hosts: int, takes: int, disks: int) -> None:
    """None below half or above twice its fair share; whoever had it first is the one with the most."""
    had = contend(make_space(disks, max_hosts=4 * max(hosts, 8)), [1] * hosts, takes)
    print(f"{hosts} hosts, {disks} disks: had it {min(had)} to {max(had)} times, {sum(had)} in all")
    fair = sum(had) / hosts
    assert min(had) >= fair / 2, had
    assert max(had) <= fair * 2, had


@pytest.mark.timing
def test_many_threads_of_one_host_do_not_starve_another(make_space: Maker) -> None:
    crowd, single = contend(make_space(max_hosts=32), [8, 1], 80, hold=0.001)
    assert single >= (crowd + single) / 4, (crowd, single)


def all_at_once(members: list[MemberProcess], mode: str) -> list[bool]:
    """Who took the lease of all those who try once at the same time."""
    with ThreadPoolExecutor(len(members)) as pool:
        return list(pool.map(lambda process: take(process, mode), members))


def take(process: MemberProcess, mode: str) -> bool:
    try:
        process.call("acquire", name="vm", mode=mode, timeout=0)
    except MemberError as error:
        if error.kind != "HeldError":
            raise
        return False
    return True


@pytest.fixture
def rivals(make_space: Maker, member: Callable[[Lockspace], MemberProcess]) -> Callable[[int], list[MemberProcess]]:
    def start(count: int) -> list[MemberProcess]:
        space = make_space(max_hosts=32)
        members = [member(space) for _ in range(count)]
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda process: process.call("join"), members))
        for process in members:  # in everybody's cache: each starts with its flag
            process.call("acquire", name="vm", timeout=30)
            process.call("release", name="vm")
        return members

    return start


@pytest.mark.parametrize(("hosts", "rounds"), [(2, 100), (8, 40)])
def test_of_simultaneous_tries_exactly_one_wins(
    rivals: Callable[[int], list[MemberProcess]], hosts: int, rounds: int
) -> None:
    members = rivals(hosts)
    for _ in range(rounds):
        won = all_at_once(members, "exclusive")
        assert sum(won) == 1
        members[won.index(True)].call("release", name="vm")


@pytest.mark.parametrize("hosts", [2, 8])
def test_concurrent_shared_tries_all_succeed(rivals: Callable[[int], list[MemberProcess]], hosts: int) -> None:
    members = rivals(hosts)
    for _ in range(20):
        assert all(all_at_once(members, "shared"))
        for process in members:
            process.call("release", name="vm")
