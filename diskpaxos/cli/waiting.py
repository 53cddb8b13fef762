"""How long to wait: for storage out of reach, for a host slot, and for a lease that somebody holds.

The last from what is known of the holder's host."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from diskpaxos.cli.durations import format_duration
from diskpaxos.errors import HeldError, NoMajorityError, PathError
from diskpaxos.views import LockspaceInfo

Opened = TypeVar("Opened")

_SHORTEST_JOIN = 10.0  # seconds for which a slot is looked for, at most, where there is nothing to wait for
_LOOK_AGAIN = 1.0  # seconds between two attempts to open what gave an error
_HUNG_LOOKS = 5.0, 600.0  # … what hangs: at first, at last

#: What storage says that is out of reach for a while.  (A file that is not there is a mistake, not an outage: the file
#: system that should lie there is not mounted.)
_OUTAGES = frozenset(
    {
        errno.ETIMEDOUT,
        errno.EIO,
        errno.ENXIO,
        errno.ENODEV,
        errno.ENOLINK,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
    }
)


class Waiting:
    """``--wait``: one time for all that is waited for.  Nothing else ends the wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = time.monotonic() + seconds

    def for_slot(self, claim_time: float) -> float | None:
        """Seconds, None for ever; some attempts to claim a slot belong to not waiting at all."""
        left = self.for_lease()
        return None if left is None else max(min(20 * claim_time, _SHORTEST_JOIN), left)

    def for_lease(self) -> float | None:
        """What is left of it."""
        return None if math.isinf(self.seconds) else max(self._until - time.monotonic(), 0.0)

    @property
    def over(self) -> bool:
        """True once nothing is left of it."""
        return self.for_lease() == 0.0

    def opening(self, attempt: Callable[[], Opened], tell: Callable[[str], object]) -> Opened:
        """What ``attempt`` opens, tried again while the storage is out of reach and time is left."""
        threads = _threads()
        for count, pause in enumerate(_pauses()):
            try:
                return attempt()
            except (PathError, NoMajorityError) as error:
                if error.errno not in _OUTAGES or self.over:
                    raise
                if count == 0:
                    tell(f"{error.what}; waiting …")
            self._sleep_while_it_hangs(threads, pause)
        raise AssertionError("the pauses have no end")

    def _sleep_while_it_hangs(self, threads: int, most: float) -> None:
        """The threads of an attempt that hangs end when the storage is back: another one would only hang beside it,
        unless the path leads elsewhere by then."""
        end = time.monotonic() + most
        while True:
            left = self.for_lease()
            time.sleep(_LOOK_AGAIN if left is None else min(_LOOK_AGAIN, left))
            if self.over or _threads() <= threads or time.monotonic() >= end:
                return


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _pauses() -> Iterator[float]:
    pause, longest = _HUNG_LOOKS
    while True:
        yield pause
        pause = min(2 * pause, longest)


def enough(info: LockspaceInfo) -> str:
    """For a command that begins to watch now, to get the lease of a host that is dead: T_dead, the heartbeat at which
    that is noticed, and a tenth for joining and a busy machine; as it is typed."""
    seconds = (info.dead_time + info.heartbeat) * 1.1
    step = 5 if seconds > 20 else 1
    return f"{math.ceil(seconds / step) * step}s"


def held_advice(error: HeldError, info: LockspaceInfo, waited: float = 0.0) -> str:
    """What to do about ``error``, after ``waited`` seconds of waiting, in the command line's words."""
    if error.alive:
        longer = f"longer than {format_duration(waited)}" if waited > 0 else "for it with --wait DURATION"
        return f"its host is alive: wait {longer}, or end its holder"
    if error.alive is False:
        return f"its host is dead, and the lease about to be free: --wait {enough(info)}"
    free_in = info.dead_time + info.heartbeat if error.free_in is None else error.free_in
    silent = error.silent_for or 0.0
    known = f"its host has been silent for {format_duration(silent)}; " if silent > 2 * info.heartbeat else ""
    return (
        f"{known}if its host has died, the lease is free in about {format_duration(free_in)}: --wait {enough(info)}; "
        "if it lives, end its holder or wait until it lets go"
    )
