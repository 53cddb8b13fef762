"""Creating, opening and looking at lockspaces on real files."""

from __future__ import annotations

import errno
import logging
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fix_members import MemberProcess
from fix_spaces import CALM, QUICK, Maker, beating, break_block, edit_block, read_block, write_block

from diskpaxos import Lockspace, _core, claim, errors, mounts, occupancy, rawdisk
from diskpaxos.views import Liveness

Opener = Callable[..., Lockspace]
Members = Callable[[Lockspace], MemberProcess]


def test_created_as_asked(tmp_path: Path, direct_io: None) -> None:
    path = tmp_path / "lockspace"
    before = time.time()
    with Lockspace.create(
        path, name="gold", max_hosts=6, max_leases=20, block_size=4096, outage_tolerance=8.0, kill_grace=3.0,
        watchdog_timeout=2.0, claim_time=0.5,
    ) as space:  # fmt: skip
        info = space.info()
    assert (info.name, info.max_hosts, info.max_leases, info.block_size) == ("gold", 6, 20, 4096)
    assert (info.outage_tolerance, info.kill_grace, info.watchdog_timeout, info.claim_time) == (8.0, 3.0, 2.0, 0.5)
    assert info.dead_time == pytest.approx((8 + 3 + 2) * 1.11 + 1)
    assert before - 1 <= info.created_at <= time.time() + 1
    assert path.stat().st_size == info.size
    assert path.stat().st_blocks * 512 >= info.size, "all of it is allocated"


def test_defaults_are_those_of_the_documentation(tmp_path: Path, direct_io: None) -> None:
    with Lockspace.create(tmp_path / "lockspace") as space:
        info = space.info()
    assert (info.name, info.max_hosts, info.max_leases, info.block_size) == ("lockspace", 64, 1024, 512)
    assert (info.outage_tolerance, info.kill_grace, info.watchdog_timeout, info.claim_time) == (40, 10, 10, 1)
    assert info.dead_time == pytest.approx(71.6)
    assert 36 << 20 <= info.size < 37 << 20


def test_a_fresh_lockspace_is_sound_empty_and_unlike_any_other(make_space: Maker) -> None:
    first, second = make_space(), make_space()
    assert first.uuid != second.uuid
    for space in (first, second):
        assert space.check() == []
        assert space.leases() == []
        assert {host.liveness for host in space.hosts()} == {Liveness.FREE}


@pytest.mark.parametrize("disks", [1, 3, 5])
def test_disks_in_any_order(make_space: Maker, disks: int) -> None:
    space = make_space(disks, **CALM)
    with Lockspace.open(list(reversed(space.paths))) as again:
        assert again.uuid == space.uuid
        assert sorted(disk.index for disk in again.info().disks) == list(range(disks))


def test_a_minority_of_the_disks_may_be_missing(make_space: Maker) -> None:
    space = make_space(3)
    Path(space.paths[1]).unlink()
    with Lockspace.open(space.paths) as again:
        assert [disk.online for disk in again.info().disks] == [True, False, True]
    Path(space.paths[0]).unlink()
    with pytest.raises(errors.NoMajorityError):
        Lockspace.open(space.paths)


def test_progress_is_told(tmp_path: Path, direct_io: None) -> None:
    told: list[tuple[str, int, int]] = []
    Lockspace.create(tmp_path / "x", **CALM, progress=lambda *step: told.append(step)).close()
    assert told
    assert told[-1][1] == told[-1][2]
    for action in ("formatting, bytes", "verifying, bytes"):
        done = [step[1] for step in told if step[0] == action]
        assert done
        assert done == sorted(done)


# ---- what must not be overwritten


def test_a_file_with_content_is_refused_and_left_alone(tmp_path: Path, direct_io: None) -> None:
    path = tmp_path / "precious"
    path.write_bytes(b"precious")
    with pytest.raises(errors.NotEmptyError):
        Lockspace.create(path, **CALM)
    assert path.read_bytes() == b"precious"
    Lockspace.create(path, **CALM, force=True).close()


def test_content_far_inside_a_sparse_file_is_found(tmp_path: Path, direct_io: None) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(700 << 20)
        file.write(b"x")
    with pytest.raises(errors.NotEmptyError):
        Lockspace.create(path, **CALM)
    assert path.stat().st_size == 1 << 30


def test_a_file_of_zeros_is_empty(tmp_path: Path, direct_io: None) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(bytes(3_000_000))
    with Lockspace.create(path, **CALM) as space:
        assert space.check() == []


@pytest.mark.parametrize(
    ("offset", "magic", "words"),
    [(0, b"XFSB", "XFS"), (1080, b"\x53\xef", "ext4"), (512, b"LABELONE", "LVM"), (0, b"\x10\x20\x21\x12", "sanlock")],
)
def test_known_content_is_named(tmp_path: Path, direct_io: None, offset: int, magic: bytes, words: str) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(offset) + magic + bytes(65536))
    with pytest.raises(errors.NotEmptyError, match=words):
        Lockspace.create(path, **CALM)


def test_a_lockspace_without_hosts_needs_force(make_space: Maker) -> None:
    space = make_space()
    with pytest.raises(errors.NotEmptyError, match="lockspace"):
        Lockspace.create(space.paths, **CALM)
    space.close()
    with Lockspace.create(space.paths, **CALM, force=True) as again:
        assert again.uuid != space.uuid


@pytest.mark.timing
def test_no_force_overrides_a_living_host(make_space: Maker) -> None:
    space = make_space(**QUICK)
    with space.join("alive") as host:
        with pytest.raises(errors.InUseError, match="alive") as caught:
            Lockspace.create(space.paths, **QUICK)
        assert not caught.value.moving
        before = time.monotonic()
        with pytest.raises(errors.InUseError, match="alive") as caught:
            Lockspace.create(space.paths, **QUICK, force=True)
        assert caught.value.moving
        assert time.monotonic() - before < 1.4, "seen at its next heartbeat, not after T_dead"
        assert host.alive
        host.acquire("still-usable").release()


@pytest.mark.parametrize("disk", [0, 1, 2])
def test_no_force_overrides_a_host_that_has_one_disk_left(make_space: Maker, disk: int) -> None:
    """It has lost the others, and knows it soon; until then it writes its heartbeat where it can."""
    space = make_space(3, **QUICK)
    space.join("alive").close()
    slot = next(view.slot for view in space.hosts() if view.name == "alive")
    with beating(space, slot, on=disk):
        with pytest.raises(errors.InUseError, match="alive") as caught:
            Lockspace.create(space.paths, **QUICK, force=True)
        assert caught.value.moving


def test_force_waits_until_a_silent_host_is_certainly_dead(make_space: Maker, member: Members) -> None:
    space = make_space(**QUICK)
    process = member(space)
    process.call("join", name="gone")
    process.kill()
    killed = time.monotonic()
    space.close()
    with Lockspace.create(space.paths, **QUICK, force=True) as again:
        assert time.monotonic() - killed >= again.info().dead_time - 0.2
        assert again.check() == []


def test_a_lockspace_whose_superblock_is_gone_is_still_recognised_as_in_use(make_space: Maker) -> None:
    space = make_space(**QUICK)
    with space.join("alive"):
        write_block(space, 0, bytes(512))
        with pytest.raises(errors.InUseError, match="alive"):
            Lockspace.create(space.paths, **QUICK, force=True)
        assert read_block(space, 0) == bytes(512)


def test_shapes_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "x"
    bad: list[dict[str, Any]] = [
        {"max_hosts": 1},
        {"max_hosts": 4097},
        {"max_leases": 1},
        {"max_leases": (1 << 20) + 1},
        {"block_size": 1024},
        {"outage_tolerance": 0.0},
        {"outage_tolerance": float("nan")},
        {"outage_tolerance": float("inf")},
        {"kill_grace": -1.0},
        {"watchdog_timeout": 0.2},
        {"claim_time": 4.1},
        {"claim_time": 0.0},
        {"name": ""},
        {"name": "x" * 64},
        {"name": "a\nb"},
    ]
    for shape in bad:
        with pytest.raises(errors.InvalidArgumentError):
            Lockspace.create(path, **(CALM | shape))
        assert not path.exists(), f"a byte was written for {shape}"
    for paths in ([], [path, tmp_path / "y"], [tmp_path / str(i) for i in range(4)]):
        with pytest.raises(errors.InvalidArgumentError):
            Lockspace.create(paths, **CALM)
    assert list(tmp_path.iterdir()) == []


def test_one_path_twice_is_refused_before_a_byte_is_written(tmp_path: Path, direct_io: None) -> None:
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "a"]
    with pytest.raises(errors.SameDiskError):
        Lockspace.create(paths, **CALM)
    assert list(tmp_path.iterdir()) == []


# ---- interruptions


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("disks", [1, 3])
@pytest.mark.parametrize("fresh", [True, False])
def test_an_interrupted_create_leaves_nothing_half_valid(
    tmp_path: Path, direct_io: None, monkeypatch: pytest.MonkeyPatch, disks: int, fresh: bool
) -> None:
    """After each single write: what is there is no lockspace, neither the old one nor the new."""
    paths = [tmp_path / f"disk{i}" for i in range(disks)]
    real = rawdisk.RawDisk.write
    left = 0

    def write(self: rawdisk.RawDisk, offset: int, view: memoryview) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise Interrupted
        real(self, offset, view)

    for stop in range(100):
        for path in paths:
            path.unlink(missing_ok=True)
        if not fresh:
            Lockspace.create(paths, **CALM).close()
        left = stop
        monkeypatch.setattr(rawdisk.RawDisk, "write", write)
        if not fresh:  # what a crash would leave: the clean-up does not run either
            monkeypatch.setattr(claim.MediumClaim, "withdraw", lambda self, written: [])
        monkeypatch.setattr(claim, "STALE", 0.0)
        try:
            Lockspace.create(paths, **CALM, force=True).close()
            done = True
        except Interrupted:
            done = False
        monkeypatch.undo()
        if done:
            break
        present = [path for path in paths if path.exists()]
        assert fresh is False or present == [], "files made here are gone again"
        if not fresh and stop > 0:
            heads = [path.read_bytes()[:4096] for path in present]
            written = sum(1 for head in heads if _core.superblock_decode(head)[1] is not None)
            assert written <= disks - 1
            if written <= disks // 2:
                with pytest.raises(errors.DiskPaxosError):
                    Lockspace.open(paths)
    assert stop > 3 * disks


def test_no_space_is_told_and_nothing_stays(tmp_path: Path, direct_io: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(errors.PathError, match="ENOSPC"):
        Lockspace.create(tmp_path / "x", **CALM)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_failing_write_anywhere_is_told_truly(
    tmp_path: Path, direct_io: None, monkeypatch: pytest.MonkeyPatch, number: int, lasting: bool
) -> None:
    paths = [tmp_path / f"disk{i}" for i in range(3)]
    for path in paths:
        path.write_bytes(bytes(1 << 20))
    real, left = os.pwritev, 0
    monkeypatch.setattr(claim, "STALE", 0.0)

    def failing(fd: int, buffers: Any, offset: int) -> int:
        nonlocal left
        left -= 1
        if left == -1 or (lasting and left < 0):
            raise OSError(number, os.strerror(number))
        return real(fd, buffers, offset)

    def create_with(fault: int) -> errors.StorageError | None:
        nonlocal left
        left = fault
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwritev", failing)
            try:
                Lockspace.create(paths, **CALM, force=True).close()
            except errors.StorageError as error:
                return error
        return None

    faults = 0
    while (error := create_with(faults)) is not None:
        faults += 1
        assert error.errno == number
        clean = "no valid lockspace" in str(error) or "nothing was changed" in str(error)
        assert clean or lasting
        assert clean == all(path.read_bytes()[:4096] == bytes(4096) for path in paths)
    assert faults >= 12, "3 x (claim, claim again, content, superblock)"


def test_a_lockspace_larger_than_the_file_system_is_refused_at_once(tmp_path: Path, direct_io: None) -> None:
    with pytest.raises((errors.DeviceSizeError, errors.PathError)):
        Lockspace.create(tmp_path / "x", max_hosts=4096, max_leases=1 << 20, block_size=4096)
    assert list(tmp_path.iterdir()) == []


# ---- views


def test_hosts_show_who_is_alive(make_space: Maker, open_space: Opener) -> None:
    space = make_space(**QUICK)
    seen_from_outside = open_space(space)
    assert seen_from_outside.hosts(watch=0.0)[0].liveness is Liveness.FREE
    with space.join("alpha") as host:
        view = seen_from_outside.hosts(watch=0.5)[host.slot]
        assert view.liveness is Liveness.ALIVE
        assert (view.name, view.generation, view.pid) == ("alpha", host.generation, os.getpid())
        assert abs(view.last_heartbeat - time.time()) < 2
        assert not view.this_host
        mine = space.hosts()[host.slot]
        assert mine.liveness is Liveness.ALIVE
        assert mine.this_host
        assert mine.nonce == host.status().nonce
    assert seen_from_outside.hosts()[host.slot].liveness is Liveness.FREE


def test_hosts_show_who_is_dead(make_space: Maker, open_space: Opener, member: Members) -> None:
    space = make_space(**QUICK)
    process = member(space)
    slot = process.call("join", name="gone")
    process.kill()
    assert space.hosts()[slot].liveness is Liveness.UNKNOWN, "not watched: nothing is known"
    assert space.hosts(watch=0.5)[slot].liveness is Liveness.SILENT
    view = space.hosts(watch=space.info().dead_time + 0.1)[slot]
    assert view.liveness is Liveness.DEAD
    assert view.silent_for >= view.dead_time


def test_leases_show_who_holds_what(make_space: Maker, open_space: Opener) -> None:
    space = make_space()
    other = open_space(space)
    with space.join("alpha") as alpha, other.join("beta") as beta:
        mine = alpha.acquire("vm-1", label="guest 1")
        ours = [alpha.acquire("image", mode="shared"), beta.acquire("image", mode="shared", label="läbel")]
        alpha.acquire("gone").release()
        found = {lease.name: lease for lease in space.leases()}
        assert list(found) == ["gone", "image", "vm-1"]
        assert found["gone"].state == "free"
        assert found["gone"].holders == ()
        assert found["gone"].last_token > 0
        vm = found["vm-1"]
        assert (vm.state, vm.uuid, vm.damage) == ("held", mine.uuid, ())
        (holder,) = vm.holders
        assert (holder.host, holder.slot, holder.label, holder.mode) == ("alpha", alpha.slot, "guest 1", "exclusive")
        assert holder.token == mine.token
        assert abs(holder.since - time.time()) < 5
        assert sorted((h.host, h.label, h.mode) for h in found["image"].holders) == [
            ("alpha", "", "shared"),
            ("beta", "läbel", "shared"),
        ]
        assert {lease.token for lease in ours} <= {ours[0].token, ours[1].token}


def test_views_merge_the_disks(make_space: Maker) -> None:
    space = make_space(3)
    with space.join("alpha") as host:
        host.acquire("vm", label="guest")
        (lease,) = space.leases()
        header = space.geometry.header_block(lease.area)
        break_block(space, header, disk=1)
        assert space.leases()[0].holders == lease.holders
        assert space.leases()[0].damage == ()
        break_block(space, header, disk=2)
        (lost,) = space.leases()
        assert lost.state == "damaged"
        assert "header: wrong checksum" in lost.damage


def test_a_flag_of_an_incarnation_that_is_over_is_no_holder(make_space: Maker, member: Members) -> None:
    space = make_space(**QUICK)
    process = member(space)
    slot = process.call("join")
    process.call("acquire", name="vm")
    process.kill()
    assert space.leases()[0].state == "held", "as far as anybody knows"
    assert space.leases(watch=space.info().dead_time + 0.1)[0].state == "dead"
    record = space.geometry.slot_block(slot)
    edit_block(space, record, generation=space.dump(slot=slot)["generation"] + 1, state=0)
    assert space.leases()[0].state == "free"


def test_dump_decodes_every_kind_of_block(make_space: Maker) -> None:
    space = make_space()
    assert space.dump()["place"] == "superblock"
    assert space.dump()["name"] == "disk0"
    assert space.dump(slot=3)["of_slot"] == 3
    assert space.dump(area=0)["name"] == "directory"
    assert space.dump(area=2, slot=5)["place"] == "own"
    assert space.dump(block=space.geometry.notice_block(4, 0))["entries"] == [0] * 54
    assert space.dump(block=2)["place"] == "padding"
    assert uuid.UUID(space.dump()["lockspace"]) == space.uuid
    break_block(space, space.geometry.slot_block(3))
    assert space.dump(slot=3)["flaw"] == "wrong checksum"
    for wrong in ({"block": 10**9}, {"slot": 8}, {"area": 16}, {"disk": 1}, {"block": -1}):
        with pytest.raises(errors.InvalidArgumentError):
            space.dump(**wrong)


def test_opened_for_reading_only(make_space: Maker, open_space: Opener) -> None:
    space = make_space()
    Path(space.paths[0]).chmod(0o400)
    looking = open_space(space, read_only=True)
    assert looking.leases() == []
    with pytest.raises(errors.ReadOnlyError):
        looking.join()


def test_closed_things_say_so(make_space: Maker) -> None:
    space = make_space()
    host = space.join()
    lease = host.acquire("vm")
    space.close()
    space.close()
    for call in (space.join, space.info, space.hosts, space.leases, space.check, lambda: host.acquire("x")):
        with pytest.raises(errors.ClosedError):
            call()
    assert not lease.held
    assert lease.remaining() == 0.0
    with pytest.raises(errors.LeaseLostError):
        lease.check()


def test_the_end_of_a_block_leaves_in_good_order(make_space: Maker, open_space: Opener) -> None:
    space = make_space()
    with Lockspace.open(space.paths) as inner:
        host = inner.join()
        host.acquire("vm")
    assert space.hosts()[host.slot].liveness is Liveness.FREE
    assert space.leases()[0].state == "free"


def test_watching_from_outside_needs_no_superblock(make_space: Maker) -> None:
    space = make_space(**QUICK)
    with space.join("alive"), rawdisk.RawDisk(space.paths[0], write=False) as disk:
        found = occupancy.find_geometry(disk)
        assert found is not None
        with pytest.raises(errors.InUseError):
            occupancy.require_silence([(disk, *found)], None)


# ---- a block that is read while it is written


class _Torn:
    """The core of a lockspace: the first read of one block meets a write half done."""

    def __init__(self, space: Lockspace, block: int) -> None:
        self._core = space._core
        self._space = space
        self._block = block
        self.met = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def read(self, disk: int, first: int, view: Any, timeout: int) -> None:
        covered = first <= self._block < first + len(view) // self._space.geometry.block_size
        if self.met or not covered:
            self._core.read(disk, first, view, timeout)
            return
        self.met += 1
        whole = read_block(self._space, self._block)
        break_block(self._space, self._block)
        try:
            self._core.read(disk, first, view, timeout)
        finally:
            write_block(self._space, self._block, whole)


@pytest.mark.parametrize("look", ["hosts", "leases", "check"])
def test_a_torn_read_is_no_damage(make_space: Maker, open_space: Opener, look: str) -> None:
    space = make_space()
    with space.join("alpha") as host, host.acquire("vm"):
        other = open_space(space)
        (lease,) = other.leases()
        geometry = space.geometry
        slot, own = geometry.slot_block(host.slot), geometry.own_block(lease.area, host.slot)
        torn = _Torn(other, slot if look == "hosts" else own)
        other._core = torn  # type: ignore[assignment]
        if look == "check":
            assert other.check() == []
        elif look == "leases":
            (seen,) = other.leases()
            assert (seen.state, seen.damage) == ("held", ())
        else:
            assert all(view.liveness != Liveness.DAMAGED for view in other.hosts())
        other._core = torn._core
        assert torn.met == 1


# ---- where it lies


class _OnTheNetwork:
    """The core of a lockspace whose disks lie on a network file system."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def disks(self) -> list[Any]:
        return [disk._replace(network=True) for disk in self._core.disks()]


def test_a_join_on_nfs_3_warns(
    make_space: Maker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    space = make_space()
    core = space._core
    line = "40 22 0:41 / /mnt/three rw,relatime - nfs server:/a rw,vers=3,hard"
    monkeypatch.setattr(mounts, "mount_of", lambda path: mounts.parse_mountinfo(line, os.makedev(0, 41)))
    monkeypatch.setattr(space, "_use", lambda: core)
    with caplog.at_level(logging.WARNING, "diskpaxos"):
        with monkeypatch.context() as patch:
            patch.setattr(space, "_core", _OnTheNetwork(core))
            host = space.join()
        host.leave()
    assert "NFS version 3" in caplog.text
