"""What surrounds the program: closed descriptors, full devices, limits, interrupts, odd names.  Whatever it is, people
get one message in its three parts and an exit code of the table; never a traceback, never "internal error"."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from program import clean_environment, make_lockspace

from diskpaxos import _core

ROOT = Path(__file__).resolve().parents[2]
START = (sys.executable, "-c", "from _diskpaxos_start import main; main()")


@pytest.fixture
def lockspace(tmp_path: Path) -> Path:
    return make_lockspace(tmp_path / "lockspace")


def shell(line: str, *arguments: str | Path, **options: int) -> subprocess.CompletedProcess[str]:
    """``line`` in a shell, where "$@" is the program with ``arguments``."""
    words = [*START, *map(str, arguments)]
    done = subprocess.run(
        ["sh", "-c", line, "sh", *words],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    for word in ("Traceback", "internal error", "Exception ignored"):
        assert word not in done.stderr, done.stderr
    return done


COMMANDS: dict[str, tuple[str, ...]] = {
    "info": ("info", "-L"),
    "json": ("info", "--json", "-L"),
    "leases": ("leases", "-L"),
}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("name", COMMANDS)
def test_closed_descriptors_are_as_the_null_device(lockspace: Path, name: str, closed: str) -> None:
    assert shell(f'"$@" {closed}', *COMMANDS[name], lockspace).returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_the_command_of_run_never_writes_on_a_disk(lockspace: Path, tmp_path: Path, closed: str) -> None:
    """Else the first file that is opened would be its standard output."""
    script = f"ls -l /proc/self/fd/ > {tmp_path}/fds; echo text; echo text >&2; exit 7"
    done = shell(f'"$@" {closed}', "run", "-L", lockspace, "-l", "vm", "--", "sh", "-c", script)
    assert done.returncode == 7
    assert str(lockspace) not in (tmp_path / "fds").read_text()
    assert shell('"$@"', "check", "-L", lockspace).stdout == "nothing found\n"


def test_no_disk_is_opened_as_standard_output(lockspace: Path) -> None:
    """In any process that uses the library: what is printed by accident must not land on a disk."""
    program = """
        import os, sys
        for fd in (0, 1): os.close(fd)
        from diskpaxos import Lockspace
        with Lockspace.open(sys.argv[1]) as space, space.join() as host:
            for fd in (0, 1):
                assert os.path.realpath(f"/proc/self/fd/{fd}") != sys.argv[1], fd
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(lockspace)]
    subprocess.run(command, check=True, timeout=60, env=clean_environment())


@pytest.mark.parametrize(
    ("arguments", "code"), [(("info", "-L"), 73), (("info", "--json", "-L"), 73), (("leases", "-L"), 73)]
)
def test_output_that_cannot_be_written(lockspace: Path, arguments: tuple[str, ...], code: int) -> None:
    done = shell('"$@" > /dev/full', *arguments, lockspace)
    assert done.returncode == code
    assert done.stderr.startswith("diskpaxos: standard output: No space left on device\n")


def test_help_and_errors_that_cannot_be_written(lockspace: Path) -> None:
    assert "standard output" in shell('"$@" > /dev/full', "--help").stderr
    assert shell('"$@" 2> /dev/full', "frobnicate").returncode == 2
    assert shell('"$@" 2> /dev/full', "info", "-L", lockspace.with_name("nothing")).returncode == 66
    assert shell('"$@" 2> /dev/full', "run", "-L", lockspace, "-l", "vm", "--", "sh", "-c", "exit 7").returncode == 7


# ---- limits


def limited(lockspace: Path, limit: int, value: int) -> subprocess.CompletedProcess[str]:
    """`run` under a limit that lets Python itself start."""
    done = subprocess.run(
        [*START, "run", "-L", str(lockspace), "-l", "vm", "--", "true"],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(),
        check=False,
        preexec_fn=lambda: resource.setrlimit(limit, (value, value)),
    )
    assert "internal error" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    ("limit", "values"),
    [(resource.RLIMIT_NOFILE, range(5, 12)), (resource.RLIMIT_AS, range(14 << 20, 70 << 20, 4 << 20))],
    ids=["descriptors", "memory"],
)
def test_what_the_system_refuses_is_71_and_not_the_paths_fault(lockspace: Path, limit: int, values: range) -> None:
    codes = []
    for value in values:
        done = limited(lockspace, limit, value)
        if "frozen importlib" in done.stderr or "loading shared libraries" in done.stderr or "site.py" in done.stderr:
            continue  # Python itself did not get as far as us
        codes.append(done.returncode)
        assert done.returncode in (0, 71), f"{value}: {done.returncode}\n{done.stderr}"
        if done.returncode:
            assert "Traceback" not in done.stderr, done.stderr
            (what,) = (line for line in done.stderr.splitlines() if line.startswith("diskpaxos: "))
            assert str(lockspace) not in what, "the path is not to blame"
    assert codes[0] == 71, "the limit bites"
    assert codes[-1] == 0, "the limits reach beyond what is needed"


# ---- interrupts


@pytest.mark.parametrize("module", ["diskpaxos", "click", "diskpaxos.host", "diskpaxos.cli.trouble"])
def test_an_interrupt_while_modules_load_leaves_no_traceback(module: str) -> None:
    program = f"""
        import builtins, os, signal
        load = builtins.__import__
        def strike(name, *rest):
            if name == {module!r}:
                os.kill(os.getpid(), signal.SIGINT)
            return load(name, *rest)
        import _diskpaxos_start
        builtins.__import__ = strike
        _diskpaxos_start.main()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


# ---- names


def test_a_path_that_is_not_text(lockspace: Path) -> None:
    odd = lockspace.with_name("n\udcffo\x1b[31mx")
    shutil.copy(lockspace, odd)
    shown = json.loads(shell('"$@"', "info", "--json", "-L", odd).stdout)
    assert os.fsencode(shown["disks"][0]["path"]) == os.fsencode(odd), "a program gets the path back"
    people = shell('"$@"', "info", "-L", odd)
    assert r"n\xffo\x1b[31mx" in people.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "-L", "/nowhere/\x1b[31mred"),
        ("run", "-L", "/nowhere", "-l", "a\x1bb", "--", "true"),
        ("run", "-L", "/nowhere", "-l", "vm", "--", "no\x1bsuch"),
        ("dump", "-L", "/nowhere/\nline"),
    ],
)
def test_messages_do_not_steer_the_terminal(arguments: tuple[str, ...]) -> None:
    done = shell('"$@"', *arguments)
    assert done.returncode != 0
    assert "\x1b" not in done.stderr
    assert all(line.startswith(("diskpaxos: ", "  ")) for line in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize("text", ["nan", "NaN", "-1", "1e3", "inf", "1" + "0" * 400, "0x10", "١s"])
def test_durations_that_are_none(lockspace: Path, text: str) -> None:
    done = shell('"$@"', "run", "-L", lockspace, "-l", "vm", "--wait", text, "--", "true")
    assert done.returncode == 2
    assert "not a duration" in done.stderr or "No such option" in done.stderr or "requires an argument" in done.stderr


# ---- a tree that is not built


@pytest.mark.parametrize("how", [("-c", "import diskpaxos"), ("-c", "from diskpaxos.errors import HeldError")])
def test_beside_an_unbuilt_tree_the_message_says_so(tmp_path: Path, how: tuple[str, ...]) -> None:
    """What the first command of the README leaves: the package is installed, and its sources lie beside it."""
    done = in_unbuilt_tree(tmp_path, *how)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: the native part is not built here: {tmp_path / 'diskpaxos'}")
    assert "pip install -e ." in last
    assert "circular" not in done.stderr


def test_the_module_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "diskpaxos", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("diskpaxos, version ")
    unbuilt = in_unbuilt_tree(tmp_path, "-m", "diskpaxos", "--version")
    assert unbuilt.returncode == 1
    assert "the native part is not built here" in unbuilt.stderr
    assert "Traceback" not in unbuilt.stderr


def in_unbuilt_tree(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    ignore: Callable[..., set[str]] = shutil.ignore_patterns("*.so", "_guard", "__pycache__")
    shutil.copytree(ROOT / "diskpaxos", tmp_path / "diskpaxos", ignore=ignore)
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "core.pyx").touch()
    # -S: without the environment's own packages, one of which may be this very tree, installed to be edited.
    return subprocess.run(
        [sys.executable, "-S", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_built_package_has_its_native_part() -> None:
    assert _core.FORMAT_VERSION > 0
