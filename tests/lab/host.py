"""One guest: its QEMU process, commands in it, and the faults that it can be given from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import channel, qemu
from lab.build import Build
from lab.channel import Result
from lab.system import LabError, start_time

LOCAL_DISK = 1 << 30  # bytes of the private disk


class Host:
    """A guest of a laboratory, by its name: h1, h2, …"""

    def __init__(self, name: str, run_dir: Path, build: Build, options: qemu.Options) -> None:
        self.name, self.number = name, int(name[1:])
        self.folder = run_dir / name
        self._run_dir, self._build, self._options = run_dir, build, options

    # ---- the process

    def alive(self) -> bool:
        """Whether the QEMU that was started still runs: the same pid and start time."""
        pid, started = self._process()
        return pid != 0 and start_time(pid) == started

    def _process(self) -> tuple[int, str]:
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid, started = (self.folder / "pid").read_text().split()
            return int(pid), started
        return 0, ""

    def start(self) -> None:
        """Power on; ``wait`` tells when it answers."""
        if self.alive():
            raise LabError(f"{self.name} is up already")
        self.folder.mkdir(parents=True, exist_ok=True)
        local = self.folder / "local.img"
        if not local.exists():
            with local.open("wb") as file:
                file.truncate(LOCAL_DISK)
        for stale in self.folder.glob("*.sock"):
            stale.unlink()
        # The monitor of events reads its one command from a FIFO that QEMU itself keeps open for writing, so that it
        # never ends, and its answers go nowhere; the log of that channel keeps the events.
        fifo, sink = self.folder / "ev.in", self.folder / "ev.out"
        if not fifo.exists():
            os.mkfifo(fifo, 0o600)
            sink.symlink_to("/dev/null")
        order = os.open(fifo, os.O_RDWR)
        os.write(order, b'{"execute": "qmp_capabilities"}\n')
        shared, guard = self._run_dir / "san.img", self._run_dir / "guard.img"
        words = qemu.command(self.number, self.folder, self._build, shared, guard, self._options)
        try:
            pid = _spawn(words, self.folder / "qemu.log")
            (self.folder / "pid").write_text(f"{pid} {start_time(pid)}")
            self._await_qmp()
        finally:
            os.close(order)

    def _await_qmp(self) -> None:
        deadline = time.monotonic() + 15
        while True:
            with contextlib.suppress(LabError):
                self.qmp("query-status")
                return
            if not self.alive() or time.monotonic() > deadline:
                tail = (self.folder / "qemu.log").read_text()[-2000:]
                raise LabError(f"{self.name}: QEMU did not start:\n{tail}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Power off at once: SIGKILL to the QEMU that was started here, and to nothing else."""
        pid, _ = self._process()
        if self.alive():
            os.kill(pid, signal.SIGKILL)
            while self.alive():
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                time.sleep(0.01)

    # ---- commands

    def wait(self, timeout: float = 60) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.run(["true"], timeout=min(10, timeout))
                return
            except (TimeoutError, LabError):
                if time.monotonic() > deadline or not self.alive():
                    tail = (self.folder / "serial.log").read_text(errors="replace")[-1500:]
                    raise LabError(f"{self.name} did not come up; the end of its console:\n{tail}") from None
                time.sleep(0.1)

    def run(
        self,
        argv: list[str],
        timeout: float | None = 60,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
    ) -> Result:
        """Run a command in it; after ``timeout`` seconds the command is killed: TimeoutError."""
        if not self.alive():
            raise LabError(f"{self.name} is not up")
        return channel.execute(self.folder, argv, timeout, stdin, env=env, on_output=on_output)

    def check(self, argv: list[str], timeout: float = 60) -> str:
        """Run a command that must succeed; what it printed."""
        done = self.run(argv, timeout)
        if done.rc:
            said = (done.out + done.err).decode(errors="replace")[-2000:]
            raise LabError(f"{self.name}: {' '.join(argv)}: status {done.rc}\n{said}")
        return done.text

    # ---- faults

    def qmp(self, command: str, **arguments: Any) -> Any:
        """One command to its QEMU."""
        return channel.qmp(self.folder / "qmp.sock", command, arguments)

    def pause(self, process: bool = False) -> None:
        """Stop its processors, and with them its clock; or, with ``process``, all of QEMU, while time goes on."""
        if process:
            if not self.alive():
                raise LabError(f"{self.name} is not up")
            os.kill(self._process()[0], signal.SIGSTOP)
        else:
            self.qmp("stop")

    def cont(self) -> None:
        """End a pause of either kind."""
        if self.alive():
            os.kill(self._process()[0], signal.SIGCONT)
        self.qmp("cont")

    def reset(self) -> None:
        """As the button does."""
        self.qmp("system_reset")

    def panic(self) -> None:
        """Crash its kernel, which then stands there; ``kill`` and ``start`` end that."""
        with contextlib.suppress(TimeoutError, LabError):
            self.run(["sh", "-c", "echo 0 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger"], timeout=1)

    def throttle(self, iops: int = 0, bps: int = 0) -> None:
        """Limit its way to the shared disk, both devices; 0 and 0 lift the limit."""
        limits = dict.fromkeys(("iops_rd", "iops_wr", "bps_rd", "bps_wr"), 0)
        for device in qemu.SHARED_DEVICES:
            self.qmp("block_set_io_throttle", id=device, iops=iops, bps=bps, group="san", **limits)

    def fail_disk(self, mode: str = "error") -> None:
        """error, read, write: such requests fail with EIO; hang: they wait until ``heal_disk``."""
        if mode == "hang":
            self.throttle(bps=1)
        else:
            self.qmp("blockdev-reopen", options=[qemu.over("san-" + mode)])

    def heal_disk(self) -> None:
        """No faults of the shared disk any more."""
        self.qmp("blockdev-reopen", options=[qemu.over("san-file")])
        self.throttle()

    def link(self, up: bool) -> None:
        """Plug the network cable, or pull it."""
        self.qmp("set_link", name="nic0", up=up)

    def events(self) -> list[dict[str, Any]]:
        """What QEMU told since the laboratory came up: {"event": "WATCHDOG", "timestamp": {…}, …}."""
        lines = (self.folder / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, filter(None, lines)) if "event" in event]


def _spawn(words: list[str], log: Path) -> int:
    """Start a program that outlives this one, in a session of its own; its process id."""
    files = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawnp(words[0], words, os.environ, file_actions=files, setsid=True)
