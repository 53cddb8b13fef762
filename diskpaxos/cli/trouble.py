"""From errors to messages and exit codes."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback

import click

from diskpaxos import errors as e
from diskpaxos.cli.exit_codes import ExitCode
from diskpaxos.cli.output import printable
from diskpaxos.driver.errors import ConfigError

#: Set to anything to see where in the program an error came from.
TRACEBACK_VARIABLE = "DISKPAXOS_TRACEBACK"

# The first that fits counts.
_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (e.HeldError, ExitCode.HELD),
    (e.LeaseLostError, ExitCode.LOST),
    (e.FinishedError, ExitCode.LOST),
    (e.LeaseNotFoundError, ExitCode.NOT_FOUND),
    (e.LockspaceFullError, ExitCode.FULL),
    (e.NoFreeSlotError, ExitCode.FULL),
    (e.TimingError, ExitCode.STORAGE),
    (e.SystemRefusedError, ExitCode.OS_ERROR),
    (e.NotDrainedError, ExitCode.IN_USE),
    (e.NotEmptyError, ExitCode.IN_USE),
    (e.InUseError, ExitCode.IN_USE),
    (e.BeingFormattedError, ExitCode.IN_USE),
    (e.DeviceSizeError, ExitCode.FULL),
    (e.DamagedError, ExitCode.DAMAGED),
    (e.TruncatedError, ExitCode.DAMAGED),
    (e.NoMajorityError, ExitCode.STORAGE),
    (e.ReadOnlyError, ExitCode.NO_PERMISSION),
    (e.LockspaceError, ExitCode.NOT_LOCKSPACE),
    (e.StorageError, ExitCode.STORAGE),
    (e.WaitTimeoutError, ExitCode.STORAGE),
    (e.InvalidArgumentError, ExitCode.USAGE),
    (ConfigError, ExitCode.USAGE),
)
_ERRNO_CODES = {
    errno.ENOENT: ExitCode.NOT_FOUND,
    errno.ENOTDIR: ExitCode.NOT_FOUND,
    errno.EACCES: ExitCode.NO_PERMISSION,
    errno.EPERM: ExitCode.NO_PERMISSION,
    errno.EROFS: ExitCode.NO_PERMISSION,
    errno.ENOSPC: ExitCode.FULL,
    errno.EDQUOT: ExitCode.FULL,
    errno.EFBIG: ExitCode.FULL,
    errno.EIO: ExitCode.STORAGE,
    errno.ETIMEDOUT: ExitCode.STORAGE,
    errno.ESTALE: ExitCode.STORAGE,
    errno.ENXIO: ExitCode.STORAGE,
    errno.EISDIR: ExitCode.NOT_LOCKSPACE,
    errno.ENODEV: ExitCode.NOT_LOCKSPACE,
    errno.EINVAL: ExitCode.NOT_LOCKSPACE,
}


def code_of(error: e.DiskPaxosError) -> ExitCode:
    """The exit code that stands for ``error``."""
    number = getattr(error, "errno", 0)
    if isinstance(error, e.PathError | e.NoMajorityError | e.StorageError) and number in _ERRNO_CODES:
        return _ERRNO_CODES[number]
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


class Trouble(Exception):  # noqa: N818 - not an error of the program
    """An error as people see it: what happened, what was and was not changed, what to do next."""

    def __init__(self, what: str, code: int, effect: str = "", advice: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.effect = effect
        self.advice = advice

    @classmethod
    def of(cls, error: e.DiskPaxosError, advice: str | None = None) -> Trouble:
        """``advice``: instead of the error's own, which speaks to programmers."""
        return cls(error.what, code_of(error), error.effect, error.advice if advice is None else advice)

    def show(self) -> None:
        """One clean message, on stderr."""
        lines = [f"{click.style('diskpaxos:', bold=True)} {printable(str(self))}"]
        lines += [f"  {printable(self.effect)}"] if self.effect else []
        lines += [f"  next: {printable(self.advice)}"] if self.advice else []
        try:
            for line in lines:
                click.echo(line, err=True)
        except OSError:
            pass  # nobody can be told; the exit code says it


def broken_output(error: Exception) -> Trouble | None:
    """What to say when standard output or error takes no more; None: it is another error."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code is click.echo.__code__)
    echo = next(frames, None)
    if echo is None or not isinstance(error, OSError):
        return None
    # For the rest of the process, whose end flushes it.
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    stream = "standard error" if echo.f_locals.get("err") else "standard output"
    code = _ERRNO_CODES.get(error.errno or 0, ExitCode.STORAGE)
    return Trouble(f"{stream}: {error.strerror or error}", code, "not all was shown")


def translate(error: Exception) -> Trouble:
    """Any error as people should see it."""
    if os.environ.get(TRACEBACK_VARIABLE):
        traceback.print_exception(error)
    if isinstance(error, Trouble):
        return error
    if isinstance(error, e.DiskPaxosError):
        return Trouble.of(error, _advice(error))
    if isinstance(error, MemoryError):
        return Trouble.of(e.SystemRefusedError("work", errno.ENOMEM))
    if isinstance(error, OSError):
        if error.errno in e.RESOURCES:
            return Trouble.of(e.SystemRefusedError("work", error.errno or 0))
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        code = _ERRNO_CODES.get(error.errno or 0, ExitCode.OS_ERROR)
        return Trouble(f"{where}{error.strerror or error}", code)
    if isinstance(error, ImportError):  # of a part that is loaded when it is needed
        lines = [line for line in str(error).splitlines() if line.strip()]
        return Trouble(f"a part of the program cannot be loaded: {lines[-1] if lines else error}", ExitCode.OS_ERROR)
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return Trouble.of(e.SystemRefusedError("start a thread", errno.EAGAIN))
    return Trouble(
        f"internal error: {type(error).__name__}: {error}",
        ExitCode.INTERNAL,
        advice=f"please report it, with the output under {TRACEBACK_VARIABLE}=1",
    )


def _advice(error: e.DiskPaxosError) -> str | None:
    """In the command line's words; None: as the error says."""
    if isinstance(error, e.HeldError):
        return "try again when its holder has let go, or end it"
    if isinstance(error, e.LeaseNotFoundError):
        return "`diskpaxos leases` lists them"
    if isinstance(error, e.NotEmptyError):
        return "if what lies there can go, add --force"
    if isinstance(error, e.InUseError) and not error.moving:
        return "if these hosts are gone for good, add --force: it watches them first, and gives up if one lives"
    if isinstance(error, e.ReadOnlyError):
        return "make it writable, or use a command that only reads"
    return None


class _Handler(logging.Handler):
    """Warnings of the library, as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one."""
        try:
            click.echo(f"diskpaxos: {record.levelname.lower()}: {printable(record.getMessage())}", err=True)
        except OSError:
            pass


def show_warnings(level: int) -> None:
    """Let the library's log lines from ``level`` on be seen."""
    log = logging.getLogger("diskpaxos")
    if not any(isinstance(handler, _Handler) for handler in log.handlers):
        log.addHandler(_Handler())
        log.propagate = False
    log.setLevel(level)
