"""The command line of one guest's QEMU: its disks, with places to inject faults, its network, its channels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.build import Build
from lab.channel import LANES

#: Requests that fail under each of these nodes, which take the place of the shared disk's file.
FAILING = {
    "read": ["read"],
    "write": ["write", "write-zeroes", "discard"],
    "error": ["read", "write", "write-zeroes", "discard"],
}
SHARED_DEVICES = ("/machine/peripheral/san0/virtio-backend", "san1", "san2")  # what throttling reaches


@dataclass(frozen=True)
class Options:
    """What all guests of one laboratory have alike."""

    mem: int
    accel: str
    mcast: str
    python: str
    shares: tuple[tuple[str, str], ...]


def command(number: int, folder: Path, build: Build, shared: Path, guard: Path, options: Options) -> list[str]:
    """How guest ``number`` is started; its sockets, logs and private disk lie in ``folder``."""
    kvm = options.accel == "kvm"
    words = ["qemu-system-x86_64", "-name", f"lab-h{number}", "-nodefaults", "-no-user-config", "-display", "none"]
    words += ["-machine", "pc,usb=off,vmport=off", "-smp", "1", "-m", str(options.mem)]
    words += ["-accel", "kvm" if kvm else "tcg,tb-size=128", "-cpu", "host,arch-capabilities=off" if kvm else "max"]
    words += ["-kernel", str(build.kernel), "-initrd", str(build.initrd)]
    words += ["-chardev", f"file,id=con,path={folder}/serial.log,append=on", "-serial", "chardev:con"]
    words += [
        "-chardev",
        f"socket,id=qmp,path={folder}/qmp.sock,server=on,wait=off",
        "-mon",
        "chardev=qmp,mode=control",
    ]
    words += ["-chardev", f"pipe,id=ev,path={folder}/ev,logfile={folder}/events.jsonl,logappend=on"]
    words += ["-mon", "chardev=ev,mode=control", "-device", "i6300esb", "-action", "watchdog=reset"]
    words += ["-netdev", f"socket,id=net0,mcast={options.mcast},localaddr=127.0.0.1"]
    words += ["-device", f"virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:77:00:{number:02x},romfile="]
    words += ["-device", "virtio-scsi-pci,id=scsi0", "-device", "virtio-serial-pci,id=serial0,max_ports=16"]
    words += _disks(folder, shared, guard)
    for lane in range(LANES):
        words += ["-chardev", f"socket,id=c{lane},path={folder}/cmd{lane}.sock,server=on,wait=off"]
        words += ["-device", f"virtserialport,bus=serial0.0,chardev=c{lane},name=lab.{lane}"]
    return words + _folders(number, build, options)


def _file(node: str, path: Path) -> dict[str, Any]:
    return {
        "driver": "file",
        "filename": str(path),
        "node-name": node,
        "locking": "off",  # several guests have it open
        "aio": "native",
        "cache": {"direct": True},
    }


def over(node: str) -> dict[str, Any]:
    """The shared disk as the guest sees it, over this node: san-file, or one of FAILING."""
    return {"driver": "raw", "node-name": "san", "file": node, "cache": {"direct": True}}


def _disks(folder: Path, shared: Path, guard: Path) -> list[str]:
    blocks = [_file("san-file", shared), _file("guard", guard), _file("local", folder / "local.img")]
    for kind, types in FAILING.items():
        errors = [
            {"event": "none", "iotype": iotype, "errno": 5, "once": False, "immediately": False} for iotype in types
        ]
        blocks.append({"driver": "blkdebug", "node-name": f"san-{kind}", "image": "san-file", "inject-error": errors})
    blocks.append(over("san-file"))
    words = []
    for block in blocks:
        words += ["-blockdev", json.dumps(block)]
    report = "rerror=report,werror=report"  # to the guest, as a disk would
    words += ["-device", f"virtio-blk-pci,id=san0,drive=san,share-rw=on,serial=san,{report}"]
    words += ["-device", f"scsi-hd,id=san1,bus=scsi0.0,drive=san,share-rw=on,serial=san,{report}"]
    large = "logical_block_size=4096,physical_block_size=4096"
    words += ["-device", f"scsi-hd,id=san2,bus=scsi0.0,drive=san,share-rw=on,serial=san4k,{large},{report}"]
    words += ["-device", f"virtio-blk-pci,id=guard0,drive=guard,share-rw=on,serial=guard,{report}"]
    return [*words, "-device", "virtio-blk-pci,id=local0,drive=local,serial=local"]


def _folders(number: int, build: Build, options: Options) -> list[str]:
    """This machine's root, read-only; the guests' packages over it; and what else is shared, uncached."""
    boot = ["console=ttyS0 quiet loglevel=4 mitigations=off net.ifnames=0"]
    boot += [f"lab.n={number}", f"lab.python={options.python}"]
    mounts = [("host", "/", "ro"), ("tree", str(build.tree), "ro")]
    mounts += [(f"share{i}", path, mode) for i, (path, mode) in enumerate(options.shares)]
    words = []
    for tag, path, mode in mounts:
        how = f"local,id={tag},path={path},security_model=none,multidevs=remap"
        words += ["-fsdev", how + (",readonly=on" if mode == "ro" else "")]
        words += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        if tag.startswith("share"):
            boot.append(f"lab.share={tag}:{mode}:{path}")
    return [*words, "-append", " ".join(boot)]
