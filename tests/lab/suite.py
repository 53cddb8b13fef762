"""The suite: boots hosts, lets holders fight for two leases, injects faults one by one, and judges what was seen.

Each fault's result is a line of a file, so that runs add up: a seed's schedule on a storage goes on where the last run
of it ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab import faults
from lab.checker import DEADLY, Terms, Verdict, judge
from lab.faults import Plan
from lab.guests import ROOT, Lab
from lab.history import Fault, Healed, Told
from lab.holders.cell import LEASES
from lab.host import Host
from lab.storage import SERVER, Storage
from lab.system import LabError
from lab.watch import Observer, now

TERMS = Terms(outage_tolerance=8, kill_grace=4, watchdog=4)
CLAIM_TIME = 1
HOLDERS = ("run", "library")
GUARD = "/dev/lab/guard"
BEFORE = 60.0  # seconds before a fault that are judged with it
CALM = 60.0  # the longest wait for the hosts to be as a fault wants them
RECOVERY = 120.0


@dataclass
class Setting:
    """What one run is about."""

    storage: Storage
    seed: int
    hosts: int = 2
    kinds: list[str] | None = None
    broken: bool = False
    say: Callable[[str], None] = field(default=lambda text: None)


class Suite:
    """One run: from the boot of its hosts until they are stopped."""

    def __init__(self, lab: Lab, setting: Setting, results: Path) -> None:
        self._lab, self._setting, self._results = lab, setting, results
        self._logs = lab.folder / "logs"
        self._observer: Observer | None = None
        self._judged = 0.0  # until when

    # ---- begin and end

    def __enter__(self) -> Suite:
        setting = self._setting
        self._logs.mkdir(parents=True, exist_ok=True)
        for old in self._logs.iterdir():
            old.unlink()
        began = time.monotonic()
        try:
            self._lab.up(setting.hosts, shares=[(str(self._logs), "rw")])
            setting.storage.serve(self._lab.host(SERVER))
            self._init()
            self._observer = self._observe()
            for name in self._names:
                self._bring_up(self._lab.host(name))
        except BaseException:
            self.close()
            raise
        setting.say(f"{setting.storage.name}: {setting.hosts} hosts are up after {time.monotonic() - began:.1f} s")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the observer and every host."""
        if self._observer is not None:
            self._observer.stop()
            self._observer = None
        for host in self._lab.hosts():
            host.kill()

    @property
    def _names(self) -> list[str]:
        return self._setting.storage.holders([host.name for host in self._lab.hosts()])

    def _init(self) -> None:
        host = self._lab.host(self._names[0])
        self._setting.storage.reach(host)
        times = {"outage-tolerance": TERMS.outage_tolerance, "kill-grace": TERMS.kill_grace}
        times |= {"watchdog": TERMS.watchdog, "claim-time": CLAIM_TIME}
        words = [sys.executable, "-m", "diskpaxos", "init", *self._setting.storage.paths, "--leases", "16"]
        for name, seconds in times.items():
            words += [f"--{name}", f"{seconds}s"]
        host.check(words, timeout=120)

    def _observe(self) -> Observer:
        folder = self._lab.folder / "histories"
        folder.mkdir(exist_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        history = folder / f"{self._setting.storage.name}-{self._setting.seed}-{stamp}.jsonl"
        shared = self._lab.shared if self._setting.storage.seen else None
        observer = Observer(self._lab.guard, self._logs, history, shared)
        observer.start()
        return observer

    def _bring_up(self, host: Host) -> None:
        """After it booted: its way to the storage, and its holders."""
        self._setting.storage.reach(host)
        for holder in HOLDERS:
            module = "lab.holders.run_loop" if holder == "run" else "lab.holders.library"
            log = self._logs / f"{host.name}-{holder}.jsonl"
            disks = ":".join(self._setting.storage.paths)
            words = [sys.executable, "-m", module, disks, GUARD, str(log), host.name]
            words.append(f"{self._setting.seed}/{host.name}/{holder}")
            if self._setting.broken and holder == "library":
                words.append("ignores-loss")
            loop = 'out=$1; shift; while :; do "$@"; sleep 0.2; done </dev/null >>"$out" 2>&1 &'
            script = ["setsid", "sh", "-c", loop, "sh", str(log.with_suffix(".out")), *words]
            host.run(script, env={"PYTHONPATH": str(ROOT / "tests")})

    # ---- one fault

    def next(self) -> dict[str, Any]:
        """Inject the next fault of the schedule; its result, which is in the file by then."""
        setting = self._setting
        number = len(done(self._results, setting))
        plan = faults.draw(setting.seed, number, setting.storage, self._names, TERMS, setting.kinds)
        self._await_calm(plan)
        time.sleep(plan.delay)
        started = now()
        wanted = {lease: write.host for lease in LEASES if (write := self._seen.holder(lease))}
        self._inject(plan)
        settled = self._await_recovery(plan)
        verdict = judge(self._seen.since(started - BEFORE), TERMS, since=self._judged)
        self._judged = now()
        result = self._result(plan, verdict, wanted, started, settled)
        with self._results.open("a") as file:
            file.write(json.dumps(result) + "\n")
        return result

    @property
    def _seen(self) -> Observer:
        assert self._observer is not None
        if self._observer.trouble is not None:
            raise LabError(f"the observer ended: {self._observer.trouble!r}")
        return self._observer

    def _inject(self, plan: Plan) -> None:
        kind = faults.KINDS[plan.kind]
        struck = faults.hits(self._setting.storage, self._names, plan)
        fault = Fault(now(), plan.number, plan.kind, plan.target, struck, plan.seconds, plan.what)
        self._seen.add(fault)
        if plan.kind == "holder killed":
            self._kill_holder(plan)
        kind.inject(self._lab, plan)
        time.sleep(plan.seconds)
        kind.heal(self._lab, plan)
        if kind.reboots:
            self._reboot(self._lab.host(plan.target))
        self._seen.add(Healed(now(), plan.number))

    def _reboot(self, host: Host) -> None:
        """What a host does after its boot: serve, and hold."""
        if host.name == SERVER:
            self._setting.storage.serve(host)
        if host.name in self._names:
            self._bring_up(host)

    def _kill_holder(self, plan: Plan) -> None:
        """SIGKILL for `run` itself, or for the process that uses the library."""
        pid = 0
        for told in self._seen.events:
            if isinstance(told, Told) and (told.host, told.holder) == (plan.target, plan.what):
                if plan.what == "library":
                    pid = told.pid
                elif told.event == "waits":
                    pid = told.more["process"]
        self._lab.host(plan.target).run(["kill", "-9", str(pid)])

    def _await_calm(self, plan: Plan) -> None:
        """Until every lease is held, everybody else waits, and the target holds what the fault is to take from it."""
        limit = now() + CALM
        while now() < limit and not self._calm(plan):
            time.sleep(0.05)

    def _calm(self, plan: Plan) -> bool:
        holders = {lease: self._seen.holder(lease) for lease in LEASES}
        if None in holders.values():
            return False
        hosts = {lease: write.host for lease, write in holders.items() if write}
        struck = faults.hits(self._setting.storage, self._names, plan)
        if plan.what and hosts[plan.what] != plan.target:
            return False
        if struck and not set(struck) & set(hosts.values()):
            return False
        return all(self._watches(name, holder) for name in self._names for holder in HOLDERS)

    def _watches(self, name: str, holder: str) -> bool:
        """Whether a holder holds, or has waited for long enough to have seen others live."""
        told = self._seen.last_told.get((name, holder))
        if told is None:
            return False
        age = now() - told.at
        return told.event in ("taken", "writes", "late") or (
            told.event == "waits" and age > (8 if holder == "run" else 1)
        )

    def _await_recovery(self, plan: Plan) -> float | None:
        """Until every lease is held again, by somebody who took it after the fault where it ends holders; seconds."""
        began = now()
        since = next(fault.at for fault in reversed(self._seen.events) if isinstance(fault, Fault))
        while now() - began < RECOVERY:
            fresh = {lease: self._seen.holder(lease) for lease in LEASES}
            ended = plan.kind in DEADLY and not self._all_taken_since(since, plan)
            if None not in fresh.values() and not ended:
                time.sleep(3)  # whoever wakes late speaks up
                return now() - began
            time.sleep(0.05)
        return None

    def _all_taken_since(self, since: float, plan: Plan) -> bool:
        """Every lease that the target held when the fault came has been taken since."""
        last: dict[str, Told] = {}
        taken = set()
        for told in self._seen.events:
            if isinstance(told, Told) and told.event == "taken":
                if told.at <= since:
                    last[told.lease] = told
                else:
                    taken.add(told.lease)
        if plan.what:
            return plan.what in taken
        return all(lease in taken for lease, told in last.items() if told.host == plan.target)

    def _result(
        self, plan: Plan, verdict: Verdict, held: dict[str, str], started: float, settled: float | None
    ) -> dict[str, Any]:
        violations = list(verdict.violations)
        if settled is None:
            violations.append(f"not every lease was held again {RECOVERY:.0f} s after the fault was healed")
        return {
            "storage": self._setting.storage.name,
            "seed": self._setting.seed,
            "broken": self._setting.broken,
            "history": self._seen.history.name,
            **asdict(plan),
            "held": held,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "took": round(now() - started, 1),
            "violations": violations,
            "late_writes": verdict.late_writes,
            "late_processors": verdict.late_processors,
            "losses": verdict.losses,
            "endings": dict(verdict.endings),
            "takeovers": [asdict(takeover) for takeover in verdict.takeovers if takeover.fault == plan.number],
            "sessions": verdict.sessions,
            "writes_seen": verdict.writes_seen,
            "writes_unseen": verdict.writes_unseen,
            "load": round(os.getloadavg()[1], 1),
            "version": version(),
        }


def version() -> str:
    """Of the sources, where git tells it."""
    told = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip()


def read_results(path: Path) -> list[dict[str, Any]]:
    """All that is in the file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def done(path: Path, setting: Setting) -> list[dict[str, Any]]:
    """What a file already has of this schedule."""
    mine = (setting.storage.name, setting.seed, setting.broken)
    return [row for row in read_results(path) if (row["storage"], row["seed"], row["broken"]) == mine]
