"""What can be seen of a lockspace: plain values, no I/O.  Times are seconds; wall-clock times are
seconds since 1970, 0.0 when unknown."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum

from diskpaxos.arguments import Mode


class Liveness(StrEnum):
    """What is known about the host in a slot, to whoever looked."""

    FREE = "free"  #: nobody owns the slot
    CLAIMING = "claiming"  #: somebody is about to take it
    ALIVE = "alive"  #: a heartbeat was seen while watching, or it is this very host
    SILENT = "silent"  #: no heartbeat while watching, not yet for T_dead
    DEAD = "dead"  #: no heartbeat for T_dead, or a death notice says so
    UNKNOWN = "unknown"  #: not watched
    DAMAGED = "damaged"  #: no sound record on a majority of the disks


class Drain(StrEnum):
    """Whether writes of a dead host may still come."""

    PENDING = "pending"  #: they may: its slot cannot be used again yet
    FENCED = "fenced"  #: its machine was fenced, or the slot retired by an administrator
    REBOOTED = "rebooted"  #: its machine joined again after a reboot
    EXITED = "exited"  #: its process on this machine is gone
    NONE = ""  #: not dead, or not known


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """One disk of the lockspace as this process sees it."""

    path: str
    index: int  #: -1: its superblock was not read yet
    online: bool
    trouble: str  #: why it is not online, "" when it is
    network: bool  #: on NFS
    block_device: bool
    generation: int  #: raised by rebuild


@dataclass(frozen=True, slots=True)
class LockspaceInfo:
    """What the superblock says, and the disks."""

    name: str
    uuid: uuid.UUID
    format_version: int
    features_compatible: int
    features_incompatible: int
    block_size: int  #: bytes
    max_hosts: int
    max_leases: int  #: the directory, lease 0, included
    size: int  #: bytes on each disk
    outage_tolerance: float  #: S
    kill_grace: float  #: K
    watchdog_timeout: float  #: W
    claim_time: float  #: T_claim
    dead_time: float  #: T_dead: after this long without a heartbeat a host's leases may be taken
    heartbeat: float  #: seconds between heartbeats, S / 8
    created_at: float
    disks: tuple[DiskInfo, ...]


@dataclass(frozen=True, slots=True)
class HostInfo:
    """One host slot."""

    slot: int
    liveness: Liveness
    drain: Drain
    generation: int
    name: str  #: the label that the host gave itself
    machine: uuid.UUID
    boot: uuid.UUID
    nonce: uuid.UUID
    pid: int
    counter: int  #: heartbeats of this incarnation
    last_heartbeat: float  #: wall clock of the host that wrote it
    joined_at: float
    dead_time: float  #: T_dead by its own timings
    silent_for: float  #: seconds without a heartbeat as watched; 0.0 when not watched
    notices: int  #: death notices that it carries about others
    software: str  #: version of diskpaxos
    this_host: bool  #: joined by this very Lockspace object


@dataclass(frozen=True, slots=True)
class Holder:
    """A flag raised in a lease's area: its holder, or an attempt about to be decided.  Of flags that exclude each other
    one is told: not that of a host that was cut off, and whose lease another one took."""

    slot: int
    generation: int
    host: str  #: name of the host, "" when its record is unreadable
    label: str
    mode: Mode
    token: int
    since: float  #: wall clock of the holder
    liveness: Liveness  #: of the host, as hosts() would say


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """One named lease."""

    name: str
    area: int
    uuid: uuid.UUID
    state: str  #: "free", "held", "dead" (every holder's host is dead) or "damaged"
    holders: tuple[Holder, ...]
    last_token: int  #: highest token that an exclusive holder has had, 0 when none
    created_at: float
    damage: tuple[str, ...]  #: blocks of its area that fail their checks on a majority of the disks
