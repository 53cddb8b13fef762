"""Joining, living beside others, dying and leaving."""

from __future__ import annotations

import errno
import gc
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fix_members import MemberError, MemberProcess
from fix_spaces import QUICK, Maker, edit_block

from diskpaxos import Host, Lease, Lockspace, errors, identity
from diskpaxos.layout import SlotState
from diskpaxos.views import Drain, Liveness

Opener = Callable[..., Lockspace]
Members = Callable[[Lockspace], MemberProcess]


def test_join_and_leave(make_space: Maker) -> None:
    space = make_space()
    host = space.join("alpha")
    assert host.alive
    assert host.name == "alpha"
    status = host.status()
    assert status.alive
    assert (status.slot, status.generation, status.end) == (host.slot, host.generation, "")
    assert 0 < status.remaining <= 16
    host.leave()
    host.leave()
    assert not host.alive
    assert space.hosts()[host.slot].liveness is Liveness.FREE
    with pytest.raises(errors.ClosedError):
        host.acquire("vm")


def test_default_name_is_the_machines(make_space: Maker) -> None:
    with make_space().join() as host:
        assert host.name == identity.default_host_name()


def test_slot_records_say_who(make_space: Maker) -> None:
    space = make_space()
    with space.join("älpha") as host:
        view = space.hosts()[host.slot]
        assert (view.name, view.pid, view.this_host) == ("älpha", os.getpid(), True)
        assert view.machine == identity.machine_uuid()
        assert view.boot == identity.boot_uuid()
        record = space.dump(slot=host.slot)
        stat = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        assert record["start_time"] == int(stat[19])
        assert record["pid_namespace"] == Path("/proc/self/ns/pid").stat().st_ino


@pytest.mark.timing
def test_joining_healthy_storage_takes_less_than_two_seconds_by_default(make_space: Maker) -> None:
    space = make_space(outage_tolerance=40.0, claim_time=1.0)
    before = time.monotonic()
    with space.join():
        assert 1.5 <= time.monotonic() - before < 2.0


def test_generations_grow_with_every_life_of_a_slot(make_space: Maker) -> None:
    space = make_space()
    generations = []
    for _ in range(3):
        with space.join(slot=2) as host:
            assert host.slot == 2
            generations.append(host.generation)
    assert generations == sorted(set(generations))


def test_leaving_with_leases_is_refused(make_space: Maker) -> None:
    host = make_space().join("alpha")
    lease = host.acquire("vm")
    with pytest.raises(errors.LeasesHeldError) as caught:
        host.leave()
    assert caught.value.leases == ("vm",)
    assert host.alive
    lease.check()
    host.leave(release=True)
    with pytest.raises(errors.LeaseReleasedError):
        lease.check()


def test_leaving_while_a_thread_waits_is_refused(make_space: Maker, open_space: Opener) -> None:
    space = make_space()
    with open_space(space).join() as other, other.acquire("vm"):
        host = space.join()
        failed: list[Exception] = []

        def wait() -> None:
            try:
                host.acquire("vm", timeout=None)
            except errors.DiskPaxosError as error:
                failed.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        with pytest.raises(errors.LeasesHeldError, match="another thread"):
            host.leave()
        host.close()
        thread.join(10)
        assert not thread.is_alive(), "closing ends the waiting"
        assert len(failed) == 1


def test_close_while_others_are_in_calls(make_space: Maker) -> None:
    """Every call ends with an error of this package, and nothing is used after it was freed."""
    for _ in range(5):
        space = make_space()
        host = space.join()
        strange: list[BaseException] = []

        def hammer(host: Host = host, strange: list[BaseException] = strange) -> None:
            try:
                while True:
                    with host.acquire(threading.current_thread().name, timeout=1):
                        host.leases()
                        host.remaining()
            except errors.DiskPaxosError:
                pass
            except BaseException as error:
                strange.append(error)

        threads = [threading.Thread(target=hammer, name=f"vm{i}") for i in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        host.close()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert strange == []
        space.close()


class _Late:
    """The core of a host, whose acquire returns only once it is told to: another thread closes meanwhile."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.granted = threading.Event()
        self.go_on = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def acquire(self, asks: Any, create: bool, timeout: int | None, grants: Any, held: dict[int, Any]) -> None:
        mine: dict[int, Any] = {}
        self._core.acquire(asks, create, timeout, grants, mine)
        self.granted.set()
        self.go_on.wait(10)
        held.update(mine)


def test_what_is_granted_while_another_thread_closes_is_lost(make_space: Maker) -> None:
    host = make_space().join()
    late = _Late(host._core)
    host._core = late  # type: ignore[assignment]
    ended: list[object] = []

    def work() -> None:
        try:
            ended.append(host.acquire("vm"))
        except errors.DiskPaxosError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert late.granted.wait(10)
    host.close()
    late.go_on.set()
    thread.join(10)
    assert isinstance(ended[0], errors.ClosedError)
    assert "is lost" in str(ended[0])


def test_a_loss_that_is_told_before_the_lease_is_known(make_space: Maker) -> None:
    """The thread that tells of losses was faster than the one that was granted the lease."""
    space = make_space(**QUICK)
    host = space.join()
    host.create("vm")
    host.on_event(lambda event: late.go_on.set() if event.kind == "lost" else None)
    late = _Late(host._core)
    host._core = late  # type: ignore[assignment]
    leases: list[Lease] = []
    thread = threading.Thread(target=lambda: leases.append(host.acquire("vm")))
    thread.start()
    assert late.granted.wait(10)
    area = next(view.area for view in space.leases() if view.name == "vm")
    edit_block(space, space.geometry.header_block(area), lease=b"u" * 16, generation=10**9)
    thread.join(10)
    assert late.go_on.is_set()
    assert leases[0]._lost, "nobody had to ask"
    with pytest.raises(errors.LeaseLostError):
        leases[0].check()


def test_nothing_is_held_by_a_closed_host(make_space: Maker) -> None:
    host = make_space().join()
    lease = host.acquire("vm")
    host._leases.clear()  # as if it had been granted a moment after close looked
    host.close()
    assert not lease.held and lease.lost.is_set() and lease.remaining() == 0.0
    with pytest.raises(errors.LeaseLostError, match="closed without releasing"):
        lease.check()


def test_a_call_that_meets_a_host_closed_in_between(make_space: Maker) -> None:
    """Past the checks in Python the core says so, and it is the same error."""
    host = make_space().join()
    lease = host.acquire("vm")
    host._dispatcher.stop()
    host._core.close()
    for call in (lambda: host.acquire("other"), host.status, lambda: host.delete("vm")):
        with pytest.raises(errors.ClosedError):
            call()
    assert (host.remaining(), host.alive, lease.held) == (0.0, False, False)
    host.close()


def test_a_full_lockspace_says_who_waits_for_what(make_space: Maker, open_space: Opener) -> None:
    space = make_space(max_hosts=2)
    other = open_space(space)
    with space.join("first"), other.join("second"):
        with pytest.raises(errors.NoFreeSlotError) as caught:
            space.join("third", timeout=0.5)
        assert len(caught.value.waiting) == 2
        for name in ("'first'", "'second'"):
            assert name in str(caught.value)
    space.join("third").leave()


def test_a_slot_in_use_cannot_be_joined(make_space: Maker, open_space: Opener) -> None:
    space = make_space()
    with space.join(slot=3), pytest.raises(errors.NotDrainedError) as caught:
        open_space(space).join(slot=3, timeout=0.5)
    assert caught.value.slot == 3
    for slot in (-1, 8):
        with pytest.raises(errors.InvalidArgumentError):
            space.join(slot=slot)


@pytest.mark.timing
def test_after_a_kill_a_new_process_joins_another_slot_at_once(make_space: Maker, member: Members) -> None:
    space = make_space(claim_time=1.0)
    victim = member(space)
    slot = victim.call("join")
    victim.kill()
    heir = member(space)
    before = time.monotonic()
    assert heir.call("join") != slot
    assert time.monotonic() - before < 2.0


def test_a_dead_process_of_this_machine_is_cleaned_up(make_space: Maker, member: Members) -> None:
    space = make_space(**QUICK)
    with space.join("survivor") as survivor:
        reclaimed = threading.Event()
        survivor.on_event(lambda event: reclaimed.set() if event.kind == "reclaimed" else None)
        victim = member(space)
        slot = victim.call("join", name="victim")
        generation = space.hosts()[slot].generation
        victim.kill()
        assert reclaimed.wait(20)
        view = space.hosts()[slot]
        assert view.liveness is Liveness.FREE
        assert view.generation > generation


def test_a_stopped_process_is_dead_but_not_drained(make_space: Maker, member: Members) -> None:
    """Its writes may still be on their way: its slot is not used again before it is gone."""
    space = make_space(**QUICK)
    with space.join("survivor") as survivor:
        sleeper = member(space)
        slot = sleeper.call("join", name="sleeper")
        sleeper.call("acquire", name="vm")
        sleeper.pause()
        survivor.acquire("vm", timeout=30).release()
        view = space.hosts()[slot]
        assert view.liveness is Liveness.DEAD
        assert view.drain is Drain.PENDING
        time.sleep(1.0)
        assert space.hosts()[slot].generation == view.generation
        with pytest.raises(errors.NotDrainedError):
            space.join(slot=slot, timeout=0.2)


def test_retire_frees_a_slot_whose_machine_is_gone(make_space: Maker, member: Members) -> None:
    space = make_space(**QUICK)
    with space.join("admin") as admin:
        sleeper = member(space)
        slot = sleeper.call("join", name="sleeper")
        sleeper.pause()
        with pytest.raises(errors.WaitTimeoutError):
            admin.retire(slot, timeout=0.2)
        admin.retire(slot, timeout=30)
        assert space.hosts()[slot].liveness is Liveness.FREE
        sleeper.proceed()
        with pytest.raises(MemberError) as caught:
            sleeper.call("acquire", name="vm")
        assert caught.value.kind == "FinishedError"


@pytest.mark.timing
def test_retire_where_no_slot_is_left_to_join_in(make_space: Maker, member: Members) -> None:
    space = make_space(**{**QUICK, "max_hosts": 2})
    sleepers = [member(space) for _ in range(2)]
    slots = [sleeper.call("join", name=f"sleeper {i}") for i, sleeper in enumerate(sleepers)]
    begun = time.monotonic()
    with pytest.raises(errors.NotDrainedError):  # alive: the word is not enough
        space.retire(slots[0], timeout=1)
    assert time.monotonic() - begun < 8  # not joining's own limit before it
    for sleeper in sleepers:
        sleeper.pause()
    space.retire(slots[0])
    assert space.hosts()[slots[0]].liveness is Liveness.FREE
    sleepers[0].proceed()
    with pytest.raises(MemberError) as caught:
        sleepers[0].call("acquire", name="vm")
    assert caught.value.kind == "FinishedError"


@pytest.mark.parametrize("slots", [2, 8])
def test_retire_frees_a_lost_slot(slots: int, make_space: Maker) -> None:
    """Free in three versions: too few disks show each, and nobody can claim it."""
    space = make_space(3, **{**QUICK, "max_hosts": slots})
    lost = range(slots) if slots == 2 else [5]
    for slot in lost:
        for disk in range(3):
            edit_block(space, space.geometry.slot_block(slot), disk, generation=3 + disk, state=SlotState.FREE)
            edit_block(space, space.geometry.notice_block(slot, 0), disk, generation=3 + disk)
    if slots == 2:
        with pytest.raises(errors.NoFreeSlotError):
            space.join(timeout=0)
    assert space.hosts()[lost[-1]].liveness is not Liveness.FREE
    space.retire(lost[-1], timeout=30)
    assert space.hosts()[lost[-1]].liveness is Liveness.FREE
    with space.join(slot=lost[-1]) as host:
        host.acquire("vm").release()


def test_retire_of_a_living_host_does_nothing(make_space: Maker, open_space: Opener) -> None:
    space = make_space(**QUICK)
    with space.join("admin") as admin, open_space(space).join("alive") as alive:
        with pytest.raises(errors.WaitTimeoutError):
            admin.retire(alive.slot, timeout=3)
        assert alive.alive
        for slot in (8, -1):
            with pytest.raises(errors.InvalidArgumentError):
                admin.retire(slot)


def test_two_hosts_in_one_process(make_space: Maker) -> None:
    space = make_space()
    with space.join("one") as one, space.join("two") as two:
        assert one.slot != two.slot
        with one.acquire("vm"), pytest.raises(errors.HeldError) as caught:
            two.acquire("vm")
        assert caught.value.host == "one"


def test_a_host_nobody_closed_is_warned_about_and_ends(make_space: Maker) -> None:
    space = make_space()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        slot = space.join("forgotten").slot
        gc.collect()
        gc.collect()
    assert any("neither left nor closed" in str(warning.message) for warning in caught)
    counter = space.hosts()[slot].counter
    time.sleep(0.1)
    assert space.hosts()[slot].counter == counter
    assert not [thread for thread in threading.enumerate() if thread.name == f"diskpaxos-host-{slot}"]


def test_leases_keep_their_host_alive(make_space: Maker) -> None:
    lease = make_space(**QUICK).join().acquire("vm")
    gc.collect()
    time.sleep(1.5)
    lease.check()
    lease.host.leave(release=True)


def test_heartbeats_do_not_need_the_gil(make_space: Maker) -> None:
    """A busy interpreter, garbage collection included, for longer than the lifetime."""
    space = make_space(**QUICK)
    with space.join() as host:
        lease = host.acquire("vm")
        end = time.monotonic() + 2.5
        interval = sys.getswitchinterval()
        sys.setswitchinterval(100.0)
        try:
            while time.monotonic() < end:
                rows = [[i] for i in range(10000)]
                rows.append(rows)  # type: ignore[arg-type]
                gc.collect()
        finally:
            sys.setswitchinterval(interval)
        lease.check()
        assert host.status().missed <= 2


def test_events_are_logged(make_space: Maker, caplog: pytest.LogCaptureFixture) -> None:
    space = make_space()
    with caplog.at_level(logging.INFO, "diskpaxos"):
        with space.join("alpha", realtime=False):
            pass
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def locked_kilobytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmLck:")).split()[1])


def real_time_threads() -> int:
    policies = [os.sched_getscheduler(int(task)) for task in os.listdir("/proc/self/task")]
    return policies.count(os.SCHED_RR)


def test_real_time_priority_and_locked_memory_are_set(make_space: Maker) -> None:
    """What the status says is so: of the thread of heartbeats and that of their I/O."""
    space = make_space()
    before = locked_kilobytes(), real_time_threads()
    with space.join(realtime=False) as host:
        assert not host.status().realtime
        assert (locked_kilobytes(), real_time_threads()) == before
    with space.join() as host:
        if not host.status().realtime:
            pytest.skip("needs the right to real-time priority")
        assert real_time_threads() == before[1] + 2
        assert locked_kilobytes() - before[0] > 2 * 256, "the stacks of both, and more"


def test_a_heartbeat_without_real_time_priority_is_told_once(make_space: Maker) -> None:
    space = make_space()
    code = (
        "import resource, sys, diskpaxos\n"
        "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))\n"
        "with diskpaxos.Lockspace.open(sys.argv[1]) as space:\n"
        "    for _ in range(2):\n"
        "        with space.join('soft') as host:\n"
        "            print(host.status().realtime, host.status().harden_error)\n"
        "    with space.join('careless', realtime=False) as host:\n"
        "        pass\n"
    )
    without = ["setpriv", "--bounding-set=-sys_nice"] if os.geteuid() == 0 else []
    if without and not shutil.which("setpriv"):
        pytest.skip("needs setpriv to give a right up")
    done = subprocess.run(
        [*without, sys.executable, "-c", code, space.paths[0]], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"False {errno.EPERM}\n" * 2)
    (warning,) = done.stderr.splitlines()
    assert "real-time priority" in warning
    assert "CAP_SYS_NICE" in warning


def test_three_disks_and_one_that_disappears(make_space: Maker, caplog: pytest.LogCaptureFixture) -> None:
    space = make_space(3, **(QUICK | {"outage_tolerance": 2.0}))
    with space.join() as host:
        events: list[tuple[str, int]] = []
        host.on_event(lambda event: events.append((event.kind, event.disk)))
        lease = host.acquire("vm")
        os.truncate(space.paths[1], 4096)
        time.sleep(3)
        lease.check()
        lease.release()
        with host.acquire("other"):
            pass
        assert ("disk_down", 1) in events
        assert [disk.online for disk in space.info().disks] == [True, False, True]


@pytest.mark.timing
def test_with_two_of_three_disks_gone_holders_are_told(make_space: Maker) -> None:
    space = make_space(3, **(QUICK | {"outage_tolerance": 2.0}))
    with space.join() as host:
        lease = host.acquire("vm")
        for path in space.paths[1:]:
            os.truncate(path, 4096)
        before = time.monotonic()
        with pytest.raises((errors.StorageError, errors.FinishedError, errors.WaitTimeoutError)):
            host.acquire("other")
        assert lease.lost.wait(10)
        assert time.monotonic() - before < 4
        assert not host.alive
        with pytest.raises(errors.LeaseLostError):
            lease.release()
        host.close()


def test_a_lockspace_is_all_a_bare_import_needs() -> None:
    """Joining does not load numpy: an embedded host stays light."""
    code = "import sys, diskpaxos; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_other_timings_on_the_disk_are_those_that_count(make_space: Maker) -> None:
    """The owner's S, K and W decide when it is dead, not the observer's."""
    space = make_space(**QUICK)
    with space.join() as host:
        view = space.hosts()[host.slot]
        assert view.dead_time == pytest.approx(space.info().dead_time)
        free = (host.slot + 1) % 8
        edit_block(space, space.geometry.slot_block(free), outage_tolerance=10 * 10**9, generation=5, state=2)
        assert space.hosts()[free].dead_time == pytest.approx((10 + 0.2) * 1.11 + 1.25)


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_closing_gives_everything_back(make_space: Maker) -> None:
    """Threads and descriptors, though the objects live on."""
    before = threads(), len(os.listdir("/proc/self/fd"))
    kept = []
    for _ in range(3):
        space = make_space(3)
        host = space.join()
        lease = host.acquire("vm")
        kept += [space, host, lease]
        assert threads() > before[0]
        space.close()
    assert (threads(), len(os.listdir("/proc/self/fd"))) == before


def test_a_program_that_just_ends(make_space: Maker) -> None:
    """Neither hangs nor crashes, and leaves its slot to die."""
    space = make_space()
    code = (
        "import sys, diskpaxos\n"
        "space = diskpaxos.Lockspace.open(sys.argv[1])\n"
        "lease = space.join('careless', realtime=False).acquire('vm')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, space.paths[0]], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [view.liveness for view in space.hosts() if view.name == "careless"] == ["unknown"]
    assert space.leases()[0].state == "held"
