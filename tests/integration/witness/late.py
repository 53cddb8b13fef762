"""A writer that comes late: one session of a worker, piece by piece, for test_witness.py.

Usage: late.py LOCKSPACE SOCKET NAME LEASE.  It takes the lease and sends a piece of work for each line on its
standard input; prints "done" after the taking and after each piece.
"""

from __future__ import annotations

import sys

from worker import Session, Worker, now

import diskpaxos


def main(path: str, address: str, name: str, lease: str) -> None:
    worker = Worker(address, name, name, "-", [lease])
    with diskpaxos.Lockspace.open(path) as space, space.join(name) as host:
        asked = now()
        session = Session(host.acquire(lease, timeout=60), asked, now())
        print("done", flush=True)
        for _ in sys.stdin:
            worker.piece("work", session)
            print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
