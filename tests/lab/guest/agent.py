"""Runs the commands that come over the guest's virtio-serial ports, one at a time on each port.

A request is a line of JSON (id, argv, cwd, env, stdin in base64).  Answers carry its id: pieces of output, "out" or
"err" in base64; then "rc", or "error" when it could not be started.  When the client hangs up, the command is killed.
"""

from __future__ import annotations

import base64
import glob
import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from typing import Any


class GoneError(Exception):
    """The client hung up."""


def send(fd: int, message: dict[str, object]) -> None:
    data = memoryview(json.dumps(message).encode() + b"\n")
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    while data:
        if any(event & select.POLLHUP for _, event in poller.poll()):
            raise GoneError
        try:
            data = data[os.write(fd, data[:16384]) :]
        except BlockingIOError:
            time.sleep(0.002)


def started(request: dict[str, Any]) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as stdin:
        stdin.write(base64.b64decode(request.get("stdin", "")))
        stdin.seek(0)
        return subprocess.Popen(
            request["argv"],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd=request.get("cwd", "/"),
            env={**os.environ, **request.get("env", {})},
        )


def execute(fd: int, request: dict[str, Any]) -> None:
    process = started(request)
    assert process.stdout is not None and process.stderr is not None
    names = {process.stdout.fileno(): "out", process.stderr.fileno(): "err"}
    poller = select.poll()
    poller.register(fd, 0)  # only POLLHUP: the client went away
    for pipe in names:
        os.set_blocking(pipe, False)
        poller.register(pipe, select.POLLIN)
    try:
        while True:
            ended = process.poll() is not None  # asked before the last draining, not after it
            for ready, _ in poller.poll(0 if ended else 50 if names else 5):
                if ready == fd:
                    raise GoneError
                data = os.read(ready, 65536)
                if data:
                    send(fd, {"id": request["id"], names[ready]: base64.b64encode(data).decode()})
                    ended = False
                else:
                    poller.unregister(ready)
                    del names[ready]
            if ended:
                send(fd, {"id": request["id"], "rc": process.returncode})
                return
    except GoneError:
        os.killpg(process.pid, signal.SIGKILL)
        threading.Thread(target=process.wait, daemon=True).start()  # it may hang in the kernel for ever
    finally:
        process.stdout.close()
        process.stderr.close()


def serve(fd: int, line: bytes) -> None:
    request = json.loads(line)
    try:
        execute(fd, request)
    except (OSError, KeyError, TypeError, ValueError) as error:
        send(fd, {"id": request["id"], "error": str(error)})


def lane(path: str) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    pending = b""
    while True:
        if any(event & select.POLLHUP for _, event in poller.poll()):
            pending = b""
            time.sleep(0.03)
            continue
        try:
            pending += os.read(fd, 65536)
        except BlockingIOError:
            continue
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            try:
                serve(fd, line)
            except (ValueError, GoneError):
                pending = b""


for entry in glob.glob("/sys/class/virtio-ports/*/name"):
    with open(entry) as name:
        if name.read().startswith("lab."):
            threading.Thread(target=lane, args=("/dev/" + entry.split("/")[-2],)).start()
print("lab: agent ready", flush=True)
