"""The guard: the one process through which all work of the witness test goes.

Usage: guard.py SOCKET LOG.  Requests and answers are packets of JSON on a Unix socket; one thread
serves them one by one, so what it accepts is in one order.  Every request and its outcome becomes
a line of LOG.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from ledger import OPEN, Ledger


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Guard:
    def __init__(self, log: TextIO) -> None:
        self.ledger = Ledger()
        self.log = log

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        at = now()
        answer = self._judge(request, at)
        if request["op"] != "holders":
            self.log.write(json.dumps({"at": at, **request, **answer}) + "\n")
            self.log.flush()
        return answer

    def _judge(self, request: dict[str, Any], at: int) -> dict[str, Any]:
        ledger = self.ledger
        match request["op"]:
            case "work":
                told = (request[key] for key in ("lease", "token", "who", "asked", "granted", "until"))
                return {"ok": ledger.work(*told, at)}
            case "end":
                return {"ok": ledger.end(request["lease"], request["token"], request["who"], at)}
            case "lost":
                ledger.lost(request["lease"], request["token"])
                return {"ok": True}
            case "still-held":
                ledger.still_held(request["lease"], request["token"], request["who"])
                return {"ok": True}
            case "holders":
                return {"holders": sorted({s.who for s in ledger.current.values() if s.state is OPEN})}
            case "result":
                violations = ledger.violations + ledger.never_learned(set(request["killed"]))
                return {
                    "violations": violations[:40],  # an answer is one packet
                    "bounced": sum(s.bounced for s in ledger.sessions.values()),
                    "replaced": sum(s.replaced for s in ledger.sessions.values()),
                    "accepted": sum(s.pieces for s in ledger.sessions.values()),
                }
        raise ValueError(request["op"])


def main(address: str, log: str) -> None:
    selector = selectors.DefaultSelector()
    family, kind = socket.AF_UNIX, socket.SOCK_SEQPACKET
    with Path(log).open("w", encoding="utf-8") as out, socket.socket(family, kind) as listener:
        guard = Guard(out)
        listener.bind(address)
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    peer, _ = listener.accept()
                    selector.register(peer, selectors.EVENT_READ, peer)
                    continue
                peer = key.data
                try:
                    packet = peer.recv(1 << 16)
                    if packet:
                        peer.send(json.dumps(guard.answer(json.loads(packet))).encode())
                        continue
                except ConnectionError:
                    pass  # killed between asking and hearing
                selector.unregister(peer)
                peer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
