"""`diskpaxos bench`: what it says, what it refuses, and that a lockspace in use comes to no harm."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import T_DEAD, diskpaxos, eventually, json_of, make_lockspace, running

from diskpaxos import Lockspace

QUICK = ("--seconds", "300ms")


@contextlib.contextmanager
def loop_device(file: Path) -> Iterator[Path]:
    """A block device over ``file``; skips where that is not permitted."""
    made = subprocess.run(
        ["losetup", "--direct-io=on", "--show", "--find", file], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no loop devices here: {made.stderr.strip()}")
    device = Path(made.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_directory_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    said = diskpaxos("bench", tmp_path, *QUICK).stdout
    assert "temporary lockspace" in said
    assert "W R" in said
    assert "###" in said  # the histogram
    assert "path failover" in said  # what a minute cannot show
    assert os.listdir(tmp_path) == ["mine"]
    assert (tmp_path / "mine").read_text() == "kept"


def test_figures_for_programs(tmp_path: Path) -> None:
    seen = json_of("bench", tmp_path, *QUICK, "--hosts", "8")
    assert (seen["lockspace"], seen["max_hosts"], seen["read_bytes"]) == (False, 8, 9 * seen["block_size"])
    take, release, batch = seen["operations"]
    assert [take["ios"], release["ios"], batch["ios"]] == ["W R", "W", "8 W, 8 R"]
    for row in (take, release):
        for side in ("diskpaxos", "bare"):
            times = row[side]
            assert times["count"] > 5
            assert 0 < times["median"] <= times["p90"] <= times["p99"] <= times["slowest"]
        assert row["ratio"] == pytest.approx(row["diskpaxos"]["median"] / row["bare"]["median"])
    advice = seen["outage_tolerance"]
    slowest = max(row[side]["slowest"] for row in (take, release) for side in ("diskpaxos", "bare"))
    assert advice["slowest_seen"] >= slowest
    assert advice["needed_for_that"] >= 16 * advice["slowest_seen"]
    assert (advice["configured"], advice["enough"]) == (None, None)


def test_a_lockspace_in_use_comes_to_no_harm(tmp_path: Path) -> None:
    path = make_lockspace(tmp_path / "lockspace")
    with Lockspace.open(path) as space, space.join("other") as host:
        lease = host.acquire("vm1")
        before = space.leases()
        seen = json_of("bench", path, *QUICK)
        lease.check()
        assert space.leases() == before  # the same lease under the same token, and no other
        assert [known.name for known in space.hosts() if known.liveness != "free"] == ["other"]
        assert lease.token == before[0].last_token
    assert seen["lockspace"] is True
    assert seen["outage_tolerance"]["configured"] == 2.0
    assert seen["operations"][0]["bare"] is not None
    assert os.listdir(tmp_path) == ["lockspace"]
    with Lockspace.open(path, read_only=True) as space:
        assert [finding for finding in space.check() if finding.severity != "note"] == []


def test_what_a_killed_run_left_is_removed_by_a_later_one(tmp_path: Path) -> None:
    path = make_lockspace(tmp_path / "lockspace")

    def left() -> list[str]:
        with Lockspace.open(path, read_only=True) as space:
            return [known.name for known in space.leases()]

    with running("bench", path, "--seconds", "60s"):  # and killed
        eventually(lambda: len(left()) == 8, timeout=30)
        others = left()
        beside = json_of("bench", path, *QUICK)["leftovers"]
        assert (beside["removed"], beside["remaining"]) == ([], others)  # it goes on: named, not touched
        assert left() == others
    assert json_of("bench", path, *QUICK)["leftovers"]["removed"] == []  # killed, but not yet seen to be dead
    done = diskpaxos("bench", path, "--seconds", f"{T_DEAD + 1}s")
    assert "Removed" in done.stdout
    assert all(name in done.stdout for name in others)
    assert left() == []
    assert json_of("bench", path, *QUICK)["leftovers"] == {"removed": [], "remaining": []}


def test_temporary_lockspaces_of_other_runs_are_named(tmp_path: Path) -> None:
    other = make_lockspace(tmp_path / "diskpaxos-bench-0123456789abcdef0123456789abcdef")
    done = diskpaxos("bench", tmp_path, *QUICK)
    assert f"  - {other}\n" in done.stdout
    assert os.listdir(tmp_path) == [other.name]


def test_on_a_device_the_bare_writes_go_to_padding(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.truncate(file, 4 << 20)
    with loop_device(file) as device:
        Lockspace.create(device, "locks", max_hosts=8, max_leases=32, block_size=512).close()
        seen = json_of("bench", device, *QUICK)
        assert seen["operations"][0]["bare"]["count"] > 5
        with Lockspace.open(device, read_only=True) as space:
            assert [finding for finding in space.check() if finding.severity != "note"] == []
        # Nine blocks an area on blocks of a page: no padding, so nothing to hold it against.
        Lockspace.create(device, "locks", max_hosts=8, max_leases=32, block_size=4096, force=True).close()
        assert json_of("bench", device, *QUICK)["operations"][0]["bare"] is None


def test_what_is_no_lockspace_is_refused_and_untouched(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    content = b"somebody's file system" * 1000
    foreign.write_bytes(content)
    done = diskpaxos("bench", foreign, *QUICK, expect=65)
    assert "not a diskpaxos lockspace" in done.stderr
    assert foreign.read_bytes() == content
    assert os.listdir(tmp_path) == ["foreign"]
    diskpaxos("bench", tmp_path / "missing", *QUICK, expect=66)


def test_the_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "latency.svg"
    storage = tmp_path / "storage"
    storage.mkdir()
    assert f"drawn: {picture}" in diskpaxos("bench", storage, *QUICK, "--plot", picture).stdout
    assert "<svg" in picture.read_text()
