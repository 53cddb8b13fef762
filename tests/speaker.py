"""A program that joins, and says what became of it: with disks that suffer (fix_slow.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from unittest.mock import ANY

from fix_slow import SlowDisks
from program import clean_environment

#: Opens, joins, and says as JSON what became of that and of one attempt after another, one for each line on stdin.
PROGRAM = """
import json, sys, time
from diskpaxos import HostEvent, Lockspace, errors
arguments = json.loads(sys.argv[1])
started = time.monotonic()
def told(error):
    facts = {k: v for k, v in vars(error).items() if isinstance(v, (str, int, float, bool, type(None)))}
    return {"error": type(error).__name__, "text": str(error), **facts}
def say(**what):
    print(json.dumps({**what, "took": time.monotonic() - started}), flush=True)
try:
    space = Lockspace.open(arguments["paths"])
    say(opened=True)
    sys.stdin.readline()
    started = time.monotonic()
    host = space.join("speaker", **arguments.get("join", {}))
    say(slot=host.slot)
    for line in sys.stdin:
        started = time.monotonic()
        try:
            request = json.loads(line)
            if "names" in request:
                leases = host.acquire_many(request["names"], timeout=request.get("timeout", 0))
                taken = time.monotonic() - started
                host.release_many(leases)
                say(taken=taken, worst=host.status().worst_duration, missed=host.status().missed)
            elif "release" in request:
                lease.release(request["release"])
                say(held=lease.held)
            else:
                lease = host.acquire(**request)
                say(token=lease.token)
        except errors.DiskPaxosError as error:
            say(**told(error))
except errors.DiskPaxosError as error:
    say(**told(error))
sys.stdout.flush()
import os
os._exit(0)  # what hangs must not keep the test
"""


class Speaker:
    """That program, with disks that suffer."""

    def __init__(self, slow: SlowDisks, paths: tuple[str, ...], **join: Any) -> None:
        command = [sys.executable, "-c", PROGRAM, json.dumps({"paths": paths, "join": join})]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(**slow.environment),
        )
        assert self._answer() == {"opened": True, "took": ANY}

    def ask(self, line: str = "") -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def acquire(self, name: str, **arguments: Any) -> dict[str, Any]:
        return self.ask(json.dumps({"name": name, **arguments}))

    def release(self, timeout: float) -> dict[str, Any]:
        return self.ask(json.dumps({"release": timeout}))

    def acquire_many(self, names: list[str], **arguments: Any) -> dict[str, Any]:
        """All of them, released at once."""
        return self.ask(json.dumps({"names": names, **arguments}))

    def end(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.kill()
        self.process.wait()
