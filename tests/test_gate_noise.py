"""How often the gate is wrong: real metrics on simulated cells, in hundreds of pairs of runs.

A run is a model trained with three seeds. A seed moves the model's mean and its components a
little, and draws the noise of its predictions; the cells that it is tested on are the same, as a
frozen dataset's are.
"""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from reconeval.costs import find
from reconeval.gate import Gate, SavedRun, Scored
from reconeval.intervals import Replicates
from reconeval.intervals._resampling import draw
from reconeval.intervals._table import BOOTSTRAP
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.registry import score
from tests.conftest import ROW

METRICS = [
    "r2",
    "mse",
    "mae",
    "pearson_cell",
    "pearson_gene",
    "variance_log2_ratio",
    "zero_fraction_error",
]
N_CELLS, N_GENES, SEEDS = 150, 60, 3
NOISE, N_RESAMPLES = 0.3, 100
N_PAIRS, N_NOISIER = 200, 100


@cache
def truth():
    rng = np.random.default_rng(0)
    types, loadings = rng.gamma(0.5, 2, (4, N_GENES)), rng.normal(0, 0.5, (3, N_GENES))
    rates = types[rng.integers(0, 4, N_CELLS)] * np.exp(rng.normal(size=(N_CELLS, 3)) @ loadings)
    X = np.log1p(rng.poisson(rates)).astype(np.float32)
    return Truth(X, [f"G{i}" for i in range(N_GENES)])


@cache
def resamples():
    return draw(N_CELLS, N_RESAMPLES, over="cells", content="simulated")


def predict(rng, noise):
    X = truth().X
    mean = X.mean(axis=0) + rng.normal(0, 0.01, N_GENES)
    _, _, axes = np.linalg.svd(X - mean, full_matrices=False)
    axes = axes[:8] + rng.normal(0, 0.01, (8, N_GENES))
    smooth = (X - mean) @ axes.T @ axes + mean
    return np.maximum(smooth + rng.normal(0, noise, X.shape), 0).astype(np.float32)


def run(rng, noise=NOISE):
    """Return the rows of a model trained with three seeds, as the benchmarks keep them."""
    pairs = [Pair(truth(), predict(rng, noise)) for _ in range(SEEDS)]
    scores = []
    for name in METRICS:
        values = [score(find(name), pair).value for pair in pairs]
        drawn = resamples().of()
        over_cells = np.mean([BOOTSTRAP[name](pair, drawn) for pair in pairs], axis=0)
        row = replace(
            ROW,
            metric=name,
            value=float(np.mean(values)),
            low=min(values),
            high=max(values),
            seeds=SEEDS,
            negative=controls()[name],
        )
        kept = Replicates(
            over="cells",
            resampling=resamples().key,
            values=over_cells.astype(np.float32),
            seeds=tuple(values),
            units=N_CELLS,
        )
        scores.append(Scored(row, kept))
    return scores


@cache
def controls():
    mean = np.broadcast_to(truth().X.mean(axis=0), truth().X.shape).astype(np.float32)
    return {name: score(find(name), Pair(truth(), mean)).value for name in METRICS}


def failing(old, new):
    saved = SavedRun(
        name="old",
        rows={one.row.key: one.row for one in old},
        replicates={one.row.key: one.replicates for one in old if one.replicates},
    )
    gate = Gate(saved, fail_on_regression=True)
    return [one.row.metric for one in new if gate.outcome(one.row, lambda: new).fails]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with threadpool_limits(1):  # threads cost more than such small products
        yield


@pytest.fixture(scope="module")
def runs():
    rng = np.random.default_rng(1)
    return [run(rng) for _ in range(N_PAIRS + 1)]


def test_the_same_model_with_other_seeds_seldom_fails(runs):
    alarms = [failing(old, new) for old, new in itertools.pairwise(runs)]
    assert sum(map(bool, alarms)) <= 0.05 * N_PAIRS


def test_without_resamples_the_same_model_seldom_fails_either(runs):
    bare = [[Scored(one.row) for one in some] for some in runs]
    alarms = [failing(old, new) for old, new in itertools.pairwise(bare)]
    assert sum(map(bool, alarms)) <= 0.05 * N_PAIRS


def test_without_resamples_a_much_worse_model_is_caught(runs):
    rng = np.random.default_rng(4)
    for old in runs[:5]:
        assert failing([Scored(one.row) for one in old], [Scored(one.row) for one in run(rng, 0.6)])


def test_ten_per_cent_more_noise_is_caught(runs):
    rng = np.random.default_rng(2)
    caught = [failing(old, run(rng, 1.1 * NOISE)) for old in runs[:N_NOISIER]]
    assert sum(map(bool, caught)) >= 0.9 * N_NOISIER


def test_ten_per_cent_less_noise_passes(runs):
    rng = np.random.default_rng(3)
    assert not any(failing(old, run(rng, 0.9 * NOISE)) for old in runs[:20])
