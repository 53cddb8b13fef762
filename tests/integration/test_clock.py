"""Clocks that jump: the wall clock means nothing, and a machine that slept knows that it did.

A small library put before the C library turns the clocks of one process as a file says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fix_members import MemberError, MemberProcess
from fix_spaces import QUICK, Maker

from diskpaxos import Lockspace, errors

SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The file named by CLOCK_SHIM: two numbers, seconds added to CLOCK_REALTIME and CLOCK_BOOTTIME. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("CLOCK_SHIM");
    if (result != 0 || !path || (clock != CLOCK_REALTIME && clock != CLOCK_BOOTTIME))
        return result;
    char text[64];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    if (length <= 0)
        return result;
    text[length] = 0;
    char *rest;
    long wall = strtol(text, &rest, 10);
    long boot = strtol(rest, NULL, 10);
    now->tv_sec += clock == CLOCK_REALTIME ? wall : boot;
    return result;
}
"""

Turn = Callable[[int, int], None]


@pytest.fixture
def clocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Turn:
    """Turn the clocks of the members started from here on; (wall, boot) in seconds."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source, library, file = tmp_path / "shim.c", tmp_path / "shim.so", tmp_path / "clocks"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", str(source), "-o", str(library)], check=True)

    def turn(wall: int, boot: int) -> None:
        fresh = file.with_suffix(".new")
        fresh.write_text(f"{wall} {boot}\n")
        fresh.rename(file)

    turn(0, 0)
    monkeypatch.setenv("CLOCK_SHIM", str(file))
    monkeypatch.setenv("LD_PRELOAD", " ".join(filter(None, [os.environ.get("LD_PRELOAD"), str(library)])))
    return turn


@pytest.mark.parametrize("step", [-86400, 86400, 10**9])
def test_steps_of_the_wall_clock_mean_nothing(
    make_space: Maker, member: Callable[[Lockspace], MemberProcess], clocks: Turn, step: int
) -> None:
    space = make_space(**QUICK)
    process = member(space)
    slot = process.call("join", name="jumper")
    process.call("acquire", name="vm")
    clocks(step, 0)
    time.sleep(2.0)
    assert 0 < process.call("check", name="vm") <= 1.0
    assert abs(space.hosts()[slot].last_heartbeat - (time.time() + step)) < 60, "the clock was really turned"
    with space.join("other") as other:
        with pytest.raises(errors.HeldError):
            other.acquire("vm", timeout=2.5)
        clocks(0, 0)
        process.call("release", name="vm")
        other.acquire("vm", timeout=5).release()


def test_a_machine_that_slept_holds_nothing_when_it_wakes(
    make_space: Maker, member: Callable[[Lockspace], MemberProcess], clocks: Turn
) -> None:
    """CLOCK_BOOTTIME counts the sleep: over at once, before any heartbeat says so.

    (Timers of the kernel know nothing of the turned clock, so nothing that waits is judged here.)
    """
    space = make_space()
    process = member(space)
    process.call("join", name="sleeper")
    process.call("acquire", name="vm")
    clocks(3600, 3600)
    with pytest.raises(MemberError) as caught:
        process.call("check", name="vm")
    assert caught.value.kind == "LeaseLostError"
    with pytest.raises(MemberError) as caught:
        process.call("acquire", name="other")
    assert caught.value.kind == "FinishedError"
