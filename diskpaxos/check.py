"""Everything that is damaged or inconsistent in a lockspace.  Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diskpaxos import _core
from diskpaxos.errors import StorageError
from diskpaxos.failure import translated
from diskpaxos.inspect import (
    READ_TIMEOUT,
    UNREAD,
    Array,
    Blocks,
    area_chunks,
    block_dtype,
    disks_in_use,
    read_blocks,
    read_notices,
    read_slots,
)
from diskpaxos.layout import Kind, LeaseState, SlotState
from diskpaxos.rawdisk import aligned_view

if TYPE_CHECKING:
    from diskpaxos.lockspace import Lockspace

_KINDS = {
    Kind.SUPERBLOCK: "superblock",
    Kind.SLOT: "slot record",
    Kind.NOTICE: "notice block",
    Kind.HEADER: "lease header",
    Kind.OWN: "own block",
    Kind.GROUP: "group block",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    ``severity``: "error" (something cannot work, or not be trusted), "warning" (it works, with less
    to spare) or "note"; ``kind``: a word for programs; ``disk``, ``block``, ``slot``, ``area``: -1
    where they do not apply; ``remedy``: what mends it.
    """

    severity: str
    kind: str
    text: str
    remedy: str = ""
    disk: int = -1
    block: int = -1
    slot: int = -1
    area: int = -1
    lease: str = ""


@dataclass(slots=True)
class DamagedBlock:
    """A block of which at least one copy is damaged, twice in a row."""

    block: int
    kind: Kind
    slot: int
    area: int
    flaws: dict[int, str] = field(default_factory=dict)  # disk -> what is wrong
    sound: bool = False  # a majority of the disks has a sound copy


@dataclass(slots=True)
class Damage:
    """What is damaged, and which disks in use could not be asked: what lies on those is not known."""

    blocks: list[DamagedBlock] = field(default_factory=list)
    old_headers: list[int] = field(default_factory=list)  # areas whose blocks have seen a later header
    unread: dict[int, str] = field(default_factory=dict)  # disk -> a sentence


def check(space: Lockspace) -> list[Finding]:
    """See :meth:`Lockspace.check`."""
    findings = list(_disks(space))
    findings += _superblocks(space)
    slots = read_slots(space)
    findings += _slots(space, slots)
    damage = survey(space)
    findings += [_damage_finding(damaged) for damaged in damage.blocks]
    findings += [
        Finding("warning", "disk-unread", text, "check again", disk=disk) for disk, text in damage.unread.items()
    ]
    names: dict[str, int] = {}
    present = np.zeros(space.geometry.max_leases, np.uint8)
    for area, blocks in area_chunks(space):
        findings += _areas(space, area, blocks, slots, names, present)
    findings += _probing(space, names, present)
    return findings


# ---- disks and superblocks


def _disks(space: Lockspace) -> Iterator[Finding]:
    states = space._use().disks()
    given = {state.disk for state in states}
    for state in states:
        if not state.online:
            remedy = "bring it back"
            if state.trouble in ("not_lockspace", "superblock"):
                remedy = "diskpaxos repair"  # which says so where only a rebuild helps
            elif state.trouble == "outdated_disk":
                remedy = "diskpaxos rebuild"
            why = os.strerror(state.errno) if state.errno else state.trouble.replace("_", " ")
            text = f"{state.path} is not used: {why}"
            yield Finding("warning", "disk-offline", text, remedy, disk=state.disk)
    for disk in range(space.geometry.disks):
        if disk not in given and len(states) < space.geometry.disks:
            yield Finding("warning", "disk-not-given", f"no path given leads to disk {disk}", "name it", disk=disk)


def _superblocks(space: Lockspace) -> Iterator[Finding]:
    geometry = space.geometry
    used = disks_in_use(space)
    for disk, data in enumerate(raw_copies(space, 0)):
        if data is None and disk in used:
            text = f"the superblock of disk {disk} could not be read"
            yield Finding("warning", "disk-unread", text, "check again", disk=disk, block=0)
        if data is None:
            continue
        flaw, found, index, _ = _core.superblock_decode(data)
        if found is None:
            text = f"the superblock of disk {disk} is damaged: {flaw}"
            yield Finding("error", "damaged-superblock", text, "diskpaxos repair", disk=disk, block=0)
        elif index != disk or found.uuid != geometry.uuid:
            text = f"the superblock of disk {disk} has changed since it was opened"
            yield Finding(
                "error", "foreign-superblock", text, "diskpaxos repair; find out what wrote to it", disk=disk, block=0
            )
        elif found.disk_generations != geometry.disk_generations:
            text = f"the superblock of disk {disk} does not know of the last rebuild"
            yield Finding("warning", "old-superblock", text, "diskpaxos repair", disk=disk, block=0)


def raw_copies(space: Lockspace, block: int) -> list[bytes | None]:
    """One block from every disk, unchecked; None where it cannot be read.  A damaged one was read twice:
    a write may have been half done."""
    copies: list[bytes | None] = []
    for disk in range(space.geometry.disks):
        view = aligned_view(space.geometry.block_size)
        try:
            with translated("read", paths=space.paths):
                space._use().read(disk, block, view, READ_TIMEOUT)
                if space.geometry.check(view, disk, block)[0]:
                    space._use().read(disk, block, view, READ_TIMEOUT)
            copies.append(bytes(view))
        except StorageError:
            copies.append(None)
    return copies


# ---- damage


def survey(space: Lockspace) -> Damage:
    """Every block but the superblock of which a copy fails its checks, and fails them again."""
    geometry = space.geometry
    damage = Damage()
    _survey(space, read_slots(space), damage)
    notices = geometry.max_hosts * geometry.notice_blocks
    _survey(space, read_blocks(space, geometry.notices_at, notices), damage)
    _survey(space, read_blocks(space, geometry.groups_at, geometry.group_blocks), damage)
    for area, blocks in area_chunks(space):
        _survey(space, blocks, damage)
        damage.old_headers += [area + row for row in _old_headers(*_parts(space, blocks))]
    return damage


def _parts(space: Lockspace, blocks: Blocks) -> tuple[Array, Array, Array]:
    """Headers, own blocks of each, and which of both are sound (areas × 1 + hosts)."""
    geometry = space.geometry
    count, used = len(blocks.data) // geometry.area_blocks, 1 + geometry.max_hosts
    grid = blocks.data.reshape(count, geometry.area_blocks, geometry.block_size)
    sound = blocks.sound.reshape(count, geometry.area_blocks)[:, :used]
    headers = grid[:, 0].view(block_dtype(Kind.HEADER, geometry.block_size))[:, 0]
    return headers, grid[:, 1:used].view(block_dtype(Kind.OWN, geometry.block_size))[:, :, 0], sound


def _old_headers(headers: Array, owns: Array, sound: Array) -> list[int]:
    highest = np.where(sound[:, 1:], owns["directory_token"], 0).max(axis=1)
    rows: list[int] = np.flatnonzero(sound[:, 0] & (highest > headers["generation"])).tolist()
    return rows


def _survey(space: Lockspace, blocks: Blocks, damage: Damage) -> None:
    _note_unread(space, blocks, damage)
    suspicious = ((blocks.flaws != 0) & (blocks.flaws != UNREAD)).any(axis=0)
    for position in np.flatnonzero(suspicious):
        # Read again: the first read may have met a write half done.
        again = read_blocks(space, blocks.first + int(position), 1)
        _note_unread(space, again, damage)
        flaws = {
            disk: _core.FLAWS[flaw] for disk, flaw in enumerate(again.flaws[:, 0].tolist()) if flaw not in (0, UNREAD)
        }
        if flaws:
            block = blocks.first + int(position)
            kind, slot, _, area = space.geometry.place(block)
            damage.blocks.append(DamagedBlock(block, Kind(kind), slot, area, flaws, bool(again.sound[0])))


def _note_unread(space: Lockspace, blocks: Blocks, damage: Damage) -> None:
    for state in space._use().disks():
        if state.online and blocks.copies[state.disk] is None:
            damage.unread[state.disk] = f"{state.path} could not be read; what is damaged on it was not looked for"


def _damage_finding(damaged: DamagedBlock) -> Finding:
    of_slot = damaged.kind in (Kind.SLOT, Kind.NOTICE, Kind.OWN)
    of_area = damaged.kind in (Kind.HEADER, Kind.OWN)
    what = _KINDS[damaged.kind]
    if of_slot:
        what += f" of slot {damaged.slot}"
    if of_area:
        what += f" in area {damaged.area}"
    flaws = ", ".join(f"disk {disk}: {flaw}" for disk, flaw in damaged.flaws.items())
    return Finding(
        "warning" if damaged.sound else "error",
        f"damaged-{damaged.kind.name.lower()}",
        f"{what} (block {damaged.block}) is damaged: {flaws}",
        "diskpaxos repair",
        disk=next(iter(damaged.flaws)),
        block=damaged.block,
        slot=damaged.slot if of_slot else -1,
        area=damaged.area if of_area else -1,
    )


# ---- slots


def _slots(space: Lockspace, slots: Blocks) -> Iterator[Finding]:
    geometry = space.geometry
    records = slots.as_kind(Kind.SLOT)
    notices = read_notices(space)
    written = np.count_nonzero(notices.about, axis=1)
    for slot, record in enumerate(records):
        if not slots.sound[slot]:
            continue
        for name in ("outage_tolerance", "kill_grace", "watchdog_timeout", "claim_time"):
            if int(record[name]) != getattr(geometry, name) and record["state"] != SlotState.FREE:
                text = f"slot {slot} keeps {name} = {int(record[name]) / 1e9:g} s, not the lockspace's"
                yield Finding("warning", "other-timings", text, "let that host join anew", slot=slot)
        unsaid = int(record["notices"]) == 0 and written[slot] > 0
        if notices.sound[slot] and unsaid and record["state"] == SlotState.ACTIVE:
            text = f"slot {slot} says that it carries no death notices, {written[slot]} are there"
            yield Finding("note", "unannounced-notices", text, "none needed unless it stays so", slot=slot)


# ---- leases


def _areas(
    space: Lockspace, first: int, blocks: Blocks, slots: Blocks, names: dict[str, int], present: Array
) -> Iterator[Finding]:
    headers, owns, sound = _parts(space, blocks)
    present[first : first + len(headers)] = np.where(sound[:, 0], headers["state"], LeaseState.TOMBSTONE)
    for row in np.flatnonzero(sound[:, 0] & (headers["state"] == LeaseState.IN_USE)):
        yield from _named(headers[row], first + int(row), names)
    yield from _tokens(first, headers, owns, sound)
    yield from _generations(first, owns, sound, slots)


def _named(header: Any, area: int, names: dict[str, int]) -> Iterator[Finding]:
    name = header["name"][: int(header["name_length"])].decode("utf-8", "replace")
    if name in names:
        text = f"lease {name!r} is there twice, in areas {names[name]} and {area}"
        yield Finding("error", "double-name", text, "release and delete it, twice", area=area, lease=name)
    names[name] = area


def _tokens(first: int, headers: Array, owns: Array, sound: Array) -> Iterator[Finding]:
    rows = np.flatnonzero(sound[:, 0])
    ballots = np.where(sound[:, 1:], owns["ballot"], 0).max(axis=1)
    for row in _old_headers(headers, owns, sound):
        text = f"the header of area {first + row} is older than blocks that were written under a later one"
        yield Finding("error", "old-header", text, "diskpaxos repair", area=first + int(row))
    for row in rows[ballots[rows] > _core.BALLOT_CEILING // 2]:
        text = f"the tokens of area {first + row} are more than half used up"
        yield Finding("warning", "high-ballots", text, "delete the lease and create it anew", area=first + int(row))
    changing = sound[:, 1:] & (owns["hold"] != 0) & (owns["change_token"] != 0)
    changing &= headers["generation"][:, None] <= owns["change_token"]
    for row, slot in np.argwhere(changing):
        text = f"slot {slot} has announced a change of the header of area {first + row}"
        remedy = "none while that host lives; its successors complete it"
        yield Finding("note", "change-open", text, remedy, area=first + int(row), slot=int(slot))


def _generations(first: int, owns: Array, sound: Array, slots: Blocks) -> Iterator[Finding]:
    """An own block of an incarnation that its slot record has not heard of."""
    known = np.where(slots.sound, slots.as_kind(Kind.SLOT)["generation"], np.iinfo(np.uint64).max)
    for row, slot in np.argwhere(sound[:, 1:] & (owns["generation"] > known[None, :])):
        generation = int(owns[row, slot]["generation"])
        text = f"slot {slot} is at generation {known[slot]}, its block in area {first + row} at {generation}"
        remedy = "check for restored or swapped disks"
        yield Finding("error", "own-block-ahead", text, remedy, slot=int(slot), area=first + int(row))


def _probing(space: Lockspace, names: dict[str, int], present: Array) -> Iterator[Finding]:
    """Leases that no host finds: a free area lies between where the search begins and where they are."""
    geometry = space.geometry
    for name, area in names.items():
        if area == _core.DIRECTORY_AREA:
            continue
        probe = geometry.home_area(name.encode("utf-8"))
        while probe != area and present[probe] != LeaseState.FREE:
            probe = (probe + 1) % geometry.max_leases
        if probe != area:
            text = f"lease {name!r} in area {area} cannot be found: area {probe}, before it, is free"
            yield Finding("error", "lost-lease", text, "acquire it anew", area=area, lease=name)
