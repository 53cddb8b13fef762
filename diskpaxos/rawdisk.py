"""A file or block device by itself, with O_DIRECT: for formatting and rebuilding, where there is no
lockspace yet or no longer.  Everything else goes through the native core."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import struct
from pathlib import Path
from types import TracebackType

from diskpaxos.errors import NoDirectIOError, PathError, SameDiskError, StorageError

CHUNK = 4 << 20  #: bytes moved at a time; a multiple of every block and page
_BLKGETSIZE64 = 0x80081272
_BLKSSZGET = 0x1268
_MAP = 4096


def aligned_view(size: int) -> memoryview:
    """Zeroed memory that O_DIRECT accepts; it goes with the last view of it."""
    return memoryview(mmap.mmap(-1, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE))[:size]


class RawDisk:
    """One open file or device.  Errors name the path; nothing is cached."""

    def __init__(self, path: str, *, write: bool, create: bool = False, exclusive: bool = False) -> None:
        """Open ``path``.

        :param write: for writing too
        :param create: make a missing file; :attr:`created` then says so
        :param exclusive: refuse a block device that the kernel itself uses (mounted, part of a volume)
        :raises PathError, NoDirectIOError: it cannot be used
        """
        self.path = path
        self.created = False
        self.written = False
        self.fd = -1
        try:
            self._open(write, create, exclusive)
            status = os.fstat(self.fd)
            self.block_device = stat.S_ISBLK(status.st_mode)
            if self.block_device:
                self.identity: tuple[int, int] = (status.st_rdev, 0)
                self.size = struct.unpack("Q", fcntl.ioctl(self.fd, _BLKGETSIZE64, bytes(8)))[0]
                self.logical_block = struct.unpack("i", fcntl.ioctl(self.fd, _BLKSSZGET, bytes(4)))[0]
            else:
                self.identity = (status.st_dev, status.st_ino)
                self.size = status.st_size
                self.logical_block = 512  # see probe()
        except OSError as error:
            self.close()
            if isinstance(error, PathError | NoDirectIOError):
                raise
            raise PathError(path, error.errno or errno.EIO) from None
        except BaseException:
            self.close()
            raise

    def _open(self, write: bool, create: bool, exclusive: bool) -> None:
        path = Path(self.path)
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_DIRECT | os.O_CLOEXEC
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            if not create:
                raise
            try:
                # O_EXCL: it must be ours if it is to be removed again after a failure.
                self.fd = self._direct(flags | os.O_CREAT | os.O_EXCL)
                self.created = True
                return
            except FileExistsError:  # another one was faster
                mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise PathError(self.path, errno.EISDIR)
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise PathError(self.path, errno.ENODEV)
        self.fd = self._direct(flags | (os.O_EXCL if exclusive and stat.S_ISBLK(mode) else 0))

    def _direct(self, flags: int) -> int:
        try:
            return _off_standard(os.open(self.path, flags, 0o660))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            if flags & os.O_CREAT:
                # The file was made before its file system refused O_DIRECT.
                Path(self.path).unlink(missing_ok=True)
            raise NoDirectIOError(self.path) from None

    def probe(self) -> None:
        """Find out what alignment a file needs for O_DIRECT: 512 or 4096 bytes.

        The file must have at least 1024 bytes.
        """
        if self.block_device:
            return
        view = aligned_view(_MAP)
        try:
            os.preadv(self.fd, [view[:512]], 512)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise PathError(self.path, error.errno or errno.EIO, "read") from None
            self.logical_block = 4096

    def read(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` (aligned, whole blocks).

        :raises StorageError: an I/O error, or the end of the file came first
        """
        if self.read_some(offset, view) < len(view):
            raise StorageError(f"read of {len(view):,} bytes at {offset:,}", errno.EIO, path=self.path)

    def read_some(self, offset: int, view: memoryview) -> int:
        """Fill ``view`` as far as there is something, and return how far.

        :raises StorageError: an I/O error
        """
        done = 0
        while done < len(view):
            try:
                count = os.preadv(self.fd, [view[done:]], offset + done)
            except OSError as error:
                raise StorageError("read", error.errno or errno.EIO, path=self.path) from None
            done += count
            if count == 0 or count % 512:  # the end: a file may be of any length
                break
        return done

    def write(self, offset: int, view: memoryview) -> None:
        """Write ``view`` (aligned, whole blocks).

        :raises StorageError: an I/O error
        """
        self.written = True
        done = 0
        while done < len(view):
            try:
                done += os.pwritev(self.fd, [view[done:]], offset + done)
            except OSError as error:
                raise StorageError("write", error.errno or errno.EIO, path=self.path) from None

    def sync(self) -> None:
        """Make everything durable; of a file that was made here, its name too.

        :raises StorageError: an I/O error
        """
        try:
            os.fsync(self.fd)
            if self.created:
                folder = os.open(Path(self.path).absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as error:
            raise StorageError("sync", error.errno or errno.EIO, path=self.path) from None

    def allocate(self, size: int) -> None:
        """Make a file at least ``size`` bytes long, with the space for them reserved.

        :raises PathError: no space, or too large for the file system
        """
        if self.block_device:
            return
        try:
            os.posix_fallocate(self.fd, 0, size)
        except OSError as error:
            raise PathError(self.path, error.errno or errno.EIO, f"allocate {size:,} bytes for") from None
        self.size = max(self.size, size)

    def extend(self, size: int) -> None:
        """Make a file at least ``size`` bytes long, if nobody did meanwhile.

        :raises PathError: refused
        """
        if not self.block_device:
            self.size = os.fstat(self.fd).st_size
            if self.size < size:
                self.resize(size)

    def resize(self, size: int) -> None:
        """Set the length of a file.

        :raises PathError: refused
        """
        try:
            os.ftruncate(self.fd, size)
        except OSError as error:
            raise PathError(self.path, error.errno or errno.EIO, "resize") from None
        self.size = size

    def close(self) -> None:
        """Close it; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> RawDisk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_same(disks: list[RawDisk]) -> None:
    """:raises SameDiskError: two of them are one"""
    seen = set()
    for disk in disks:
        if disk.identity in seen:
            raise SameDiskError(disk.path)
        seen.add(disk.identity)


def _off_standard(fd: int) -> int:
    """In a process that was started without standard output, a disk must not become it."""
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)
