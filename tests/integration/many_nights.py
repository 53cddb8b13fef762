#!/usr/bin/env python3
"""The witness again and again, each time with a seed of its own, beside processes that do nothing but compute.

    tests/integration/many_nights.py [NIGHTS] [LOAD]     50 nights beside a load of 8, unless said otherwise

Prints each night's seed and summary; what failed is printed whole, and counted for what it is: the promise, or its
upper bound in real time.  Fails where the promise did, or a night told nothing.  `DISKPAXOS_WITNESS_SECONDS` is the
length of a night (24).
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA")
HERE = Path(__file__).resolve().parent
PROMISES = ("test_nobody_ever_holds_what_another_holds", "test_a_late_writer_does_not_stretch_its_life")
TIMING = "test_every_lease_goes_on_being_taken"


def night(seed: int) -> Counter[str]:
    """One run: which tests passed, and which did not."""
    done = subprocess.run(
        [*PYTEST, str(HERE / "test_witness.py"), "-k", " or ".join((*PROMISES, TIMING))],
        env={**os.environ, "DISKPAXOS_SEED": str(seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = Counter[str]()
    for outcome, test in re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)", done.stdout, re.MULTILINE):
        outcomes[f"{test}: {outcome.lower()}"] += 1
    if sum(outcomes.values()) != len(PROMISES) + 1:
        outcomes["told nothing"] += 1
    if done.returncode != 0:
        print(done.stdout, done.stderr, sep="\n")
    print(f"seed {seed}:", *re.findall(r"^\{'.*", done.stdout, re.MULTILINE)[:1], flush=True)
    return outcomes


def main() -> int:
    nights = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    load = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(load)]
    outcomes = Counter[str]()
    begun = time.monotonic()
    try:
        for _ in range(nights):
            outcomes += night(random.SystemRandom().randrange(1 << 32))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    print(f"{nights} nights beside a load of {load} in {time.monotonic() - begun:.0f} s")
    for what, count in sorted(outcomes.items()):
        print(f"  {what}: {count}")
    kept = all(outcomes[f"{test}: passed"] == nights for test in PROMISES)
    return 0 if kept and not outcomes["told nothing"] else 1


if __name__ == "__main__":
    sys.exit(main())
