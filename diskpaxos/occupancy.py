"""Who uses the host slots of a lockspace, seen from outside and without its superblock: before it is
overwritten, or its superblock is made anew."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from diskpaxos import _core
from diskpaxos.errors import InUseError
from diskpaxos.layout import SLOTS_OFFSET, Kind, SlotState, geometry_from, number, text
from diskpaxos.rawdisk import RawDisk, aligned_view

_TABLE = 64 << 10  # bytes of a disk that are searched for a record which tells the shape


@dataclass(frozen=True, slots=True)
class SlotImage:
    """The slot records of one disk as they lie there."""

    geometry: _core.Geometry
    disk: int
    data: bytes

    def blocks(self) -> list[bytes]:
        """One block per slot."""
        size = self.geometry.block_size
        return [self.data[i * size : (i + 1) * size] for i in range(self.geometry.max_hosts)]

    def sound(self) -> list[bool]:
        """Which of them pass their checks."""
        flaws = self.geometry.check(self.data, self.disk, self.geometry.slots_at)
        return [flaw == 0 for flaw in flaws]

    def users(self) -> dict[int, str]:
        """Slots that are, or may be, in use; each with a text for people."""
        users = {}
        for slot, (block, sound) in enumerate(zip(self.blocks(), self.sound(), strict=True)):
            if not sound:
                users[slot] = f"slot {slot} (damaged record)"
            elif (state := number(block, Kind.SLOT, "state")) != SlotState.FREE:
                name = text(block, Kind.SLOT, "host_name") or "unknown"
                users[slot] = f"slot {slot} (host {name!r}, {SlotState(state).name.lower()})"
        return users


def find_geometry(disk: RawDisk) -> tuple[_core.Geometry, int] | None:
    """Shape and disk index of the lockspace on ``disk``: from its superblock, else from the first slot
    record that is sound, else from what most of the damaged ones tell; None when there is nothing of the kind."""
    if disk.size < 2 * SLOTS_OFFSET:
        return None
    view = aligned_view(min(_TABLE, disk.size // 4096 * 4096))
    disk.read(0, view)
    _, geometry, index, _ = _core.superblock_decode(view[:SLOTS_OFFSET])
    if geometry is not None:
        return geometry, index
    shapes: dict[tuple[object, ...], tuple[_core.Geometry, int]] = {}
    votes = Counter[tuple[object, ...]]()
    for offset in range(SLOTS_OFFSET, len(view), 512):
        block = bytes(view[offset : offset + 512])
        found = geometry_from(block, Kind.SLOT)
        if found is None or (index := number(block, Kind.SLOT, "disk")) >= found.disks:
            continue
        end = offset + found.block_size
        if offset % found.block_size == 0 and end <= len(view):
            whole = view[offset:end]
            if found.check(whole, index, offset // found.block_size)[0] == 0:
                return found, index
        key = (found.uuid, found.block_size, found.max_hosts, index, found.dead_time)
        shapes.setdefault(key, (found, index))
        votes[key] += 1
    return shapes[votes.most_common(1)[0][0]] if votes else None


def read_slots(disk: RawDisk, geometry: _core.Geometry, index: int) -> SlotImage:
    """Read the slot records of one disk."""
    size = geometry.max_hosts * geometry.block_size
    view = aligned_view(-(-size // 4096) * 4096)
    disk.read(geometry.slots_at * geometry.block_size, view[:size])
    return SlotImage(geometry, index, bytes(view[:size]))


def require_silence(
    disks: list[tuple[RawDisk, _core.Geometry, int]],
    progress: Callable[[str, int, int], object] | None,
    period: int | None = None,
    hold: Callable[[], object] = lambda: None,
) -> list[SlotImage]:
    """Watch the slot records of all ``disks`` for ``period`` ns, or T_dead, and return them.  ``hold`` is called
    time and again.

    Any change means that somebody is alive.  The lifetime of a host that wrote nothing for so long
    is over, its holders are stopped and its watchdog has fired: what it protected may be taken.

    :raises InUseError: a record changed
    """
    first = [read_slots(*disk) for disk in disks]
    longest = period if period is not None else max(image.geometry.dead_time for image in first)
    pause = min(image.geometry.outage_tolerance for image in first) / 16e9
    begin = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    while True:
        hold()
        asked = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for disk, image in zip(disks, first, strict=True):
            refuse_moved(disk[0].path, image, read_slots(*disk))
        elapsed = min(asked - begin, longest)
        if progress is not None:
            progress("watching for heartbeats, seconds", elapsed // 10**9, -(-longest // 10**9))
        if elapsed == longest:
            return first
        time.sleep(min(pause, (longest - elapsed) / 1e9, 1.0))


def refuse_moved(path: str, before: SlotImage, now: SlotImage) -> None:
    """:raises InUseError: a record changed"""
    if before.data == now.data:
        return
    pairs = zip(before.blocks(), now.blocks(), strict=True)
    moved = [slot for slot, (old, new) in enumerate(pairs) if old != new]
    users = {**before.users(), **now.users()}
    raise InUseError(path, tuple(users.get(slot, f"slot {slot}") for slot in moved), True)
