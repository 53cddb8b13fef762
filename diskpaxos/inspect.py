"""The whole lockspace at a glance: bulk reads, checked in C, decoded by numpy structured dtypes that
come from the core's own table of fields, merged over the disks.

Reading needs a majority of the disks; what a view shows is what lay there while it read, block by
block, and may be out of date when it returns.
"""

from __future__ import annotations

import errno
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from diskpaxos import _core
from diskpaxos._version import software_text
from diskpaxos.arguments import MODE_NAMES
from diskpaxos.errors import (
    DiskPaxosError,
    InvalidArgumentError,
    NoFreeSlotError,
    NoMajorityError,
)
from diskpaxos.failure import translated
from diskpaxos.layout import Kind, LeaseState, SlotState
from diskpaxos.rawdisk import CHUNK, aligned_view
from diskpaxos.views import Drain, Holder, HostInfo, LeaseInfo, Liveness

if TYPE_CHECKING:
    from diskpaxos.lockspace import Lockspace

Array = np.ndarray[Any, np.dtype[Any]]
Progress = Callable[[str, int, int], object] | None

#: Flaw of a block whose disk did not answer; the others index into ``_core.FLAWS``.
UNREAD = 255
READ_TIMEOUT = 10_000_000_000
_PASSED_OVER = 30_000_000_000
_LONGEST_WATCH = 10 * 365 * 86400.0  # seconds
_AGAIN = 64  # damaged blocks of one read that are read again; more than that is no write half done


@cache
def block_dtype(kind: Kind, block_size: int) -> np.dtype[np.void]:
    """Structured dtype of one block: the common header and the fields of its kind.

    Integers are little-endian, UUIDs and bytes raw ("V"), texts "S" (without trailing zeros).
    """
    names, formats, offsets = [], [], []
    for field in _core.fields():
        if field.kind not in (0, kind):
            continue
        length = field.size * field.elements
        count = field.elements
        if kind is Kind.NOTICE and field.name == "entries":
            count = (block_size - field.offset) // field.size  # they fill the block, whatever its size
        if field.type == "u":
            form: Any = f"<u{field.size}" if count == 1 else (f"<u{field.size}", (count,))
        else:
            form = f"S{length}" if field.type == "s" else f"V{length}"
        names.append("block_kind" if field.name == "kind" else field.name)
        formats.append(form)
        offsets.append(field.offset)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": block_size})


@dataclass(frozen=True, slots=True)
class Blocks:
    """A run of blocks, merged over the disks.

    ``data``: the newest sound copy of each (n × block_size bytes); ``sound``: a majority of the
    disks has a sound copy; ``flaws``: disks × n, per copy an index into ``_core.FLAWS`` or UNREAD;
    ``copies``: per disk its raw blocks, None when it did not answer.
    """

    first: int
    data: Array
    sound: Array
    flaws: Array
    copies: list[Array | None]

    def as_kind(self, kind: Kind) -> Array:
        """The merged blocks as records."""
        return self.data.view(block_dtype(kind, self.data.shape[-1]))[..., 0]


def disks_in_use(space: Lockspace) -> set[int]:
    """Indexes of the disks that are online."""
    return {state.disk for state in space._use().disks() if state.online}


def read_blocks(space: Lockspace, first: int, count: int) -> Blocks:
    """Read and merge ``count`` blocks from ``first`` on, of the disks that count.

    What is damaged is read once more before it is believed: a write may have been half done.
    A disk that does not answer in time is passed over for a while, so that it delays a view once and
    not at every read.

    :raises NoMajorityError: too few disks answer
    """
    core, geometry = space._use(), space.geometry
    size = geometry.block_size
    flaws = np.full((geometry.disks, count), UNREAD, np.uint8)
    copies: list[Array | None] = [None] * geometry.disks
    trouble: _core.CoreError | None = None
    online = disks_in_use(space)
    for disk in range(geometry.disks):
        if disk not in online or space._avoid.get(disk, 0) > _core.now():
            continue
        view = aligned_view(count * size)
        try:
            core.read(disk, first, view, READ_TIMEOUT)
            flaws[disk] = np.frombuffer(geometry.check(view, disk, first), np.uint8)
            for position in np.flatnonzero(flaws[disk])[:_AGAIN].tolist():
                again = aligned_view(size)
                core.read(disk, first + position, again, READ_TIMEOUT)
                view[position * size : (position + 1) * size] = again
                flaws[disk][position] = geometry.check(again, disk, first + position)[0]
        except _core.CoreError as failure:
            trouble = failure
            if failure.errno == errno.ETIMEDOUT and geometry.disks > 1:
                space._avoid[disk] = _core.now() + _PASSED_OVER
            flaws[disk] = UNREAD
            continue
        copies[disk] = np.frombuffer(view, np.uint8).reshape(count, size)
    if sum(copy is not None for copy in copies) <= geometry.disks // 2:
        raise NoMajorityError(space.paths[0], trouble.errno if trouble else 0)
    data = _merge(copies, flaws == 0, geometry, first)
    return Blocks(first, data, (flaws == 0).sum(axis=0) > geometry.disks // 2, flaws, copies)


def _merge(copies: list[Array | None], sound: Array, geometry: _core.Geometry, first: int) -> Array:
    """The newest sound copy of each block: by (generation, sequence), but among slot records of one
    generation active and free outrank claiming."""
    slots = geometry.slots_at <= first < geometry.notices_at

    def key(copy: Array) -> tuple[Array, Array, Array]:
        head = copy.view(block_dtype(Kind.SLOT if slots else Kind.HEADER, geometry.block_size))[:, 0]
        settled = head["state"] != SlotState.CLAIMING if slots else np.zeros(len(head), bool)
        return head["generation"].copy(), settled, head["sequence"].copy()

    (disk, copy), *others = [(disk, copy) for disk, copy in enumerate(copies) if copy is not None]
    if not others:
        return copy
    best, best_sound, best_key = copy.copy(), sound[disk].copy(), key(copy)
    for disk, copy in others:
        newer, equal = np.zeros(len(copy), bool), np.ones(len(copy), bool)
        for mine, theirs in zip(key(copy), best_key, strict=True):
            newer |= equal & (mine > theirs)
            equal &= mine == theirs
        newer = sound[disk] & (newer | ~best_sound)
        best[newer] = copy[newer]
        best_sound |= sound[disk]
        for mine, theirs in zip(key(copy), best_key, strict=True):
            theirs[newer] = mine[newer]
    return best


def area_chunks(space: Lockspace) -> Iterator[tuple[int, Blocks]]:
    """All lease areas, a few MiB at a time: (first area, its blocks and those of the next ones)."""
    geometry = space.geometry
    step = max(1, CHUNK // (geometry.area_blocks * geometry.block_size))
    for area in range(0, geometry.max_leases, step):
        count = min(step, geometry.max_leases - area) * geometry.area_blocks
        yield area, read_blocks(space, geometry.header_block(area), count)


# ---- hosts


@dataclass(slots=True)
class Sight:
    """A slot as it was watched from outside; times ns on CLOCK_BOOTTIME."""

    record: Any
    sound: bool
    moved: bool
    still_from: int
    still_to: int


def read_slots(space: Lockspace) -> Blocks:
    """All slot records.  What only a minority shows free is not free (protocol, ‡S10): where no other copy of that
    generation can be read, the slot counts as somebody's who fell silent, to be retired."""
    blocks = read_blocks(space, space.geometry.slots_at, space.geometry.max_hosts)
    merged = blocks.as_kind(Kind.SLOT)
    copies = [
        (copy, copy.view(merged.dtype)[:, 0], blocks.flaws[disk] == 0)
        for disk, copy in enumerate(blocks.copies)
        if copy is not None
    ]
    for slot in np.flatnonzero(merged["state"] == SlotState.FREE):
        same = [
            (copy, records[slot]["state"] == SlotState.FREE)
            for copy, records, sound in copies
            if sound[slot] and records[slot]["generation"] == merged[slot]["generation"]
        ]
        unfree = [copy for copy, free in same if not free]
        if len(same) - len(unfree) > space.geometry.disks // 2:
            continue
        if unfree:
            blocks.data[slot] = unfree[0][slot]
        else:
            merged["state"][slot] = SlotState.ACTIVE
    return blocks


def watch_slots(space: Lockspace, seconds: float, progress: Progress = None) -> list[Sight]:
    """Read the slot records, and again and again until ``seconds`` have passed from the completion of the first
    read to the issue of the last: a slot that was still for less has changed, however slow the reads were."""
    if not 0 <= seconds <= _LONGEST_WATCH:
        raise InvalidArgumentError(f"cannot watch for {seconds!r} seconds")
    wanted, begin = round(seconds * 1e9), 0
    sights: list[Sight] = []
    while True:
        issued = _core.now()
        blocks = read_slots(space)
        completed = _core.now()
        records = blocks.as_kind(Kind.SLOT)
        for slot, record in enumerate(records):
            sound = bool(blocks.sound[slot])
            if slot == len(sights):
                sights.append(Sight(record, sound, False, completed, completed))
                continue
            sight = sights[slot]
            if _pulse(record) == _pulse(sight.record):
                sight.still_to = issued
            else:
                beat = record["generation"] == sight.record["generation"]
                sights[slot] = Sight(record, sound, bool(beat), completed, completed)
        begin = begin or completed
        if progress is not None and wanted:
            passed = min(max(issued - begin, 0), wanted)
            progress("watching for heartbeats, seconds", passed // 10**9, -(-wanted // 10**9))
        if wanted == 0 or issued >= begin + wanted:
            return sights
        left = max(begin + wanted - _core.now(), 0)
        time.sleep(min(left / 1e9, max(space.geometry.outage_tolerance / 32e9, 0.005)))


def _pulse(record: Any) -> tuple[int, int, bytes]:
    return int(record["generation"]), int(record["counter"]), record["nonce"].tobytes()


def host_views(space: Lockspace, watch: float) -> list[HostInfo]:
    """See :meth:`Lockspace.hosts`."""
    geometry = space.geometry
    sights = watch_slots(space, watch)
    hosts = [_host_view(geometry, slot, sight) for slot, sight in enumerate(sights)]
    with space._lock:
        members = [host for host in space._hosts if host.alive]
    noticed = _noticed(space, sights)
    for slot, fenced in noticed.items():
        if hosts[slot].liveness in (Liveness.UNKNOWN, Liveness.SILENT):
            drain = Drain.FENCED if fenced else Drain.PENDING
            hosts[slot] = replace(hosts[slot], liveness=Liveness.DEAD, drain=drain)
    for member in members:
        _ask_member(hosts, member._core.peers())
    for member in members:
        if hosts[member.slot].generation == member.generation:
            hosts[member.slot] = replace(hosts[member.slot], liveness=Liveness.ALIVE, drain=Drain.NONE, this_host=True)
    return hosts


def _host_view(geometry: _core.Geometry, slot: int, sight: Sight) -> HostInfo:
    record = sight.record
    dead_time = geometry.dead_time  # nothing in a damaged record is to be believed
    if sight.sound:
        dead_time = _core.dead_time(
            int(record["outage_tolerance"]), int(record["kill_grace"]), int(record["watchdog_timeout"])
        )
    silent_for = sight.still_to - sight.still_from
    if not sight.sound:
        liveness = Liveness.DAMAGED
    elif record["state"] == SlotState.FREE:
        liveness = Liveness.FREE
    elif record["state"] == SlotState.CLAIMING and silent_for < dead_time:
        liveness = Liveness.CLAIMING
    elif silent_for >= dead_time:
        liveness = Liveness.DEAD
    elif sight.moved:
        liveness = Liveness.ALIVE
    elif silent_for > geometry.outage_tolerance // 4:
        liveness = Liveness.SILENT
    else:
        liveness = Liveness.UNKNOWN
    return HostInfo(
        slot=slot,
        liveness=liveness,
        drain=Drain.PENDING if liveness is Liveness.DEAD else Drain.NONE,
        generation=int(record["generation"]),
        name=_text(record, "host_name"),
        machine=_uuid(record["host"]),
        boot=_uuid(record["boot"]),
        nonce=_uuid(record["nonce"]),
        pid=int(record["pid"]),
        counter=int(record["counter"]),
        last_heartbeat=int(record["written_at"]) / 1e9 if int(record["generation"]) else 0.0,
        joined_at=int(record["joined_at"]) / 1e9,
        dead_time=dead_time / 1e9,
        silent_for=silent_for / 1e9,
        notices=int(record["notices"]),
        software=software_text(int(record["software"])),
        this_host=False,
    )


def _ask_member(hosts: list[HostInfo], peers: list[_core.PeerInfo]) -> None:
    """A joined host watches all the time: what it knows counts for more than a glance."""
    for peer in peers:
        host = hosts[peer.slot]
        if peer.generation != host.generation or host.liveness in (Liveness.FREE, Liveness.DAMAGED):
            continue
        silent_for = max(host.silent_for, peer.silent_for / 1e9)
        liveness, drain = host.liveness, host.drain
        if peer.dead or (liveness is not Liveness.ALIVE and peer.until_silent == 0):
            liveness = Liveness.DEAD
            known = Drain(_core.DRAINS[peer.drain])
            drain = known if known is not Drain.NONE else Drain.PENDING
        elif liveness in (Liveness.UNKNOWN, Liveness.SILENT):
            quiet = silent_for > host.dead_time / 4
            liveness = Liveness.SILENT if quiet else Liveness.ALIVE if peer.moved else liveness
        hosts[peer.slot] = replace(host, liveness=liveness, drain=drain, silent_for=silent_for)


@dataclass(frozen=True, slots=True)
class Notices:
    """What every slot says of every other one.

    ``about``: writers × slots, the entries' low 32 bits (0: nothing); ``sound``: per writer, all its blocks are.
    """

    about: Array
    sound: Array


def read_notices(space: Lockspace) -> Notices:
    """The notice blocks of all slots, merged over the disks."""
    geometry = space.geometry
    blocks = read_blocks(space, geometry.notices_at, geometry.max_hosts * geometry.notice_blocks)
    entries = blocks.as_kind(Kind.NOTICE)["entries"].reshape(geometry.notice_blocks, geometry.max_hosts, -1)
    # Part by part on the disk, slot by slot here.
    about = (entries & 0xFFFFFFFF).astype(np.uint32).swapaxes(0, 1).reshape(geometry.max_hosts, -1)
    sound: Array = np.all(blocks.sound.reshape(geometry.notice_blocks, -1), axis=0)
    return Notices(about[:, : geometry.max_hosts], sound)


def _noticed(space: Lockspace, sights: list[Sight]) -> dict[int, bool]:
    """Slots whose present incarnation some host wrote a death notice about; True: with the fenced bit."""
    writers = [slot for slot, sight in enumerate(sights) if sight.sound and int(sight.record["notices"])]
    if not writers:
        return {}
    notices = read_notices(space)
    found: dict[int, bool] = {}
    for slot, sight in enumerate(sights):
        if not sight.sound or sight.record["state"] == SlotState.FREE:
            continue
        generation = int(sight.record["generation"]) & _core.NOTICE_GENERATION
        about = notices.about[writers, slot]
        hits = about[(about & _core.NOTICE_GENERATION) == generation]
        if generation and len(hits):
            found[slot] = bool((hits & _core.NOTICE_FENCED).any())
    return found


def explain_full(space: Lockspace, error: NoFreeSlotError) -> NoFreeSlotError:
    """Say which slot waits for what when there was none to join in."""
    try:
        hosts = host_views(space, 0.0)
    except DiskPaxosError:
        return error
    # What somebody can do something about comes first.
    order = (Liveness.DAMAGED, Liveness.DEAD)
    hosts.sort(key=lambda host: order.index(host.liveness) if host.liveness in order else len(order))
    return NoFreeSlotError(space.paths[0], tuple(_waits_for(host) for host in hosts))


def _waits_for(host: HostInfo) -> str:
    who = f"slot {host.slot} (host {host.name or 'unknown'!r}, process {host.pid})"
    match host.liveness:
        case Liveness.DEAD if host.drain is Drain.PENDING:
            return f"{who} is dead and waits to be drained or retired"
        case Liveness.DEAD:
            return f"{who} is dead and drained ({host.drain}), free as soon as a joined host has cleaned it up"
        case Liveness.DAMAGED:
            return f"slot {host.slot} has a damaged record and waits for repair"
        case Liveness.FREE:
            return f"slot {host.slot} is free by now"
    return f"{who} is in use, or dead for less than {host.dead_time:g} s"


# ---- leases


@dataclass(frozen=True, slots=True)
class _Found:
    """What is worth keeping of a chunk of areas."""

    areas: Array  # those in use, or with a damaged header; the following four go with them
    headers: Array
    sound: Array  # whether the header is
    last_token: Array  # highest last_exclusive under the header's UUID
    certain: Array  # … at which it was certainly taken
    flags: Array  # own blocks with a raised flag
    damage: dict[int, list[str]]  # area -> texts


def lease_views(space: Lockspace, watch: float) -> list[LeaseInfo]:
    """See :meth:`Lockspace.leases`."""
    hosts = host_views(space, watch)
    leases: list[LeaseInfo] = []
    for area, blocks in area_chunks(space):
        found = _keep(space.geometry, area, blocks)
        flags: dict[int, list[_Flag]] = {}
        for own in found.flags:
            holder = _holder(own, hosts[int(own["slot"])])
            if holder is not None:
                flags.setdefault(int(own["area"]), []).append(_Flag(holder, bool(own["taken"])))
        for row, its_area in enumerate(found.areas):
            standing = _who_holds(flags.get(int(its_area), []), int(found.certain[row]))
            leases.append(_lease_view(found, row, standing))
    return sorted(leases, key=lambda lease: (lease.name, lease.area))


def _keep(geometry: _core.Geometry, first: int, blocks: Blocks) -> _Found:
    count = len(blocks.data) // geometry.area_blocks
    used = 1 + geometry.max_hosts
    grid = blocks.data.reshape(count, geometry.area_blocks, geometry.block_size)
    sound = blocks.sound.reshape(count, geometry.area_blocks)[:, :used]
    headers = grid[:, 0].view(block_dtype(Kind.HEADER, geometry.block_size))[:, 0]
    owns = grid[:, 1:used].view(block_dtype(Kind.OWN, geometry.block_size))[:, :, 0]
    areas = np.arange(first, first + count)

    in_use = headers["state"] == LeaseState.IN_USE
    wanted = ((in_use & sound[:, 0]) | ~sound[:, 0]) & (areas != _core.DIRECTORY_AREA)
    mine = sound[:, 1:] & (owns["lease"] == headers["lease"][:, None])
    last_token = np.where(mine, owns["last_exclusive"], 0).max(axis=1)
    certain = np.where(mine, owns["certainly_taken"], 0).max(axis=1)
    raised = sound[:, 1:] & (owns["hold"] != 0) & wanted[:, None]
    damage: dict[int, list[str]] = {}
    for row, column in np.argwhere(~sound & wanted[:, None]):
        what = "header" if column == 0 else f"own block of slot {column - 1}"
        damage.setdefault(int(areas[row]), []).append(f"{what}: {_worst(blocks, row, column, geometry)}")
    return _Found(
        areas[wanted], headers[wanted], sound[wanted, 0], last_token[wanted], certain[wanted], owns[raised], damage
    )


def _worst(blocks: Blocks, row: int, column: int, geometry: _core.Geometry) -> str:
    flaws = blocks.flaws[:, row * geometry.area_blocks + column]
    known = [int(flaw) for flaw in flaws if flaw not in (0, UNREAD)]
    return _core.FLAWS[known[0]] if known else "no majority of the disks answers"


def _holder(own: Any, host: HostInfo) -> Holder | None:
    """The holder that a raised flag stands for; None when its incarnation is certainly over."""
    generation = int(own["generation"])
    liveness = host.liveness
    if liveness is not Liveness.DAMAGED and liveness is not Liveness.CLAIMING:
        if host.generation > generation:
            return None
        if host.generation == generation and (liveness is Liveness.FREE or host.nonce != _uuid(own["nonce"])):
            return None
    same = host.generation == generation
    return Holder(
        slot=int(own["slot"]),
        generation=generation,
        host=host.name if same else "",
        label=_text(own, "label"),
        mode=MODE_NAMES.get(int(own["mode"]), "exclusive"),
        token=int(own["hold"]),
        since=int(own["held_since"]) / 1e9,
        liveness=liveness if same else Liveness.UNKNOWN,
    )


@dataclass(frozen=True, slots=True)
class _Flag:
    holder: Holder
    taken: bool  # certainly a holder's, no attempt's


def _who_holds(flags: list[_Flag], certain: int) -> list[Holder]:
    """Of several flags that exclude each other one is the holder's, or those of sharers are.

    The others are of hosts that were cut off and lost the lease, or of attempts that are about to give way.

    :param certain: highest token of a taking that is certain and was exclusive: who has a lower one lost the lease
        (docs/protocol.md, rule L12)
    """
    flags = [flag for flag in flags if flag.holder.token >= certain]
    if any(flag.holder.mode == "exclusive" for flag in flags) and len(flags) > 1:
        alive = [flag for flag in flags if flag.holder.liveness is not Liveness.DEAD] or flags
        taken = [flag.holder for flag in alive if flag.taken]
        # Who took it over the dead has the higher token; of attempts all give way to the flag that was there before.
        first = max(taken, key=_token) if taken else min((flag.holder for flag in alive), key=_token)
        flags = [flag for flag in flags if flag.holder is first or flag.holder.mode == first.mode == "shared"]
    return [flag.holder for flag in flags]


def _token(holder: Holder) -> int:
    return holder.token


def _lease_view(found: _Found, row: int, holders: list[Holder]) -> LeaseInfo:
    header, area = found.headers[row], int(found.areas[row])
    sound, damage = bool(found.sound[row]), tuple(found.damage.get(area, ()))
    if damage:
        state = "damaged"
    elif not holders:
        state = "free"
    else:
        state = "dead" if all(holder.liveness is Liveness.DEAD for holder in holders) else "held"
    return LeaseInfo(
        name=_text(header, "name") if sound else "",
        area=area,
        uuid=_uuid(header["lease"]) if sound else uuid.UUID(int=0),
        state=state,
        holders=tuple(holders),
        last_token=int(found.last_token[row]),
        created_at=int(header["created_at"]) / 1e9 if sound else 0.0,
        damage=damage,
    )


# ---- one block


def dump_block(space: Lockspace, *, block: int | None, slot: int | None, area: int | None, disk: int) -> dict[str, Any]:
    """See :meth:`Lockspace.dump`."""
    geometry, core = space.geometry, space._use()
    try:
        if block is not None:
            index = block
        elif area is not None:
            index = geometry.header_block(area) if slot is None else geometry.own_block(area, slot)
        else:
            index = 0 if slot is None else geometry.slot_block(slot)
        kind_number, its_slot, part, its_area = geometry.place(index)
        if not 0 <= index < geometry.total_blocks or not 0 <= disk < geometry.disks:
            raise IndexError(f"block {index} of {geometry.total_blocks}, disk {disk} of {geometry.disks}")
    except (IndexError, OverflowError) as error:
        raise InvalidArgumentError(f"no such block: {error}") from None
    view = aligned_view(geometry.block_size)
    with translated("read", paths=space.paths):
        core.read(disk, index, view, READ_TIMEOUT)
    data = bytes(view)
    flaw = geometry.check(data, disk, index)[0]
    shown: dict[str, Any] = {"block": index, "on_disk": disk, "place": "padding", "flaw": ""}
    if kind_number == 0:
        return shown
    kind = Kind(kind_number)
    shown["place"] = kind.name.lower()
    shown["flaw"] = _core.FLAWS[flaw] if flaw else ""
    if kind in (Kind.SLOT, Kind.NOTICE, Kind.OWN):
        shown["of_slot"] = its_slot
    if kind is Kind.NOTICE:
        shown["part"] = part
    if kind in (Kind.HEADER, Kind.OWN):
        shown["of_area"] = its_area
    return shown | _fields_of(data, kind)


def _fields_of(data: bytes, kind: Kind) -> dict[str, Any]:
    """Every field but the empty reserved ones; bytes as hexadecimal."""
    record = np.frombuffer(data, block_dtype(kind, len(data)))[0]
    shown: dict[str, Any] = {}
    for field in _core.fields():
        if field.kind not in (0, kind):
            continue
        value = record["block_kind" if field.name == "kind" else field.name]
        if field.type == "u":
            shown[field.name] = int(value) if value.ndim == 0 else [int(item) for item in value]
        elif field.type == "i":
            shown[field.name] = str(_uuid(value))
        elif field.type == "s":
            shown[field.name] = _text(record, field.name)
        elif "reserved" not in field.name or any(value.tobytes()):
            shown[field.name] = value.tobytes().hex()
    return shown


def _uuid(value: Any) -> uuid.UUID:
    return uuid.UUID(bytes=value.tobytes())


def _text(record: Any, name: str) -> str:
    raw: bytes = record[name]
    return raw[: int(record[name + "_length"])].decode("utf-8", "replace")
