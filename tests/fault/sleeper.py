"""A host that goes through everything once and says what it believes to hold: the victim of test_stops.py.

    python sleeper.py LOCKSPACE LEASE...

Each line on standard output is JSON: first {"pid": …}; then, whenever it was told that it holds a lease,
{"held": name, "token": …, "at": CLOCK_BOOTTIME}, just after a taking, and just before a look;
last {"end": "" or what was raised}.
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
    """Take it, look at it a few times, release it.  Time enough to be stopped in the middle of a round."""
    with host.acquire(name, timeout=6) as lease:
        at = time.clock_gettime(time.CLOCK_BOOTTIME)
        for _ in range(4):
            say(held=name, token=lease.token, at=at)
            at = time.clock_gettime(time.CLOCK_BOOTTIME)
            lease.check()


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
