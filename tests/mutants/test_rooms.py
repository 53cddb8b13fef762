"""Every bug of rooms.toml is noticed by the test that the ledger names; rooms.py does the same by hand."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from mutants.rooms import (
    ROOT,
    RoomMutant,
    RoomVerdict,
    examine_room,
    link_tree,
    prepare_rooms,
    read_rooms,
    run_pytest,
    run_unit,
)

LEDGER = read_rooms()
LEAST = 100  # a ledger that was emptied by mistake finds no survivors either
SKIPPED = re.compile(r"\b[1-9]\d* skipped$", re.MULTILINE)

pytestmark = pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="needs make and a C compiler")


def test_the_ledger_is_large() -> None:
    assert len(LEDGER) >= LEAST


@pytest.mark.parametrize("mutant", LEDGER.values(), ids=LEDGER)
def test_the_ledger_fits_the_sources(mutant: RoomMutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert mutant.apply(text) != text
    assert bool(mutant.unit) != bool(mutant.test), "one test that notices it"


def wanted(request: pytest.FixtureRequest) -> set[str]:
    """Whose verdicts were asked for; all: to see that there is none without a bug."""
    items = [item for item in request.session.items if item.path == request.path]
    names = {item.callspec.params.get("name") for item in items if hasattr(item, "callspec")}
    whole = any(item.name == test_without_any_bug_nothing_is_noticed.__name__ for item in items)
    return set(LEDGER) if whole else names & set(LEDGER)


@pytest.fixture(scope="module")
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is built, once; each test works in a copy of links to it."""
    folder = tmp_path_factory.mktemp("rooms") / "base"
    prepare_rooms(folder, [LEDGER[name] for name in wanted(request)])
    return folder


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest, base: Path) -> Iterator[dict[str, Future[RoomVerdict]]]:
    items = [item for item in request.session.items if item.path == request.path]
    names = [item.callspec.params.get("name") for item in items if hasattr(item, "callspec")]
    chosen = [LEDGER[name] for name in names if name]
    with ThreadPoolExecutor((os.cpu_count() or 1) + 2) as pool:  # most of a test is waiting
        yield {mutant.name: pool.submit(examine_room, mutant, base) for mutant in chosen}
        pool.shutdown(cancel_futures=True)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_without_any_bug_nothing_is_noticed(base: Path, tmp_path: Path) -> None:
    """In the same copy, by the same way: what fails here by itself would kill everything."""
    tree = link_tree(base, tmp_path / "tree")
    units = sorted({mutant.unit for mutant in LEDGER.values() if mutant.unit})
    with ThreadPoolExecutor(2) as pool:
        noticed = pool.map(lambda unit: run_unit(tree, unit), units)
        failed, said = run_pytest(tree, *sorted({mutant.test for mutant in LEDGER.values() if mutant.test}))
    assert not failed, said
    assert [killer for killer, _ in noticed if killer] == []


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", LEDGER)
def test_every_bug_is_noticed(name: str, verdicts: dict[str, Future[RoomVerdict]]) -> None:
    verdict = verdicts[name].result()
    print(verdict.killer, verdict.said)
    if not verdict.killer and SKIPPED.search(verdict.said) and not os.environ.get("CI"):
        pytest.skip(f"{verdict.mutant.unit} cannot run here")  # for want of a right, mostly
    assert verdict.killer, f"{name} survives: {verdict.mutant.breaks}"
