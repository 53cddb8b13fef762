"""The suite notices every safety bug of the ledger; run.py does the same by hand, and says after how many histories."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from mutants.run import ROOT, Mutant, Verdict, examine, prepare, read_ledger, simulate

LEDGER = read_ledger()
HISTORIES = 12_000  # enough for each that run.py kills with a simulated history

pytestmark = pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="needs make and a C compiler")


@pytest.mark.parametrize("mutant", LEDGER.values(), ids=LEDGER)
def test_the_ledger_fits_the_sources(mutant: Mutant) -> None:
    text = (ROOT / "native" / mutant.file).read_text()
    assert mutant.apply(text) != text


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Verdict]]]:
    base = tmp_path_factory.mktemp("mutants") / "base"
    prepare(base)
    options = argparse.Namespace(seed=1, histories=HISTORIES, keep=None)
    whole = simulate(Mutant("none", "", "protocol/world.c", "", "", ""), base, options)
    assert whole is None, f"histories fail without any mutant: {whole}"
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(examine, mutant, base, options) for name, mutant in LEDGER.items()}
        pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", LEDGER)
def test_every_mutant_is_killed(name: str, verdicts: dict[str, Future[Verdict]], tmp_path: Path) -> None:
    verdict = verdicts[name].result()
    print(verdict.killer, verdict.histories, verdict.detail)
    assert bool(verdict.killer) != bool(LEDGER[name].survives), verdict
