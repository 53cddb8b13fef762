"""Storage that hangs: nobody but the disk's own threads may hang with it.

Two ways to hang, seen on real systems: submission itself sleeps in the kernel (a frozen file
system), or it returns and the completion never comes (a device that does not answer).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parents[1] / "native"
TOOLS = ("mkfs.ext4", "losetup", "mount", "unshare", "nsenter", "make", "cc")

pytestmark = [pytest.mark.root, pytest.mark.loop, pytest.mark.slow]


class Remote:
    """A program that answers each line with one line."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.greeting = self.answer()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def hang_up(self) -> None:
        """End its input; it may take its time to exit."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close(self) -> None:
        if self.process.stdin and not self.process.stdin.closed:
            self.hang_up()
        self.process.wait(timeout=90)
        if self.process.stdout:
            self.process.stdout.close()


class Storage(Remote):
    """The keeper of storage that can be frozen (frozen.py)."""

    def __init__(self, folder: Path) -> None:
        keeper = str(Path(__file__).with_name("frozen.py"))
        super().__init__("unshare", "--mount", "--propagation", "private", sys.executable, keeper, str(folder))
        if not self.greeting.startswith("ready "):
            self.close()
            pytest.skip("cannot set up a loop-mounted ext4 here")
        _, file, device = self.greeting.split()
        self.paths = {"frozen": file, "silent": device}

    def inside(self, *command: str | Path) -> list[str]:
        """A command that sees the file system."""
        return ["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", *map(str, command)]

    def disk(self, program: Path, path: str) -> Remote:
        helper = Remote(*self.inside(program, path))
        assert helper.greeting == "open"
        return helper


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two programs of tests/native that need storage which hangs."""
    if os.geteuid() != 0:
        pytest.skip("needs root: loop devices, a mount, freezing it")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("build")
    targets = [f"{folder}/hang", f"{folder}/test_frozen"]
    subprocess.run(["make", "-s", "-j2", "-C", str(NATIVE), f"OUT={folder}", *targets], check=True)
    return folder


@pytest.fixture(scope="module")
def program(build: Path) -> Path:
    return build / "hang"


@pytest.fixture
def storage(build: Path) -> Iterator[Storage]:
    with tempfile.TemporaryDirectory(prefix="dpx-hang-", dir="/var/tmp") as folder:
        keeper = Storage(Path(folder))
        try:
            yield keeper
        finally:
            keeper.close()


def states(disk: Remote, name: str) -> set[str]:
    """States in the kernel of the disk's threads of this name."""
    pairs = (entry.split(":") for entry in disk.ask("threads").split())
    return {state for thread, state in pairs if thread == name}


@pytest.mark.parametrize("how", ["frozen", "silent"])
def test_nobody_hangs_with_the_storage(program: Path, storage: Storage, how: str) -> None:
    path = storage.paths[how]
    disk = storage.disk(program, path)
    try:
        assert disk.ask("write 1").startswith("submitted ")
        assert disk.ask("wait 5000") == "done 0"
        assert storage.ask("freeze") == "frozen"

        # Submitting returns at once; the caller's own deadline comes; the stall is reported.
        assert int(disk.ask("write 2").split()[1]) < 50_000
        started = time.monotonic()
        assert disk.ask("wait 400") == "timeout"
        assert 0.4 <= time.monotonic() - started < 1.5
        assert 350 <= int(disk.ask("oldest")) < 5000
        assert disk.ask("outstanding") == "1"
        # It is the hang that was meant: in io_submit, or in waiting for events.
        assert states(disk, "dpx-io") == ({"D"} if how == "frozen" else {"S"})

        # What only stands behind it in the queue can be had back, although all workers hang.
        assert int(disk.ask("write 3").split()[1]) < 50_000
        assert disk.ask("wait 100") == "timeout"
        assert disk.ask("expire") == "expired"
        assert disk.ask("wait 1000") == f"done {-110}"
        if how == "frozen":  # reading goes on there, and the heart's lane is not the worker's
            assert disk.ask("heart 1").startswith("submitted ")
            assert disk.ask("wait 1000") == "done 0"
        assert disk.ask("outstanding") == "1"

        assert storage.ask("thaw") == "thawed"
        assert disk.ask("wait 10000") == "done 0"
        assert disk.ask("oldest") == "0"
        assert disk.ask("write 4").startswith("submitted ")
        assert disk.ask("wait 5000") == "done 0"
        assert disk.ask("stop 5000").startswith("stopped ")
    finally:
        storage.ask("thaw")
        disk.close()
    assert disk.process.returncode == 0
    bytes_written = [int(storage.ask(f"byte {path} {block * 4096}")) for block in range(5)]
    assert bytes_written == [0, 0x81, 0x82, 0, 0x84]  # block 3 was never issued


@pytest.mark.parametrize("how", ["frozen", "silent"])
def test_stop_gives_up_in_time(program: Path, storage: Storage, how: str) -> None:
    path = storage.paths[how]
    disk = storage.disk(program, path)
    try:
        assert storage.ask("freeze") == "frozen"
        disk.ask("write 1")
        disk.ask("write 2")
        assert disk.ask("wait 100") == "timeout"
        verdict, took = disk.ask("stop 300").split()
        assert verdict == "left"
        assert 300 <= int(took) < 1000
        # What was queued was given back, never issued; what hangs calls nobody any more.
        assert disk.ask("wait 100") == f"done {-125}"
        assert disk.ask("wait 100") == "timeout"

        # Process exit waits for what hangs: "gone" means "drained" (protocol, section 5).
        disk.hang_up()
        with pytest.raises(subprocess.TimeoutExpired):
            disk.process.wait(timeout=1)
        assert storage.ask("thaw") == "thawed"
        disk.process.wait(timeout=30)
    finally:
        storage.ask("thaw")
        disk.close()
    assert disk.process.returncode == 0
    bytes_written = [int(storage.ask(f"byte {path} {block * 4096}")) for block in range(3)]
    # A write that an exiting process still had inside io_submit may be given up by the kernel.
    assert bytes_written in ([[0, 0x81, 0], [0, 0, 0]] if how == "frozen" else [[0, 0x81, 0]])


def test_abandoned_threads_end_when_the_storage_returns(program: Path, storage: Storage) -> None:
    disk = storage.disk(program, storage.paths["frozen"])
    try:
        assert storage.ask("freeze") == "frozen"
        disk.ask("write 1")
        assert disk.ask("wait 100") == "timeout"
        assert disk.ask("stop 100").startswith("left ")
        assert "dpx-io:D" in disk.ask("threads")
        assert storage.ask("thaw") == "thawed"
        deadline = time.monotonic() + 10
        while "dpx-" in disk.ask("threads") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "dpx-" not in disk.ask("threads")
        assert disk.ask("wait 100") == "timeout"  # and nobody was called
    finally:
        storage.ask("thaw")
        disk.close()


@pytest.mark.timing
def test_a_host_whose_storage_hangs(build: Path, storage: Storage) -> None:
    """One of three disks, and the only one, under a whole host: tests/native/test_frozen.c."""
    folder = Path(storage.paths["frozen"]).parent
    done = subprocess.run(
        storage.inside(build / "test_frozen", folder), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 failed, 0 skipped" in done.stdout, done.stdout
