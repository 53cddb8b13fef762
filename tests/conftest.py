"""What all tests share."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile

from fix_members import member
from fix_slow import slow_disks, slow_library
from fix_spaces import direct_io, lone_init, make_space, open_space
from hypothesis import settings
from selection import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

__all__ = [
    "direct_io",
    "lone_init",
    "make_space",
    "member",
    "open_space",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "slow_disks",
    "slow_library",
]

# What tests see of hosts is left in a directory of their own, not in the machine's.
if "DISKPAXOS_RUNTIME_DIR" not in os.environ:
    os.environ["DISKPAXOS_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="diskpaxos-tests-")
    atexit.register(shutil.rmtree, os.environ["DISKPAXOS_RUNTIME_DIR"], ignore_errors=True)

# Storage and threads make single examples slow at times: no deadlines.  The failing example is
# printed as a blob to paste.
settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, max_examples=200)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Started by nohup, or in the background of a script, some signals are ignored, and programs that tests start would
# inherit that. With a handler that does nothing this process goes on ignoring them, and exec makes it the default.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
