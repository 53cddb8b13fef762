"""The hierarchy of errors: complete, picklable, and what each failure of the core becomes."""

from __future__ import annotations

import errno
import pickle
import re
from typing import Any

import pytest

import diskpaxos
from diskpaxos import _core, errors, failure

INSTANCES: list[errors.DiskPaxosError] = [
    errors.BlockSizeError("/p", 4096, 512),
    errors.ClaimCollisionError("/p"),
    errors.ClosedError("host 'a'"),
    errors.DamagedError("/p", "wrong checksum", 1, 17, "vm"),
    errors.DeviceSizeError("/p", 1000, 2000),
    errors.DiskCountError("/p", 2, 3),
    errors.DiskPaxosError("it happened", "nothing was changed", "try again"),
    errors.FinishedError("a", "its time ran out"),
    errors.ForkedError("host 'a'"),
    errors.HeldByThisHostError("vm", label="me", mode="shared"),
    errors.HeldError("vm", host="b", slot=3, label="guest", since=1_700_000_000.5, token=7, lowering=True),
    errors.BeingFormattedError("/x", "h", 4711, late=True),
    errors.InUseError("/p", ("slot 1",), True),
    errors.IncompatibleError("/p", features=8),
    errors.InvalidArgumentError("no"),
    errors.InvalidNameError("x\n", "lease", "control characters"),
    errors.InvalidStateError("nonsense"),
    errors.JoinError("no"),
    errors.LeaseError("vm", "no"),
    errors.LeaseExistsError("vm"),
    errors.LeaseLostError("vm", "taken"),
    errors.LeaseNotFoundError("vm"),
    errors.LeaseReleasedError("vm"),
    errors.LeasesHeldError("a", ("vm", "vm2")),
    errors.LockspaceError("/p", "no"),
    errors.LockspaceFullError("vm"),
    errors.NoDirectIOError("/p"),
    errors.NoFreeSlotError("/p", ("slot 0 is in use",)),
    errors.NoMajorityError("/p", errno.EIO),
    errors.NotDrainedError("/p", 3),
    errors.NotEmptyError("/p", "it looks like swap space"),
    errors.NotFormattedError("/p"),
    errors.OtherLockspaceError("/p"),
    errors.OutdatedDiskError("/p"),
    errors.PathError("/p", errno.EACCES),
    errors.ReadOnlyError("/p"),
    errors.SameDiskError("/p"),
    errors.StaleStateError("vm", "1:00:7"),
    errors.StorageError("read", errno.EIO, 1, "/p", True),
    errors.SystemRefusedError("join", errno.EMFILE),
    errors.TimingError("/p", "too slow", 2),
    errors.TokensExhaustedError("vm"),
    errors.TruncatedError("/p", 2000, 1000),
    errors.UnfinishedChangeError("vm", "b", 2),
    errors.WaitTimeoutError("acquire 'vm'"),
]


def test_every_error_is_listed_drawn_and_tried_here() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and name.endswith("Error")}
    assert set(errors.__all__) == classes
    assert {type(error).__name__ for error in INSTANCES} == classes
    drawn = set(re.findall(r"\w+Error", (errors.__doc__ or "").split("Every error")[0]))
    assert drawn == classes | {"ValueError", "TimeoutError", "OSError"}


@pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error: errors.DiskPaxosError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert again.args == error.args


@pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
def test_text_says_what_effect_and_advice(error: errors.DiskPaxosError) -> None:
    assert isinstance(error, errors.DiskPaxosError)
    parts = [error.what, error.effect, error.advice]
    assert str(error) == "; ".join(part for part in parts if part)
    assert "None" not in str(error)


def test_standard_classes_catch_them_too() -> None:
    assert isinstance(errors.WaitTimeoutError("x"), TimeoutError)
    assert isinstance(errors.InvalidNameError("", "lease", "empty"), ValueError)
    assert isinstance(errors.HeldByThisHostError("x"), errors.HeldError)


def test_a_holder_is_named_with_all_that_is_known() -> None:
    error = errors.HeldError("vm", host="b", slot=3, label="guest", since=1_700_000_000.5)
    for part in ("'vm'", "'b'", "slot 3", "'guest'", "2023-11-14 22:13:20 UTC", "nothing was taken"):
        assert part in str(error)


EXPECTED: dict[str, type[errors.DiskPaxosError]] = {
    "system": errors.PathError,
    "not_lockspace": errors.NotFormattedError,
    "version": errors.IncompatibleError,
    "feature": errors.IncompatibleError,
    "superblock": errors.DamagedError,
    "truncated": errors.TruncatedError,
    "block_size": errors.BlockSizeError,
    "no_direct_io": errors.NoDirectIOError,
    "other_lockspace": errors.OtherLockspaceError,
    "same_disk": errors.SameDiskError,
    "disk_count": errors.DiskCountError,
    "outdated_disk": errors.OutdatedDiskError,
    "no_majority": errors.NoMajorityError,
    "read_only": errors.ReadOnlyError,
    "no_slot": errors.NoFreeSlotError,
    "collided": errors.ClaimCollisionError,
    "not_drained": errors.NotDrainedError,
    "timing": errors.TimingError,
    "held": errors.HeldError,
    "held_here": errors.HeldByThisHostError,
    "stale": errors.StaleStateError,
    "not_found": errors.LeaseNotFoundError,
    "exists": errors.LeaseExistsError,
    "full": errors.LockspaceFullError,
    "undrained": errors.UnfinishedChangeError,
    "damaged": errors.DamagedError,
    "storage": errors.StorageError,
    "lost": errors.LeaseLostError,
    "finished": errors.FinishedError,
    "ceiling": errors.TokensExhaustedError,
    "timeout": errors.WaitTimeoutError,
    "invalid": errors.InvalidArgumentError,
    "forked": errors.ForkedError,
    "busy": errors.LeasesHeldError,
}


def core_error(status: str, **fields: Any) -> _core.CoreError:
    error = _core.CoreError("text of the core")
    values: dict[str, Any] = {
        "status": status,
        "text": "text of the core",
        "errno": errno.EIO,
        "item": 1,
        "disk": 2,
        "block": 77,
        "value": 9,
        "flaw": "wrong checksum",
        "end": 1,
        "slot": 5,
        "generation": 3,
        "hold": 65541,
        "mode": _core.MODE_SHARED,
        "held_since": 1_700_000_000_000_000_000,
        "label": "guest",
        "lowering": False,
        "alive": False,
        "dead": False,
        "watched": True,
        "silent_for": 12_000_000_000,
        "free_in": 60_000_000_000,
        "claim_time": 1_000_000_000,
        "took": (400_000_000, 400_000_000, 0),
        "host_name": "b",
        "path": "/p",
    }
    for name, value in (values | fields).items():
        setattr(error, name, value)
    return error


def test_the_core_has_no_status_without_an_error() -> None:
    assert set(_core.STATUSES) - {"ok"} == set(EXPECTED)


@pytest.mark.parametrize("status", EXPECTED)
def test_failures_become_typed_errors(status: str) -> None:
    error = failure.error_from(core_error(status), "acquire", leases=["a", "vm"], paths=["/p"], host="h", given=4)
    assert type(error) is EXPECTED[status]
    if isinstance(error, errors.LeaseError):
        assert error.lease == "vm", "the failing one of several is named"


def test_the_facts_of_a_refusal_get_through() -> None:
    error = failure.error_from(core_error("held"), "acquire", leases=["a", "vm"])
    assert isinstance(error, errors.HeldError)
    assert (error.host, error.slot, error.label, error.mode) == ("b", 5, "guest", "shared")
    assert (error.since, error.token) == (1_700_000_000.0, 65541)


def test_what_is_known_of_the_holders_life_gets_through() -> None:
    def told(**facts: object) -> errors.HeldError:
        error = failure.error_from(core_error("held", **facts), "acquire", leases=["a", "vm"])
        assert isinstance(error, errors.HeldError)
        return error

    silent = told()
    assert (silent.alive, silent.silent_for, silent.free_in) == (None, 12.0, 60.0)
    assert "no heartbeat of its host was seen in 12 s of watching" in silent.advice
    assert "free in about 60 s" in silent.advice
    alive = told(alive=True)
    assert (alive.alive, alive.free_in) == (True, 60.0)
    assert "wait until it lets go" in alive.advice
    assert "free in" not in alive.advice
    dead = told(dead=True)
    assert (dead.alive, dead.free_in) == (False, 0.0)
    assert "its host is dead" in dead.advice
    unseen = told(watched=False, host_name="")
    assert (unseen.alive, unseen.silent_for, unseen.free_in) == (None, None, 60.0)
    assert "unknown" not in str(unseen)


def test_the_disk_that_failed_is_named_by_its_path() -> None:
    paths = ["/a", "/b", "/c"]
    error = failure.error_from(core_error("storage", path="/b", disk=1), "acquire", leases=["vm"] * 2, paths=paths)
    assert "on /b" in str(error)
    assert "disk" not in error.what
    unknown = failure.error_from(core_error("storage", path="", disk=1), "acquire", leases=["vm"] * 2, paths=paths)
    assert "on disk 1" in str(unknown), "better than the path of another one"
    nowhere = failure.error_from(core_error("storage", path="", disk=-1), "acquire", leases=["vm"] * 2, paths=paths)
    assert " on " not in nowhere.what
    damaged = failure.error_from(core_error("damaged", path="/b", disk=1), "acquire", leases=["vm"] * 2, paths=paths)
    assert isinstance(damaged, errors.DamagedError)
    assert (damaged.path, damaged.disk) == ("/b", 1)
    assert damaged.what.startswith("block 77 of /b is damaged")


def test_errors_that_people_catch_are_at_the_top() -> None:
    for name in errors.__all__:
        assert getattr(diskpaxos, name) is getattr(errors, name)
        assert name in diskpaxos.__all__


def test_the_facts_of_a_storage_fault_get_through() -> None:
    error = failure.error_from(core_error("storage", lowering=True), "release", leases=["a", "vm"])
    assert isinstance(error, errors.StorageError)
    assert (error.errno, error.disk, error.path, error.lowering) == (errno.EIO, 2, "/p", True)


def test_translation_replaces_the_cores_own_exception() -> None:
    with pytest.raises(errors.LeaseNotFoundError) as caught:
        with failure.translated("acquire", leases=["a", "vm"]):
            raise core_error("not_found")
    assert caught.value.__suppress_context__


def test_what_uses_up_asynchronous_io_is_no_riddle() -> None:
    error = failure.error_from(core_error("system", errno=errno.EAGAIN), "open", paths=["/shared/locks"])
    assert isinstance(error, errors.SystemRefusedError)
    assert "fs.aio-max-nr" in str(error)
    assert "/shared/locks" not in str(error), "it is not the path's fault"


@pytest.mark.parametrize(
    ("took", "needed", "parts"),
    [
        ((0.4, 0.4, 0.8), 3.2, ("reading the slots 400 ms", "writing the claim 800 ms", "--claim-time 3.2s", "12.8 s")),
        ((0.4, 0.7, 0.0), 3.6, ("reading the notices 700 ms", "--claim-time 3.6s", "S of at least 14.4 s")),
        ((0.01, 0.01, 0.01), 0.0, ("check the load of the host",)),  # it slept
        ((0.0, 0.0, 0.0), 0.0, ("check the load of the host",)),
    ],
)
def test_who_is_too_slow_to_join_is_told_what_would_do(
    took: tuple[float, float, float], needed: float, parts: tuple[str, ...]
) -> None:
    error = errors.TimingError("/p", "too slow", 3, 1.0, took)
    assert (error.claim_time, error.took, error.needed) == (1.0, took, needed)
    assert all(part in str(error) for part in parts), error
    assert took[2] > 0.1 or "writing the claim" not in str(error)
