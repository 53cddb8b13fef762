"""`diskpaxos run`: real processes, killed and stopped in every way; nothing outlives the lease."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import (
    PROGRAM,
    T_DEAD,
    K,
    S,
    clean_environment,
    diskpaxos,
    eventually,
    is_running,
    json_of,
    make_lockspace,
    running,
)

import diskpaxos as library
from diskpaxos.cli.processes import descendants, kill

# A daemon as they are: its own session, two forks, no parent, deaf to SIGHUP and SIGTERM.
DAEMON = """
import os, signal, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(300)
"""


@pytest.fixture
def lockspace(tmp_path: Path) -> Path:
    return make_lockspace(tmp_path / "lockspace")


@pytest.fixture
def daemon(tmp_path: Path) -> Path:
    script = tmp_path / "daemon.py"
    script.write_text(DAEMON)
    return script


def command(lockspace: Path, *rest: str, lease: str = "vm1") -> tuple[str, ...]:
    return ("run", "--lockspace", str(lockspace), "--lease", lease, *rest)


def pid_in(path: Path) -> int:
    """The pid that a process wrote into a file, once it is there."""
    return int(eventually(lambda: path.exists() and path.read_text().strip()))


def guard_of(process: subprocess.Popen[str]) -> int:
    def find() -> int:
        for below in descendants(process.pid):
            if below.parent == process.pid and "_guard" in os.readlink(f"/proc/{below.pid}/exe"):
                return below.pid
        return 0

    return int(eventually(find))


def holders(lockspace: Path, lease: str = "vm1") -> list[str]:
    with library.Lockspace.open(lockspace, read_only=True) as space:
        return [holder.label for known in space.leases() if known.name == lease for holder in known.holders]


# ---- the ordinary life


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 1", 1), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_exit_status_is_passed_on(lockspace: Path, script: str, code: int) -> None:
    done = diskpaxos(*command(lockspace, "--", "sh", "-c", script), expect=code)
    assert done.stderr == ""


def test_output_input_and_environment_are_the_commands(lockspace: Path) -> None:
    script = 'cat; echo "$DISKPAXOS_LEASE $DISKPAXOS_TOKEN" >&2; echo "$OTHER"'
    done = subprocess.run(
        [*PROGRAM, *command(lockspace, "--", "sh", "-c", script)],
        input="given\n",
        capture_output=True,
        text=True,
        env=clean_environment(OTHER="kept"),
        check=True,
    )
    assert done.stdout == "given\nkept\n"
    lease, token = done.stderr.split()
    assert lease == "vm1"
    assert int(token) > 0


def test_tokens_grow(lockspace: Path) -> None:
    script = command(lockspace, "--", "sh", "-c", "echo $DISKPAXOS_TOKEN")
    tokens = [int(diskpaxos(*script).stdout) for _ in range(3)]
    assert tokens == sorted(set(tokens))


def test_the_lease_is_free_and_the_slot_too_when_run_returns(lockspace: Path) -> None:
    diskpaxos(*command(lockspace, "--", "true"))
    assert holders(lockspace) == []
    assert json_of("hosts", "-L", lockspace) == []


def test_while_the_command_runs_the_lease_is_held(lockspace: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with running(*command(lockspace, "--label", "nightly", "--", "sh", "-c", f"echo $$ > {ready}; sleep 60")) as one:
        pid_in(ready)
        assert holders(lockspace) == ["nightly"]
        # Longer than S: so it is renewed.
        time.sleep(S * 1.3)
        assert holders(lockspace) == ["nightly"]
        assert one.poll() is None


def test_signals_priority_and_descriptors_are_as_before(lockspace: Path) -> None:
    """What run and its guard change for themselves does not reach the command."""
    script = (
        "import os, signal, json; "
        "print(json.dumps({'ignored': [s for s in range(1, 65) if s not in (9, 19, 32, 33) "
        "and signal.getsignal(s) == signal.SIG_IGN], "
        "'blocked': sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))), "
        "'priority': [os.nice(0), os.sched_getscheduler(0), os.sched_getparam(0).sched_priority], "
        "'fds': sorted(int(f) for f in os.listdir('/proc/self/fd') if int(f) > 2)[:-1]}))"
    )
    told = []
    for start in ([*PROGRAM, *command(lockspace, "--")], []):
        nice = ["nice", "-n", "7", *start, sys.executable, "-c", script]
        done = subprocess.run(nice, capture_output=True, text=True, check=True, env=clean_environment())
        told.append(json.loads(done.stdout))
    assert told[0] == told[1]
    assert told[0]["priority"] == [min(os.nice(0) + 7, 19), 0, 0]


def test_inherited_descriptors_reach_the_command(lockspace: Path) -> None:
    ours, theirs = os.pipe()
    subprocess.run(
        [*PROGRAM, *command(lockspace, "--", sys.executable, "-c", f"import os; os.write({theirs}, b'through')")],
        pass_fds=[theirs],
        env=clean_environment(),
        check=True,
    )
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        assert pipe.read() == "through"


# ---- conflicts


def test_two_at_once_one_wins(lockspace: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"echo won; while [ ! -e {go} ]; do sleep 0.05; done"
    with running(*command(lockspace, "--", "sh", "-c", script)) as one:
        with running(*command(lockspace, "--", "sh", "-c", script)) as other:
            both = [one, other]
            loser = eventually(lambda: next((p for p in both if p.poll() is not None), None))
            assert loser.returncode == 75
            told = loser.stderr.read()
            assert "lease 'vm1' is held by host" in told
            assert "for 'sh " in told, "the winner's label"
            assert "if its host has died, the lease is free in about" in told or "its host is alive" in told
            assert "--wait" in told
            go.touch()
            winner = one if loser is other else other
            assert winner.wait(20) == 0
            assert winner.stdout is not None
            assert winner.stdout.read() == "won\n"


def test_the_loser_never_ran(lockspace: Path, tmp_path: Path) -> None:
    ready, trace = tmp_path / "ready", tmp_path / "trace"
    with running(*command(lockspace, "--", "sh", "-c", f"echo $$ > {ready}; sleep 60")):
        pid_in(ready)
        done = diskpaxos(*command(lockspace, "-E", "9", "--", "touch", str(trace)), expect=9)
        assert "the command did not run" in done.stderr
        assert not trace.exists()
        done = diskpaxos(*command(lockspace, "--wait", "300ms", "--", "touch", str(trace)), expect=75)
        assert "the command did not run" in done.stderr
        assert not trace.exists()
        diskpaxos(*command(lockspace, "--", "true", lease="another"))


@pytest.mark.timing
def test_the_loser_is_told_that_the_holder_lives(lockspace: Path, tmp_path: Path) -> None:
    """Its heartbeats were seen to come in time."""
    ready = tmp_path / "ready"
    with running(*command(lockspace, "--", "sh", "-c", f"echo $$ > {ready}; sleep 60")):
        pid_in(ready)
        done = diskpaxos(*command(lockspace, "--wait", "300ms", "--", "true"), expect=75)
        assert "its host is alive: wait longer than 300ms" in done.stderr


def test_a_waiter_gets_it_when_the_holder_ends(lockspace: Path, tmp_path: Path) -> None:
    ready, log = tmp_path / "ready", tmp_path / "log"
    first = f"echo $$ > {ready}; sleep 1; echo first >> {log}"
    with running(*command(lockspace, "--", "sh", "-c", first)) as holder:
        pid_in(ready)
        diskpaxos(*command(lockspace, "--wait", "30s", "--", "sh", "-c", f"echo second >> {log}"))
        assert log.read_text() == "first\nsecond\n"
        assert holder.wait(10) == 0


def test_shared_holders_share_and_exclude_an_exclusive_one(lockspace: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with running(*command(lockspace, "--shared", "--", "sh", "-c", f"echo $$ > {ready}; sleep 60")):
        pid_in(ready)
        diskpaxos(*command(lockspace, "--shared", "--", "true"))
        diskpaxos(*command(lockspace, "--", "true"), expect=75)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_waiter_that_is_signalled_leaves_in_good_order(lockspace: Path, tmp_path: Path, number: int) -> None:
    ready = tmp_path / "ready"
    with running(*command(lockspace, "--", "sh", "-c", f"echo $$ > {ready}; sleep 60")):
        pid_in(ready)
        with running(*command(lockspace, "--wait", "forever", "--", "true")) as waiter:
            eventually(lambda: len(json_of("hosts", "-L", lockspace, "--watch", "0")) == 2)
            time.sleep(0.3)
            waiter.send_signal(number)
            assert waiter.wait(10) == 128 + number
            assert waiter.stderr is not None
            assert "Traceback" not in waiter.stderr.read()
        assert len(json_of("hosts", "-L", lockspace, "--watch", "0")) == 1, "its slot is free again"


# ---- commands that cannot be


def test_no_such_command(lockspace: Path) -> None:
    done = diskpaxos(*command(lockspace, "--", "no-such-command"), expect=127)
    assert done.stderr == "diskpaxos: no-such-command: no such command\n  no lease was taken\n"


def test_not_executable(lockspace: Path, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("nothing")
    diskpaxos(*command(lockspace, "--", str(path)), expect=126)
    path.write_text("#!/no/such/interpreter\n")  # passes the first look, and fails at exec
    path.chmod(0o755)
    done = diskpaxos(*command(lockspace, "--", str(path)), expect=126)
    assert "cannot be executed" in done.stderr
    assert holders(lockspace) == []


# ---- signals while it runs


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "QUIT"])
def test_signals_from_processes_are_forwarded(lockspace: Path, tmp_path: Path, name: str) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'echo got {name}; exit 7' {name}; echo $$ > {ready}; while :; do sleep 0.05; done"
    with running(*command(lockspace, "--", "sh", "-c", script)) as one:
        pid_in(ready)
        one.send_signal(getattr(signal, f"SIG{name}"))
        assert one.wait(10) == 7
        assert one.stdout is not None
        assert one.stdout.read() == f"got {name}\n"


def test_a_signal_that_kills_the_command_shows_in_the_status(lockspace: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with running(*command(lockspace, "--", "sh", "-c", f"echo $$ > {ready}; exec sleep 60")) as one:
        pid_in(ready)
        one.terminate()
        assert one.wait(10) == 143
        assert holders(lockspace) == []


# ---- what the command leaves behind


def test_leftovers_are_ended_before_the_lease_is_released(lockspace: Path, tmp_path: Path, daemon: Path) -> None:
    pidfile = tmp_path / "pid"
    script = f"{sys.executable} {daemon} {pidfile}; while [ ! -s {pidfile} ]; do sleep 0.02; done; exit 3"
    started = time.monotonic()
    done = diskpaxos(*command(lockspace, "--", "sh", "-c", script), expect=3, timeout=15)
    assert not is_running(pid_in(pidfile))
    assert "left 1 process(es) behind" in done.stderr
    # It is deaf to SIGTERM, so it took the grace.
    assert time.monotonic() - started > K * 0.7


@pytest.mark.timing
def test_what_is_about_to_finish_may_finish(lockspace: Path, tmp_path: Path) -> None:
    """The end of a pipe that outlives its shell by a moment is not cut off."""
    result = tmp_path / "result"
    script = f"(sleep 0.05; echo all > {result}) & exit 0"
    done = diskpaxos(*command(lockspace, "--", "sh", "-c", script))
    assert result.read_text() == "all\n"
    assert done.stderr == ""


# ---- run is killed


@pytest.mark.timing
@pytest.mark.parametrize("victim", ["run", "guard", "group"])
def test_killed_it_takes_everything_with_it(lockspace: Path, tmp_path: Path, daemon: Path, victim: str) -> None:
    """SIGKILL for run, for its guard, or for the whole process group: the command, a grandchild and a
    daemonised, deaf one are gone at once, long before the lease is."""
    shell, pidfile, plain = tmp_path / "shell", tmp_path / "daemon.pid", tmp_path / "plain"
    script = (
        f"trap '' TERM HUP; echo $$ > {shell}; {sys.executable} {daemon} {pidfile}; "
        f"sh -c 'echo $$ > {plain}; sleep 300; true' & wait; sleep 300"
    )
    with running(*command(lockspace, "--", "sh", "-c", script), process_group=0) as one:
        pids = [pid_in(path) for path in (shell, pidfile, plain)]
        guard = guard_of(one)
        everything = [process.pid for process in descendants(one.pid)]
        assert {*pids, guard} <= set(everything)
        assert all(map(is_running, everything))
        if victim == "run":
            one.kill()
        elif victim == "guard":
            os.kill(guard, signal.SIGKILL)
        else:
            os.killpg(one.pid, signal.SIGKILL)
        eventually(lambda: not any(map(is_running, everything)), timeout=S / 2)
        assert one.wait(10) == (128 + 9 if victim == "guard" else -9)
        if victim == "guard":
            assert one.stderr is not None
            assert f"the guard process {guard} was killed" in one.stderr.read()


def test_killed_together_with_its_guard_the_command_itself_dies(lockspace: Path, tmp_path: Path) -> None:
    """Neither has time for anything: the kernel sees to it."""
    shell = tmp_path / "shell"
    script = f"trap '' TERM HUP; echo $$ > {shell}; while :; do sleep 0.05; done"
    with running(*command(lockspace, "--", "sh", "-c", script)) as one:
        pid, guard = pid_in(shell), guard_of(one)
        for sent in (signal.SIGSTOP, signal.SIGKILL):
            for victim in (guard, one.pid):
                os.kill(victim, sent)
        eventually(lambda: not is_running(pid), timeout=2)
        assert one.wait(10) == -9


def test_the_lease_of_a_killed_run_is_free_after_t_dead_and_not_before(lockspace: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with running(*command(lockspace, "--", "sh", "-c", f"echo $$ > {ready}; sleep 60")) as one:
        pid_in(ready)
        one.kill()
        one.wait()
        killed = time.monotonic()
        diskpaxos(*command(lockspace, "--", "true"), expect=75)
        diskpaxos(*command(lockspace, "--wait", "60s", "--", "true"))
        assert time.monotonic() - killed > T_DEAD - S / 8


@pytest.mark.timing
def test_killed_while_it_starts_nothing_is_left(lockspace: Path, tmp_path: Path) -> None:
    """At any moment of the start: whatever was begun by then is gone, and nothing begins after."""
    for delay in (0.05, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5):
        marker = tmp_path / f"marker-{delay}"
        with running(
            *command(lockspace, "--", "sh", "-c", f"echo $$ > {marker}; exec sleep 300", lease=marker.name)
        ) as one:
            time.sleep(delay)
            below = [process.pid for process in descendants(one.pid)]
            one.kill()
            one.wait()
            eventually(lambda: not any(map(is_running, below)), timeout=2)  # noqa: B023
        if marker.exists() and marker.read_text():
            assert not is_running(int(marker.read_text()))


# ---- run is stopped


@pytest.mark.timing
def test_stopped_for_longer_than_its_lease_lives(lockspace: Path, tmp_path: Path, daemon: Path) -> None:
    """run is stopped: its guard ends the command at the lifetime, SIGTERM first; continued, run finds out."""
    ready, log, pidfile = tmp_path / "ready", tmp_path / "log", tmp_path / "daemon.pid"
    script = (
        f"{sys.executable} {daemon} {pidfile}; trap 'echo polite >> {log}; exit 0' TERM; echo $$ > {ready}; "
        "while :; do sleep 0.05; done"
    )
    with running(*command(lockspace, "--", "sh", "-c", script)) as one:
        shell, deaf = pid_in(ready), pid_in(pidfile)
        stopped = time.monotonic()
        one.send_signal(signal.SIGSTOP)
        eventually(lambda: not is_running(shell), timeout=S + K)
        took = time.monotonic() - stopped
        assert S * 0.7 < took < S + K * 0.5, "asked politely at the end of the lifetime, not before"
        assert log.read_text() == "polite\n"
        eventually(lambda: not is_running(deaf), timeout=K)
        assert time.monotonic() - stopped < S + K, "the deaf one is killed before S + K"
        # Nobody else had the lease so far: T_dead is not over.
        time.sleep(0.2)
        one.send_signal(signal.SIGCONT)
        assert one.wait(10) == 76
        assert one.stderr is not None
        assert "lease 'vm1'" in one.stderr.read()


def test_stopped_for_a_short_while_nothing_happens(lockspace: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with running(*command(lockspace, "--", "sh", "-c", f"echo $$ > {ready}; sleep 1.5; exit 4")) as one:
        pid_in(ready)
        one.send_signal(signal.SIGSTOP)
        time.sleep(S / 3)
        one.send_signal(signal.SIGCONT)
        assert one.wait(10) == 4


def test_stopped_forever_it_never_overlaps_its_successor(lockspace: Path, tmp_path: Path) -> None:
    """The old command writes as long as it can; the new one starts only after its last line."""
    log, ready = tmp_path / "log", tmp_path / "ready"
    script = f"trap '' TERM; echo $$ > {ready}; while :; do echo old >> {log}; sleep 0.01; done"
    with running(*command(lockspace, "--", "sh", "-c", script)) as one:
        pid_in(ready)
        one.send_signal(signal.SIGSTOP)
        diskpaxos(
            *command(lockspace, "--wait", "60s", "--", "sh", "-c", f"echo new >> {log}; sleep 0.5; echo end >> {log}")
        )
        lines = log.read_text().splitlines()
        assert lines.index("new") > 10
        assert lines[lines.index("new") :] == ["new", "end"]
        one.send_signal(signal.SIGCONT)
        assert one.wait(10) == 76


@pytest.mark.timing
def test_a_stopped_guard_is_noticed_when_it_matters(lockspace: Path, tmp_path: Path) -> None:
    """Both are stopped, so the lease is lost; run, continued, makes an end without its guard."""
    ready = tmp_path / "ready"
    script = f"trap '' TERM; echo $$ > {ready}; while :; do sleep 0.05; done"
    with running(*command(lockspace, "--", "sh", "-c", script)) as one:
        shell, guard = pid_in(ready), guard_of(one)
        os.kill(guard, signal.SIGSTOP)
        one.send_signal(signal.SIGSTOP)
        time.sleep(S + K)
        assert is_running(shell)
        one.send_signal(signal.SIGCONT)
        eventually(lambda: not is_running(shell), timeout=1)
        assert one.wait(10) == 76
        assert not is_running(guard)


# ---- a lease that is taken away


@pytest.mark.timing
def test_a_lease_that_somebody_else_has_ends_the_command_without_grace(lockspace: Path, tmp_path: Path) -> None:
    """The host is in good health, yet the lease is another one by now: SIGTERM would give it time to do harm."""
    ready, log = tmp_path / "ready", tmp_path / "log"
    script = f"trap 'echo polite >> {log}' TERM; echo $$ > {ready}; while :; do sleep 0.05; done"
    with running(*command(lockspace, "--", "sh", "-c", script)) as one:
        shell = pid_in(ready)
        with library.Lockspace.open(lockspace) as space:
            (lease,) = space.leases()
            shape = space.geometry
        header = shape.encode_header(
            0,
            lease.area,
            directory_token=lease.last_token + (1 << 32),
            sequence=99,
            written_at=0,
            state=1,
            lease=uuid.uuid4().bytes,
            first_ballot=lease.last_token + (1 << 32),
            created_at=0,
            name=b"vm1",
        )
        with lockspace.open("r+b") as file:
            file.seek(shape.header_block(lease.area) * shape.block_size)
            file.write(header)
            file.flush()
            os.fsync(file.fileno())
        eventually(lambda: not is_running(shell), timeout=S)
        assert one.wait(10) == 76
        assert not log.exists()


# ---- storage that goes away


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A file on a file system that can be frozen; see tests/fault/frozen.py."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a loop-mounted file system to freeze")
    folder = tmp_path / "storage"
    folder.mkdir()
    keeper = Path(__file__).resolve().parents[1] / "fault" / "frozen.py"
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", sys.executable, str(keeper), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        greeting = process.stdout.readline().split()
        if greeting[:1] != ["ready"]:
            pytest.skip("cannot set up a loop-mounted ext4 here")
        yield process, Path(greeting[1])
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def ask(keeper: subprocess.Popen[str], word: str) -> None:
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    keeper.stdin.write(word + "\n")
    keeper.stdin.flush()
    assert keeper.stdout.readline()


def inside(keeper: subprocess.Popen[str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["nsenter", f"--mount=/proc/{keeper.pid}/ns/mnt", f"--wd={Path.cwd()}", *PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=clean_environment(),
    )


@pytest.mark.timing
@pytest.mark.root
@pytest.mark.loop
def test_storage_that_hangs_ends_the_command(frozen: tuple[subprocess.Popen[str], Path], tmp_path: Path) -> None:
    """No heartbeat for S: SIGTERM, then SIGKILL before S + K; the code says that the lease was lost."""
    keeper, path = frozen
    made = inside(
        keeper,
        "init",
        str(path),
        "--force",
        "--hosts",
        "8",
        "--leases",
        "16",
        "--outage-tolerance",
        f"{S}s",
        "--kill-grace",
        f"{K}s",
        "--watchdog",
        "400ms",
        "--claim-time",
        "100ms",
    )
    assert made.wait(30) == 0, made.communicate()
    made.communicate()
    ready, log = tmp_path / "ready", tmp_path / "log"
    script = f"trap 'echo polite >> {log}' TERM; echo $$ > {ready}; while :; do sleep 0.05; done"
    one = inside(keeper, *command(path, "--", "sh", "-c", script))
    try:
        shell = pid_in(ready)
        ask(keeper, "freeze")
        frozen_at = time.monotonic()
        eventually(lambda: log.exists(), timeout=S + K)
        assert S * 0.7 < time.monotonic() - frozen_at < S + K / 2
        eventually(lambda: not is_running(shell), timeout=K)
        assert time.monotonic() - frozen_at < S + K
        ask(keeper, "thaw")
        assert one.wait(20) == 76
    finally:
        ask(keeper, "thaw")
        one.kill()
        one.communicate()


@pytest.mark.timing
@pytest.mark.root
@pytest.mark.loop
def test_killed_while_its_storage_hangs(frozen: tuple[subprocess.Popen[str], Path], tmp_path: Path) -> None:
    """A thread of run sleeps in the kernel, so run cannot die; the command must, at once, all the same."""
    keeper, path = frozen
    made = inside(
        keeper,
        "init",
        str(path),
        "--force",
        "--hosts",
        "8",
        "--leases",
        "16",
        "--outage-tolerance",
        "20s",
        "--kill-grace",
        "5s",
        "--watchdog",
        "5s",
        "--claim-time",
        "100ms",
    )
    assert made.wait(30) == 0, made.communicate()
    made.communicate()
    ready = tmp_path / "ready"
    one = inside(
        keeper, *command(path, "--", "sh", "-c", f"trap '' TERM; echo $$ > {ready}; while :; do sleep 0.05; done")
    )
    try:
        shell = pid_in(ready)
        ask(keeper, "freeze")
        eventually(
            lambda: (
                b"D"
                in {
                    stat.read_bytes().rpartition(b")")[2].split()[0]
                    for stat in Path(f"/proc/{one.pid}/task").glob("*/stat")
                }
            ),
            timeout=8,
        )
        one.kill()
        eventually(lambda: not is_running(shell), timeout=1)
        assert one.poll() is None, "it hangs in the kernel: this test would show nothing otherwise"
    finally:
        ask(keeper, "thaw")
        one.kill()
        one.communicate()


# ---- terminals


def test_a_terminal_reaches_the_command(lockspace: Path, tmp_path: Path) -> None:
    """Ctrl-C goes to the command once, Ctrl-Z does not stop what holds a lease."""
    ready, count = tmp_path / "ready", tmp_path / "count"
    script = (
        f"trap 'echo interrupted; exit 5' INT; echo $$ > {ready}; n=0; "
        f"while [ $n -lt 2000 ]; do sleep 0.01; echo >> {count}; n=$((n+1)); done; exit 9"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        # A shell with job control, as on a real terminal; else Ctrl-Z would be without effect.
        inner = shlex.join([*PROGRAM, *command(lockspace, "--", "sh", "-c", script)])
        os.execvpe("sh", ["sh", "-mc", f"{inner}; exit $?"], clean_environment())
    try:
        pid_in(ready)
        output = b""
        # At any moment: also while the shell is between its vfork and its child's exec, when it cannot stop
        # itself but its child does.
        for _ in range(40):
            os.write(terminal, b"\x1a")  # Ctrl-Z
            time.sleep(0.013)
        # A terminal throws away what was written to it at every Ctrl-Z, and the remark comes once a second.
        time.sleep(1.1)
        os.write(terminal, b"\x1a")
        while b"not suspended" not in output:
            output += os.read(terminal, 1000)
        seen = count.stat().st_size
        eventually(lambda: count.stat().st_size > seen + 3)
        os.write(terminal, b"\x03")  # Ctrl-C
        try:
            while chunk := os.read(terminal, 1000):
                output += chunk
        except OSError:
            pass  # the last process has closed the terminal
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 5, output
        assert output.count(b"interrupted") == 1
    finally:
        for process in descendants(pid):
            kill(process)
        os.close(terminal)
