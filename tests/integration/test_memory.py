"""An embedded host stays light: what 1,000 held leases add to a bare Python with numpy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import diskpaxos

SCRIPT = """
import json, sys, time

def resident():
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")}

import numpy
bare = resident()["VmRSS"]
import diskpaxos
with diskpaxos.Lockspace.open(sys.argv[1]) as space, space.join() as host:
    for hundred in range(10):
        host.acquire_many([f"vm{100 * hundred + i}" for i in range(100)])
    beats = host.status().beats
    while host.status().beats < beats + 3:  # with two looks at everything that is held
        time.sleep(0.05)
    now = resident()
    print(json.dumps({"bare": bare, "held": len(host.leases()), "rss": now["VmRSS"], "peak": now["VmHWM"]}))
    host.release_many(host.leases())
"""
LIMIT = 60 << 20


def test_a_thousand_leases_in_less_than_sixty_megabytes(tmp_path: Path, direct_io: None) -> None:
    path = tmp_path / "lockspace"
    diskpaxos.Lockspace.create(path, max_hosts=64, max_leases=2048, outage_tolerance=16.0).close()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    print(
        f"{(seen['rss'] - seen['bare']) / 1e6:.1f} MB more than {seen['bare'] / 1e6:.1f} MB, "
        f"at most {(seen['peak'] - seen['bare']) / 1e6:.1f}"
    )
    assert seen["held"] == 1000
    assert seen["rss"] - seen["bare"] < LIMIT
    assert seen["peak"] - seen["bare"] < LIMIT
