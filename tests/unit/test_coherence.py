"""Cached pages of images: the calls are made, they reach the right file, and errors are told."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskpaxos.driver import coherence
from diskpaxos.driver.errors import CoherenceError

PAGE = mmap.PAGESIZE


def cached_pages(path: Path) -> int:
    """How many pages of a file the kernel has in memory."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        count = (len(mapped) + PAGE - 1) // PAGE
        vector = (ctypes.c_ubyte * count)()
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(mapped)), vector) == 0
        return sum(page & 1 for page in vector)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"x" * 64 * PAGE)
    os.sync()
    path.read_bytes()
    return path


@pytest.fixture
def disk_backed() -> Iterator[Path]:
    """A file where the kernel has pages to drop: not on tmpfs, where they are the file."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder, "disk.img")
        path.write_bytes(b"x" * 64 * PAGE)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.read_bytes()
        yield path


def test_revalidate_drops_the_cached_pages(disk_backed: Path) -> None:
    before = cached_pages(disk_backed)
    coherence.revalidate(str(disk_backed))
    after = cached_pages(disk_backed)
    if (before, after) == (64, 64):
        pytest.skip("this file system keeps its pages whatever one advises")
    assert (before, after) == (64, 0)


def test_revalidate_opens_anew_and_advises(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An NFS client asks the server at open; both calls are therefore needed."""
    calls: list[tuple[str, object]] = []
    real_open = os.open

    def opened(path: str, flags: int, *rest: int) -> int:
        fd = real_open(path, flags, *rest)
        calls.append(("open", path))
        return fd

    def advised(fd: int, offset: int, length: int, advice: int) -> None:
        calls.append(("fadvise", (os.readlink(f"/proc/self/fd/{fd}"), offset, length, advice)))

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "posix_fadvise", advised)
    coherence.revalidate(str(image))
    assert calls == [("open", str(image)), ("fadvise", (str(image), 0, 0, os.POSIX_FADV_DONTNEED))]


def test_sync_syncs_the_file(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    coherence.sync(str(image))
    assert synced == [str(image)]


def test_an_error_of_sync_is_told(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(CoherenceError, match="EIO") as caught:
        coherence.sync(str(image))
    assert (caught.value.path, caught.value.action, caught.value.errno) == (str(image), "sync", errno.EIO)


def test_no_descriptor_is_left_open(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    coherence.revalidate(str(image))
    coherence.sync(str(image))
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
    with pytest.raises(CoherenceError):
        coherence.sync(str(image))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_deleted_image_needs_no_sync(tmp_path: Path) -> None:
    coherence.sync(str(tmp_path / "gone"))


def test_an_image_that_vanished_cannot_be_revalidated(tmp_path: Path) -> None:
    with pytest.raises(CoherenceError, match="ENOENT"):
        coherence.revalidate(str(tmp_path / "gone"))


def test_only_files_and_devices_by_absolute_path_are_images(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "fifo")
    assert coherence.is_image(str(tmp_path / "file"))
    assert not coherence.is_image(str(tmp_path / "fifo"))
    assert not coherence.is_image(str(tmp_path))
    assert not coherence.is_image(str(tmp_path / "absent"))
    assert not coherence.is_image("vm1-lease")
    assert not coherence.is_image("/a\0b")
    assert not coherence.is_image("/dev/null")
