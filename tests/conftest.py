"""What all tests share."""

from __future__ import annotations

import os

from fix_members import member
from fix_slow import slow_disks, slow_library
from fix_spaces import direct_io, lone_init, make_space, open_space
from hypothesis import settings

__all__ = ["direct_io", "lone_init", "make_space", "member", "open_space", "slow_disks", "slow_library"]

# Storage and threads make single examples slow at times: no deadlines.  The failing example is
# printed as a blob to paste.
settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, max_examples=200)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
