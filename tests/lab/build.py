"""What guests boot from, made once from Debian packages: kernel, initramfs, and the programs that only guests need.

Nothing is installed on this machine but QEMU: the guests' packages are unpacked into a folder.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from lab.system import LabError, run

HOST_PACKAGES = ("qemu-system-x86",)
GUEST_PACKAGES = (
    "busybox-static",
    "kmod",
    "iproute2",
    "nfs-common",
    "nfs-kernel-server",
    "rpcbind",
    "sg3-utils",
    "dmsetup",
    "e2fsprogs",
    "open-iscsi",
    "targetcli-fb",
    "iputils-ping",
    "nftables",
)
APT_OPTIONS = ("-o", "APT::Sandbox::User=root", "-o", "DPkg::Lock::Timeout=120")
KERNEL_META = "linux-image-amd64"
BOOT_MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "9pnet_virtio", "9p", "overlay")
CACHE_FORMAT = "1"  # raise it when what `build` makes changes

GUEST = Path(__file__).resolve().parent / "guest"  # what runs in the guests


class Build:
    """Below its folder: vmlinux, initrd.gz, tree/ (the packages of the guests)."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.tree = cache, cache / "tree"
        self.kernel, self.initrd, self.stamp = cache / "vmlinux", cache / "initrd.gz", cache / "stamp"

    def ready(self) -> bool:
        """Whether the packages are there, and those of this version."""
        return self.stamp.exists() and self.stamp.read_text() == self.key()

    @staticmethod
    def key() -> str:
        return hashlib.sha256(" ".join([CACHE_FORMAT, *GUEST_PACKAGES, *BOOT_MODULES]).encode()).hexdigest()

    def refresh(self) -> None:
        """Bring what lies in guest/ to where guests boot from."""
        shutil.rmtree(self.tree / "lab", ignore_errors=True)
        shutil.copytree(GUEST, self.tree / "lab", ignore=shutil.ignore_patterns("__pycache__"))
        self._write_initramfs(next((self.tree / "usr/lib/modules").iterdir()))

    def build(self, log: Callable[[str], None] = print) -> None:
        """Install QEMU if it is missing, then make all of it unless it is there and current."""
        self._install_qemu(log)
        if self.ready():
            log(f"current: {self.cache}")
            return
        shutil.rmtree(self.cache, ignore_errors=True)
        for name in ("bin", "sbin", "lib", "lib64"):  # the merged /usr: a folder would hide /lib
            (self.tree / "usr" / name).mkdir(parents=True, exist_ok=True)
            (self.tree / name).symlink_to("usr/" + name)
        debs = self.cache / "debs"
        (debs / "partial").mkdir(parents=True)
        log("downloading the kernel and the guests' packages")
        _download(debs)
        for deb in sorted(debs.glob("*.deb")):
            unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"'
            run("bash", "-o", "pipefail", "-c", unpack, "-", str(deb), str(self.tree))
        shutil.rmtree(debs)
        version = max(path.name for path in (self.tree / "usr/lib/modules").iterdir())
        self.kernel.write_bytes(_unpacked((self.tree / "boot" / f"vmlinuz-{version}").read_bytes()))
        libraries = str(self.tree / "usr/lib/x86_64-linux-gnu")
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
        run("depmod", "-b", str(self.tree), version, executable=str(self.tree / "usr/bin/kmod"), env=environment)
        self.refresh()
        self.stamp.write_text(self.key())
        log(f"built {self.cache} with kernel {version}")

    @staticmethod
    def _install_qemu(log: Callable[[str], None]) -> None:
        if shutil.which("qemu-system-x86_64"):
            return
        log("installing " + " ".join(HOST_PACKAGES))
        run("apt-get", "update")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "install", "-y", "--no-install-recommends", *APT_OPTIONS, *HOST_PACKAGES, env=environment)

    def _write_initramfs(self, modules: Path) -> None:
        """Busybox, /init, and the boot modules in the order in which they load."""
        order = _load_order(modules)
        entries = [(name, 0o040755, b"") for name in ("bin", "m", "dev")]
        entries += [
            ("bin/busybox", 0o100755, (self.tree / "usr/bin/busybox").read_bytes()),
            ("init", 0o100755, (GUEST / "initramfs").read_bytes()),
            ("modules", 0o100644, "\n".join(Path(path).name for path in order).encode()),
        ]
        entries += [("m/" + Path(path).name, 0o100644, (modules / path).read_bytes()) for path in order]
        self.initrd.write_bytes(gzip.compress(_cpio(entries), 1))


def _download(debs: Path) -> None:
    """The guests' packages, with what they need and this machine lacks, and the kernel."""

    def fetch() -> None:
        image = re.search(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", KERNEL_META))
        if not image:
            raise LabError(f"apt knows no {KERNEL_META}; is this Debian on amd64?")
        only = ("--no-install-recommends", "--download-only", "--reinstall", "-o", f"Dir::Cache::archives={debs}")
        run("apt-get", "install", "-y", *only, *APT_OPTIONS, *GUEST_PACKAGES)
        run("apt-get", "download", *APT_OPTIONS, image.group(1), cwd=debs)

    try:
        fetch()
    except LabError:  # no package lists yet, or old ones
        run("apt-get", "update")
        fetch()


def _unpacked(vmlinuz: bytes) -> bytes:
    """The ELF image, which QEMU boots directly (PVH): nothing to unpack for an emulated processor."""
    at = vmlinuz.find(b"\xfd7zXZ\0")
    elf = lzma.LZMADecompressor().decompress(vmlinuz[at:]) if at >= 0 else b""
    if not elf.startswith(b"\x7fELF"):
        raise LabError("no ELF image, packed with xz, in Debian's kernel")
    return elf


def _load_order(modules: Path) -> list[str]:
    depends = dict(line.split(":", 1) for line in (modules / "modules.dep").read_text().splitlines())
    paths = {Path(path).name.split(".ko")[0].replace("-", "_"): path for path in depends}
    order: list[str] = []

    def add(path: str) -> None:
        for needed in depends[path].split():
            add(needed)
        if path not in order:
            order.append(path)

    for name in BOOT_MODULES:
        if name not in paths:
            raise LabError(f"kernel {modules.name} has no module {name}")
        add(paths[name])
    return order


def _cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """An archive in the form `newc`: (name, mode, content) of each."""
    out = bytearray()
    for inode, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)
