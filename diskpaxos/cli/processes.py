"""The processes below this one, found in /proc: what `run` ends itself when its guard is gone."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process; ``started``, clock ticks since boot, tells it from a later one with its pid."""

    pid: int
    parent: int
    group: int
    state: str
    started: int


def become_subreaper() -> None:
    """From now on orphans below this process become its children.

    :raises OSError: the kernel refuses
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def read_process(pid: int) -> Process | None:
    """None: no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # "pid (name) state ppid …", the 22nd is the start time; the name may hold anything.
    fields = text[text.rindex(b")") + 1 :].split()
    return Process(pid, int(fields[1]), int(fields[2]), fields[0].decode(), int(fields[19]))


def all_processes() -> list[Process]:
    """Every process that /proc shows."""
    return [
        process
        for entry in _PROC.iterdir()
        if entry.name.isdigit() and (process := read_process(int(entry.name))) is not None
    ]


def any_stopped(group: int) -> bool:
    """Whether a member of a process group is stopped."""
    return any(process.group == group and process.state == "T" for process in all_processes())


def descendants(root: int) -> list[Process]:
    """Everything below ``root``, without root and without what is dead already."""
    known = all_processes()
    below = {root}
    found: list[Process] = []
    while more := [process for process in known if process.parent in below and process.pid not in below]:
        below.update(process.pid for process in more)
        found += more
    return [process for process in found if process.state not in "ZX"]


def kill(process: Process, number: int = signal.SIGKILL) -> None:
    """Send a signal, never to another process that has the same pid by now."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        now = read_process(process.pid)
        if now is not None and now.started == process.started:
            signal.pidfd_send_signal(fd, number)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):
            raise
    finally:
        os.close(fd)


def reap() -> bool:
    """Collect children that are dead; False when there is no child left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def kill_all_below() -> bool:
    """SIGKILL everything below this process once, and reap; True when nothing is left.

    To be called until then: what forked meanwhile is found by the next call.
    """
    for process in descendants(os.getpid()):
        kill(process)
    return not reap()
