"""What mapping a query does to a reference, and to the query itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconeval.costs import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row
    from reconeval.runs import Run


def test_query_mapping(run: Run, metric: str, record: Callable[[Row, Metric], str]) -> None:
    """One answer: of the mapping as a whole, or the reconstruction of one batch."""
    entry = find(metric)
    row = run.row(entry)
    failure = record(row, entry)
    if failure:
        pytest.fail(failure, pytrace=False)
    if run.unserved(entry):
        pytest.skip(f"{row.where}: {row.reason}")
