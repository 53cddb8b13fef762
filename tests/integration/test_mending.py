"""What repair and rebuild must not do, and must not say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fix_members import MemberProcess
from fix_spaces import CALM, QUICK, Maker, break_block, read_block, write_block

from diskpaxos import Lockspace, _core, errors, inspect
from diskpaxos import repair as repairing
from diskpaxos.rebuild import rebuild_disk, rebuild_superblocks

Opener = Callable[..., Lockspace]
Members = Callable[[Lockspace], MemberProcess]


def images(space: Lockspace) -> list[bytes]:
    return [Path(path).read_bytes() for path in space.paths]


# ---- rebuild: nothing is written before everything was looked at


def test_a_healthy_disk_is_not_rebuilt(make_space: Maker) -> None:
    """The wrong path, or one that needs nothing: what lies there is as good as what would be put there."""
    space = make_space(3, **QUICK)
    before = images(space)
    one, two, three = space.paths
    space.close()
    with pytest.raises(errors.NotEmptyError, match=f"{two} is not empty: .*disk 1"):
        rebuild_disk([one, three], two)
    assert images(space) == before


def test_a_disk_in_use_is_refused_before_a_byte_is_written(make_space: Maker) -> None:
    space = make_space(3, **QUICK)
    one, two, three = space.paths
    with space.join("alive") as host:
        for force in (False, True):
            superblock, notices = read_block(space, 0, 1), read_block(space, space.geometry.notice_block(0, 0), 1)
            others = [read_block(space, space.geometry.slot_block(slot), 1) for slot in range(8) if slot != host.slot]
            with pytest.raises(errors.InUseError, match="alive"):
                rebuild_disk([one, three], two, force=force)
            assert read_block(space, 0, 1) == superblock
            assert read_block(space, space.geometry.notice_block(0, 0), 1) == notices
            again = [read_block(space, space.geometry.slot_block(slot), 1) for slot in range(8) if slot != host.slot]
            assert again == others
            assert any(read_block(space, space.geometry.slot_block(host.slot), 1))
        assert all(disk.online for disk in space.info().disks)


def test_a_disk_in_use_without_its_superblock_is_refused_before_a_byte_is_written(make_space: Maker) -> None:
    """Its hosts opened it before; repair mends it."""
    space = make_space(3, **QUICK)
    one, two, three = space.paths
    with space.join("alive") as host:
        write_block(space, 0, bytes(512), 1)
        table = [read_block(space, space.geometry.slot_block(slot), 1) for slot in range(8) if slot != host.slot]
        with pytest.raises(errors.InUseError, match="alive"):
            rebuild_disk([one, three], two)
        assert [
            read_block(space, space.geometry.slot_block(slot), 1) for slot in range(8) if slot != host.slot
        ] == table


def test_another_disk_of_the_same_lockspace_is_not_taken(make_space: Maker, tmp_path: Path) -> None:
    """An older copy of a disk that the others are asked for is not the one that is missing."""
    space = make_space(3, **QUICK)
    one, two, three = space.paths
    copy = tmp_path / "copy"
    copy.write_bytes(Path(three).read_bytes())
    space.close()
    Path(two).unlink()
    with pytest.raises(errors.NotEmptyError, match="disk 2"):
        rebuild_disk([one, three], copy)
    assert copy.read_bytes() == Path(three).read_bytes()
    assert rebuild_disk([one, three], copy, force=True) == 1


def test_damage_that_stops_a_rebuild_stops_it_before_a_byte_is_written(make_space: Maker, tmp_path: Path) -> None:
    space = make_space(3, **QUICK)
    one, two, three = space.paths
    break_block(space, space.geometry.own_block(3, 3), disk=0)
    space.close()
    old = tmp_path / "old"
    old.write_bytes(Path(two).read_bytes())
    Path(two).unlink()
    old_bytes = bytes([7]) * 5_000_000
    old.write_bytes(old_bytes)
    with pytest.raises(errors.DamagedError):
        rebuild_disk([one, three], old, force=True)
    assert old.read_bytes() == old_bytes


def test_no_space_for_a_lockspace_leaves_the_old_one(make_space: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room is reserved before the old superblock goes."""
    space = make_space()
    before = images(space)
    space.close()

    def full(fd: int, offset: int, size: int) -> None:
        import os

        os.ftruncate(fd, size - 4096)  # as a file system does that runs full half-way
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(errors.PathError, match="ENOSPC"):
        Lockspace.create(space.paths, **(CALM | {"max_leases": 64}), force=True)
    assert images(space) == before


# ---- how long one waits


@pytest.mark.parametrize("what", ["repair", "hosts"])
def test_the_timings_of_a_damaged_record_count_for_nothing(make_space: Maker, what: str) -> None:
    """One bit of S flipped: T_dead would be a day."""
    space = make_space(**QUICK)
    block = space.geometry.slot_block(3)
    data = read_block(space, block)
    field = next(f for f in _core.fields() if f.name == "outage_tolerance" and f.kind == 2)
    data[field.offset + 5] ^= 0x40
    write_block(space, block, data)
    if what == "hosts":
        assert space.hosts()[3].dead_time == space.info().dead_time
        return
    told: list[tuple[str, int, int]] = []
    begin = time.monotonic()
    # A dead host, so that there is something to wait for.
    report = space.repair(progress=lambda *step: told.append(step))
    assert report.complete, report.left
    assert time.monotonic() - begin < 3 * space.info().dead_time
    watched = [step for step in told if "heartbeats" in step[0]]
    assert len(watched) > 3, "it shows that it goes on"
    assert {step[2] for step in watched} == {2}


@pytest.mark.timing
def test_init_does_not_believe_the_timings_of_a_damaged_record(make_space: Maker) -> None:
    """The superblock is gone, so the records tell; the first of them is damaged."""
    space = make_space(**QUICK)
    with space.join(slot=1):
        pass
    block = space.geometry.slot_block(0)
    data = read_block(space, block)
    field = next(f for f in _core.fields() if f.name == "outage_tolerance" and f.kind == 2)
    data[field.offset + 5] ^= 0x40
    write_block(space, block, data)
    write_block(space, 0, bytes(512))
    space.close()
    begin = time.monotonic()
    Lockspace.create(space.paths, **QUICK, force=True).close()
    assert time.monotonic() - begin < 60, "not a day"


def test_a_slow_first_read_is_not_a_heartbeat(
    make_space: Maker, member: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = make_space(**QUICK)
    process = member(space)
    process.call("join")
    process.kill()
    break_block(space, space.geometry.notice_block(7, 0))
    real = inspect.read_slots
    slow = iter([0.0, 0.3])

    def read(some: Lockspace) -> inspect.Blocks:
        time.sleep(next(slow, 0.0))
        return real(some)

    monkeypatch.setattr(inspect, "read_slots", read)
    report = space.repair()
    assert report.complete, report.left


# ---- what repair mends, and says


def test_the_header_of_lease_0_is_mended_while_hosts_work(make_space: Maker, open_space: Opener) -> None:
    space = make_space(3)
    worker = open_space(space)
    with worker.join() as host, host.acquire("vm"):
        break_block(space, space.geometry.header_block(0), disk=1)
        begin = time.monotonic()
        report = space.repair()
        assert report.complete, report.left
        assert time.monotonic() - begin < 8
        assert space.check() == []
        host.acquire("another").release()
    assert {view.liveness for view in space.hosts()} == {"free"}


def test_the_header_of_a_held_lease_is_left_until_it_is_released(
    make_space: Maker, open_space: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repairing, "_LIMIT", 1.0)
    space = make_space(3)
    worker = open_space(space)
    with worker.join("worker") as host:
        lease = host.acquire("vm")
        (view,) = space.leases()
        break_block(space, space.geometry.header_block(view.area), disk=1)
        (left,) = space.repair().left
        assert f"host 'worker' (slot {host.slot}) holds that lease: repair again once it is released" in left
        host.acquire("another").release()
        lease.release()
        report = space.repair()
        assert report.complete, report.left
        assert len(report.mended) == 1
    assert space.check() == []


def test_lease_0_is_not_resolved(make_space: Maker) -> None:
    """Its header never changes; to take it twice would wait for itself, and end holding it."""
    space = make_space()
    with space.join() as host:
        with pytest.raises(errors.InvalidArgumentError):
            host.resolve(0, 5)
        host.acquire("new").release()


@pytest.mark.parametrize("how", ["damaged", "zeroed"])
def test_repair_mends_the_superblock_that_keeps_a_disk_unused(make_space: Maker, how: str) -> None:
    space = make_space(3)
    with space.join() as host:
        host.acquire("vm").release()
    sound = read_block(space, 0, 1)
    if how == "damaged":
        break_block(space, 0, 1)
    else:
        write_block(space, 0, bytes(512), 1)
    space.close()
    with Lockspace.open(space.paths) as again:
        (finding,) = again.check()
        assert finding.kind == "disk-offline"
        assert finding.remedy == "diskpaxos repair"
        report = again.repair()
        assert report.complete, report.left
        assert report.mended == ["superblock of disk 1"]
        end = time.monotonic() + 5
        while not all(disk.online for disk in again.info().disks) and time.monotonic() < end:
            time.sleep(0.02)
        assert again.check() == []
    assert _core.superblock_decode(bytes(sound))[1] is not None


def test_repair_does_not_make_a_replaced_disk_count_again(make_space: Maker, tmp_path: Path) -> None:
    space = make_space(3, **QUICK)
    one, two, three = space.paths
    old = tmp_path / "old"
    space.close()
    Path(two).rename(old)
    rebuild_disk([one, three], tmp_path / "new")
    with old.open("r+b") as file:
        file.write(bytes(512))
    before = old.read_bytes()
    with Lockspace.open([one, old, three]) as again:
        report = again.repair()
        assert len(report.left) == 1
        assert f"{old}" in report.left[0]
        assert "rebuild" in report.left[0]
    assert old.read_bytes() == before


def test_a_path_that_is_no_disk_of_it_is_left_with_a_reason(make_space: Maker, tmp_path: Path) -> None:
    space = make_space(3)
    one, two, three = space.paths
    space.close()
    Path(two).write_bytes(bytes(Path(one).stat().st_size))
    with Lockspace.open([one, two, three]) as again:
        report = again.repair()
        assert not report.mended
        assert len(report.left) == 1
        assert "rebuild" in report.left[0]


def test_a_late_write_of_a_minority_is_waited_for(make_space: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A majority has the block, the third disk is slow: it is not damaged "after it was written"."""
    space = make_space(3)
    with space.join() as host:
        host.acquire("vm").release()
    (view,) = space.leases()
    block = space.geometry.own_block(view.area, 5)
    good = read_block(space, block, 2)
    break_block(space, block, 2)
    real = repairing.read_blocks
    late: list[threading.Timer] = []

    def read(some: Lockspace, first: int, count: int) -> inspect.Blocks:
        if first == block and not late:
            broken = bytearray(read_block(some, block, 2))
            written = bytes(broken)
            broken[300] ^= 4
            write_block(some, block, broken, 2)
            late.append(threading.Timer(0.5, write_block, (some, block, written, 2)))
            late[0].start()
        return real(some, first, count)

    monkeypatch.setattr(repairing, "read_blocks", read)
    report = space.repair()
    assert late, "the block was looked at again"
    late[0].join()
    assert report.complete, report.left
    assert good


# ---- a superblock that another disk's was written over


def overwrite(space: Lockspace, target: int, source: bytes | bytearray) -> None:
    write_block(space, 0, source, target)


@pytest.mark.parametrize("foreign", ["of another disk", "of another lockspace"])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_a_superblock_of_another_disk_costs_one_disk(make_space: Maker, foreign: str, target: int) -> None:
    space = make_space(3)
    with space.join() as host:
        host.acquire("vm").release()
    other = space if foreign == "of another disk" else make_space(3)
    space.close()
    overwrite(space, target, read_block(other, 0, (target + 1) % 3))
    with Lockspace.open(space.paths) as again:
        assert [disk.online for disk in again.info().disks] == [index != target for index in range(3)]
        assert again.uuid == space.uuid
        with again.join() as host:
            host.acquire("vm", create=False).release()
        assert [finding.kind for finding in again.check()] == ["disk-offline"]
        report = again.repair()
        assert report.complete, report.left
        assert report.mended == [f"superblock of disk {target}"]
    with Lockspace.open(space.paths) as again:
        assert again.check() == []


def test_a_superblock_overwritten_while_it_is_open(make_space: Maker) -> None:
    space = make_space(3)
    overwrite(space, 1, read_block(space, 0, 2))
    assert [finding.kind for finding in space.check()] == ["foreign-superblock"]
    report = space.repair()
    assert report.complete, report.left
    assert space.check() == []


def test_superblocks_overwritten_under_a_holder_end_nobody(make_space: Maker) -> None:
    """The records behind them stand: a heartbeat goes on writing there."""
    space = make_space(3, outage_tolerance=4.0)
    source = read_block(space, 0, 2)
    with space.join() as host:
        lease = host.acquire("vm")
        overwrite(space, 0, source)
        overwrite(space, 1, source)
        before = host.status().beats
        end = time.monotonic() + 10
        while host.status().beats < before + 4 and time.monotonic() < end:
            time.sleep(0.05)
        assert host.status().beats >= before + 4
        assert lease.held
        lease.release()
    assert [finding.kind for finding in space.check()] == ["foreign-superblock"] * 2
    space.close()
    assert rebuild_superblocks(space.paths) == list(space.paths[:2])


def test_superblocks_of_other_disks_are_rebuilt(make_space: Maker) -> None:
    space = make_space(3)
    sources = [read_block(space, 0, disk) for disk in range(3)]
    space.close()
    overwrite(space, 0, sources[2])
    overwrite(space, 1, sources[2])
    with pytest.raises(errors.DamagedError, match="block of another disk"):
        Lockspace.open(space.paths[:2])
    assert rebuild_superblocks(space.paths) == list(space.paths[:2])
    with Lockspace.open(space.paths) as again:
        assert again.check() == []


def test_two_lockspaces_are_still_a_mistake(make_space: Maker) -> None:
    """Disks that are whole, of two lockspaces: whoever named them was wrong, and is told so."""
    one, other = make_space(3), make_space(3)
    with pytest.raises(errors.OtherLockspaceError):
        Lockspace.open([one.paths[0], one.paths[1], other.paths[2]])
    copy = Path(one.paths[2])
    copy.write_bytes(Path(one.paths[1]).read_bytes())
    with pytest.raises(errors.SameDiskError):
        Lockspace.open(one.paths)


def test_an_outdated_disk_is_rebuilt_without_force(make_space: Maker, tmp_path: Path) -> None:
    space = make_space(3, **QUICK)
    one, two, three = space.paths
    space.close()
    old = tmp_path / "old"
    Path(two).rename(old)
    rebuild_disk([one, three], tmp_path / "new")
    Path(tmp_path / "new").unlink()
    assert rebuild_disk([one, three], old) == 1
    with Lockspace.open([one, old, three]) as again:
        assert again.check() == []
