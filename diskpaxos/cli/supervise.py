"""`run`, once the lease is held: the command lives while the lease does, and not one moment longer.

Three clocks could end the command, and the first to come does: this loop, when the lease is
lost or the command is done; the guard, when the lifetime last told to it is over, even if this
process is stopped; and the guard again, when this process dies.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from diskpaxos.cli import processes
from diskpaxos.cli.exit_codes import SIGNALLED, ExitCode
from diskpaxos.cli.guard import Guard, Report, Tell
from diskpaxos.dispatch import Dispatcher
from diskpaxos.host import Host
from diskpaxos.lease import Lease

#: Sent on to the command when a process sent them to us.  What a terminal sends reaches the command
#: by itself: it is in our process group.
FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
#: What the supervisor waits for; blocked otherwise.
_AWAITED = (*FORWARDED, signal.SIGCHLD, signal.SIGTSTP)

_SI_KERNEL = 0x80
_GRACE_PART = 0.75  # of K between SIGTERM and SIGKILL; the rest is for the kernel to end them
_SHORTEST_PERIOD, _LONGEST_PERIOD = 0.01, 0.25  # seconds between two looks at the lease
_RETRY = 0.005  # seconds between two rounds of SIGKILL
_TIMES, _SOON = 3, 0.02  # SIGCONTs after a stop from the terminal, and seconds between them
_ONCE_IN = 1.0  # seconds: the same remark is not repeated sooner


def boottime() -> int:
    """CLOCK_BOOTTIME, ns: the clock of lifetimes, which goes on while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Outcome:
    """How it ended: the code to exit with, and what people should be told."""

    code: int
    remark: str = ""


class Supervisor:
    """Lets the command of a guard go under a lease, and stays with it to its end.

    To be used in the main thread, after :func:`withhold_signals`, before there is another one, and
    :func:`hold_signals`.
    """

    def __init__(
        self, guard: Guard, host: Host, lease: Lease, kill_grace: float, tell: Callable[[str], object]
    ) -> None:
        """``kill_grace``: K of the lockspace, seconds; ``tell``: shows a line to people."""
        self._guard = guard
        self._host = host
        self._lease = lease
        self._tell = tell
        self._grace = int(kill_grace * _GRACE_PART * 1e9)
        self._term_at = 0
        self._kill_at = 0
        self._started = False
        self._failed = 0
        self._lost = False
        self._late = False
        self._told_at = 0.0
        self._stops = 0  # SIGCONTs still to be sent
        self._status: int | None = None
        self._left_behind = 0

    def run(self, period: float) -> Outcome:
        """Until everything that the command started is gone.

        :param period: seconds between two looks at the lease
        """
        pause = min(max(period, _SHORTEST_PERIOD), _LONGEST_PERIOD)
        main = threading.get_ident()
        # Wakes the wait below: a lost lease does not wait for the next look.
        self._lease.on_lost(lambda _: signal.pthread_kill(main, signal.SIGCHLD))
        # Writing to the terminal from the background must not stop us either.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        self._lifetime()
        self._guard.start(self._term_at, self._kill_at, self._lease.token, self._grace)
        while True:
            for report in self._guard.reports():
                self._hear(report)
            if self._status is not None or (self._failed and self._guard.gone):
                return self._outcome()
            if self._guard.gone or self._guard_is_stuck():
                return self._without_guard()
            self._look_at_lease()
            info = signal.sigtimedwait(_AWAITED, _SOON if self._stops else pause)
            if self._stops:
                self._undo_stop()
            if info is None:
                continue
            if info.si_signo == signal.SIGTSTP:
                self._stops = _TIMES
                self._undo_stop()
                self._say_why()
            elif info.si_signo in FORWARDED and info.si_code != _SI_KERNEL:
                self._guard.signal(info.si_signo)

    # ---- the terminal

    def _undo_stop(self) -> None:
        """The terminal has stopped our process group; we ourselves cannot be: a stopped holder would lose its
        lease.  So nobody is, or the terminal would seem dead.

        More than once, and until it is seen to be so: we may get the signal, and be here, before the others of
        the group get theirs; and our SIGCONT takes away the next one that was meant for us.
        """
        self._stops -= 1
        os.killpg(0, signal.SIGCONT)
        if self._stops == 0 and processes.any_stopped(os.getpgrp()):
            self._stops = _TIMES

    def _say_why(self) -> None:
        now = time.monotonic()
        if now - self._told_at > _ONCE_IN:
            self._told_at = now
            self._tell("not suspended: a stopped holder would lose its lease")

    # ---- the lease

    def _lifetime(self) -> bool:
        """Read until when the lease certainly lasts; False: it is lost."""
        before = boottime()
        remaining = self._lease.remaining()
        if remaining <= 0:
            return False
        self._term_at = max(self._term_at, before + int(remaining * 1e9))
        self._kill_at = self._term_at + self._grace
        return True

    def _look_at_lease(self) -> None:
        if self._lost:
            return
        if self._lifetime():
            self._guard.move(self._term_at, self._kill_at)
            return
        self._lost = True
        if self._host.alive or boottime() < self._term_at:
            # Not by time: somebody may hold it already.  Nothing may go on.
            self._guard.kill()
        else:
            self._guard.end(self._kill_at)

    # ---- the guard

    def _hear(self, report: Report) -> None:
        match report.kind:
            case Tell.STARTED:
                self._started = True
            case Tell.FAILED:
                self._failed = report.a
            case Tell.ENDING:
                self._lost = True
            case Tell.STOPPED:
                self._say_why()
            case Tell.EXITED:
                self._status, self._left_behind = report.a, report.b
            case Tell.READY:
                pass

    def _guard_is_stuck(self) -> bool:
        """True when it should have made an end, and has not: stopped, or its victims hang in the kernel."""
        if not self._lost or boottime() < self._kill_at + self._grace // 10:
            return False
        guard = processes.read_process(self._guard.pid)
        if guard is not None and guard.state not in "TtZ":
            if not self._late:
                self._late = True
                names = ", ".join(str(process.pid) for process in processes.descendants(self._guard.pid))
                self._tell(f"cannot be killed, they hang in the kernel: {names}")
            return False
        return True

    def _without_guard(self) -> Outcome:
        """The guard is dead or stopped: end everything from here, at once."""
        while not processes.kill_all_below():
            time.sleep(_RETRY)
        if self._lost:
            return Outcome(ExitCode.LOST, self._loss())
        return Outcome(
            SIGNALLED + signal.SIGKILL,
            f"the guard process {self._guard.pid} was killed, so the command was killed too",
        )

    def _outcome(self) -> Outcome:
        os.waitpid(self._guard.pid, 0)
        if self._failed:
            if self._failed == errno.ETIME:  # the lease was over before it could begin
                return Outcome(ExitCode.LOST, self._loss())
            text = os.strerror(self._failed)
            return Outcome(ExitCode.CANNOT_EXECUTE, f"the command cannot be executed: {text}")
        taken = self._lease.lost.is_set() and boottime() < self._term_at
        if self._lost or taken or self._status is None:
            return Outcome(ExitCode.LOST, self._loss())
        code = os.waitstatus_to_exitcode(self._status)
        remark = ""
        if self._left_behind:
            remark = f"the command left {self._left_behind} process(es) behind; they were ended"
        return Outcome(SIGNALLED - code if code < 0 else code, remark)

    def _loss(self) -> str:
        try:
            self._lease.check()
        except Exception as error:
            return f"{error}"
        return f"lease {self._lease.name!r} could not be renewed in time"


def withhold_signals() -> None:
    """Keep what :class:`Supervisor` waits for from threads that joining makes; this one still takes it."""
    Dispatcher.withheld = frozenset(_AWAITED)


def hold_signals() -> None:
    """Block it in this thread, too."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
