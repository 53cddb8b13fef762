"""The command line as tests run it: the real program, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from diskpaxos import Lockspace
from diskpaxos.cli import cli

PROGRAM = (sys.executable, "-m", "diskpaxos")

#: Timings of a lockspace that fails over in about four seconds, on a busy machine too.
S, K, W = 2.0, 1.0, 0.4
T_DEAD = (S + K + W) * 1.11 + S / 8
FAST = ("--outage-tolerance", f"{S}s", "--kill-grace", f"{K}s", "--watchdog", f"{W}s", "--claim-time", "100ms")
SMALL = ("--hosts", "8", "--leases", "32")


def changes_behaviour(variable: str) -> bool:
    """Whether a test's outcome could depend on it."""
    return variable.startswith("DISKPAXOS_") and variable != "DISKPAXOS_RUNTIME_DIR"


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without what could change the program's behaviour."""
    kept = {key: value for key, value in os.environ.items() if not changes_behaviour(key)}
    return {**kept, **more}


def diskpaxos(
    *arguments: str | Path, expect: int | None = 0, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; ``expect``: the exit code it must have.

    `run` gets a process of its own; the others run in this one, which is ten times as fast.
    """
    words = [*map(str, arguments)]
    if words[0] == "run":
        done = subprocess.run(
            [*PROGRAM, *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=clean_environment(**environment),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    else:
        hidden: dict[str, str | None] = {key: None for key in os.environ if changes_behaviour(key)}
        result = CliRunner().invoke(cli, words, prog_name="diskpaxos", env={**hidden, **environment})
        done = subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in done.stderr, done.stderr
    if expect is not None:
        assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def json_of(*arguments: str | Path, expect: int = 0) -> Any:
    """What a command with ``--json`` says; stderr stays empty."""
    done = diskpaxos(*arguments, "--json", expect=expect)
    assert done.stderr == ""
    return json.loads(done.stdout)


def make_lockspace(path: Path) -> Path:
    """A small, fast lockspace."""
    Lockspace.create(
        path,
        max_hosts=8,
        max_leases=32,
        outage_tolerance=S,
        kill_grace=K,
        watchdog_timeout=W,
        claim_time=0.1,
    ).close()
    return path


@contextmanager
def running(*arguments: str | Path, **keywords: Any) -> Iterator[subprocess.Popen[str]]:
    """A command in the background; killed at the end if it still runs."""
    keywords.setdefault("env", clean_environment())
    keywords.setdefault("stdin", subprocess.DEVNULL)
    process = subprocess.Popen(
        [*PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **keywords
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            # Something that it started has outlived it and keeps the pipes: the test has failed by now.
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def eventually(condition: Callable[[], Any], timeout: float = 10.0, pause: float = 0.01) -> Any:
    """Wait until ``condition()`` is true; its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout} s: {condition}"
        time.sleep(pause)


def is_running(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
