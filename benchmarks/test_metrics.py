"""Is the reconstruction good enough, by every metric?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconeval.costs import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row
    from reconeval.runs import Run


def test_metric(run: Run, metric: str, record: Callable[[Row, Metric], str]) -> None:
    """A score against its threshold and, where there is one, the baseline."""
    entry = find(metric)
    row = run.row(entry)
    failure = record(row, entry)
    if failure:
        pytest.fail(failure, pytrace=False)
    if run.unserved(entry):
        pytest.skip(f"{row.where}: {row.reason}")
