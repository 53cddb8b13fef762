"""Every command on real files: what it prints, what programs read, and every exit code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from program import FAST, PROGRAM, SMALL, T_DEAD, diskpaxos, eventually, json_of, make_lockspace, running

import diskpaxos as library


@pytest.fixture
def lockspace(tmp_path: Path) -> Path:
    return make_lockspace(tmp_path / "lockspace")


@pytest.fixture
def disks(tmp_path: Path) -> list[Path]:
    """A lockspace on three files."""
    paths = [tmp_path / name for name in ("disk-a", "disk-b", "disk-c")]
    diskpaxos("init", *paths, *FAST, *SMALL, "--name", "three")
    return paths


def on(*paths: Path) -> list[str | Path]:
    return [word for path in paths for word in ("--lockspace", path)]


@contextmanager
def holder(lockspace: Path, tmp_path: Path, *options: str, lease: str = "vm1") -> Iterator[subprocess.Popen[str]]:
    ready = tmp_path / f"ready-{lease}"
    arguments = ("run", *on(lockspace), "--lease", lease, *options, "--", "sh", "-c", f"echo > {ready}; sleep 300")
    with running(*arguments) as process:
        eventually(ready.exists)
        yield process


def damage(path: Path, block: int, size: int = 512) -> None:
    with path.open("r+b") as file:
        file.seek(block * size + 100)
        byte = file.read(1)
        file.seek(block * size + 100)
        file.write(bytes([byte[0] ^ 1]))
        file.flush()
        os.fsync(file.fileno())


# ---- init and info


def test_init_says_what_it_made(tmp_path: Path) -> None:
    done = diskpaxos("init", tmp_path / "locks", *FAST, *SMALL, "--name", "tests")
    assert done.stderr == ""
    lines = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert {key: value.strip() for key, value in lines.items() if key != "uuid"} == {
        "lockspace": "tests",
        "disks": str(tmp_path / "locks"),
        "size": "272 KiB, blocks of 512 bytes",
        "room": "8 hosts, 31 leases",
        "leases of a dead host are free after": "4s",
    }


def test_info_for_programs(lockspace: Path) -> None:
    info = json_of("info", *on(lockspace))
    assert set(info) == {
        *("name", "uuid", "format_version", "features_compatible", "features_incompatible", "block_size"),
        *("max_hosts", "max_leases", "size", "outage_tolerance", "kill_grace", "watchdog_timeout"),
        *("claim_time", "dead_time", "heartbeat", "created_at", "disks", "hosts_used", "leases_used"),
    }
    assert info["name"] == "lockspace"
    assert (info["max_hosts"], info["max_leases"], info["block_size"]) == (8, 32, 512)
    assert (info["outage_tolerance"], info["kill_grace"], info["watchdog_timeout"]) == (2.0, 1.0, 0.4)
    assert info["dead_time"] == pytest.approx(T_DEAD)
    assert (info["hosts_used"], info["leases_used"]) == (0, 0)
    assert info["size"] == lockspace.stat().st_size
    (disk,) = info["disks"]
    assert set(disk) == {"path", "index", "online", "trouble", "network", "block_device", "generation"}
    assert (disk["path"], disk["online"], disk["trouble"]) == (str(lockspace), True, "")


def test_init_for_programs_is_info_without_use(tmp_path: Path) -> None:
    made = json_of("init", tmp_path / "locks", *FAST, *SMALL)
    seen = json_of("info", *on(tmp_path / "locks"))
    assert {key: value for key, value in seen.items() if not key.endswith("_used")} == made


def test_the_lockspace_may_come_from_the_environment(lockspace: Path, disks: list[Path]) -> None:
    assert "lockspace" in diskpaxos("info", DISKPAXOS_LOCKSPACE=str(lockspace)).stdout
    told = diskpaxos("info", DISKPAXOS_LOCKSPACE=" ".join(map(str, disks))).stdout
    assert all(str(path) in told for path in disks)
    done = diskpaxos("info", expect=2)
    assert "which lockspace?  Give --lockspace PATH, or set DISKPAXOS_LOCKSPACE" in done.stderr


def test_init_refuses_what_is_not_empty(tmp_path: Path, lockspace: Path) -> None:
    other = tmp_path / "notes"
    other.write_bytes(b"important " * 1000)
    before = other.read_bytes()
    done = diskpaxos("init", other, expect=69)
    assert "is not empty" in done.stderr
    assert "next: if what lies there can go, add --force" in done.stderr
    assert other.read_bytes() == before
    uuid = json_of("info", *on(lockspace))["uuid"]
    diskpaxos("init", lockspace, expect=69)
    assert json_of("info", *on(lockspace))["uuid"] == uuid
    diskpaxos("init", lockspace, *FAST, *SMALL, "--force")
    assert json_of("info", *on(lockspace))["uuid"] != uuid


def test_init_refuses_what_is_in_use_even_with_force(lockspace: Path, tmp_path: Path) -> None:
    with holder(lockspace, tmp_path):
        done = diskpaxos("init", lockspace, "--force", expect=69)
        assert "is in use" in done.stderr
        assert "stop diskpaxos on that host first" in done.stderr
        assert json_of("info", *on(lockspace))["leases_used"] == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--watchdog", "20s"], "watchdog"),
        (["--hosts", "1"], "hosts"),
        (["--leases", "1"], "leases"),
        (["--outage-tolerance", "fast"], "'fast' is not a duration like 30s"),
        (["--block-size", "1024"], "'1024'"),
        (["--name", ""], "empty"),
        (["--hosts", "many"], "'many'"),
    ],
)
def test_init_with_values_that_cannot_work(tmp_path: Path, options: list[str], told: str) -> None:
    done = diskpaxos("init", tmp_path / "locks", *options, expect=2)
    assert told in done.stderr
    assert not (tmp_path / "locks").exists()


def test_init_where_nothing_can_be(tmp_path: Path) -> None:
    diskpaxos("init", tmp_path / "absent" / "locks", *SMALL, expect=66)
    diskpaxos("init", tmp_path, *SMALL, expect=65)
    diskpaxos("init", "/proc/absent", *SMALL, expect=66)
    diskpaxos("init", "/proc/version", *SMALL, expect=65)
    diskpaxos("init", tmp_path / "a", tmp_path / "b", *SMALL, expect=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == []


# ---- paths that are no lockspace


def test_paths_that_are_no_lockspace(tmp_path: Path, lockspace: Path, disks: list[Path]) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * 100_000)
    assert "is not a diskpaxos lockspace" in diskpaxos("info", *on(other), expect=65).stderr
    assert "check the path" in diskpaxos("info", *on(tmp_path / "absent"), expect=66).stderr
    diskpaxos("info", *on(tmp_path), expect=65)
    diskpaxos("info", *on(lockspace, disks[0]), expect=65)
    diskpaxos("info", *on(disks[0], disks[0], disks[1]), expect=65)
    diskpaxos("info", *on(disks[0]), expect=65)
    diskpaxos("info", *on(disks[2], disks[0], disks[1]))
    os.truncate(lockspace, 100_000)
    assert "is truncated" in diskpaxos("info", *on(lockspace), expect=78).stderr


AS_NOBODY = """
import os
import diskpaxos.inspect  # while it may still be read
from diskpaxos.cli import main
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
main()
"""


def test_no_permission() -> None:
    """As somebody who may look and not write, or not even look."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = make_lockspace(Path(folder, "lockspace"))
        Path(folder).chmod(0o755)
        for mode, command, code in ((0o444, ["info"], 0), (0o444, ["delete", "vm1"], 77), (0o000, ["info"], 77)):
            path.chmod(mode)
            done = subprocess.run(
                [sys.executable, "-c", AS_NOBODY, *command, "--lockspace", str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code, done.stderr
            if code:
                assert "Permission denied" in done.stderr
                assert "Traceback" not in done.stderr


# ---- hosts


def test_no_host_has_joined(lockspace: Path) -> None:
    assert diskpaxos("hosts", *on(lockspace)).stdout == "no host has joined\n"
    assert json_of("hosts", *on(lockspace)) == []
    everything = json_of("hosts", *on(lockspace), "--all")
    assert [host["slot"] for host in everything] == list(range(8))
    assert {host["liveness"] for host in everything} == {"free"}


def test_hosts_alive_dead_and_retired(lockspace: Path, tmp_path: Path) -> None:
    with holder(lockspace, tmp_path, "--host-name", "node-1") as process:
        (host,) = json_of("hosts", *on(lockspace))
        assert set(host) == {
            *("slot", "liveness", "drain", "generation", "name", "machine", "boot", "nonce", "pid", "counter"),
            *("last_heartbeat", "joined_at", "dead_time", "silent_for", "notices", "software", "this_host"),
        }
        assert (host["name"], host["liveness"], host["pid"]) == ("node-1", "alive", process.pid)
        slot = str(host["slot"])
        done = diskpaxos("hosts", *on(lockspace))
        assert done.stdout.split()[:3] == ["SLOT", "HOST", "STATE"]
        assert done.stdout.splitlines()[1].split()[:3] == [slot, "node-1", "alive"]

        alive = diskpaxos("hosts", "retire", slot, *on(lockspace), "--yes", "--wait", "1s", expect=69)
        assert "Traceback" not in alive.stderr
        assert process.poll() is None
        process.kill()
        process.wait()
    (dead,) = json_of("hosts", *on(lockspace), "--watch", f"{T_DEAD + 0.5}s")
    assert (dead["liveness"], dead["name"]) == ("dead", "node-1")
    done = diskpaxos("hosts", *on(lockspace), "retire", slot, expect=2)
    assert "add --yes: there is no terminal to ask at" in done.stderr
    diskpaxos("hosts", *on(lockspace), "retire", "99", "--yes", expect=66)
    done = diskpaxos("hosts", *on(lockspace), "retire", slot, "--yes", "--wait", "30s")
    assert f"retired: slot {slot}, host 'node-1'" in done.stdout
    assert json_of("hosts", *on(lockspace)) == []
    done = diskpaxos("hosts", *on(lockspace), "retire", slot, "--yes", expect=66)
    assert f"slot {slot} is free already" in done.stderr


# ---- leases


def test_leases(lockspace: Path, tmp_path: Path) -> None:
    assert diskpaxos("leases", *on(lockspace)).stdout == "no leases\n"
    assert json_of("leases", *on(lockspace)) == []
    diskpaxos("run", *on(lockspace), "--lease", "idle", "--", "true")
    with holder(lockspace, tmp_path, "--host-name", "node-1", "--label", "nightly backup"):
        idle, held = json_of("leases", *on(lockspace))
        fields = {"name", "area", "uuid", "state", "holders", "last_token", "created_at", "damage"}
        assert set(idle) == set(held) == fields
        assert (idle["name"], idle["state"], idle["holders"]) == ("idle", "free", [])
        assert (held["name"], held["state"]) == ("vm1", "held")
        (who,) = held["holders"]
        assert set(who) == {"slot", "generation", "host", "label", "mode", "token", "since", "liveness"}
        assert (who["host"], who["label"], who["mode"]) == ("node-1", "nightly backup", "exclusive")
        assert who["token"] == held["last_token"] > 0

        lines = diskpaxos("leases", *on(lockspace)).stdout.splitlines()
        assert lines[0].split() == ["LEASE", "STATE", "HOST", "SLOT", "MODE", "TOKEN", "SINCE", "FOR"]
        assert lines[1].split()[:2] == ["idle", "free"]
        assert lines[2].startswith("vm1")
        assert lines[2].endswith("nightly backup")
        assert [lease["name"] for lease in json_of("leases", *on(lockspace), "--held")] == ["vm1"]
        watched = diskpaxos("leases", *on(lockspace), "--held", "--watch", "700ms").stdout
        assert "held, host alive" in watched
    assert diskpaxos("leases", *on(lockspace), "--held", "--watch", f"{T_DEAD + 1}s").stdout.count("dead") == 1


def test_delete(lockspace: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        diskpaxos("run", *on(lockspace), "--lease", name, "--", "true")
    with holder(lockspace, tmp_path, lease="two"):
        done = diskpaxos("delete", *on(lockspace), "one", "two", expect=75)
        assert done.stdout == "deleted: one\n"
        assert "lease 'two' is held by host" in done.stderr
        assert "end its holder" in done.stderr
        assert "deleted" not in diskpaxos("delete", *on(lockspace), "--wait", "100ms", "two", expect=75).stdout
    assert [lease["name"] for lease in json_of("leases", *on(lockspace))] == ["two"]
    assert "there is no lease 'one'" in diskpaxos("delete", *on(lockspace), "one", expect=66).stderr
    assert "name" in diskpaxos("delete", *on(lockspace), "a\nb", expect=2).stderr


def test_delete_of_what_a_dead_host_holds(lockspace: Path, tmp_path: Path) -> None:
    """Nobody but this command has to be there to see that it is dead."""
    with holder(lockspace, tmp_path) as process:
        process.kill()
        process.wait()
    refused = diskpaxos("delete", *on(lockspace), "vm1", expect=75)
    (advice,) = re.findall(r"--wait (\d+\w+)", refused.stderr)
    started = time.monotonic()
    assert diskpaxos("delete", *on(lockspace), "--wait", advice, "vm1").stdout == "deleted: vm1\n"
    assert time.monotonic() - started > T_DEAD - 1
    assert json_of("leases", *on(lockspace)) == []


def test_full(tmp_path: Path) -> None:
    path = tmp_path / "tiny"
    diskpaxos("init", path, *FAST, "--hosts", "2", "--leases", "2")
    with holder(path, tmp_path, lease="only"):
        done = diskpaxos("run", *on(path), "--lease", "second", "--", "true", expect=73)
        assert "no room for a new lease 'second'" in done.stderr
        with running("run", *on(path), "--lease", "only", "--wait", "forever", "--", "true"):
            eventually(lambda: json_of("info", *on(path))["hosts_used"] == 2)
            done = diskpaxos("run", *on(path), "--lease", "only", "--", "true", expect=73)
            assert "all 2 host slots" in done.stderr


# ---- check, repair, rebuild, dump


def test_check_and_repair(lockspace: Path) -> None:
    diskpaxos("run", *on(lockspace), "--lease", "vm1", "--", "true")
    assert diskpaxos("check", *on(lockspace)).stdout == "nothing found\n"
    assert json_of("check", *on(lockspace)) == []
    assert diskpaxos("repair", *on(lockspace)).stdout == "nothing to repair\n"
    block = json_of("dump", *on(lockspace), "--lease", "vm1", "--slot", "3")["block"]
    damage(lockspace, block)
    done = diskpaxos("check", *on(lockspace), expect=78)
    assert f"own block of slot 3 in area {json_of('dump', *on(lockspace), '--lease', 'vm1')['area']}" in done.stdout
    (finding,) = json_of("check", *on(lockspace), expect=78)
    assert set(finding) == {"severity", "kind", "text", "remedy", "disk", "block", "slot", "area", "lease"}
    assert (finding["severity"], finding["kind"], finding["block"]) == ("error", "damaged-own", block)
    report = json_of("repair", *on(lockspace))
    assert set(report) == {"mended", "left"}
    assert len(report["mended"]) == 1
    assert report["left"] == []
    assert diskpaxos("check", *on(lockspace)).stdout == "nothing found\n"


def test_rebuild_a_disk(disks: list[Path], tmp_path: Path) -> None:
    diskpaxos("run", *on(*disks), "--lease", "vm1", "--", "true")
    disks[1].unlink()
    told = diskpaxos("check", *on(disks[0], disks[2]), expect=78).stdout
    assert "disk 1" in told
    new = tmp_path / "disk-new"
    done = diskpaxos("rebuild", *on(disks[0], disks[2]), new)
    assert done.stdout == f"rebuilt: {new} is disk 1 of the lockspace\n"
    three = on(disks[0], new, disks[2])
    assert diskpaxos("check", *three).stdout == "nothing found\n"
    assert [disk["generation"] for disk in json_of("info", *three)["disks"]] == [1, 2, 1]
    diskpaxos("run", *three, "--lease", "vm1", "--", "true")
    occupied = tmp_path / "occupied"
    occupied.write_bytes(b"important " * 1000)
    assert "is not empty" in diskpaxos("rebuild", *on(disks[0], new), occupied, expect=69).stderr


def test_rebuild_lost_superblocks(lockspace: Path) -> None:
    diskpaxos("run", *on(lockspace), "--lease", "vm1", "--", "true")
    before = json_of("info", *on(lockspace))
    with lockspace.open("r+b") as file:
        file.write(bytes(512))
    diskpaxos("info", *on(lockspace), expect=65)
    diskpaxos("repair", *on(lockspace), expect=65)
    done = diskpaxos("rebuild", *on(lockspace), "--superblocks")
    assert done.stdout == f"superblock restored: {lockspace}\n"
    after = json_of("info", *on(lockspace))
    assert after == {**before, "created_at": after["created_at"], "name": after["name"]}
    assert diskpaxos("rebuild", *on(lockspace), "--superblocks").stdout == "no superblock was missing\n"
    assert [lease["name"] for lease in json_of("leases", *on(lockspace))] == ["vm1"]


def test_rebuild_wants_one_of_two(lockspace: Path) -> None:
    diskpaxos("rebuild", *on(lockspace), expect=2)
    diskpaxos("rebuild", *on(lockspace), "disk", "--superblocks", expect=2)


def test_dump(lockspace: Path) -> None:
    diskpaxos("run", *on(lockspace), "--lease", "vm1", "--", "true")
    superblock = json_of("dump", *on(lockspace))
    assert (superblock["place"], superblock["block"], superblock["flaw"]) == ("superblock", 0, "")
    assert superblock["lockspace"] == json_of("info", *on(lockspace))["uuid"]
    header = json_of("dump", *on(lockspace), "--lease", "vm1")
    assert (header["place"], header["name"]) == ("header", "vm1")
    assert json_of("dump", *on(lockspace), "--area", str(header["area"])) == header
    assert json_of("dump", *on(lockspace), "--block", str(header["block"])) == header
    slot = json_of("dump", *on(lockspace), "--slot", "2")
    assert slot["slot"] == 2
    text = diskpaxos("dump", *on(lockspace), "--slot", "2").stdout
    assert dict(line.split(":", 1) for line in text.splitlines())["slot"].strip() == "2"
    diskpaxos("dump", *on(lockspace), "--lease", "absent", expect=66)
    diskpaxos("dump", *on(lockspace), "--lease", "vm1", "--area", "3", expect=2)
    for wrong in (["--block", "99999"], ["--slot", "8"], ["--area", "32"], ["--disk", "1"], ["--block", "-1"]):
        diskpaxos("dump", *on(lockspace), *wrong, expect=2)


# ---- the program itself


def test_version_help_and_mistakes() -> None:
    assert diskpaxos("--version").stdout == f"diskpaxos, version {library.__version__}\n"
    told = diskpaxos("--help").stdout
    assert "Exit codes:" in told
    assert "75  somebody else holds the lease" in told
    assert "No such command 'lock'" in diskpaxos("lock", expect=2).stderr
    assert "No such option" in diskpaxos("info", "--fast", expect=2).stderr
    diskpaxos("run", "--lockspace", "x", "--", "true", expect=2)
    diskpaxos("run", "--lockspace", "x", "--lease", "vm1", expect=2)


def test_interrupted(lockspace: Path, tmp_path: Path) -> None:
    with holder(lockspace, tmp_path):
        with running("hosts", *on(lockspace), "--watch", "30s") as process:
            assert process.stderr is not None
            assert "watching" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 1
            assert "Traceback" not in process.stderr.read()


def test_a_reader_that_goes_away(lockspace: Path) -> None:
    """As with `| head -1`: no complaint."""
    script = f"{sys.executable} -m diskpaxos hosts -L {lockspace} --all --json | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[\n"
    assert done.stderr == ""


def test_a_defect_shows_a_traceback_only_on_demand(lockspace: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "info", "--lockspace", "/absent"],
        capture_output=True,
        text=True,
        env={**os.environ, "DISKPAXOS_TRACEBACK": "1"},
        check=False,
    )
    assert done.returncode == 66
    assert "Traceback" in done.stderr


def test_names_cannot_steer_the_terminal(lockspace: Path) -> None:
    """A name with an escape sequence cannot be made; a label with one is cleaned."""
    diskpaxos("run", *on(lockspace), "--lease", "a\x1b[2Jb", "--", "true", expect=2)
    done = diskpaxos(
        "run", *on(lockspace), "--lease", "a", "--label", "x\x1b[2J", "--", *PROGRAM, "leases", *on(lockspace)
    )
    assert "x_[2J" in done.stdout
