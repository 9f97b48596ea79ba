"""Metrics of values, means, variances, zeros and correlations."""

import doctest
from importlib import import_module

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from reconeval.errors import Undefined, UsageError
from reconeval.metrics import (
    mae,
    mse,
    pearson_cell,
    pearson_gene,
    r2,
    variance_log2_ratio,
    zero_fraction_error,
)

PAIRED = [mse, mae, pearson_cell, pearson_gene]
UNPAIRED = [r2, variance_log2_ratio, zero_fraction_error]
BEST = {r2: 1, mse: 0, mae: 0, pearson_cell: 1, pearson_gene: 1, variance_log2_ratio: 0}

# Values that are exactly representable keep equalities of sums free of rounding.
values = st.integers(0, 40).map(lambda number: number / 8)


@st.composite
def pairs(draw):
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=8))
    return draw(arrays(np.float64, shape, elements=values)), draw(
        arrays(np.float64, shape, elements=values)
    )


def value(metric, X, Y):
    """A metric's value, or its reason where there is none."""
    try:
        return metric(X, Y)
    except Undefined as reason:
        return str(reason)


def same(got, expected):
    return (
        got == expected if isinstance(expected, str) else got == pytest.approx(expected, abs=1e-9)
    )


def random_pair(n=60, g=30, seed=0):
    rng = np.random.default_rng(seed)
    X = np.log1p(rng.poisson(0.7, (n, g)) * 3.0)
    return X, X * 0.7 + rng.normal(0.1, 0.2, X.shape)


@pytest.mark.parametrize(
    "module",
    [
        "classifier",
        "components",
        "correlation",
        "distances",
        "kernels",
        "statistical",
        "thinning",
        "transport",
    ],
)
def test_docstring_examples_come_out_as_written(module):
    outcome = doctest.testmod(import_module(f"reconeval.metrics.{module}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_r2_is_scikit_learns_on_gene_means_and_on_sums():
    X, Y = random_pair()
    assert r2(X, Y) == pytest.approx(r2_score(X.mean(0), Y.mean(0)), rel=1e-12)
    assert r2(X, Y) == pytest.approx(r2_score(X.sum(0), Y.sum(0)), rel=1e-12)
    assert r2(X, Y[:10]) == pytest.approx(r2_score(X.mean(0), Y[:10].mean(0)), rel=1e-12)


def test_errors_are_scikit_learns_over_all_entries():
    X, Y = random_pair()
    assert mse(X, Y) == pytest.approx(mean_squared_error(X.ravel(), Y.ravel()), rel=1e-12)
    assert mae(X, Y) == pytest.approx(mean_absolute_error(X.ravel(), Y.ravel()), rel=1e-12)


def test_correlations_are_scipys_row_by_row():
    X, Y = random_pair(n=300)  # more cells than one block holds
    cells = [stats.pearsonr(x, y).statistic for x, y in zip(X, Y, strict=True)]
    genes = [stats.pearsonr(x, y).statistic for x, y in zip(X.T, Y.T, strict=True)]
    assert pearson_cell(X, Y) == pytest.approx(np.mean(cells), rel=1e-12)
    assert pearson_gene(X, Y) == pytest.approx(np.mean(genes), rel=1e-12)


def test_pearson_leaves_out_genes_constant_in_the_truth_and_counts_collapsed_ones_as_zero():
    X, Y = random_pair()
    X[:, 0] = 0.1  # 60 times 0.1 has a mean that is not 0.1: no variance, but rounding
    Y[:, 1] = 0.3
    rest = [stats.pearsonr(X[:, i], Y[:, i]).statistic for i in range(2, 30)]
    assert pearson_gene(X, Y) == pytest.approx(sum(rest) / 29, rel=1e-12)


def test_variance_ratio_is_over_the_more_variable_half():
    X, Y = random_pair(g=31)
    variances = X.var(0, ddof=1)
    upper = np.argsort(variances)[15:]
    expected = np.median(np.log2(Y[:, upper].var(0, ddof=1) / variances[upper]))
    # the floor adds a millionth of the variance
    assert variance_log2_ratio(X, Y) == pytest.approx(expected, abs=1e-5)


def test_variance_ratio_of_a_collapse_is_finite_and_worse_than_any_shrinkage():
    X, _ = random_pair()
    collapsed = np.repeat(X.mean(0)[None], len(X), axis=0)
    assert variance_log2_ratio(X, collapsed) == pytest.approx(np.log2(1e-6), abs=1e-5)
    assert variance_log2_ratio(X, collapsed) < variance_log2_ratio(X, X * 1e-2) < -13


def test_variance_ratio_ignores_constant_genes_even_where_they_are_most_genes():
    X, Y = random_pair(g=10)
    padding = np.ones((len(X), 50))
    padded = variance_log2_ratio(np.hstack([X, padding]), np.hstack([Y, padding]))
    expected = np.median(np.log2(Y.var(0) / X.var(0)))
    assert padded == pytest.approx(expected, abs=1e-5)


@given(pairs())
def test_identity_gives_the_best_value(pair):
    X, _ = pair
    for metric, best in {**BEST, zero_fraction_error: 0}.items():
        got = value(metric, X, X)
        assert isinstance(got, str) or got == pytest.approx(best, abs=1e-9)


@given(pairs())
def test_values_stay_within_their_range(pair):
    X, Y = pair
    bounds = {r2: (-np.inf, 1), mse: (0, np.inf), mae: (0, np.inf), pearson_cell: (-1, 1)}
    bounds |= {pearson_gene: (-1, 1), variance_log2_ratio: (-19.94, np.inf)}
    for metric, (low, high) in {**bounds, zero_fraction_error: (0, 1)}.items():
        got = value(metric, X, Y)
        assert isinstance(got, str) or low - 1e-9 <= got <= high + 1e-9


@given(pairs(), st.randoms(use_true_random=False))
def test_orders_of_cells_and_genes_do_not_matter(pair, random):
    X, Y = pair
    cells, genes = list(range(len(X))), list(range(X.shape[1]))
    random.shuffle(cells)
    random.shuffle(genes)
    for metric in [*PAIRED, *UNPAIRED]:
        assert same(value(metric, X[cells][:, genes], Y[cells][:, genes]), value(metric, X, Y))
    for metric in UNPAIRED:
        assert same(value(metric, X, Y[cells]), value(metric, X, Y))


@given(pairs(), st.sampled_from([0.25, 2.0, 8.0]))
def test_scale_multiplies_errors_and_leaves_ratios(pair, factor):
    X, Y = pair
    assert mse(X * factor, Y * factor) == pytest.approx(mse(X, Y) * factor**2)
    assert mae(X * factor, Y * factor) == pytest.approx(mae(X, Y) * factor)
    for metric in (r2, pearson_cell, pearson_gene, variance_log2_ratio, zero_fraction_error):
        assert same(value(metric, X * factor, Y * factor), value(metric, X, Y))


@given(pairs())
def test_swapping_sides_keeps_or_turns_the_value(pair):
    X, Y = pair
    for metric in (mse, mae, zero_fraction_error):
        assert metric(X, Y) == metric(Y, X)
    assume((np.ptp(X, axis=0) > 0).all() and (np.ptp(Y, axis=0) > 0).all())
    assert pearson_gene(X, Y) == pytest.approx(pearson_gene(Y, X), abs=1e-12)


@given(pairs())
def test_float32_and_integers_give_what_float64_gives(pair):
    X, Y = pair
    for metric in [*PAIRED, *UNPAIRED]:
        expected = value(metric, X, Y)
        assert same(value(metric, X.astype(np.float32), Y.astype(np.float32)), expected)
        assert same(value(metric, X.astype(np.float32), Y), expected)
    whole_X, whole_Y = np.rint(X * 8).astype(np.int16), np.rint(Y * 8).astype(np.int16)
    for metric in [*PAIRED, *UNPAIRED]:
        assert same(value(metric, whole_X, whole_Y), value(metric, X * 8, Y * 8))


def test_float32_sums_do_not_lose_digits():
    X = np.full((200_000, 2), 0.1, dtype=np.float32)
    X[:, 1] = 0.3
    Y = X + np.float32(0.25)
    assert mse(X, Y) == pytest.approx(0.0625, rel=1e-6)
    exact = r2_score(X.astype(float).mean(0), Y.astype(float).mean(0))
    assert r2(X, Y) == pytest.approx(exact, rel=1e-9)


def test_a_metric_without_value_says_why():
    X = np.arange(6.0).reshape(2, 3)
    constant = np.ones((2, 3))
    for metric, truth, prediction, reason in [
        (r2, constant, X, "same mean"),
        (r2, X[:, :1], X[:, :1], "same mean"),
        (pearson_cell, constant, X, "no cell of the truth varies"),
        (pearson_gene, constant, X, "no gene of the truth varies"),
        (pearson_gene, X[:1], X[:1], "no gene of the truth varies"),
        (variance_log2_ratio, constant, X, "constant in the truth"),
        (variance_log2_ratio, X[:1], X, "1 measured, 2 predicted"),
        (variance_log2_ratio, X, X[:1], "2 measured, 1 predicted"),
    ]:
        with pytest.raises(Undefined, match=reason):
            metric(truth, prediction)


@pytest.mark.parametrize("metric", [*PAIRED, *UNPAIRED])
def test_bad_arrays_are_refused_in_one_line(metric):
    from scipy.sparse import csr_matrix

    X = np.arange(6.0).reshape(2, 3)
    holed = X.copy()
    holed[1, 2] = np.nan
    infinite = X.copy()
    infinite[0, 0] = -np.inf
    for truth, prediction, text in [
        (X, X[:, :2], "2 genes, expected the 3"),
        (X[0], X, r"the truth has shape \(3,\)"),
        (X[:0], X[:0], r"shape \(0, 3\)"),
        (X, holed, "the prediction has 1 NaN or infinite values, the first at cell 1, gene 2"),
        (infinite, X, "the truth has 1 NaN or infinite values, the first at cell 0, gene 0"),
        (X, csr_matrix(X), "the prediction is sparse"),
        (X, X.astype(str), "the prediction has dtype"),
        (X, X * 1j, "the prediction has dtype complex128"),
    ]:
        with pytest.raises(UsageError, match=text) as error:
            metric(truth, prediction)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("metric", PAIRED)
def test_paired_metrics_refuse_other_numbers_of_cells(metric):
    X = np.arange(6.0).reshape(2, 3)
    with pytest.raises(UsageError, match="1 cells, expected the 2"):
        metric(X, X[:1])


def test_inputs_stay_untouched():
    X, Y = random_pair()
    X.setflags(write=False)
    Y.setflags(write=False)
    for metric in [*PAIRED, *UNPAIRED]:
        metric(X, Y)
