"""The table of statistical metrics, and how truth and pair share work."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

import reconeval.metrics as package
from reconeval.errors import UsageError
from reconeval.metrics import METRICS, Pair, Truth, get_metric, kernels, score

STATISTICAL = {
    name: m
    for name, m in METRICS.items()
    if m.family == "statistical" and not name.startswith("latent_")
}

# The design's table: higher is better (None: towards `best`), best, paired.
DESIGN = {
    "r2": (True, 1.0, False),
    "mse": (False, 0.0, True),
    "mae": (False, 0.0, True),
    "pearson_cell": (True, 1.0, True),
    "pearson_gene": (True, 1.0, True),
    "energy_distance": (False, 0.0, False),
    "energy_distance_pca": (False, 0.0, False),
    "mmd_rbf": (False, 0.0, False),
    "mmd_rbf_median": (False, 0.0, False),
    "sinkhorn_divergence": (False, 0.0, False),
    "c2st_auc": (None, 0.5, False),
    "variance_log2_ratio": (None, 0.0, False),
    "zero_fraction_error": (False, 0.0, False),
    "poisson_deviance": (False, 0.0, True),
}


def make_pair(prediction=None, n=60, g=25, seed=0, **parts):
    rng = np.random.default_rng(seed)
    rates = rng.gamma(0.7, 3.0, g)
    counts, train = (rng.poisson(rates, (cells, g)) for cells in (n, 90))
    counts, train = counts.astype(np.float32), train.astype(np.float32)
    X, train = (np.log1p(c / c.sum(1, keepdims=True) * 1e4) for c in (counts, train))
    parts = {"train": train, "counts": counts} | parts
    truth = Truth(X, [f"g{i}" for i in range(g)], **parts)
    Y = X * 0.8 + rng.normal(0, 0.3, X.shape).astype(np.float32)
    return Pair(truth, Y if prediction is None else prediction(X), thinned_prediction=Y)


def test_the_table_holds_the_designs_metrics():
    declared = {m.name: (m.higher_is_better, m.best, m.paired) for m in STATISTICAL.values()}
    assert declared == DESIGN
    assert list(METRICS)[: len(DESIGN)] == list(DESIGN)


@pytest.mark.parametrize("name", DESIGN)
def test_an_entry_is_complete_and_its_value_lies_in_its_range(name):
    metric = STATISTICAL[name]
    low, high = metric.range
    assert low <= metric.best <= high
    assert metric.summary
    assert metric.source
    assert "\n" not in metric.summary
    got = score(metric, make_pair())
    assert not got.reason
    assert low <= got.value <= high
    assert metric.badness(got.value) >= metric.badness(metric.best) or metric.range[0] < 0


@pytest.mark.parametrize("name", [name for name in DESIGN if name != "poisson_deviance"])
def test_the_table_gives_what_the_pure_function_gives(name):
    pair = make_pair()
    needs = {"train": pair.truth.train} if "train" in STATISTICAL[name].needs else {}
    expected = getattr(package, name)(pair.truth.X, pair.prediction, **needs)
    assert score(get_metric(name), pair).value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", [name for name in DESIGN if name != "poisson_deviance"])
def test_a_perfect_prediction_is_best(name):
    metric = STATISTICAL[name]
    perfect = score(metric, make_pair(lambda X: X)).value
    noisy = score(metric, make_pair()).value
    assert metric.badness(perfect) < metric.badness(noisy)
    if not name.endswith(("_pca", "_median")):  # unbiased: a copy is nearer than chance
        assert perfect == pytest.approx(metric.best, abs=1e-6)


@pytest.mark.parametrize("name", DESIGN)
def test_what_is_missing_is_named(name):
    pair = make_pair(train=None, counts=None)
    got = score(get_metric(name), pair)
    missing = get_metric(name).needs
    assert math.isnan(got.value) == bool(missing)
    assert all(need in got.reason for need in missing)


@pytest.mark.parametrize("name", DESIGN)
def test_a_prediction_that_is_not_finite_has_no_score(name):
    got = score(get_metric(name), make_pair(lambda X: X * np.float32("nan")))
    assert math.isnan(got.value)
    assert "NaN or infinite" in got.reason


@pytest.mark.parametrize("name", DESIGN)
def test_other_numbers_of_cells_suit_unpaired_metrics_alone(name):
    pair = make_pair(lambda X: X[:40])
    got = score(get_metric(name), pair)
    assert bool(got.reason) == get_metric(name).paired


def test_a_pass_over_the_pairs_is_made_once_and_the_truths_part_is_kept(monkeypatch):
    calls = []

    def spy(A, B=None, **options):
        calls.append((id(A), id(B)))
        return kernels.pair_sums(A, B, **options)

    for module in ("_shared", "two_sample"):
        monkeypatch.setattr(f"reconeval.metrics.{module}.pair_sums", spy)
    pair = make_pair()
    names = ["energy_distance", "mmd_rbf", "energy_distance_pca", "mmd_rbf_median"]
    for name in names * 2:
        score(get_metric(name), pair)
    assert len(calls) == 6  # within truth, within prediction, between; genes and components
    calls.clear()
    other = Pair(pair.truth, pair.prediction + 1)
    for name in names:
        score(get_metric(name), other)
    assert len(calls) == 4


def test_a_shared_bandwidth_that_does_not_exist_leaves_the_distance(monkeypatch):
    train = np.repeat(np.eye(25, dtype=np.float32)[:2], [1, 30], axis=0)
    pair = make_pair(train=train)
    assert "no bandwidth" in score(get_metric("mmd_rbf_median"), pair).reason
    assert not score(get_metric("energy_distance_pca"), pair).reason


def test_an_undefined_metric_says_why():
    pair = make_pair(lambda X: X[:1])
    assert "1 predicted" in score(get_metric("energy_distance_pca"), pair).reason
    assert "1 predicted" in score(get_metric("variance_log2_ratio"), pair).reason
    assert "3 folds need 3 cells" in score(get_metric("c2st_auc"), pair).reason


def test_seeds_decide_and_repeat():
    def values(seed):
        pair = make_pair(seed=1)
        truth = Truth(
            pair.truth.X,
            pair.truth.genes,
            train=pair.truth.train,
            counts=pair.truth.counts,
            seed=seed,
        )
        near = pair.truth.X[::-1] + 0.01  # not told apart at once
        again = Pair(truth, near, thinned_prediction=pair.thinned_prediction)
        return {name: score(STATISTICAL[name], again).value for name in DESIGN}

    first, second = values(1), values(2)
    assert first == values(1)
    changed = {name for name in DESIGN if first[name] != second[name]}
    assert changed == {"c2st_auc", "poisson_deviance"}


def test_unknown_metrics_are_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean energy_distance"):
        get_metric("energy_distnace")


def test_importing_the_metrics_loads_nothing_heavy():
    code = (
        "import json, sys, reconeval.metrics as m; "
        "print(json.dumps([sorted(m.METRICS), sorted(sys.modules)]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    metrics, modules = json.loads(out.stdout)
    assert set(DESIGN) <= set(metrics)
    assert not {"torch", "sklearn", "scipy", "pandas", "anndata", "ot"} & set(modules)


def test_every_public_name_can_be_had():
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
