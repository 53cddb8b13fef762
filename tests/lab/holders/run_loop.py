"""Takes the lease `run` with `diskpaxos run`, again and again: run_loop.py DISKS GUARD LOG HOST SEED.

The disks of the lockspace have colons between them.  What `run` says, and how it ends, goes to the log.  The shell
tells at once that the lease is there: an emulated processor needs a second to start the writer.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time

from lab.holders.cell import Log

COMMAND = """echo '{"event": "taken", "lease": "run", "pid": '$PPID', "token": '$DISKPAXOS_TOKEN'}' >> "$1"
exec "$2" -m lab.holders.writer "$3" "$1" "$4" "$5"
"""


def main(lockspace: str, guard: str, log_path: str, host: str, seed: str) -> None:
    log = Log(log_path)
    dice = random.Random(seed)
    while True:
        seconds = f"{dice.uniform(8, 16):.1f}"
        words = [sys.executable, "-m", "diskpaxos", "run", "-l", "run", "--wait", "forever"]
        words += [f"--lockspace={disk}" for disk in lockspace.split(":")]
        words += ["--host-name", f"{host}-run", "--"]
        words += ["/bin/sh", "-c", COMMAND, "sh", log_path, sys.executable, guard, host, seconds]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        log.tell("waits", lease="run", process=process.pid)
        said = process.communicate()[1]
        log.tell("ended", lease="run", process=process.pid, code=process.returncode, said=said[-600:])
        time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
