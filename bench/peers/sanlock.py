"""sanlock (3.8.5 in Debian: packages sanlock and libsanlock-dev) as a peer.

Each host is a daemon of its own in a directory of its own, without watchdog, real-time priority and
locked memory (those do not make it slower), all of them on the same storage.  Everything else is its
default: 1 MiB a lease, 512-byte sectors, 2000 hosts, O_DIRECT | O_SYNC.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from child import HERE, Child, compiled
from storage import Place

RESOURCES = 80
MEBI = 1 << 20  # of a lease area, and of what a renewal reads
DEFAULT_TIMEOUT = 10  # io_timeout
_START = 10.0  # seconds for a daemon to listen


def absent() -> str:
    """Why sanlock cannot be measured here; "" when it can."""
    if shutil.which("sanlock", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        return "sanlock is not installed"
    if not Path("/usr/include/sanlock_admin.h").exists():
        return "libsanlock-dev is not installed"
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        return "no C compiler for the sanlock client"
    return ""


def version() -> str:
    """What the daemon calls itself, like "3.8.5"."""
    said = subprocess.run([_program(), "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"[\d.]+", said)
    return found[0] if found else "?"


def _program() -> str:
    program = shutil.which("sanlock", path="/usr/sbin:/sbin:/usr/bin:/bin")
    assert program is not None
    return program


class Client(Child):
    """A process that registers with one daemon and holds leases (sanlock_client.c)."""

    def call(self, line: str) -> float:
        """Seconds that the call took; it must succeed."""
        return self.timed(self.ask(line), line)

    def timed(self, answer: str, line: str = "") -> float:
        """Seconds of a call that succeeded."""
        code, begin, end = (int(word) for word in answer.split())
        if code != 0:
            raise RuntimeError(f"sanlock: {line or 'call'}: error {code}")
        return (end - begin) / 1e9

    def take(self, first: int, count: int = 1, *, shared: bool = False) -> float:
        return self.call(f"take {first} {count} {int(shared)}")

    def release(self, first: int, count: int = 1) -> float:
        return self.call(f"release {first} {count}")

    def refused(self, first: int) -> float:
        """Seconds until a take was refused."""
        code, begin, end = (int(word) for word in self.ask(f"take {first} 1 0").split())
        if code == 0:
            raise RuntimeError("sanlock: a lease that is held was given")
        return (end - begin) / 1e9


class Daemon:
    """One host."""

    def __init__(self, place: Place, host: int) -> None:
        self.place = place
        self.host = host
        self.folder = Path(tempfile.mkdtemp(prefix="sanlock-bench-"))
        self.environment = {"SANLOCK_RUN_DIR": str(self.folder), "SANLOCK_PRIVILEGED": "0"}
        self._program = compiled(HERE / "peers" / "sanlock_client.c", "-lsanlock")
        self._clients: list[Client] = []
        options = ["-w", "0", "-h", "0", "-l", "0", "-U", "root", "-G", "root", "-e", f"bench{host}"]
        subprocess.run(
            [_program(), "daemon", *options],  # it goes to the background by itself
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            check=True,
        )
        self.pid = self._wait()
        # It is nobody's child: if this process dies, whatever the way, the pipe closes and this ends it.
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", 'cat; kill -9 "$0"; rm -rf "$1"', str(self.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _wait(self) -> int:
        """Until it listens; its process number."""
        deadline = time.monotonic() + _START
        while True:
            try:
                if (self.folder / "sanlock.sock").exists():
                    return int((self.folder / "sanlock.pid").read_text())
            except (FileNotFoundError, ValueError):  # not written yet
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"sanlock daemon {self.host} does not start; /var/log/sanlock.log says why")
            time.sleep(0.01)

    def client(self) -> Client:
        """A new client process of this host."""
        made = Client([self._program, self.place.path, str(self.place.offset)], self.environment)
        self._clients.append(made)
        return made

    def kill(self) -> None:
        """End it at once, like a crash; its clients live on."""
        if self._keeper.poll() is not None:
            return
        os.kill(self.pid, signal.SIGKILL)
        while Path(f"/proc/{self.pid}").exists():
            time.sleep(0.002)
        self._keeper.kill()
        self._keeper.communicate()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sanlock:
    """Hosts that have joined one lockspace, each with a client."""

    def __init__(self, place: Place, hosts: int = 2, io_timeout: int = DEFAULT_TIMEOUT) -> None:
        self.io_timeout = io_timeout
        self.daemons: list[Daemon] = []
        try:
            for host in range(1, hosts + 1):
                self.daemons.append(Daemon(place, host))
            self.clients = [daemon.client() for daemon in self.daemons]
            self.clients[0].call(f"format {io_timeout} {RESOURCES}")
            for number, client in enumerate(self.clients, start=1):
                client.send(f"join {number} {io_timeout}")
            #: seconds that each host took to join, all at the same time
            self.joins = [client.timed(client.answer(), "join") for client in self.clients]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for daemon in self.daemons:
            daemon.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
