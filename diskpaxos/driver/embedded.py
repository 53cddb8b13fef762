"""The driver without a daemon: the calling process joins the lockspace and holds the leases.

They live and die with that process.  Binding them to a VM's own process, fencing and a
watchdog are the agent's job; so the features `process-bound` and `fenced` are absent here.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid as _uuid
import weakref
from typing import Any

from diskpaxos._version import __version__
from diskpaxos.driver.api import API_VERSION, OnLost
from diskpaxos.driver.config import DriverConfig
from diskpaxos.driver.errors import ConfigError, FeatureMissing
from diskpaxos.driver.manager import EmbeddedManager
from diskpaxos.errors import DiskPaxosError, ForkedError, InvalidArgumentError
from diskpaxos.host import Host
from diskpaxos.lockspace import Lockspace

_log = logging.getLogger("diskpaxos.driver")


class EmbeddedDriver:
    """See :class:`diskpaxos.driver.api.Driver`; made by :func:`diskpaxos.load`."""

    name = "diskpaxos"
    api = API_VERSION
    stays_loaded = True

    def __init__(self, config: DriverConfig) -> None:
        """Open the lockspace and join it, so that what cannot work fails now and not at guest start.

        :raises ConfigError: no lockspace configured
        :raises DiskPaxosError: whatever Lockspace.open and Lockspace.join raise
        """
        if not config.lockspace:
            raise ConfigError("it is missing: give the path of the lockspace", key="lockspace")
        self.config = config
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._managers: weakref.WeakSet[EmbeddedManager] = weakref.WeakSet()
        self._space = Lockspace.open(config.lockspace)
        try:
            self._host = self._join()
        except BaseException:
            self._space.close()
            raise

    @property
    def features(self) -> frozenset[str]:
        """Names out of FEATURES; `coherence` unless it is configured away."""
        offered = {"shared", "state", "hotplug", "migration", "readonly-deny", "wait-for-dead"}
        return frozenset(offered | {"coherence"} if self.config.coherence else offered)

    @property
    def lockspace(self) -> _uuid.UUID:
        """UUID of the lockspace."""
        return self._space.uuid

    def manager(
        self, uuid: _uuid.UUID | str, name: str, pid: int | None = None, on_lost: OnLost | None = None
    ) -> EmbeddedManager:
        """The leases of one VM.

        :param uuid: of the VM; the same on every host
        :param name: shown to whoever asks who holds a lease
        :param pid: of the process that uses the resources: in embedded mode only the caller's own
        :param on_lost: called as ``on_lost(manager, resource)``, in a thread of its own, for each lease
            that is lost: the VM must stop using the resource at once
        :raises FeatureMissing: ``pid`` is another process
        :raises InvalidArgumentError: not a UUID
        """
        self._check_fork()
        if pid is not None and pid != os.getpid():
            raise FeatureMissing(
                self.name,
                "process-bound",
                f"in embedded mode a lease lives and dies with the calling process ({os.getpid()}), not {pid}",
                "leave pid out, and stop the VM when on_lost is called or this process ends",
            )
        try:
            vm = uuid if isinstance(uuid, _uuid.UUID) else _uuid.UUID(uuid)
        except (ValueError, AttributeError, TypeError):
            raise InvalidArgumentError(f"not the UUID of a VM: {uuid!r}") from None
        made = EmbeddedManager(self, vm, name, on_lost)
        with self._lock:
            self._managers.add(made)
        return made

    def describe(self) -> dict[str, Any]:
        """What it is and how it is doing, as plain values for a status page."""
        with self._lock:
            host, managers = self._host, len(self._managers)
        status = host.status() if host.alive else None
        return {
            "name": self.name,
            "version": __version__,
            "api": list(self.api),
            "features": sorted(self.features),
            "mode": "embedded",
            "lockspace": str(self.lockspace),
            "paths": list(self._space.paths),
            "host": host.name,
            "slot": host.slot,
            "alive": status is not None,
            "remaining": status.remaining if status else 0.0,
            "managers": managers,
            "leases": len(host.leases()) if status else 0,
        }

    # ---- for managers

    def host(self) -> Host:
        """The membership to take leases under.

        One that is over stays over: this process then joins anew, in another slot.  The leases held
        under the old one are lost and stay so.
        """
        self._check_fork()
        with self._lock:
            if not self._host.alive:
                _log.warning("the membership of host %r is over; joining anew", self._host.name)
                old = self._host
                self._host = self._join()
                old.close()
            return self._host

    def releases_pending(self) -> bool:
        """Whether a release of this process is not durable yet."""
        with self._lock:
            host = self._host
        return host.alive and host.status().lowering > 0

    def forget(self, manager: EmbeddedManager) -> None:
        """A manager was closed."""
        with self._lock:
            self._managers.discard(manager)

    def end(self) -> None:
        """The process ends: leave in good order if nothing is held.

        What is held stays held, as after a crash, until T_dead: the VMs may still be running.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            for manager in list(self._managers):
                manager.mute()
            try:
                if self._host.alive and not self._host.leases():
                    self._host.leave(timeout=2.0)
            except DiskPaxosError as error:
                _log.warning("leaving at the end of the process: %s", error)
            self._host.close()
            self._space.close()

    # ---- inside

    def _join(self) -> Host:
        config = self.config
        return self._space.join(config.host_name, timeout=config.join_timeout, realtime=config.realtime)

    def _check_fork(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError("the driver")

    def __repr__(self) -> str:
        return f"<Driver {self.name!r} on {', '.join(self.config.lockspace)}>"
