"""Where the lockspace lies, and how hosts come to it."""

from __future__ import annotations

from dataclasses import dataclass

from lab.host import Host

SERVER = "h1"  # of NFS and iSCSI
MOUNT = "/mnt/lab"


@dataclass(frozen=True)
class Storage:
    """One kind of storage for a lockspace."""

    name: str
    paths: tuple[str, ...]  # of the lockspace's disks, in the guests
    served: str = ""  # what the server runs; "": the shared disk itself, which needs none
    attach: str = ""  # what each host runs after it booted

    @property
    def on_disk(self) -> bool:
        """Whether the shared disk is part of it, which has faults of its own for each host."""
        return any(path.startswith("/dev/lab/san") for path in self.paths)

    @property
    def seen(self) -> bool:
        """Whether the whole lockspace is seen from outside."""
        return self.on_disk and len(self.paths) == 1

    def serve(self, server: Host) -> None:
        """Make the server export it."""
        if self.served:
            server.check(["sh", "-c", self.served], timeout=120)

    def reach(self, host: Host) -> None:
        """Let a host see it."""
        if self.attach:
            host.check(["sh", "-c", self.attach], timeout=120)

    def holders(self, names: list[str]) -> list[str]:
        """The hosts that hold leases: with three and more, not the server."""
        return names if not self.served or len(names) < 3 else [name for name in names if name != SERVER]


def _nfs(name: str, options: str, source: str) -> Storage:
    mount = f"mkdir -p {MOUNT} && mount -t nfs -o {options},hard {SERVER}:{source} {MOUNT}"
    return Storage(name, (f"{MOUNT}/locks",), "/lab/nfs-server", mount)


_SAN, _NFS = Storage("san", ("/dev/lab/san",)), _nfs("nfs42", "vers=4.2", "/")
_ISCSI = Storage("iscsi", ("/dev/lab/iscsi",), "/lab/iscsi-target", f"/lab/iscsi-login {SERVER}")


STORAGES = {
    storage.name: storage
    for storage in (
        _SAN,
        Storage("san-scsi", ("/dev/lab/san-scsi",)),
        Storage("san-4k", ("/dev/lab/san-4k",)),
        _NFS,
        _nfs("nfs3", "vers=3,nolock", "/srv/nfs"),
        _ISCSI,
        Storage(
            "mixed",  # three disks
            (*_SAN.paths, *_NFS.paths, *_ISCSI.paths),
            f"{_NFS.served} && {_ISCSI.served}",
            f"{_NFS.attach} && {_ISCSI.attach}",
        ),
    )
}
