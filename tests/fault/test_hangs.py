"""Storage that hangs: nobody but the disk's own threads may hang with it.

Two ways to hang, seen on real systems: submission itself sleeps in the kernel (a frozen file
system), or it returns and the completion never comes (a device that does not answer).
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import diskpaxos
from diskpaxos import errors

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

    def folder(self) -> Path:
        """The file system, as seen from outside its mount namespace."""
        mounted = Path(self.paths["frozen"]).parent
        return Path(f"/proc/{self.process.pid}/root", mounted.relative_to("/"))

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


@pytest.mark.timing
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
        # It is the hang that was meant: in the write itself, or in waiting for events.
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


@pytest.mark.timing
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
    # A write that an exiting process still had inside a frozen file system may be given up by the kernel.
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


# ---- three disks, the whole library


S = 4.0
LIMIT = S / 4  # of one I/O
SHAPE: dict[str, Any] = {
    "max_hosts": 8,
    "max_leases": 16,
    "outage_tolerance": S,
    "kill_grace": 0.2,
    "watchdog_timeout": 0.2,
    "claim_time": 0.2,
}


@dataclass
class Busy:
    """A thread that does one thing again and again: what went wrong, and the longest time that it took."""

    action: Callable[[], object]
    wrong: list[str] = field(default_factory=list)
    turns: int = 0
    worst: float = 0.0

    def __enter__(self) -> Busy:
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.stop.wait(0.005):
            started = time.monotonic()
            try:
                self.action()
            except Exception as error:
                self.wrong.append(repr(error))
            self.turns += 1
            self.worst = max(self.worst, time.monotonic() - started)


def refused(host: diskpaxos.Host, name: str) -> None:
    try:
        lease = host.acquire(name, create=False)
    except errors.HeldError:
        return
    raise AssertionError(f"two hold {lease.name}")


def content(path: Path | str) -> bytes:
    return Path(path).read_bytes()


def put(path: Path | str, image: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(image)
        file.flush()
        os.fsync(file.fileno())


@pytest.fixture
def disks(storage: Storage, tmp_path: Path) -> dict[str, str]:
    """A file that can be frozen, a device that can fall silent, and two healthy files."""
    healthy = {name: str(tmp_path / name) for name in ("healthy", "sound")}
    return {"frozen": str(storage.folder() / "file"), "silent": storage.paths["silent"], **healthy}


@pytest.mark.timing
@pytest.mark.parametrize(("how", "place"), [("frozen", 0), ("silent", 1), ("frozen", 2)])
def test_any_one_of_three_disks(storage: Storage, disks: dict[str, str], how: str, place: int) -> None:
    """It hangs, fails, comes back with old content, is missing: nothing is lost or waits longer than one I/O may."""
    paths = [disks["healthy"], disks["sound"]]
    paths.insert(place, disks[how])
    with (
        diskpaxos.Lockspace.create(paths, **SHAPE, force=True) as space,
        diskpaxos.Lockspace.open(paths) as other_space,
        space.join("us") as us,
        other_space.join("them") as them,
    ):
        kept = us.acquire("kept")
        us.acquire("solo").release()
        old = content(disks[how])
        with Busy(lambda: us.acquire("solo").release()) as ours, Busy(lambda: refused(them, "kept")) as theirs:
            time.sleep(0.5)
            assert storage.ask("freeze") == "frozen"
            time.sleep(2 * LIMIT)
            assert storage.ask("thaw") == "thawed"
            time.sleep(LIMIT)
            os.truncate(storage.folder() / ("file" if how == "frozen" else "backing"), 0)
            time.sleep(2 * LIMIT)
            put(disks[how], old)
            time.sleep(2 * LIMIT)
            with diskpaxos.Lockspace.open(
                [path if path != disks[how] else "/missing" for path in paths]
            ) as third_space:
                started = time.monotonic()
                with third_space.join("late") as third:
                    refused(third, "kept")
                    third.acquire("third").release()
                assert time.monotonic() - started < 1.5 * 0.2 + 3 * LIMIT
        print(f"{how}: {ours.turns} takes and releases, the slowest {ours.worst:.2f} s")
        print(f"{how}: {theirs.turns} refusals, the slowest {theirs.worst:.2f} s")
        assert (ours.wrong, theirs.wrong) == ([], [])
        assert max(ours.worst, theirs.worst) < LIMIT + 0.4
        assert min(ours.turns, theirs.turns) > 50
        kept.check()
        kept.release()
        them.acquire("kept").release()
        deadline = time.monotonic() + 20
        while not all(disk.online for disk in space.info().disks):
            assert time.monotonic() < deadline, "the disk is back, and is not used"
            time.sleep(0.1)


@pytest.mark.timing
def test_two_of_three_disks_hang(storage: Storage, disks: dict[str, str]) -> None:
    """Operations fail and say why; holders are told when the lifetime is over, and not much later."""
    paths = [disks["healthy"], disks["frozen"], disks["silent"]]
    with diskpaxos.Lockspace.create(paths, **SHAPE, force=True) as space, space.join("us") as host:
        host.acquire("known").release()
        kept = host.acquire("kept")
        assert storage.ask("freeze") == "frozen"
        try:
            started = time.monotonic()
            end = started + host.remaining()
            with pytest.raises(errors.StorageError) as caught:
                host.acquire("known")  # three I/Os, of which each may take that long
            assert time.monotonic() - started < 3 * LIMIT + 0.4
            assert (caught.value.errno, caught.value.disk) == (errno.ETIMEDOUT, 1), "the first that hangs is named"
            kept.check()
            assert kept.lost.wait(2 * S)
            # A heartbeat that was complete when the storage stopped may have been on its way to us.
            assert end - 0.1 < time.monotonic() < end + S / 8 + 0.4
            with pytest.raises(errors.LeaseLostError):
                kept.check()
            with pytest.raises(errors.FinishedError):
                host.acquire("other")
        finally:
            assert storage.ask("thaw") == "thawed"
        host.close()
