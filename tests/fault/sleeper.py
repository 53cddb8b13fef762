"""A host that goes through everything once and says what it believes to hold: the victim of test_stops.py.

    python sleeper.py LOCKSPACE LEASE...

Each line on standard output is JSON: first {"pid": …}; then, for every look that found a lease held,
{"held": name, "token": …, "at": CLOCK_BOOTTIME just before the look}; last {"end": "" or what was raised}.
"""

from __future__ import annotations

import json
import os
import sys
import time

from diskpaxos import DiskPaxosError, Host, Lockspace


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def use(host: Host, name: str) -> None:
    """Take it, look at it a few times, release it."""
    with host.acquire(name) as lease:
        for _ in range(3):
            at = time.clock_gettime(time.CLOCK_BOOTTIME)
            lease.check()
            say(held=name, token=lease.token, at=at)


def main() -> None:
    """Join, use each lease, leave."""
    say(pid=os.getpid())
    try:
        with Lockspace.open(sys.argv[1]) as space:
            host = space.join("sleeper")
            for name in sys.argv[2:]:
                use(host, name)
            host.leave()
    except DiskPaxosError as error:
        say(end=type(error).__name__)
    else:
        say(end="")


if __name__ == "__main__":
    main()
