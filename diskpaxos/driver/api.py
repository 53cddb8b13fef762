"""The contract between a VM manager and a driver: version, features, and the two protocols.

The core of the API (load, manager, add, acquire, release, inquire, close) needs no feature and
never shrinks.  What a driver can do beyond it has a name, to be asked for at load.
"""

from __future__ import annotations

import os
import uuid as _uuid
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, TypeAlias, runtime_checkable

from diskpaxos.arguments import Mode

#: (major, minor): a driver serves managers of its own major and of its own or an older minor.
API_VERSION = (1, 0)

#: Optional features, and what having them means.
FEATURES = {
    "shared": "several VMs may hold a resource in mode 'shared'",
    "state": "release() and inquire() return a state; a stale one is refused by acquire()",
    "hotplug": "resources can be added to, and released from, a manager that holds others",
    "migration": "a state from inquire(), made while the source held, is accepted at the destination",
    "readonly-deny": "read-only use can be configured to be refused",
    "coherence": "image files: acquire drops cached pages, release syncs",
    "process-bound": "a lease can be bound to another process than the caller, and ends with it",
    "fenced": "a host that cannot stop its VMs is reset by a watchdog",
    "wait-for-dead": "acquire() can wait for the death of a holder's host that has fallen silent",
}

Resource: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
OnLost: TypeAlias = Callable[["Manager", str], object]


class Manager(Protocol):
    """The leases of one VM.  Thread-safe; different managers never wait for each other."""

    @property
    def uuid(self) -> _uuid.UUID:
        """The VM."""

    @property
    def name(self) -> str:
        """The VM's name, for people."""

    @property
    def resources(self) -> tuple[str, ...]:
        """What was added, in that order."""

    @property
    def held(self) -> tuple[str, ...]:
        """The resources whose leases are held at this moment."""

    def add(self, resource: Resource, mode: Mode = "exclusive", readonly: bool = False) -> None:
        """Name a resource of the VM; takes nothing yet."""

    def acquire(self, state: str | None = None, timeout: float | None = None, *, wait_for_dead: bool = False) -> None:
        """Take everything added and not yet held: all or none."""

    def release(self, resources: Iterable[Resource] | None = None) -> str:
        """Give up what is held (or just ``resources``) and return the state."""

    def inquire(self) -> str:
        """The state, without giving anything up."""

    def check(self) -> None:
        """Return quietly if no lease of this VM is lost."""

    def close(self) -> None:
        """Give up everything; the manager cannot be used any more."""

    def __enter__(self) -> Manager: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Driver(Protocol):
    """A loaded driver.  It stays loaded until the process ends."""

    @property
    def name(self) -> str:
        """By which it is loaded."""

    @property
    def api(self) -> tuple[int, int]:
        """The newest version of this contract that it serves."""

    @property
    def features(self) -> frozenset[str]:
        """Names out of FEATURES."""

    @property
    def stays_loaded(self) -> bool:
        """Always True: VMs depend on it, so it cannot be unloaded."""

    def manager(
        self, uuid: _uuid.UUID | str, name: str, pid: int | None = None, on_lost: OnLost | None = None
    ) -> Manager:
        """The leases of one VM."""

    def describe(self) -> dict[str, Any]:
        """What it is and how it is doing, as plain values for a status page."""
