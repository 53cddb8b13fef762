"""Cached pages of image files, kept from going stale when a lease moves between hosts.

A lease says who may write; it does not move data between caches.  On NFS an open asks the server
whether the file changed (close-to-open), on any file system dropping the cached pages makes the
next read fetch them anew; and before a lease goes, what is dirty here must have reached the storage.
Guests with cache=none or directsync have nothing cached: then both cost next to nothing.

A hung storage makes these calls hang too.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from diskpaxos.driver.errors import CoherenceError

# Not blocked by a FIFO, not following into a terminal, not inherited by a VM.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


def is_image(resource: str) -> bool:
    """Whether a resource is the absolute path of a regular file or block device that is here."""
    if not resource.startswith("/"):
        return False
    try:
        kind = Path(resource).stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(kind) or stat.S_ISBLK(kind)


def revalidate(path: str) -> None:
    """After acquire: ask the file system anew and drop the clean pages cached of ``path``.

    :raises CoherenceError: it cannot be opened, or the pages cannot be dropped
    """
    try:
        fd = os.open(path, _FLAGS)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    except OSError as error:
        raise CoherenceError(path, "revalidate", error.errno or 0) from error


def sync(path: str) -> None:
    """Before release: write out what this host holds dirty of ``path``, whoever wrote it.

    :raises CoherenceError: it cannot be opened, or the storage reports an error
    """
    try:
        fd = os.open(path, _FLAGS)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return  # deleted: nobody can read stale data from it
    except OSError as error:
        raise CoherenceError(path, "sync", error.errno or 0) from error
