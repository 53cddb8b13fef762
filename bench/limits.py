"""What a benchmark takes of the whole machine, asked before anything is started."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from child import HERE

_NATIVE = HERE.parent / "native"
_PROC = Path("/proc/sys/fs")


@cache
def native(name: str, file: str) -> int:
    """A number that the core's sources define."""
    found = re.search(rf"^#define {name} (\d+)u\b", (_NATIVE / file).read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{name} is not in native/{file} any more")
    return int(found[1])


def queue_depth() -> int:
    """I/Os of one request that diskpaxos has in flight together."""
    return native("DPX_WORK_DEPTH", "io/inside.h")


def aio_of(hosts: int, disks: int = 1) -> int:
    """Asynchronous I/Os that so many joined hosts set aside: each one's threads on each disk, used or not."""
    workers = native("DPX_WORKERS", "host/members.h")
    return hosts * disks * (native("DPX_HEART_DEPTH", "io/inside.h") + workers * queue_depth())


def aio_missing(hosts: int, disks: int = 1) -> str:
    """Why so many hosts cannot be on this machine; "" when they can."""
    most, used = (int((_PROC / name).read_text()) for name in ("aio-max-nr", "aio-nr"))
    needed = aio_of(hosts, disks)
    if needed <= most - used:
        return ""
    return (
        f"{hosts} hosts of {disks} disk{'s' if disks > 1 else ''} set aside {needed:,} asynchronous I/Os, and "
        f"{max(most - used, 0):,} of {most:,} are left: sysctl -w fs.aio-max-nr=1048576"
    )
