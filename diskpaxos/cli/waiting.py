"""How long to wait for a lease that somebody holds: from what is known of the holder's host."""

from __future__ import annotations

import math

from diskpaxos.cli.durations import format_duration
from diskpaxos.errors import HeldError
from diskpaxos.views import LockspaceInfo


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
