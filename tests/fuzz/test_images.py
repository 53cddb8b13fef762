"""Edited lockspace images on real files, given to everything that looks at one or mends it: whatever lies there, no
error but a DiskPaxosError comes out, and it comes in time.

The edits know the structure (hypothesis; coverage guides the native side only, where decisions are made): fields of
any block changed with the checksum made right, blocks zeroed, copied over each other, or flipped.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskpaxos import DiskPaxosError, Lockspace, _core
from diskpaxos.check import Finding
from diskpaxos.inspect import block_dtype
from diskpaxos.layout import Kind
from diskpaxos.rebuild import rebuild_disk, rebuild_superblocks

SHAPE: dict[str, Any] = {
    "max_hosts": 4,
    "max_leases": 4,
    "outage_tolerance": 0.4,
    "kill_grace": 0.01,
    "watchdog_timeout": 0.01,
    "claim_time": 0.01,
}
INTERESTING = st.sampled_from([0, 1, 2, 3, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1])
EDIT = st.tuples(
    st.integers(0, 63),  # which block
    st.sampled_from(["field", "field", "field", "zero", "copy", "flip", "text"]),
    st.integers(0, 63),  # which field, or which other block
    st.one_of(INTERESTING, st.integers(0, 2**64 - 1)),
    st.integers(0, 3),  # on which disk; 3: on all
)
EDITS = st.lists(EDIT, min_size=1, max_size=8)
EXAMPLES = int(os.environ.get("DISKPAXOS_MEND", "12"))  # a second each: real lifetimes are waited for
TIMES = ("outage_tolerance", "kill_grace", "watchdog_timeout", "claim_time")  # what a repairer waits for goes by them


@pytest.fixture(scope="module", params=[1, 3])
def originals(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Used a little: leases held, shared, released and deleted; hosts that left, and one that did not."""
    folder = tmp_path_factory.mktemp("originals")
    paths = [folder / f"disk{i}" for i in range(request.param)]
    try:
        Lockspace.create(paths, **SHAPE).close()
    except DiskPaxosError as error:
        pytest.skip(str(error))
    space = Lockspace.open(paths)
    with space.join("one") as one:
        one.acquire("a").release()
        one.acquire("b").release()
        one.delete("b")
    two = space.join("two")
    two.acquire("a", "shared")
    space.close()  # and two is gone without leaving
    return paths


def edit(
    paths: list[Path], geometry: _core.Geometry, what: tuple[int, str, int, int, int], spare: tuple[str, ...]
) -> None:
    which, how, other, value, on = what
    blocks = [block for block in range(geometry.total_blocks) if geometry.place(block)[0]]
    block, source = blocks[which % len(blocks)], blocks[other % len(blocks)]
    size, kind = geometry.block_size, Kind(geometry.place(block)[0])
    fields = [field for field in _core.fields() if field.kind in (0, kind) and field.name not in spare]
    for path in paths if on == 3 else [paths[on % len(paths)]]:
        with path.open("r+b") as file:
            file.seek(source * size)
            theirs = file.read(size)
            file.seek(block * size)
            data = bytearray(file.read(size))
            record = np.frombuffer(data, block_dtype(kind, size))
            field = fields[other % len(fields)]
            name = "block_kind" if field.name == "kind" else field.name
            if how == "zero":
                data[:] = bytes(size)
            elif how == "copy":
                data[:] = theirs
            elif how == "flip":
                data[value % size] ^= 1 + value % 255
            elif how == "text" or field.type != "u":
                data[field.offset : field.offset + 4] = (value % 2**32).to_bytes(4, "little")
            else:
                record[name] = value % 2 ** (8 * field.size)
            if how in ("field", "text"):
                record["crc32c"] = 0
                record["crc32c"] = _core.crc32c(data)
            file.seek(block * size)
            file.write(data)


def edited(originals: list[Path], tmp_path: Path, edits: list[Any], spare: tuple[str, ...] = ()) -> list[Path]:
    paths = [tmp_path / path.name for path in originals]
    for original, path in zip(originals, paths, strict=True):
        shutil.copyfile(original, path)
    with Lockspace.open(paths, read_only=True) as space:
        geometry = space.geometry
    for one in edits:
        edit(paths, geometry, one, spare)
    return paths


def look(paths: list[Path]) -> list[Finding]:
    try:
        with Lockspace.open(paths, read_only=True, timeout=5) as space:
            space.info()
            for host in space.hosts():
                repr(host)
            for lease in space.leases():
                repr(lease)
            for block in range(space.geometry.total_blocks):
                for disk in range(space.geometry.disks):
                    try:
                        space.dump(block=block, disk=disk)
                    except DiskPaxosError:
                        pass  # that disk is not used
            return space.check()
    except DiskPaxosError:
        return []


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(edits=EDITS)
def test_looking(originals: list[Path], tmp_path: Path, edits: list[Any]) -> None:
    paths = edited(originals, tmp_path, edits)
    before = [path.read_bytes() for path in paths]
    look(paths)
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=EXAMPLES)
@given(edits=EDITS)
def test_mending(originals: list[Path], tmp_path: Path, edits: list[Any]) -> None:
    paths = edited(originals, tmp_path, edits, TIMES)
    try:
        with Lockspace.open(paths, timeout=5) as space:
            report = space.repair()
            assert report.complete or all(report.left)
    except DiskPaxosError:
        pass
    try:
        rebuild_superblocks(paths)
    except DiskPaxosError:
        pass
    look(paths)


def shown(paths: list[Path]) -> list[tuple[Any, ...]]:
    """What an operator is told about leases, whatever disks it is read from."""
    with Lockspace.open(paths, read_only=True, timeout=5) as space:
        return [(lease.name, lease.area, lease.uuid, lease.last_token, lease.damage) for lease in space.leases()]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=EXAMPLES)
@given(edits=EDITS, lost=st.integers(0, 2))
def test_rebuilding(originals: list[Path], tmp_path: Path, edits: list[Any], lost: int) -> None:
    """The third disk made anew from two edited ones: whole, and saying what they said; or not at all."""
    if len(originals) == 1:
        pytest.skip("there is nothing to make it from")
    paths = edited(originals, tmp_path, edits, TIMES)
    others = paths[:lost] + paths[lost + 1 :]
    paths[lost].unlink()
    try:
        before = shown(others)
    except DiskPaxosError:
        before = []
    try:
        assert rebuild_disk(others, paths[lost]) == lost
    except DiskPaxosError:
        assert not paths[lost].exists()  # it was made for this, and nobody takes it for a disk
        return
    assert shown(paths) == before
    flawed = [finding.text for finding in look(paths) if finding.disk == lost or f"disk {lost}:" in finding.text]
    assert not flawed, flawed
