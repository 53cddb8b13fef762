"""The program `diskpaxos`, from its first instruction on: what must be right before the command line is loaded.

A module of its own beside the package, since whatever is inside of it is loaded after the package itself.
"""

from __future__ import annotations

import os
import signal
import sys

_OS_ERROR = 71  # diskpaxos.cli.exit_codes has them all; loading it may be what fails


def main() -> None:
    """Entry point of the program, and of ``python -m diskpaxos``."""
    _open_standard_descriptors()
    # Until the command line is there to catch it, an interrupt ends the process as it ends any other.
    interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from diskpaxos.cli import main as program
    except (ImportError, MemoryError, OSError, RuntimeError) as error:
        _refuse(error)
    if interrupts:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    program()


def _open_standard_descriptors() -> None:
    """Make /dev/null of what the caller has closed: else the next file that is opened, a disk perhaps, would be
    standard output to whoever writes there, the command of `run` included."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free: this one
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _refuse(error: Exception) -> None:
    """Memory or descriptors ran out while modules were loaded, or the native part is missing."""
    text = str(error) or type(error).__name__
    try:
        sys.stderr.write(f"diskpaxos: the program cannot be loaded: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass
    os._exit(_OS_ERROR)  # an orderly end may need what has run out
