"""check lists every damage and changes nothing; repair and rebuild mend it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fix_members import MemberProcess
from fix_spaces import CALM, QUICK, Maker, beating, break_block, edit_block, read_block, write_block

from diskpaxos import Lockspace, errors
from diskpaxos.check import Finding
from diskpaxos.rebuild import rebuild_disk, rebuild_superblocks

Opener = Callable[..., Lockspace]
Members = Callable[[Lockspace], MemberProcess]


def kinds(findings: list[Finding]) -> list[str]:
    return sorted(finding.kind for finding in findings)


def use_a_little(space: Lockspace) -> None:
    """Some history: leases taken, released and deleted, by two hosts."""
    with space.join("one") as one, space.join("two") as two:
        for name in ("a", "b", "c"):
            one.acquire(name).release()
            two.acquire(name, "shared").release()
        two.delete("b")


# ---- check


def test_a_used_lockspace_is_sound(make_space: Maker) -> None:
    for disks in (1, 3):
        space = make_space(disks)
        use_a_little(space)
        assert space.check() == []
        with space.join() as host, host.acquire("a"):
            assert space.check() == []


def test_check_changes_nothing(make_space: Maker) -> None:
    space = make_space(3)
    use_a_little(space)
    break_block(space, space.geometry.slot_block(5), disk=1)
    before = [Path(path).read_bytes() for path in space.paths]
    assert space.check()
    assert [Path(path).read_bytes() for path in space.paths] == before


def test_check_names_every_damaged_block(make_space: Maker) -> None:
    space = make_space()
    geometry = space.geometry
    broken = {
        "damaged-superblock": 0,
        "damaged-slot": geometry.slot_block(6),
        "damaged-notice": geometry.notice_block(2, 0),
        "damaged-header": geometry.header_block(9),
        "damaged-own": geometry.own_block(4, 7),
    }
    for block in broken.values():
        break_block(space, block)
    findings = {finding.kind: finding for finding in space.check()}
    assert {kind: finding.block for kind, finding in findings.items()} == broken
    assert all(finding.severity == "error" for finding in findings.values())
    assert findings["damaged-own"].slot == 7
    assert findings["damaged-own"].area == 4
    assert "wrong checksum" in findings["damaged-own"].text


def test_damage_of_one_copy_is_a_warning(make_space: Maker) -> None:
    space = make_space(3)
    break_block(space, space.geometry.header_block(3), disk=2)
    (finding,) = space.check()
    assert (finding.severity, finding.disk) == ("warning", 2)


def test_check_sees_what_does_not_fit_together(make_space: Maker) -> None:
    space = make_space()
    use_a_little(space)
    geometry = space.geometry
    areas = {lease.name: lease.area for lease in space.leases()}
    edit_block(space, geometry.header_block(areas["c"]), name=b"a", name_length=1)
    assert "double-name" in kinds(space.check())
    edit_block(space, geometry.header_block(areas["c"]), name=b"c", name_length=1)
    assert space.check() == []

    edit_block(space, geometry.own_block(areas["a"], 3), generation=50, directory_token=1 << 40)
    found = kinds(space.check())
    assert "own-block-ahead" in found
    assert "old-header" in found

    home = geometry.home_area(b"a")
    if areas["a"] == home:
        other = next(area for area in range(1, 16) if area not in areas.values() and area != home)
        header = read_block(space, geometry.header_block(home))
        edit_block(space, geometry.header_block(home), state=0)
        write_block(space, geometry.header_block(other), header)
        edit_block(space, geometry.header_block(other), area=other, index=geometry.header_block(other))
        assert "lost-lease" in kinds(space.check())


def test_check_tells_of_missing_disks(make_space: Maker) -> None:
    space = make_space(3)
    Path(space.paths[1]).unlink()
    with Lockspace.open(space.paths) as again:
        (finding,) = again.check()
        assert (finding.kind, finding.text) == (
            "disk-offline",
            f"{space.paths[1]} is not used: No such file or directory",
        )
    with Lockspace.open([space.paths[0], space.paths[2]]) as again:
        assert kinds(again.check()) == ["disk-not-given"]


# ---- repair


@pytest.mark.parametrize("disks", [1, 3])
def test_repair_of_own_blocks(make_space: Maker, disks: int) -> None:
    space = make_space(disks)
    use_a_little(space)
    (area,) = (lease.area for lease in space.leases() if lease.name == "a")
    ballot = max(space.dump(area=area, slot=slot)["ballot"] for slot in range(8))
    for slot in (2, 5):
        for disk in range(disks // 2 + 1):
            break_block(space, space.geometry.own_block(area, slot), disk)
    with space.join() as host, pytest.raises(errors.DamagedError):
        host.acquire("a")
    report = space.repair()
    assert report.complete, report.left
    assert len(report.mended) == 2
    assert space.check() == []
    own = space.dump(area=area, slot=2)
    assert own["hold"] == 0
    assert own["ballot"] > ballot, "above everything that the lost block may have said"
    assert own["last_exclusive"] > ballot
    with space.join() as host:
        host.acquire("a").release()


def test_repair_makes_states_from_before_stale(make_space: Maker) -> None:
    """The lost block may have been the trace of somebody's exclusive take."""
    space = make_space()
    with space.join() as host:
        lease = host.acquire("vm")
        state = lease.state
        lease.release()
        slot = (host.slot + 1) % 8
    (view,) = space.leases()
    break_block(space, space.geometry.own_block(view.area, slot))
    assert space.repair().complete
    with space.join() as host, pytest.raises(errors.StaleStateError):
        host.acquire("vm", state=state)


def test_a_live_host_rewrites_its_own_block_by_itself(make_space: Maker, open_space: Opener) -> None:
    space = make_space(outage_tolerance=4.0)
    other = open_space(space)
    with space.join() as host:
        healed = []
        host.on_event(lambda event: healed.append(event.lease) if event.kind == "healed" else None)
        lease = host.acquire("vm")
        (view,) = space.leases()
        break_block(space, space.geometry.own_block(view.area, host.slot))
        report = other.repair()
        assert report.complete, report.left
        assert space.check() == []
        assert until(lambda: healed == ["vm"])
        lease.check()


@pytest.mark.parametrize("disks", [1, 3])
def test_a_live_host_that_holds_nothing_rewrites_its_block_when_asked(
    make_space: Maker, open_space: Opener, disks: int
) -> None:
    space = make_space(disks, outage_tolerance=4.0)
    other = open_space(space)
    with space.join("alpha") as host, other.join("beta") as holder:
        host.acquire("vm").release()
        lease = holder.acquire("vm")
        (view,) = space.leases()
        for disk in range(disks // 2 + 1):
            break_block(space, space.geometry.own_block(view.area, host.slot), disk)
        report = other.repair()
        assert report.complete, report.left
        assert space.check() == []
        lease.check()
        lease.release()
        host.acquire("vm").release()


def test_damage_beside_a_dead_holder(make_space: Maker, open_space: Opener, member: Members) -> None:
    """Blocks of slots that nobody has: nobody could take the lease any more, and nothing mended them."""
    space = make_space(**QUICK)
    process = member(space)
    process.call("join", slot=6)
    process.call("acquire", name="vm")
    (view,) = space.leases()
    process.kill()
    for slot in (2, 3):
        break_block(space, space.geometry.own_block(view.area, slot))
    with space.join(slot=5) as host, pytest.raises(errors.DamagedError):
        host.acquire("vm", timeout=3 * space.info().dead_time)
    report = space.repair()
    assert report.complete, report.left
    assert space.check() == []
    with space.join(slot=5) as host:
        lease = host.acquire("vm", timeout=3 * space.info().dead_time)
        assert lease.token > view.holders[0].token
        lease.release()


@pytest.mark.parametrize("disks", [3, 5])
def test_repair_of_single_copies(make_space: Maker, disks: int) -> None:
    space = make_space(disks)
    use_a_little(space)
    geometry = space.geometry
    (area,) = (lease.area for lease in space.leases() if lease.name == "a")
    for disk, block in enumerate([geometry.header_block(area), geometry.slot_block(4), geometry.notice_block(6, 0)]):
        break_block(space, block, disk)
    break_block(space, 0, 1)
    report = space.repair()
    assert report.complete, report.left
    assert space.check() == []
    with space.join() as host:
        host.acquire("a", create=False).release()
    with Lockspace.open(space.paths) as again:
        assert all(disk.online for disk in again.info().disks)


def test_repair_of_what_a_majority_has_lost(make_space: Maker, member: Members) -> None:
    """Headers, slot records and notices of a single disk: when all hosts are out."""
    space = make_space(**QUICK)
    use_a_little(space)
    geometry = space.geometry
    generation = max(space.dump(slot=slot)["generation"] for slot in range(8))
    (area,) = (lease.area for lease in space.leases() if lease.name == "a")
    for block in (geometry.header_block(area), geometry.slot_block(3), geometry.notice_block(4, 0)):
        break_block(space, block)
    process = member(space)
    process.call("join", slot=6)
    report = space.repair()
    assert len(report.left) == 3
    assert "needs all hosts out" in report.left[0]
    process.kill()
    killed = time.monotonic()
    report = space.repair()
    assert time.monotonic() - killed >= space.info().dead_time - 0.2, "it made sure that nobody is alive"
    assert report.complete, report.left
    assert kinds(space.check()) == []
    assert space.dump(slot=3)["generation"] > generation
    assert space.dump(area=area)["state"] == 2, "a tombstone: the search for other names goes on past it"
    with space.join(slot=3) as host:
        host.acquire("c", create=False).release()
        host.acquire("a").release()
    assert space.check() == []


def test_repair_of_a_header_that_came_back(make_space: Maker) -> None:
    """Old content of one block, on a single disk: nobody takes that lease any more."""
    space = make_space(**QUICK)
    use_a_little(space)
    (area,) = (lease.area for lease in space.leases() if lease.name == "a")
    old = read_block(space, space.geometry.header_block(area))
    with space.join() as host:
        host.delete("a")
        host.acquire("a").release()
    write_block(space, space.geometry.header_block(area), old)
    with space.join() as host, pytest.raises(errors.DamagedError):
        host.acquire("a")
    assert kinds(space.check()) == ["old-header"]
    report = space.repair()
    assert report.complete, report.left
    assert kinds(space.check()) == []
    with space.join() as host:
        host.acquire("a").release()
    assert space.check() == []


def test_a_slot_that_cannot_be_read_keeps_nobody_out(make_space: Maker) -> None:
    """Its record is damaged, and its notices are.  Who comes now cannot be meant by them."""
    space = make_space(**QUICK)
    break_block(space, space.geometry.slot_block(3))
    break_block(space, space.geometry.notice_block(3, 0))
    with space.join(slot=2) as host, host.acquire("vm"):
        time.sleep(1.5 * space.geometry.outage_tolerance / 1e9)
        assert host.alive
    report = space.repair()
    assert report.complete, report.left
    space.join().leave()
    assert space.check() == []


def test_repair_of_a_sound_lockspace_does_nothing(make_space: Maker) -> None:
    space = make_space(3)
    use_a_little(space)
    before = [Path(path).read_bytes() for path in space.paths]
    report = space.repair()
    assert (report.mended, report.left) == ([], [])
    assert [Path(path).read_bytes() for path in space.paths] == before


# ---- rebuild


def test_a_replaced_disk(make_space: Maker, tmp_path: Path) -> None:
    space = make_space(3, **QUICK)
    use_a_little(space)
    one, two, three = space.paths
    space.close()
    Path(two).rename(tmp_path / "old")
    told: list[str] = []
    index = rebuild_disk([one, three], two, progress=lambda what, done, total: told.append(what))
    assert index == 1
    assert told
    with Lockspace.open([one, two, three]) as again:
        assert [disk.generation for disk in again.info().disks] == [1, 2, 1]
        assert all(disk.online for disk in again.info().disks)
        assert again.check() == []
        again.join().leave()
    # The new disk carries the lockspace on together with either of the others.
    with Lockspace.open([one, two]) as again, again.join() as host:
        host.acquire("a", create=False).release()
    # The old one counts no more, should it come back.
    with Lockspace.open([one, str(tmp_path / "old"), three]) as again:
        assert [disk.online for disk in again.info().disks] == [True, False, True]
        assert "outdated" in again.info().disks[1].trouble


def test_rebuild_while_hosts_work(make_space: Maker, open_space: Opener) -> None:
    space = make_space(3, **(QUICK | {"outage_tolerance": 2.0}))
    one, two, three = space.paths
    Path(two).unlink()
    with Lockspace.open(space.paths) as mine, mine.join() as host:
        lease = host.acquire("vm")
        assert rebuild_disk([one, three], two) == 1
        lease.check()
        end = time.monotonic() + 10
        while not all(disk.online for disk in mine.info().disks) and time.monotonic() < end:
            time.sleep(0.05)
        assert all(disk.online for disk in mine.info().disks), "it is taken into use by itself"
        host.acquire("other").release()
        Path(one).unlink()
        lease.check()
    with Lockspace.open([two, three]) as again:
        assert {lease.name for lease in again.leases()} == {"vm", "other"}


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_the_replaced_disk_stays_out_for_hosts_that_run_on(make_space: Maker, tmp_path: Path) -> None:
    """They opened the lockspace before the rebuild, and learn of it before they use a disk again."""
    space = make_space(3, **(QUICK | {"outage_tolerance": 2.0}))
    one, two, three = space.paths
    with space.join() as host:
        lease = host.acquire("vm")
        old = Path(two).read_bytes()
        os.truncate(two, 4096)
        assert until(lambda: not space.info().disks[1].online)
        assert rebuild_disk([one, three], tmp_path / "new") == 1
        Path(two).write_bytes(old)
        assert until(lambda: "outdated" in space.info().disks[1].trouble)
        time.sleep(1)
        assert not space.info().disks[1].online
        assert not space.leases()[0].damage
        assert {finding.kind for finding in space.check()} <= {"disk-offline", "old-superblock"}
        Path(two).write_bytes((tmp_path / "new").read_bytes())
        assert until(lambda: space.info().disks[1].online), "the rebuilt one is welcome"
        lease.check()
        host.acquire("other").release()


def test_a_disk_that_hosts_still_use_is_not_rebuilt(make_space: Maker, open_space: Opener) -> None:
    space = make_space(3, **(QUICK | {"outage_tolerance": 2.0}))
    one, two, three = space.paths
    with space.join() as host:
        with pytest.raises(errors.InUseError):
            rebuild_disk([one, three], two)
        assert host.alive
        host.acquire("vm").release()


def test_rebuild_refuses_what_makes_no_sense(make_space: Maker, tmp_path: Path) -> None:
    space = make_space(3, **QUICK)
    one, two, three = space.paths
    with pytest.raises(errors.InvalidArgumentError, match="nothing to rebuild"):
        rebuild_disk(space.paths, tmp_path / "new")
    with pytest.raises(errors.LockspaceError):
        rebuild_disk([one], two)
    with pytest.raises(errors.SameDiskError):
        rebuild_disk([one, three], one)
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious" * 1000)
    with pytest.raises(errors.NotEmptyError):
        rebuild_disk([one, three], precious)
    assert precious.read_bytes() == b"precious" * 1000


def test_a_block_that_no_majority_has_stops_a_rebuild(make_space: Maker) -> None:
    space = make_space(3, **QUICK)
    one, two, three = space.paths
    break_block(space, space.geometry.own_block(3, 3), disk=0)
    space.close()
    Path(two).unlink()
    with pytest.raises(errors.DamagedError):
        rebuild_disk([one, three], two)
    assert not Path(two).exists() or Path(two).read_bytes()[:8] == bytes(8), "never a superblock over less"


@pytest.mark.parametrize("disks", [1, 3])
def test_lost_superblocks(make_space: Maker, disks: int) -> None:
    space = make_space(disks, **QUICK)
    use_a_little(space)
    before = space.info()
    space.close()
    for disk in range(disks):
        write_block(space, 0, bytes(512), disk)
    with pytest.raises(errors.NotFormattedError):
        Lockspace.open(space.paths)
    assert rebuild_superblocks(space.paths) == list(space.paths)
    with Lockspace.open(space.paths) as again:
        after = again.info()
        assert (after.uuid, after.name, after.size) == (before.uuid, before.name, before.size)
        assert (after.outage_tolerance, after.kill_grace) == (before.outage_tolerance, before.kill_grace)
        assert again.check() == []
        with again.join() as host:
            host.acquire("a", create=False).release()
    assert rebuild_superblocks(space.paths) == []


def test_of_different_timings_the_largest_count(make_space: Maker) -> None:
    space = make_space(**QUICK)
    edit_block(space, space.geometry.slot_block(5), outage_tolerance=3 * 10**9, kill_grace=2 * 10**9)
    space.close()
    write_block(space, 0, bytes(512))
    rebuild_superblocks(space.paths)
    with Lockspace.open(space.paths) as again:
        assert (again.info().outage_tolerance, again.info().kill_grace) == (3.0, 2.0)


def test_no_superblock_is_rebuilt_under_a_living_host(make_space: Maker) -> None:
    space = make_space(**QUICK)
    with space.join("alive") as host:
        write_block(space, 0, bytes(512))
        with pytest.raises(errors.InUseError, match="alive"):
            rebuild_superblocks(space.paths)
        assert read_block(space, 0) == bytes(512)
        host.acquire("vm").release()


@pytest.mark.parametrize("disk", [1, 2])
def test_no_superblock_is_rebuilt_while_one_disk_has_heartbeats(make_space: Maker, disk: int) -> None:
    """The host that writes them has lost the other disks, perhaps."""
    space = make_space(3, **QUICK)
    space.join("alive").close()
    slot = next(view.slot for view in space.hosts() if view.name == "alive")
    write_block(space, 0, bytes(512))
    with beating(space, slot, on=disk):
        with pytest.raises(errors.InUseError, match="alive"):
            rebuild_superblocks(space.paths)
        assert read_block(space, 0) == bytes(512)


def test_too_little_left_to_rebuild_from(make_space: Maker, tmp_path: Path, direct_io: None) -> None:
    space = make_space()
    write_block(space, 0, bytes(512))
    for area in range(16):
        break_block(space, space.geometry.header_block(area))
    with pytest.raises(errors.DamagedError):
        rebuild_superblocks(space.paths)
    empty = tmp_path / "empty"
    empty.write_bytes(bytes(1 << 20))
    with pytest.raises(errors.NotFormattedError):
        rebuild_superblocks(empty)
    assert os.stat(empty).st_size == 1 << 20


def test_rebuilding_needs_a_majority_of_the_disks(make_space: Maker) -> None:
    space = make_space(3, **CALM)
    space.close()
    with pytest.raises(errors.InvalidArgumentError):
        rebuild_superblocks(space.paths[0])


def test_repair_waits_for_a_dead_host_of_this_machine(make_space: Maker, member: Members) -> None:
    space = make_space(**QUICK)
    process = member(space)
    slot = process.call("join", name="victim")
    process.call("acquire", name="vm")
    process.kill()
    (view,) = space.leases()
    break_block(space, space.geometry.own_block(view.area, slot))
    report = space.repair()
    assert report.complete, report.left
    assert space.check() == []
    with space.join() as host:
        host.acquire("vm", create=False).release()


def test_repair_leaves_the_blocks_of_a_host_that_may_still_write(make_space: Maker, member: Members) -> None:
    space = make_space(**QUICK)
    process = member(space)
    slot = process.call("join", name="sleeper")
    process.call("acquire", name="vm")
    process.pause()
    (view,) = space.leases()
    block = space.geometry.own_block(view.area, slot)
    break_block(space, block)
    before = read_block(space, block)
    report = space.repair()
    assert len(report.left) == 1
    assert f"hosts retire {slot}" in report.left[0]
    assert read_block(space, block) == before
