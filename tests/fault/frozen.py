"""Storage that can be made to hang: a file system in a file, to freeze and to thaw.

Run as a program of its own, in a mount namespace of its own, by test_hangs.py.  It thaws and
takes everything down when its standard input ends, however the test ended; and it never leaves
anything frozen for longer than a minute.

    unshare --mount --propagation private python frozen.py FOLDER

Prints "ready FILE DEVICE": a file on the file system, and a loop device over another file on it.
Commands: freeze, thaw, byte PATH OFFSET.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
LIMIT = 60  # seconds


def run(*command: str) -> str:
    """Output of a command that must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Storage:
    """The file system, its two files and the loop device over one of them."""

    def __init__(self, folder: Path) -> None:
        self.mounted = folder / "mounted"
        self.mounted.mkdir()
        self.device = ""
        image = folder / "image"
        with image.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 32 << 20)
        run("mkfs.ext4", "-q", "-F", "-b", "4096", str(image))
        run("mount", "-o", "loop", str(image), str(self.mounted))
        self.folder = os.open(self.mounted, os.O_RDONLY | os.O_DIRECTORY)
        self.frozen = False

    def make_files(self) -> Path:
        """Written in full, so that writing there again allocates nothing."""
        for name in ("file", "backing"):
            (self.mounted / name).write_bytes(bytes(1 << 20))
        os.sync()
        self.device = run("losetup", "--find", "--show", str(self.mounted / "backing"))
        return self.mounted / "file"

    def freeze(self) -> None:
        signal.alarm(LIMIT)
        fcntl.ioctl(self.folder, FIFREEZE, 0)
        self.frozen = True

    def thaw(self) -> None:
        if self.frozen:
            fcntl.ioctl(self.folder, FITHAW, 0)
            self.frozen = False
        signal.alarm(0)

    def take_down(self) -> None:
        self.thaw()
        try:  # somebody else may have frozen it, and died
            fcntl.ioctl(self.folder, FITHAW, 0)
        except OSError:
            pass
        if self.device:
            run("losetup", "--detach", self.device)
        os.close(self.folder)
        run("umount", "--lazy", str(self.mounted))


def obey(storage: Storage, line: str) -> str:
    """Carry out one command; its answer."""
    command, *rest = line.split()
    if command == "freeze":
        storage.freeze()
        return "frozen"
    if command == "thaw":
        storage.thaw()
        return "thawed"
    fd = os.open(rest[0], os.O_RDONLY)
    byte = os.pread(fd, 1, int(rest[1]))[0]
    os.close(fd)
    return str(byte)


def main() -> None:
    """Serve commands until there are none any more."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    storage = Storage(Path(sys.argv[1]))
    signal.signal(signal.SIGALRM, lambda *_: storage.thaw())
    try:
        print("ready", storage.make_files(), storage.device, flush=True)
        for line in sys.stdin:
            print(obey(storage, line), flush=True)
    finally:
        storage.take_down()


if __name__ == "__main__":
    main()
