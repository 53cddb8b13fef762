"""A forked child has the objects of its parent, and none of the threads behind them."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable

import pytest
from fix_spaces import Maker

from diskpaxos import Lockspace, errors


def in_child(work: Callable[[], object]) -> object:
    """Run ``work`` in a forked child; its value, or raise its error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                result: tuple[bool, object] = (True, work())
            except errors.DiskPaxosError as error:
                result = (False, error)
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(result, pipe)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, "the child crashed"
    good, value = pickle.loads(data)
    if not good:
        assert isinstance(value, errors.DiskPaxosError)
        raise value
    return value


@pytest.mark.parametrize(
    "use",
    ["acquire", "leases", "status", "leave", "check", "release", "join", "hosts", "info", "delete", "retire", "create"],
)
def test_use_after_fork_raises(make_space: Maker, use: str) -> None:
    space = make_space()
    with space.join() as host:
        lease = host.acquire("vm")
        calls: dict[str, Callable[[], object]] = {
            "acquire": lambda: host.acquire("other"),
            "leases": host.leases,
            "status": host.status,
            "leave": host.leave,
            "check": lease.check,
            "release": lease.release,
            "join": space.join,
            "hosts": space.hosts,
            "info": space.info,
            "delete": lambda: space.delete("vm"),
            "retire": lambda: host.retire(0),
            "create": lambda: host.create("other"),
        }
        with pytest.raises(errors.ForkedError, match="open and join in the child"):
            in_child(calls[use])
        lease.check()


def test_a_child_holds_nothing(make_space: Maker) -> None:
    with make_space().join() as host:
        lease = host.acquire("vm")
        assert in_child(lambda: (lease.remaining(), host.remaining(), host.alive)) == (0.0, 0.0, False)
        assert in_child(lambda: (lease.held, lease.lost.is_set())) == (False, False)  # it is the parent's, and not lost
        assert "of the parent" in str(in_child(lambda: repr(lease)))
        assert lease.held


def test_ends_of_blocks_in_a_child_leave_the_parents_leases_alone(make_space: Maker) -> None:
    space = make_space()

    def leave_blocks() -> str:
        lease.__exit__(None, None, None)
        host.__exit__(None, None, None)
        space.__exit__(None, None, None)
        host.close()
        space.close()
        return "done"

    with space.join() as host:
        lease = host.acquire("vm")
        assert in_child(leave_blocks) == "done"
        lease.check()
        assert host.alive
        with Lockspace.open(space.paths) as other, other.join() as rival:
            with pytest.raises(errors.HeldError):
                rival.acquire("vm")


def test_a_child_ends_in_good_order(make_space: Maker) -> None:
    """Freeing the parent's objects in the child neither hangs nor crashes."""
    space = make_space()
    host = space.join()
    child = os.fork()
    if child == 0:
        del host, space
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert host.alive
    host.leave()


def test_a_child_may_open_and_join_itself(make_space: Maker) -> None:
    space = make_space()
    with space.join("parent") as host, host.acquire("vm"):

        def work() -> object:
            with Lockspace.open(space.paths) as mine, mine.join("child") as me:
                assert me.slot != host.slot
                with me.acquire("other") as lease:
                    return lease.token > 0

        assert in_child(work) is True
