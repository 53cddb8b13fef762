"""Every safe model is safe, and each model without one of its rules has a counterexample.

CI checks the rows that are quick; DISKPAXOS_FULL=1 checks all of them, as run.py does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from model.run import ROWS, Result, Row, check, missing_tools, report

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}")

CHECKED = [row for row in ROWS if row.fast or os.environ.get("DISKPAXOS_FULL")]


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Iterator[dict[Row, Future[Result]]]:
    """The rows of all selected tests, two at a time: each is a compiler and then a search, one core each."""
    specs = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    with ThreadPoolExecutor(2) as pool:
        yield {spec.params["row"]: pool.submit(check, spec.params["row"]) for spec in specs if spec}
        pool.shutdown(cancel_futures=True)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("row", CHECKED, ids=lambda row: row.name)
def test_model(row: Row, verdicts: dict[Row, Future[Result]]) -> None:
    result = verdicts[row].result()
    print(report(result))
    assert result.ok, result.outcome
