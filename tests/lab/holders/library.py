"""Takes the lease `library` through the library, again and again: library.py DISKS GUARD LOG HOST SEED [BROKEN].

The disks of the lockspace have colons between them.  It asks before each write whether it still holds the lease, as
the library wants it, and joins anew when its membership is over.  BROKEN makes it (not the library) misbehave, to
show that the checker notices: "ignores-loss" goes on writing whatever it is told.
"""

from __future__ import annotations

import random
import sys
import time

from lab.holders.cell import Cell, Log, Pace

import diskpaxos
from diskpaxos import errors


class Holder:
    """One process that holds the lease from time to time."""

    def __init__(self, guard: str, log: Log, host: str, dice: random.Random, broken: bool) -> None:
        self._guard, self._log, self._host, self._dice, self._broken = guard, log, host, dice, broken

    def member(self, lockspace: str) -> None:
        """One membership, until it is over."""
        with diskpaxos.Lockspace.open(lockspace.split(":")) as space:
            began = time.monotonic()
            host = space.join(f"{self._host}-library", timeout=None)
            self._log.tell("joined", slot=host.slot, took=round(time.monotonic() - began, 3))
            try:
                while True:
                    self.session(host)
            finally:
                host.close()

    def session(self, host: diskpaxos.Host) -> None:
        """One time that the lease is held."""
        self._log.tell("waits", lease="library")
        lease = host.acquire("library", timeout=None)
        self._log.tell("taken", lease="library", token=lease.token)
        cell = Cell(self._guard, "library", lease.token, self._host)
        pace = Pace(self._log, 0.05)
        self._log.tell("writes", lease="library", token=lease.token, session=cell.session)
        end = time.monotonic() + self._dice.uniform(8, 16)
        told = {"lease": "library", "token": lease.token, "session": cell.session}
        try:
            while time.monotonic() < end or self._broken:
                if not self._broken:
                    lease.check()
                cell.write()
                pace.sleep()
            lease.release()
            self._log.tell("released", **told, writes=cell.writes)
        except errors.DiskPaxosError as error:
            status = host.status()
            beats = {"worst": round(status.worst_duration, 3), "missed": status.missed, "end": status.end}
            self._log.tell("lost", **told, writes=cell.writes, said=str(error)[:400], **beats)
            raise
        finally:
            cell.close()


def main(lockspace: str, guard: str, log_path: str, host: str, seed: str, broken: str = "") -> None:
    log = Log(log_path)
    holder = Holder(guard, log, host, random.Random(seed), broken == "ignores-loss")
    while True:
        try:
            holder.member(lockspace)
        except errors.DiskPaxosError as error:
            log.tell("member-ended", error=type(error).__name__, said=str(error)[:600])
            time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
