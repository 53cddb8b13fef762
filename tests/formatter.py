"""Formats lockspaces on command, one a line: the program of test_two_inits.py.

Each line on standard input is a JSON object {"paths": […], "force": …, "stop": n}; each gets one line in answer,
{"ok": uuid} or {"error": class, "text": message}.  With "stop" the process stops itself after its n-th read or write,
until somebody lets it go on, and says so before: {"stopped": n}.  With "announce" it says {"looked": 1} after its
first look.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from diskpaxos import DiskPaxosError, Lockspace, claim

SHAPE: dict[str, Any] = {
    "max_hosts": 8,
    "max_leases": 16,
    "outage_tolerance": 2.0,
    "kill_grace": 0.1,
    "watchdog_timeout": 0.1,
    "claim_time": 0.5,
}


class Stopper:
    def __init__(self) -> None:
        self.left = 0
        for name in ("preadv", "pwritev"):
            setattr(os, name, self.wrapped(getattr(os, name)))

    def wrapped(self, real: Callable[..., int]) -> Callable[..., int]:
        def counted(*arguments: Any) -> int:
            done = real(*arguments)
            self.left -= 1
            if self.left == 0:
                print(json.dumps({"stopped": 1}), flush=True)
                os.kill(os.getpid(), signal.SIGSTOP)
            return done

        return counted


def main() -> None:
    claim.LIMIT, claim.SETTLE, claim.STALE = (float(value) for value in sys.argv[1:4])
    stopper = Stopper()
    look = claim.MediumClaim.look
    announced = [True]

    def looked(self: claim.MediumClaim) -> None:
        look(self)
        if not announced[0]:
            announced[0] = True
            print(json.dumps({"looked": 1}), flush=True)

    claim.MediumClaim.look = looked  # type: ignore[method-assign]
    print(json.dumps({"ok": "ready"}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        stopper.left = command.get("stop", 0)
        announced[0] = not command.get("announce", False)
        try:
            with Lockspace.create(command["paths"], **SHAPE, force=command["force"]) as space:
                answer = {"ok": str(space.uuid)}
        except DiskPaxosError as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        stopper.left = 0
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
