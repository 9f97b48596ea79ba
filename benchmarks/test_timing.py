"""What does the model cost? Training once per seed, prediction in several rounds."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

import pytest

from reconeval.costs import COSTS
from reconeval.errors import ModelError
from reconeval.timing import Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_benchmark.fixture import BenchmarkFixture

    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row
    from reconeval.runs import Run

CLOCK = Replay()


@pytest.fixture
def trained(run: Run) -> Run:
    """The run, if the model could be trained."""
    if run.error:
        pytest.fail(run.error, pytrace=False)
    return run


@pytest.mark.benchmark(group="train", timer=CLOCK)
def test_train_time(
    trained: Run, benchmark: BenchmarkFixture, record: Callable[[Row, Metric], str]
) -> None:
    """The seconds of each seed's training, replayed; memory and size beside them."""
    seconds = [fit.training.seconds for fit in trained.fits]
    replay(benchmark, seconds)
    costs: dict[str, list[float]] = {
        "train_seconds": seconds,
        "peak_rss_mb": [fit.training.peak_rss_mb for fit in trained.fits],
        "train_rss_mb": [fit.training.added_rss_mb for fit in trained.fits],
    }
    gpu = [fit.training.peak_gpu_mb for fit in trained.fits]
    costs["peak_gpu_mb"] = [peak for peak in gpu if peak]
    failures = []
    try:
        sizes = [trained.n_parameters(fit) for fit in trained.fits]
        costs["n_parameters"] = [float(size) for size in sizes if size is not None]
    except ModelError as error:
        failures.append(str(error))
    for name, values in costs.items():
        if values:
            row = trained.cost_row(COSTS[name], values)
            benchmark.extra_info[name] = row.value
            failures.append(record(row, COSTS[name]))
    if any(failures):
        pytest.fail("; ".join(filter(None, failures)), pytrace=False)


@pytest.mark.benchmark(group="predict", timer=CLOCK)
def test_predict_time(
    trained: Run, benchmark: BenchmarkFixture, record: Callable[[Row, Metric], str]
) -> None:
    """The seconds of predicting all test cells, measured after a warm-up, then replayed."""
    try:
        seconds = trained.rounds()
    except ModelError as error:
        pytest.fail(str(error), pytrace=False)
    replay(benchmark, seconds)
    name = "predict_cells_per_second"
    # Rounds vary manifold, and are no seeds: their spread must not widen what the gate allows.
    row = trained.cost_row(COSTS[name], [trained.case.n_test / statistics.median(seconds)])
    benchmark.extra_info[name] = row.value
    failure = record(row, COSTS[name])
    if failure:
        pytest.fail(failure, pytrace=False)


def replay(benchmark: BenchmarkFixture, seconds: Sequence[float]) -> None:
    """Let pytest-benchmark see recorded seconds, a round each."""
    rounds = itertools.cycle(seconds)  # profiling asks for one more than there are rounds
    benchmark.pedantic(CLOCK.advance, setup=lambda: ((next(rounds),), {}), rounds=len(seconds))
