"""Every I/O of one operation fails once, on real files: run by test_each_io.py under one_fault.so (LD_PRELOAD).

    each_io.py FOLDER OPERATION DISKS WAY [STEP]

A fresh lockspace for each try; a child that is forked for it carries the operation out while its 1st, 2nd, … I/O
fails in this WAY, until it passes untouched.  Then others look: what does `check` say, does `repair` mend it, and can
the next host take the lease.  Prints one JSON line per try.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diskpaxos import DiskPaxosError, Lockspace, errors, identity
from diskpaxos.rebuild import rebuild_disk, rebuild_superblocks

WAYS = ("refused", "no-space", "failed", "landed", "torn", "late", "hang", "hang-landed")
S = 1.2
SHAPE: dict[str, Any] = {
    "max_hosts": 6,
    "max_leases": 6,
    "outage_tolerance": S,
    "kill_grace": 0.02,
    "watchdog_timeout": 0.02,
    "claim_time": 0.1,  # storage that is slower than this cannot retire: a claim's writes must be on time
}
PATIENCE = 40.0  # seconds after which a try is taken for hung, and killed …
HUNG = 4.0  # … where it is meant to hang: on a single disk
FAULTS = ctypes.CDLL(None)


class Stage:
    """What an operation works on; ``ready`` is what it begins with, set up before anything may fail."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.space: Any = None
        self.host: Any = None
        self.lease: Any = None
        self.taken: str = ""

    def join(self) -> None:
        self.space = Lockspace.open(self.paths)
        self.host = self.space.join("operator", realtime=False)

    def hold(self) -> None:
        self.join()
        self.lease = self.host.acquire("target")

    def damage(self) -> None:
        """An own block of a free slot, and a lease header, on the first disk."""
        with Lockspace.open(self.paths, read_only=True) as space:
            size = space.geometry.block_size
            blocks = [space.geometry.own_block(3, 5)]
            if len(self.paths) > 1:
                blocks.append(space.geometry.header_block(2))
        with Path(self.paths[0]).open("r+b") as file:
            for block in blocks:
                file.seek(block * size + 100)
                file.write(b"\xff" * 8)
            os.fsync(file.fileno())

    def no_superblock(self) -> None:
        with Path(self.paths[0]).open("r+b") as file:
            file.write(bytes(4096))
            os.fsync(file.fileno())

    def no_disk(self) -> None:
        Path(self.paths[2]).unlink()

    # ---- operations

    def init(self) -> None:
        Lockspace.create(self.paths, **SHAPE).close()

    def open(self) -> None:
        Lockspace.open(self.paths).close()

    def info(self) -> None:
        self.space.info()

    def leases(self) -> None:
        assert [lease.name for lease in self.space.leases()] == ["held", "other", "target"]

    def hosts(self) -> None:
        assert len(self.space.hosts()) == SHAPE["max_hosts"]

    def check(self) -> None:
        assert {finding.kind for finding in self.space.check() if finding.severity != "note"} <= {"disk-unread"}

    def view(self) -> None:
        self.space = Lockspace.open(self.paths, read_only=True)

    def enter(self) -> None:
        self.host = self.space.join("operator", realtime=False)

    def be_open(self) -> None:
        self.space = Lockspace.open(self.paths)

    def acquire(self) -> None:
        self.lease = self.host.acquire("target")
        self.taken = "target"

    def know(self) -> None:
        self.join()
        self.host.acquire("target").release()

    def share(self) -> None:
        self.lease = self.host.acquire("target", "shared")
        self.taken = "target"

    def create(self) -> None:
        self.lease = self.host.acquire("fresh")

    def many(self) -> None:
        self.host.acquire_many(["target", "other"])
        self.taken = "target"

    def take_over(self) -> None:
        self.host.acquire("held", timeout=20)

    def release(self) -> None:
        self.lease.release()

    def delete(self) -> None:
        self.host.delete("target", timeout=5)

    def beat(self) -> None:
        time.sleep(S / 3)
        self.lease.check()

    def leave(self) -> None:
        self.host.leave(timeout=5)

    def retire(self) -> None:
        held = next(view for view in self.space.hosts() if view.name == "dead")
        self.host.retire(held.slot, timeout=30)

    def repair(self) -> None:
        report = self.space.repair()
        if not report.complete:
            raise DiskPaxosError("; ".join(report.left))

    def rebuild(self) -> None:
        rebuild_disk(self.paths[:2], self.paths[2])

    def superblocks(self) -> None:
        rebuild_superblocks(self.paths)


#: what it begins with, what it does
OPERATIONS: dict[str, tuple[list[str], str]] = {
    "init": ([], "init"),
    "open": ([], "open"),
    "info": (["view"], "info"),
    "leases": (["view"], "leases"),
    "hosts": (["view"], "hosts"),
    "check": (["view"], "check"),
    "join": (["be_open"], "enter"),
    "create lease": (["join"], "create"),
    "acquire": (["join"], "acquire"),
    "acquire, cached": (["know"], "acquire"),
    "acquire, shared": (["join"], "share"),
    "acquire, many": (["join"], "many"),
    "acquire, of a dead host": (["join"], "take_over"),
    "release": (["hold"], "release"),
    "delete": (["join"], "delete"),
    "heartbeat": (["hold"], "beat"),
    "leave": (["join"], "leave"),
    "retire": (["join"], "retire"),
    "repair": (["damage", "be_open"], "repair"),
    "rebuild": (["no_disk"], "rebuild"),
    "superblocks": (["no_superblock"], "superblocks"),
}


#: These read and write by themselves, and wait for each disk for as long as that takes.
RAW = ("init", "rebuild", "superblocks")


def in_child(work: Callable[[], dict[str, Any]], timeout: float) -> dict[str, Any]:
    """What ``work`` says, done in a process of its own, which is killed when it takes too long."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = work()
        except BaseException as error:
            said = {"crash": f"{type(error).__name__}: {error}"}
        os.write(writing, json.dumps(said).encode())
        signal.pause()  # its end is the parent's to decide: nothing of it is cleaned up
    os.close(writing)
    said_so = b""
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        said_so = os.read(reading, 1 << 16)
    except TimeoutError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
    return json.loads(said_so) if said_so else {"hung": True}


def template(paths: list[str], somebody_died: bool) -> dict[str, Any]:
    """Three leases; "held" by a host that then dies, where that matters."""
    Lockspace.create(paths, **SHAPE).close()
    with Lockspace.open(paths) as space, space.join("first", realtime=False) as host:
        for name in ("target", "other", "held"):
            host.acquire(name).release()
    if somebody_died:
        identity.machine_uuid = lambda: uuid.UUID(int=1)  # elsewhere, so that nobody here knows that it is gone
        Lockspace.open(paths).join("dead", realtime=False).acquire("held")
    return {}


def attempt(stage: Stage, folder: Path, operation: str, way: str, at: int) -> dict[str, Any]:
    """The operation with its I/O number ``at`` struck."""
    ready, do = OPERATIONS[operation]
    for step in ready:
        getattr(stage, step)()
    FAULTS.fault_arm(os.fsencode(folder), WAYS.index(way), at, round(S / 4 * 1.4e6))
    error = ""
    try:
        getattr(stage, do)()
    except DiskPaxosError as trouble:
        error = f"{type(trouble).__name__}: {trouble}"
    ios = FAULTS.fault_disarm()
    said = {"ios": ios, "struck": FAULTS.fault_hit(), "error": error, "overtaken": ""}
    if stage.taken and not error:
        said["overtaken"] = intruder(stage)
    if at % 2 and stage.host is not None and stage.host.alive:  # else its process is killed, joined as it is
        try:
            stage.host.leave(timeout=1, release=True)
        except DiskPaxosError as trouble:
            said["leave"] = f"{type(trouble).__name__}: {trouble}"
    return said


def intruder(stage: Stage) -> str:
    """Whether another host gets what this one holds."""
    with Lockspace.open(stage.paths) as space, space.join("intruder", realtime=False) as host:
        try:
            host.acquire(stage.taken, timeout=0, create=False)
        except DiskPaxosError as error:
            return "" if type(error).__name__ in ("HeldError", "DamagedError") else f"{type(error).__name__}: {error}"
        return "" if stage.lease is not None and not stage.host.alive else "taken although it is held"


def aftermath(paths: list[str], operation: str) -> dict[str, Any]:
    """What is found, what is mended, and whether the next host goes on."""
    present = [path for path in paths if Path(path).exists()]
    said: dict[str, Any] = {"found": [], "left": [], "after": [], "next": "", "opens": ""}
    try:
        Lockspace.open(present or paths).close()
    except DiskPaxosError as error:
        said["opens"] = f"{type(error).__name__}: {error}"
    try:
        if said["opens"] and operation == "init":
            Lockspace.create(paths, force=True, **SHAPE).close()
            present = paths
        if said["opens"] and operation == "superblocks":
            rebuild_superblocks(paths)
        with Lockspace.open(present) as space:
            said["found"] = [finding.kind for finding in space.check() if finding.severity != "note"]
            if any(kind.startswith("damaged") or kind == "old-header" for kind in said["found"]):
                said["left"] = space.repair().left
                for slot in re.findall(r"hosts retire (\d+)`", " ".join(said["left"])):  # as it says itself
                    space.retire(int(slot), timeout=30)
                    said["left"] = space.repair().left
                said["after"] = [finding.kind for finding in space.check() if finding.severity != "note"]
        for name in ("target", "held", "fresh", "another"):
            go_on(present, name)
    except DiskPaxosError as error:
        said["next"] = f"{type(error).__name__}: {error}"
    return said


def go_on(paths: list[str], name: str) -> None:
    """The next host takes the lease; on a machine that stalls for S it joins once more."""
    for last in (False, False, True):
        try:
            with Lockspace.open(paths) as space, space.join("next", realtime=False) as host:
                host.acquire(name, timeout=15).release()
            return
        except (errors.FinishedError, errors.StorageError):
            if last:
                raise


def main() -> None:
    """One operation, one way to fail, each of its I/Os."""
    folder, operation, disks, way = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    step = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    signal.signal(signal.SIGALRM, alarm)
    originals = folder / "originals"
    originals.mkdir()
    names = [f"disk{i}" for i in range(disks)]
    assert (
        in_child(
            lambda: template([str(originals / name) for name in names], "dead" in operation or operation == "retire"),
            60,
        )
        == {}
    )
    at = 1
    while True:
        place = folder / f"try{at}"
        place.mkdir()
        paths = [str(place / name) for name in names]
        for name in names if operation != "init" else []:
            shutil.copyfile(originals / name, place / name)
        said = in_child(
            lambda at=at, paths=paths, place=place: attempt(Stage(paths), place, operation, way, at),
            HUNG if way.startswith("hang") and (disks == 1 or operation in RAW) else PATIENCE,
        )  # type: ignore[misc]
        said |= {"at": at, "after": in_child(lambda paths=paths: aftermath(paths, operation), 60)}  # type: ignore[misc]
        print(json.dumps(said), flush=True)
        shutil.rmtree(place)
        if not said.get("hung") and not said.get("struck"):
            return
        at += step


def alarm(number: int, frame: object) -> None:
    """For `in_child`."""
    raise TimeoutError


if __name__ == "__main__":
    main()
