"""Signals while a call waits: the handler runs soon, and what it raises leaves nothing held behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from fix_spaces import Maker

from diskpaxos import Host, Lease, Lockspace

Opener = Callable[..., Lockspace]


class Alarm(BaseException):
    pass


def ring(number: int, frame: FrameType | None) -> None:
    raise Alarm


@pytest.fixture
def alarm() -> Iterator[Callable[[float], None]]:
    """``alarm(seconds)``: Alarm is raised in the main thread after that time."""
    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def hosts(make_space: Maker, open_space: Opener) -> tuple[Host, Host]:
    space = make_space()
    return space.join("alpha"), open_space(space).join("beta")


@pytest.mark.timing
def test_a_handler_that_raises_ends_the_wait(hosts: tuple[Host, Host], alarm: Callable[[float], None]) -> None:
    alpha, beta = hosts
    lease = beta.acquire("vm")
    alarm(0.3)
    before = time.monotonic()
    with pytest.raises(Alarm):
        alpha.acquire("vm", timeout=None)
    assert time.monotonic() - before < 2
    assert alpha.leases() == []
    lease.release()
    time.sleep(0.3)
    beta.acquire("vm", timeout=5).release()


def test_a_handler_that_returns_does_not(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    rung: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(time.monotonic()))
    try:
        lease = beta.acquire("vm")
        threading.Timer(1.0, lease.release).start()
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        begin = time.monotonic()
        with alpha.acquire("vm", timeout=None) as mine:
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert mine.held
        assert time.monotonic() - begin >= 0.9
        assert len(rung) >= 4
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_handler_may_use_the_library(hosts: tuple[Host, Host]) -> None:
    """As a program does that releases everything on SIGTERM."""
    alpha, beta = hosts
    first, second = alpha.acquire("first"), beta.acquire("second")

    def tidy(number: int, frame: FrameType | None) -> None:
        first.release()
        raise SystemExit(3)

    before = signal.signal(signal.SIGTERM, tidy)
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(SystemExit):
            alpha.acquire("second", timeout=None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not first.held
    assert alpha.leases() == []
    assert second.held
    beta.acquire("first").release()


@pytest.mark.timing
def test_joining_can_be_interrupted(make_space: Maker, alarm: Callable[[float], None]) -> None:
    space = make_space(max_hosts=2)
    with space.join(), space.join():
        alarm(0.3)
        before = time.monotonic()
        with pytest.raises(Alarm):
            space.join(timeout=60)
        assert time.monotonic() - before < 2
    space.join().leave()


def test_waits_of_other_threads_are_not_disturbed(hosts: tuple[Host, Host], alarm: Callable[[float], None]) -> None:
    alpha, beta = hosts
    lease = beta.acquire("vm")
    taken = threading.Event()

    def wait() -> None:
        with alpha.acquire("vm", timeout=None):
            taken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    lease_of_main = beta.acquire("other")
    alarm(0.2)
    with pytest.raises(Alarm):
        alpha.acquire("other", timeout=None)
    assert thread.is_alive()
    assert not taken.is_set()
    lease.release()
    thread.join(10)
    assert taken.is_set()
    lease_of_main.release()


def test_an_interrupt_at_any_moment_leaves_nothing_held(
    hosts: tuple[Host, Host], alarm: Callable[[float], None]
) -> None:
    """Either acquire has returned and the host knows the lease, or nobody holds it."""
    alpha, beta = hosts
    alpha.acquire("vm").release()
    random.seed(7)
    interrupted = 0
    for _ in range(150):
        try:
            alarm(random.uniform(0.00001, 0.0015))
            alpha.acquire("vm", timeout=1)
            time.sleep(0.01)  # too late for this one: it comes here
        except Alarm:
            interrupted += 1
        for lease in alpha.leases():
            lease.release()
        beta.acquire("vm", timeout=5).release()
    assert interrupted > 5, "the interrupts came at other times than meant"


def test_an_interrupt_of_an_acquire_that_succeeds_takes_nothing(
    hosts: tuple[Host, Host], alarm: Callable[[float], None]
) -> None:
    """The lease was granted already when the handler came to run: whoever asked for it will never know."""
    alpha, beta = hosts
    for _ in range(10):
        lease = alpha.acquire("vm")

        def let_go(lease: Lease = lease) -> None:
            time.sleep(0.02)  # the main thread waits in the core
            signal.raise_signal(signal.SIGALRM)  # it is interrupted once it comes out of there …
            lease.release()  # … with the lease

        thread = threading.Thread(target=let_go)
        thread.start()
        with pytest.raises(Alarm):
            alpha.acquire("vm", timeout=10)
        thread.join()
        assert alpha.leases() == []
        beta.acquire("vm", timeout=5).release()


def test_control_c_ends_a_waiting_program(make_space: Maker, tmp_path: Path) -> None:
    space = make_space()
    with space.join() as host, host.acquire("vm"):
        code = (
            "import sys, diskpaxos\n"
            "with diskpaxos.Lockspace.open(sys.argv[1]) as space, space.join('waiter') as host:\n"
            "    print('waiting', flush=True)\n"
            "    host.acquire('vm', timeout=None)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, space.paths[0]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate(timeout=10)
        finally:
            process.kill()
        assert "KeyboardInterrupt" in complaint
        assert process.returncode not in (0, None)
        slots = [view for view in space.hosts() if view.name == "waiter"]
        assert all(view.liveness == "free" for view in slots), "it left in good order"


def test_signals_in_the_middle_of_io_do_no_harm(hosts: tuple[Host, Host]) -> None:
    """A storm of signals whose handler does nothing."""
    alpha, _ = hosts
    count = 0

    def tick(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for turn in range(100):
            with alpha.acquire(f"vm{turn % 3}") as lease:
                lease.check()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert count > 10
    assert alpha.status().missed == 0
