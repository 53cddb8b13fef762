"""Checks every model with Spin: what must be safe, and what must fail without one of its rules.

    python3 tests/model/run.py              # all rows
    python3 tests/model/run.py --fast       # two minutes of one core: for CI
    python3 tests/model/run.py -k claim     # rows whose model or switches contain "claim"
    python3 tests/model/run.py --trace rounds -DNO_L4 -DTRIES=2

A row passes only if its search was complete and found what the row expects.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DEPTH = 100_000
MEMORY_MIB = 4096
SECONDS = 600  # a check that needs longer is stuck on an overloaded machine, and has no report


@dataclass(frozen=True)
class Row:
    """One check: a model under switches, and what must come of it."""

    model: str
    switches: str
    rule: str = ""  # what is left out; empty: the model must be safe
    fast: bool = True
    big: bool = False  # millions of states: compiled with care

    @property
    def name(self) -> str:
        return f"{self.model}[{self.switches}]" if self.switches else self.model


ROWS = [
    Row("rounds", "TRIES=1"),
    Row("rounds", "TRIES=1 COURTESY"),
    Row("rounds", "TRIES=2", fast=False),
    Row("rounds", "TRIES=2 NO_SHARED NO_RESUME"),
    Row("rounds", "TRIES=2 NO_SHARED NO_RESUME COURTESY", fast=False),
    Row("rounds", "TRIES=2 LOCALS NO_RESUME", fast=False),
    Row("rounds", "TRIES=1 HEIRS=1 NO_SHARED NO_RESUME", big=True),
    Row("rounds", "TRIES=1 HEIRS=1 NO_SHARED LEAVE", fast=False),
    Row("rounds", "SLOTS=3 TRIES=1 ROUNDS=2 NO_SHARED NO_RESUME ONE_READ NO_FAILURES", fast=False),
    Row("rounds", "TRIES=2 HEIRS=1 NO_SHARED NO_L1", "L1"),
    Row("rounds", "TRIES=2 NO_L3", "L3"),
    Row("rounds", "TRIES=2 NO_L3_HIDES", "L3, a void that hides an earlier taking"),
    Row("rounds", "TRIES=2 NO_L4", "L4"),
    Row("rounds", "TRIES=2 LOCALS NO_RESUME NO_L5", "L5"),
    Row("rounds", "TRIES=2 NO_L6", "L6"),
    Row("rounds", "TRIES=2 NO_L7", "L7"),
    Row("rounds", "TRIES=1 NO_S9", "S9"),
    Row("rounds", "TRIES=1 HEIRS=1 NO_SHARED NO_RESUME NO_S10", "S10", big=True),
    Row("rounds", "TRIES=1 HEIRS=1 NO_SHARED NO_D4", "D4"),
    Row("rounds", "TRIES=2 NO_GIVE_WAY", "step 2: give way to a higher flag"),
    Row("rounds", "TRIES=2 NO_HIGHER", "step 4: raise again above every ballot"),
    Row("rounds", "TRIES=2 READ_FIRST", "write before read"),
    Row("rounds", "TRIES=2 BLIND_TO_SHARED", "a shared flag is in the way of an exclusive attempt"),
    Row("certain", ""),
    Row("certain", "SHARED SHARING"),
    Row("certain", "NO_TELL", "L12, the write after a taking that ignored the dead"),
    Row("certain", "NO_CARRY", "L12, carried on by the slot's next owner"),
    Row("certain", "ATTEMPT_TELLS", "L12, never written by an attempt"),
    Row("certain", "BY_LAST", "L12, and not by `last_exclusive`"),
    Row("certain", "BY_FLAG", "L12, and not by a flag in the way"),
    Row("certain", "SHARED SHARER_IS_TAKER", "L12, a sharer's certainty ends no sharer"),
    Row("claim", "OBSERVER"),
    Row("claim", "RECLAIM"),
    Row("claim", "RECLAIM OBSERVER", fast=False),
    Row("claim", "DISKS=3"),
    Row("claim", "NO_S1", "S1"),
    Row("claim", "RECLAIM VOID"),
    Row("claim", "RECLAIM VOID NO_S2", "S2"),
    Row("claim", "RECLAIM CLAIMERS=3 NO_S2", "S2, with the claim that comes to nothing", fast=False),
    Row("claim", "NO_S3", "S3"),
    Row("claim", "DISKS=3 NO_S4", "S4"),
    Row("claim", "NO_S5", "S5"),
    Row("claim", "DISKS=3 NO_S5", "S5, 3 disks"),
    Row("claim", "RECLAIM NO_S6", "S6"),
    Row("claim", "OBSERVER NO_D1", "D1"),
    Row("claim", "DISKS=3 NO_F3", "F3, slot records"),
    Row("claim", "NO_WAIT", "wait 1.5 T_claim before the claim is read back"),
    Row("note", "", fast=False),
    Row("note", "CLAIMERS=2"),
    Row("note", "CLAIMERS=2 DAMAGE"),
    Row("note", "DAMAGE", fast=False),
    Row("note", "NO_S17", "S17"),
    Row("note", "NO_S18_TABLE", "S18, the table read again when the notes are ahead of it"),
    Row("note", "NO_S18_NOTE", "S18, the note before the slot is owned"),
    Row("note", "NO_S18_LOOK", "S18, the look at others' notes"),
    Row("note", "CLAIMERS=2 CERTIFICATE LOST"),
    Row("note", "CERTIFICATE LOST", fast=False),
    Row("note", "CLAIMERS=2 CERTIFICATE FALLS_BACK"),
    Row("note", "CLAIMERS=2 DAMAGE FALLS_BACK"),
    Row("note", "CLAIMERS=2 DAMAGE NO_S20", "S20, in the first heartbeat"),
    Row("note", "CLAIMERS=2 DAMAGE FALLS_BACK NO_S1_UNREAD", "S1, what cannot be read is passed over"),
    Row("note", "CERTIFICATE NO_D8_NONCE", "D8, the record and not its counter alone"),
    Row("note", "CERTIFICATE LOST NO_D9_NOTICE", "D9, the own notice, of a claim"),
    Row("note", "CERTIFICATE LOST NO_D10", "D10"),
    Row("note", "CERTIFICATE NO_D10_CLAIM", "D10, not withdrawn for a mere claim"),
    Row("note", "CLAIMERS=2 CERTIFICATE FALLS_BACK NO_D10_FREE", "D10, nor for a free slot at a lower generation"),
    Row("note3", "", fast=False),
    Row("note3", "LATE=2 UNWATCHED"),
    Row("note3", "NO_S17", "S17, three disks"),
    Row("note3", "UNWATCHED NO_S18_TABLE", "S18, the table, three disks"),
    Row("note3", "UNWATCHED NO_S18_NOTE", "S18, the note, three disks"),
    Row("note3", "UNWATCHED NO_S18_LOOK", "S18, the look at others' notes, three disks"),
    Row("note3", "MINORITY", "D3, the notice on a majority"),
    Row("slots", "ONE_READ LATE=0"),
    Row("slots", "ONE_READ LATE=1", fast=False),
    Row("slots", "LATE=0", fast=False),
    Row("slots", "ONE_READ LATE=1 NO_S4", "S4, of a disk that did not show the slot claimable"),
    Row("slots", "ONE_READ LATE=1 NO_S10_PARTLY", "S10, what a minority shows free is drained first"),
    Row("slots", "ONE_READ LATE=0 NO_S16", "S16"),
    Row("slots", "ONE_READ LATE=0 NO_S19_FREE", "S19, an older free record"),
    Row("slots", "ONE_READ LATE=0 NO_S19_DEAD", "S19, another's record below the dead one's"),
    Row("slots", "ONE_READ LATE=0 NO_D5", "D5"),
    Row("death", ""),
    Row("death", "FREEZE"),
    Row("death", "STALE"),
    Row("death", "STALE FREEZE", fast=False),
    Row("death", "COVER", fast=False),
    Row("death", "COVER FREEZE", big=True),
    Row("death", "HEIR"),
    Row("death", "HEIR COVER FREEZE", fast=False),
    Row("death", "FREEZE DAMAGE", big=True),
    Row("death", "FREEZE NO_S7", "S7"),
    Row("death", "STALE NO_S8", "S8"),
    Row("death", "NO_D2", "D2"),
    Row("death", "COVER NO_D6", "D6"),
    Row("death", "HEIR NO_D7", "D7"),
    Row("death", "FREEZE DAMAGE NO_S20", "S20, in a heartbeat"),
    Row("death", "FREEZE NO_D3", "D3"),
    Row("death", "FREEZE NO_REREAD", "D3, the read after the notice"),
    Row("death", "FREEZE NOTICE_LATE", "D3, the notice before that read"),
    Row("death", "FREEZE NO_UNMOVED", "D3, unmoved in that read"),
    Row("death3", ""),
    Row("death3", "COVER", big=True),
    Row("death3", "FREEZE AT_ONCE"),
    Row("death3", "FREEZE AT_ONCE COVER", big=True),
    Row("death3", "STALE", big=True),
    Row("death3", "LIFE CHAINS=0"),
    Row("death3", "LIFE CHAINS=0 PAUSED", fast=False),
    Row("death3", "NO_OLDEST", "section 4: the lifetime runs from the older chain of two"),
    Row("death3", "MINORITY", "a majority is silent"),
    Row("death3", "COVER NO_D6", "D6, disk by disk"),
    Row("death3", "FREEZE AT_ONCE NO_S7", "S7, disk by disk"),
    Row("death3", "FREEZE AT_ONCE NO_D3", "D3, disk by disk"),
    Row("death3", "FREEZE AT_ONCE NO_D3_SILENT", "D3, on disks that were silent themselves"),
    Row("death3", "STALE NO_S8", "S8, disk by disk"),
    Row("death3", "LIFE CHAINS=0 NO_L4", "L4, of the watcher that acts"),
    Row("death3", "LIFE CHAINS=0 NO_OLDEST", "section 4: … the watcher's own"),
    Row("death3", "LIFE CHAINS=0 PAUSED NO_S7", "S7, of a watcher that was paused"),
    Row("hidden", "COVER DAMAGE"),
    Row("hidden", "NOTE=2 DAMAGE"),
    Row("hidden", "NOTE=1 DAMAGE", fast=False),
    Row("hidden", "CLAIMER=2 DAMAGE", fast=False),
    Row("hidden", "DAMAGE DAMAGE_RECORD", fast=False),
    Row("hidden", "COVER DAMAGE DAMAGE_RECORD BEATS=4", fast=False),
    Row("hidden", "NOTE=3 COVER DAMAGE", fast=False),
    Row("hidden", "CLAIMER=2 COVER DAMAGE", fast=False),
    Row("hidden", "CLAIMER=3 DAMAGE_RECORD DAMAGE", fast=False),
    Row("hidden", "NOTE=2 COVER STOOD YIELDS MOVES=3", fast=False),
    Row("hidden", "NOTE=2 DAMAGE_RECORD STOOD MOVES=3", fast=False),
    Row("hidden", "NOTE=2 COVER STOOD YIELDS MOVES=3 NO_S21_MENDED", "S21, mended below a claim", big=True),
    Row("hidden", "NOTE=2 LENIENT NO_S21", "S21"),
    Row("hidden", "CLAIMER=3 LENIENT", "S21, that incarnation only"),
    Row("hidden", "CLAIMER=2 COVER LENIENT", "S21, beside a late claim"),
    Row("hidden", "NOTE=2 DAMAGE_RECORD LENIENT", "S21, beside a damaged record", fast=False),
    Row(
        "hidden",
        "NOTE=3 COVER SELF_NOTE",
        "S21, notes only where the claim is durable",
        fast=False,
    ),
    Row("hidden", "COVER DAMAGE NO_S20", "S20"),
    Row("hidden", "DAMAGE NO_S20_RECORD", "S20, while the record is the same"),
    Row("hidden", "DAMAGE NO_S20_EARLIER", "S20, the record read earlier still"),
    Row("hidden", "DAMAGE NO_S20_BEFORE", "S20, what the claim saw before it was written"),
    Row("certificate", ""),
    Row("certificate", "GHOST", fast=False),
    Row("certificate", "COVER", fast=False),
    Row("certificate", "NO_D9_NOTICE", "D9, the own notice"),
    Row("certificate", "NO_D9_LOOK", "D9, the look"),
    Row("certificate", "NO_D9_AFTER", "D9, the look after the notice"),
    Row("certificate", "OWN_LOOKS", "D8, what is certified and not what the reader saw itself"),
    Row("certificate", "CHAINS=1 GHOST"),
    Row("certificate", "CHAINS=1 COVER"),
    Row("certificate", "CHAINS=1 GHOST NO_D9_EXACT", "D9, the very record and none older"),
    Row("certificate", "CHAINS=1 COVER NO_D9_CLAIMS", "D9, nor a claim"),
    Row("certificate", "NO_D9_MAJORITY", "D9, a majority"),
    Row("silence", "", big=True),
    Row("silence", "HEIR", fast=False),
    Row("silence", "COVER", fast=False),
    Row("silence", "FREEZE", fast=False),
    Row("silence", "CERTIFICATE", fast=False),
    Row("silence", "CERTIFICATE HEIR", fast=False),
    Row("silence", "CERTIFICATE COVER", fast=False),
    Row("silence", "CERTIFICATE FREEZE", fast=False),
    Row("silence", "NO_D2_FROM", "D2, of a sighting: noted when complete"),
    Row("silence", "BEATS=4 NO_D2_TO", "D2, of a sighting: up to the issue of the last look"),
    Row("silence", "COVER NO_D6", "D6, of a sighting"),
    Row("silence", "HEIR NO_D7", "D7, of a sighting"),
    Row("silence", "OTHER_CLOCK", "one clock"),
    Row("silence", "CERTIFICATE NO_D2_FROM", "D8, the silence that is certified"),
    Row("silence", "CERTIFICATE HEIR NO_D7 NO_D9_GENERATION", "D9, the generation that is named"),
    Row("silence", "CERTIFICATE FREEZE NO_D9_NOTICE", "D9, the own notice, with clocks", fast=False),
    Row("directory", "FAIL", big=True),
    Row("directory", "SETTLES", fast=False),
    Row("directory", "FAIL NO_L2", "L2"),
    Row("directory", "FAIL L8_AREA", "L8, the area held"),
    Row("directory", "FAIL L8_ANNOUNCE", "L8, the change announced"),
    Row("directory", "SETTLES UNUSED"),
    Row("directory", "SETTLES UNUSED L8_DURABLE", "L8, durable before the flags fall"),
    Row("directory", "FAIL NO_OPEN", "section 4a: an open change is resolved first"),
    Row("directory", "FAIL NO_STALE", "L8, a header older than the blocks of its area is damaged"),
    Row("directory", "SETTLES UNUSED NO_DRAIN", "section 4a: the dead changer is drained first"),
    Row(
        "directory", "FAIL SETTLES IMMORTAL", "a last copy that lands or fails in time: a known gap, see docs/model.md"
    ),
    Row("whole", "", big=True),
    Row("whole", "MORTAL", fast=False),
    Row("whole", "NO_L1", "L1, the slot claimed again"),
    Row("whole", "NO_L4", "L4, the slot claimed again"),
    Row("whole", "NO_D4", "D4, the slot claimed again", fast=False),
    Row("whole", "NO_S17", "S17, up to two holders", fast=False),
    Row("whole", "NO_S18_TABLE", "S18, the table, up to two holders"),
    Row("whole", "NO_S18_NOTE", "S18, the note, up to two holders"),
    Row("probing", ""),
    Row("probing", "NO_VERSION"),
    Row("probing", "DELETES NO_PENDING"),
    Row("probing", "NO_PENDING", "L8, an announced change may yet be made"),
    Row("probing", "DELETES NO_PENDING NO_VERSION", "L8, a majority in one version"),
    Row("succession", ""),
    Row("succession", "LATE"),
    Row("succession", "FILE_LOST"),
    Row("succession", "NO_S11", "S11, the entry before the flag and the reply"),
    Row("succession", "NO_S11_RELEASE", "S11, the mark before the release"),
    Row("succession", "LATE NO_S12", "S12, a resume and not a new taking"),
    Row("succession", "NO_S12_IGNORES", "S12, predecessors' flags ignored"),
    Row("succession", "NO_S13", "S13"),
    Row("succession", "NO_S14", "S14"),
    Row("succession", "FILE_LOST NO_S15", "S15"),
    Row("disks3", ""),
    Row("disks3", "TRIES=2", fast=False),
    Row("disks3", "LOST", fast=False),
    Row("disks3", "OLD", big=True),
    Row("disks3", "DAMAGE", fast=False),
    Row("disks3", "DAMAGE NO_F1", "F1"),
    Row("disks3", "OLD NO_F2", "F2"),
    Row("disks3", "NO_F3", "F3"),
    Row("disks3", "TRIES=2 NARROW NO_L9", "L9"),
    Row("disks3", "UNPAIRED", "L10, each disk's read after its write"),
    Row("disks3", "MINORITY", "a majority"),
    Row("disks3", "REGRESS", "assumption 2: a completed write stays"),
]


@dataclass(frozen=True)
class Result:
    row: Row
    ok: bool
    outcome: str
    states: int = 0
    depth: int = 0
    seconds: float = 0.0


def missing_tools() -> list[str]:
    return [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]


def build(row: Row, folder: Path) -> None:
    """Generates and compiles the verifier; raises CalledProcessError with its messages."""
    source = folder / f"{row.model}.pml"
    for file in HERE.glob("*.pml"):
        shutil.copy(file, folder)
    defines = [f"-D{switch}" for switch in row.switches.split()]
    run = subprocess.run(["spin", "-a", *defines, source.name], cwd=folder, capture_output=True, text=True)
    if run.returncode != 0 or "Error" in run.stdout:
        raise subprocess.CalledProcessError(run.returncode or 1, "spin -a", run.stdout, run.stderr)
    # Compiling costs more than searching where few states are looked at.
    flags = ["-O1" if row.big or not row.fast else "-O0", "-w", "-DSAFETY", f"-DMEMLIM={MEMORY_MIB}"]
    subprocess.run(["gcc", *flags, "-o", "pan", "pan.c"], cwd=folder, check=True, capture_output=True, text=True)


def number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(float(found.group(1))) if found else -1


def judge(row: Row, output: str) -> tuple[bool, str]:
    """Whether Spin's report is what the row expects, and in a word what it says."""
    for sign in ("max search depth too small", "reached -DMEMLIM", "out of memory", "hash array"):
        if sign in output:
            return False, f"incomplete: {sign}"
    errors = number(r"errors: (\d+)", output)
    violated = re.search(r"assertion violated (.*) \(at depth", output)
    if errors < 0:
        return False, "no report"
    if row.rule:
        return violated is not None, "counterexample" if violated else "no counterexample"
    if errors > 0:
        return False, f"violated: {violated.group(1)}" if violated else "error"
    if "Search not completed" in output:
        return False, "incomplete"
    return True, "safe"


def search(folder: Path) -> tuple[str, float]:
    """What the verifier says, and the seconds of one core that it took, however busy the machine is."""
    with (folder / "said").open("w+") as said:
        # -E: a process that waits for ever is no fault here; assertions are what is checked.
        pan = subprocess.Popen(["./pan", "-E", f"-m{DEPTH}", "-w24"], cwd=folder, stdout=said, stderr=said)
        limit = threading.Timer(SECONDS, pan.kill)
        limit.start()
        _, status, usage = os.wait4(pan.pid, 0)
        limit.cancel()
        pan.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return said.read(), usage.ru_utime + usage.ru_stime


def check(row: Row) -> Result:
    with tempfile.TemporaryDirectory(prefix="model-") as name:
        folder = Path(name)
        try:
            build(row, folder)
            said, seconds = search(folder)
        except subprocess.CalledProcessError as error:
            return Result(row, False, f"does not build: {(error.stdout or '') + (error.stderr or '')}"[:2000])
    ok, outcome = judge(row, said)
    states = number(r"^\s*([0-9.e+]+) states, stored", said)
    return Result(row, ok, outcome, states, number(r"depth reached (\d+)", said), seconds)


def trace(model: str, switches: list[str]) -> int:
    """Prints the counterexample of one model, if there is one."""
    row = Row(model, " ".join(switch.removeprefix("-D") for switch in switches))
    with tempfile.TemporaryDirectory(prefix="model-") as name:
        folder = Path(name)
        build(row, folder)
        subprocess.run(["./pan", "-E", f"-m{DEPTH}", "-w24"], cwd=folder, check=False, stdout=subprocess.DEVNULL)
        if not (folder / f"{model}.pml.trail").exists():
            print(f"{row.name}: no counterexample")
            return 0
        defines = [f"-D{switch}" for switch in row.switches.split()]
        subprocess.run(["spin", "-t", "-p", "-g", "-l", *defines, f"{model}.pml"], cwd=folder, check=False)
    return 1


def report(result: Result) -> str:
    mark = "ok  " if result.ok else "FAIL"
    rule = f"without {result.row.rule}: " if result.row.rule else ""
    figures = f"{result.states:>10,} states  depth {result.depth:>4}  {result.seconds:6.1f} s"
    return f"{mark} {figures}  {result.row.name}: {rule}{result.outcome}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="only the rows that CI has time for")
    parser.add_argument("-k", metavar="WORD", default="", help="only rows whose name contains this")
    parser.add_argument("-j", metavar="N", type=int, default=1, help="checks at a time, up to 4 GiB each (default: 1)")
    parser.add_argument("--trace", metavar="MODEL", help="print the counterexample of this model under -D switches")
    options, switches = parser.parse_known_args()
    if missing_tools():
        print(f"needs {' and '.join(missing_tools())} (Debian packages of these names)", file=sys.stderr)
        return 2
    if options.trace:
        return trace(options.trace, switches)
    if switches:
        parser.error(f"what is {' '.join(switches)}?")
    rows = [row for row in ROWS if options.k in row.name and (row.fast or not options.fast)]
    failed = 0
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
        for result in pool.map(check, rows):
            print(report(result), flush=True)
            failed += not result.ok
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = used.ru_utime + used.ru_stime
    print(f"{len(rows)} checks, {failed} failed, {time.monotonic() - began:.0f} s, {cores:.0f} s of one core")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
