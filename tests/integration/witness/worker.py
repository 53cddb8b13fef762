"""One contender of the witness test: joins, takes leases, sends its work to the guard.

Usage: worker.py LOCKSPACE SOCKET NAME SEED BREAK LEASE…

It sends without looking first, as a client would that was just stopped between looking and
sending.  What it is told it holds against its library: refused → the library must say "lost".
It ends on SIGTERM, after giving back what it holds.

BREAK makes it (not the library) misbehave, to show that the guard notices; "-": well-behaved.
  long-life    says that it may act for ten seconds longer than the library does
  ignore-loss  goes on working when it has been told that the lease is lost
  never-learn  does not report a loss
  no-lease     works without holding anything, under tokens of its own invention
"""

from __future__ import annotations

import json
import random
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

import diskpaxos
from diskpaxos import errors

PIECES = 6  # of work in a session, at most
PAUSE = 0.02  # seconds between them, at most


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass
class Session:
    """Work under one lease."""

    lease: Any  # diskpaxos.Lease, or Invented
    asked: int  # CLOCK_BOOTTIME, ns: before the taking began …
    granted: int  # … and after it was reported


class Invented:
    """What a client believes to hold that never asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.token = now() << 8

    def remaining(self) -> float:
        return 10.0

    def check(self) -> None:
        pass


class Worker:
    def __init__(self, address: str, name: str, seed: str, breaks: str, leases: list[str]) -> None:
        self.name = name
        self.breaks = breaks
        self.leases = leases
        self.random = random.Random(seed)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(address)
        self.stopping = False
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def ask(self, op: str, session: Session, **more: int) -> bool:
        """One request to the guard, and its answer."""
        request = {
            "op": op,
            "who": self.name,
            "lease": session.lease.name,
            "token": session.lease.token,
            **more,
        }
        self.socket.send(json.dumps(request).encode())
        return bool(json.loads(self.socket.recv(1 << 16))["ok"])

    def run(self, path: str) -> None:
        """Join, contend, and join anew whenever that membership is over."""
        with diskpaxos.Lockspace.open(path) as space:
            while not self.stopping:
                try:
                    host = space.join(self.name)
                except (errors.JoinError, errors.FinishedError, errors.StorageError, errors.WaitTimeoutError):
                    continue  # stopped while claiming, or all slots wait to be drained
                try:
                    while not self.stopping:
                        self.turn(host)
                    host.leave()
                except errors.FinishedError:
                    pass
                finally:
                    host.close()

    def turn(self, host: diskpaxos.Host) -> None:
        """One attempt at one lease, or at two together, and what is to be done under it."""
        names = self.random.sample(self.leases, 1 if self.random.random() < 0.8 else 2)
        if self.breaks == "no-lease" and self.random.random() < 0.1:
            self.work(Session(Invented(names[0]), now(), now()))
            return
        asked = now()
        try:
            held = host.acquire_many(names, timeout=self.random.choice([0, 0.05, 0.3]), create=False)
        except (errors.HeldError, errors.WaitTimeoutError):
            time.sleep(self.random.uniform(0, PAUSE))
            return
        except errors.StorageError:
            return  # over the limit of one I/O: nothing was taken
        granted = now()
        for lease in held:
            self.work(Session(lease, asked, granted))
        try:
            host.release_many(held)
        except (errors.LeaseLostError, errors.StorageError, errors.WaitTimeoutError):
            pass  # reported piece by piece, or still being made durable

    def work(self, session: Session) -> None:
        """Send pieces of work; stop, and say so, when the lease turns out to be lost."""
        for _ in range(self.random.randint(1, PIECES)):
            if not self.piece("work", session) and self.breaks != "ignore-loss":
                return
            time.sleep(self.random.uniform(0, PAUSE))
        self.piece("end", session)

    def life_end(self, session: Session) -> int:
        """Until when its holder may act, by the library's word; 0 when that was over before this piece, nobody
        knows for how long: somebody else may have the lease by now and not have spoken yet."""
        spoken = now()  # before the library is asked: a stop between the two makes the claim smaller, not larger
        remaining = session.lease.remaining()
        if self.breaks == "long-life":
            return spoken + int((remaining + 10) * 1e9)
        return spoken + int(remaining * 1e9) if remaining > 0 else 0

    def piece(self, op: str, session: Session) -> bool:
        """One piece; False once the lease is lost."""
        until = self.life_end(session)
        accepted = self.ask(op, session, asked=session.asked, granted=session.granted, until=until)
        try:
            session.lease.check()
        except (errors.LeaseLostError, errors.FinishedError):
            if self.breaks != "never-learn":
                self.ask("lost", session)
            return False
        if not accepted:
            self.ask("still-held", session)
        return accepted


def main(path: str, address: str, name: str, seed: str, breaks: str, *leases: str) -> None:
    Worker(address, name, seed, breaks, list(leases)).run(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
