"""Everything that diskpaxos raises on purpose.

::

    DiskPaxosError
    ├── InvalidArgumentError (ValueError)   a value that no call can work with
    │   ├── InvalidNameError                lease, lockspace or host name, label
    │   └── InvalidStateError               not a state string of a lease
    ├── LockspaceError                      a path is not usable as (part of) this lockspace
    │   ├── PathError (OSError's errno)     the operating system refused
    │   ├── NotFormattedError               no lockspace there
    │   ├── IncompatibleError               format version or feature bits of another release
    │   ├── DamagedError                    blocks that fail their checks
    │   ├── TruncatedError                  shorter than its superblock says
    │   ├── BlockSizeError                  the device needs larger blocks
    │   ├── NoDirectIOError                 O_DIRECT is not supported there
    │   ├── OtherLockspaceError             belongs to another lockspace than the first path
    │   ├── SameDiskError                   two paths lead to one disk
    │   ├── DiskCountError                  more or fewer disks than the lockspace has
    │   ├── OutdatedDiskError               replaced or restored, not rebuilt yet
    │   ├── NoMajorityError                 too few disks answer
    │   ├── ReadOnlyError                   opened for reading only
    │   ├── NotEmptyError                   something lies where a lockspace shall be created
    │   ├── InUseError                      a host uses what shall be overwritten
    │   ├── BeingFormattedError             another init or rebuild is at work there
    │   └── DeviceSizeError                 too small for the lockspace asked for
    ├── JoinError                           this host did not become a member
    │   ├── NoFreeSlotError                 every slot is taken: which waits for what
    │   ├── ClaimCollisionError             other hosts claimed at every attempt
    │   ├── NotDrainedError                 the slot is alive, or its last write may still come
    │   └── TimingError                     this host cannot keep the lockspace's timings
    ├── LeaseError                          about one lease
    │   ├── HeldError                       by another host: which, label, since when
    │   │   └── HeldByThisHostError         by another holder on this host
    │   ├── StaleStateError                 taken exclusively since the state was saved
    │   ├── LeaseNotFoundError
    │   ├── LeaseExistsError
    │   ├── LockspaceFullError              no room for another lease
    │   ├── UnfinishedChangeError           a dead host's create or delete may still land
    │   ├── TokensExhaustedError
    │   ├── LeaseLostError                  was held, is not any more
    │   └── LeaseReleasedError              was released by its holder
    ├── StorageError                        I/O failed or took too long
    ├── SystemRefusedError                  memory, threads, descriptors or asynchronous I/O have run out
    ├── WaitTimeoutError (TimeoutError)     the caller's time ran out
    ├── FinishedError                       this host's membership is over
    ├── LeasesHeldError                     leave: leases are still held
    ├── ForkedError                         used in a child of the process that joined
    └── ClosedError                         used after close or leave

Every error has three parts, joined by ``str()``: ``what`` happened and to which path, lease or
host; the ``effect``: what was and was not changed; and ``advice``: what to do next.  The typed
attributes carry the same facts for programs.  All of them can be pickled.
"""

from __future__ import annotations

import errno as _errno
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "BeingFormattedError",
    "BlockSizeError",
    "ClaimCollisionError",
    "ClosedError",
    "DamagedError",
    "DeviceSizeError",
    "DiskCountError",
    "DiskPaxosError",
    "FinishedError",
    "ForkedError",
    "HeldByThisHostError",
    "HeldError",
    "InUseError",
    "IncompatibleError",
    "InvalidArgumentError",
    "InvalidNameError",
    "InvalidStateError",
    "JoinError",
    "LeaseError",
    "LeaseExistsError",
    "LeaseLostError",
    "LeaseNotFoundError",
    "LeaseReleasedError",
    "LeasesHeldError",
    "LockspaceError",
    "LockspaceFullError",
    "NoDirectIOError",
    "NoFreeSlotError",
    "NoMajorityError",
    "NotDrainedError",
    "NotEmptyError",
    "NotFormattedError",
    "OtherLockspaceError",
    "OutdatedDiskError",
    "PathError",
    "ReadOnlyError",
    "SameDiskError",
    "StaleStateError",
    "StorageError",
    "SystemRefusedError",
    "TimingError",
    "TokensExhaustedError",
    "TruncatedError",
    "UnfinishedChangeError",
    "WaitTimeoutError",
]

_NOTHING = "nothing was changed"


def _wall(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):  # the clock of a stranger
        return f"{seconds:.0f} s after 1970"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _place(path: str, disk: int) -> str:
    """Where something failed: a path says it to people, the index is only better than nothing."""
    return path or (f"disk {disk}" if disk >= 0 else "")


def _errno_text(number: int) -> str:
    if number == 0:
        return "unknown error"
    return f"{os.strerror(number)} ({_errno.errorcode.get(number, number)})"


class DiskPaxosError(Exception):
    """Base of all errors of this package.

    ``what``, ``effect`` and ``advice`` are sentences without a full stop; the last two may be empty.
    """

    def __init__(self, what: str, effect: str = "", advice: str = "") -> None:
        super().__init__("; ".join(part for part in (what, effect, advice) if part))
        self.what = what
        self.effect = effect
        self.advice = advice

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[DiskPaxosError], args: tuple[Any, ...], attributes: Mapping[str, Any]) -> DiskPaxosError:
    """Unpickle: the constructors take facts, not the finished text, so they are not called again."""
    error: DiskPaxosError = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


# ---- arguments


class InvalidArgumentError(DiskPaxosError, ValueError):
    """A value that no call can work with."""


class InvalidNameError(InvalidArgumentError):
    """``name``: what was given; ``kind``: "lease", "lockspace", "host" or "label"."""

    def __init__(self, name: str, kind: str, reason: str) -> None:
        super().__init__(f"{name!r} is not a valid {kind} name: {reason}", _NOTHING)
        self.name = name
        self.kind = kind
        self.reason = reason


class InvalidStateError(InvalidArgumentError):
    """``state``: what was given."""

    def __init__(self, state: str) -> None:
        super().__init__(f"{state!r} is not a state of a lease", _NOTHING, "pass what Lease.state returned, unaltered")
        self.state = state


# ---- lockspaces


class LockspaceError(DiskPaxosError):
    """``path``: the file or device concerned ("" when none in particular)."""

    def __init__(self, path: str, what: str, effect: str = _NOTHING, advice: str = "") -> None:
        super().__init__(what, effect, advice)
        self.path = path


class PathError(LockspaceError):
    """The operating system refused ``path``; ``errno`` says why."""

    def __init__(self, path: str, number: int, action: str = "open") -> None:
        advice = {
            _errno.ENOENT: "check the path; `diskpaxos init` creates a lockspace",
            _errno.EACCES: "check the permissions of the file or device, and of the directories above it",
            _errno.EPERM: "check the permissions of the file or device",
            _errno.EROFS: "mount the file system read-write, or open the lockspace for reading only",
            _errno.EISDIR: "give a regular file or a block device",
            _errno.ENODEV: "give a regular file or a block device",
            _errno.ENOSPC: "free some space, or ask for fewer leases or hosts",
            _errno.ETIMEDOUT: "the storage does not answer: check the device, path or mount; until it does, the kernel "
            "may not let this process end",
        }.get(number, "")
        super().__init__(path, f"cannot {action} {path}: {_errno_text(number)}", advice=advice)
        self.errno = number
        self.action = action


class NotFormattedError(LockspaceError):
    """No lockspace at ``path``."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            f"{path} is not a diskpaxos lockspace",
            advice=f"check the path, or run `diskpaxos init {path}`",
        )


class IncompatibleError(LockspaceError):
    """Written by another release: ``version`` of the format (0: it is known), ``features``: unknown
    incompatible feature bits (0: none)."""

    def __init__(self, path: str, version: int = 0, features: int = 0) -> None:
        reason = (
            f"has the incompatible features {features:#x}, unknown to this release"
            if features
            else "has a format version that this release does not know" + (f" ({version})" if version else "")
        )
        advice = "use the release of diskpaxos that formatted it"
        if not features and 0 < version < 2:
            # Version 1 never left development: nothing of it is worth converting.
            advice = (
                "end every host that uses it, then format it anew with `diskpaxos init --force`; "
                "leases are created again as they are taken"
            )
        super().__init__(path, f"{path} {reason}", advice=advice)
        self.version = version
        self.features = features


class DamagedError(LockspaceError):
    """Blocks that fail their checks.

    ``flaw``: what is wrong; ``path``, ``disk`` (its index) and ``block``: where (-1: not known, or on several
    disks); ``lease``: whose blocks, or "".
    """

    def __init__(
        self, path: str, flaw: str, disk: int = -1, block: int = -1, lease: str = "", superblock: bool = False
    ) -> None:
        where = f"block {block}" if block >= 0 else "a block"
        if superblock:
            where = "the superblock"
        about = f" (lease {lease!r})" if lease else ""
        advice = "`diskpaxos check` lists all damage, `diskpaxos repair` mends what can be mended"
        if superblock:
            advice = "`diskpaxos rebuild` can restore the superblock while no host is joined"
        super().__init__(path, f"{where} of {_place(path, disk)} is damaged{about}: {flaw}", advice=advice)
        self.flaw = flaw
        self.disk = disk
        self.block = block
        self.lease = lease


class TruncatedError(LockspaceError):
    """``wanted``: bytes that the lockspace takes; ``size``: bytes there are (-1: not known)."""

    def __init__(self, path: str, wanted: int, size: int = -1) -> None:
        have = f"has {size:,} bytes" if size >= 0 else "is shorter"
        super().__init__(
            path,
            f"{path} is truncated: its superblock says {wanted:,} bytes, it {have}",
            advice="restore it to its size; `diskpaxos check` then shows what is lost",
        )
        self.wanted = wanted
        self.size = size


class BlockSizeError(LockspaceError):
    """``block_size``: of the lockspace (0: not known); ``logical``: the device's logical block, bytes."""

    def __init__(self, path: str, logical: int, block_size: int = 0) -> None:
        have = f"blocks of {block_size} bytes" if block_size else "smaller blocks"
        super().__init__(
            path,
            f"{path} has logical blocks of {logical} bytes, the lockspace {have}",
            advice=f"create the lockspace with a block size of {max(logical, 4096)}",
        )
        self.logical = logical
        self.block_size = block_size


class NoDirectIOError(LockspaceError):
    """O_DIRECT is not supported at ``path``."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            f"{path} does not support direct I/O (O_DIRECT)",
            advice="use a block device, or a file on a file system that has it (ext4, xfs, NFS)",
        )


class OtherLockspaceError(LockspaceError):
    """``path`` belongs to another lockspace than the first path."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            f"{path} belongs to another lockspace than the other paths",
            advice="give the disks of one lockspace",
        )


class SameDiskError(LockspaceError):
    """Two paths lead to one disk."""

    def __init__(self, path: str) -> None:
        super().__init__(path, f"{path} is the same disk as another of the paths", advice="give each disk once")


class DiskCountError(LockspaceError):
    """``given``: number of paths; ``wanted``: number of disks that the lockspace has."""

    def __init__(self, path: str, given: int, wanted: int) -> None:
        super().__init__(
            path,
            f"{given} path(s) given, the lockspace at {path} has {wanted} disk(s)",
            advice="give every disk of the lockspace once",
        )
        self.given = given
        self.wanted = wanted


class OutdatedDiskError(LockspaceError):
    """Replaced or restored, and not rebuilt yet."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            f"{path} is an outdated copy: another disk says that it was replaced",
            advice=f"run `diskpaxos rebuild` to fill {path} from the others",
        )


class NoMajorityError(LockspaceError):
    """Too few disks answer; ``path`` and ``errno``: the last one that did not, and why (0: not known)."""

    def __init__(self, path: str, number: int = 0) -> None:
        why = f": {_errno_text(number)}" if number else ""
        super().__init__(
            path,
            f"too few disks of the lockspace answer; last {path or 'one'}{why}",
            advice="bring the missing disks back: a majority is needed",
        )
        self.errno = number


class ReadOnlyError(LockspaceError):
    """The lockspace was opened for reading only, or ``path`` is read-only."""

    def __init__(self, path: str) -> None:
        super().__init__(path, f"{path} is open for reading only", advice="open it without read_only")


class NotEmptyError(LockspaceError):
    """``content``: what seems to lie there."""

    def __init__(self, path: str, content: str) -> None:
        super().__init__(
            path,
            f"{path} is not empty: {content}",
            advice="if that can go, create the lockspace with force (`diskpaxos init --force`)",
        )
        self.content = content


class InUseError(LockspaceError):
    """``users``: one text per slot that is, or may be, in use; ``moving``: one was seen alive."""

    def __init__(self, path: str, users: tuple[str, ...], moving: bool) -> None:
        if moving:
            what = f"{path} is in use: {', '.join(users)} wrote a heartbeat while watched"
            advice = "stop diskpaxos on that host first; no force overrides a living host"
        else:
            what = f"{path} is a lockspace with hosts that did not leave: {', '.join(users)}"
            advice = "if they are gone for good, use force: it watches them and proceeds only if they stay silent"
        super().__init__(path, what, advice=advice)
        self.users = users
        self.moving = moving


class BeingFormattedError(LockspaceError):
    """``host``, ``pid``: who formats it, or did meanwhile; "" and 0 when not known; ``late``: found out only when
    the own superblock was there."""

    def __init__(self, path: str, host: str = "", pid: int = 0, late: bool = False) -> None:
        who = f"process {pid} on host {host!r}" if pid else "another process"
        effect, advice = "this one gave way", "`diskpaxos info` shows what is there then"
        if late:
            effect = "this one was held up for so long that it may have overwritten the other's superblock"
            advice = "`diskpaxos info` shows whether one is there; if not, `diskpaxos rebuild --superblocks`"
        super().__init__(path, f"{path} is being formatted by {who}, or was meanwhile", effect, advice)
        self.host = host
        self.pid = pid
        self.late = late


class DeviceSizeError(LockspaceError):
    """``size``: bytes there are; ``wanted``: bytes that the lockspace asked for takes."""

    def __init__(self, path: str, size: int, wanted: int) -> None:
        super().__init__(
            path,
            f"{path} has {size:,} bytes, the lockspace asked for takes {wanted:,}",
            advice="ask for fewer leases or hosts, or give a larger device",
        )
        self.size = size
        self.wanted = wanted


# ---- joining


class JoinError(DiskPaxosError):
    """This host did not become a member of the lockspace."""


class NoFreeSlotError(JoinError):
    """``waiting``: one text per slot, saying what it waits for.

    Every process that joins takes a slot, also one that only waits for a lease.
    """

    def __init__(self, path: str, waiting: tuple[str, ...]) -> None:
        shown = ", ".join(waiting[:8]) + (f", and {len(waiting) - 8} more" if len(waiting) > 8 else "")
        super().__init__(
            f"all {len(waiting)} host slots of {path} are taken: {shown}",
            _NOTHING,
            "let some of these processes end (one that only waits for a lease has a slot, too), wait for dead hosts "
            "to be drained, retire those that are gone for good (`diskpaxos hosts retire N`), or create the lockspace "
            "with more hosts",
        )
        self.path = path
        self.waiting = waiting


class ClaimCollisionError(JoinError):
    """Other hosts claimed the same slots at every attempt."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"every attempt to claim a host slot of {path} met another host's",
            "no slot was taken",
            "try again",
        )
        self.path = path


class NotDrainedError(JoinError):
    """Slot ``slot`` is alive, or dead while its last write may still come."""

    def __init__(self, path: str, slot: int) -> None:
        super().__init__(
            f"slot {slot} of {path} is in use, or its last write may still be on its way",
            _NOTHING,
            f"when its machine is off or gone, say so with `diskpaxos hosts retire {slot}`",
        )
        self.path = path
        self.slot = slot


class TimingError(JoinError):
    """This host cannot keep the timings of the lockspace: three I/Os in a row must fit into T_claim.

    ``path``: of the disk that was too slow ("" when none in particular); ``attempts``: claims that came to nothing
    for it, each of which may keep a slot busy until that is drained; ``claim_time``: T_claim in seconds (0.0: not
    known); ``took``: seconds for reading the slots, reading the notices, and writing the claim (0.0: it was not begun,
    or has not returned); ``needed``: a T_claim that would do for that, seconds, 0.0 when it is not the storage's fault.
    """

    def __init__(
        self,
        path: str,
        reason: str = "",
        attempts: int = 0,
        claim_time: float = 0.0,
        took: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        where = f" of {path}" if path else ""
        effect = "no slot was taken"
        if attempts:
            effect += f"; {attempts} attempt(s) may each keep a slot busy until it is drained"
        needed = claim_time_for(took)
        if claim_time and needed > claim_time:
            steps = zip(("reading the slots", "reading the notices", "writing the claim"), took, strict=True)
            told = ", ".join(f"{step} {_short(seconds)}" for step, seconds in steps if seconds)
            reason = f"joining needs three I/Os in a row within T_claim, {_short(claim_time)}; they took: {told}"
            advice = (
                f"`diskpaxos init --claim-time {_short(needed).replace(' ', '')}` makes a lockspace for such storage "
                f"(S of at least {_short(4 * needed)}); or make the storage faster: `diskpaxos bench` measures it"
            )
        else:
            needed = 0.0
            advice = "check the load of the host and the latency of the storage; `init --claim-time` sets T_claim"
        super().__init__(
            f"this host cannot keep the timings{where}" + (f": {reason}" if reason else ""), effect, advice
        )
        self.path = path
        self.attempts = attempts
        self.claim_time = claim_time
        self.took = took
        self.needed = needed


def claim_time_for(took: tuple[float, float, float]) -> float:
    """T_claim in seconds for storage that takes so long for reading slots and notices and for writing a claim.

    Twice the sum, in tenths of a second.  What is not known (0.0) takes as long as the slowest of the others."""
    total = sum(seconds or max(took) for seconds in took)
    return math.ceil(round(20 * total, 3)) / 10


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f}".removesuffix(".0") + " s"


# ---- leases


class LeaseError(DiskPaxosError):
    """``lease``: the name of the lease concerned."""

    def __init__(self, lease: str, what: str, effect: str = _NOTHING, advice: str = "") -> None:
        super().__init__(what, effect, advice)
        self.lease = lease


class HeldError(LeaseError):
    """Another host holds ``lease``.

    ``host``: its name, "" when unknown; ``slot``: its slot; ``label``: what it said about the
    holder; ``mode``: "exclusive" or "shared"; ``since``: wall clock of the holder, seconds since 1970, 0.0
    unknown; ``token``: of its flag; ``lowering``: an attempt of this host is still being withdrawn.

    What is known of that host's life, all times in seconds:

    - ``alive``: True: a heartbeat of it was seen to come in the last S / 4; False: it is dead, and the lease about
      to be free; None: neither: it is silent, or has not been watched for long enough
    - ``silent_for``: how long it has been watched since it was last seen to move; None: not watched yet
    - ``free_in``: after so long the lease is free, if that host gives no sign of life from now on (who began to watch
      later needs longer, at most T_dead + S / 8); None: not known, or not a matter of its death
    """

    def __init__(
        self,
        lease: str,
        *,
        host: str = "",
        slot: int = -1,
        label: str = "",
        mode: str = "exclusive",
        since: float = 0.0,
        token: int = 0,
        lowering: bool = False,
        alive: bool | None = None,
        silent_for: float | None = None,
        free_in: float | None = None,
        what: str = "",
        advice: str = "",
    ) -> None:
        holder = f"host {host!r} (slot {slot})" if host else f"the host of slot {slot}, whose name is not known yet"
        text = what or f"lease {lease!r} is held by {holder}, {mode}"
        if label:
            text += f", for {label!r}"
        if since:
            text += f", since {_wall(since)}"
        effect = "nothing was taken"
        if lowering:
            effect += "; the attempt is still being withdrawn in the background"
        super().__init__(lease, text, effect, advice or _held_advice(alive, silent_for, free_in))
        self.host = host
        self.slot = slot
        self.label = label
        self.mode = mode
        self.since = since
        self.token = token
        self.lowering = lowering
        self.alive = alive
        self.silent_for = silent_for
        self.free_in = free_in


def _held_advice(alive: bool | None, silent_for: float | None, free_in: float | None) -> str:
    if alive is False:
        return "its host is dead: try again, with a timeout"
    if alive or free_in is None:
        return "give a timeout to wait until it lets go, or end its holder"
    silent = "" if silent_for is None else f"no heartbeat of its host was seen in {_span(silent_for)} of watching; "
    return f"{silent}if it has died, the lease is free in about {_span(free_in)}: give a timeout of that"


class HeldByThisHostError(HeldError):
    """Another holder on this very host holds ``lease``; it lives as long as this process (``alive``)."""

    def __init__(self, lease: str, *, label: str = "", mode: str = "exclusive") -> None:
        super().__init__(
            lease,
            label=label,
            mode=mode,
            alive=True,
            what=f"lease {lease!r} is held by another holder on this host, {mode}",
        )


class StaleStateError(LeaseError):
    """The lease was taken exclusively, or deleted, since ``state`` was saved."""

    def __init__(self, lease: str, state: str = "") -> None:
        super().__init__(
            lease,
            f"lease {lease!r} was taken by somebody else since the state to resume was saved",
            "nothing was taken",
            "do not go on from the saved state; start anew, without it",
        )
        self.state = state


class LeaseNotFoundError(LeaseError):
    """No lease of this name."""

    def __init__(self, lease: str) -> None:
        super().__init__(lease, f"there is no lease {lease!r}", advice="check the name, or acquire with create=True")


class LeaseExistsError(LeaseError):
    """A lease of this name is there already."""

    def __init__(self, lease: str) -> None:
        super().__init__(lease, f"there is a lease {lease!r} already")


class LockspaceFullError(LeaseError):
    """No room for another lease."""

    def __init__(self, lease: str) -> None:
        super().__init__(
            lease,
            f"no room for a new lease {lease!r}",
            "nothing was created",
            "delete leases that are not needed, or create a lockspace with more",
        )


class UnfinishedChangeError(LeaseError):
    """Host ``host`` in ``slot`` died while it created or deleted a lease; its write may still come."""

    def __init__(self, lease: str, host: str = "", slot: int = -1) -> None:
        super().__init__(
            lease,
            f"host {host or 'unknown'!r} (slot {slot}) died while it created or deleted a lease, "
            f"and its last write may still come where lease {lease!r} belongs",
            _NOTHING,
            f"try again once that slot is drained; `diskpaxos hosts retire {slot}` if its machine is off",
        )
        self.host = host
        self.slot = slot


class TokensExhaustedError(LeaseError):
    """The ballots of the lease are used up."""

    def __init__(self, lease: str) -> None:
        super().__init__(
            lease, f"the tokens of lease {lease!r} are used up", advice="delete the lease and create it again"
        )


class LeaseLostError(LeaseError):
    """``reason``: why the lease is not held any more."""

    def __init__(self, lease: str, reason: str) -> None:
        super().__init__(
            lease,
            f"lease {lease!r} is lost: {reason}",
            "others may hold it by now",
            "stop using what it protects at once; acquire it again before going on",
        )
        self.reason = reason


class LeaseReleasedError(LeaseError):
    """The lease was released by its holder."""

    def __init__(self, lease: str) -> None:
        super().__init__(lease, f"lease {lease!r} was released")


# ---- running


class StorageError(DiskPaxosError):
    """I/O failed, or took longer than the limit of S / 4.

    ``errno``: 0 when not known; ``disk``: index of the one that failed, -1 when none in particular; ``path``: of it,
    "" when not known; ``lowering``: the own attempt is still being withdrawn in the background.
    """

    def __init__(
        self,
        action: str,
        number: int = 0,
        disk: int = -1,
        path: str = "",
        lowering: bool = False,
        effect: str = "",
    ) -> None:
        place = _place(path, disk)
        where = f" on {place}" if place else ""
        if lowering:
            effect = (effect + "; " if effect else "") + "the attempt is still being withdrawn in the background"
        super().__init__(
            f"{action} failed{where}: {_errno_text(number)}", effect, "check the storage and the path to it"
        )
        self.action = action
        self.errno = number
        self.disk = disk
        self.path = path
        self.lowering = lowering


#: What the system says when something has run out that is no matter of a path.
RESOURCES = frozenset({_errno.ENOMEM, _errno.EAGAIN, _errno.EMFILE, _errno.ENFILE})


class SystemRefusedError(DiskPaxosError):
    """Memory, threads, descriptors or asynchronous I/O have run out; ``errno`` says what, ``action`` for what."""

    def __init__(self, action: str, number: int, effect: str = _NOTHING) -> None:
        advice = {
            _errno.ENOMEM: "more memory, or higher limits of address space and locked memory (`ulimit -v`, `-l`)",
            _errno.EAGAIN: "more threads (`ulimit -u`, pids.max of the cgroup) or memory for their stacks (`-v`); "
            "if fs.aio-nr is near fs.aio-max-nr, raise that limit: sysctl -w fs.aio-max-nr=1048576",
            _errno.EMFILE: "more open files for this process (`ulimit -n`)",
            _errno.ENFILE: "more open files for this machine (sysctl fs.file-max)",
        }.get(number, "")
        super().__init__(f"the system refused what it takes to {action}: {_errno_text(number)}", effect, advice)
        self.action = action
        self.errno = number


class WaitTimeoutError(DiskPaxosError, TimeoutError):
    """The caller's time ran out before an answer; ``action``: what was waited for."""

    def __init__(self, action: str, effect: str = "", advice: str = "") -> None:
        super().__init__(f"time ran out: {action}", effect, advice)
        self.action = action


class FinishedError(DiskPaxosError):
    """This host's membership is over, for good; ``reason``: why."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(
            f"the membership of host {host!r} is over: {reason}",
            "it holds no lease any more",
            "stop what its leases protected, then join again",
        )
        self.host = host
        self.reason = reason


class LeasesHeldError(DiskPaxosError):
    """``leases``: names of the leases that this host still holds; empty when it is not a lease but
    a call of another thread that is still under way."""

    def __init__(self, host: str, leases: tuple[str, ...]) -> None:
        if leases:
            shown = ", ".join(map(repr, leases[:8])) + (f" and {len(leases) - 8} more" if len(leases) > 8 else "")
            what, advice = f"host {host!r} still holds {shown}", "release them, then leave"
        else:
            what, advice = f"another thread is inside a call of host {host!r}", "let it end, then leave"
        super().__init__(what, "it stays joined", advice)
        self.host = host
        self.leases = leases


class ForkedError(DiskPaxosError):
    """Used in a child of the process that opened or joined: the threads did not come along."""

    def __init__(self, thing: str) -> None:
        super().__init__(
            f"{thing} was made by the parent of this forked process",
            "the parent's leases are not touched",
            "open and join in the child, after the fork",
        )
        self.thing = thing


class ClosedError(DiskPaxosError):
    """Used after close or leave."""

    def __init__(self, thing: str, effect: str = _NOTHING) -> None:
        super().__init__(f"{thing} is closed", effect)
        self.thing = thing
