"""One thread per joined host that carries the core's events to Python."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import ClassVar

from diskpaxos import _core

_log = logging.getLogger("diskpaxos")


class Dispatcher:
    """Waits for events of a core host without the GIL and calls ``deliver`` with each.

    The thread keeps the core host alive, not the object behind ``deliver``: that one returns
    False once it is gone, which ends the thread.
    """

    #: Signals that its thread shall not take, since the program waits for them elsewhere (sigtimedwait).
    withheld: ClassVar[frozenset[int]] = frozenset()

    def __init__(self, core: _core.Host, deliver: Callable[[_core.CoreEvent], bool], name: str) -> None:
        self._core = core
        self._deliver = deliver
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name=f"diskpaxos-{name}", daemon=True)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, self.withheld)
        try:
            self._thread.start()
        except BaseException:
            os.close(self._wake)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def stop(self) -> None:
        """Deliver what has happened so far and end the thread; waits for it unless called in it."""
        if not self._thread.is_alive() or sys.is_finalizing():
            return  # at the interpreter's end daemon threads never come back
        os.eventfd_write(self._wake, 1)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._core.event_fd(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            stopping = False
            while not stopping:
                stopping = any(fd == self._wake for fd, _ in poll.poll())
                if not self._drain():
                    return
        finally:
            os.close(self._wake)

    def _drain(self) -> bool:
        while (event := self._core.next_event()) is not None:
            try:
                if not self._deliver(event):
                    return False
            except Exception:
                _log.exception("an event of the host could not be delivered")
        return True
