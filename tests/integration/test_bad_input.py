"""Everything wrong that can be given to the library: a typed error each, and nothing written."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from fix_spaces import CALM, Maker, edit_block, read_block, write_block

from diskpaxos import DiskPaxosError, Lockspace, _core, errors
from diskpaxos.layout import Kind, table

Opener = Callable[..., Lockspace]


# ---- not a lockspace


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(errors.PathError) as caught:
        Lockspace.open(tmp_path / "nothing")
    assert caught.value.errno == errno.ENOENT
    assert "diskpaxos init" in str(caught.value)


def test_a_directory_a_device_and_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, Path("/dev/null"), pipe):
        with pytest.raises(errors.LockspaceError):
            Lockspace.open(path)
        with pytest.raises(errors.LockspaceError):
            Lockspace.create(path, **CALM, force=True)


@pytest.mark.parametrize("content", [b"", b"x", bytes(511), bytes(4096), os.urandom(8192), b"DPAXOS\n\n" + bytes(5000)])
def test_not_a_lockspace(tmp_path: Path, direct_io: None, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(errors.NotFormattedError) as caught:
        Lockspace.open(path)
    assert caught.value.path == str(path)
    assert path.read_bytes() == content


def test_another_magic(make_space: Maker) -> None:
    space = make_space()
    data = read_block(space, 0)
    data[:8] = b"DPAXOS\n\n"  # what a text-mode copy makes of it
    write_block(space, 0, data)
    with pytest.raises(errors.NotFormattedError):
        Lockspace.open(space.paths)


def test_another_format_version(make_space: Maker) -> None:
    space = make_space()
    for version, advice in ((1, "init --force"), (3, "the release of diskpaxos that formatted it")):
        edit_block(space, 0, version=version)
        with pytest.raises(errors.IncompatibleError, match=advice) as caught:
            Lockspace.open(space.paths)
        assert caught.value.version == version


def test_unknown_features(make_space: Maker) -> None:
    space = make_space()
    edit_block(space, 0, features_compatible=1 << 60)
    Lockspace.open(space.paths).close()
    edit_block(space, 0, features_incompatible=1 << 40)
    with pytest.raises(errors.IncompatibleError) as caught:
        Lockspace.open(space.paths)
    assert caught.value.features == 1 << 40


def test_another_uuid(make_space: Maker) -> None:
    """The blocks of a lockspace under the superblock of another: nothing in it is believed."""
    space = make_space()
    edit_block(space, 0, lockspace=b"another lockspac")
    with pytest.raises(errors.DamagedError, match=r"superblock .* block of another lockspace"):
        Lockspace.open(space.paths)
    for slot in range(8):  # nor where no record tells
        write_block(space, space.geometry.slot_block(slot), bytes(512))
    with Lockspace.open(space.paths) as other:
        with pytest.raises(DiskPaxosError):
            other.join(timeout=1)
        assert {view.liveness for view in other.hosts()} == {"damaged"}


def test_every_bit_of_the_superblock_matters(make_space: Maker) -> None:
    space = make_space()
    sound = bytes(read_block(space, 0))
    for bit in range(0, len(sound) * 8, 7):
        data = bytearray(sound)
        data[bit // 8] ^= 1 << bit % 8
        flaw, geometry, _, _ = _core.superblock_decode(data)
        assert flaw
        assert geometry is None
    data = bytearray(sound)
    data[300] ^= 1
    write_block(space, 0, data)
    with pytest.raises(errors.DamagedError, match="superblock"):
        Lockspace.open(space.paths)


def test_senseless_fields_under_a_right_checksum(make_space: Maker) -> None:
    space = make_space()
    sound = bytes(read_block(space, 0))
    senseless: list[dict[str, Any]] = [
        {"block_size": 0},
        {"block_size": 513},
        {"max_hosts": 0},
        {"max_hosts": 1 << 31},
        {"max_leases": 0},
        {"disks": 0},
        {"disks": 2},
        {"disks": 255},
        {"disk": 1},
        {"outage_tolerance": 0},
        {"outage_tolerance": (1 << 64) - 1},
        {"watchdog_timeout": 10**18},
        {"claim_time": 0},
        {"name_length": 255},
        {"name": b"\xff\xfe\n"},
        {"generation": 7},
        {"index": 1},
    ]
    for fields in senseless:
        write_block(space, 0, sound)
        edit_block(space, 0, **fields)
        with pytest.raises(errors.LockspaceError):
            Lockspace.open(space.paths)


# ---- truncated, too small


def test_truncated(make_space: Maker) -> None:
    space = make_space()
    size = space.info().size
    for length in (size - 1, size // 2, 8192, 4096, 512):
        os.truncate(space.paths[0], length)
        with pytest.raises(errors.TruncatedError) as caught:
            Lockspace.open(space.paths)
        assert caught.value.wanted == size
    os.truncate(space.paths[0], 0)
    with pytest.raises(errors.NotFormattedError):
        Lockspace.open(space.paths)


def test_truncated_while_joined(make_space: Maker) -> None:
    space = make_space()
    with space.join() as host:
        host.acquire("vm").release()
        os.truncate(space.paths[0], 8192)
        with pytest.raises(errors.DiskPaxosError):
            host.acquire("other", timeout=2)
        assert host.leases() == []
        host.close()


# ---- the wrong disks


def test_wrong_sets_of_disks(make_space: Maker) -> None:
    space, other, single = make_space(3), make_space(3), make_space()
    one, two, three = space.paths
    with pytest.raises(errors.OtherLockspaceError) as caught:
        Lockspace.open([one, two, other.paths[2]])
    assert caught.value.path == other.paths[2]
    with pytest.raises(errors.OtherLockspaceError):
        Lockspace.open([one, two, single.paths[0]])
    with pytest.raises(errors.SameDiskError):
        Lockspace.open([one, two, one])
    with pytest.raises(errors.DiskCountError) as count:
        Lockspace.open([one])
    assert (count.value.given, count.value.wanted) == (1, 3)
    with pytest.raises(errors.DiskCountError):
        Lockspace.open([single.paths[0], single.paths[0] + "x"])
    Lockspace.open([three, one]).close()


def test_one_disk_under_two_names(make_space: Maker, tmp_path: Path) -> None:
    space = make_space(3)
    alias = tmp_path / "alias"
    alias.symlink_to(space.paths[0])
    with pytest.raises(errors.SameDiskError):
        Lockspace.open([space.paths[0], space.paths[1], alias])


def test_a_copy_of_a_disk_in_anothers_place(make_space: Maker) -> None:
    """Two files, one disk index: one of them is a copy."""
    space = make_space(3)
    Path(space.paths[2]).write_bytes(Path(space.paths[1]).read_bytes())
    with pytest.raises(errors.SameDiskError):
        Lockspace.open(space.paths)


def test_no_paths_and_too_many() -> None:
    senseless: list[Any] = [[], "", ["a"] * 6, ["a\0b"], [b"bytes"], "x" * 600]
    for paths in senseless:
        with pytest.raises(errors.InvalidArgumentError):
            Lockspace.open(paths)


# ---- permissions and file systems


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(), reason="root may do everything")
def test_no_permission(make_space: Maker) -> None:
    space = make_space()
    path = Path(space.paths[0])
    path.chmod(0o400 if os.geteuid() else 0)
    if os.geteuid() != 0:
        with pytest.raises(errors.PathError) as caught:
            Lockspace.open(path)
        assert caught.value.errno == errno.EACCES
        return
    with unprivileged(path.parents[3]):
        pytest.importorskip("numpy")
        child = os.fork()
        if child == 0:
            os.setgid(65534)
            os.setuid(65534)
            try:
                Lockspace.open(path)
            except errors.PathError as error:
                os._exit(0 if error.errno == errno.EACCES else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@contextlib.contextmanager
def unprivileged(top: Path) -> Iterator[None]:
    """Let others into the test's own folders."""
    changed = [(path, path.stat().st_mode) for path in [top, *top.iterdir()] if path.is_dir()]
    for path, _ in changed:
        path.chmod(0o755)
    yield
    for path, mode in changed:
        path.chmod(mode)


def test_no_direct_io(tmp_path: Path) -> None:
    """/proc has files, and no O_DIRECT."""
    for attempt in (
        lambda: Lockspace.open("/proc/self/status"),
        lambda: Lockspace.create("/proc/self/comm", **CALM, force=True),
    ):
        with pytest.raises(errors.NoDirectIOError, match="O_DIRECT") as caught:
            attempt()
        assert caught.value.path.startswith("/proc/self/")


@pytest.mark.root
def test_blocks_below_the_devices(tmp_path: Path, direct_io: None) -> None:
    with loop_device(tmp_path / "image", 16 << 20, 4096) as device:
        with pytest.raises(errors.BlockSizeError) as caught:
            Lockspace.create(device, **(CALM | {"block_size": 512}))
        assert caught.value.logical == 4096
        with Lockspace.create(device, **CALM) as space, space.join() as host:
            assert space.info().block_size == 4096
            host.acquire("vm").release()


@pytest.mark.root
def test_devices_too_small_or_not_empty(tmp_path: Path, direct_io: None) -> None:
    with loop_device(tmp_path / "image", 1 << 20, 512) as device:
        with pytest.raises(errors.DeviceSizeError) as caught:
            Lockspace.create(device, max_hosts=64, max_leases=1024)
        assert caught.value.size == 1 << 20
        with Path(device).open("r+b") as file:
            assert file.read() == bytes(1 << 20), "not a byte was written"
            file.seek(-512, os.SEEK_END)
            file.write(b"EFI PART")
        with pytest.raises(errors.NotEmptyError):
            Lockspace.create(device, **CALM)


@pytest.mark.root
def test_a_512_byte_lockspace_on_a_4096_byte_device(tmp_path: Path, make_space: Maker) -> None:
    space = make_space()
    image = tmp_path / "image"
    image.write_bytes(Path(space.paths[0]).read_bytes())
    with loop_device(image, 0, 4096) as device, pytest.raises(errors.BlockSizeError):
        Lockspace.open(device)


@contextlib.contextmanager
def loop_device(image: Path, size: int, sector: int) -> Iterator[str]:
    """A loop device over a file (of ``size`` bytes, if that is not 0), or a skip."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    if size:
        with image.open("wb") as file:
            file.truncate(size)
    setup = subprocess.run(
        ["losetup", "--find", "--show", "--sector-size", str(sector), str(image)], capture_output=True, text=True
    )
    if setup.returncode != 0:
        pytest.skip(f"no loop device: {setup.stderr.strip()}")
    device = setup.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


# ---- names and arguments


BAD_NAMES = ["", "a\0b", "a\nb", "\x7f", "\x1b[31m", "x" * 201, "ä" * 101, "\ud800"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_lease_names(make_space: Maker, name: str) -> None:
    space = make_space()
    with space.join() as host:
        calls: list[Callable[[], object]] = [
            lambda: host.acquire(name),
            lambda: host.acquire_many(["good", name]),
            lambda: host.create(name),
            lambda: host.delete(name),
            lambda: space.delete(name),
        ]
        for call in calls:
            with pytest.raises(errors.InvalidNameError):
                call()
        assert host.leases() == []
        assert space.leases() == []


@pytest.mark.parametrize("name", ["x", "x" * 200, "ä" * 100, " ", "a/b:c", "日本語", "\u2028"])
def test_names_that_are_fine(make_space: Maker, name: str) -> None:
    space = make_space()
    with space.join() as host, host.acquire(name):
        assert [lease.name for lease in space.leases()] == [name]


def test_the_directory_is_nobodys(make_space: Maker) -> None:
    with make_space().join() as host:
        for call in (host.acquire, host.delete, host.create):
            with pytest.raises(errors.InvalidNameError):
                call("directory")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 64, "\ud800"])
def test_host_names(make_space: Maker, name: str) -> None:
    with pytest.raises(errors.InvalidNameError):
        make_space().join(name)


def test_other_arguments(make_space: Maker) -> None:
    with make_space().join() as host:
        senseless: list[dict[str, Any]] = [
            {"mode": "write"},
            {"mode": None},
            {"mode": []},
            {"timeout": -1},
            {"timeout": float("nan")},
            {"timeout": "soon"},
            {"label": "x" * 65},
            {"label": "a\nb"},
            {"state": "x"},
            {"state": 7},
        ]
        for arguments in senseless:
            with pytest.raises(errors.InvalidArgumentError):
                host.acquire("vm", **arguments)
        for nameless in (5, b"vm", []):
            with pytest.raises(errors.InvalidNameError):
                host.acquire(cast(str, nameless))
        assert host.leases() == []
        host.acquire("vm", timeout=float("inf")).release()


# ---- damage while in use


def every_kind(space: Lockspace, slot: int) -> dict[str, int]:
    geometry = space.geometry
    (lease,) = space.leases()
    return {
        "slot": geometry.slot_block((slot + 1) % geometry.max_hosts),
        "header": geometry.header_block(lease.area),
        "other-own": geometry.own_block(lease.area, (slot + 1) % geometry.max_hosts),
    }


@pytest.mark.parametrize("kind", ["header", "other-own"])
@pytest.mark.parametrize("damage", ["flipped", "zeroed", "foreign", "misplaced"])
def test_damaged_blocks_are_never_taken_for_empty(make_space: Maker, kind: str, damage: str) -> None:
    """Damage may keep a lease from being taken; it never makes it look free."""
    space = make_space()
    with space.join() as host:
        host.acquire("vm").release()
        block = every_kind(space, host.slot)[kind]
        if damage == "flipped":
            data = read_block(space, block)
            data[100] ^= 16
            write_block(space, block, data)
        elif damage == "zeroed":
            write_block(space, block, bytes(space.geometry.block_size))
        elif damage == "foreign":
            edit_block(space, block, lockspace=b"another lockspac")
        else:
            edit_block(space, block, index=block + 1)
        with pytest.raises(errors.DamagedError) as caught:
            host.acquire("vm")
        assert caught.value.block == block
        assert host.leases() == []
        assert any(finding.block == block for finding in space.check())
        assert space.leases()[0].state == "damaged"


def test_a_damaged_block_on_one_of_three_disks_hinders_nobody(make_space: Maker) -> None:
    space = make_space(3)
    with space.join() as host:
        host.acquire("vm").release()
        for block in every_kind(space, host.slot).values():
            write_block(space, block, bytes(space.geometry.block_size), disk=1)
        with host.acquire("vm", timeout=5) as lease:
            lease.check()


def test_every_bit_of_every_kind_of_block_matters(make_space: Maker) -> None:
    space = make_space()
    with space.join() as host, host.acquire("vm"):
        geometry = space.geometry
        (lease,) = space.leases()
        slot, area = host.slot, lease.area
    places = {
        Kind.SUPERBLOCK: (0, geometry.slot_block(slot)),
        Kind.SLOT: (geometry.slot_block(slot), geometry.slot_block((slot + 1) % 8)),
        Kind.NOTICE: (geometry.notice_block(slot, 0), geometry.notice_block((slot + 1) % 8, 0)),
        Kind.HEADER: (geometry.header_block(area), geometry.header_block((area + 1) % 16)),
        Kind.OWN: (geometry.own_block(area, slot), geometry.own_block(area, (slot + 1) % 8)),
    }
    for kind, (block, elsewhere) in places.items():
        sound = bytes(read_block(space, block))
        assert geometry.check(sound, 0, block) == b"\0", kind
        for bit in range(len(sound) * 8):
            data = bytearray(sound)
            data[bit // 8] ^= 1 << bit % 8
            assert geometry.check(data, 0, block) != b"\0", f"{kind.name}: bit {bit}"
        assert geometry.check(bytes(len(sound)), 0, block) != b"\0"
        assert geometry.check(sound, 0, elsewhere) != b"\0"


def test_the_table_covers_every_byte_of_every_kind() -> None:
    for kind in Kind:
        covered = bytearray(512)
        for field in table(kind).values():
            for byte in range(field.offset, field.offset + field.size * field.elements):
                covered[byte] += 1
        assert set(covered) == {1}, f"{kind.name}: a byte is in no field, or in two"
