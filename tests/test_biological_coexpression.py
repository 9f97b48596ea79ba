"""Co-expression against pandas, and what must not change it."""

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from reconeval.datasets import load_dataset
from reconeval.errors import Undefined, UsageError
from reconeval.metrics.biological import coexpression
from reconeval.metrics.biological.co_expression import set_agreement, set_correlations
from reconeval.resources import read_gmt


@pytest.fixture(scope="module")
def immune():
    dataset = load_dataset("immune")
    return dataset.X[:200], list(dataset.genes)


def shuffled_in_part(X, seed=0):
    """Half of the genes lose their partners."""
    Y = X.copy()
    rng = np.random.default_rng(seed)
    for column in range(0, X.shape[1], 2):
        Y[:, column] = rng.permutation(Y[:, column])
    return Y


def plain(X, Y, genes, gene_sets, method):
    """The definition, set by set in pandas."""
    kept = [gene for gene, n in zip(genes, (X > 0).sum(axis=0), strict=True) if n >= 20]
    true, predicted = (pd.DataFrame(side, columns=genes) for side in (X, Y))
    values = []
    for members in gene_sets.values():
        found = [gene for gene in kept if gene in set(members)]
        if len(found) >= 5:
            gap = (true[found].corr(method) - predicted[found].corr(method)).abs().to_numpy()
            values.append(np.nanmean((1 - gap / 2)[np.triu_indices(len(found), k=1)]))
    return np.nanmean(values), len(values)


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_it_is_the_plain_computation(immune, method):
    X, genes = immune
    Y = shuffled_in_part(X)
    sets = dict(list(read_gmt().items())[:12])
    expected, n_sets = plain(X, Y, genes, sets, method)
    assert n_sets >= 8, "the frozen cells must support the metric"
    got = coexpression(X, Y, genes, sets, method=method)
    assert got == pytest.approx(expected, abs=1e-6)
    assert got < 0.99
    assert coexpression(X, X, genes, sets, method=method) == 1


def test_genes_are_picked_by_name_whatever_the_filter_drops(immune):
    X, genes = immune
    Y = shuffled_in_part(X)
    sets = dict(list(read_gmt().items())[:6])
    expected = coexpression(X, Y, genes, sets)
    rare = np.flatnonzero((X > 0).sum(axis=0) < 20)
    assert rare.size, "the filter must drop genes for this test to tell anything"
    order = np.random.default_rng(0).permutation(len(genes))
    names = [genes[i] for i in order]
    assert coexpression(X[:, order], Y[:, order], names, sets) == pytest.approx(expected)
    kept = np.setdiff1d(np.arange(len(genes)), rare)
    names = [genes[i] for i in kept]
    assert coexpression(X[:, kept], Y[:, kept], names, sets) == pytest.approx(expected)


def test_the_filter_is_the_truths(immune):
    X, genes = immune
    sets = dict(list(read_gmt().items())[:6])
    Y = shuffled_in_part(X)
    # Shifted below zero no predicted cell expresses anything; ranks stay as they are.
    assert coexpression(X, Y - 50, genes, sets) == coexpression(X, Y, genes, sets)


GENES = ["a", "b", "c", "d"]
SETS = {"first": ["a", "b", "c"], "second": ["c", "d", "missing"]}
OPTIONS = {"min_cells": 0, "min_genes": 2}
MATRICES = arrays(np.float32, (8, 4), elements=st.integers(-4, 4).map(float))


@given(MATRICES, MATRICES, st.permutations(range(8)))
def test_invariances_and_bounds(X, Y, order):
    try:
        value = coexpression(X, Y, GENES, SETS, **OPTIONS)
    except Undefined:
        return
    assert 0 <= value <= 1
    assert coexpression(Y, X, GENES, SETS, **OPTIONS) == pytest.approx(value, abs=1e-6)
    # Neither the order of the cells of one side nor its scale makes a difference.
    moved = np.exp(Y[list(order)])
    assert coexpression(X, moved, GENES, SETS, **OPTIONS) == pytest.approx(value, abs=1e-6)
    assert coexpression(X, X, GENES, SETS, **OPTIONS) == pytest.approx(1, abs=1e-6)


def test_pairs_with_a_constant_gene_are_left_out():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4))
    Y = X.copy()
    Y[:, 0] = 7
    assert coexpression(X, Y, GENES, SETS, **OPTIONS) == pytest.approx(1, abs=1e-6)
    true = set_correlations(X, {"pair": np.array([0, 1]), "rest": np.array([1, 2, 3])})
    predicted = set_correlations(Y, {"pair": np.array([0, 1]), "rest": np.array([1, 2, 3])})
    assert list(set_agreement(true, predicted)) == ["rest"]


def test_there_are_reasons():
    X = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(Undefined, match="no two genes of any of 2 gene sets vary"):
        coexpression(X, np.ones_like(X), GENES, SETS, **OPTIONS)
    with pytest.raises(Undefined, match="need 3 cells, there are 2"):
        coexpression(X, X[:2], GENES, SETS, **OPTIONS)
    with pytest.raises(Undefined, match=r"none of 2 gene sets has 4 genes .* the best has 3"):
        coexpression(X, X, GENES, SETS, min_cells=0, min_genes=4)
    with pytest.raises(UsageError, match="unknown correlation 'tau'"):
        coexpression(X, X, GENES, SETS, method="tau")
