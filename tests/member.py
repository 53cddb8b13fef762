"""A host in a process of its own, driven line by line: the program behind the ``member`` fixture.

Each line on standard input is a JSON object {"do": name, ...}; each gets one JSON line in answer,
{"ok": value} or {"error": class, "text": message}.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from diskpaxos import DiskPaxosError, Host, Lease, Lockspace


class Member:
    def __init__(self, paths: list[str]) -> None:
        self.space = Lockspace.open(paths)
        self.host: Host | None = None
        self.leases: dict[str, Lease] = {}

    def joined(self) -> Host:
        assert self.host is not None
        return self.host

    def join(self, name: str = "member", **options: Any) -> int:
        self.host = self.space.join(name, **options)
        return self.host.slot

    def acquire(self, name: str, **options: Any) -> dict[str, Any]:
        lease = self.leases[name] = self.joined().acquire(name, **options)
        return {"token": lease.token, "state": lease.state, "at": time.clock_gettime(time.CLOCK_BOOTTIME)}

    def release(self, name: str) -> None:
        self.leases.pop(name).release()

    def check(self, name: str) -> float:
        self.leases[name].check()
        return self.leases[name].remaining()

    def wait_lost(self, name: str, timeout: float) -> bool:
        return self.leases[name].lost.wait(timeout)

    def remaining(self) -> float:
        return self.joined().remaining()

    def leave(self) -> None:
        self.joined().leave(release=True)


def main() -> None:
    member = Member(sys.argv[1:])
    print(json.dumps({"ok": "open"}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"ok": getattr(member, command.pop("do"))(**command)}
        except DiskPaxosError as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
