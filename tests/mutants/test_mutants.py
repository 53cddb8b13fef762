"""The suite notices every safety bug of the ledger; run.py does the same by hand, and says after how many histories.

The ledger names a history, or a test of the machines, that notices each.  When the code has changed so that this one
does not any more, others are searched, which takes longer: `run.py --record` notes what it finds.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from mutants.run import ROOT, Mutant, Verdict, examine, prepare, read_ledger, sound

LEDGER = read_ledger()
HISTORIES = 4_000  # searched where the ledger is out of date
LEAST = 30  # mutants: a ledger that was emptied by mistake finds no survivors either

pytestmark = pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="needs make and a C compiler")


def test_the_ledger_is_large() -> None:
    assert len(LEDGER) >= LEAST


@pytest.mark.parametrize("mutant", LEDGER.values(), ids=LEDGER)
def test_the_ledger_fits_the_sources(mutant: Mutant) -> None:
    text = mutant.source(ROOT).read_text()
    assert mutant.apply(text) != text


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Verdict]]]:
    base = tmp_path_factory.mktemp("mutants") / "base"
    prepare(base)
    unmutated = sound(base)
    assert unmutated is None, f"something is noticed without any mutant: {unmutated}"
    options = argparse.Namespace(seed=1, histories=HISTORIES, keep=None, record=False)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        yield {name: pool.submit(examine, mutant, base, options) for name, mutant in LEDGER.items()}
        pool.shutdown(cancel_futures=True)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", LEDGER)
def test_every_mutant_is_killed(name: str, verdicts: dict[str, Future[Verdict]]) -> None:
    verdict = verdicts[name].result()
    print(verdict.killer, verdict.histories, verdict.detail)
    assert verdict.killer, verdict
