"""Making a disk of several anew from the others, and a lost superblock from the records that repeat it.

*A disk.*  Nothing is written before all was looked at: a disk that is as good as what would be put there
is refused, and so is one that a host uses.  A host that has it open writes a heartbeat there within S, or
its life is over: the slot records are watched for that long.  Then a claim takes the superblock's place
(:mod:`diskpaxos.claim`), so that nobody
counts the disk while it is rebuilt; who took it up before that would write within S again, and has
his disk back.  Then every block is copied in its newest sound copy from the others, of which a majority of *all*
disks must answer.  Last come the superblocks: its own, and in the others its raised disk generation, so that
the disk that was replaced no longer counts should it ever return.

What hosts write to the other disks meanwhile is on a majority without this one, so that it does not
matter that this one lacks it.
"""

from __future__ import annotations

import errno
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from diskpaxos import _core
from diskpaxos.arguments import Paths, StrPath, path_list
from diskpaxos.claim import TRIES, MediumClaim
from diskpaxos.create import Undo, refuse_content, write_superblock
from diskpaxos.errors import (
    BlockSizeError,
    DamagedError,
    DeviceSizeError,
    InvalidArgumentError,
    NotFormattedError,
    SameDiskError,
    StorageError,
)
from diskpaxos.layout import SLOTS_OFFSET, Kind, geometry_from, number
from diskpaxos.occupancy import find_geometry, read_slots, require_silence
from diskpaxos.rawdisk import CHUNK, RawDisk, aligned_view, refuse_same

if TYPE_CHECKING:
    from diskpaxos.lockspace import Lockspace

Progress = Callable[[str, int, int], object] | None


# ---- a disk


def rebuild_disk(paths: Paths, target: StrPath, *, force: bool = False, progress: Progress = None) -> int:
    """Fill ``target`` from the other disks; return its index in the lockspace.

    :param paths: the other disks; a majority of the lockspace's disks, ``target`` not among them
    :param target: the new disk: a device, or a file (made when missing); what lies there is lost
    :param force: overwrite a target that is not empty, unless a host uses it; not needed for an outdated copy of
        the disk that is missing, or one whose superblock is lost
    :raises NoMajorityError, DiskCountError: too few other disks
    :raises InUseError: a host still writes to ``target``
    :raises NotEmptyError, DeviceSizeError, BlockSizeError, PathError: the target cannot be used
    :raises DamagedError: a block has no sound copy on a majority; run repair first
    """
    from diskpaxos.lockspace import Lockspace

    listed, (aim,) = path_list(paths), path_list(target)
    if len(listed) >= _core.MAX_DISKS:
        raise InvalidArgumentError("give the other disks, without the one to be rebuilt")
    with Lockspace.open(listed) as space:
        index = _missing_index(space)
        with ExitStack() as stack:
            disk = stack.enter_context(RawDisk(aim, write=True, create=True, exclusive=True))
            stack.push(Undo(disk).__exit__)
            _refuse_target(space, disk, index, listed, force, progress)
            for _ in _sound_blocks(space):
                pass  # all of them are there, before anything is lost
            disk.allocate(space.geometry.total_blocks * space.geometry.block_size)
            claim = MediumClaim([disk], progress)
            written = False
            try:
                _have(claim, space, disk, index, progress)
                written = True
                _copy(space, claim, index, progress)
                _publish(space, claim, index)
            except BaseException:
                claim.withdraw(written)
                raise
            disk.created = False
    return index


def _missing_index(space: Lockspace) -> int:
    known = {state.disk for state in space._use().disks() if state.online}
    missing = [index for index in range(space.geometry.disks) if index not in known]
    if not missing:
        raise InvalidArgumentError("all disks of the lockspace are there: nothing to rebuild")
    if len(missing) > 1:
        raise InvalidArgumentError(
            f"{len(missing)} disks are missing: give the paths of all others, so that it is clear which one is made"
        )
    return missing[0]


def _refuse_target(
    space: Lockspace, disk: RawDisk, index: int, others: Sequence[str], force: bool, progress: Progress
) -> None:
    geometry = space.geometry
    with ExitStack() as stack:
        readers = [stack.enter_context(RawDisk(path, write=False)) for path in others]
        refuse_same([*readers, disk])
    disk.extend(2 * SLOTS_OFFSET)
    disk.probe()
    if disk.logical_block > geometry.block_size:
        raise BlockSizeError(disk.path, disk.logical_block, geometry.block_size)
    wanted = geometry.total_blocks * geometry.block_size
    if disk.block_device and disk.size < wanted:
        raise DeviceSizeError(disk.path, disk.size, wanted)
    if not _made_for_this(disk, geometry, index):
        refuse_content([disk], force, progress)


def _made_for_this(disk: RawDisk, geometry: _core.Geometry, index: int) -> bool:
    """An outdated copy of the missing disk, or one whose superblock is lost (an interrupted rebuild, too)."""
    found = find_geometry(disk)
    if found is None or found[0].uuid != geometry.uuid or found[1] != index:
        return False
    stands = _superblock_of(disk)
    return stands is None or stands.disk_generations[index] < geometry.disk_generations[index]


def _have(claim: MediumClaim, space: Lockspace, disk: RawDisk, index: int, progress: Progress) -> None:
    """Claim a disk that nobody uses; else leave it as it was."""
    target = [(disk, space.geometry, index)]
    for _ in range(TRIES):
        claim.look()
        require_silence(target, progress, space.geometry.outage_tolerance)
        usable = _superblock_of(disk) is not None  # whoever opened it before our claim was there, may take it up yet
        if claim.take():
            if usable:
                require_silence(target, progress, space.geometry.outage_tolerance, claim.hold)
            return
    raise StorageError("claim", errno.ETIMEDOUT, path=disk.path)


def _sound_blocks(space: Lockspace) -> Iterator[tuple[int, bytes]]:
    """Every block but the superblock in its newest sound copy, some MiB at a time: (first block, bytes).

    :raises DamagedError: one has none on a majority
    """
    from diskpaxos.inspect import read_blocks

    geometry = space.geometry
    step = CHUNK // geometry.block_size
    regions = ((geometry.slots_at, geometry.notices_at), (geometry.notices_at, geometry.total_blocks))
    for begin, end in regions:  # apart: copies of slot records are ordered by a rule of their own
        for first in range(begin, end, step):
            blocks = read_blocks(space, first, min(step, end - first))
            for position in (~blocks.sound).nonzero()[0]:
                block = first + int(position)
                if geometry.place(block)[0] == 0:
                    continue
                again = read_blocks(space, block, 1)
                if not again.sound[0]:
                    flaw = next((int(f) for f in again.flaws[:, 0] if f and f < len(_core.FLAWS)), 0)
                    raise DamagedError(space.paths[0], _core.FLAWS[flaw], -1, block)
                blocks.data[position] = again.data[0]
            yield first, blocks.data.tobytes()


def _copy(space: Lockspace, claim: MediumClaim, index: int, progress: Progress) -> None:
    (disk,) = claim.disks
    size, total = space.geometry.block_size, space.geometry.total_blocks
    for first, data in _sound_blocks(space):
        view = aligned_view(len(data))
        view[:] = data
        space.geometry.seal(view, index)
        claim.write(disk, first * size, view)
        if progress is not None:
            progress("copying, bytes", first * size + len(data), total * size)
    disk.sync()


def _publish(space: Lockspace, claim: MediumClaim, index: int) -> None:
    """Raise the disk's generation everywhere; on the disk itself first, for until a majority of the
    others knows the new generation, both count alike."""
    old = space.geometry
    generations = list(old.disk_generations)
    generations[index] += 1
    geometry = reshaped(old, disk_generations=generations)
    sequence = 1 + max(sequences(space), default=0)
    (disk,) = claim.disks
    claim.replace(disk, geometry.encode_superblock(index, sequence, time.time_ns()))
    claim.still_stands()
    for state in space._use().disks():
        if state.online and state.disk != index:
            with RawDisk(state.path, write=True) as other:
                write_superblock(other, geometry, state.disk, sequence)


def sequences(space: Lockspace) -> list[int]:
    """Of the sound superblocks."""
    from diskpaxos.check import raw_copies

    decoded = [_core.superblock_decode(data) for data in raw_copies(space, 0) if data is not None]
    return [sequence for _, geometry, _, sequence in decoded if geometry is not None]


def reshaped(geometry: _core.Geometry, **changes: object) -> _core.Geometry:
    """A geometry with some values changed."""
    names = (
        "uuid",
        "name",
        "block_size",
        "max_hosts",
        "max_leases",
        "disks",
        "disk_generations",
        "outage_tolerance",
        "kill_grace",
        "watchdog_timeout",
        "claim_time",
        "created_at",
        "features_compatible",
        "features_incompatible",
    )
    values = {name: getattr(geometry, name) for name in names} | changes
    return _core.Geometry(**values)


# ---- a superblock


def rebuild_superblocks(paths: Paths, *, progress: Progress = None) -> list[str]:
    """Make lost superblocks anew from the slot records and lease headers, of which more than half must
    agree; return the paths of the disks that were given one.

    No host may be alive: the slot records are watched for T_dead.  Of the timings that the records
    carry, the largest are taken.

    :param paths: all disks of the lockspace
    :raises InUseError: a host is alive
    :raises NotFormattedError: nothing there says what the lockspace was
    :raises DamagedError: too few records agree
    """
    listed = path_list(paths)
    with ExitStack() as stack:
        disks = [stack.enter_context(RawDisk(path, write=True, exclusive=True)) for path in listed]
        refuse_same(disks)
        MediumClaim(disks, progress).look()  # an init that lives has them; one that was interrupted does not count
        votes = [identify(disk, progress) for disk in disks]
        geometry = _agreed(disks, votes)
        occupied = []
        for disk, (found, index, _) in zip(disks, votes, strict=True):
            if found.uuid != geometry.uuid:
                raise DamagedError(disk.path, "records of another lockspace")
            occupied.append((disk, geometry, index))
        if len({index for _, _, index in occupied}) != len(occupied):
            raise SameDiskError(disks[-1].path)
        if any(read_slots(*item).users() for item in occupied):
            require_silence(occupied, progress)
        made = []
        for disk, _, index in occupied:
            if not _is_superblock_of(disk, geometry, index):
                write_superblock(disk, geometry, index, time.time_ns() // 10**9)
                made.append(disk.path)
        return made


def _superblock_of(disk: RawDisk) -> _core.Geometry | None:
    view = aligned_view(4096)
    disk.read(0, view)
    return _core.superblock_decode(view)[1]


def _is_superblock_of(disk: RawDisk, geometry: _core.Geometry, index: int) -> bool:
    """Not another disk's that was written over it."""
    view = aligned_view(4096)
    disk.read(0, view)
    _, found, its_index, _ = _core.superblock_decode(view)
    return found is not None and found.uuid == geometry.uuid and its_index == index


def identify(disk: RawDisk, progress: Progress) -> tuple[_core.Geometry, int, list[_core.Geometry]]:
    """What the sound records of one disk say, whatever its superblock does: the shape, the disk's index, and
    the shape as each record repeats it.

    :raises DamagedError: fewer than half of the slot records and headers agree
    :raises NotFormattedError: nothing there says what it was
    """
    candidates = Counter[tuple[object, ...]]()
    shapes: dict[tuple[object, ...], tuple[_core.Geometry, int]] = {}
    view = aligned_view(min(CHUNK, disk.size // 4096 * 4096))
    disk.read(0, view)
    for offset in range(SLOTS_OFFSET, len(view), 512):
        block = view[offset : offset + 512]
        for kind in (Kind.SLOT, Kind.HEADER):
            found = geometry_from(block, kind)
            if found is None:
                continue
            index = number(block, kind, "disk")
            key = (found.uuid, found.block_size, found.max_hosts, found.max_leases, found.disks, index)
            candidates[key] += 1
            if key not in shapes or not shapes[key][0].name:
                shapes[key] = (found, index)
    for known, _ in candidates.most_common():
        geometry, index = shapes[known]
        if index >= geometry.disks or disk.size < geometry.total_blocks * geometry.block_size:
            continue
        agreeing = _agreeing(disk, geometry, index, progress)
        if len(agreeing) * 2 > geometry.max_hosts + geometry.max_leases:
            return geometry, index, agreeing
        raise DamagedError(disk.path, "fewer than half of its records agree on what it was", index)
    raise NotFormattedError(disk.path)


def _agreeing(disk: RawDisk, geometry: _core.Geometry, index: int, progress: Progress) -> list[_core.Geometry]:
    """The shapes that sound slot records and headers carry; their timings may differ."""
    size = geometry.block_size
    shapes = []
    image = read_slots(disk, geometry, index)
    for block, sound in zip(image.blocks(), image.sound(), strict=True):
        if sound and (shape := geometry_from(block, Kind.SLOT)) is not None:
            shapes.append(shape)
    view = aligned_view(size)
    for area in range(geometry.max_leases):
        block_number = geometry.header_block(area)
        disk.read(block_number * size, view)
        sound = geometry.check(view, index, block_number)[0] == 0
        if sound and (shape := geometry_from(view, Kind.HEADER)) is not None:
            shapes.append(shape)
        if progress is not None and area % 256 == 0:
            progress("reading headers", area, geometry.max_leases)
    return shapes


def _agreed(disks: list[RawDisk], votes: list[tuple[_core.Geometry, int, list[_core.Geometry]]]) -> _core.Geometry:
    """One shape for all: the largest timings and disk generations that any record or superblock has."""
    first = votes[0][0]
    if len(disks) * 2 <= first.disks:
        raise InvalidArgumentError(f"{len(disks)} disks given, the lockspace has {first.disks}: give a majority")
    said = [shape for _, _, shapes in votes for shape in shapes]
    said += [found for disk in disks if (found := _superblock_of(disk)) is not None and found.uuid == first.uuid]
    names = [shape.name for shape in said if shape.name] or [b"rebuilt"]
    return reshaped(
        first,
        name=Counter(names).most_common(1)[0][0],
        disk_generations=[max(shape.disk_generations[i] for shape in said) for i in range(first.disks)],
        outage_tolerance=max(shape.outage_tolerance for shape in said),
        kill_grace=max(shape.kill_grace for shape in said),
        watchdog_timeout=max(shape.watchdog_timeout for shape in said),
        claim_time=max(shape.claim_time for shape in said),
        created_at=time.time_ns(),
    )
