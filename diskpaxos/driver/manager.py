"""The leases of one VM, held by the calling process."""

from __future__ import annotations

import logging
import threading
import uuid as _uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from diskpaxos import _core
from diskpaxos.arguments import Mode, mode_number
from diskpaxos.driver import coherence
from diskpaxos.driver.api import OnLost, Resource
from diskpaxos.driver.errors import OtherLockspaceStateError, ReadonlyDeniedError, UnusableStateError
from diskpaxos.driver.names import lease_name, resource_text
from diskpaxos.driver.states import State, key_of
from diskpaxos.errors import (
    ClosedError,
    DiskPaxosError,
    FinishedError,
    InvalidArgumentError,
    LeaseLostError,
    StorageError,
    WaitTimeoutError,
)
from diskpaxos.lease import Lease, Request, SavedState

if TYPE_CHECKING:
    from diskpaxos.driver.embedded import EmbeddedDriver

_log = logging.getLogger("diskpaxos.driver")


@dataclass(slots=True)
class _Entry:
    """One resource of the VM."""

    resource: str
    lease_name: str
    mode: Mode
    readonly: bool
    lease: Lease | None = None
    saved: SavedState | None = None  # of the lease held now, or held last

    @property
    def held(self) -> bool:
        return self.lease is not None and self.lease.held


class EmbeddedManager:
    """See :class:`diskpaxos.driver.api.Manager`; made by :meth:`EmbeddedDriver.manager`."""

    def __init__(self, driver: EmbeddedDriver, uuid: _uuid.UUID, name: str, on_lost: OnLost | None) -> None:
        self._driver = driver
        self._uuid = uuid
        self._name = name
        self._label = _label(name)
        self._entries: dict[str, _Entry] = {}
        self._parted: dict[str, SavedState] = {}  # states of resources released one by one
        self._unsettled: DiskPaxosError | None = None
        self._closed = False
        self._lock = threading.RLock()
        self._teller = _Teller(self, on_lost) if on_lost is not None else None

    @property
    def uuid(self) -> _uuid.UUID:
        """The VM."""
        return self._uuid

    @property
    def name(self) -> str:
        """The VM's name, for people."""
        return self._name

    @property
    def resources(self) -> tuple[str, ...]:
        """What was added, in that order."""
        return tuple(self._entries)

    @property
    def held(self) -> tuple[str, ...]:
        """The resources whose leases are held at this moment."""
        return tuple(entry.resource for entry in list(self._entries.values()) if entry.held)

    # ---- the five verbs

    def add(self, resource: Resource, mode: Mode = "exclusive", readonly: bool = False) -> None:
        """Name a resource of the VM; the next :meth:`acquire` takes it.

        :param resource: path of an image or device, or any other name that all hosts know it by
        :param mode: "exclusive", or "shared" with other VMs that share it
        :param readonly: the VM only reads it; what that means is configured
        :raises InvalidArgumentError: bad mode; or added before with another mode
        """
        mode_number(mode)
        text = resource_text(resource)
        entry = _Entry(text, lease_name(resource), mode, bool(readonly))
        with self._lock:
            self._check_open()
            known = self._entries.get(text)
            if known is None:
                self._entries[text] = entry
                self._parted.pop(text, None)
            elif (known.mode, known.readonly) != (entry.mode, entry.readonly):
                raise InvalidArgumentError(
                    f"resource {text!r} was added before, as {known.mode}{', read-only' * known.readonly}",
                    "nothing was changed",
                    "release it first",
                )

    def acquire(self, state: str | None = None, timeout: float | None = None, *, wait_for_dead: bool = False) -> None:
        """Take the leases of all resources that were added and are not held: all or none.

        What is held already stays held, also when this fails (hot-plug).  Nothing added: nothing taken.

        :param state: what release() or inquire() returned, here or on another host: succeed only if
            nobody else took these leases exclusively since.  None or "": the VM starts anew.
        :param timeout: seconds to wait for a lease held elsewhere; None: as configured
        :param wait_for_dead: wait on after that while the holder's host may be dead: until it is (then the lease
            is taken), or until it shows that it lives (HeldError); for a VM that is to be restarted elsewhere
            after its host has died
        :raises HeldError: held elsewhere: by which host, for which VM, since when, and whether that host lives
        :raises StaleState: the VM ran, or may have run, elsewhere since
        :raises UnusableStateError: not a state of this VM
        :raises ReadonlyDeniedError: read-only use is configured to be refused
        :raises CoherenceError: an image's cached pages could not be dropped
        :raises DiskPaxosError: all others of :meth:`diskpaxos.Host.acquire`
        """
        with self._lock:
            self._check_open()
            self._remember(state)
            wanted = [entry for entry in self._entries.values() if not entry.held and self._needs_lease(entry)]
            if not wanted:
                return
            requests = [
                Request(
                    entry.lease_name,
                    "shared" if entry.readonly else entry.mode,
                    str(entry.saved) if state and entry.saved is not None else None,
                    self._label,
                )
                for entry in wanted
            ]
            config = self._driver.config
            host = self._driver.host()
            limit = config.timeout if timeout is None else timeout
            leases = host.acquire_many(requests, limit, config.create, wait_for_dead=wait_for_dead)
            try:
                if config.coherence:
                    for entry in wanted:
                        if coherence.is_image(entry.resource):
                            coherence.revalidate(entry.resource)
            except BaseException:
                host.release_many(leases)
                raise
            for entry, lease in zip(wanted, leases, strict=True):
                entry.lease = lease
                entry.saved = SavedState.parse(lease.state)
                if self._teller is not None:
                    self._teller.watch(lease, entry.resource)

    def release(self, resources: Iterable[Resource] | None = None) -> str:
        """Give leases up and return the state to pass to a later acquire(), here or elsewhere.

        May be called at any time and any number of times: what is not held is passed over, and the
        state is that of the first time.  Returns when the release is durable.

        :param resources: None: all of the VM, which keeps them added, for a later acquire() (pause,
            shutdown).  Otherwise just these, which then belong to the VM no more (hot-unplug, a
            refused hot-plug); an empty list is nothing.
        :raises CoherenceError: an image could not be synced; nothing was released
        :raises StorageError, WaitTimeoutError: not durable yet; the host goes on trying, and calling
            again tells whether it is
        """
        with self._lock:
            self._check_open()
            if resources is None:
                entries = list(self._entries.values())
                self._give_up(entries)
                saved = {entry.resource: entry.saved for entry in entries}
            else:
                names = dict.fromkeys(resource_text(resource) for resource in resources)
                entries = [self._entries[name] for name in names if name in self._entries]
                self._give_up(entries)
                for entry in entries:
                    del self._entries[entry.resource]
                    if entry.saved is not None:
                        self._parted[entry.resource] = entry.saved
                saved = {name: self._parted.get(name) for name in names}
            return self._state(saved)

    def inquire(self) -> str:
        """The state as release() would return it, with nothing given up (migration).

        It is accepted elsewhere once this VM has released, unless somebody else took a lease
        exclusively in between.

        :raises LeaseLostError: a lease of this VM is lost: it must not run, here or elsewhere
        """
        with self._lock:
            self._check_open()
            self.check()
            return self._state({entry.resource: entry.saved for entry in self._entries.values()})

    def check(self) -> None:
        """Return quietly if no lease of this VM is lost.

        :raises LeaseLostError: one is
        """
        for entry in list(self._entries.values()):
            lease = entry.lease
            if lease is not None:
                lease.check()

    def close(self) -> None:
        """Give up everything, as at the end of the VM; a second call does nothing.

        Everything is released even where that raises (see release()), the image's sync included.
        """
        with self._lock:
            if self._closed:
                return
            try:
                entries = list(self._entries.values())
                trouble = self._sync(entries)
                self._let_go(entries)
                if trouble is not None:
                    raise trouble
            finally:
                self._closed = True
                self._driver.forget(self)

    # ---- inside

    def mute(self) -> None:
        """The process ends: nobody is there any more to be told of a loss."""
        if self._teller is not None:
            self._teller.muted = True

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the manager of VM {self._name!r}")

    def _needs_lease(self, entry: _Entry) -> bool:
        if not entry.readonly:
            return True
        policy = self._driver.config.readonly
        if policy == "deny":
            raise ReadonlyDeniedError(entry.resource)
        return policy == "shared"

    def _remember(self, state: str | None) -> None:
        """Keep what a state says: should acquire fail, release() returns it again."""
        if not state:
            return
        said = State.parse(state)
        if said.vm != self._uuid:
            raise UnusableStateError(state, f"it belongs to the VM {said.vm}, not {self._uuid}")
        if said.lockspace != self._driver.lockspace:
            raise OtherLockspaceStateError(state, str(said.lockspace), str(self._driver.lockspace))
        for entry in self._entries.values():
            if not entry.held:
                entry.saved = said.leases.get(key_of(entry.lease_name))

    def _state(self, saved: dict[str, SavedState | None]) -> str:
        leases = {key_of(lease_name(name)): value for name, value in saved.items() if value is not None}
        return str(State(self._uuid, self._driver.lockspace, leases))

    def _sync(self, entries: list[_Entry]) -> DiskPaxosError | None:
        """Sync all images, whatever befalls one; the first error."""
        first: DiskPaxosError | None = None
        if not self._driver.config.coherence:
            return None
        for entry in entries:
            if entry.held and not entry.readonly and coherence.is_image(entry.resource):
                try:
                    coherence.sync(entry.resource)
                except DiskPaxosError as error:
                    first = first or error
        return first

    def _give_up(self, entries: list[_Entry]) -> None:
        trouble = self._sync(entries)
        if trouble is not None:
            raise trouble
        self._let_go(entries)

    def _let_go(self, entries: list[_Entry]) -> None:
        """Release what is held of these; when it was lost before, that was told already."""
        by_host: dict[int, list[Lease]] = {}
        for entry in entries:
            if entry.lease is not None:
                by_host.setdefault(id(entry.lease.host), []).append(entry.lease)
        if not by_host:
            self._settle()
            return
        for entry in entries:
            entry.lease = None
        for leases in by_host.values():
            try:
                leases[0].host.release_many(leases)
            except (LeaseLostError, FinishedError, ClosedError) as error:
                _log.warning("VM %r: released after it was lost: %s", self._name, error)
            except (StorageError, WaitTimeoutError) as error:
                self._unsettled = error
                raise

    def _settle(self) -> None:
        """Nothing is held, yet an earlier release may not be durable: then say so again."""
        if self._unsettled is None:
            return
        if self._driver.releases_pending():
            raise self._unsettled
        self._unsettled = None

    def __enter__(self) -> EmbeddedManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Manager {self._name!r} {self._uuid} holds {len(self.held)} of {len(self._entries)}>"


class _Teller:
    """Calls on_lost in a thread of its own, so that a slow one delays no other VM's."""

    def __init__(self, manager: EmbeddedManager, on_lost: OnLost) -> None:
        self._manager = manager
        self._on_lost = on_lost
        self._queue: deque[str] = deque()
        self._running = False
        self._lock = threading.Lock()
        self.muted = False

    def watch(self, lease: Lease, resource: str) -> None:
        """Tell when ``lease`` is lost."""
        lease.on_lost(lambda _: self._tell(resource))

    def _tell(self, resource: str) -> None:
        with self._lock:
            if self.muted:
                return
            self._queue.append(resource)
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._run, name="diskpaxos-on-lost", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._running = False
                    return
                resource = self._queue.popleft()
            try:
                self._on_lost(self._manager, resource)
            except Exception:
                _log.exception("on_lost of VM %r failed for %r", self._manager.name, resource)


def _label(name: str) -> str:
    """The VM's name as far as a label holds it."""
    shown = "".join(c if c.isprintable() else "_" for c in name).encode("utf-8", "replace")
    return shown[: _core.LABEL_MAX].decode("utf-8", "ignore")
