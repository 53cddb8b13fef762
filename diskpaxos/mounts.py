"""Which file systems deserve a warning before leases are put on them."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger("diskpaxos")
_MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo: the file system's type and its options, the super block's included."""

    point: str
    kind: str
    options: dict[str, str]

    @property
    def nfs_version(self) -> str:
        """ "3", "4.2", …; "" when it is not NFS."""
        if not self.kind.startswith("nfs"):
            return ""
        return self.options.get("vers", "4" if self.kind == "nfs4" else "3")


def parse_mountinfo(text: str, device: int) -> Mount | None:
    """The mount of device number ``device`` (st_dev); the last one mounted counts."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    found = None
    for line in text.splitlines():
        fields, separator, rest = line.partition(" - ")
        parts, tail = fields.split(), rest.split()
        if not separator or len(parts) < 6 or len(tail) < 3 or parts[2] != wanted:
            continue
        options = {}
        for option in f"{parts[5]},{tail[2]}".split(","):
            key, _, value = option.partition("=")
            options[key] = value
        found = Mount(parts[4].replace("\\040", " "), tail[0], options)
    return found


def mount_of(path: str) -> Mount | None:
    """The mount that ``path``, or the folder it would be made in, lies on; None when the system does
    not tell."""
    try:
        place = Path(path)
        device = (place if place.exists() else place.absolute().parent).stat().st_dev
        return parse_mountinfo(_MOUNTINFO.read_text(encoding="utf-8", errors="replace"), device)
    except OSError:
        return None


def mount_warnings(path: str) -> list[str]:
    """What an operator should know about where ``path`` lies; empty when all is well."""
    mount = mount_of(path)
    if mount is None or not mount.nfs_version:
        return []
    warnings = []
    if mount.nfs_version.startswith("3"):
        warnings.append(
            f"{path} is on NFS version 3 ({mount.point}), which can repeat old writes after a reconnect: "
            "mount with vers=4.1 or later"
        )
    elif mount.nfs_version in ("4", "4.0"):
        warnings.append(
            f"{path} is on NFS version 4.0 ({mount.point}), which has no sessions to keep old writes from "
            "being repeated: mount with vers=4.1 or later"
        )
    if "soft" in mount.options or "softerr" in mount.options:
        warnings.append(f"{path} is on a soft NFS mount ({mount.point}): mount it hard")
    return warnings


def warn_about(paths: tuple[str, ...]) -> None:
    """Log what :func:`mount_warnings` says of each path."""
    for path in paths:
        for warning in mount_warnings(path):
            _log.warning("%s", warning)
