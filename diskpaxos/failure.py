"""From the native core's failures to typed errors: the one place that knows both."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from diskpaxos import _core
from diskpaxos import errors as e
from diskpaxos.arguments import MODE_NAMES

#: Why a lease can be lost while its host lives on.
TAKEN = "another host took it, or it was deleted"
#: … and why all of a host are that were not released before it was closed.
CLOSED = "the host was closed without releasing it"


def error_from(
    failure: _core.CoreError,
    action: str,
    *,
    leases: Sequence[str] = (),
    paths: Sequence[str] = (),
    host: str = "",
    given: int = 0,
) -> e.DiskPaxosError:
    """The typed error for ``failure``.

    :param action: what was being done, as in "acquire" or "open"; it goes into messages
    :param leases: names of the leases of the call, in the core's order
    :param paths: of the lockspace
    :param host: name of the host that called
    :param given: number of paths or the slot that the caller gave, where that matters
    """
    # Which of several disks it was, the core says; where it does not know, none is named.
    path = failure.path or (paths[0] if len(paths) == 1 or (failure.disk < 0 and paths) else "")
    lease = leases[failure.item] if failure.item < len(leases) else ""
    status = failure.status
    what = f"{action} {lease!r}" if lease else action
    if status == "system" and failure.errno in e.RESOURCES:
        return e.SystemRefusedError(what, failure.errno, "" if action == "release" else "nothing was changed")
    if status in _OPENING:
        return _opening(failure, action, path, given)
    if status in _JOINING:
        return _joining(failure, path, given)
    if status in _LEASES:
        return _about_lease(failure, path, lease)
    if status == "storage":
        effect = _EFFECTS.get(action, "")
        return e.StorageError(
            what, failure.errno, failure.disk, path if failure.disk >= 0 else "", failure.lowering, effect
        )
    if status == "finished":
        return e.FinishedError(host, _core.end_text(failure.end))
    if status == "timeout":
        return e.WaitTimeoutError(what, _EFFECTS.get(action, ""), "try again, or wait longer")
    if status == "busy":
        return e.LeasesHeldError(host, tuple(leases))
    if status == "forked":
        return e.ForkedError(f"host {host!r}")
    if status == "closed":
        return e.ClosedError(f"host {host!r}" if host else f"lockspace {path}")
    return e.InvalidArgumentError(f"{what}: {failure.text}")


#: What an action that ended for want of an answer has, and has not, changed.
_EFFECTS = {
    "acquire": "nothing was taken",
    "join": "this host is not a member; a slot that it tried may stay busy until it is drained",
    "release": "the lease is given up here; others get it once that is written, at the latest when this host is dead",
    "create": "the lease may or may not be there: look, or create it again",
    "delete": "the lease may or may not be gone: look, or delete it again",
    "leave": "the host stays joined",
}

_OPENING = {
    "system",
    "not_lockspace",
    "version",
    "feature",
    "superblock",
    "truncated",
    "block_size",
    "no_direct_io",
    "other_lockspace",
    "same_disk",
    "disk_count",
    "outdated_disk",
    "no_majority",
    "read_only",
}
_JOINING = {"no_slot", "collided", "not_drained", "timing"}
_LEASES = {
    "held",
    "held_here",
    "stale",
    "not_found",
    "exists",
    "full",
    "undrained",
    "damaged",
    "lost",
    "ceiling",
}


def _opening(failure: _core.CoreError, action: str, path: str, given: int) -> e.DiskPaxosError:
    match failure.status:
        case "not_lockspace":
            return e.NotFormattedError(path)
        case "version":
            return e.IncompatibleError(path, version=failure.value)
        case "feature":
            return e.IncompatibleError(path, features=failure.value)
        case "superblock":
            return e.DamagedError(path, failure.flaw, superblock=True)
        case "truncated":
            return e.TruncatedError(path, failure.value)
        case "block_size":
            return e.BlockSizeError(path, failure.value)
        case "no_direct_io":
            return e.NoDirectIOError(path)
        case "other_lockspace":
            return e.OtherLockspaceError(path)
        case "same_disk":
            return e.SameDiskError(path)
        case "disk_count":
            return e.DiskCountError(path, given, failure.value)
        case "outdated_disk":
            return e.OutdatedDiskError(path)
        case "no_majority":
            return e.NoMajorityError(path, failure.errno)
        case "read_only":
            return e.ReadOnlyError(path)
    return e.PathError(path, failure.errno, action)


def _joining(failure: _core.CoreError, path: str, slot: int) -> e.DiskPaxosError:
    match failure.status:
        case "no_slot":
            return e.NoFreeSlotError(path, ())
        case "collided":
            return e.ClaimCollisionError(path)
        case "not_drained":
            return e.NotDrainedError(path, slot)
    where = failure.path if failure.disk >= 0 else path
    reading, noticing, writing = (nanoseconds / 1e9 for nanoseconds in failure.took)
    return e.TimingError(
        where,
        "joining needs writes and reads within T_claim, and they took longer",
        failure.value,
        failure.claim_time / 1e9,
        (reading, noticing, writing),
    )


def _about_lease(failure: _core.CoreError, path: str, lease: str) -> e.DiskPaxosError:
    match failure.status:
        case "held":
            return e.HeldError(
                lease,
                host=failure.host_name,
                slot=failure.slot,
                label=failure.label,
                mode=MODE_NAMES.get(failure.mode, "exclusive"),
                since=failure.held_since / 1e9,
                token=failure.hold,
                lowering=failure.lowering,
                alive=False if failure.dead else failure.alive or None,
                silent_for=failure.silent_for / 1e9 if failure.watched else None,
                free_in=0.0 if failure.dead else failure.free_in / 1e9,
            )
        case "held_here":
            return e.HeldByThisHostError(lease, label=failure.label, mode=MODE_NAMES.get(failure.mode, "exclusive"))
        case "stale":
            return e.StaleStateError(lease)
        case "not_found":
            return e.LeaseNotFoundError(lease)
        case "exists":
            return e.LeaseExistsError(lease)
        case "full":
            return e.LockspaceFullError(lease)
        case "undrained":
            return e.UnfinishedChangeError(lease, failure.host_name, failure.slot)
        case "damaged":
            return e.DamagedError(path, failure.flaw, failure.disk, failure.block, lease)
        case "ceiling":
            return e.TokensExhaustedError(lease)
    return e.LeaseLostError(lease, TAKEN)


class _Translation:
    """What :func:`translated` returns.  Not a generator: it lies on the way of every take and release."""

    __slots__ = ("_action", "_given", "_host", "_leases", "_paths")

    def __init__(self, action: str, leases: Sequence[str], paths: Sequence[str], host: str, given: int) -> None:
        self._action = action
        self._leases = leases
        self._paths = paths
        self._host = host
        self._given = given

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _core.CoreError):
            raise error_from(
                error, self._action, leases=self._leases, paths=self._paths, host=self._host, given=self._given
            ) from None


def translated(
    action: str, *, leases: Sequence[str] = (), paths: Sequence[str] = (), host: str = "", given: int = 0
) -> _Translation:
    """A context that raises what :func:`error_from` makes of a core failure in its block."""
    return _Translation(action, leases, paths, host, given)
