"""Every safe model is safe, and each model without one of its rules has a counterexample.

CI checks the rows that are quick; DISKPAXOS_FULL=1 checks all of them, as run.py does.
"""

from __future__ import annotations

import os

import pytest
from model.run import ROWS, Row, check, missing_tools, report

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}")

CHECKED = [row for row in ROWS if row.fast or os.environ.get("DISKPAXOS_FULL")]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("row", CHECKED, ids=lambda row: row.name)
def test_model(row: Row) -> None:
    result = check(row)
    print(report(result))
    assert result.ok, result.outcome
