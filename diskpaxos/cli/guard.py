"""The other end of the guard process: native/guard/guard.c says what it does and when.

The numbers of the messages are defined there; a test compares them.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

PROGRAM: Final = Path(__file__).parent.parent / "_guard"

_MESSAGE = struct.Struct("=5Q")


class Say(IntEnum):
    """To the guard."""

    START = 1
    DEADLINE = 2
    SIGNAL = 3
    END = 4
    KILL = 5


class Tell(IntEnum):
    """From the guard."""

    READY = 65
    STARTED = 66
    FAILED = 67
    ENDING = 68
    STOPPED = 69
    EXITED = 70


@dataclass(frozen=True, slots=True)
class Report:
    """What the guard told; the meaning of ``a`` and ``b`` is that of struct message."""

    kind: Tell
    a: int
    b: int


class GuardError(OSError):
    """The guard cannot be started."""


class Guard:
    """A started guard, with a command that waits to be let go.

    Must be made, and live, in the main thread: the kernel tells the guard of the death of the
    *thread* that started it.  Moments are CLOCK_BOOTTIME in nanoseconds.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """:raises GuardError: it is not there, cannot be executed, or says that it cannot work"""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            theirs.set_inheritable(True)
            arguments = [str(PROGRAM), str(theirs.fileno()), str(os.getpid()), *command]
            try:
                self.pid = os.posix_spawn(
                    PROGRAM,
                    arguments,
                    environment,
                    # Python ignores these two; the command shall find them as usual.
                    setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
                )
            except OSError as error:
                ours.close()
                raise GuardError(error.errno, f"cannot start {PROGRAM}: {error.strerror}") from None
        self._socket = ours
        self.gone = False
        ready = self._receive()
        if ready is None or ready.kind is not Tell.READY:
            os.waitpid(self.pid, 0)
            ours.close()
            raise GuardError(errno.ECHILD, f"{PROGRAM} could not start its work")
        ours.setblocking(False)

    def start(self, term_at: int, kill_at: int, token: int, grace: int) -> None:
        """Let the command go: it lives until ``term_at``, SIGTERM, and ``kill_at``, SIGKILL, unless
        these are moved; ``grace``: ns between the two for what it leaves behind."""
        self._say(Say.START, term_at, kill_at, token, grace)

    def move(self, term_at: int, kill_at: int) -> None:
        """Move both moments; never back."""
        self._say(Say.DEADLINE, term_at, kill_at)

    def signal(self, number: int) -> None:
        """Signal the command."""
        self._say(Say.SIGNAL, number)

    def end(self, kill_at: int) -> None:
        """SIGTERM to everything now, SIGKILL at ``kill_at`` (or as told before, if that is earlier)."""
        self._say(Say.END, 0, kill_at)

    def kill(self) -> None:
        """SIGKILL to everything now."""
        self._say(Say.KILL)

    def reports(self) -> list[Report]:
        """What it told since the last call; ``gone`` is set when it will tell no more."""
        told = []
        while not self.gone:
            try:
                report = self._receive()
            except BlockingIOError:
                break
            if report is None:
                self.gone = True
            else:
                told.append(report)
        return told

    def fileno(self) -> int:
        """Readable when there are reports."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up: a guard that still runs ends everything at once."""
        self._socket.close()
        self.gone = True

    def _say(self, kind: Say, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> None:
        try:
            self._socket.send(_MESSAGE.pack(kind, a, b, c, d), socket.MSG_NOSIGNAL)
        except OSError:
            # A stopped guard does not listen: its deadlines are those that it heard.  That one has ended is for
            # reports() to find, after its last words.
            pass

    def _receive(self) -> Report | None:
        while True:
            try:
                data = self._socket.recv(_MESSAGE.size)
                break
            except ConnectionResetError:
                # It ended before it read all that we said.  The kernel tells that once, and before it hands out
                # what the guard said last.
                continue
            except ConnectionError:
                return None
        if len(data) != _MESSAGE.size:
            return None
        kind, a, b, _, _ = _MESSAGE.unpack(data)
        return Report(Tell(kind), a, b)
