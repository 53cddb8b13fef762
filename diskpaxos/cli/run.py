"""`diskpaxos run`: flock(1) across hosts."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

from diskpaxos import _core, errors
from diskpaxos.arguments import Mode
from diskpaxos.cli import processes
from diskpaxos.cli.durations import Duration, format_duration
from diskpaxos.cli.exit_codes import SIGNALLED, ExitCode
from diskpaxos.cli.guard import Guard, GuardError
from diskpaxos.cli.options import lockspace_option, open_lockspace
from diskpaxos.cli.output import hint, moment
from diskpaxos.cli.supervise import Outcome, Supervisor, hold_signals, withhold_signals
from diskpaxos.cli.trouble import Trouble
from diskpaxos.cli.waiting import Waiting, held_advice
from diskpaxos.host import Host
from diskpaxos.lease import Lease
from diskpaxos.lockspace import Lockspace

_RELEASE_LIMIT = 10.0  # seconds to wait for a release to be durable …
_LEAVE_LIMIT = 2.0  # … and for the slot to be free
_FATAL = (signal.SIGTERM, signal.SIGHUP)  # like SIGINT: end in good order while nothing runs yet


@click.command(short_help="Run a command while a lease is held: flock(1) across hosts.")
@lockspace_option
@click.option("-l", "--lease", "name", metavar="NAME", required=True, help="The lease; made if there is none.")
@click.option("-s", "--shared", is_flag=True, help="Share it with other --shared holders.")
@click.option(
    "-w",
    "--wait",
    metavar="DURATION",
    type=Duration(forever=True),
    default="0s",
    help="How long to wait: for storage out of reach, for a host slot, and while somebody else holds the lease: 30s, "
    "2m, forever.  [default: not at all]",
)
@click.option(
    "-E",
    "--conflict-exit-code",
    type=click.IntRange(0, 255),
    default=int(ExitCode.HELD),
    show_default=True,
    help="Exit code when somebody else holds it.",
)
@click.option("--label", help="Shown to those who ask who holds it.  [default: the command and its pid]")
@click.option("--host-name", help="Name of this host in the lockspace.  [default: the machine's]")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] COMMAND [ARGUMENT]...")
@click.pass_context
def run(
    ctx: click.Context,
    lockspace: tuple[str, ...],
    name: str,
    shared: bool,
    wait: float,
    conflict_exit_code: int,
    label: str | None,
    host_name: str | None,
    command: tuple[str, ...],
) -> NoReturn:
    """Take the lease NAME, run COMMAND, release the lease; exit with the command's status.

    COMMAND runs only while the lease is held.  When the lease is lost (the storage was out of reach
    for too long), everything that it started gets SIGTERM, and SIGKILL in time before another host can
    take the lease.  When this process is killed, all of it is killed at once.  What it leaves running
    when it exits is ended too, before the lease is released.

    COMMAND finds DISKPAXOS_LEASE and DISKPAXOS_TOKEN in its environment: the token is larger than that
    of every exclusive holder before.

    \b
    Examples:
      diskpaxos run --lockspace /shared/locks --lease backup -- backup.sh /srv
      diskpaxos run -L /shared/locks -l vm1 --wait 2m -- qemu-system-x86_64 ...
      diskpaxos run -L /shared/locks -l cfg -E 0 -- update-config || echo "it failed"
    """
    program = _find(command[0])
    environment = {**os.environ, "DISKPAXOS_LEASE": name}
    # Before any thread exists: a fork is cheap then, and what will hold the lease is guarded before it does.
    guard = _guard((program, *command[1:]), environment)
    with _orderly_end():
        try:
            waiting = Waiting(wait)
            space = waiting.opening(lambda: open_lockspace(ctx, lockspace, read_only=False), hint)
            withhold_signals()
            try:
                outcome = None
                while outcome is None:
                    host = space.join(host_name, timeout=waiting.for_slot(space.info().claim_time))
                    try:
                        lease = _acquire(host, name, shared, waiting, conflict_exit_code, _label(label, command[0]))
                        outcome = _supervised(guard, host, lease) if lease else None
                    finally:
                        _leave(host)
            finally:
                _tell_of_hung_disks(space, "all is done")
        finally:
            guard.close()
    if outcome.remark:
        hint(outcome.remark)
    ctx.exit(outcome.code)


def _find(program: str) -> str:
    """Say at once that a command cannot be run, before any lease is taken for it."""
    if shutil.which(program) is not None:
        return program
    if os.path.exists(program) and "/" in program:
        raise Trouble(f"{program}: cannot be executed", ExitCode.CANNOT_EXECUTE, "no lease was taken")
    raise Trouble(f"{program}: no such command", ExitCode.COMMAND_NOT_FOUND, "no lease was taken")


def _guard(command: tuple[str, ...], environment: dict[str, str]) -> Guard:
    try:
        processes.become_subreaper()
        return Guard(command, environment)
    except GuardError as error:
        advice = {
            errno.ECHILD: "its own message, above, says what it lacked",
            errno.ENOENT: "install diskpaxos again: it builds the guard",
            errno.EAGAIN: "more processes (`ulimit -u`, pids.max of the cgroup)",
        }.get(error.errno or 0, "")
        raise Trouble(str(error.strerror), ExitCode.OS_ERROR, "no lease was taken", advice) from None


class _Ended(BaseException):
    """A signal came while nothing ran yet."""


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Until the command runs, SIGTERM and SIGHUP end this process like SIGINT: by an exception, so that the
    host leaves the lockspace."""
    got = 0

    def end(number: int, _: FrameType | None) -> None:
        nonlocal got
        got = number
        raise _Ended

    before = {number: signal.getsignal(number) for number in _FATAL}
    for number in _FATAL:
        if before[number] is signal.SIG_DFL:
            signal.signal(number, end)
    try:
        yield
    except _Ended:
        raise SystemExit(SIGNALLED + got) from None
    except KeyboardInterrupt:
        raise SystemExit(SIGNALLED + signal.SIGINT) from None


def _leave(host: Host) -> None:
    """Free the slot, unless that would take long: then it is left to die."""
    try:
        host.leave(timeout=_LEAVE_LIMIT, release=True)
    except errors.DiskPaxosError:
        pass
    finally:
        host.close()


def _label(label: str | None, program: str) -> str:
    """What people see who ask for the holder: at most 64 bytes."""
    given = f"{os.path.basename(program)} {os.getpid()}" if label is None else label
    shown = "".join(c if c.isprintable() else "_" for c in given)
    return shown.encode("utf-8", "replace")[: _core.LABEL_MAX].decode("utf-8", "ignore")


def _acquire(host: Host, name: str, shared: bool, waiting: Waiting, conflict: int, label: str) -> Lease | None:
    """None: the storage was out of reach for so long that this host's membership is over; but there is time to join
    again."""
    mode: Mode = "shared" if shared else "exclusive"
    info = host.space.info()
    try:
        try:
            return host.acquire(name, mode, 0, label=label)
        except (errors.HeldError, errors.StorageError) as error:
            if waiting.over:
                raise
            if os.isatty(2) or not isinstance(error, errors.HeldError):
                hint(f"{error.what}; waiting …")
        return host.acquire(name, mode, waiting.for_lease(), label=label)
    except errors.FinishedError as error:
        if waiting.over:
            raise
        hint(f"{error.what}; joining again, and waiting …")
        return None
    except errors.HeldError as error:
        advice = held_advice(error, info, waiting.seconds)
        raise Trouble(error.what, conflict, "the command did not run", advice) from None


def _tell_of_hung_disks(space: Lockspace, so_far: str) -> None:
    """The kernel lets no process go whose I/O it still has: say so, or `run` seems to hang for no reason.

    :param so_far: what is done at least
    """
    for path, seconds in space.unanswered().items():
        if seconds > _LEAVE_LIMIT / 2:
            since = moment(time.time() - seconds)
            hint(
                f"{path} does not answer, for {format_duration(seconds)} now (since {since}); the kernel keeps process "
                f"{os.getpid()} until it does, though {so_far}"
            )


def _supervised(guard: Guard, host: Host, lease: Lease) -> Outcome:
    info = host.space.info()
    hold_signals()
    outcome = Supervisor(guard, host, lease, info.kill_grace, hint).run(info.outage_tolerance / 32)
    _tell_of_hung_disks(host.space, "the command has ended")
    try:
        lease.release(timeout=_RELEASE_LIMIT)
    except errors.LeaseLostError:
        pass  # the outcome says so, or the command had ended in time
    except errors.DiskPaxosError as error:
        hint(f"releasing the lease: {error.what}; others get it {format_duration(info.dead_time)} from now")
    return outcome
