"""One held lease, and the state string that outlives it."""

from __future__ import annotations

import logging
import os
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from diskpaxos import _core
from diskpaxos.arguments import MODE_NAMES, Mode
from diskpaxos.errors import InvalidStateError, LeaseLostError, LeaseReleasedError

if TYPE_CHECKING:
    from diskpaxos.host import Host

_log = logging.getLogger("diskpaxos")
_STATE = re.compile(r"1:([0-9a-f]{32}):([0-9]{1,20})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Request:
    """One lease wanted of :meth:`Host.acquire_many`; the fields are those of :meth:`Host.acquire`."""

    name: str
    mode: Mode = "exclusive"
    state: str | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class SavedState:
    """What a state string says: the lease's UUID and the token it was held under.

    Its text uses the characters ``[0-9a-f:]`` only.
    """

    lease: uuid.UUID
    token: int

    def __str__(self) -> str:
        return f"1:{self.lease.hex}:{self.token}"

    @classmethod
    def parse(cls, text: str) -> SavedState:
        """:raises InvalidStateError: not what :attr:`Lease.state` returns"""
        try:
            match = _STATE.fullmatch(text)
        except TypeError:
            match = None
        if match is None or int(match[2]) >= 1 << 64:
            raise InvalidStateError(text)
        return cls(uuid.UUID(hex=match[1]), int(match[2]))


class Loss:
    """Set once its lease is lost; something to wait for, in a thread or in a selector.

    It is never set by a release in good order.
    """

    __slots__ = ("_fd", "_lease", "_waking")

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._waking: threading.Event | None = None  # made by the first who waits
        self._fd = -1

    def is_set(self) -> bool:
        """True once the lease is lost.  Asks the native core, so it is right at once."""
        lease = self._lease
        if not lease._over:
            lease._probe()
        return lease._lost

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the lease is lost (True), or released or ``timeout`` seconds over (False)."""
        if not self.is_set():
            with self._lease._lock:
                if self._waking is None:
                    self._waking = threading.Event()
                if self._lease._over:
                    self._waking.set()
                waking = self._waking
            waking.wait(timeout)
        return self.is_set()

    def fileno(self) -> int:
        """A file descriptor that becomes, and stays, readable once the lease is lost.

        Made at the first call and open as long as this object lives; only to be polled.
        """
        with self._lease._lock:
            if self._fd < 0:
                self._fd = os.eventfd(1 if self._lease._lost else 0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            return self._fd

    def _tell(self) -> None:
        """The lease is lost or released; its lock is held."""
        if self._waking is not None:
            self._waking.set()
        if self._fd >= 0 and self._lease._lost:
            os.eventfd_write(self._fd, 1)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)


class Lease(_core.Grant):
    """A lease that this host holds, as :meth:`Host.acquire` returned it.

    It stays held until :meth:`release`, or until it is lost: the host could not renew its
    membership for S seconds, or another host took the lease by force.  Dropping the object does
    not release the lease.  All methods are thread-safe.  As a context manager it is released at
    the end of the block, and LeaseLostError is raised there if it was lost meanwhile.
    """

    # A thousand of them come out of one call: nothing is made here before it is asked for.
    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_host",
        "_label",
        "_lock",
        "_loss",
        "_lost",
        "_mode",
        "_name",
        "_over",
        "_reason",
        "_released",
    )

    def __init__(self, host: Host, name: str, mode: Mode, label: str) -> None:
        self._host = host
        self._lock = host._lock  # one for all: a lock of its own is dear, and seldom wanted
        self._name = name
        self._mode: Mode = mode
        self._label = label
        self._lost = False
        self._released = False
        self._over = False  # lost or released: nothing more will happen
        self._reason = ""
        self._callbacks: tuple[Callable[[Lease], object], ...] = ()
        self._loss: Loss | None = None

    @property
    def name(self) -> str:
        """The lease's name."""
        return self._name

    @property
    def mode(self) -> Mode:
        """ "exclusive" or "shared"."""
        return self._mode

    @property
    def label(self) -> str:
        """What was said about the holder, shown to whoever asks who holds the lease."""
        return self._label

    @property
    def lost(self) -> Loss:
        """Set once the lease is lost; the same object at every call."""
        loss = self._loss
        if loss is None:
            with self._lock:
                loss = self._loss = self._loss or Loss(self)
        return loss

    @property
    def uuid(self) -> uuid.UUID:
        """UUID of the lease, new at every creation of its name."""
        return uuid.UUID(bytes=self._uuid_bytes)

    @property
    def host(self) -> Host:
        """The host that holds it."""
        return self._host

    @property
    def token(self) -> int:
        """The fencing token: every exclusive holder has a larger one than all before it (under
        the same UUID).  Shared holders have that of the last exclusive one, or a larger one."""
        return self._token

    @property
    def state(self) -> str:
        """What to pass as ``state`` to a later acquire, on this host or another, that shall succeed
        only if nobody else took the lease exclusively in between.  Characters: ``[0-9a-f:]``."""
        return str(SavedState(self.uuid, self._token))

    @property
    def held(self) -> bool:
        """True while it is neither released nor lost; never in a forked child, which holds nothing."""
        if self._host._forked():
            return False
        if not self._over:
            self._probe()
        return not self._over

    def remaining(self) -> float:
        """Seconds for which the lease is certainly still held if nothing more is heard from the
        storage; 0.0 when it is lost or released.  Renewal keeps it between 7/8 S and S."""
        if not self.held:
            return 0.0
        return self._host.remaining()

    def check(self) -> None:
        """Return quietly if the lease is held at this moment.

        :raises LeaseLostError: it is lost
        :raises LeaseReleasedError: it was released
        :raises ForkedError: in a forked child
        """
        self._host._check_fork()
        if not self._over:
            self._probe()
        if not self._over:
            return
        if self._lost:
            raise LeaseLostError(self.name, self._reason)
        raise LeaseReleasedError(self.name)

    def release(self, timeout: float | None = None) -> None:
        """Give the lease up; return when that is durable.  A second call does nothing.

        :param timeout: seconds to wait for the storage; None: as long as the host lives
        :raises LeaseLostError: it had been lost before; there is nothing left to release
        :raises WaitTimeoutError: not durable yet; the host goes on trying in the background
        :raises StorageError: likewise
        :raises FinishedError: the host's membership ended meanwhile
        :raises ForkedError: in a forked child
        """
        self._host.release_many([self], timeout)

    def on_lost(self, callback: Callable[[Lease], object]) -> None:
        """Have ``callback(lease)`` called once when the lease is lost; at once if it is already.

        It is called in a thread of the host (or in this one), with no lock held.  It must not
        block for long: the other callbacks of this host wait for it.
        """
        with self._lock:
            if not self._lost:
                self._callbacks = (*self._callbacks, callback)
                return
        callback(self)

    def _probe(self) -> None:
        """Look whether the lease is lost, and make it known if so."""
        if self._over:
            return
        reason = self._host._why_lost(self._handle)
        # Asked in this order: a release by another thread makes the handle unknown, which is no loss.
        if reason and not self._over:
            self._mark_lost(reason)

    def _mark_lost(self, reason: str) -> None:
        with self._lock:
            if self._over:
                return
            self._reason = reason
            self._lost = self._over = True
            if self._loss is not None:
                self._loss._tell()
            callbacks, self._callbacks = self._callbacks, ()
        for callback in callbacks:
            try:
                callback(self)
            except Exception:
                _log.exception("a callback for the loss of lease %r failed", self.name)

    def _mark_released(self) -> bool:
        """True for the one caller that shall release it.  The lock is held."""
        if self._released:
            return False
        self._released = self._over = True
        self._callbacks = ()
        if self._loss is not None:
            self._loss._tell()
        return True

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._host._forked():
            return  # the parent's lease is the parent's to release
        if error is None:
            self.release()
            return
        try:
            self.release()
        except Exception as trouble:
            # The block's own error matters more; the loss is told beside it.
            error.add_note(f"lease {self.name!r} at the end of the block: {trouble}")

    def __repr__(self) -> str:
        condition = "lost" if self._lost else "released" if self._released else "held"
        if condition == "held" and self._host._forked():
            condition = "of the parent process"
        return f"<Lease {self.name!r} {self.mode} token={self._token} {condition}>"


def mode_name(number: int) -> Mode:
    """The name of a mode as the core numbers it; "exclusive" for what it does not know."""
    return MODE_NAMES.get(number, "exclusive")
