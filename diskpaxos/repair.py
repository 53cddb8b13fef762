"""Mending damaged blocks: by their owners where that can be done while hosts are joined, else only when
no host was heard of for T_dead.  Nothing is mended silently; whatever is left says why.

Own blocks, slot records and notice blocks belong to a slot, so its next owner may write them: repair
joins in that slot, writes, and leaves.  An owner that lives is asked to write its own blocks.  Lease
headers of which a majority is sound are written again under the directory lease.  What a majority of the
disks has lost needs all hosts out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diskpaxos import _core
from diskpaxos.check import DamagedBlock, raw_copies, survey
from diskpaxos.claim import is_claimed, read_head
from diskpaxos.create import write_superblock
from diskpaxos.errors import DiskPaxosError, HeldError
from diskpaxos.failure import translated
from diskpaxos.inspect import (
    READ_TIMEOUT,
    area_chunks,
    block_dtype,
    host_views,
    read_blocks,
    read_slots,
    watch_slots,
)
from diskpaxos.layout import Kind, LeaseState, SlotState
from diskpaxos.rawdisk import RawDisk, aligned_view
from diskpaxos.rebuild import identify, sequences
from diskpaxos.views import HostInfo, Liveness

if TYPE_CHECKING:
    from diskpaxos.host import Host
    from diskpaxos.lockspace import Lockspace

Progress = Callable[[str, int, int], object] | None

_JUMP = 1 << 16  # generations skipped where the last one is not known
_LIMIT = 30.0  # seconds for one step
_CLAIMED = "an init or rebuild is under way there, or was interrupted"


@dataclass(slots=True)
class RepairReport:
    """What was mended, and what was left and why; texts for people."""

    mended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Nothing is left."""
        return not self.left


def repair(space: Lockspace, *, progress: Progress = None) -> RepairReport:
    """See :meth:`Lockspace.repair`."""
    report = RepairReport()
    _superblocks(space, report)
    _unused_disks(space, report)
    damage = survey(space)
    report.left += damage.unread.values()
    for item in (item for item in damage.blocks if item.kind is Kind.GROUP):  # nobody's yet: empty on every disk
        _write(space, list(item.flaws), item.block, [record.tobytes() for record in _empty(space, item.block)])
        report.mended.append(_name(item))
    damaged = [item for item in damage.blocks if item.kind is not Kind.GROUP]
    lost = [item for item in damaged if not item.sound and item.kind is not Kind.OWN]
    lost += [_old_header(space, area) for area in damage.old_headers]
    if lost:
        _lost_blocks(space, lost, report, progress)
    headers = [item for item in damaged if item.sound and item.kind is Kind.HEADER]
    if headers:
        _headers(space, headers, report)
    owned: dict[int, list[DamagedBlock]] = {}
    for item in damaged:
        if item not in lost and item.kind is not Kind.HEADER:
            owned.setdefault(item.slot, []).append(item)
    taken = _wait_for(space, set(owned), progress)
    for slot, items in sorted(owned.items()):
        if slot in taken:
            _by_its_owner(space, items, taken[slot], report)
        else:
            _slot(space, slot, items, report)
    return report


def _name(item: DamagedBlock) -> str:
    where = f"area {item.area}" if item.kind in (Kind.HEADER, Kind.OWN) else ""
    slot = f"slot {item.slot}" if item.kind not in (Kind.HEADER, Kind.GROUP) else ""
    flaws = ", ".join(f"{flaw} on disk {disk}" for disk, flaw in item.flaws.items())
    return f"{item.kind.name.lower()} block {item.block} ({', '.join(filter(None, (slot, where)))}): {flaws}"


def _old_header(space: Lockspace, area: int) -> DamagedBlock:
    """What the area was last is not known, as if its header were damaged."""
    flaws = dict.fromkeys(range(space.geometry.disks), "older than what was written under it")
    return DamagedBlock(space.geometry.header_block(area), Kind.HEADER, -1, area, flaws)


# ---- superblocks


def _superblocks(space: Lockspace, report: RepairReport) -> None:
    """Those that are damaged, another disk's, or do not know of the last rebuild; the lockspace is open, so a
    majority agrees."""
    geometry = space.geometry
    wrong = []
    used = {state.disk: state.path for state in space._use().disks() if state.online}
    for disk, data in enumerate(raw_copies(space, 0)):
        if data is None and disk in used:
            report.left.append(f"superblock of disk {disk}: could not be read")
        if data is None:
            continue
        _, found, index, _ = _core.superblock_decode(data)
        if is_claimed(data):
            report.left.append(f"superblock of disk {disk}: {_CLAIMED}")
        elif found is None:
            wrong.append(disk)
        elif found.uuid != geometry.uuid or index != disk:
            if disk in used and not _why_not(space, used[disk], disk):
                wrong.append(disk)
            else:
                report.left.append(f"superblock of disk {disk}: another disk's; find out what wrote to it")
        elif found.disk_generations[disk] == geometry.disk_generations[disk] != 0 and (
            found.disk_generations != geometry.disk_generations
        ):
            wrong.append(disk)
    sequence = 1 + max(sequences(space), default=0)
    for disk in wrong:
        _write(space, [disk], 0, [geometry.encode_superblock(disk, sequence, time.time_ns())])
        report.mended.append(f"superblock of disk {disk}")


def _unused_disks(space: Lockspace, report: RepairReport) -> None:
    """Disks that nobody uses since their superblocks are no good: their own records may tell which they are."""
    states = space._use().disks()
    taken = {state.disk for state in states if state.online}
    missing = set(range(space.geometry.disks)) - taken
    for state in states:
        if state.online or state.trouble not in ("superblock", "not_lockspace"):
            continue
        try:
            with RawDisk(state.path, write=True) as disk:
                index = identify(disk, None)[1]
                if is_claimed(read_head(disk)):
                    why = _CLAIMED
                else:
                    why = _why_not(space, state.path, index) if index in missing else "its place is taken"
                if not why:
                    write_superblock(disk, space.geometry, index, 1 + max(sequences(space), default=0))
                    missing.remove(index)
                    report.mended.append(f"superblock of disk {index}")
        except DiskPaxosError as error:
            why = error.what
        if why:
            others = "".join(f" --lockspace {path}" for path in space.paths if path != state.path)
            advice = f"if it is to be made anew, `diskpaxos rebuild{others} {state.path}`"
            report.left.append(f"superblock of {state.path}: {why}; {advice}")


def _why_not(space: Lockspace, path: str, index: int) -> str:
    """Why the disk at ``path`` is not to be given the superblock of disk ``index``; "" when its slot records and
    headers say that it is that one, and no other replaced it since."""
    geometry = space.geometry
    try:
        with RawDisk(path, write=False) as disk:
            found, its_index, shapes = identify(disk, None)
    except DiskPaxosError as error:
        return error.what
    if found.uuid != geometry.uuid or its_index != index:
        return "its records are those of another disk"
    if max(shape.disk_generations[index] for shape in shapes) < geometry.disk_generations[index]:
        return "an older one than the disk that replaced it"
    return ""


# ---- one slot at a time, by its owner


def _wait_for(space: Lockspace, slots: set[int], progress: Progress) -> dict[int, str]:
    """Wait until the slots are free, as long as that takes when their hosts are dead and drained; say of
    the others why they are not.  Only a joined host can find out, so this one joins for that."""
    views = host_views(space, 0.0)
    wanted = {slot for slot in slots if views[slot].liveness not in (Liveness.FREE, Liveness.DAMAGED)}
    if not wanted:
        return {}
    with space.member() as host:
        patience = 1.5 * max(views[slot].dead_time for slot in wanted)
        begin = time.monotonic()
        while True:
            views = host_views(space, 0.0)
            wanted = {slot for slot in wanted if views[slot].liveness is not Liveness.FREE}
            waiting = {slot for slot in wanted if views[slot].liveness is not Liveness.ALIVE}
            passed = time.monotonic() - begin
            if not waiting or passed >= patience or not host.alive:
                return {slot: _why_taken(views[slot]) for slot in wanted}
            if progress is not None:
                progress("waiting for dead hosts, seconds", round(passed), round(patience))
            time.sleep(min(1.0, patience / 40))


def _why_taken(view: HostInfo) -> str:
    if view.this_host:
        return "this host is alive and rewrites it by itself"
    if view.liveness is Liveness.ALIVE:
        return f"host {view.name!r} is alive and rewrites it by itself, or when it is asked; try again"
    return (
        f"host {view.name!r} in slot {view.slot} is {view.liveness} and not drained: when its machine is gone, "
        f"say so with `diskpaxos hosts retire {view.slot}`"
    )


def _slot(space: Lockspace, slot: int, items: list[DamagedBlock], report: RepairReport) -> None:
    try:
        with space.join(slot=slot, timeout=_LIMIT, realtime=False) as host:
            for item in items:
                _own(space, host, item, report)
    except DiskPaxosError as error:
        report.left += [f"{_name(item)}: {error}" for item in items if not _mended(report, item)]


def _by_its_owner(space: Lockspace, items: list[DamagedBlock], why: str, report: RepairReport) -> None:
    """What a living host's own blocks are: it writes them anew when it is asked."""
    with space.member() as host:
        for item in items:
            if item.kind is Kind.OWN and _asked(space, host, item):
                report.mended.append(_name(item))
            else:
                report.left.append(f"{_name(item)}: {why}")


def _asked(space: Lockspace, host: Host, item: DamagedBlock) -> bool:
    """Whether its owner has written it within the time of some heartbeats."""
    tolerance = space.geometry.outage_tolerance
    try:
        with translated("rewrite", paths=space.paths, host=host.name):
            if item.slot == host.slot:
                host._core.rewrite(item.area, tolerance)
            else:
                host._core.ask(item.slot, item.area)
    except HeldError:
        pass  # it is held here: its watch writes it
    except DiskPaxosError:
        return False  # nobody lives there
    end = time.monotonic() + tolerance / 2e9
    while any(read_blocks(space, item.block, 1).flaws[disk, 0] != 0 for disk in item.flaws):
        if time.monotonic() >= end:
            return False
        time.sleep(tolerance / 64e9)
    return True


def _mended(report: RepairReport, item: DamagedBlock) -> bool:
    return _name(item) in report.mended


def _own(space: Lockspace, host: Host, item: DamagedBlock, report: RepairReport) -> None:
    """The slot is ours now, so its blocks are ours to write."""

    def rewrite() -> None:
        with translated("rewrite", paths=space.paths, host=host.name):
            host._core.rewrite(item.area, round(_LIMIT * 1e9))

    if item.kind is Kind.OWN:
        rewrite()
        # A majority has it; a disk that had failed for a moment comes back, and gets it by another write.
        _look_again(space, item, report, rewrite)
        return
    if item.kind is Kind.NOTICE:
        # Its sound copies are those of the slot's earlier lives, carried on: the same for every disk.
        data = read_blocks(space, item.block, 1).data[0].tobytes()
        _write(space, list(item.flaws), item.block, [data])
    # The record of the slot is written by the heartbeat.
    _look_again(space, item, report)


def _look_again(
    space: Lockspace, item: DamagedBlock, report: RepairReport, again: Callable[[], None] | None = None
) -> None:
    """Is it sound now?  A majority has it; what goes to the other disks may come later, or with another heartbeat, or
    by ``again``, every S / 8."""
    tolerance = space.geometry.outage_tolerance
    end = _core.now() + tolerance // (1 if again else 2)
    rewritten = _core.now()
    while True:
        flaws = read_blocks(space, item.block, 1).flaws[:, 0].tolist()
        if all(flaws[disk] == 0 for disk in item.flaws):
            report.mended.append(_name(item))
            return
        if _core.now() >= end:
            report.left.append(f"{_name(item)}: still damaged after it was written")
            return
        if again and _core.now() >= rewritten + tolerance // 8:
            again()
            rewritten = _core.now()
        time.sleep(tolerance / 64e9)


def _headers(space: Lockspace, items: list[DamagedBlock], report: RepairReport) -> None:
    for item in items:
        if item.area == _core.DIRECTORY_AREA:
            # It never changes while a host is joined: the copy of the majority is what belongs there.
            data = read_blocks(space, item.block, 1).data[0].tobytes()
            _write(space, list(item.flaws), item.block, [data])
            _look_again(space, item, report)
    items = [item for item in items if item.area != _core.DIRECTORY_AREA]
    if not items:
        return
    try:
        with space.member() as host:
            for item in items:
                try:
                    host.resolve(item.area, _LIMIT)
                    _look_again(space, item, report)
                except HeldError as error:
                    who = f"host {error.host!r} (slot {error.slot}) holds that lease"
                    report.left.append(f"{_name(item)}: {who}: repair again once it is released")
                except DiskPaxosError as error:
                    report.left.append(f"{_name(item)}: {error}")
    except DiskPaxosError as error:
        report.left += [f"{_name(item)}: {error}" for item in items if not _mended(report, item)]


# ---- what a majority has lost


def _lost_blocks(space: Lockspace, items: list[DamagedBlock], report: RepairReport, progress: Progress) -> None:
    why = _alive(space, progress)
    if why:
        report.left += [f"{_name(item)}: needs all hosts out, but {why}" for item in items]
        return
    for item in sorted(items, key=lambda item: item.kind):  # records first: the others refer to them
        if item.kind is Kind.SLOT:
            block = _new_record(space, item)
            _hand_on_notices(space, item.slot, block)
        elif item.kind is Kind.NOTICE:
            block = _new_notices(space, item)
        else:
            block = _new_header(space, item)
        _write(space, list(range(space.geometry.disks)), item.block, block)
        report.mended.append(_name(item))


def _alive(space: Lockspace, progress: Progress) -> str:
    """Who is, or may be, alive; "" after nobody was heard of for T_dead (or all had left)."""
    with space._lock:
        if any(host.alive for host in space._hosts):
            return "this process is joined itself"
    if all(view.liveness is Liveness.FREE for view in host_views(space, 0.0)):
        return ""
    # By the superblock, which all hosts keep to.  (What damaged records say of their owners' timings is unknown.)
    wanted = space.geometry.dead_time
    for slot, sight in enumerate(watch_slots(space, wanted / 1e9, progress)):
        free = sight.sound and sight.record["state"] == SlotState.FREE
        if not free and sight.still_to - sight.still_from < wanted:
            return f"slot {slot} wrote a heartbeat while it was watched"
    return ""


def _empty(space: Lockspace, block: int) -> list[np.ndarray[tuple[int], np.dtype[np.void]]]:
    """The empty block of that place for every disk, to be filled in."""
    geometry = space.geometry
    kind = Kind(geometry.place(block)[0])
    records = []
    for disk in range(geometry.disks):
        view = aligned_view(geometry.block_size)
        geometry.encode_empty(view, disk, block, time.time_ns())
        records.append(np.frombuffer(bytearray(view), block_dtype(kind, geometry.block_size)))
    return records


def _new_record(space: Lockspace, item: DamagedBlock) -> list[bytes]:
    """A free record, of a generation above all that the slot may have had."""
    geometry = space.geometry
    highest = 0
    record = read_blocks(space, item.block, 1)
    for disk, copy in enumerate(record.copies):
        if copy is not None and record.flaws[disk, 0] == 0:  # a minority's may still be sound
            found = copy.view(block_dtype(Kind.SLOT, geometry.block_size))["generation"]
            highest = max(highest, int(found[0, 0]))
    for _, blocks in area_chunks(space):
        mine = slice(1 + item.slot, None, geometry.area_blocks)
        owns = blocks.as_kind(Kind.OWN)[mine][blocks.sound[mine]]
        highest = max([highest, *owns["generation"].tolist()])
    records = _empty(space, item.block)
    for fresh in records:
        fresh["generation"] = highest + _JUMP
    return [fresh.tobytes() for fresh in records]


def _hand_on_notices(space: Lockspace, slot: int, record: list[bytes]) -> None:
    """What the slot's earlier owners said goes on under the new record's name, and is there before it (‡S21).
    Blocks that are damaged are mended by themselves, after the records."""
    geometry = space.geometry
    generation = np.frombuffer(record[0], block_dtype(Kind.SLOT, geometry.block_size))["generation"][0]
    for part in range(geometry.notice_blocks):
        blocks = read_blocks(space, geometry.notice_block(slot, part), 1)
        if not blocks.sound[0]:
            continue
        data = []
        for _ in range(geometry.disks):
            copy = blocks.as_kind(Kind.NOTICE)[:1].copy()
            copy["generation"], copy["nonce"], copy["sequence"] = generation, bytes(16), 1
            # A certificate speaks for the disk that it was written on: here they are taken from one for all.
            copy["entries"] &= 0xFFFFFFFF
            data.append(copy.tobytes())
        _write(space, list(range(geometry.disks)), blocks.first, data)


def _new_notices(space: Lockspace, item: DamagedBlock) -> list[bytes]:
    """Notices that are lost may have been about anybody: all slots that are not free are dead by now,
    and a notice about each says so to a host that was stopped together with its clock."""
    geometry = space.geometry
    slots = read_slots(space).as_kind(Kind.SLOT)
    first = geometry.place(item.block)[2] * geometry.notice_entries
    records = _empty(space, item.block)
    for record in records:
        record["generation"] = slots[item.slot]["generation"]
        record["nonce"] = slots[item.slot]["nonce"]
        record["sequence"] = 1
        if int(slots[item.slot]["notices"]) == 0:
            continue
        entries = record["entries"][0]
        for about in range(first, min(first + geometry.notice_entries, geometry.max_hosts)):
            if about != item.slot and slots[about]["state"] != SlotState.FREE:
                entries[about - first] = int(slots[about]["generation"]) & _core.NOTICE_GENERATION
    return [record.tobytes() for record in records]


def _new_header(space: Lockspace, item: DamagedBlock) -> list[bytes]:
    """A tombstone: the name is lost, and the search for others must go on past this area.  (Lease 0 is
    the directory and nothing else.)"""
    geometry = space.geometry
    owns = read_blocks(space, geometry.own_block(item.area, 0), geometry.max_hosts)
    blocks = owns.as_kind(Kind.OWN)[owns.sound]
    changer = read_blocks(space, geometry.own_block(_core.DIRECTORY_AREA, 0), geometry.max_hosts)
    tokens = changer.as_kind(Kind.OWN)["ballot"][changer.sound]
    # Above every header of this place, below that of the next change: tokens of lease 0 only grow.
    token = max([0, *tokens.tolist(), *blocks["directory_token"].tolist()])
    directory = item.area == _core.DIRECTORY_AREA
    return [
        geometry.encode_header(
            disk,
            item.area,
            directory_token=token,
            sequence=1 << 32,
            written_at=time.time_ns(),
            state=LeaseState.IN_USE if directory else LeaseState.TOMBSTONE,
            lease=geometry.uuid if directory else bytes(16),
            first_ballot=max([0, *blocks["ballot"].tolist()]),
            created_at=time.time_ns() if directory else 0,
            name=_core.DIRECTORY_NAME if directory else b"",
        )
        for disk in range(geometry.disks)
    ]


def _write(space: Lockspace, disks: list[int], block: int, data: list[bytes]) -> None:
    """One block to several disks, sealed for each; ``data``: one for all, or one per disk."""
    geometry = space.geometry
    for disk in disks:
        view = aligned_view(geometry.block_size)
        view[:] = data[disk] if len(data) == geometry.disks else data[0]
        geometry.seal(view, disk)
        with translated("write", paths=space.paths):
            space._use().write(disk, block, view, READ_TIMEOUT)
