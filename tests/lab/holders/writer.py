"""The command under `diskpaxos run`: writes the lease's cell until its time is over, without looking at anything else.

Usage: writer.py GUARD LOG HOST SECONDS; the token comes as DISKPAXOS_TOKEN.  It never asks whether it still holds the
lease: to end it in time is what `run` promises.
"""

from __future__ import annotations

import os
import sys
import time

from lab.holders.cell import Cell, Log, Pace


def main(guard: str, log_path: str, host: str, seconds: str) -> None:
    log = Log(log_path)
    token = int(os.environ["DISKPAXOS_TOKEN"])
    cell = Cell(guard, os.environ["DISKPAXOS_LEASE"], token, host)
    pace = Pace(log, 0.05)
    log.tell("writes", lease="run", token=token, session=cell.session)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        cell.write()
        pace.sleep()
    log.tell("released", lease="run", token=token, session=cell.session, writes=cell.writes)


if __name__ == "__main__":
    main(*sys.argv[1:])
