"""Single blocks field by field, without numpy and without knowing the lockspace: what `init` and
the rebuilding of superblocks need.  Offsets come from the core's table, the one definition."""

from __future__ import annotations

from enum import IntEnum
from functools import cache

from diskpaxos import _core

#: Byte at which the slot records begin, whatever the shape of the lockspace.
SLOTS_OFFSET = 4096
#: Smallest block; every field of every kind lies within it, save the rest of the notices.
SECTOR = 512


class Kind(IntEnum):
    """Kinds of blocks, as the common header numbers them."""

    SUPERBLOCK = 1
    SLOT = 2
    NOTICE = 3
    HEADER = 4
    OWN = 5
    GROUP = 6


class SlotState(IntEnum):
    """States of a slot record."""

    FREE = 0
    CLAIMING = 1
    ACTIVE = 2


class LeaseState(IntEnum):
    """States of a lease header."""

    FREE = 0
    IN_USE = 1
    TOMBSTONE = 2


@cache
def table(kind: Kind) -> dict[str, _core.Field]:
    """Fields of a block of this kind by name, those of the common header first."""
    return {field.name: field for field in _core.fields() if field.kind in (0, kind)}


def number(block: bytes | memoryview, kind: Kind, name: str, position: int = 0) -> int:
    """An unsigned integer field; ``position``: which element of an array."""
    field = table(kind)[name]
    start = field.offset + position * field.size
    return int.from_bytes(block[start : start + field.size], "little")


def raw(block: bytes | memoryview, kind: Kind, name: str) -> bytes:
    """A field of bytes, a UUID or a text, as it lies there."""
    field = table(kind)[name]
    return bytes(block[field.offset : field.offset + field.size * field.elements])


def text(block: bytes | memoryview, kind: Kind, name: str) -> str:
    """A text field, cut to its length."""
    return raw(block, kind, name)[: number(block, kind, name + "_length")].decode("utf-8", "replace")


def geometry_from(block: bytes | memoryview, kind: Kind) -> _core.Geometry | None:
    """The shape that a slot record or lease header repeats; None when it makes no sense.

    The block's own checksum is not looked at: with the shape it can be.  The name of the lockspace
    is in slot records only, and in those only that were claimed once.
    """
    if bytes(block[: len(_core.MAGIC)]) != _core.MAGIC or number(block, kind, "kind") != kind:
        return None
    disks = number(block, kind, "disks")
    named = kind is Kind.SLOT and number(block, kind, "space_name_length") > 0
    try:
        return _core.Geometry(
            uuid=raw(block, kind, "lockspace"),
            name=text(block, kind, "space_name").encode("utf-8") if named else b"",
            block_size=number(block, kind, "block_size"),
            max_hosts=number(block, kind, "max_hosts"),
            max_leases=number(block, kind, "max_leases"),
            disks=disks,
            disk_generations=[number(block, kind, "disk_generation", i) for i in range(min(disks, 5))],
            outage_tolerance=number(block, kind, "outage_tolerance"),
            kill_grace=number(block, kind, "kill_grace"),
            watchdog_timeout=number(block, kind, "watchdog_timeout"),
            claim_time=number(block, kind, "claim_time"),
            created_at=0,
        )
    except ValueError:
        return None
