"""A set of guests below one folder: cache/ (made once by ``build``) and run/ (of one ``up``)."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lab.build import Build
from lab.host import Host
from lab.qemu import Options
from lab.system import LabError, accelerator

ROOT = Path(__file__).resolve().parents[2]  # of the clone
MOST = 16
GUARD_DISK = 1 << 20  # bytes


def default_folder() -> Path:
    """$DISKPAXOS_LAB, or a folder that outlives a reboot; the cache takes half a gigabyte."""
    return Path(os.environ.get("DISKPAXOS_LAB", "/var/tmp/diskpaxos-lab")).resolve()


class Lab:
    """The laboratory below a folder; what it is made of is kept there, so that each command finds it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        self.run_dir = self.folder / "run"
        self.shared, self.guard = self.run_dir / "san.img", self.run_dir / "guard.img"
        self.build = Build(self.folder / "cache")
        state = self.run_dir / "state.json"
        kept = json.loads(state.read_text()) if state.exists() else {"hosts": [], "options": None}
        self._names: list[str] = kept["hosts"]
        self._options = None
        if kept["options"]:
            shares = tuple((path, mode) for path, mode in kept["options"].pop("shares"))
            self._options = Options(shares=shares, **kept["options"])

    def hosts(self) -> list[Host]:
        """All of them."""
        assert self._options or not self._names
        return [Host(name, self.run_dir, self.build, self._options) for name in self._names if self._options]

    def host(self, name: str) -> Host:
        """One of them."""
        for host in self.hosts():
            if host.name == name:
                return host
        raise LabError(f"no host {name}; there are: {', '.join(self._names) or 'none (lab.py up N)'}")

    def up(
        self,
        count: int,
        mem: int = 512,
        san_mib: int = 64,
        shares: Sequence[tuple[str, str]] = (),
        timeout: float = 120,
    ) -> list[Host]:
        """Start h1 … h``count`` on new, zeroed shared disks, and wait for them.  shares: (path, "ro" or "rw")."""
        self._may_come_up(count, shares)
        self.build.refresh()
        shutil.rmtree(self.run_dir, ignore_errors=True)
        self.run_dir.mkdir(parents=True, mode=0o700)
        for path, size in ((self.shared, san_mib << 20), (self.guard, GUARD_DISK)):
            _write_zeros(path, size)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._names = [f"h{number}" for number in range(1, count + 1)]
        self._options = Options(
            mem=mem,
            accel=accelerator(),
            mcast=f"239.77.{port % 251}.1:{port}",
            python=os.path.realpath(sys.executable),
            shares=tuple(shares),
        )
        (self.run_dir / "state.json").write_text(json.dumps({"hosts": self._names, "options": asdict(self._options)}))
        for host in self.hosts():
            host.start()
        for host in self.hosts():
            host.wait(timeout)
        return self.hosts()

    def _may_come_up(self, count: int, shares: Sequence[tuple[str, str]]) -> None:
        if os.geteuid() != 0:
            raise LabError("needs root: guests share this machine's root, and QEMU runs with direct I/O")
        if not 1 <= count <= MOST:
            raise LabError(f"1 to {MOST} hosts")
        if len(str(self.run_dir)) > 80:
            raise LabError(f"{self.run_dir} is too long a path for Unix sockets")
        if any(host.alive() for host in self.hosts()):
            raise LabError("hosts are up already: lab.py down first")
        if not self.build.ready():
            raise LabError("nothing is built, or for another version: lab.py build")
        for path, mode in shares:
            if mode not in ("ro", "rw") or not Path(path).is_dir() or re.search(r"[\s,:]", path):
                raise LabError(f"cannot share {path!r} as {mode!r}: a folder, no blanks, commas, colons; ro or rw")

    def down(self) -> None:
        """Stop every guest, by its recorded pid and start time; logs and disks stay until the next ``up``."""
        for host in self.hosts():
            host.kill()

    def wait_all(self, limit: float = 60) -> float:
        """Wait until every guest answers; how long that took."""
        began = time.monotonic()
        for host in self.hosts():
            host.wait(limit)
        return time.monotonic() - began


def _write_zeros(path: Path, size: int) -> None:
    """A disk without holes: over a hole QEMU takes blocks of 4096 bytes for the smallest that direct I/O can write, and
    then writes a guest's sector together with its neighbours as it read them before.  What another host wrote there
    meanwhile is lost."""
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
        os.fsync(file.fileno())
