"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# Storage and threads make single examples slow at times: no deadlines.  The failing example is
# printed as a blob to paste.
settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, max_examples=300)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
