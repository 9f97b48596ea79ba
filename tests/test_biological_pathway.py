"""Pathway activities against SciPy and decoupler."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from reconeval.datasets import load_dataset
from reconeval.errors import Undefined, UsageError
from reconeval.metrics.biological import pathway
from reconeval.metrics.biological._genes import expressed
from reconeval.metrics.biological.pathways import (
    mean_correlation,
    network_weights,
    ulm_scores,
)
from reconeval.resources import load_progeny


@pytest.fixture(scope="module")
def immune():
    dataset = load_dataset("immune")
    return dataset.X[:150], list(dataset.genes)


def blurred(X):
    """A prediction that mixes cells and goes below zero."""
    return ((X + np.roll(X, 1, axis=0)) / 2 - 0.1).astype(np.float32)


def test_scores_are_the_t_statistics_of_regressions(immune):
    X, genes = immune
    keep = expressed(X)
    weights = network_weights(load_progeny(), genes, keep)
    scores = ulm_scores(X, weights, keep)
    assert scores.shape == (150, 14), "the frozen cells must support every pathway"
    for cell, source in ((0, 0), (7, 3), (149, 13)):
        fit = scipy.stats.linregress(weights[:, source], X[cell, keep].astype(float))
        assert scores[cell, source] == pytest.approx(fit.slope / fit.stderr, rel=1e-9)


def test_the_metric_is_the_plain_computation(immune):
    X, genes = immune
    Y = blurred(X)
    keep = (X > 0).sum(axis=0) >= 20
    names = np.array(genes)[keep]
    values = []
    for _, targets in load_progeny().groupby("source"):
        weights = targets.set_index("target")["weight"].reindex(names).fillna(0)
        a, b = (
            [scipy.stats.pearsonr(cell, weights).statistic for cell in side[:, keep].astype(float)]
            for side in (X, Y)
        )
        values.append(scipy.stats.spearmanr(a, b).statistic)  # t is monotone in r
    assert pathway(X, Y, genes, load_progeny()) == pytest.approx(np.mean(values), rel=1e-9)
    assert pathway(X, X, genes, load_progeny()) == pytest.approx(1)


def test_scores_are_decouplers(immune):
    decoupler = pytest.importorskip("decoupler", reason="needs decoupler to compare with")
    X, genes = immune
    keep = expressed(X)
    adata = anndata.AnnData(
        X[:, keep].astype(np.float64), var=pd.DataFrame(index=np.array(genes)[keep])
    )
    network = load_progeny()
    decoupler.mt.ulm(adata, network[["source", "target", "weight"]], tmin=5)
    expected = adata.obsm["score_ulm"]
    weights = network_weights(network, genes, keep)
    assert list(expected.columns) == sorted(network["source"].unique())
    assert ulm_scores(X, weights, keep) == pytest.approx(expected.to_numpy(), rel=1e-6)


def test_blocks_of_cells_do_not_matter(immune, monkeypatch):
    X, genes = immune
    keep = expressed(X)
    weights = network_weights(load_progeny(), genes, keep)
    whole = ulm_scores(X, weights, keep)
    monkeypatch.setattr("reconeval.metrics.biological.pathways._CELLS_PER_BLOCK", 7)
    assert ulm_scores(X, weights, keep) == pytest.approx(whole, rel=1e-9)


def test_a_prediction_without_differences_between_cells_scores_zero(immune):
    X, genes = immune
    same = np.repeat(X.mean(axis=0, keepdims=True), len(X), axis=0)
    assert pathway(X, same, genes, load_progeny()) == 0


def test_a_cell_without_differences_between_genes_has_no_slope():
    X = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]])
    weights = np.array([[1.0], [2.0], [4.0]])
    scores = ulm_scores(X, weights, np.ones(3, dtype=bool))
    assert scores[0, 0] == 0
    assert scores[1, 0] > 1e6


NETWORK = pd.DataFrame({"source": "P", "target": list("abcde"), "weight": [1, -1, 2, 0.5, 1]})


def test_there_are_reasons():
    X = np.random.default_rng(0).normal(size=(30, 5))
    with pytest.raises(Undefined, match="none of 1 pathways has 6 genes among the 5"):
        pathway(X, X, "abcde", NETWORK, min_cells=0, min_genes=6)
    with pytest.raises(
        Undefined, match=r"none of 1 pathways has 5 genes among the 0 .* best has 0"
    ):
        pathway(X, X, "abcde", NETWORK, min_cells=31)
    with pytest.raises(Undefined, match="no activity of 1 pathways varies over the 30 cells"):
        pathway(np.repeat(X[:1], 30, axis=0), X, "abcde", NETWORK, min_cells=0)
    with pytest.raises(Undefined, match="needs 3 genes, there are 2"):
        ulm_scores(X[:, :2], np.ones((2, 1)), np.ones(2, dtype=bool))
    with pytest.raises(Undefined, match="over the 2 cells"):
        mean_correlation(X[:2], X[:2])


def test_a_network_must_have_its_columns_and_each_pair_once():
    X = np.ones((30, 5))
    with pytest.raises(UsageError, match="no column weight"):
        pathway(X, X, "abcde", NETWORK[["source", "target"]])
    with pytest.raises(UsageError, match="P and a occur twice"):
        pathway(X, X, "abcde", pd.concat([NETWORK, NETWORK]))
    with pytest.raises(UsageError, match="30 of the truth"):
        pathway(X, X[:3], "abcde", NETWORK)


@pytest.mark.parametrize("weight", [np.nan, np.inf, "1.0", None])
def test_a_network_must_have_finite_numbers_for_weights(weight):
    X = np.random.default_rng(0).random((30, 5))
    bad = NETWORK.assign(weight=NETWORK["weight"].astype(object))
    bad.loc[0, "weight"] = weight
    if not isinstance(weight, str):
        bad["weight"] = bad["weight"].astype(float)
        match = f"1 of the network's {len(bad)} weights are NaN or infinite"
    else:
        match = "weights are of dtype object, expected numbers"
    with pytest.raises(UsageError, match=match):
        pathway(X, X, "abcde", bad, min_cells=0)
