"""The driver that protects nothing, for hosts whose storage nobody shares."""

from __future__ import annotations

import threading
import uuid as _uuid
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from diskpaxos.arguments import Mode, mode_number
from diskpaxos.driver.api import API_VERSION, OnLost, Resource
from diskpaxos.driver.errors import UnusableStateError
from diskpaxos.driver.names import resource_text
from diskpaxos.errors import ClosedError


class NopDriver:
    """Serves the core of the API and promises nothing: a manager that needs protection asks for a
    feature, and is refused at load."""

    name = "nop"
    api = API_VERSION
    features: frozenset[str] = frozenset()
    stays_loaded = True

    def manager(
        self,
        uuid: _uuid.UUID | str,
        name: str,
        pid: int | None = None,  # noqa: ARG002 - nothing is bound to it
        on_lost: OnLost | None = None,  # noqa: ARG002 - nothing can be lost
    ) -> NopManager:
        """A manager whose leases are never refused and never lost."""
        return NopManager(uuid if isinstance(uuid, _uuid.UUID) else _uuid.UUID(uuid), name)

    def describe(self) -> dict[str, Any]:
        """What it is, as plain values for a status page."""
        return {"name": self.name, "api": list(self.api), "features": [], "mode": "none"}


class NopManager:
    """See :class:`diskpaxos.driver.api.Manager`."""

    def __init__(self, uuid: _uuid.UUID, name: str) -> None:
        self.uuid = uuid
        self.name = name
        self._resources: dict[str, bool] = {}  # whether "held"
        self._closed = False
        self._lock = threading.Lock()

    @property
    def resources(self) -> tuple[str, ...]:
        """What was added, in that order."""
        return tuple(self._resources)

    @property
    def held(self) -> tuple[str, ...]:
        """What was acquired and not released."""
        with self._lock:
            return tuple(name for name, held in self._resources.items() if held)

    def add(self, resource: Resource, mode: Mode = "exclusive", readonly: bool = False) -> None:  # noqa: ARG002
        """Name a resource."""
        mode_number(mode)
        with self._lock:
            self._check_open()
            self._resources.setdefault(resource_text(resource), False)

    def acquire(
        self,
        state: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - nobody is waited for
        *,
        wait_for_dead: bool = False,  # noqa: ARG002
    ) -> None:
        """Pretend to take everything.

        :raises UnusableStateError: a state of a driver that does protect: going on here would run the
            VM without the protection that it had
        """
        if state:
            raise UnusableStateError(state, "this host's driver is 'nop', which protects nothing")
        with self._lock:
            self._check_open()
            self._resources = dict.fromkeys(self._resources, True)

    def release(self, resources: Iterable[Resource] | None = None) -> str:
        """Pretend to give up; the state is empty."""
        with self._lock:
            self._check_open()
            if resources is None:
                self._resources = dict.fromkeys(self._resources, False)
            else:
                for resource in resources:
                    self._resources.pop(resource_text(resource), None)
        return ""

    def inquire(self) -> str:
        """The empty state."""
        with self._lock:
            self._check_open()
        return ""

    def check(self) -> None:
        """Nothing is ever lost."""

    def close(self) -> None:
        """The end."""
        with self._lock:
            self._resources = {}
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the manager of VM {self.name!r}")

    def __enter__(self) -> NopManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
