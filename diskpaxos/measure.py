"""How fast lease operations are on some storage, against the same I/Os made bare: what
`diskpaxos bench` does.

Nothing that a lockspace in use depends on is touched: this joins a host slot of its own like any
host, and takes leases that it made itself and deletes afterwards.  The bare writes go to a file
without a name in the same directory; on a block device, to the padding behind the area of one of
those leases, which nobody ever reads.

What a run that was killed has left behind is removed by the next one, or named by it (Leftovers).
"""

from __future__ import annotations

import errno
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from diskpaxos import _core
from diskpaxos.errors import DiskPaxosError, LeaseNotFoundError, NoDirectIOError, PathError, claim_time_for
from diskpaxos.host import Host
from diskpaxos.lockspace import Lockspace
from diskpaxos.rawdisk import aligned_view
from diskpaxos.views import HostInfo, Liveness

BATCH = 8  #: leases in one request
PREFIX = "diskpaxos-bench-"  #: of everything that is made here and removed again
_LEASE = re.compile(re.escape(PREFIX) + r"(\d+)\.(\d+)-\d+")  # by which slot, in which generation, it was made
_MOST = 100_000  # operations; what is slow takes fewer in its time
_MARGIN = 16  # S against the slowest operation: even that one then fits twice between two heartbeats
_LEAST = 2.0  # seconds; below it, the scheduler of a busy machine is what decides

Progress = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Times:
    """Durations of one operation in seconds, sorted."""

    seconds: tuple[float, ...]

    def at(self, share: float) -> float:
        """The duration that this share of all did not exceed."""
        return self.seconds[min(len(self.seconds) - 1, int(len(self.seconds) * share))]

    @property
    def median(self) -> float:
        """What half of them did not exceed."""
        return self.at(0.5)

    @property
    def worst(self) -> float:
        """The longest."""
        return self.seconds[-1]


@dataclass(frozen=True)
class Operation:
    """One operation, and the same I/Os made bare (None: they could not be)."""

    name: str
    ios: str  #: W: a write of one block, R: a read of one lease's area
    ours: Times
    floor: Times | None

    @property
    def ratio(self) -> float | None:
        """Of the medians: what diskpaxos adds."""
        return self.ours.median / self.floor.median if self.floor else None


@dataclass(frozen=True)
class Leftovers:
    """What other runs had not removed: leases, and where PATH is a directory, lockspaces in it."""

    removed: tuple[str, ...]
    remaining: tuple[str, ...]  #: their run may be going on, or somebody else has to decide


@dataclass(frozen=True)
class Measured:
    """What came of it."""

    path: str
    lockspace: bool  #: of an existing lockspace; False: of a temporary one in a directory
    block_size: int
    max_hosts: int
    read_bytes: int  #: one lease's area
    join: float  #: seconds
    heartbeat: float  #: the slowest one
    outage_tolerance: float  #: S of the lockspace measured
    claim_time: float  #: T_claim of it
    leftovers: Leftovers
    operations: tuple[Operation, ...] = field(repr=False)

    @property
    def slowest(self) -> float:
        """The slowest operation of at most two I/Os, bare ones and heartbeats included."""
        times = [t for o in self.operations for t in (o.ours, o.floor) if t is not None and not o.ios.startswith("8")]
        return max([self.heartbeat, *(t.worst for t in times)])

    @property
    def needed(self) -> float:
        """The smallest S that what was seen allows, in seconds."""
        return max(_LEAST, float(-(-self.slowest * _MARGIN // 1)))

    @property
    def needed_to_join(self) -> float:
        """The smallest T_claim that what was seen allows: two reads and a write in a row, each as slow as the slowest
        operation, which has one of each."""
        each = self.slowest
        return claim_time_for((each, each, each))


class _Floor:
    """The bare I/Os of a take and of a release."""

    def __init__(self, space: Lockspace, lease: str) -> None:
        shape = space.geometry
        path = space.paths[0]
        self._fd = -1
        self._at: int | None = 0
        self._area = (1 + shape.max_hosts) * shape.block_size
        self._room = aligned_view(self._area)
        self._data = aligned_view(shape.block_size)
        self._nothing = aligned_view(shape.block_size)[:0]
        self._from = 0
        if space._use().disks()[0].block_device:
            self._fd = _direct(path, os.O_RDWR)
            area = next(known.area for known in space.leases() if known.name == lease)
            self._from = shape.header_block(area) * shape.block_size
            padded = shape.area_blocks > 1 + shape.max_hosts
            self._at = self._from + self._area if padded else None
            if padded:
                _core.bare_io(self._fd, self._nothing, 0, self._data, self._from + self._area)
            return
        scratch = Path(path).with_name(f".{PREFIX}{uuid.uuid4().hex}")
        try:
            self._fd = _direct(str(scratch), os.O_RDWR | os.O_CREAT | os.O_EXCL)
        finally:
            with suppress(FileNotFoundError):
                scratch.unlink()
        step = len(self._room) // 4096 * 4096 + 4096
        self._at = self._from + 4096
        _core.bare_io(self._fd, aligned_view(step), 0, self._nothing, 0)

    def write(self) -> float | None:
        """Seconds for one write."""
        if self._at is None:
            return None
        return _core.bare_io(self._fd, self._data, self._at, self._nothing, 0) / 1e9

    def pair(self) -> float | None:
        """Seconds for one write and then one read."""
        if self._at is None:
            return None
        return _core.bare_io(self._fd, self._data, self._at, self._room, self._from) / 1e9

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _direct(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_DIRECT | os.O_DSYNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise NoDirectIOError(path) from None
        raise PathError(path, error.errno or errno.EIO) from None


@contextmanager
def _space_for(paths: tuple[str, ...], max_hosts: int) -> Iterator[tuple[Lockspace, bool]]:
    """The lockspace at ``paths``, or a temporary one in the directory that they name."""
    if len(paths) > 1 or not Path(paths[0]).is_dir():
        with Lockspace.open(paths) as space:
            yield space, True
        return
    path = Path(paths[0]) / f"{PREFIX}{uuid.uuid4().hex}"
    try:
        with Lockspace.create(path, "bench", max_hosts=max_hosts, max_leases=4 * BATCH) as space:
            yield space, False
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _scratch_leases(host: Host) -> Iterator[list[str]]:
    """Leases that nobody else knows, named after the incarnation that makes them."""
    names: list[str] = []
    try:
        for number in range(BATCH):
            names.append(f"{PREFIX}{host.slot}.{host.generation}-{number}")
            host.create(names[-1], timeout=30)
        yield names
    finally:
        for name in names:
            with suppress(DiskPaxosError):  # what stays says by its name what it is
                host.delete(name, timeout=30)


class _Sweep:
    """Leases of runs that were killed, and lockspaces ``beside`` the one that is measured.

    A lease says by its name who made it: that very incarnation has to be dead, or gone from its slot,
    before the lease is deleted; and a deletion never touches what somebody holds.
    """

    def __init__(self, space: Lockspace, host: Host, beside: list[str]) -> None:
        self._space = space
        self._host = host
        self._beside = beside
        self._removed: list[str] = []
        self._left = [known.name for known in space.leases() if _LEASE.fullmatch(known.name)]

    def sweep(self) -> None:
        """Delete what nobody uses any more; as nobody would miss them, trouble leaves them where they are."""
        if not self._left:
            return
        hosts = self._space.hosts()
        for name in list(self._left):
            if self._in_use(name, hosts):
                continue
            try:
                self._host.delete(name)
            except LeaseNotFoundError:
                self._left.remove(name)  # its own run has removed it meanwhile
            except DiskPaxosError:
                continue
            else:
                self._left.remove(name)
                self._removed.append(name)

    @staticmethod
    def _in_use(name: str, hosts: list[HostInfo]) -> bool:
        """Whether the run that made it may be going on."""
        slot, generation = (int(number) for number in _LEASE.findall(name)[0])
        maker = hosts[slot] if slot < len(hosts) else None
        if maker is None or maker.generation != generation:
            return False
        return maker.liveness not in (Liveness.FREE, Liveness.DEAD)

    def found(self) -> Leftovers:
        """What came of it."""
        return Leftovers(tuple(self._removed), (*self._left, *filter(os.path.exists, self._beside)))


def _lockspaces_of_others(path: Path) -> list[str]:
    """Temporary lockspaces in a directory: whether anybody measures on them is not for us to guess."""
    return sorted(str(found) for found in path.glob(f"{PREFIX}*")) if path.is_dir() else []


class _Series:
    """Operations and floors in turn, for a while."""

    def __init__(self, host: Host, floor: _Floor, names: list[str]) -> None:
        self._host = host
        self._floor = floor
        self._names = names
        self._ours: dict[str, list[float]] = {"take": [], "release": [], "batch": []}
        self._bare: dict[str, list[float]] = {"take": [], "release": []}

    def _note(self, name: str, floor: float | None, begun: float) -> None:
        self._ours[name].append(time.perf_counter() - begun)
        if floor is not None:
            self._bare[name].append(floor)

    def once(self) -> None:
        floor = self._floor.pair()
        begun = time.perf_counter()
        lease = self._host.acquire(self._names[0], create=False)
        self._note("take", floor, begun)
        floor = self._floor.write()
        begun = time.perf_counter()
        lease.release()
        self._note("release", floor, begun)

    def batch(self) -> None:
        begun = time.perf_counter()
        leases = self._host.acquire_many(self._names, create=False)
        self._note("batch", None, begun)
        self._host.release_many(leases)

    def run(self, seconds: float, progress: Progress | None) -> None:
        begun = time.monotonic()
        for number in range(_MOST):
            self.once()
            if number % 8 == 0:
                self.batch()
                passed = time.monotonic() - begun
                if passed >= seconds:
                    break
                if progress is not None:
                    progress("measuring", round(min(passed, seconds) * 10), round(seconds * 10))

    def operations(self) -> tuple[Operation, ...]:
        def times(found: list[float]) -> Times | None:
            return Times(tuple(sorted(found))) if found else None

        rows = (
            ("take", "take, area known", "W R"),
            ("release", "release", "W"),
            ("batch", f"{BATCH} leases in one request", f"{BATCH} W, {BATCH} R"),
        )
        return tuple(
            Operation(name, ios, Times(tuple(sorted(self._ours[key]))), times(self._bare.get(key, [])))
            for key, name, ios in rows
        )


def measure(
    paths: tuple[str, ...], *, seconds: float = 45.0, max_hosts: int = 64, progress: Progress | None = None
) -> Measured:
    """Measure on the lockspace at ``paths``, or on a temporary one in a directory.

    :param seconds: how long to repeat the operations; making, joining and removing come on top
    :param max_hosts: of a temporary lockspace
    :raises NotFormattedError: neither a lockspace nor a directory; nothing was written
    """
    beside = _lockspaces_of_others(Path(paths[0]))
    with ExitStack() as stack:
        space, existing = stack.enter_context(_space_for(paths, max_hosts))
        begun = time.perf_counter()
        host = stack.enter_context(space.join("bench"))
        joined = time.perf_counter() - begun
        others = _Sweep(space, host, beside)
        others.sweep()
        names = stack.enter_context(_scratch_leases(host))
        floor = _Floor(space, names[0])
        stack.callback(floor.close)
        series = _Series(host, floor, names)
        for _ in range(3):  # warm
            _Series(host, floor, names).once()
        series.run(seconds, progress)
        others.sweep()  # a minute later more is known about who is dead
        shape = space.geometry
        return Measured(
            path=paths[0],
            lockspace=existing,
            block_size=shape.block_size,
            max_hosts=shape.max_hosts,
            read_bytes=(1 + shape.max_hosts) * shape.block_size,
            join=joined,
            heartbeat=host.status().worst_duration,
            outage_tolerance=shape.outage_tolerance / 1e9,
            claim_time=shape.claim_time / 1e9,
            leftovers=others.found(),
            operations=series.operations(),
        )
