"""Talking to a guest: JSON lines over Unix sockets, to its agent (commands) and to QEMU (QMP)."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.system import LabError

LANES = 6  # commands at once in a guest


@dataclass(frozen=True)
class Result:
    """What a command left: its exit status (minus the signal's number, if one ended it) and its outputs."""

    rc: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace").strip()


def messages(channel: socket.socket, deadline: float | None) -> Iterator[dict[str, Any]]:
    """JSON objects, one a line, until the other side closes; TimeoutError at the deadline."""
    pending = b""
    while True:
        if deadline is not None:
            channel.settimeout(max(deadline - time.monotonic(), 0.001))
        data = channel.recv(65536)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in filter(bytes.strip, lines):
            with contextlib.suppress(ValueError):  # half a line of a command that was given up
                yield json.loads(line)


def qmp(path: Path, command: str, arguments: dict[str, Any]) -> Any:
    """One command to QEMU; what it returns."""
    with socket.socket(socket.AF_UNIX) as channel:
        try:
            channel.connect(str(path))
        except OSError:
            raise LabError(f"{path.parent.name} is not up") from None
        replies = messages(channel, time.monotonic() + 15)
        reply: dict[str, Any] = {}
        try:
            next(replies)
            for order in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                channel.sendall(json.dumps(order).encode() + b"\n")
                reply = next(answer for answer in replies if "event" not in answer)
                if "error" in reply:
                    raise LabError(f"{path.parent.name}: QMP {command}: {reply['error']['desc']}")
        except (TimeoutError, StopIteration):
            raise LabError(f"{path.parent.name}: QEMU does not answer (stopped as a process?)") from None
        return reply["return"]


def execute(
    folder: Path,
    argv: list[str],
    timeout: float | None = 60,
    stdin: bytes = b"",
    cwd: str = "/",
    env: dict[str, str] | None = None,
    on_output: Callable[[str, bytes], None] | None = None,
) -> Result:
    """Run a command in the guest whose sockets lie in ``folder``.

    After ``timeout`` seconds the command is killed, and that is a TimeoutError.  ``on_output`` gets what comes, as it
    comes: ("out" or "err", bytes).
    """
    name = folder.name
    path = os.environ.get("PATH", "/bin") + ":/usr/sbin:/usr/bin:/sbin:/bin"
    request = {
        "id": uuid.uuid4().hex,
        "argv": list(argv),
        "cwd": cwd,
        "stdin": base64.b64encode(stdin).decode(),
        "env": {"PATH": path, **(env or {})},
    }
    deadline = None if timeout is None else time.monotonic() + timeout
    got = {"out": b"", "err": b""}
    try:
        with _free_lane(folder, deadline) as channel:
            channel.sendall(json.dumps(request).encode() + b"\n")
            for message in messages(channel, deadline):
                if message.get("id") != request["id"]:
                    continue  # what a command that was given up left behind
                if "error" in message:
                    raise LabError(f"{name}: {message['error']}")
                if "rc" in message:
                    return Result(message["rc"], got["out"], got["err"])
                for stream in got.keys() & message.keys():
                    data = base64.b64decode(message[stream])
                    got[stream] += data
                    if on_output:
                        on_output(stream, data)
    except TimeoutError:
        raise TimeoutError(f"{name}: no end of {argv} in {timeout} s") from None
    except OSError as error:
        raise LabError(f"{name} went down during {argv}: {error}") from None
    raise LabError(f"{name} went down during {argv}")


@contextlib.contextmanager
def _free_lane(folder: Path, deadline: float | None) -> Iterator[socket.socket]:
    """A connection to a command port that nobody else uses."""
    while True:
        for lane in range(LANES):
            with (folder / f"cmd{lane}.lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                with socket.socket(socket.AF_UNIX) as channel:
                    if deadline is not None:
                        channel.settimeout(max(deadline - time.monotonic(), 0.001))
                    channel.connect(str(folder / f"cmd{lane}.sock"))
                    yield channel
                    return
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)
