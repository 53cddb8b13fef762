"""A joined host: one membership in a lockspace, and the leases held under it."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from diskpaxos import _core
from diskpaxos.arguments import Mode, label_bytes, mode_number, name_bytes, nanoseconds
from diskpaxos.dispatch import Dispatcher
from diskpaxos.errors import (
    ClosedError,
    DiskPaxosError,
    FinishedError,
    ForkedError,
    HeldByThisHostError,
    HeldError,
    InvalidArgumentError,
    LeaseLostError,
    LeasesHeldError,
    WaitTimeoutError,
)
from diskpaxos.failure import CLOSED, TAKEN, error_from, translated
from diskpaxos.lease import Lease, Request, SavedState

if TYPE_CHECKING:
    from diskpaxos.lockspace import Lockspace

_log = logging.getLogger("diskpaxos")
_Ask: TypeAlias = tuple[bytes, int, tuple[bytes, int] | None, bytes]  #: as the core takes it
_SAME_MOVE = 0.01  # seconds: by so much one heartbeat may seem to have come at two times
_OTHER_CALLS = 1.0  # seconds that leave waits for calls of other threads to end


@dataclass(frozen=True, slots=True)
class HostStatus:
    """How a joined host is doing.  Times in seconds."""

    slot: int
    generation: int
    nonce: uuid.UUID
    alive: bool
    end: str  #: why the membership is over, "" while alive
    remaining: float  #: lifetime left
    lifetime_end: float  #: CLOCK_BOOTTIME at which every holder must have been told to stop
    realtime: bool  #: heartbeat thread has real-time priority and locked memory
    harden_error: int  #: errno of what was refused of that, 0 when nothing
    lowering: int  #: releases and withdrawals that are not durable yet
    beats: int
    missed: int
    last_duration: float  #: of the last heartbeat, issue to completion
    worst_duration: float
    notices: int  #: death notices carried about others


@dataclass(frozen=True, slots=True)
class HostEvent:
    """Something that happened to a host by itself.

    ``kind``: "lost" (lease), "finished" (reason), "healed" (lease: an own block was found damaged
    or old and was written again), "damaged" (lease, disk, path, block), "disk_down" (disk, path, errno),
    "disk_up" (disk, path), "reclaimed" (slot: of a dead host, free again).  What a kind does not tell is -1 or "".
    """

    kind: str
    lease: str = ""
    reason: str = ""
    disk: int = -1
    slot: int = -1
    errno: int = 0
    block: int = -1
    path: str = ""  #: of ``disk``


class Host:
    """A membership: made by :meth:`Lockspace.join`, ended by :meth:`leave`, or for good when the
    storage could not be reached for S seconds.  All methods are thread-safe.  As a context manager
    it releases what it holds and leaves at the end of the block.
    """

    def __init__(self, space: Lockspace, core: _core.Host, name: str) -> None:
        self._space = space
        self._core = core
        self._name = name
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._leases: dict[int, Lease] = {}
        self._losses = 0  # told by the core so far
        self._listeners: list[Callable[[HostEvent], object]] = []
        self._closed = False
        state = core.state()
        self._slot = state.slot
        self._generation = state.generation
        me = weakref.ref(self)

        def deliver(event: _core.CoreEvent) -> bool:
            host = me()
            return host is not None and host._handle_event(event)

        try:
            self._dispatcher = Dispatcher(core, deliver, f"host-{state.slot}")
        except BaseException:  # no thread, no descriptor: joined already, and nobody would know of it
            self._closed = True
            _leave_quietly(core)
            raise

    # ---- who and how

    @property
    def name(self) -> str:
        """The label that this host gave itself."""
        return self._name

    @property
    def slot(self) -> int:
        """Its host slot."""
        return self._slot

    @property
    def generation(self) -> int:
        """Generation of its slot."""
        return self._generation

    @property
    def space(self) -> Lockspace:
        """The lockspace it is a member of."""
        return self._space

    def status(self) -> HostStatus:
        """How it is doing.

        :raises ClosedError: after leave or close
        :raises ForkedError: in a forked child
        """
        core = self._use()
        with self._told("ask about the host"):
            state = core.state()
        return HostStatus(
            slot=state.slot,
            generation=state.generation,
            nonce=uuid.UUID(bytes=state.nonce),
            alive=state.end == 0 and state.remaining > 0,
            end=_core.end_text(state.end) if state.end else "",
            remaining=state.remaining / 1e9,
            lifetime_end=state.lifetime_end / 1e9,
            realtime=state.realtime,
            harden_error=state.harden_error,
            lowering=state.lowering,
            beats=state.beats,
            missed=state.missed,
            last_duration=state.last_duration / 1e9,
            worst_duration=state.worst_duration / 1e9,
            notices=state.notices,
        )

    def remaining(self) -> float:
        """Seconds of lifetime left; 0.0 when the membership is over."""
        if self._closed or self._forked():
            return 0.0
        try:
            state = self._core.state()
        except _core.CoreError:  # another thread closed it in between
            return 0.0
        return 0.0 if state.end else state.remaining / 1e9

    @property
    def alive(self) -> bool:
        """True while the membership lasts."""
        return self.remaining() > 0

    # ---- leases

    def acquire(
        self,
        name: str,
        mode: Mode = "exclusive",
        timeout: float | None = 0,
        create: bool = True,
        *,
        state: str | None = None,
        label: str = "",
        wait_for_dead: bool = False,
    ) -> Lease:
        """Take one lease.

        :param name: 1 to 200 bytes of UTF-8 without control characters
        :param mode: "exclusive", or "shared" with any number of other shared holders
        :param timeout: seconds to wait while somebody else holds it; 0 tries once, None waits for ever
        :param create: make the lease if there is none of this name
        :param state: of an earlier lease (:attr:`Lease.state`): succeed only if nobody took it
            exclusively since
        :param label: at most 64 bytes, shown to those who ask who holds the lease
        :param wait_for_dead: wait on after ``timeout`` for as long as the holder's host may be dead: until it
            is known to be (then the lease is taken, at most T_dead + S / 8 after its last heartbeat), or until it
            shows that it lives, by two heartbeats (then it is HeldError, with ``alive`` True)
        :raises HeldError: held by another host (or, as HeldByThisHostError, on this one)
        :raises StaleStateError: taken exclusively, or created anew, since ``state``
        :raises LeaseNotFoundError: with ``create=False``
        :raises LockspaceFullError: no room to create it
        :raises InvalidNameError, InvalidStateError, InvalidArgumentError: bad arguments
        :raises WaitTimeoutError, StorageError, DamagedError: no answer, or none that can be trusted;
            nothing was taken
        :raises FinishedError: the membership is over
        :raises ClosedError: after leave or close
        :raises ForkedError: in a forked child

        A signal handler that raises (KeyboardInterrupt) ends the wait; then nothing was taken.
        """
        lease = Lease(self, name, mode, label)
        self._take([_ask(name, mode, state, label)], [lease], timeout, create, wait_for_dead)
        return lease

    def acquire_many(
        self,
        requests: Iterable[str | Request],
        timeout: float | None = 0,
        create: bool = True,
        *,
        wait_for_dead: bool = False,
    ) -> list[Lease]:
        """Take several leases, all or none, in one set of rounds; in the order given.

        Names alone mean exclusive.  Nothing is waited for while something is held.  Errors are those
        of :meth:`acquire`; ``error.lease`` says which lease; the same name twice is an
        InvalidArgumentError.
        """
        wanted = [Request(item) if isinstance(item, str) else item for item in requests]
        leases = [Lease(self, item.name, item.mode, item.label) for item in wanted]
        asks = [_ask(item.name, item.mode, item.state, item.label) for item in wanted]
        self._take(asks, leases, timeout, create, wait_for_dead)
        return leases

    def _take(
        self, asks: list[_Ask], leases: list[Lease], timeout: float | None, create: bool, wait_for_dead: bool
    ) -> None:
        if len(asks) > 1 and len({ask[0] for ask in asks}) != len(asks):
            raise InvalidArgumentError("a lease is asked for twice in one call", "nothing was taken")
        limit = nanoseconds(timeout)
        if not asks:
            self._use()
            return
        try:
            self._try_to_take(asks, leases, limit, create)
        except HeldByThisHostError:
            raise
        except HeldError as error:
            if not wait_for_dead:
                raise
            self._take_from_the_dead(asks, leases, create, error)

    def _take_from_the_dead(self, asks: list[_Ask], leases: list[Lease], create: bool, held: HeldError) -> None:
        """The caller's time is over, but the holder's host may have died a moment ago.

        It lives if two heartbeats are seen to come from now on: one may have been on the disk before.
        """
        shape = self._space.geometry
        # Whoever is neither dead nor alive by then never will be: its slot's record is damaged, say.
        enough = time.monotonic() + (2 * shape.dead_time + shape.outage_tolerance) / 1e9
        moves = _Moves(time.monotonic())
        while time.monotonic() < enough:
            try:
                self._try_to_take(asks, leases, shape.outage_tolerance // 8, create)
                return
            except HeldByThisHostError:
                raise
            except HeldError as error:
                held = error
                if moves.seen(error) >= 2:
                    break
            except WaitTimeoutError:
                pass  # no look was completed in this short a time
        raise held

    def _try_to_take(self, asks: list[_Ask], leases: list[Lease], limit: int | None, create: bool) -> None:
        core = self._use()
        losses = self._losses
        try:
            core.acquire(asks, create, limit, leases, self._leases)
            if self._losses != losses:  # some may have been told before the leases were known here
                for lease in leases:
                    lease._probe()
            if self._closed:  # by another thread, to which they were not known yet
                for lease in leases:
                    lease._mark_lost(CLOSED)
                raise ClosedError(f"host {self._name!r}", "what was taken at that moment is lost")
        except _core.CoreError as failure:
            error = self._typed(failure, "acquire", [lease.name for lease in leases])
            raise (self._naming_the_holder(error) if isinstance(error, HeldByThisHostError) else error) from None
        except ClosedError:
            raise
        except BaseException:
            # A signal handler may raise between any two steps: what was granted must not stay
            # held without anybody knowing.
            self._give_back(leases)
            raise

    def release_many(self, leases: Sequence[Lease], timeout: float | None = None) -> None:
        """Release several leases in one round; those already released are passed over.

        Errors are those of :meth:`Lease.release`; the first lost one is named, all are released.
        """
        self._check_fork()
        limit = nanoseconds(timeout)
        for lease in leases:
            if lease._host is not self:
                raise InvalidArgumentError(f"lease {lease.name!r} is not held by this host")
            lease._probe()
        mine: list[Lease] = []
        lost: Lease | None = None
        with self._lock:
            for lease in leases:
                if lease._mark_released():
                    mine.append(lease)
                    self._leases.pop(lease._handle, None)
                    if lease._lost and lost is None:
                        lost = lease
        if mine and not self._closed:
            try:
                self._core.release(mine, limit)
            except _core.CoreError as failure:
                error = self._typed(failure, "release", [lease.name for lease in mine])
                if not (lost and isinstance(error, FinishedError | ClosedError)):
                    raise error from None
        if lost:
            raise LeaseLostError(lost.name, lost._reason)

    def leases(self) -> list[Lease]:
        """The leases held now, by whichever thread took them.

        :raises ForkedError: in a forked child
        """
        self._check_fork()
        with self._lock:
            known = list(self._leases.values())
        return [lease for lease in known if lease.held]

    def create(self, name: str, timeout: float | None = 0) -> None:
        """Create a lease without taking it.

        :param timeout: as for :meth:`acquire`, while another host changes the directory
        :raises LeaseExistsError, LockspaceFullError, HeldError: see their texts
        """
        encoded, limit, core = name_bytes(name, "lease"), nanoseconds(timeout), self._use()
        with self._told("create", [name]):
            core.create(encoded, limit)

    def delete(self, name: str, timeout: float | None = 0) -> None:
        """Delete a lease that nobody holds.

        :param timeout: as for :meth:`acquire`, while somebody holds it
        :raises LeaseNotFoundError, HeldError: see their texts
        """
        encoded, limit, core = name_bytes(name, "lease"), nanoseconds(timeout), self._use()
        with self._told("delete", [name]):
            core.delete(encoded, limit)

    # ---- looking after others

    def retire(self, slot: int, timeout: float | None = None) -> None:
        """Declare that the machine of ``slot`` is off or gone for good, so that no write of it can
        come any more; its slot becomes free once it was silent for T_dead.

        Wrongly said of a machine that still runs, this breaks the protection of its leases.

        :param timeout: seconds to wait for that; None: as long as it takes
        :raises NotDrainedError: it is alive
        :raises WaitTimeoutError: not silent for long enough yet
        """
        limit, core = nanoseconds(timeout), self._use()
        maximum = self._space.geometry.max_hosts
        if not 0 <= slot < maximum:
            raise InvalidArgumentError(f"slot must be 0 to {maximum - 1}, not {slot}")
        with self._told(f"retire slot {slot}", given=slot):
            core.retire(slot, limit)

    def resolve(self, area: int, timeout: float | None = 30.0) -> None:
        """Complete or undo the creation or deletion that a dead host left half done in ``area``."""
        limit, core = nanoseconds(timeout), self._use()
        if not 0 <= area < self._space.geometry.max_leases:
            raise InvalidArgumentError(f"there is no area {area}")
        if area == _core.DIRECTORY_AREA:
            raise InvalidArgumentError("area 0 is the directory, whose header does not change: nothing is half done")
        with self._told(f"resolve area {area}"):
            core.resolve(area, limit)

    def on_event(self, callback: Callable[[HostEvent], object]) -> None:
        """Have ``callback(event)`` called in a thread of this host with everything that happens to it."""
        with self._lock:
            self._listeners.append(callback)

    # ---- the end

    def leave(self, timeout: float | None = None, *, release: bool = False) -> None:
        """End the membership in good order; a second call does nothing.

        :param timeout: seconds to wait for the storage; 0: one I/O time limit for what is on its way, and one for the
            record that frees the slot; None: as long as the host lives, which may be for ever where a write
            hangs on a minority of the disks
        :param release: release what is still held first
        :raises LeasesHeldError: leases are held and ``release`` is not set, or another thread waits in
            a call; the host stays joined
        :raises FinishedError: the membership was over already; the object is closed
        :raises WaitTimeoutError, StorageError: the storage does not answer; the host stays joined
        """
        self._check_fork()
        with self._lock:
            if self._closed:
                return
        limit = nanoseconds(timeout)
        held = self.leases()
        if held and not release:
            raise LeasesHeldError(self._name, tuple(lease.name for lease in held))
        if held:
            self.release_many(held, timeout)
        patience = time.monotonic() + _OTHER_CALLS
        while True:
            try:
                with self._told("leave"):
                    self._core.leave(limit)
                break
            except FinishedError:
                self.close()
                raise
            except LeasesHeldError:
                # Another thread is inside a call; most of them end soon.
                if time.monotonic() >= patience:
                    raise
            time.sleep(0.005)
        self.close()

    def close(self) -> None:
        """Stop at once, without leaving: leases still held are lost here, and others can take them
        after T_dead.  After :meth:`leave` it does nothing.  The slot is free again some time after this
        process has joined anew (and all its I/O has returned), or after it has ended."""
        if self._forked():
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._core.interrupt()
        self._dispatcher.stop()
        with self._lock:
            leases, self._leases = list(self._leases.values()), {}
        for lease in leases:
            lease._mark_lost(CLOSED)
        self._core.close()
        self._space._forget(self)

    # ---- inside

    def _forked(self) -> bool:
        return os.getpid() != self._pid

    def _check_fork(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError(f"host {self._name!r}")

    def _use(self) -> _core.Host:
        self._check_fork()
        if self._closed:
            raise ClosedError(f"host {self._name!r}")
        return self._core

    def _why_lost(self, handle: int) -> str:
        """Why the lease behind ``handle`` is lost, "" while it is held."""
        if self._forked():
            return ""
        if self._closed:  # what is released in good order is not asked about any more
            return CLOSED
        try:
            if self._core.held(handle):  # the usual answer; it includes the lifetime test
                return ""
            state = self._core.state()
            if state.end:
                return _core.end_text(state.end)
            if state.remaining == 0:
                return "the lifetime of this host ran out"
            return TAKEN if self._core.hold(handle).state == _core.LOST else ""
        except _core.CoreError:  # another thread closed it in between
            return CLOSED

    def _typed(self, failure: _core.CoreError, action: str, names: Sequence[str]) -> DiskPaxosError:
        """What :meth:`_told` raises: for what is done often."""
        return error_from(failure, action, leases=names, paths=self._space.paths, host=self._name)

    def _told(self, action: str, names: Sequence[str] = (), given: int = 0) -> AbstractContextManager[None]:
        """Failures of the core as typed errors, with what is known here."""
        return translated(action, leases=names, paths=self._space.paths, host=self._name, given=given)

    def _naming_the_holder(self, error: HeldByThisHostError) -> HeldByThisHostError:
        """The core says that a lease is held here; who holds it is known here."""
        with self._lock:
            known = list(self._leases.values())
        holders = [lease for lease in known if lease.name == error.lease]
        if not holders:
            return error
        return HeldByThisHostError(error.lease, label=holders[0].label, mode=holders[0].mode)

    def _give_back(self, leases: Sequence[Lease]) -> None:
        granted = [lease for lease in leases if lease._handle]
        if not granted or self._closed:
            return
        with self._lock:
            for lease in granted:
                self._leases.pop(lease._handle, None)
        try:
            self._core.release(granted, 0)
        except _core.CoreError as trouble:
            if trouble.status not in ("timeout", "closed"):  # the engine goes on by itself
                _log.warning("withdrawing an interrupted acquire: %s", trouble.text)

    def _handle_event(self, event: _core.CoreEvent) -> bool:
        reason = _core.end_text(event.end) if event.end else ""
        name = event.name.decode("utf-8", "replace")
        if event.kind == "lost":
            with self._lock:
                self._losses += 1
                lease = self._leases.get(event.handle)
            if lease is not None:
                name = lease.name
                lease._mark_lost(reason or TAKEN)
        elif event.kind == "finished" and event.end != _core.END_LEFT:
            with self._lock:
                self._losses += 1
                leases = list(self._leases.values())
            for lease in leases:
                lease._mark_lost(reason)
        if event.kind == "finished" and event.end == _core.END_LEFT:
            return True  # by its own wish: nothing to tell
        told = self._told_event(event, name, reason)
        _log.log(_LEVELS.get(event.kind, logging.INFO), "host %r: %s", self._name, _sentence(told))
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(told)
            except Exception:
                _log.exception("a listener of host %r failed", self._name)
        return True

    def _told_event(self, event: _core.CoreEvent, name: str, reason: str) -> HostEvent:
        disk = event.disk if event.kind in _DISK_EVENTS and event.disk < _core.MAX_DISKS else -1
        return HostEvent(
            event.kind,
            name,
            reason,
            disk=disk,
            slot=event.slot if event.kind == "reclaimed" else -1,
            errno=event.errno,
            block=event.block if event.kind == "damaged" else -1,
            path=self._space.path_of(disk),
        )

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forked():
            return
        let_go = False
        try:
            self.release_many(self.leases(), 0)
            let_go = True
            self.leave(0, release=True)
        except DiskPaxosError as trouble:
            if error is not None:
                error.add_note(f"host {self._name!r} at the end of the block: {trouble}")
            elif let_go and isinstance(trouble, WaitTimeoutError):
                # A disk holds on to a write (protocol, ‡S10), but nobody has to wait for what was held.
                _log.warning("host %r could not leave, its slot is left to die: %s", self._name, trouble)
            else:
                raise
        finally:
            self.close()

    def __del__(self) -> None:
        # Not joined to the end, or joined and forgotten.
        if getattr(self, "_closed", True) or self._forked():
            return
        try:
            warnings.warn(
                f"host {self._name!r} was neither left nor closed", ResourceWarning, source=self, stacklevel=2
            )
        finally:  # a warning may be an error
            self.close()

    def __repr__(self) -> str:
        condition = "closed" if self._closed else "alive" if self.alive else "finished"
        return f"<Host {self._name!r} slot={self._slot} generation={self._generation} {condition}>"


_DISK_EVENTS = ("disk_down", "disk_up", "damaged")
_LEVELS = {
    "lost": logging.ERROR,
    "finished": logging.ERROR,
    "damaged": logging.ERROR,
    "disk_down": logging.WARNING,
    "healed": logging.WARNING,
}


class _Moves:
    """Heartbeats of a lease's holder that were seen to come since a moment."""

    def __init__(self, since: float) -> None:
        self._holder = (-1, 0)
        self._start = self._last = since
        self._count = 0

    def seen(self, error: HeldError) -> int:
        """How many, at least, for the holder that ``error`` tells of."""
        holder = (error.slot, error.token)
        if holder != self._holder:
            self._holder, self._last, self._count = holder, self._start, 0
        if error.silent_for is not None:
            moved_at = time.monotonic() - error.silent_for
            if moved_at > self._last + _SAME_MOVE:
                self._last, self._count = moved_at, self._count + 1
        return self._count


def _leave_quietly(core: _core.Host) -> None:
    try:
        core.leave(0)
    except _core.CoreError as trouble:
        _log.warning("leaving after a join that failed: %s", trouble.text)
    finally:
        core.close()


def _sentence(event: HostEvent) -> str:
    where = event.path or (f"disk {event.disk}" if event.disk >= 0 else "several disks")
    match event.kind:
        case "lost":
            return f"lease {event.lease!r} is lost: {event.reason or TAKEN}"
        case "finished":
            return f"the membership is over: {event.reason}"
        case "healed":
            return f"the own block of lease {event.lease!r} was damaged or old and was written again"
        case "damaged":
            return f"damage in lease {event.lease!r}: {where}, block {event.block}"
        case "disk_down":
            return f"{where} is down: {os.strerror(event.errno) if event.errno else 'no answer'}"
        case "disk_up":
            return f"{where} is back"
        case "reclaimed":
            return f"slot {event.slot} of a dead host is free again"
    return event.kind


def _ask(name: str, mode: str, state: str | None, label: str) -> _Ask:
    if state is None and not label and (plain := _core.plain_ask(name, mode)) is not None:
        return plain
    resume = None
    if state is not None:
        saved = SavedState.parse(state)
        resume = (saved.lease.bytes, saved.token)
    return name_bytes(name, "lease"), mode_number(mode), resume, label_bytes(label)
