"""Taking, holding, losing and releasing leases."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fix_members import MemberError, MemberProcess
from fix_spaces import QUICK, Maker, edit_block

from diskpaxos import Host, Lease, Lockspace, Request, SavedState, errors

Opener = Callable[..., Lockspace]
Members = Callable[[Lockspace], MemberProcess]


@pytest.fixture
def hosts(make_space: Maker, open_space: Opener) -> tuple[Host, Host]:
    """Two hosts of one lockspace, each through disks of its own; left when the lockspaces close."""
    space = make_space()
    return space.join("alpha"), open_space(space).join("beta")


def end_of(host: Host) -> None:
    """Make the host's life end: a death notice about it stands in a slot that nobody uses."""
    geometry = host.space.geometry
    used = {view.slot for view in host.space.hosts() if view.liveness != "free"}
    writer = next(slot for slot in range(geometry.max_hosts) if slot not in used)
    entries = [0] * geometry.notice_entries
    entries[host.slot] = host.generation
    edit_block(host.space, geometry.notice_block(writer, 0), entries=entries)
    edit_block(host.space, geometry.slot_block(writer), notices=1)


def test_one_winner(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    lease = alpha.acquire("vm", label="guest 7")
    assert lease.held
    assert (lease.name, lease.mode, lease.label, lease.host) == ("vm", "exclusive", "guest 7", alpha)
    lease.check()
    with pytest.raises(errors.HeldError) as caught:
        beta.acquire("vm")
    error = caught.value
    assert (error.lease, error.host, error.slot, error.label) == ("vm", "alpha", alpha.slot, "guest 7")
    assert (error.mode, error.token) == ("exclusive", lease.token)
    assert abs(error.since - time.time()) < 10
    lease.release()
    assert not lease.held
    with beta.acquire("vm") as mine:
        assert mine.token > lease.token


def test_shared_with_shared_only(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    readers = [alpha.acquire("image", "shared"), beta.acquire("image", "shared"), alpha.acquire("image", "shared")]
    for host in hosts:
        with pytest.raises(errors.HeldError) as caught:
            host.acquire("image")
        assert caught.value.mode == "shared"
    readers[0].release()
    readers[1].release()
    with pytest.raises(errors.HeldError):
        beta.acquire("image")
    readers[2].release()
    with beta.acquire("image"):
        with pytest.raises(errors.HeldError) as caught:
            alpha.acquire("image", "shared")
        assert caught.value.mode == "exclusive"


@pytest.mark.timing
def test_another_holder_on_the_same_host(hosts: tuple[Host, Host]) -> None:
    alpha, _ = hosts
    alpha.acquire("vm")
    before = time.monotonic()
    with pytest.raises(errors.HeldByThisHostError):
        alpha.acquire("vm")
    with pytest.raises(errors.HeldByThisHostError):
        alpha.acquire("vm", "shared")
    assert time.monotonic() - before < 1


def test_tokens_of_exclusive_holders_grow(hosts: tuple[Host, Host]) -> None:
    tokens = []
    for turn in range(12):
        with hosts[turn % 2].acquire("vm") as lease:
            tokens.append(lease.token)
    assert tokens == sorted(set(tokens))


def test_shared_tokens_are_not_below_those_of_exclusive_holders_before(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    with alpha.acquire("vm") as lease:
        last = lease.token
    with beta.acquire("vm", "shared") as one, alpha.acquire("vm", "shared") as two:
        assert one.token >= last
        assert two.token >= last
        highest = max(one.token, two.token)
    with alpha.acquire("vm") as lease:
        assert lease.token > highest


def test_waiting_until_it_is_free(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    lease = alpha.acquire("vm")
    threading.Timer(0.5, lease.release).start()
    before = time.monotonic()
    with beta.acquire("vm", timeout=None):
        assert time.monotonic() - before >= 0.45


@pytest.mark.timing
def test_waiting_ends_with_the_timeout(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    lease = alpha.acquire("vm")
    before = time.monotonic()
    with pytest.raises(errors.HeldError):
        beta.acquire("vm", timeout=0.5)
    assert 0.4 <= time.monotonic() - before < 5
    lease.release()
    beta.acquire("vm").release()


def test_threads_of_one_host_wait_for_each_other(hosts: tuple[Host, Host]) -> None:
    alpha, _ = hosts
    inside, most, done = 0, 0, []
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with alpha.acquire("vm", timeout=None):
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.002)
                with lock:
                    inside -= 1
        done.append(True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 4
    assert most == 1


def test_without_create_a_missing_lease_is_told(hosts: tuple[Host, Host]) -> None:
    alpha, _ = hosts
    with pytest.raises(errors.LeaseNotFoundError) as caught:
        alpha.acquire("nobody", create=False)
    assert caught.value.lease == "nobody"
    assert alpha.space.leases() == []
    alpha.create("nobody")
    with pytest.raises(errors.LeaseExistsError):
        alpha.create("nobody")
    alpha.acquire("nobody", create=False).release()


def test_release_is_idempotent_and_what_follows_says_so(hosts: tuple[Host, Host]) -> None:
    alpha, _ = hosts
    lease = alpha.acquire("vm")
    lease.release()
    lease.release()
    assert lease.remaining() == 0.0
    assert not lease.lost.is_set()
    assert not lease.lost.wait(0.01)
    with pytest.raises(errors.LeaseReleasedError):
        lease.check()
    assert alpha.leases() == []


def test_remaining_lies_between_seven_eighths_of_s_and_s(hosts: tuple[Host, Host]) -> None:
    alpha, _ = hosts
    lease = alpha.acquire("vm")
    tolerance = alpha.space.info().outage_tolerance
    for _ in range(5):
        assert tolerance * 0.7 < lease.remaining() <= tolerance
        time.sleep(0.05)


# ---- states


def test_resume_if_nobody_else_took_it(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    lease = alpha.acquire("vm")
    state = lease.state
    lease.release()
    with beta.acquire("vm", "shared"):
        pass  # a reader changes nothing
    with beta.acquire("vm", state=state) as resumed:
        assert resumed.token > lease.token
        newer = resumed.state
    with pytest.raises(errors.StaleStateError) as caught:
        alpha.acquire("vm", state=state)
    assert caught.value.lease == "vm"
    alpha.acquire("vm", state=newer).release()


def test_a_state_dies_with_its_lease(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    with alpha.acquire("vm") as lease:
        state = lease.state
    beta.delete("vm")
    with pytest.raises(errors.StaleStateError):
        alpha.acquire("vm", state=state)
    with beta.acquire("vm"):
        pass
    with pytest.raises(errors.StaleStateError):
        beta.acquire("vm", state=state)


def test_state_strings_go_anywhere_and_are_checked(hosts: tuple[Host, Host]) -> None:
    alpha, _ = hosts
    with alpha.acquire("vm") as lease:
        state = lease.state
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:;=,._/+-")
    assert set(state) <= allowed
    assert str(SavedState.parse(state)) == state
    for wrong in ("", "x", state + ":", state.replace("1:", "2:", 1), state[:-1] + "-", f"1:{'0' * 32}:{1 << 64}"):
        with pytest.raises(errors.InvalidStateError):
            alpha.acquire("vm", state=wrong)


# ---- several at once


def test_all_or_none(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    beta.acquire("b")
    with pytest.raises(errors.HeldError) as caught:
        alpha.acquire_many(["a", "b", "c"])
    assert caught.value.lease == "b"
    assert alpha.leases() == []
    with beta.acquire("a"), beta.acquire("c"):
        pass


def test_many_in_the_order_asked_for(hosts: tuple[Host, Host]) -> None:
    alpha, _ = hosts
    for _ in range(3):
        alpha.acquire("a").release()
    first = alpha.acquire("a", "shared")  # who joins it has its token
    leases = alpha.acquire_many(["z", Request("a", "shared", label="reader"), "m"])
    assert [(lease.name, lease.mode) for lease in leases] == [
        ("z", "exclusive"),
        ("a", "shared"),
        ("m", "exclusive"),
    ]
    assert leases[1].label == "reader"
    views = {view.name: view for view in alpha.space.leases()}
    for lease in leases:  # each its own lease, and its own token
        [holder] = views[lease.name].holders
        assert (lease.uuid, lease.token) == (views[lease.name].uuid, holder.token)
    assert len({lease.uuid for lease in leases}) == 3
    assert leases[1].token == first.token != leases[0].token
    first.release()
    assert {lease.name for lease in alpha.leases()} == {"z", "a", "m"}
    alpha.release_many(leases)
    assert alpha.leases() == []
    assert alpha.acquire_many([]) == []
    with pytest.raises(errors.InvalidArgumentError, match="twice"):
        alpha.acquire_many(["a", "a"])


def test_releasing_another_hosts_lease_is_refused(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    lease = alpha.acquire("vm")
    with pytest.raises(errors.InvalidArgumentError):
        beta.release_many([lease])
    assert lease.held


# ---- deleting


def test_delete(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    lease = alpha.acquire("vm")
    with pytest.raises(errors.HeldError):
        beta.delete("vm")
    with pytest.raises(errors.HeldError):
        alpha.space.delete("vm")
    lease.release()
    beta.delete("vm")
    assert alpha.space.leases() == []
    with pytest.raises(errors.LeaseNotFoundError):
        beta.delete("vm")
    with alpha.acquire("vm") as again:
        assert again.uuid != lease.uuid


def test_delete_joins_for_the_moment(make_space: Maker) -> None:
    space = make_space()
    with Lockspace.open(space.paths) as other, other.join() as host:
        host.acquire("vm").release()
    space.delete("vm")
    assert space.leases() == []
    assert all(host.liveness == "free" for host in space.hosts())


def test_names_that_collide_live_side_by_side(make_space: Maker) -> None:
    space = make_space(max_leases=8)
    with space.join() as host:
        names = [f"vm{i}" for i in range(7)]
        tokens = {name: host.acquire(name).token for name in names}
        assert len(tokens) == 7
        with pytest.raises(errors.LockspaceFullError) as caught:
            host.acquire("one-more")
        assert caught.value.lease == "one-more"
        for lease in host.leases():
            lease.release()
        for name in names[::2]:
            host.delete(name)
        for name in names[1::2]:
            host.acquire(name, create=False).release()
        host.acquire("one-more").release()
        assert space.check() == []


# ---- losing


def test_loss_is_told_in_every_way(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    lease, told, events = alpha.acquire("vm"), threading.Event(), []
    lease.on_lost(lambda lost: told.set() if lost is lease else None)
    alpha.on_event(lambda event: events.append((event.kind, event.lease)))
    descriptor = lease.lost.fileno()
    assert select.select([descriptor], [], [], 0)[0] == []
    end_of(alpha)
    assert lease.lost.wait(20), "its next heartbeat finds the notice"
    assert told.wait(5)
    assert select.select([descriptor], [], [], 5)[0] == [descriptor]
    assert select.select([lease.lost], [], [], 0)[0] == [lease.lost]
    assert lease.remaining() == 0.0
    assert not lease.held
    assert alpha.leases() == []
    with pytest.raises(errors.LeaseLostError) as caught:
        lease.check()
    assert caught.value.lease == "vm"
    with pytest.raises(errors.LeaseLostError):
        lease.release()
    lease.release()
    with pytest.raises(errors.FinishedError):
        alpha.acquire("other")
    late: list[Lease] = []
    lease.on_lost(late.append)
    assert late == [lease], "registered too late is told at once"
    # Listeners hear of it from the host's own thread, which may come after this one's look.
    end = time.monotonic() + 5
    while len(events) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert ("lost", "vm") in events
    assert any(kind == "finished" for kind, _ in events)
    assert beta.alive


def lose_inside(host: Host, error: Exception | None = None) -> None:
    """Lose a lease inside its block, and perhaps fail there, too."""
    with host.acquire("vm") as lease:
        end_of(host)
        assert lease.lost.wait(20)
        if error is not None:
            raise error


def test_the_end_of_a_block_tells_of_a_loss_inside(hosts: tuple[Host, Host]) -> None:
    with pytest.raises(errors.LeaseLostError):
        lose_inside(hosts[0])


def test_the_blocks_own_error_is_not_hidden(hosts: tuple[Host, Host]) -> None:
    with pytest.raises(KeyError) as caught:
        lose_inside(hosts[0], KeyError("mine"))
    assert any("is lost" in note for note in caught.value.__notes__)


def test_a_failing_callback_does_not_stop_the_others(
    hosts: tuple[Host, Host], caplog: pytest.LogCaptureFixture
) -> None:
    alpha, _ = hosts
    told = threading.Event()
    first, second = alpha.acquire("a"), alpha.acquire("b")

    def fail(_: Lease) -> None:
        raise ValueError("callback")

    first.on_lost(fail)
    first.on_lost(lambda _: told.set())
    end_of(alpha)
    assert told.wait(20)
    assert second.lost.wait(5)
    assert "callback for the loss of lease 'a' failed" in caplog.text


def test_a_deleted_header_means_loss(hosts: tuple[Host, Host]) -> None:
    """Nobody may do that to a held lease; if the header changes all the same, its holder learns of it."""
    alpha, _ = hosts
    lease = alpha.acquire("vm")
    (view,) = alpha.space.leases()
    header = alpha.space.geometry.header_block(view.area)
    edit_block(alpha.space, header, lease=b"u" * 16, generation=10**9)
    assert lease.lost.wait(alpha.space.info().outage_tolerance)
    assert alpha.alive, "only that lease is lost"
    with pytest.raises(errors.LeaseLostError):
        lease.check()


def test_a_loss_is_told_though_nobody_asks(make_space: Maker) -> None:
    with make_space(**QUICK).join() as host:
        told = threading.Event()
        lease = host.acquire("vm")
        lease.on_lost(lambda _: told.set())
        descriptor = lease.lost.fileno()
        (view,) = host.space.leases()
        edit_block(host.space, host.space.geometry.header_block(view.area), lease=b"u" * 16, generation=10**9)
        assert told.wait(4)
        assert select.select([descriptor], [], [], 0)[0] == [descriptor]
        with pytest.raises(errors.LeaseLostError):
            lease.release()


def test_of_several_that_are_released_the_lost_one_is_named(make_space: Maker, open_space: Opener) -> None:
    space = make_space(**QUICK)
    with space.join() as host, open_space(space).join() as other:
        leases = host.acquire_many(["first", "lost", "last"])
        area = next(view.area for view in space.leases() if view.name == "lost")
        edit_block(space, space.geometry.header_block(area), lease=b"u" * 16, generation=10**9)
        assert leases[1].lost.wait(4)
        with pytest.raises(errors.LeaseLostError) as caught:
            host.release_many(leases)
        assert caught.value.lease == "lost"
        assert host.leases() == []
        assert [lease.lost.is_set() for lease in leases] == [False, True, False]
        other.release_many(other.acquire_many(["first", "last"]))
        host.release_many(leases)  # which does nothing


def test_stopped_longer_than_its_lifetime_wakes_up_as_no_holder(make_space: Maker, member: Members) -> None:
    space = make_space(**QUICK)
    sleeper = member(space)
    sleeper.call("join", name="sleeper")
    taken = sleeper.call("acquire", name="vm")
    sleeper.pause()
    with space.join("successor") as host:
        before = time.monotonic()
        lease = host.acquire("vm", timeout=30)
        assert time.monotonic() - before > 1.0
        assert lease.token > taken["token"]
        sleeper.proceed()
        with pytest.raises(MemberError) as caught:
            sleeper.call("check", name="vm")
        assert caught.value.kind == "LeaseLostError"
        with pytest.raises(MemberError):
            sleeper.call("acquire", name="other")
        lease.check()


def test_stopped_for_less_than_its_lifetime_it_stays_holder(make_space: Maker, member: Members) -> None:
    space = make_space()
    sleeper = member(space)
    sleeper.call("join")
    sleeper.call("acquire", name="vm")
    sleeper.pause()
    time.sleep(1.0)
    with space.join("other") as host:
        with pytest.raises(errors.HeldError):
            host.acquire("vm")
        sleeper.proceed()
        assert sleeper.call("check", name="vm") > 0
        sleeper.call("release", name="vm")
        host.acquire("vm").release()


def test_a_killed_holders_lease_is_taken_after_t_dead_and_never_before(make_space: Maker, member: Members) -> None:
    space = make_space(**QUICK)
    victim = member(space)
    slot = victim.call("join", name="victim")
    taken = victim.call("acquire", name="vm")
    with space.join("heir") as heir:
        with pytest.raises(errors.HeldError):
            heir.acquire("vm")
        victim.kill()
        last = space.hosts()[slot].last_heartbeat
        lease = heir.acquire("vm", timeout=30)
        waited = time.time() - last
        assert lease.token > taken["token"]
        assert space.info().dead_time - 0.001 <= waited < 3 * space.info().dead_time


def test_callbacks_may_release_other_leases(hosts: tuple[Host, Host]) -> None:
    alpha, _ = hosts
    done: list[Any] = []
    first, second = alpha.acquire("a"), alpha.acquire("b")

    def clean_up(_: Lease) -> None:
        try:
            second.release()
        except errors.DiskPaxosError as error:
            done.append(error)

    first.on_lost(clean_up)
    end_of(alpha)
    assert first.lost.wait(20)
    assert second.lost.wait(5) or not second.held


@pytest.mark.parametrize("ask", ["held", "check"])
def test_a_loss_is_seen_although_nobody_could_be_told(hosts: tuple[Host, Host], ask: str) -> None:
    """The thread that tells hangs in a callback of the first: the second is asked about in the core itself."""
    alpha, _ = hosts
    leases, entered, go_on = alpha.acquire_many(["first", "second"]), threading.Event(), threading.Event()

    def hang(lease: Lease) -> None:
        if threading.current_thread() is not threading.main_thread():
            entered.set()
            go_on.wait(20)

    for lease in leases:
        lease.on_lost(hang)
    end_of(alpha)
    try:
        assert entered.wait(20)
        for lease in leases:
            if ask == "held":
                assert not lease.held
            else:
                with pytest.raises(errors.LeaseLostError):
                    lease.check()
    finally:
        go_on.set()


def test_a_release_is_no_loss_and_a_close_is_one(hosts: tuple[Host, Host]) -> None:
    alpha, _ = hosts
    released, kept = alpha.acquire_many(["first", "second"])
    descriptors = [lease.lost.fileno() for lease in (released, kept)]
    released.release()
    assert select.select(descriptors, [], [], 0.1)[0] == []
    waiting = threading.Thread(target=kept.lost.wait, daemon=True)
    waiting.start()
    alpha.close()
    waiting.join(5)
    assert not waiting.is_alive(), "whoever waits for the loss is woken"
    assert select.select(descriptors, [], [], 0)[0] == descriptors[1:]
