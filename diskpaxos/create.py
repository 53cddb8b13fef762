"""Formatting a lockspace.

Nothing is written before everything was looked at, on every disk.  Then a claim takes the place of the
old superblocks (:mod:`diskpaxos.claim`: of several that begin at once one goes on), all other blocks are written,
made durable and read back, and only then come the new superblocks: whatever interrupts this, there is
never a superblock without the blocks that it speaks of.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from diskpaxos import _core
from diskpaxos.arguments import name_bytes
from diskpaxos.claim import HEAD, TRIES, MediumClaim, is_claimed, read_head
from diskpaxos.errors import (
    BeingFormattedError,
    BlockSizeError,
    DeviceSizeError,
    DiskPaxosError,
    InUseError,
    InvalidArgumentError,
    NotEmptyError,
    StorageError,
)
from diskpaxos.occupancy import SlotImage, find_geometry, read_slots, refuse_moved, require_silence
from diskpaxos.rawdisk import CHUNK, RawDisk, aligned_view, refuse_same

_HEAD = 4 << 20  # bytes of a device that are looked at before it is called empty, and …
_TAIL = 1 << 20  # … at its end, where partition tables and arrays keep copies

_SIGNATURES = (
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (0, b"XFSB", "an XFS file system"),
    (0, b"QFI\xfb", "a qcow2 image"),
    (0, b"\x10\x20\x21\x12", "a sanlock lockspace"),
    (0, b"\x10\x20\x15\x06", "a sanlock resource"),
    (0, b"\x18\x20\x04\x01", "a sanlock resource index"),
    (512, b"EFI PART", "a GPT partition table"),
    (4096, b"EFI PART", "a GPT partition table"),
    (512, b"LABELONE", "an LVM physical volume"),
    (1080, b"\x53\xef", "an ext2, ext3 or ext4 file system"),
    (4086, b"SWAPSPACE2", "swap space"),
    (4096, b"\xfc\x4e\x2b\xa9", "a member of a RAID array"),
    (32769, b"CD001", "an ISO 9660 file system"),
    (65600, b"_BHRfS_M", "a btrfs file system"),
    (510, b"\x55\xaa", "a partition table or boot sector"),
)

_PASSES = 3  # of writing and reading back, before storage counts as one that forgets

Progress = Callable[[str, int, int], object] | None
Place = tuple[RawDisk, _core.Geometry, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to create; :meth:`make` checks it."""

    disks: int
    name: bytes
    max_hosts: int
    max_leases: int
    block_size: int | None
    outage_tolerance: int  # ns, as the following
    kill_grace: int
    watchdog_timeout: int
    claim_time: int

    @classmethod
    def make(
        cls,
        *,
        disks: int,
        name: str,
        max_hosts: int,
        max_leases: int,
        block_size: int | None,
        outage_tolerance: float,
        kill_grace: float,
        watchdog_timeout: float,
        claim_time: float,
    ) -> Plan:
        """Check everything that can be checked without looking at a disk; times in seconds.

        :raises InvalidArgumentError: a value out of its range, or two that do not fit together
        """
        if disks not in (1, 3, 5):
            raise InvalidArgumentError(f"a lockspace has 1, 3 or 5 disks, not {disks}")
        _range("max_hosts", max_hosts, _core.MIN_HOSTS, _core.MAX_HOSTS)
        _range("max_leases", max_leases, _core.MIN_LEASES, _core.MAX_LEASES)
        if block_size not in (None, 512, 4096):
            raise InvalidArgumentError(f"block_size must be 512 or 4096, not {block_size!r}")
        plan = cls(
            disks=disks,
            name=name_bytes(name, "lockspace"),
            max_hosts=max_hosts,
            max_leases=max_leases,
            block_size=block_size,
            outage_tolerance=_time("outage_tolerance", outage_tolerance, 0.1),
            kill_grace=_time("kill_grace", kill_grace, 0.001),
            watchdog_timeout=_time("watchdog_timeout", watchdog_timeout, 0.001),
            claim_time=_time("claim_time", claim_time, 0.001),
        )
        if plan.watchdog_timeout > plan.kill_grace:
            raise InvalidArgumentError(
                f"watchdog_timeout ({watchdog_timeout:g} s) must not be above kill_grace ({kill_grace:g} s): "
                "the watchdog could fire while holders may still be stopping in good order"
            )
        if 4 * plan.claim_time > plan.outage_tolerance:
            raise InvalidArgumentError(
                f"claim_time ({claim_time:g} s) must not be above a quarter of outage_tolerance "
                f"({outage_tolerance:g} s): a claim takes 2.5 times as long and must end within the lifetime"
            )
        return plan

    def geometry(self, block_size: int) -> _core.Geometry:
        """The lockspace to be, with a new UUID."""
        try:
            return _core.Geometry(
                uuid=uuid.uuid4().bytes,
                name=self.name,
                block_size=block_size,
                max_hosts=self.max_hosts,
                max_leases=self.max_leases,
                disks=self.disks,
                disk_generations=[1] * self.disks,
                outage_tolerance=self.outage_tolerance,
                kill_grace=self.kill_grace,
                watchdog_timeout=self.watchdog_timeout,
                claim_time=self.claim_time,
                created_at=time.time_ns(),
            )
        except (ValueError, OverflowError) as error:
            raise InvalidArgumentError(f"no lockspace can have this shape: {error}") from None


def _range(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or not least <= value <= most:
        raise InvalidArgumentError(f"{name} must be {least} to {most:,}, not {value!r}")


def _time(name: str, seconds: object, least: float) -> int:
    if not isinstance(seconds, int | float) or not least <= seconds <= 86400:
        raise InvalidArgumentError(f"{name} must be {least:g} to 86,400 seconds, not {seconds!r}")
    return round(seconds * 1e9)


def create_lockspace(paths: tuple[str, ...], plan: Plan, *, force: bool, progress: Progress) -> _core.Geometry:
    """Format the lockspace; see :meth:`Lockspace.create`."""
    with ExitStack() as stack:
        disks: list[RawDisk] = []
        for path in paths:
            disks.append(stack.enter_context(RawDisk(path, write=True, create=True, exclusive=True)))
            stack.push(Undo(disks[-1]).__exit__)
        refuse_same(disks)
        geometry = plan.geometry(_block_size(disks, plan))
        for disk in disks:
            _refuse_unfit(disk, geometry)
        claim = MediumClaim(disks, progress)
        written = False
        try:
            _have(claim, geometry, force, progress)
            written = True
            _write(claim, geometry, progress)
        except BeingFormattedError:
            claim.withdraw(written)
            raise
        except StorageError as error:
            effect = claim.withdraw_text(written)
            raise StorageError(error.action, error.errno, path=error.path, effect=effect) from None
        except BaseException:
            claim.withdraw(written)
            raise
        for disk in disks:
            disk.created = False  # it stays
        return geometry


def _have(claim: MediumClaim, geometry: _core.Geometry, force: bool, progress: Progress) -> None:
    """Claim the disks, if what lies there may go.

    :raises NotEmptyError, InUseError: something lies there that must not be overwritten
    :raises BeingFormattedError: another one was faster
    """
    first: list[bytes | None] | None = None
    disks = claim.disks
    for _ in range(TRIES):
        claim.look()
        lay = [found[0].uuid if (found := find_geometry(disk)) else None for disk in disks]
        first = first or lay
        if lay != first:  # under a claim of ours that came late
            raise BeingFormattedError(disks[0].path)
        vacant = refuse_content(disks, force, progress)
        for disk in disks:
            disk.allocate(geometry.total_blocks * geometry.block_size)  # nothing is lost for want of room
        if claim.take():
            for place, image in vacant:  # who joined between the last look there and our claim
                refuse_moved(place[0].path, image, read_slots(*place))
            return
    raise StorageError("claim", errno.ETIMEDOUT, path=disks[0].path)


class Undo:
    """After a failure: remove a file that was made here; give another one, not written to yet, its
    length back.  Not where another one formats it or may be about to, or a living host needs the room."""

    def __init__(self, disk: RawDisk) -> None:
        self.disk = disk
        self.size = disk.size
        self.head = read_head(disk)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        alive = isinstance(error, InUseError) and error.moving
        if error is None or alive or isinstance(error, BeingFormattedError) or self.disk.block_device:
            return
        try:
            if read_head(self.disk) != self.head:
                return
            if self.disk.created:
                Path(self.disk.path).unlink(missing_ok=True)
            elif not self.disk.written:
                self.disk.resize(self.size)
        except (OSError, DiskPaxosError) as trouble:
            error.add_note(f"cleaning up {self.disk.path}: {trouble}")


def _block_size(disks: list[RawDisk], plan: Plan) -> int:
    for disk in disks:
        disk.extend(2 * 4096)  # so that something can be read; undone if this goes no further
        disk.probe()
    needed = max(disk.logical_block for disk in disks)
    wanted = plan.block_size or max(512, needed)
    for disk in disks:
        if disk.logical_block > wanted:
            raise BlockSizeError(disk.path, disk.logical_block, wanted)
    return wanted


def _refuse_unfit(disk: RawDisk, geometry: _core.Geometry) -> None:
    wanted = geometry.total_blocks * geometry.block_size
    if disk.block_device and disk.size < wanted:
        raise DeviceSizeError(disk.path, disk.size, wanted)
    if not disk.block_device and disk.size < wanted:
        room = os.fstatvfs(disk.fd)
        free = room.f_bavail * room.f_frsize
        if free < wanted - disk.size:
            raise DeviceSizeError(disk.path, disk.size + free, wanted)


def refuse_content(disks: list[RawDisk], force: bool, progress: Progress) -> list[tuple[Place, SlotImage]]:
    """What is known of slots on these disks, none of which is in use.

    :raises NotEmptyError, InUseError: something lies there that must not be overwritten
    """
    occupied: list[Place] = []
    vacant: list[tuple[Place, SlotImage]] = []
    for disk in disks:
        found = find_geometry(disk)
        if found is None:
            content = "" if force else _content(disk)
            if content:
                raise NotEmptyError(disk.path, content)
            continue
        geometry, index = found
        users: tuple[str, ...] = ()
        if disk.size >= (geometry.slots_at + geometry.max_hosts) * geometry.block_size:
            image = read_slots(disk, geometry, index)
            vacant.append(((disk, geometry, index), image))
            users = tuple(image.users().values())
        if not force and users:
            raise InUseError(disk.path, users, False)
        if not force:
            name = geometry.name.decode("utf-8", "replace")
            what = f"a diskpaxos lockspace {name!r}, without hosts"
            if is_claimed(read_head(disk)):
                what = "a lockspace whose formatting was interrupted"
            raise NotEmptyError(disk.path, what if geometry.disks == 1 else f"disk {index} of {what}")
        if users:
            occupied.append(vacant.pop()[0])
    watched = require_silence(occupied, progress) if occupied else []
    return vacant + list(zip(occupied, watched, strict=True))


def _content(disk: RawDisk) -> str:
    """What lies on ``disk``, in words; "" when it is empty (a device: its head and tail are)."""
    if disk.block_device:
        ranges = [(0, min(_HEAD, disk.size)), (max(0, disk.size - _TAIL) & ~4095, disk.size)]
    else:
        ranges = _data_ranges(disk)
    zeros = bytes(CHUNK)
    view = aligned_view(CHUNK)
    for start, end in ranges:
        for offset in range(start, end, CHUNK):
            # O_DIRECT reads whole blocks; a file's odd end comes short and leaves zeros.
            length = min(CHUNK, -(-(end - offset) // 4096) * 4096)
            view[:length] = zeros[:length]
            disk.read_some(offset, view[:length])
            if offset == 0 and is_claimed(bytes(view[:HEAD])):
                view[:HEAD] = zeros[:HEAD]  # of who was interrupted: nobody's
            if view[:length] != zeros[:length]:
                return _describe(disk, view)
    return ""


def _data_ranges(disk: RawDisk) -> list[tuple[int, int]]:
    """The parts of a file that are not holes."""
    ranges = []
    position = 0
    while position < disk.size:
        try:
            start = os.lseek(disk.fd, position, os.SEEK_DATA)
        except OSError:
            break  # no data beyond
        position = os.lseek(disk.fd, start, os.SEEK_HOLE)
        ranges.append((start & ~4095, position))
    return ranges


def _describe(disk: RawDisk, view: memoryview) -> str:
    view[:] = bytes(CHUNK)
    disk.read_some(0, view[:131072])
    head = bytes(view[:131072])
    if head.startswith(_core.MAGIC):
        return "a diskpaxos lockspace with a damaged superblock"
    if head[4096 : 4096 + len(_core.MAGIC)] == _core.MAGIC:
        return "a lockspace whose formatting was interrupted"
    for offset, magic, name in _SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return f"it looks like {name}"
    return f"it holds data ({disk.size:,} bytes in all)"


def _write(claim: MediumClaim, geometry: _core.Geometry, progress: Progress) -> None:
    for _ in range(_PASSES):
        _format(claim, geometry, progress)
        if _verify(claim, geometry, geometry.total_blocks, progress):
            break
    else:
        raise StorageError("format: what was written does not stay there", errno.EIO, path=claim.disks[0].path)
    for index, disk in enumerate(claim.disks):
        claim.replace(disk, geometry.encode_superblock(index, 1, time.time_ns()))
    # Whoever was stopped, or waited for an I/O, for so long that another one went on, must not tell of a success.
    claim.still_stands()
    if not _verify(claim, geometry, geometry.notices_at, None):
        raise BeingFormattedError(claim.disks[0].path, late=True)


def _format(claim: MediumClaim, geometry: _core.Geometry, progress: Progress) -> None:
    """All but the superblocks, durably."""
    size = geometry.total_blocks * geometry.block_size
    total = size * len(claim.disks)
    done = 0
    view = aligned_view(CHUNK)
    for index, disk in enumerate(claim.disks):
        for offset in range(HEAD, size, CHUNK):
            part = view[: min(CHUNK, size - offset)]
            geometry.encode_empty(part, index, offset // geometry.block_size, geometry.created_at)
            claim.write(disk, offset, part)
            done += len(part)
            if progress is not None:
                progress("formatting, bytes", done, total - HEAD * len(claim.disks))
        claim.hold()
        disk.sync()


def _verify(claim: MediumClaim, geometry: _core.Geometry, blocks: int, progress: Progress) -> bool:
    """Do the first ``blocks`` of each disk, but for the superblock, lie there as they were written?"""
    size = blocks * geometry.block_size
    expected, view = aligned_view(CHUNK), aligned_view(CHUNK)
    for index, disk in enumerate(claim.disks):
        for offset in range(HEAD, size, CHUNK):
            length = min(CHUNK, size - offset)
            geometry.encode_empty(expected[:length], index, offset // geometry.block_size, geometry.created_at)
            claim.hold()
            disk.read(offset, view[:length])
            if view[:length] != expected[:length]:
                return False
            if progress is not None:
                progress("verifying, bytes", index * size + offset + length, size * len(claim.disks))
    return True


def write_superblock(disk: RawDisk, geometry: _core.Geometry, index: int, sequence: int) -> None:
    """Write the superblock of disk ``index``, durably."""
    view = aligned_view(4096)
    view[: geometry.block_size] = geometry.encode_superblock(index, sequence, time.time_ns())
    disk.write(0, view[: geometry.block_size])
    disk.sync()
