"""The command line's parts: durations, exit codes, plain values, messages, and the guard's wire."""

from __future__ import annotations

import errno
import math
import re
import socket
import struct
import subprocess
import uuid
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskpaxos import errors
from diskpaxos.cli import cli, guard, output, waiting
from diskpaxos.cli.durations import format_duration, parse_duration
from diskpaxos.cli.exit_codes import ExitCode
from diskpaxos.cli.output import plain, printable, size
from diskpaxos.cli.trouble import Trouble, code_of, translate
from diskpaxos.views import DiskInfo, Liveness

ROOT = Path(__file__).resolve().parents[2]

# ---- durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("500ms", 0.5),
        ("2m", 120),
        ("1h", 3600),
        ("0", 0),
        ("1.5", 1.5),
        (".5s", 0.5),
        ("2.m", 120),
        (" 7 s ", 7),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "1 2", "1s2", "inf", "nan", "1e3", "٣s", "1,5s", "forever"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration like 30s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.25, "250ms"),
        (1, "1s"),
        (2.5, "2.5s"),
        (71.6, "1m 12s"),
        (3600, "1h"),
        (3661, "1h 1m"),
        (86400, "1d"),
        (90000, "1d 1h"),
        (math.inf, "for ever"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0.001, 59.9))
def test_short_durations_are_read_back_as_shown(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=0.051)


# ---- exit codes


def documented_codes() -> dict[int, str]:
    rows = re.findall(r"^\| `(\d+)` \| (.+) \|$", (ROOT / "docs" / "cli.md").read_text(), flags=re.MULTILINE)
    return {int(number): text for number, text in rows}


def test_the_documented_codes_are_the_ones_in_use() -> None:
    assert documented_codes() == {int(code): code.meaning for code in ExitCode}


def test_codes_do_not_collide_with_the_shells() -> None:
    assert len({int(code) for code in ExitCode}) == len(ExitCode)
    assert all(int(code) < 128 for code in ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.HeldError("vm"), 75),
        (errors.HeldByThisHostError("vm"), 75),
        (errors.LeaseLostError("vm", "x"), 76),
        (errors.FinishedError("h", "x"), 76),
        (errors.LeaseNotFoundError("vm"), 66),
        (errors.LockspaceFullError("vm"), 73),
        (errors.NoFreeSlotError("/p", ()), 73),
        (errors.NotDrainedError("/p", 3), 69),
        (errors.NotEmptyError("/p", "an ext4 file system"), 69),
        (errors.InUseError("/p", ("slot 1",), True), 69),
        (errors.DeviceSizeError("/p", 1, 2), 73),
        (errors.DamagedError("/p", "x"), 78),
        (errors.TruncatedError("/p", 5), 78),
        (errors.NotFormattedError("/p"), 65),
        (errors.IncompatibleError("/p", version=9), 65),
        (errors.OtherLockspaceError("/p"), 65),
        (errors.SameDiskError("/p"), 65),
        (errors.DiskCountError("/p", 2, 3), 65),
        (errors.BlockSizeError("/p", 4096), 65),
        (errors.NoDirectIOError("/p"), 65),
        (errors.NoMajorityError("/p"), 74),
        (errors.NoMajorityError("/p", errno.EIO), 74),
        (errors.ReadOnlyError("/p"), 77),
        (errors.PathError("/p", errno.ENOENT), 66),
        (errors.PathError("/p", errno.EACCES), 77),
        (errors.PathError("/p", errno.EROFS), 77),
        (errors.PathError("/p", errno.ENOSPC), 73),
        (errors.PathError("/p", errno.EISDIR), 65),
        (errors.PathError("/p", errno.ETIMEDOUT), 74),
        (errors.StorageError("read", errno.EIO), 74),
        (errors.StorageError("read", 0), 74),
        (errors.StorageError("write", errno.ENOSPC), 73),
        (errors.WaitTimeoutError("join"), 74),
        (errors.InvalidNameError("", "lease", "it is empty"), 2),
        (errors.TokensExhaustedError("vm"), 1),
    ],
)
def test_errors_have_their_code(error: errors.DiskPaxosError, code: int) -> None:
    assert code_of(error) == code


def test_a_message_has_three_parts(capsys: pytest.CaptureFixture[str]) -> None:
    translate(errors.LeaseNotFoundError("vm")).show()
    assert capsys.readouterr().err == (
        "diskpaxos: there is no lease 'vm'\n  nothing was changed\n  next: `diskpaxos leases` lists them\n"
    )


def test_a_defect_is_no_operators_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    trouble = translate(ZeroDivisionError("oh"))
    assert trouble.code == 70
    trouble.show()
    assert "please report it, with the output under DISKPAXOS_TRACEBACK=1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            OSError(errno.EMFILE, "Too many open files"),
            71,
            "the system refused what it takes to work: Too many open files (EMFILE)",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), 66, "/x: No such file or directory"),
        (MemoryError(), 71, "the system refused what it takes to work: Cannot allocate memory (ENOMEM)"),
        (
            RuntimeError("can't start new thread"),
            71,
            "the system refused what it takes to start a thread: Resource temporarily unavailable (EAGAIN)",
        ),
    ],
)
def test_what_the_system_refuses(error: Exception, code: int, text: str) -> None:
    trouble = translate(error)
    assert isinstance(trouble, Trouble)
    assert (trouble.code, str(trouble)) == (code, text)


# ---- every command explains itself


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_help_has_an_example(name: str) -> None:
    text = cli.commands[name].help or ""
    assert "Example" in text
    assert f"diskpaxos {name}" in text


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_is_documented(name: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    section = text.split(f"\n### {name}\n")
    assert len(section) == 2, name
    for parameter in cli.commands[name].params:
        for option in parameter.opts:
            if option.startswith("--") and option not in ("--help", "--lockspace", "--json"):
                assert f"`{option}" in section[1].split("\n### ")[0], f"{name} {option}"


# ---- values


def test_plain_values() -> None:
    disk = DiskInfo("/a", 0, True, "", False, True, 3)
    value = {"id": uuid.UUID(int=1), "raw": b"\xff", "live": Liveness.DEAD, "n": np.uint64(7), "disks": (disk,)}
    assert plain(value) == {
        "id": "00000000-0000-0000-0000-000000000001",
        "raw": "ff",
        "live": "dead",
        "n": 7,
        "disks": [
            {
                "path": "/a",
                "index": 0,
                "online": True,
                "trouble": "",
                "network": False,
                "block_device": True,
                "generation": 3,
            }
        ],
    }


def test_names_from_the_disk_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[2Jb\nü") == "a\\x1b[2Jb\\x0aü"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (1 << 40, "1 TiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


# ---- the guard


def test_both_ends_of_the_wire_agree() -> None:
    source = (ROOT / "native" / "guard" / "guard.c").read_text()
    numbers = {name: int(value) for name, value in re.findall(r"#define (SAY_\w+|TELL_\w+) (\d+)", source)}
    ours = {f"SAY_{say.name}": int(say) for say in guard.Say} | {f"TELL_{t.name}": int(t) for t in guard.Tell}
    assert numbers == ours


def test_the_guard_is_of_no_use_by_itself() -> None:
    done = subprocess.run([guard.PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "belongs to `diskpaxos run`" in done.stderr


def test_the_last_words_of_a_guard_are_heard() -> None:
    """Also when it ended with unread messages of ours: the kernel then hands out an error before them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    listener = guard.Guard.__new__(guard.Guard)
    listener._socket, listener.gone = ours, False
    listener.move(1, 2)
    theirs.send(struct.pack("=5Q", guard.Tell.EXITED, 256, 1, 0, 0))
    theirs.close()
    listener.move(3, 4)
    assert listener.reports() == [guard.Report(guard.Tell.EXITED, 256, 1)]
    assert listener.gone
    ours.close()


def test_a_guard_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(guard, "PROGRAM", tmp_path / "_guard")
    with pytest.raises(guard.GuardError, match=r"cannot start .*_guard: No such file"):
        guard.Guard(["true"], {})


def test_what_takes_long_leaves_lines_in_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cron job's mail, a service's journal: no terminal, and yet nobody wonders what is waited for."""
    now = 100.0
    monkeypatch.setattr(output.time, "monotonic", lambda: now)
    with output.progress() as advance:
        assert advance is not None
        for second in range(72):
            now = 100.0 + second
            advance("watching for heartbeats, seconds", second, 72)
        advance("quick", 0, 1)
        advance("quick", 1, 1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "diskpaxos: watching for heartbeats, seconds: 2 of 72"
    assert len(lines) == 7
    assert not any("quick" in line for line in lines)


# ---- how long to wait


class Timings:
    """What :mod:`diskpaxos.cli.waiting` asks of a lockspace's info."""

    def __init__(self, dead_time: float, heartbeat: float) -> None:
        self.dead_time = dead_time
        self.heartbeat = heartbeat


DEFAULTS: Any = Timings(71.6, 5.0)


def test_enough_is_more_than_a_death_takes() -> None:
    assert waiting.enough(DEFAULTS) == "85s"
    assert waiting.enough(cast("Any", Timings(9.4, 0.5))) == "11s"
    assert parse_duration(waiting.enough(cast("Any", Timings(0.6, 0.05)))) == 1.0


@pytest.mark.parametrize(
    ("known", "parts"),
    [
        ({"alive": True, "silent_for": 1.0, "free_in": 75.6}, ("its host is alive", "--wait DURATION")),
        ({"alive": False, "free_in": 0.0}, ("its host is dead", "--wait 85s")),
        ({"silent_for": 12.0, "free_in": 64.6}, ("silent for 12s", "free in about 1m 5s: --wait 85s")),
        (
            {"silent_for": 1.0, "free_in": 75.6},
            ("if its host has died, the lease is free in about 1m 16s: --wait 85s",),
        ),
        ({}, ("free in about 1m 17s: --wait 85s",)),
    ],
)
def test_advice_comes_from_what_is_known(known: dict[str, Any], parts: tuple[str, ...]) -> None:
    advice = waiting.held_advice(errors.HeldError("vm", host="a", slot=1, **known), DEFAULTS)
    assert all(part in advice for part in parts), advice
    assert ("silent" in advice) == (known.get("silent_for", 0.0) > 10)


def test_a_wait_is_one_for_slot_and_lease() -> None:
    assert waiting.Waiting(math.inf).for_slot(1.0) is None
    assert waiting.Waiting(math.inf).for_lease() is None
    assert waiting.Waiting(0.0).for_slot(1.0) == 10.0
    assert waiting.Waiting(0.0).for_slot(0.1) == 2.0
    assert waiting.Waiting(120.0).for_slot(1.0) == pytest.approx(120.0, abs=1.0)
    assert waiting.Waiting(0.0).for_lease() == 0.0


def test_only_outages_are_waited_for_when_opening() -> None:
    told: list[str] = []
    left = iter([errors.NoMajorityError("/p", errno.EIO), errors.PathError("/p", errno.ESTALE), None])

    def attempt() -> str:
        error = next(left)
        if error:
            raise error
        return "opened"

    assert waiting.Waiting(30.0).opening(attempt, told.append) == "opened"
    assert len(told) == 1
    for error, wait in ((errors.PathError("/p", errno.ENOENT), math.inf), (errors.PathError("/p", errno.EIO), 0.0)):
        left = iter([error])
        with pytest.raises(errors.PathError):
            waiting.Waiting(wait).opening(attempt, told.append)


def test_storage_that_is_too_slow_to_join_is_a_matter_of_storage() -> None:
    assert code_of(errors.TimingError("/p", "too slow", 3)) == ExitCode.STORAGE
