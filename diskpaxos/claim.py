"""The claim on disks that are being formatted or rebuilt: of several that begin at once, on whatever hosts,
one goes on.

All that hosts share is the medium, so the claim lies on it, where the superblock belongs, by reads and writes
of blocks (Fischer's timed mutual exclusion, as for host slots):

1. *Look.*  A claim of somebody else is watched: if it changes, he lives, and this one gives way.  If it stays
   the same for `STALE` s, he was killed or stopped, and counts for nothing.
2. *Ask.*  Within `LIMIT` s of a read that shows what the look did, the own claim is written to every disk.  A
   write that took longer is void: it may have come after what others have done since; look again.
3. *Wait* for `SETTLE` s, more than `LIMIT`: whoever read before our claim was there has written by then, or
   knows that he is void.
4. *Read.*  The own claim on every disk: they are ours.  Of several who each find some disks their own, the one
   of the highest UUID stays.  The others take theirs back; he waits until they have, and asks again.
5. *Hold.*  Whatever is written is written within `AGE` s of a read that showed the own claims; every second the
   claim itself is written anew, which is what tells others that this one lives.

Who was stopped finds out at that read, before he writes again.  What is left is a stop, or an I/O that hangs,
for longer than `STALE` between that read and the end of the write that follows.  So who is done reads back all
that he wrote, and again what lies there after the superblocks; and hosts notice a superblock of another lockspace
at their next heartbeat.
"""

from __future__ import annotations

import errno
import os
import struct
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from diskpaxos import _core, identity
from diskpaxos.errors import BeingFormattedError, DiskPaxosError, StorageError
from diskpaxos.rawdisk import RawDisk, aligned_view

HEAD = 4096  #: bytes at the start of a disk: the superblock, or a claim

LIMIT = 1.0  #: seconds from the look to the end of the own claim's write
SETTLE = 1.5  #: seconds that the claim must then have stood
AGE = 1.0  #: seconds for which a look at the own claims allows a write to begin
REFRESH = 1.0  #: seconds after which the claim is written anew
STALE = 10.0  #: seconds without a change, after which a claim counts for nothing
_POLL = 0.05
_LOOKS = 8
TRIES = 20  #: rounds of look and take, before storage counts as too slow

_MAGIC = b"DPXINIT\n"
_LAYOUT = struct.Struct("<8sHBBI16sQQI64s")
_VERSION = 1

Progress = Callable[[str, int, int], object] | None


class Phase(IntEnum):
    """How far the claimer is."""

    ASKING = 1
    FORMATTING = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim says; ``uuid``: of the attempt, ``counter``: raised with each write."""

    uuid: bytes
    counter: int
    phase: Phase
    pid: int
    host: str

    def encode(self) -> bytes:
        """The bytes in a superblock's place."""
        host = self.host.encode("utf-8")[:63]
        values = (self.uuid, self.counter, time.time_ns(), self.pid, host)
        block = bytearray(HEAD)
        _LAYOUT.pack_into(block, 0, _MAGIC, _VERSION, self.phase, 0, 0, *values)
        _LAYOUT.pack_into(block, 0, _MAGIC, _VERSION, self.phase, 0, _core.crc32c(bytes(block)), *values)
        return bytes(block)

    @classmethod
    def decode(cls, head: bytes) -> Claim | None:
        """The claim that lies there; None when it is something else."""
        if not head.startswith(_MAGIC):
            return None
        head = head.ljust(HEAD, b"\0")  # of a block of 512 bytes, what follows is zeros
        magic, version, phase, pad, crc, name, counter, written_at, pid, host = _LAYOUT.unpack_from(head)
        bare = bytearray(head[:HEAD])
        _LAYOUT.pack_into(bare, 0, magic, version, phase, pad, 0, name, counter, written_at, pid, host)
        if version != _VERSION or phase not in (1, 2) or _core.crc32c(bytes(bare)) != crc:
            return None
        return cls(name, counter, Phase(phase), pid, host.rstrip(b"\0").decode("utf-8", "replace"))


def read_head(disk: RawDisk) -> bytes:
    """The first bytes of a disk; zeros beyond its end."""
    view = aligned_view(HEAD)
    disk.read_some(0, view)
    return bytes(view)


def is_claimed(head: bytes) -> bool:
    """Somebody's claim lies there, dead or alive."""
    return Claim.decode(head) is not None


def _gives_way(disk: RawDisk, claim: Claim | None) -> BeingFormattedError:
    return BeingFormattedError(disk.path, claim.host if claim else "", claim.pid if claim else 0)


def _within(begin: float) -> Callable[[], bool]:
    return lambda: _now() - begin <= LIMIT


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class MediumClaim:
    """The claim of this process on some disks: :meth:`look`, then judge what lies there, then :meth:`take`; again
    as long as that says so."""

    def __init__(self, disks: Sequence[RawDisk], progress: Progress) -> None:
        self.disks = list(disks)
        self._progress = progress
        self._uuid = uuid.uuid4().bytes
        self._counter = 0
        self._phase = Phase.ASKING
        self._found: list[bytes] = []  # what lay there at the last look
        self._stands: list[bytes | None] = [None] * len(self.disks)  # what this one wrote there last
        self._looked = 0.0  # when a read was issued that showed all of it
        self._refreshed = 0.0

    # ---- 1. look

    def look(self) -> None:
        """Wait until nobody who lives claims any of the disks.

        :raises BeingFormattedError: somebody does, or formatted one of them since the first look
        """
        heads = [read_head(disk) for disk in self.disks]
        asked = any(stands is not None for stands in self._stands)
        try:
            for disk, head, found in zip(self.disks, heads, self._found or heads, strict=True):
                claim = self._foreign(head)
                if claim and head != found and asked and (claim.phase, claim.uuid) > (Phase.ASKING, self._uuid):
                    raise _gives_way(disk, claim)
                if _is_superblock(head) and head != found:
                    raise _gives_way(disk, None)
            heads = [
                self._watch(disk, head, found)
                for disk, head, found in zip(self.disks, heads, self._found or heads, strict=True)
            ]
        except BeingFormattedError:
            self.withdraw(False)
            raise
        # What this one wrote there itself was found by nobody: what lay below it stays known.
        self._found = [
            found if head == stands else head
            for head, stands, found in zip(heads, self._stands, self._found or heads, strict=True)
        ]

    def _foreign(self, head: bytes) -> Claim | None:
        claim = Claim.decode(head)
        return claim if claim is not None and claim.uuid != self._uuid else None

    def _watch(self, disk: RawDisk, head: bytes, found: bytes) -> bytes:
        """What lies there once the claim there, if any, is gone or was watched for long enough."""
        claim, begin = self._foreign(head), _now()
        if claim is None or head in self._found:  # nobody's, or known to be dead
            return head
        while True:
            asked = _now()
            now = read_head(disk)
            if now != head:
                after = Claim.decode(now)
                if now != found and (after is not None or _is_superblock(now)):
                    raise _gives_way(disk, after or claim)
                return now  # he gave way himself, and took it back
            if asked - begin >= STALE:
                return head
            if self._progress is not None:
                self._progress("watching another's claim, seconds", int(asked - begin), int(STALE) + 1)
            time.sleep(_POLL)

    # ---- 2. to 4. ask, wait, read

    def take(self) -> bool:
        """Have the disks, if nothing there has changed since :meth:`look`.  False: look, and judge what lies there,
        again."""
        begin = _now()
        for disk, found, stands in zip(self.disks, self._found, self._stands, strict=True):
            if read_head(disk) not in (found, stands):
                return False
        for position in range(len(self.disks)):
            if not self._put(position, self._claim(), _within(begin)):
                return False
        if _now() - begin > LIMIT:
            return False
        time.sleep(SETTLE)
        begin = _now()
        if any(read_head(disk) != stands for disk, stands in zip(self.disks, self._stands, strict=True)):
            return False
        self._looked = begin
        self._phase = Phase.FORMATTING
        self._refresh()
        return True

    def _claim(self) -> bytes:
        self._counter += 1
        return Claim(self._uuid, self._counter, self._phase, os.getpid(), identity.default_host_name()).encode()

    def _put(self, position: int, head: bytes, may: Callable[[], bool]) -> bool:
        """Write it, durably, if ``may()`` says so at the last moment: nothing lies between that and the write in which
        a busy machine could stop us for long."""
        view = aligned_view(HEAD)
        view[:] = head
        if not may():
            return False
        self._stands[position] = head
        self.disks[position].write(0, view)
        self.disks[position].sync()
        return True

    # ---- 5. hold

    def hold(self) -> None:
        """To be called right before each write.

        :raises BeingFormattedError: the claim stands no more; another one went on
        :raises StorageError: reads take too long to tell
        """
        if _now() - self._refreshed > REFRESH:
            self._refresh()
        self._sure()

    def _sure(self) -> bool:
        for _ in range(_LOOKS):
            if _now() - self._looked <= AGE:
                return True
            self._look_at_own()
        raise StorageError("read the claim in time", errno.ETIMEDOUT, path=self.disks[0].path)

    def _look_at_own(self) -> None:
        begin = _now()
        for disk, stands in zip(self.disks, self._stands, strict=True):
            head = read_head(disk)
            if head != stands:
                raise _gives_way(disk, Claim.decode(head))
        self._looked = begin

    def _refresh(self) -> None:
        for position, stands in enumerate(self._stands):
            if Claim.decode(stands or b"") is not None:  # not a superblock yet
                self._put(position, self._claim(), self._sure)
        self._refreshed = _now()

    def still_stands(self) -> None:
        """:raises BeingFormattedError: what this one wrote last does not lie there any more"""
        self._look_at_own()

    def write(self, disk: RawDisk, offset: int, view: memoryview) -> None:
        """Write behind the claim."""
        self.hold()
        disk.write(offset, view)

    def replace(self, disk: RawDisk, head: bytes) -> None:
        """Put a superblock in the claim's place, durably."""
        self.hold()
        self._put(self.disks.index(disk), head.ljust(HEAD, b"\0"), self._sure)

    # ---- the end

    def withdraw(self, written: bool) -> list[str]:
        """Take claims and superblocks of this one back, each for itself; the paths where that failed.

        :param written: something else was written: what lay there is not to be had again
        """
        failed = []
        for position, disk in enumerate(self.disks):
            stands = self._stands[position]
            try:
                if stands is None:
                    continue
                begin = _now()
                head = read_head(disk)
                claim = Claim.decode(head)
                before = self._found[position]
                gone = written or Claim.decode(before) is not None
                if head == stands or (claim is not None and claim.uuid == self._uuid):
                    self._put(position, bytes(HEAD) if gone else before, _within(begin))
                self._stands[position] = None
            except DiskPaxosError:
                failed.append(disk.path)
        return failed

    def withdraw_text(self, written: bool) -> str:
        """:meth:`withdraw`, and what to tell about it."""
        failed = self.withdraw(written)
        if failed:
            return f"{', '.join(failed)} may have a superblock or a claim, which could not be taken back"
        return "no valid lockspace is there now" if written else "nothing was changed"


def _is_superblock(head: bytes) -> bool:
    return _core.superblock_decode(head)[1] is not None
