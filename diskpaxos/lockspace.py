"""A lockspace: creating, opening, joining and looking at it."""

from __future__ import annotations

import errno
import functools
import logging
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from diskpaxos import _core, identity, mounts
from diskpaxos._version import software_number
from diskpaxos.arguments import Paths, name_bytes, nanoseconds, path_list
from diskpaxos.errors import (
    BeingFormattedError,
    ClaimCollisionError,
    ClosedError,
    ForkedError,
    InvalidArgumentError,
    NoFreeSlotError,
)
from diskpaxos.failure import translated
from diskpaxos.host import Host
from diskpaxos.views import DiskInfo, HostInfo, LeaseInfo, LockspaceInfo

if TYPE_CHECKING:
    from diskpaxos.check import Finding
    from diskpaxos.repair import RepairReport

#: Called with (what is being done, bytes or steps done, of how many).
Progress = Callable[[str, int, int], object]

_log = logging.getLogger("diskpaxos")

_OPEN_TIMEOUT = 10.0
_JOIN_TIMEOUT = 10.0


class Lockspace:
    """An opened lockspace: 1, 3 or 5 disks, of which a majority answers.

    Thread-safe.  As a context manager it is closed at the end of the block, hosts that joined
    through it first.
    """

    def __init__(self, core: _core.Space, paths: tuple[str, ...], read_only: bool) -> None:
        """For :meth:`open` and :meth:`create` only."""
        self._core = core
        self._paths = paths
        self._read_only = read_only
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._hosts: weakref.WeakSet[Host] = weakref.WeakSet()
        self._avoid: dict[int, int] = {}  # disks that did not answer: until when views pass them over
        self._closed = False

    @classmethod
    def create(
        cls,
        paths: Paths,
        name: str | None = None,
        max_hosts: int = 64,
        max_leases: int = 1024,
        block_size: int | None = None,
        outage_tolerance: float = 40.0,
        kill_grace: float = 10.0,
        watchdog_timeout: float = 10.0,
        claim_time: float = 1.0,
        *,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Lockspace:
        """Format a lockspace and open it.

        :param paths: 1, 3 or 5 files (made when missing) or block devices
        :param name: 1 to 63 bytes of UTF-8, for people; default: the first path's last part
        :param max_hosts: host slots, 2 to 4096; give at least twice as many as there are machines
        :param max_leases: named leases, 2 to 1,048,576, the built-in directory included
        :param block_size: 512 or 4096 bytes; default: what the devices need
        :param outage_tolerance: S, seconds for which storage may be unreachable before a host gives up
        :param kill_grace: K, seconds that holders then have to stop
        :param watchdog_timeout: W, seconds of the hardware watchdog; at most K
        :param claim_time: T_claim, seconds within which two reads and a write, one after the other, are done on
            healthy storage; at most S / 4
        :param force: overwrite what lies there, also a lockspace whose hosts did not leave, provided
            that none of them writes a heartbeat while it is watched for T_dead
        :param progress: told how far it is
        :raises NotEmptyError, InUseError, DeviceSizeError, BlockSizeError, NoDirectIOError, PathError,
            SameDiskError: refused, and nothing changed
        :raises BeingFormattedError: another one is formatting it, and goes on
        :raises InvalidArgumentError: a value out of its range
        :raises StorageError: while writing; then no valid lockspace is there
        """
        from diskpaxos.create import Plan, create_lockspace

        listed = path_list(paths)
        plan = Plan.make(
            disks=len(listed),
            name=name if name is not None else Path(listed[0]).absolute().name,
            max_hosts=max_hosts,
            max_leases=max_leases,
            block_size=block_size,
            outage_tolerance=outage_tolerance,
            kill_grace=kill_grace,
            watchdog_timeout=watchdog_timeout,
            claim_time=claim_time,
        )
        mounts.warn_about(listed)
        made = create_lockspace(listed, plan, force=force, progress=progress)
        space = cls.open(listed)
        if space.geometry.uuid != made.uuid:
            space.close()
            raise BeingFormattedError(listed[0])
        return space

    @classmethod
    def open(cls, paths: Paths, *, read_only: bool = False, timeout: float = _OPEN_TIMEOUT) -> Lockspace:
        """Open a lockspace; a majority of its disks must be sound and answer within ``timeout`` seconds.

        :param paths: its disks, in any order
        :param read_only: only look, never join
        :raises PathError, NotFormattedError, IncompatibleError, DamagedError, TruncatedError,
            BlockSizeError, NoDirectIOError, OtherLockspaceError, SameDiskError, DiskCountError,
            OutdatedDiskError, NoMajorityError: see their texts
        """
        listed = path_list(paths)
        limit = nanoseconds(timeout)
        if limit is None:
            raise InvalidArgumentError("opening needs a timeout")
        with translated("open", paths=listed, given=len(listed)):
            core = _core.Space([os.fsencode(path) for path in listed], read_only, limit)
        return cls(core, listed, read_only)

    # ---- members

    def join(
        self,
        host_name: str | None = None,
        *,
        timeout: float | None = _JOIN_TIMEOUT,
        realtime: bool = True,
        slot: int | None = None,
    ) -> Host:
        """Become a member: claim a host slot and start the heartbeat.

        :param host_name: a label, 1 to 63 bytes of UTF-8; default: the machine's host name
        :param timeout: seconds to go on trying while slots are contended or all taken; None: for ever.  An
            attempt under way is brought to its end
        :param realtime: try to give the heartbeat thread real-time priority and locked memory
        :param slot: this slot and no other (for repair); default: any
        :raises NoFreeSlotError: says which slot waits for what
        :raises ClaimCollisionError, NotDrainedError, TimingError, StorageError, ReadOnlyError: see
            their texts
        """
        return self._join(host_name, timeout, realtime, slot)

    def _join(
        self, host_name: str | None, timeout: float | None, realtime: bool, slot: int | None, *, retire: bool = False
    ) -> Host:
        core = self._use()
        name = identity.default_host_name() if host_name is None else host_name
        encoded, limit = name_bytes(name, "host"), nanoseconds(timeout)
        if slot is not None and not 0 <= slot < self.geometry.max_hosts:
            raise InvalidArgumentError(f"slot must be 0 to {self.geometry.max_hosts - 1}, not {slot}")
        self._warn_about_mounts()
        try:
            with translated("join", paths=self._paths, host=name, given=-1 if slot is None else slot):
                joined = _core.Host(
                    core,
                    host_name=encoded,
                    slot=slot,
                    retire=retire,
                    realtime=realtime,
                    machine=identity.machine_uuid().bytes,
                    boot=identity.boot_uuid().bytes,
                    runtime=identity.runtime_directory(),
                    software=software_number(),
                    timeout=limit,
                )
        except NoFreeSlotError as error:
            from diskpaxos.inspect import explain_full

            raise explain_full(self, error) from None
        host = Host(self, joined, name)
        with self._lock:
            self._hosts.add(host)
            closed = self._closed
        if closed:  # by another thread, to which this host was not known yet
            host.close()
            self._use()
        self._warn_of_few_slots(joined)
        refused = joined.state().harden_error
        if refused:
            _warn_once_of_soft_heartbeats(refused)
        return host

    # ---- views

    @property
    def paths(self) -> tuple[str, ...]:
        """Its disks, as given."""
        return self._paths

    @property
    def geometry(self) -> _core.Geometry:
        """Its shape, as the native core sees it."""
        return self._core.geometry

    @property
    def name(self) -> str:
        """Its name."""
        return self.geometry.name.decode("utf-8", "replace")

    @property
    def uuid(self) -> uuid.UUID:
        """Its UUID."""
        return uuid.UUID(bytes=self.geometry.uuid)

    @property
    def read_only(self) -> bool:
        """True when opened for reading only."""
        return self._read_only

    def path_of(self, disk: int) -> str:
        """The path of a disk by its index in the lockspace; "" where it is not known."""
        if disk < 0 or self._closed or self._forked():
            return ""
        return next((found.path for found in self._core.disks() if found.disk == disk), "")

    def info(self) -> LockspaceInfo:
        """What the superblock says, and how the disks are."""
        core, shape = self._use(), self.geometry
        disks = tuple(
            DiskInfo(
                path=disk.path,
                index=disk.disk,
                online=disk.online,
                trouble=(os.strerror(disk.errno) if disk.errno else disk.trouble.replace("_", " ")),
                network=disk.network,
                block_device=disk.block_device,
                generation=shape.disk_generations[disk.disk] if disk.disk >= 0 else 0,
            )
            for disk in core.disks()
        )
        return LockspaceInfo(
            name=self.name,
            uuid=self.uuid,
            format_version=_core.FORMAT_VERSION,
            features_compatible=shape.features_compatible,
            features_incompatible=shape.features_incompatible,
            block_size=shape.block_size,
            max_hosts=shape.max_hosts,
            max_leases=shape.max_leases,
            size=shape.total_blocks * shape.block_size,
            outage_tolerance=shape.outage_tolerance / 1e9,
            kill_grace=shape.kill_grace / 1e9,
            watchdog_timeout=shape.watchdog_timeout / 1e9,
            claim_time=shape.claim_time / 1e9,
            dead_time=shape.dead_time / 1e9,
            heartbeat=shape.outage_tolerance / 8e9,
            created_at=shape.created_at / 1e9,
            disks=disks,
        )

    def hosts(self, watch: float = 0.0) -> list[HostInfo]:
        """All host slots, by number.

        :param watch: seconds to watch for heartbeats; without a look at the clock of its own this
            process cannot tell a living host from a dead one, unless a host has joined through this
            object and watches anyway.  S / 4 shows every healthy host alive, T_dead every dead one dead.
        """
        from diskpaxos.inspect import host_views

        return host_views(self, watch)

    def leases(self, watch: float = 0.0) -> list[LeaseInfo]:
        """All named leases, by name, with their holders; ``watch`` as for :meth:`hosts`."""
        from diskpaxos.inspect import lease_views

        return lease_views(self, watch)

    def dump(
        self, *, block: int | None = None, slot: int | None = None, area: int | None = None, disk: int = 0
    ) -> dict[str, Any]:
        """One block of one disk, decoded: every field by name, with "flaw" saying whether it is sound.

        Give ``block`` (its number), ``slot`` (its record), ``area`` (its header), both of the last
        (that slot's own block there), or none (the superblock).
        """
        from diskpaxos.inspect import dump_block

        return dump_block(self, block=block, slot=slot, area=area, disk=disk)

    def unanswered(self) -> dict[str, float]:
        """Paths of the disks that have an I/O under way, and for how many seconds the oldest of each has been.

        A process with an I/O that does not return cannot end before the kernel gives it back.
        """
        now = _core.now()
        return {disk.path: max(now - disk.oldest, 0) / 1e9 for disk in self._use().disks() if disk.oldest}

    # ---- maintenance

    def delete(self, name: str, timeout: float | None = 0) -> None:
        """Delete a lease that nobody holds; joins for the moment if no host has joined here.

        :raises LeaseNotFoundError, HeldError: see their texts
        """
        name_bytes(name, "lease")
        with self.member() as host:
            host.delete(name, timeout)

    def retire(self, slot: int, timeout: float | None = None) -> None:
        """:meth:`Host.retire`; joins for the moment if no host has joined here, in that very slot if no
        other is to be had at once."""
        try:
            with self.member(timeout=0) as host:
                host.retire(slot, timeout)
        except (NoFreeSlotError, ClaimCollisionError):
            limit = 2 * self.geometry.dead_time / 1e9 if timeout is None else timeout
            with self._join(None, limit, False, slot, retire=True):
                pass  # leaving frees it

    def check(self) -> list[Finding]:
        """Everything that is damaged or inconsistent on any disk; changes nothing."""
        from diskpaxos.check import check

        return check(self)

    def repair(self, *, progress: Progress | None = None) -> RepairReport:
        """Mend what can be mended without a risk to any lease; say what cannot."""
        from diskpaxos.repair import repair

        return repair(self, progress=progress)

    @contextmanager
    def member(self, host_name: str | None = None, *, timeout: float | None = _JOIN_TIMEOUT) -> Iterator[Host]:
        """A host of this object that is alive, or one that joins for the block (``timeout`` as for :meth:`join`) and
        leaves after it."""
        with self._lock:
            alive = [host for host in self._hosts if host.alive]
        if alive:
            yield alive[0]
            return
        with self.join(host_name, timeout=timeout, realtime=False) as host:
            yield host

    def close(self) -> None:
        """Close the disks; hosts that joined through this object are closed first, without leaving."""
        if self._forked():
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            hosts = list(self._hosts)
        for host in hosts:
            host.close()
        self._core.close()

    # ---- inside

    def _forked(self) -> bool:
        return os.getpid() != self._pid

    def _use(self) -> _core.Space:
        if self._forked():
            raise ForkedError(f"lockspace {self._paths[0]}")
        if self._closed:
            raise ClosedError(f"lockspace {self._paths[0]}")
        return self._core

    def _forget(self, host: Host) -> None:
        with self._lock:
            self._hosts.discard(host)

    def _warn_about_mounts(self) -> None:
        mounts.warn_about(tuple(disk.path for disk in self._core.disks() if disk.online and disk.network))

    def _warn_of_few_slots(self, joined: _core.Host) -> None:
        """Before nobody can join any more: jobs that wait for one lease take a slot each."""
        total = self.geometry.max_hosts
        free = sum(peer.free for peer in joined.peers())
        if free < max(2, total // 8):
            _log.warning(
                "host slots run low: %d of %d are free in %s; every process that has joined takes one, also while it "
                "only waits for a lease (`diskpaxos hosts` shows whose they are)",
                free,
                total,
                self._paths[0],
            )

    def __enter__(self) -> Lockspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forked():
            return
        with self._lock:
            hosts = list(self._hosts)
        try:
            for host in hosts:
                host.__exit__(kind, error, trace)
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<Lockspace {self.name!r} at {', '.join(self._paths)}>"


@functools.cache
def _warn_once_of_soft_heartbeats(refused: int) -> None:
    """Once in a process: it is about what the process may do, not about one host of it."""
    _log.warning(
        "heartbeats go without real-time priority or locked memory (%s): a machine that is very busy, or swaps, may "
        "lose its leases; allow both (CAP_SYS_NICE and CAP_IPC_LOCK, or the limits rtprio and memlock)",
        f"{os.strerror(refused)}, {errno.errorcode.get(refused, refused)}",
    )
