"""Processes of one machine add up what they see of a dead host (‡D11), and believe what others have judged (‡D9)."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import pytest
from integration.short_waits import attempt, make_lockspace, take_over
from program import PROGRAM, T_DEAD, S, clean_environment, diskpaxos, eventually, running

from diskpaxos import Lockspace, identity

ATTEMPTS = 3  # a machine shared with others has slow moments; "never before" is demanded of each


@pytest.fixture
def lockspace(tmp_path: Path, direct_io: None) -> Path:
    return make_lockspace(tmp_path / "lockspace")


def hold(lockspace: Path) -> tuple[str | Path, ...]:
    return ("run", "-L", lockspace, "-l", "vm", "--", "sh", "-c", "echo held; exec sleep 1000")


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.5, 1.0])
def test_short_waits_add_up(lockspace: Path, tmp_path: Path, wait: float) -> None:
    """kill -9 of a holder, then `run --wait W` again and again, each for much less than T_dead."""
    limit = T_DEAD + 2 * wait + 2
    took = []
    for _ in range(ATTEMPTS):
        since_kill, since_beat, runs = take_over(lockspace, wait, str(tmp_path / "run"))
        assert since_beat >= T_DEAD
        assert runs > 1
        took.append(since_kill)
        if since_kill < limit:
            return
    raise AssertionError(f"seconds: {took}")


@pytest.mark.timing
@pytest.mark.slow
def test_what_one_host_judged_others_need_not_watch(lockspace: Path) -> None:
    """… nor see what processes of the judge's machine saw."""
    took = []
    for _ in range(ATTEMPTS):
        with running(*hold(lockspace), env=clean_environment()) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            holder.kill()
            holder.wait()
        diskpaxos("run", "-L", lockspace, "-l", "vm", "--wait", "60s", "--", "true", DISKPAXOS_RUNTIME_DIR="")
        for wait in 0, 3.0, 0:  # who tries once hears of it first, too
            begun = time.monotonic()
            assert attempt(lockspace, wait, "") == 0
            took.append(time.monotonic() - begun)
        if max(took[-3:]) < 3.0:
            return
    raise AssertionError(f"seconds: {took}")


@pytest.mark.timing
@pytest.mark.slow
def test_who_tries_once_gets_what_was_judged(lockspace: Path) -> None:
    """At once, while the host that judged stays and cleans up: it claims the dead one's slot, and for that time neither
    the slot's record nor what is certified of it tells who is dead."""
    for _ in range(ATTEMPTS):
        with running(*hold(lockspace), env=clean_environment(DISKPAXOS_RUNTIME_DIR="")) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            holder.kill()
            holder.wait()
        with Lockspace.open(lockspace) as space, space.join("judge") as judge:
            judge.acquire("vm", timeout=60).release()
            assert [attempt(lockspace, 0, "") for _ in range(2)] == [0, 0]


@pytest.mark.timing
@pytest.mark.slow
def test_who_saw_the_dead_live_once_gets_what_was_judged(lockspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """… so does a host of another machine that was there all the time: it saw the holder beat, but not of late."""
    with Lockspace.open(lockspace) as space, space.join("judge") as judge:
        monkeypatch.setattr(identity, "machine_uuid", uuid4)
        with Lockspace.open(lockspace) as other, other.join("onlooker") as onlooker:
            with running(*hold(lockspace), env=clean_environment(DISKPAXOS_RUNTIME_DIR="")) as holder:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "held\n"
                time.sleep(S / 2)
                (slot,) = [host.slot for host in space.hosts() if host.pid == holder.pid]
                holder.kill()
                holder.wait()
            judge.acquire("vm", timeout=60).release()
            eventually(lambda: {host.slot: host.liveness for host in space.hosts()}.get(slot) == "claiming")
            onlooker.acquire("vm", timeout=0).release()


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def test_sightings_are_kept_while_somebody_stands_still(lockspace: Path, tmp_path: Path) -> None:
    """Whoever is killed leaves what he saw, too: it is written now and then, not only at the end."""
    runtime = tmp_path / "run"
    with running(*hold(lockspace), env=clean_environment(DISKPAXOS_RUNTIME_DIR="")) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait()
    waiting = ("run", "-L", lockspace, "-l", "vm", "--wait", "60s", "--", "true")
    with running(*waiting, env=clean_environment(DISKPAXOS_RUNTIME_DIR=str(runtime))) as waiter:
        eventually(lambda: files(runtime), timeout=20)
        waiter.kill()
        waiter.wait()
    (file,) = files(runtime)
    assert file.stat().st_mode & 0o7777 == 0o600
    assert file.stat().st_size == 56 + 32 * 64
    assert runtime.stat().st_mode & 0o7777 == 0o700


def test_the_switch(lockspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left anywhere when it is off, nor where there is no directory for it; and nothing fails."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with running(*hold(lockspace), env=clean_environment(DISKPAXOS_RUNTIME_DIR="")) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for runtime in ("", "relative", str(tmp_path / "missing" / "below"), str(lockspace)):
            assert attempt(lockspace, 0.2, runtime) != 0
        assert files(tmp_path) == [lockspace]
        assert attempt(lockspace, 0.2, str(tmp_path / "run")) != 0
        assert len(files(tmp_path / "run")) == 1
        assert holder.poll() is None


def test_another_time_namespace_has_another_clock(lockspace: Path, tmp_path: Path) -> None:
    """A process there neither leaves what it saw nor goes on from what others saw."""
    apart = ("unshare", "--time", "--boottime", "1000000", "--fork", "--")
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs to be allowed to make time namespaces (unshare --time)")
    runtime = tmp_path / "run"
    with running(*hold(lockspace), env=clean_environment(DISKPAXOS_RUNTIME_DIR="")) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = subprocess.run(
            [*apart, *PROGRAM, "run", "-L", str(lockspace), "-l", "vm", "--wait", "200ms", "-E", "7", "--", "true"],
            env=clean_environment(DISKPAXOS_RUNTIME_DIR=str(runtime)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 7, done.stderr
        assert not files(runtime)
        assert attempt(lockspace, 0.2, str(runtime)) != 0
        assert len(files(runtime)) == 1
