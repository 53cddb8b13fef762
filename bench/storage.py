"""Where everything is measured: a directory, a file or a block device, shared with the peers in turn."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diskpaxos
from diskpaxos.create import refuse_content
from diskpaxos.rawdisk import CHUNK, RawDisk, aligned_view

PEERS = ("sanlock", "sanlock-many", "sanlock-failover")  #: each has its place at the end of a device
PEER_BYTES = 100 << 20  #: and this much of it
MEBI = 1 << 20


@dataclass(frozen=True)
class Place:
    """Bytes from ``offset`` on of ``path`` are somebody's."""

    path: Path
    offset: int


class Storage:
    """``path``: a directory (files are made in it), a block device, or a file, made when missing.

    There is one lockspace at a time.  A device, or a file with something in it, is refused unless
    ``force`` is set; what is made is wiped afterwards.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        self.device = path.exists() and stat.S_ISBLK(path.stat().st_mode)
        self._force = force
        self._busy = False
        if path.is_dir():
            self._file = path / "diskpaxos-bench.lockspace"  # one of that name is a leftover of ours
        else:
            self._file = path
            if path.exists():
                self._refuse_content()

    def describe(self) -> str:
        """For the report: what kind of storage it is."""
        if self.device:
            return "block device"
        best = ("", "?")
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, point, kind, *_ = line.split()
            inside = self._file.resolve().is_relative_to(point)
            if inside and len(point) >= len(best[0]):
                best = (point, kind)
        return f"file on {best[1]}"

    @contextmanager
    def lockspace(self, **shape: Any) -> Iterator[Path]:
        """A lockspace of this shape for a while."""
        with self.mirrored(1, **shape) as (path,):
            yield path

    @contextmanager
    def mirrored(self, disks: int, **shape: Any) -> Iterator[tuple[Path, ...]]:
        """The same over several disks: files beside one another, so a device has room for one only."""
        assert not self._busy, "one lockspace at a time"
        assert disks == 1 or not self.device
        files = (self._file, *(self._file.with_name(f"{self._file.name}.{i}") for i in range(1, disks)))
        self._wipe(files)  # whatever lies there is ours, and nobody has to be waited for
        diskpaxos.Lockspace.create(files, **{"name": "bench", "block_size": self._block(), **shape}).close()
        self._busy = True
        try:
            yield files
        finally:
            self._busy = False
            self._wipe(files)

    def _block(self) -> int:
        if not self.device:
            return 512
        with RawDisk(str(self._file), write=False) as disk:
            return int(disk.logical_block)

    def _wipe(self, files: tuple[Path, ...]) -> None:
        if not self.device:
            for file in files:
                file.unlink(missing_ok=True)
            return
        with RawDisk(str(self._file), write=True) as disk:
            disk.write(0, aligned_view(CHUNK))
            disk.sync()

    @contextmanager
    def peer(self, name: str) -> Iterator[Place]:
        """Room for a peer on the same storage: a file beside the lockspace, or the end of the device."""
        if not self.device:
            beside = self._file.with_name(f"diskpaxos-bench.{name}")
            with beside.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, PEER_BYTES)
            try:
                yield Place(beside, 0)
            finally:
                beside.unlink()
            return
        with RawDisk(str(self._file), write=True, exclusive=True) as disk:
            offset = (disk.size - PEER_BYTES * (1 + PEERS.index(name))) // MEBI * MEBI
            if offset < 5 * PEER_BYTES:
                raise ValueError(f"{self.path}: too small to measure peers on it")
            if not self._force:
                self._require_zeros(disk, offset)
        try:
            yield Place(self._file, offset)
        finally:
            with RawDisk(str(self._file), write=True) as disk:
                for at in range(offset, offset + PEER_BYTES, MEBI):
                    disk.write(at, aligned_view(MEBI))
                disk.sync()

    def _refuse_content(self) -> None:
        """Before anything is written; with force, still not what living hosts use."""
        with RawDisk(str(self._file), write=False, exclusive=True) as disk:
            refuse_content([disk], self._force, None)

    def _require_zeros(self, disk: RawDisk, offset: int) -> None:
        view = aligned_view(MEBI)
        for at in range(offset, offset + PEER_BYTES, MEBI):
            disk.read(at, view)
            if any(view):
                raise ValueError(f"{self.path} holds something at byte {at:,}; --force overwrites it")
