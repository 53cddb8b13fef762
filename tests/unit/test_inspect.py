"""Bulk decoding: types from the core's table, checks of whole runs of blocks, merging of copies."""

from __future__ import annotations

import time
import uuid
from itertools import permutations
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from fix_spaces import Maker, edit_block

from diskpaxos import Lockspace, _core, inspect
from diskpaxos.inspect import UNREAD, _merge, area_chunks, block_dtype, read_blocks, read_slots
from diskpaxos.layout import Kind, SlotState, geometry_from, number, raw, text
from diskpaxos.views import Holder, Liveness


def geometry(**changes: Any) -> _core.Geometry:
    shape: dict[str, Any] = {
        "uuid": bytes(range(16)),
        "name": "spröde".encode(),
        "block_size": 512,
        "max_hosts": 8,
        "max_leases": 16,
        "disks": 3,
        "disk_generations": [1, 2, 3],
        "outage_tolerance": 40 * 10**9,
        "kill_grace": 10 * 10**9,
        "watchdog_timeout": 9 * 10**9,
        "claim_time": 10**9,
        "created_at": 1_700_000_000_000_000_000,
    }
    return _core.Geometry(**(shape | changes))


def empty_blocks(shape: _core.Geometry, disk: int, first: int, count: int) -> bytearray:
    data = bytearray(count * shape.block_size)
    shape.encode_empty(data, disk, first, 7)
    return data


# ---- types


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("block_size", [512, 4096])
def test_dtypes_are_the_cores_table(kind: Kind, block_size: int) -> None:
    dtype = block_dtype(kind, block_size)
    assert dtype.itemsize == block_size
    fields = {field.name: field for field in _core.fields() if field.kind in (0, kind)}
    assert dtype.fields is not None
    assert len(dtype.fields) == len(fields)
    for name, field in fields.items():
        form, offset = dtype.fields["block_kind" if name == "kind" else name][:2]
        assert offset == field.offset
        if name != "entries":
            assert form.itemsize == field.size * field.elements
    if kind is Kind.NOTICE:
        assert dtype["entries"].shape == ((block_size - 80) // 8,)


def test_superblock_and_header_decode_to_what_was_encoded() -> None:
    shape = geometry()
    block = shape.encode_superblock(1, 5, 99)
    record = np.frombuffer(block, block_dtype(Kind.SUPERBLOCK, 512))[0]
    assert record["magic"].tobytes() == _core.MAGIC
    assert (record["disk"], record["generation"], record["sequence"], record["written_at"]) == (1, 2, 5, 99)
    assert record["disk_generation"].tolist() == [1, 2, 3, 0, 0]
    assert record["name"][: record["name_length"]].decode() == "spröde"
    assert uuid.UUID(bytes=record["lockspace"].tobytes()) == uuid.UUID(bytes=bytes(range(16)))
    flaw, found, disk, sequence = _core.superblock_decode(block)
    assert (flaw, disk, sequence) == ("", 1, 5)
    assert found is not None
    assert (found.name, found.disk_generations, found.dead_time) == (shape.name, (1, 2, 3), shape.dead_time)

    block = shape.encode_header(
        2, 5, directory_token=77, sequence=3, written_at=4, state=1, lease=b"L" * 16, first_ballot=9, created_at=8,
        name="vm-ä".encode(),
    )  # fmt: skip
    record = np.frombuffer(block, block_dtype(Kind.HEADER, 512))[0]
    assert (record["area"], record["state"], record["generation"], record["first_ballot"]) == (5, 1, 77, 9)
    assert record["name"][: record["name_length"]].decode() == "vm-ä"
    assert shape.check(block, 2, shape.header_block(5)) == b"\0"


def test_single_fields_without_numpy() -> None:
    shape = geometry(disks=1, disk_generations=[4])
    block = bytes(empty_blocks(shape, 0, shape.slot_block(3), 1))
    assert number(block, Kind.SLOT, "slot") == 3
    assert text(block, Kind.SLOT, "space_name") == "spröde"
    assert raw(block, Kind.SLOT, "lockspace") == bytes(range(16))
    found = geometry_from(block, Kind.SLOT)
    assert found is not None
    for name in ("uuid", "name", "block_size", "max_hosts", "max_leases", "disks", "outage_tolerance", "claim_time"):
        assert getattr(found, name) == getattr(shape, name)
    assert geometry_from(block, Kind.HEADER) is None
    assert geometry_from(bytes(512), Kind.SLOT) is None


def test_geometries_that_cannot_be() -> None:
    for changes in (
        {"disks": 2, "disk_generations": [1, 1]},
        {"disk_generations": [1]},
        {"block_size": 1024},
        {"max_hosts": 1},
        {"watchdog_timeout": 11 * 10**9},
        {"uuid": b"short"},
        {"name": b"x" * 64},
        {"name": b"a\nb"},
    ):
        with pytest.raises(ValueError):
            geometry(**changes)
    shape = geometry()
    for call in (
        lambda: shape.slot_block(8),
        lambda: shape.own_block(16, 0),
        lambda: shape.own_block(0, 8),
        lambda: shape.header_block(16),
        lambda: shape.notice_block(0, 1),
        lambda: shape.encode_superblock(3, 0, 0),
        lambda: shape.check(bytes(512), 3, 0),
    ):
        with pytest.raises(IndexError):
            call()
    with pytest.raises(ValueError):
        shape.check(bytes(100), 0, 0)


# ---- many blocks


@pytest.mark.parametrize("block_size", [512, 4096])
@pytest.mark.parametrize("hosts", [2, 7, 64, 200])
def test_an_empty_lockspace_is_sound_in_every_block(block_size: int, hosts: int) -> None:
    shape = geometry(block_size=block_size, max_hosts=hosts, max_leases=5)
    for disk in range(3):
        data = empty_blocks(shape, disk, 0, shape.total_blocks)
        flaws = shape.check(data, disk, 0)
        assert flaws[0] != 0, "the superblock is not among them"
        assert not any(flaws[1:])
        wrong = shape.check(data, (disk + 1) % 3, 0)
        kinds = [shape.place(index)[0] for index in range(shape.total_blocks)]
        assert all((flaw != 0) == (kind != 0) for flaw, kind in zip(wrong, kinds, strict=True))


def test_blocks_taken_from_the_middle_are_checked_by_their_own_place() -> None:
    shape = geometry()
    data = empty_blocks(shape, 0, shape.areas_at, 3 * shape.area_blocks)
    assert not any(shape.check(data, 0, shape.areas_at))
    assert any(shape.check(data, 0, shape.areas_at + 1))


def test_sealing_moves_blocks_to_another_disk() -> None:
    shape = geometry()
    data = empty_blocks(shape, 0, shape.slots_at, 40)
    shape.seal(data, 2)
    assert not any(shape.check(data, 2, shape.slots_at))
    assert any(shape.check(data, 0, shape.slots_at))


def test_places_and_block_numbers_are_each_others_inverse() -> None:
    shape = geometry(max_hosts=130, max_leases=3)
    seen = {}
    for slot in range(130):
        seen[shape.slot_block(slot)] = (Kind.SLOT, slot, 0, 0)
        for part in range(shape.notice_blocks):
            seen[shape.notice_block(slot, part)] = (Kind.NOTICE, slot, part, 0)
        for area in range(3):
            seen[shape.own_block(area, slot)] = (Kind.OWN, slot, 0, area)
    for area in range(3):
        seen[shape.header_block(area)] = (Kind.HEADER, 0, 0, area)
    seen[0] = (Kind.SUPERBLOCK, 0, 0, 0)
    for group in range(shape.group_blocks):
        seen[shape.groups_at + group] = (Kind.GROUP, 0, 0, 0)
    for index in range(shape.total_blocks):
        if index in seen:
            assert shape.place(index) == seen[index]
        else:
            assert shape.place(index)[0] == 0, "padding"


# ---- merging


def slot_copies(shape: _core.Geometry, *rows: tuple[int, SlotState, int]) -> list[Any]:
    """Copies of slot 0's record, one per disk: (generation, state, sequence)."""
    copies: list[Any] = []
    for disk, (generation, state, sequence) in enumerate(rows):
        data = empty_blocks(shape, disk, shape.slots_at, 1)
        record = np.frombuffer(data, block_dtype(Kind.SLOT, 512))
        record["generation"], record["state"], record["sequence"] = generation, state, sequence
        copies.append(np.frombuffer(data, np.uint8).reshape(1, 512))
    return copies


FREE, CLAIMING, ACTIVE = SlotState.FREE, SlotState.CLAIMING, SlotState.ACTIVE


@pytest.mark.parametrize(
    ("rows", "winner"),
    [
        ([(1, ACTIVE, 5), (1, ACTIVE, 7), (1, ACTIVE, 6)], 1),
        ([(2, ACTIVE, 1), (1, ACTIVE, 99), (1, ACTIVE, 98)], 0),
        ([(2, CLAIMING, 50), (2, ACTIVE, 3), (2, CLAIMING, 51)], 1),
        ([(2, FREE, 3), (2, CLAIMING, 50), (1, ACTIVE, 60)], 0),
        ([(1, ACTIVE, 60), (2, CLAIMING, 1), (1, ACTIVE, 61)], 1),
        ([(3, FREE, 8), (3, ACTIVE, 9), (3, ACTIVE, 7)], 1),
    ],
)
def test_the_newest_record_of_a_slot(rows: list[tuple[int, SlotState, int]], winner: int) -> None:
    shape = geometry()
    copies = slot_copies(shape, *rows)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        merged = _merge([copies[i] for i in order], np.ones((3, 1), bool), shape, shape.slots_at)
        assert merged.tobytes() == copies[winner].tobytes()


def test_what_a_minority_shows_free_is_not_free(make_space: Maker) -> None:
    space = make_space(3)
    slot = space.geometry.slot_block(2)
    for disk, (state, sequence) in enumerate([(FREE, 9), (ACTIVE, 4), (ACTIVE, 5)]):
        edit_block(space, slot, disk, generation=3, state=state, sequence=sequence)
    assert read_slots(space).as_kind(Kind.SLOT)[2]["state"] == ACTIVE
    edit_block(space, slot, 1, state=FREE, sequence=9)
    assert read_slots(space).as_kind(Kind.SLOT)[2]["state"] == FREE


def test_what_is_free_in_three_versions_is_not_free(make_space: Maker) -> None:
    space = make_space(3)
    slot = space.geometry.slot_block(2)
    for disk in range(3):
        edit_block(space, slot, disk, generation=3 + disk, state=FREE, sequence=9)
    record = read_slots(space).as_kind(Kind.SLOT)[2]
    assert (record["state"], record["generation"]) == (ACTIVE, 5)
    edit_block(space, slot, 0, generation=5)
    assert read_slots(space).as_kind(Kind.SLOT)[2]["state"] == FREE


def test_damaged_copies_never_win() -> None:
    shape = geometry()
    copies = slot_copies(shape, (1, ACTIVE, 5), (9, ACTIVE, 7), (1, ACTIVE, 6))
    sound = np.array([[True], [False], [True]])
    assert _merge(copies, sound, shape, shape.slots_at).tobytes() == copies[2].tobytes()
    assert _merge([None, copies[1], copies[0]], sound[[0, 1, 0]], shape, shape.slots_at).tobytes() == (
        copies[0].tobytes()
    )


def test_merging_does_not_touch_the_copies() -> None:
    shape = geometry()
    copies = slot_copies(shape, (1, ACTIVE, 5), (2, ACTIVE, 7), (3, ACTIVE, 6))
    before = [copy.tobytes() for copy in copies]
    _merge(copies, np.ones((3, 1), bool), shape, shape.slots_at)
    assert [copy.tobytes() for copy in copies] == before


def test_absent_disks_are_unread(make_space: Maker) -> None:
    space = make_space(3)
    Path(space.paths[2]).unlink()
    with Lockspace.open(space.paths[:2]) as again:
        blocks = read_blocks(again, again.geometry.slots_at, 8)
        assert blocks.flaws[2].tolist() == [UNREAD] * 8
        assert blocks.copies[2] is None
        assert blocks.sound.all()


def test_chunks_cover_every_area_once(make_space: Maker) -> None:
    space = make_space(max_leases=37)
    covered = [
        area + i for area, blocks in area_chunks(space) for i in range(len(blocks.data) // space.geometry.area_blocks)
    ]
    assert covered == list(range(37))


# ---- speed


@pytest.mark.slow
@pytest.mark.timing
def test_ten_thousand_leases_of_sixty_four_hosts_in_seconds(tmp_path: Path, direct_io: None) -> None:
    before = time.monotonic()
    with Lockspace.create(tmp_path / "large", max_hosts=64, max_leases=10_000) as space:
        created = time.monotonic()
        shape = space.geometry
        with Path(space.paths[0]).open("r+b") as file:
            for area in range(1, 10_000):
                file.seek(shape.header_block(area) * 512)
                file.write(
                    shape.encode_header(
                        0,
                        area,
                        directory_token=area,
                        sequence=1,
                        written_at=1,
                        state=1,
                        lease=area.to_bytes(16),
                        first_ballot=0,
                        created_at=1,
                        name=f"vm{area}".encode(),
                    )
                )
        start = time.monotonic()
        leases = space.leases()
        took = time.monotonic() - start
        assert len(leases) == 9_999
        assert len({lease.name for lease in leases}) == 9_999
        print(f"{took:.2f} s for 369 MB")
        assert took < 10, f"{took:.1f} s for 369 MB"
        assert created - before < 30


# ---- who of several holds a lease


def a_flag(token: int, mode: str = "exclusive", liveness: Liveness = Liveness.UNKNOWN, taken: bool = False) -> Any:
    holder = Holder(token, 1, f"host-{token}", "", cast(Any, mode), token, 0.0, liveness)
    return inspect._Flag(holder, taken)


@pytest.mark.parametrize(
    ("flags", "certain", "holders"),
    [
        ([a_flag(7)], 0, [7]),
        ([a_flag(7), a_flag(9)], 0, [7]),  # an attempt that meets the holder
        ([a_flag(7), a_flag(9)], 9, [9]),  # a taking that is certain
        ([a_flag(7, liveness=Liveness.DEAD), a_flag(9)], 0, [9]),
        ([a_flag(7, liveness=Liveness.DEAD), a_flag(9, liveness=Liveness.DEAD)], 9, [9]),
        ([a_flag(7), a_flag(9, taken=True)], 0, [9]),
        ([a_flag(7, taken=True), a_flag(9)], 0, [7]),
        ([a_flag(7, "shared"), a_flag(9, "shared")], 0, [7, 9]),
        ([a_flag(7, "shared"), a_flag(8, "shared"), a_flag(9)], 0, [7, 8]),
        ([a_flag(7, "shared"), a_flag(8, "shared"), a_flag(9)], 9, [9]),
        ([a_flag(7, liveness=Liveness.DEAD), a_flag(8, "shared"), a_flag(9, "shared")], 7, [8, 9]),
        ([], 9, []),
    ],
)
def test_one_lease_has_one_exclusive_holder(flags: list[Any], certain: int, holders: list[int]) -> None:
    for order in permutations(flags):
        assert sorted(holder.token for holder in inspect._who_holds(list(order), certain)) == holders
