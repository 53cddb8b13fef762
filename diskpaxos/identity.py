"""Who this machine is: what a slot record says about it.

Two facts let other hosts conclude that a dead incarnation can write no more: the machine (it
rebooted, so its old kernel's writes are gone) and the boot (same kernel, so its processes can be
looked at).  Both must therefore never be shared by two machines: a machine-id that was cloned
with a disk image has to be made new (``systemd-machine-id-setup``) before such machines share a
lockspace.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import uuid
from pathlib import Path

from diskpaxos import _core

_MACHINE_ID = Path("/etc/machine-id")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_APPLICATION = b"diskpaxos host identity"
_RUNTIME = "DISKPAXOS_RUNTIME_DIR"
_LONGEST = 511  # bytes of a path there


def machine_uuid() -> uuid.UUID:
    """UUID of this machine, derived from /etc/machine-id (which itself is to be kept private).

    Without a usable machine-id it is random, so new at each call: the host then merely cannot be
    recognised after a reboot, and its dead slots wait for a fence or ``hosts retire``.
    """
    try:
        machine = uuid.UUID(_MACHINE_ID.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return uuid.uuid4()
    if machine.int == 0:
        return uuid.uuid4()
    digest = hmac.new(machine.bytes, _APPLICATION, hashlib.sha256).digest()
    return uuid.UUID(bytes=digest[:16], version=4)


def boot_uuid() -> uuid.UUID:
    """UUID of this boot of the kernel; random where /proc does not tell (as above)."""
    try:
        return uuid.UUID(_BOOT_ID.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return uuid.uuid4()


def runtime_directory() -> bytes:
    """Where processes of this machine tell each other what they have seen of the host slots; b"": nowhere.

    DISKPAXOS_RUNTIME_DIR, where it is set (empty: nowhere); else /run/diskpaxos for root, and
    $XDG_RUNTIME_DIR/diskpaxos for others.
    """
    chosen = os.environ.get(_RUNTIME)
    if chosen is None:
        parent = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
        chosen = os.path.join(parent, "diskpaxos") if parent else ""
    encoded = os.fsencode(chosen)
    return encoded if encoded.startswith(b"/") and len(encoded) <= _LONGEST else b""


def default_host_name() -> str:
    """This machine's host name, cut to what a slot record holds; "localhost" when it has none."""
    name = socket.gethostname()
    encoded = name.encode("utf-8", "replace")[: _core.HOST_NAME_MAX]
    shortened = encoded.decode("utf-8", "ignore")
    return shortened if _core.name_valid(shortened.encode("utf-8"), _core.HOST_NAME_MAX) else "localhost"
