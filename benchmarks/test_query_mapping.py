"""What mapping a query does to a reference, and to the query itself."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from reconeval.costs import COSTS, find
from reconeval.errors import ModelError
from reconeval.timing import Replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from reconeval.metrics.registry import Metric
    from reconeval.query_mapping.runs import MappingRun
    from reconeval.rows import Row
    from reconeval.runs import Run


CLOCK = Replay()


def test_query_mapping(run: Run, metric: str, record: Callable[[Row, Metric], str]) -> None:
    """One answer: of the mapping as a whole, or the reconstruction of one batch."""
    entry = find(metric)
    row = run.row(entry)
    failure = record(row, entry)
    if failure:
        pytest.fail(failure, pytrace=False)
    if run.unserved(entry):
        pytest.skip(f"{row.where}: {row.reason}")


@pytest.mark.benchmark(group="map", timer=CLOCK)
def test_mapping_time(
    run: MappingRun, benchmark: BenchmarkFixture, record: Callable[[Row, Metric], str]
) -> None:
    """The seconds of joint query training for each seed, replayed; memory beside them."""
    try:
        usages = run.usages()
    except ModelError as error:
        pytest.fail(str(error), pytrace=False)
    seconds = [usage.seconds for usage in usages]
    rounds = itertools.cycle(seconds)  # profiling asks for one more than there are rounds
    benchmark.pedantic(CLOCK.advance, setup=lambda: ((next(rounds),), {}), rounds=len(seconds))
    failures = []
    costs = {
        "train_seconds": seconds,
        "peak_rss_mb": [usage.peak_rss_mb for usage in usages],
        "train_rss_mb": [usage.added_rss_mb for usage in usages],
    }
    for name, values in costs.items():
        row = run.cost_row(COSTS[name], values)
        benchmark.extra_info[name] = row.value
        failures.append(record(row, COSTS[name]))
    if any(failures):
        pytest.fail("; ".join(filter(None, failures)), pytrace=False)
