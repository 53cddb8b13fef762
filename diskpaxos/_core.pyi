"""Types of the extension module ``diskpaxos._core``: the native core, thinly bound.

Nothing here is meant for users of the package; its own modules wrap it.  Times are integers in
nanoseconds, on CLOCK_BOOTTIME unless said otherwise; names are bytes; buffers for I/O must be
aligned to 4096 bytes (an anonymous ``mmap`` is).  Everything that may block releases the GIL.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

class _Buffer(Protocol):
    def __buffer__(self, flags: int, /) -> memoryview: ...

MAGIC: Final[bytes]
FORMAT_VERSION: Final[int]
MAX_DISKS: Final[int]
MIN_HOSTS: Final[int]
MAX_HOSTS: Final[int]
MIN_LEASES: Final[int]
MAX_LEASES: Final[int]
LEASE_NAME_MAX: Final[int]
SPACE_NAME_MAX: Final[int]
HOST_NAME_MAX: Final[int]
LABEL_MAX: Final[int]
BALLOT_SLOTS: Final[int]
BALLOT_CEILING: Final[int]
DIRECTORY_AREA: Final[int]
DIRECTORY_NAME: Final[bytes]
NOTICE_FENCED: Final[int]
NOTICE_GENERATION: Final[int]

#: Names of dpx_status (without DPX_E_, lower case), by value.
STATUSES: Final[tuple[str, ...]]
#: Texts of dpx_flaw, by value; [0] is that of a sound block.
FLAWS: Final[tuple[str, ...]]
#: Names of dpx_drain, by value; [0] is "": not drained.
DRAINS: Final[tuple[str, ...]]

def now() -> int: ...
def bare_io(fd: int, data: _Buffer | memoryview, write_at: int, room: _Buffer | memoryview, read_at: int) -> int:
    """Write ``data``, then fill ``room``, in the caller's thread (either may be empty): how many
    nanoseconds that took.  What a lease operation is held against, no more."""

def crc32c(data: _Buffer | bytes, crc: int = 0) -> int: ...
def crc32c_portable(data: _Buffer | bytes, crc: int = 0) -> int: ...
def name_valid(name: bytes, limit: int) -> bool: ...
def plain_ask(name: str, mode: str) -> tuple[bytes, int, None, bytes] | None:
    """What Host.acquire takes to ask for a lease, with nothing to resume and no label; None: name or mode
    is not valid, or of a type of its own."""

def dead_time(outage_tolerance: int, kill_grace: int, watchdog_timeout: int) -> int: ...
def end_text(end: int) -> str: ...

class Field(NamedTuple):
    """One row of the layout table; ``kind`` 0 is the common header, ``type`` one of u b s i."""

    kind: int
    name: str
    offset: int
    size: int  # bytes of one element
    elements: int
    type: str

def fields() -> tuple[Field, ...]: ...

class CoreError(Exception):
    """A dpx_failure as it is; diskpaxos.failure turns it into a typed error."""

    status: str
    text: str
    errno: int
    item: int
    disk: int
    block: int
    value: int
    flaw: str
    end: int
    slot: int
    generation: int
    hold: int
    mode: int
    held_since: int
    label: str
    lowering: bool
    alive: bool
    dead: bool
    watched: bool
    silent_for: int
    free_in: int
    claim_time: int
    took: tuple[int, int, int]
    host_name: str
    path: str

class Geometry:
    """Shape of a lockspace and the format room's functions on it.  Immutable.

    The constructor raises ValueError when a value is out of range.
    """

    uuid: Final[bytes]
    name: Final[bytes]
    block_size: Final[int]
    max_hosts: Final[int]
    max_leases: Final[int]
    disks: Final[int]
    disk_generations: Final[tuple[int, ...]]
    outage_tolerance: Final[int]
    kill_grace: Final[int]
    watchdog_timeout: Final[int]
    claim_time: Final[int]
    features_compatible: Final[int]
    features_incompatible: Final[int]
    created_at: Final[int]
    slots_at: Final[int]
    notices_at: Final[int]
    groups_at: Final[int]
    group_blocks: Final[int]
    areas_at: Final[int]
    notice_blocks: Final[int]
    notice_entries: Final[int]
    area_blocks: Final[int]
    total_blocks: Final[int]
    dead_time: Final[int]

    def __init__(
        self,
        *,
        uuid: bytes,
        name: bytes,
        block_size: int,
        max_hosts: int,
        max_leases: int,
        disks: int,
        disk_generations: Sequence[int],
        outage_tolerance: int,
        kill_grace: int,
        watchdog_timeout: int,
        claim_time: int,
        created_at: int,
        features_compatible: int = 0,
        features_incompatible: int = 0,
    ) -> None: ...
    def slot_block(self, slot: int) -> int: ...
    def notice_block(self, slot: int, part: int) -> int: ...
    def header_block(self, area: int) -> int: ...
    def own_block(self, area: int, slot: int) -> int: ...
    def place(self, index: int) -> tuple[int, int, int, int]:
        """What lies at a block number: (kind or 0, slot, part, area)."""

    def home_area(self, name: bytes) -> int: ...
    def encode_superblock(self, disk: int, sequence: int, written_at: int) -> bytes: ...
    def encode_header(
        self,
        disk: int,
        area: int,
        *,
        directory_token: int,
        sequence: int,
        written_at: int,
        state: int,
        lease: bytes,
        first_ballot: int,
        created_at: int,
        name: bytes,
    ) -> bytes: ...
    def encode_empty(self, buffer: _Buffer | memoryview, disk: int, first: int, written_at: int) -> None:
        """Fill the buffer (whole blocks) with the empty blocks from index ``first`` on."""

    def check(self, buffer: _Buffer | memoryview, disk: int, first: int) -> bytes:
        """One flaw (index into FLAWS) per block of the buffer; padding counts as sound."""

    def seal(self, buffer: _Buffer | memoryview, disk: int) -> None:
        """Put the disk index and a right checksum into every block of the buffer that has a magic."""

def superblock_decode(data: _Buffer | bytes | memoryview) -> tuple[str, Geometry | None, int, int]:
    """(flaw text or "", geometry, disk index, sequence)."""

class DiskState(NamedTuple):
    path: str
    disk: int  # index in the lockspace; -1: not known
    online: bool
    trouble: str  # status name, "" when online
    errno: int
    network: bool
    block_device: bool
    oldest: int

class Space:
    geometry: Final[Geometry]

    def __init__(self, paths: Sequence[bytes], read_only: bool, timeout: int) -> None: ...
    def disks(self) -> list[DiskState]: ...
    def read(self, disk: int, block: int, buffer: _Buffer | memoryview, timeout: int) -> None:
        """Fill the buffer (whole blocks) from ``block`` on."""

    def write(self, disk: int, block: int, buffer: _Buffer | memoryview, timeout: int) -> None: ...
    def close(self) -> None: ...

class Grant:
    """What an acquire was granted for one of its asks."""

    @property
    def _handle(self) -> int:
        """0: nothing."""

    @property
    def _token(self) -> int: ...
    @property
    def _uuid_bytes(self) -> bytes:
        """UUID of the lease."""

_Grant = TypeVar("_Grant", bound=Grant)

class HoldInfo(NamedTuple):
    handle: int
    state: int  # HELD, LOST, UNKNOWN
    lease: bytes
    token: int
    mode: int
    name: bytes

class HostState(NamedTuple):
    end: int  # 0: alive
    slot: int
    generation: int
    nonce: bytes
    lifetime_end: int
    remaining: int
    realtime: bool
    harden_error: int
    lowering: int
    beats: int
    missed: int
    last_issue: int
    last_duration: int
    worst_duration: int
    notices: int
    counter: int

class CoreEvent(NamedTuple):
    kind: str  # lost, finished, healed, disk_down, disk_up, damaged, reclaimed
    handle: int
    end: int
    disk: int
    slot: int
    errno: int
    block: int
    name: bytes

class PeerInfo(NamedTuple):
    slot: int
    generation: int
    counter: int
    self: bool
    free: bool
    damaged: bool
    dead: bool
    drain: int
    moved: bool
    silent_for: int
    until_silent: int

#: The dpx_end of a host that left.
END_LEFT: Final[int]
HELD: Final[int]
LOST: Final[int]
UNKNOWN: Final[int]
MODE_NONE: Final[int]
MODE_SHARED: Final[int]
MODE_EXCLUSIVE: Final[int]

class Host:
    """A joined host.  A timeout of None waits for ever; waits end early when ``interrupt()`` was
    called or a Python signal handler raised: the exception then goes on to the caller, and what an
    acquire had been granted at that very moment is released again."""

    def __init__(
        self,
        space: Space,
        *,
        host_name: bytes,
        slot: int | None,
        retire: bool,
        realtime: bool,
        machine: bytes,
        boot: bytes,
        runtime: bytes,
        software: int,
        timeout: int | None,
    ) -> None: ...
    def acquire(
        self,
        asks: Sequence[tuple[bytes, int, tuple[bytes, int] | None, bytes]],
        create: bool,
        timeout: int | None,
        grants: list[_Grant],
        held: dict[int, _Grant],
    ) -> None:
        """asks: name, mode, what to resume (lease UUID, token), label.  Fills in ``grants``, one for
        each, and enters them in ``held`` by their handles: here, so that no signal can come between
        the grant and the caller's knowing of it."""

    def release(self, grants: list[_Grant], timeout: int | None) -> None: ...
    def create(self, name: bytes, timeout: int | None) -> None: ...
    def delete(self, name: bytes, timeout: int | None) -> None: ...
    def hold(self, handle: int) -> HoldInfo: ...
    def held(self, handle: int) -> bool:
        """The state is HELD, the lifetime of this host considered."""

    def holds(self) -> list[HoldInfo]: ...
    def state(self) -> HostState: ...
    def event_fd(self) -> int: ...
    def next_event(self) -> CoreEvent | None: ...
    def retire(self, slot: int, timeout: int | None) -> None: ...
    def ask(self, slot: int, area: int) -> None: ...
    def rewrite(self, area: int, timeout: int | None) -> None: ...
    def resolve(self, area: int, timeout: int | None) -> None: ...
    def peers(self) -> list[PeerInfo]: ...
    def leave(self, timeout: int | None) -> None: ...
    def interrupt(self) -> None:
        """End every wait of every thread, now and later."""

    def close(self) -> None:
        """Stop and free, once no call is under way; an unfreed slot is left to die."""
