"""The driver on real files: what a VM manager does with it, two hosts, pausing, migrating, losing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from program import eventually

import diskpaxos
from diskpaxos.driver import (
    CoherenceError,
    DriverConfig,
    FeatureMissing,
    OtherLockspaceStateError,
    ReadonlyDeniedError,
    StaleState,
    UnusableStateError,
    coherence,
    lease_name,
)
from diskpaxos.driver.embedded import EmbeddedDriver
from diskpaxos.driver.manager import EmbeddedManager
from diskpaxos.driver.states import ALPHABET
from diskpaxos.errors import (
    ClosedError,
    HeldByThisHostError,
    HeldError,
    InvalidArgumentError,
    LeaseLostError,
    LeaseNotFoundError,
)

VM = uuid.UUID("3f84bb1f-222d-469c-91f9-d36ca8f71fe4")
TIMES = {"outage_tolerance": 2.0, "kill_grace": 0.5, "watchdog_timeout": 0.3, "claim_time": 0.05}

Hosts = Callable[..., EmbeddedDriver]


@pytest.fixture
def lockspace(tmp_path: Path) -> Path:
    diskpaxos.Lockspace.create(tmp_path / "lockspace", max_hosts=8, max_leases=32, **TIMES).close()
    return tmp_path / "lockspace"


@pytest.fixture
def host(lockspace: Path) -> Iterator[Hosts]:
    """Makes hosts: one driver each, as two machines would have."""
    made: list[EmbeddedDriver] = []

    def make(name: str, **settings: Any) -> EmbeddedDriver:
        made.append(EmbeddedDriver(DriverConfig((str(lockspace),), name, **settings)))
        return made[-1]

    yield make
    for driver in made:
        driver.end()


def vm(driver: EmbeddedDriver, *resources: str, uuid: uuid.UUID = VM, **keywords: Any) -> EmbeddedManager:
    manager = driver.manager(uuid, "web-1", **keywords)
    for resource in resources:
        manager.add(resource)
    return manager


# ---- acquire and release


def test_one_host_runs_the_vm(host: Hosts) -> None:
    a, b = vm(host("a"), "/img/1", "/img/2"), vm(host("b"), "/img/1", "/img/2")
    a.acquire()
    assert a.held == ("/img/1", "/img/2")
    with pytest.raises(HeldError) as caught:
        b.acquire()
    assert (caught.value.host, caught.value.label) == ("a", "web-1")
    assert b.held == ()
    a.release()
    b.acquire()
    assert b.held == b.resources


def test_all_or_none(host: Hosts) -> None:
    a, b = vm(host("a"), "/img/2"), vm(host("b"), "/img/1", "/img/2", "/img/3")
    a.acquire()
    with pytest.raises(HeldError):
        b.acquire()
    assert b.held == ()
    with vm(host("c"), "/img/1", "/img/3") as c:
        c.acquire()  # nothing of b's attempt is left in the way


def test_no_resources_mean_nothing(host: Hosts) -> None:
    """Never everything: VM managers make such calls (eject, the end of a block job)."""
    driver = host("a")
    running = vm(driver, "/img/1")
    running.acquire()
    empty = vm(driver, uuid=uuid.uuid4())
    empty.acquire()
    empty.release()
    assert running.release([]) == vm(driver).inquire()
    assert running.held == ("/img/1",)


def test_acquire_again_takes_nothing_again(host: Hosts) -> None:
    a = vm(host("a"), "/img/1")
    a.acquire()
    token = a.inquire()
    a.acquire()
    assert a.inquire() == token


def test_two_vms_of_one_host_exclude_each_other(host: Hosts) -> None:
    driver = host("a")
    one, other = vm(driver, "/img/1"), vm(driver, "/img/1", uuid=uuid.uuid4())
    one.acquire()
    with pytest.raises(HeldByThisHostError):
        other.acquire()


def test_shared_by_two_hosts(host: Hosts) -> None:
    a, b, c = (host(name).manager(uuid.uuid4(), name) for name in "abc")
    a.add("/img/shared", mode="shared")
    b.add("/img/shared", mode="shared")
    c.add("/img/shared")
    a.acquire()
    b.acquire()
    with pytest.raises(HeldError):
        c.acquire()
    a.release()
    with pytest.raises(HeldError):
        c.acquire()
    b.release()
    c.acquire()


def test_a_lease_that_is_not_there(host: Hosts) -> None:
    a = vm(host("a", create=False), "/img/1")
    with pytest.raises(LeaseNotFoundError):
        a.acquire()


def test_waiting_for_the_other_host(host: Hosts) -> None:
    a, b = vm(host("a"), "/img/1"), vm(host("b", timeout=10.0), "/img/1")
    a.acquire()
    threading.Timer(0.4, a.release).start()
    started = time.monotonic()
    b.acquire()
    assert time.monotonic() - started > 0.3
    b.release()
    a.acquire()
    with pytest.raises(HeldError):
        b.acquire(timeout=0)


@pytest.mark.timing
def test_vms_do_not_wait_for_each_other(host: Hosts) -> None:
    a, driver = vm(host("a"), "/img/1"), host("b")
    a.acquire()
    waiting = vm(driver, "/img/1")
    thread = threading.Thread(target=waiting.acquire, kwargs={"timeout": 30})
    thread.start()
    time.sleep(0.2)
    other = vm(driver, "/img/2", uuid=uuid.uuid4())
    started = time.monotonic()
    other.acquire()
    other.release()
    assert time.monotonic() - started < 1
    assert thread.is_alive()
    a.release()
    thread.join(10)
    assert waiting.held == ("/img/1",)


# ---- hot-plug


def test_resources_come_and_go_while_others_are_held(host: Hosts) -> None:
    a, b = vm(host("a"), "/img/1"), vm(host("b"), "/img/2")
    a.acquire()
    a.add("/img/2")
    a.acquire()
    assert a.held == ("/img/1", "/img/2")
    with pytest.raises(HeldError):
        b.acquire()
    state = a.release(["/img/2"])
    assert a.release(["/img/2"]) == state
    assert (a.held, a.resources) == (("/img/1",), ("/img/1",))
    b.acquire()


def test_a_refused_hotplug_leaves_the_rest_held(host: Hosts) -> None:
    """And is rolled back by a release of what was never acquired."""
    a, b = vm(host("a"), "/img/1"), vm(host("b"), "/iso/new")
    a.acquire()
    b.acquire()
    a.add("/iso/new")
    with pytest.raises(HeldError):
        a.acquire()
    assert a.held == ("/img/1",)
    a.release(["/iso/new"])
    a.release(["/never/added"])
    a.acquire()
    assert a.held == a.resources == ("/img/1",)
    assert b.held == ("/iso/new",)


def test_adding_again_is_fine_and_otherwise_refused(host: Hosts) -> None:
    a = vm(host("a"), "/img/1")
    a.add("/img/1")
    a.add(b"/img/1")
    a.add(Path("/img/1"))
    with pytest.raises(InvalidArgumentError, match="added before, as exclusive"):
        a.add("/img/1", mode="shared")
    with pytest.raises(InvalidArgumentError, match="mode must be"):
        a.add("/img/2", mode="both")  # type: ignore[arg-type]
    assert a.resources == ("/img/1",)


def test_a_long_path_is_held_under_its_short_name(host: Hosts, lockspace: Path) -> None:
    path = "/deep" * 100 + "/disk.img"
    a = vm(host("a"), path)
    a.acquire()
    with diskpaxos.Lockspace.open(lockspace, read_only=True) as space:
        (lease,) = [known for known in space.leases() if known.holders]
    assert lease.name == lease_name(path)
    assert "/deep/deep/disk.img~" in lease.name
    assert a.held == (path,)


# ---- states


def test_release_may_be_called_twice(host: Hosts) -> None:
    """By two threads, as on every pause: the second state, the one that is kept, is as good as the first."""
    a = vm(host("a"), "/img/1", "/img/2")
    a.acquire()
    before = a.inquire()
    states: list[str] = []
    threads = [threading.Thread(target=lambda: states.append(a.release())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(states) == {before}
    assert a.inquire() == before
    assert ALPHABET.fullmatch(before)
    assert "img" not in before


def test_resumed_where_it_was_paused(host: Hosts) -> None:
    a = vm(host("a"), "/img/1")
    a.acquire()
    state = a.release()
    a.acquire(state)
    assert a.held == ("/img/1",)


def test_paused_here_run_there_must_not_resume_here(host: Hosts) -> None:
    """The case that sanlock's plugin lets through: suspend on A, start and destroy on B, resume on A."""
    a, b = vm(host("a"), "/img/1", "/img/2"), vm(host("b"), "/img/2")
    a.acquire()
    a.release()
    state = a.release()
    b.acquire()
    b.close()
    with pytest.raises(StaleState) as caught:
        a.acquire(state)
    assert caught.value.lease == "/img/2"
    assert a.held == ()
    assert a.release() == state, "kept: a second try must be refused as well"
    with pytest.raises(StaleState):
        a.acquire(state)
    a.acquire()  # started anew


def test_a_reader_elsewhere_does_not_make_it_stale(host: Hosts) -> None:
    a = vm(host("a"), "/img/1")
    b = host("b").manager(uuid.uuid4(), "backup")
    b.add("/img/1", readonly=True)
    a.acquire()
    state = a.release()
    b.acquire()
    with pytest.raises(HeldError):
        a.acquire(state)
    b.release()
    a.acquire(state)


def test_a_new_process_of_the_manager_resumes_with_the_kept_state(host: Hosts) -> None:
    driver = host("a")
    before = vm(driver, "/img/1")
    before.acquire()
    state = before.release()
    after = vm(driver, "/img/1")
    assert after.release() != state, "it knows nothing yet"
    after.acquire(state)
    assert after.release() == after.release() != state


def test_a_disk_added_while_paused_is_simply_taken(host: Hosts) -> None:
    a = vm(host("a"), "/img/1")
    a.acquire()
    state = a.release()
    a.add("/img/new")
    a.acquire(state)
    assert a.held == ("/img/1", "/img/new")


def test_states_of_others_are_refused(host: Hosts, tmp_path: Path) -> None:
    driver = host("a")
    a, other = vm(driver, "/img/1"), vm(driver, "/img/2", uuid=uuid.uuid4())
    other.acquire()
    with pytest.raises(UnusableStateError, match="belongs to the VM"):
        a.acquire(other.release())
    with pytest.raises(UnusableStateError, match="not made by this driver"):
        a.acquire("S1:foo")
    diskpaxos.Lockspace.create(tmp_path / "second", max_hosts=4, max_leases=8, **TIMES).close()
    elsewhere = EmbeddedDriver(DriverConfig((str(tmp_path / "second"),), "a"))
    there = vm(elsewhere, "/img/1")
    there.acquire()
    state = there.release()
    elsewhere.end()
    with pytest.raises(OtherLockspaceStateError):
        a.acquire(state)
    assert issubclass(OtherLockspaceStateError, StaleState)
    assert a.held == ()
    a.acquire("")  # what a host without leases sends


# ---- migration


def test_migration(host: Hosts) -> None:
    """The state is made while the source runs; the destination takes over once the source has released."""
    source, destination = vm(host("a"), "/img/1", "/img/2"), vm(host("b"), "/img/1", "/img/2")
    source.acquire()
    cookie = source.inquire()
    with pytest.raises(HeldError):
        destination.acquire(cookie)
    source.release()
    destination.acquire(cookie)
    assert destination.held == destination.resources
    with pytest.raises(HeldError):
        source.acquire(cookie)
    destination.close()
    with pytest.raises(StaleState):
        source.acquire(cookie)


def test_a_failed_migration_goes_back(host: Hosts) -> None:
    source, destination = vm(host("a"), "/img/1"), vm(host("b"), "/img/1", "/img/busy")
    third = vm(host("c"), "/img/busy")
    third.acquire()
    source.acquire()
    cookie = source.inquire()
    state = source.release()
    with pytest.raises(HeldError):
        destination.acquire(cookie)
    source.acquire(state)
    assert source.held == ("/img/1",)


def test_a_third_host_in_between_stops_the_migration(host: Hosts) -> None:
    source, destination, thief = (vm(host(name), "/img/1") for name in "abc")
    source.acquire()
    cookie = source.inquire()
    source.release()
    thief.acquire()
    thief.release()
    with pytest.raises(StaleState):
        destination.acquire(cookie)


# ---- read-only


@pytest.mark.parametrize("policy", ["shared", "ignore", "deny"])
def test_readonly_is_decided_at_acquire(host: Hosts, policy: str) -> None:
    a = vm(host("a", readonly=policy), "/img/1")
    a.add("/iso", readonly=True)
    writer = vm(host("b"), "/iso")
    if policy == "deny":
        with pytest.raises(ReadonlyDeniedError, match="'/iso'"):
            a.acquire()
        assert a.held == ()
        return
    a.acquire()
    if policy == "ignore":
        assert a.held == ("/img/1",)
        writer.acquire()
    else:
        assert a.held == ("/img/1", "/iso")
        with pytest.raises(HeldError):
            writer.acquire()


# ---- coherence


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    made: list[tuple[str, str]] = []
    real = {"revalidate": coherence.revalidate, "sync": coherence.sync}
    for name, function in real.items():

        def call(path: str, name: str = name, function: Any = function) -> None:
            made.append((name, path))
            function(path)

        monkeypatch.setattr(coherence, name, call)
    return made


def test_images_are_revalidated_and_synced(host: Hosts, tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    image, iso = tmp_path / "disk.img", tmp_path / "cd.iso"
    image.write_bytes(b"data")
    iso.write_bytes(b"data")
    a = vm(host("a"), str(image), "not-a-path")
    a.add(iso, readonly=True)
    a.acquire()
    assert calls == [("revalidate", str(image)), ("revalidate", str(iso))]
    calls.clear()
    a.acquire()
    assert calls == [], "held already"
    a.release()
    assert calls == [("sync", str(image))], "what is only read is never dirty"
    calls.clear()
    a.release()
    assert calls == []


def test_the_sync_comes_before_the_release(host: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"data")
    a, b = vm(host("a"), str(image)), vm(host("b"), str(image))
    a.acquire()
    refused: list[bool] = []

    def sync(path: str) -> None:
        try:
            b.acquire()
            refused.append(False)
        except HeldError:
            refused.append(True)

    monkeypatch.setattr(coherence, "sync", sync)
    a.release()
    assert refused == [True]


def test_no_coherence_when_configured_away(host: Hosts, tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"data")
    a = vm(host("a", coherence=False), str(image))
    a.acquire()
    a.release()
    assert calls == []


def test_a_failed_sync_releases_nothing(host: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"data")
    a = vm(host("a"), str(image), "/other")
    a.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
        with pytest.raises(CoherenceError):
            a.release()
        assert a.held == a.resources
    a.release()
    assert a.held == ()


def test_close_releases_whatever_fails(host: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"data")
    a, b = vm(host("a"), str(image)), vm(host("b"), str(image))
    a.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
        with pytest.raises(CoherenceError):
            a.close()
    a.close()
    b.acquire()


def test_an_image_that_cannot_be_revalidated_is_not_taken(
    host: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"data")
    a, b = vm(host("a"), str(image)), vm(host("b"), str(image))
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fadvise", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
        with pytest.raises(CoherenceError):
            a.acquire()
    assert a.held == ()
    b.acquire()


# ---- processes


def test_another_process_needs_the_agent(host: Hosts) -> None:
    driver = host("a")
    with pytest.raises(FeatureMissing, match="lives and dies with the calling process") as caught:
        driver.manager(VM, "web-1", pid=1)
    assert caught.value.feature == "process-bound"
    driver.manager(VM, "web-1", pid=os.getpid())
    with pytest.raises(InvalidArgumentError, match="UUID"):
        driver.manager("web-1", "web-1")
    assert driver.manager(str(VM), "web-1").uuid == VM


def test_a_closed_manager_is_closed(host: Hosts) -> None:
    a = vm(host("a"), "/img/1")
    a.acquire()
    a.close()
    a.close()
    for call in (a.acquire, a.release, a.inquire, lambda: a.add("/x")):
        with pytest.raises(ClosedError):
            call()


MANAGER = """
import sys, time, uuid
import diskpaxos
driver = diskpaxos.load(features={"state"}, config={"lockspace": sys.argv[1], "host_name": "other"})
vm = driver.manager(uuid.uuid4(), "guest", on_lost=lambda *what: print("lost", what, file=sys.stderr))
vm.add("/img/1")
vm.acquire()
if "release" in sys.argv:
    vm.release()
print("ready", flush=True)
if "stay" in sys.argv:
    time.sleep(300)
"""


def manager_process(lockspace: Path, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", MANAGER, str(lockspace), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_the_leases_die_with_the_process(host: Hosts, lockspace: Path) -> None:
    process = manager_process(lockspace, "stay")
    a = vm(host("a"), "/img/1")
    with pytest.raises(HeldError, match=r"'other'.*for 'guest'"):
        a.acquire()
    process.kill()
    process.communicate()
    killed = time.monotonic()
    with pytest.raises(HeldError):
        a.acquire()
    a.acquire(timeout=20)
    dead_time = (2.0 + 0.5 + 0.3) * 1.11 + 2.0 / 8
    assert time.monotonic() - killed > dead_time - 0.3


def test_a_manager_that_exits_in_good_order_leaves(host: Hosts, lockspace: Path) -> None:
    process = manager_process(lockspace, "release")
    assert process.wait(10) == 0
    process.communicate()
    with diskpaxos.Lockspace.open(lockspace, read_only=True) as space:
        assert all(slot.liveness == "free" for slot in space.hosts())


def test_a_manager_that_exits_holding_keeps_its_leases_for_t_dead(host: Hosts, lockspace: Path) -> None:
    """Its guests may still be running: nobody may take them at once."""
    process = manager_process(lockspace)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0
    with pytest.raises(HeldError):
        vm(host("a"), "/img/1").acquire()


# ---- loss


def test_a_loss_is_told_once_per_resource_and_the_driver_joins_anew(lockspace: Path) -> None:
    """Stopped for longer than S: the leases are lost, the VM is told, later VMs run under a new membership."""
    script = """
import sys, threading, uuid
from diskpaxos.driver import DriverConfig
from diskpaxos.driver.embedded import EmbeddedDriver
from diskpaxos.errors import LeaseLostError
driver = EmbeddedDriver(DriverConfig((sys.argv[1],), "stopped"))
told = []
done = threading.Event()
def lost(manager, resource):
    told.append((manager.name, resource, manager.held))
    if len(told) == 2:
        done.set()
vm = driver.manager(uuid.uuid4(), "guest", on_lost=lost)
vm.add("/img/1"); vm.add("/img/2")
vm.acquire()
first = driver.describe()
state = vm.inquire()
print("ready", flush=True)
assert done.wait(30)
print(sorted(told))
for call in (vm.check, vm.inquire):
    try: call()
    except LeaseLostError as error: print(type(error).__name__)
assert vm.release() == state == vm.release()
print(vm.held, len(told))
other = driver.manager(uuid.uuid4(), "later")
other.add("/img/3")
other.acquire()
second = driver.describe()
print(first["slot"] != second["slot"], first["alive"], second["alive"], second["leases"])
vm.acquire(state, timeout=20)
print(vm.held)
vm.close(); other.close()
driver.end()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(lockspace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.6)
        process.send_signal(signal.SIGCONT)
        output, trouble = process.communicate(timeout=60)
    finally:
        process.kill()
    assert output.splitlines() == [
        "[('guest', '/img/1', ()), ('guest', '/img/2', ())]",
        "LeaseLostError",
        "LeaseLostError",
        "() 2",
        "True True True 1",
        "('/img/1', '/img/2')",
    ], trouble
    assert process.returncode == 0


def test_a_slow_on_lost_delays_no_other_vm(host: Hosts) -> None:
    driver = host("a")
    gate, told = threading.Event(), threading.Event()
    slow = vm(driver, "/img/1", on_lost=lambda *_: gate.wait(30))
    quick = vm(driver, "/img/2", uuid=uuid.uuid4(), on_lost=lambda *_: told.set())
    slow.acquire()
    quick.acquire()
    driver.host().close()  # the membership ends without leaving
    assert told.wait(5)
    gate.set()
    with pytest.raises(LeaseLostError):
        quick.check()


def test_on_lost_may_use_its_manager(host: Hosts) -> None:
    driver = host("a")
    done: list[str] = []

    def stop(manager: Any, resource: str) -> None:
        manager.release()
        manager.close()
        done.append(resource)

    a = vm(driver, "/img/1", on_lost=stop)
    a.acquire()
    driver.host().close()
    eventually(lambda: done == ["/img/1"], timeout=5)


def test_describe_says_how_it_is(host: Hosts, lockspace: Path) -> None:
    driver = host("a")
    a = vm(driver, "/img/1")
    a.acquire()
    told = driver.describe()
    assert set(told) == {
        *("name", "version", "api", "features", "mode", "lockspace", "paths", "host", "slot", "alive"),
        *("remaining", "managers", "leases"),
    }
    assert (told["host"], told["alive"], told["managers"], told["leases"]) == ("a", True, 1, 1)
    assert told["paths"] == [str(lockspace)]
    assert 0 < told["remaining"] <= 2.0


# ---- waiting for the dead


def test_who_waits_for_the_dead_gets_their_leases(host: Hosts, lockspace: Path, member: Any) -> None:
    """A VM manager starts the VMs of a dead host elsewhere: one call, and no loop of its own."""
    driver = host("beta")
    with diskpaxos.Lockspace.open(lockspace) as space:
        dead_time = space.info().dead_time
        other = member(space)
        other.call("join", name="alpha")
        other.call("acquire", name="/images/web-1")
    time.sleep(1)  # beta has seen it alive
    other.kill()
    killed = time.monotonic()
    manager = vm(driver, "/images/web-1")
    with pytest.raises(HeldError):
        manager.acquire()
    manager.acquire(wait_for_dead=True)
    assert manager.held == ("/images/web-1",)
    assert time.monotonic() - killed < dead_time + 2 * TIMES["outage_tolerance"] / 8 + 2
    manager.close()


def test_a_holder_that_lives_is_not_waited_for(host: Hosts) -> None:
    alpha, beta = host("alpha"), host("beta")
    running = vm(alpha, "/images/web-1")
    running.acquire()
    began = time.monotonic()
    with pytest.raises(HeldError) as caught:
        vm(beta, "/images/web-1").acquire(wait_for_dead=True)
    assert caught.value.alive is True
    assert time.monotonic() - began < 2.0, "two heartbeats and a poll show it"
    with pytest.raises(HeldByThisHostError):
        vm(alpha, "/images/web-1", uuid=uuid.uuid4()).acquire(wait_for_dead=True)
    running.close()


def test_a_holder_that_stops_and_goes_on_ends_the_wait(host: Hosts, lockspace: Path, member: Any) -> None:
    driver = host("beta")
    with diskpaxos.Lockspace.open(lockspace) as space:
        other = member(space)
        other.call("join", name="alpha")
        other.call("acquire", name="/images/web-1")
    time.sleep(1)
    other.pause()
    time.sleep(TIMES["outage_tolerance"] / 4 + 0.6)
    threading.Timer(0.7, other.proceed).start()
    began = time.monotonic()
    with pytest.raises(HeldError) as caught:
        vm(driver, "/images/web-1").acquire(wait_for_dead=True)
    assert caught.value.alive is True
    assert 0.6 < time.monotonic() - began < 2.5
