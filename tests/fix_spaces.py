"""Lockspaces on real files, with timings that let a test end soon."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diskpaxos import Lockspace, _core, claim
from diskpaxos.inspect import block_dtype
from diskpaxos.layout import Kind

#: Nothing expires while a test runs, even on a machine that stalls for seconds.
CALM: dict[str, Any] = {
    "max_hosts": 8,
    "max_leases": 16,
    "outage_tolerance": 16.0,
    "kill_grace": 0.1,
    "watchdog_timeout": 0.1,
    "claim_time": 0.1,
}
#: Death takes T_dead = 1.46 s.
QUICK: dict[str, Any] = CALM | {"outage_tolerance": 1.0}

Maker = Callable[..., Lockspace]


@pytest.fixture
def direct_io(tmp_path: Path) -> None:
    """Skip where the file system of the test has no O_DIRECT."""
    probe = tmp_path / "probe"
    try:
        fd = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pytest.skip(f"no O_DIRECT on the file system of {tmp_path}")
    os.close(fd)
    probe.unlink()


@pytest.fixture(autouse=True)
def lone_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else formats the files of a test: its claims need not stand for 1.5 s.  (Programs that it starts
    wait all the same, and so do the tests of several inits at once.)"""
    monkeypatch.setattr(claim, "SETTLE", 0.0)


@pytest.fixture
def make_space(tmp_path: Path, direct_io: None) -> Iterator[Maker]:
    """``make_space(disks=1, **shape)``: a fresh lockspace, closed at the end."""
    made: list[Lockspace] = []

    def make(disks: int = 1, **shape: Any) -> Lockspace:
        folder = tmp_path / f"space{len(made)}"
        folder.mkdir()
        space = Lockspace.create([folder / f"disk{i}" for i in range(disks)], **(CALM | shape))
        made.append(space)
        return space

    yield make
    for space in made:
        space.close()


@pytest.fixture
def open_space() -> Iterator[Callable[[Lockspace], Lockspace]]:
    """``open_space(space)``: the same lockspace through disks of its own, like another host."""
    opened: list[Lockspace] = []

    def again(space: Lockspace, **options: Any) -> Lockspace:
        opened.append(Lockspace.open(space.paths, **options))
        return opened[-1]

    yield again
    for space in opened:
        space.close()


def read_block(space: Lockspace, block: int, disk: int = 0) -> bytearray:
    """One block as it lies on the disk."""
    size = space.geometry.block_size
    with Path(space.paths[disk]).open("rb") as file:
        file.seek(block * size)
        return bytearray(file.read(size))


def write_block(space: Lockspace, block: int, data: bytes | bytearray, disk: int = 0) -> None:
    """Put it there, whatever it is, past the lockspace's own ways."""
    with Path(space.paths[disk]).open("r+b") as file:
        file.seek(block * space.geometry.block_size)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def edit_block(space: Lockspace, block: int, on: int = 0, **fields: Any) -> None:
    """Change some fields of a block on one disk and make its checksum right again."""
    data = read_block(space, block, on)
    kind = Kind(space.geometry.place(block)[0])
    record = np.frombuffer(data, block_dtype(kind, len(data)))
    for name, value in fields.items():
        record[name] = value
    # Not by the core's own sealing: that would put the right disk index in again.
    record["crc32c"] = 0
    record["crc32c"] = _core.crc32c(data)
    write_block(space, block, data, on)


def break_block(space: Lockspace, block: int, disk: int = 0) -> None:
    """Flip one bit in its middle."""
    data = read_block(space, block, disk)
    data[300] ^= 4
    write_block(space, block, data, disk)


@contextmanager
def beating(space: Lockspace, slot: int, on: int) -> Iterator[None]:
    """On this one disk the owner of a slot goes on writing heartbeats."""
    stop = threading.Event()

    def beat() -> None:
        for counter in range(1000, 2000):
            edit_block(space, space.geometry.slot_block(slot), on=on, counter=counter)
            if stop.wait(0.1):
                return

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
