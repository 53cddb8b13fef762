"""A host that takes one lease again and again: the program behind tests/integration/test_fairness.py.

    contender.py THREADS TAKES HOLD PATH …

Joins, says "ready", waits for a line, takes the lease TAKES times from THREADS threads, each for HOLD
seconds; prints the tokens it got.  Then it waits for another line, so that nobody leaves early.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from diskpaxos import Host, Lockspace


def fight(host: Host, takes: int, hold: float, tokens: list[int], lock: threading.Lock) -> None:
    while True:
        lease = host.acquire("vm", timeout=None)
        with lock:
            tokens.append(lease.token)
            last = len(tokens) >= takes
        if hold:
            time.sleep(hold)
        lease.release()
        if last:
            return


def main() -> None:
    threads, takes, hold = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    host = Lockspace.open(sys.argv[4:]).join("contender")
    host.acquire("vm", timeout=None).release()  # it exists, and is in everybody's cache
    tokens: list[int] = []
    lock = threading.Lock()
    crew = [threading.Thread(target=fight, args=(host, takes, hold, tokens, lock)) for _ in range(threads)]
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    print(json.dumps(tokens), flush=True)
    sys.stdin.readline()
    host.leave()


if __name__ == "__main__":
    main()
