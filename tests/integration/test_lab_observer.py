"""The laboratory's holders, observer and checker on a plain file, without virtual machines: they see what is there.

A holder that is stopped, and replaced meanwhile, goes on.  One that uses the library as it should is sound.  One that
ignores what it is told is seen to overlap: so what the laboratory proves could also come out red.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.checker import Terms, Verdict, judge
from lab.guests import GUARD_DISK, ROOT
from lab.history import Fault, Healed, Told, read
from lab.watch import Observer, now

import diskpaxos

TERMS = Terms(outage_tolerance=0.5, kill_grace=0.2, watchdog=0.1, start_up=2)


class Scene:
    """Two holders, by the names of hosts, and what is seen of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.locks, self.guard, self.history = folder / "locks", folder / "guard", folder / "history.jsonl"
        self.logs = folder / "logs"
        self.logs.mkdir()
        with self.guard.open("wb") as file:
            file.truncate(GUARD_DISK)
        diskpaxos.Lockspace.create(
            self.locks,
            max_hosts=8,
            max_leases=8,
            outage_tolerance=TERMS.outage_tolerance,
            kill_grace=TERMS.kill_grace,
            watchdog_timeout=TERMS.watchdog,
            claim_time=0.1,
        ).close()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.observer = Observer(self.guard, self.logs, self.history, self.locks)
        self.observer.start()

    def start(self, host: str, module: str = "library", *more: str) -> None:
        log = self.logs / f"{host}-{module.removesuffix('_loop')}.jsonl"
        words = [sys.executable, "-m", f"lab.holders.{module}", self.locks, self.guard, log, host, "seed", *more]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
        self.processes[host] = subprocess.Popen([*map(str, words)], env=environment, start_new_session=True)

    def until(self, true: Callable[[], bool], limit: float = 30) -> None:
        end = time.monotonic() + limit
        while not true():
            assert time.monotonic() < end, self.observer.events[-5:]
            assert self.observer.trouble is None, self.observer.trouble
            time.sleep(0.01)

    def holds(self, host: str, lease: str = "library") -> bool:
        write = self.observer.holder(lease)
        return write is not None and write.host == host

    def told(self, host: str, event: str) -> bool:
        return any(isinstance(e, Told) and (e.host, e.event) == (host, event) for e in self.observer.events)

    def stop_and_let_another_take(self, *more: str) -> Verdict:
        """h1 is stopped while it holds, until h2 has taken the lease, and goes on."""
        self.start("h1", "library", *more)
        self.until(lambda: self.holds("h1"))
        self.start("h2")
        self.until(lambda: self.told("h2", "waits"))
        self.observer.add(Fault(now(), 0, "host stopped", "h1", ("h1",), 0))
        self.processes["h1"].send_signal(signal.SIGSTOP)
        self.until(lambda: self.holds("h2"))
        self.processes["h1"].send_signal(signal.SIGCONT)
        self.observer.add(Healed(now(), 0))
        time.sleep(2)
        return self.verdict()

    def verdict(self) -> Verdict:
        return judge(self.observer.events, TERMS)

    def close(self) -> None:
        for process in self.processes.values():
            os.killpg(process.pid, signal.SIGKILL)  # `run`, its guard and the writer, too
            process.wait()
        self.observer.stop()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    try:
        yield scene
    finally:
        scene.close()


def test_a_holder_that_does_as_it_should_is_sound(scene: Scene) -> None:
    verdict = scene.stop_and_let_another_take()
    assert not [text for text in verdict.violations if "taken over late" not in text]  # of real time, on a busy machine
    assert scene.told("h1", "lost")
    assert verdict.losses
    assert verdict.takeovers[0].from_beat
    assert list(read(scene.history))[: len(scene.observer.events)] == scene.observer.events


def test_a_holder_that_ignores_its_loss_is_seen(scene: Scene) -> None:
    verdict = scene.stop_and_let_another_take("ignores-loss")
    assert any(text.startswith("overlap") for text in verdict.violations), verdict


def test_the_writer_under_run_ends_with_its_lease(scene: Scene) -> None:
    """SIGKILL for `run`: its writer goes with it, and the loop starts another, which takes the lease after T_dead."""
    scene.start("h1", "run_loop")
    scene.until(lambda: scene.holds("h1", "run"))
    (pid,) = {e.more["process"] for e in scene.observer.events if isinstance(e, Told) and e.event == "waits"}
    scene.observer.add(Fault(now(), 0, "holder killed", "h1", ("h1",), 0, "run"))
    os.kill(pid, signal.SIGKILL)
    scene.until(lambda: sum(1 for e in scene.observer.events if isinstance(e, Told) and e.event == "taken") == 2)
    scene.until(lambda: scene.holds("h1", "run"))
    verdict = scene.verdict()
    assert not [text for text in verdict.violations if "taken over late" not in text]
    assert len(verdict.takeovers) == 1
    assert verdict.endings == {"run: -9": 1}
