"""How long to wait for a lease that somebody holds: from what is known of the holder's host."""

from __future__ import annotations

import math
import time

from diskpaxos.cli.durations import format_duration
from diskpaxos.errors import HeldError
from diskpaxos.views import LockspaceInfo

_SHORTEST_JOIN = 10.0  # seconds for which a slot is looked for, at most, where there is nothing to wait for


class Waiting:
    """``--wait``: one time for both, the host slot and the lease."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = time.monotonic() + seconds

    def for_slot(self, claim_time: float) -> float | None:
        """Seconds, None for ever; some attempts to claim a slot belong to not waiting at all."""
        if math.isinf(self.seconds):
            return None
        return max(min(20 * claim_time, _SHORTEST_JOIN), self.seconds)

    def for_lease(self) -> float | None:
        """What is left of it."""
        return None if math.isinf(self.seconds) else max(self._until - time.monotonic(), 0.0)


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
