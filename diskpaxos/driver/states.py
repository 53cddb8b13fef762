"""State strings: what a paused or migrating VM remembers of its leases.

::

    diskpaxos/1;vm=HEX;ls=HEX;KEY=LEASE:TOKEN;…;sum=HEX

``vm``: the VM's UUID; ``ls``: that of the lockspace; one entry per resource: KEY, the first 16
hexadecimal digits of the SHA-256 of the lease's name; LEASE, the UUID of that lease, new at
each creation; TOKEN, the fencing token it was held under; ``sum``: CRC-32 of all before it, for
a state that lost its end would protect less than it seems to.

VM managers put states into XML and cookies without quoting, so their alphabet is
``[A-Za-z0-9:;=,._/+-]``; paths of disks never occur in them.
"""

from __future__ import annotations

import hashlib
import re
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from diskpaxos.driver.errors import UnusableStateError
from diskpaxos.lease import SavedState

VERSION = 1
ALPHABET = re.compile(r"[A-Za-z0-9:;=,._/+-]*", re.ASCII)

_HEAD = re.compile(r"([a-z-]+)/([0-9]+);", re.ASCII)
_STATE = re.compile(
    r"diskpaxos/1;vm=(?P<vm>[0-9a-f]{32});ls=(?P<ls>[0-9a-f]{32});"
    r"(?P<entries>(?:[0-9a-f]{16}=[0-9a-f]{32}:[0-9]{1,20};)*)sum=(?P<sum>[0-9a-f]{8})",
    re.ASCII,
)
_ENTRY = re.compile(r"([0-9a-f]{16})=([0-9a-f]{32}):([0-9]{1,20});", re.ASCII)


def key_of(lease: str) -> str:
    """The key of a lease's name in a state."""
    return hashlib.sha256(lease.encode("utf-8")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class State:
    """A state, taken apart; ``leases``: by :func:`key_of`."""

    vm: uuid.UUID
    lockspace: uuid.UUID
    leases: Mapping[str, SavedState]

    def __str__(self) -> str:
        entries = "".join(f"{key}={saved.lease.hex}:{saved.token};" for key, saved in sorted(self.leases.items()))
        text = f"diskpaxos/{VERSION};vm={self.vm.hex};ls={self.lockspace.hex};{entries}"
        return f"{text}sum={_sum(text)}"

    @classmethod
    def parse(cls, text: str) -> State:
        """:raises UnusableStateError: not a state of this driver and version, or damaged"""
        if not isinstance(text, str):
            raise UnusableStateError(repr(text), "it is not text")
        match = _STATE.fullmatch(text)
        if match is None:
            raise UnusableStateError(text, _why_not(text))
        if match["sum"] != _sum(text[: match.start("sum") - len("sum=")]):
            raise UnusableStateError(text, "it is damaged: its sum does not match")
        leases: dict[str, SavedState] = {}
        for key, lease, token in _ENTRY.findall(match["entries"]):
            if key in leases or int(token) >= 1 << 64:
                raise UnusableStateError(text, "it is damaged: an entry is impossible")
            leases[key] = SavedState(uuid.UUID(hex=lease), int(token))
        return cls(uuid.UUID(hex=match["vm"]), uuid.UUID(hex=match["ls"]), leases)


def _sum(text: str) -> str:
    return f"{zlib.crc32(text.encode('ascii')):08x}"


def _why_not(text: str) -> str:
    head = _HEAD.match(text)
    if head is None:
        return "it was not made by this driver; is another one configured at the other host?"
    if head[1] != "diskpaxos":
        return f"it was made by the driver {head[1]!r}"
    if head[2] != str(VERSION):
        return f"it has version {head[2]}, this release knows version {VERSION}"
    return "it is damaged"
