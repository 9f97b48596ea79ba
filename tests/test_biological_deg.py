"""Recovery of differentially expressed genes against scanpy and by hand."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.stats

from reconeval.datasets import load_dataset
from reconeval.errors import Undefined, UsageError
from reconeval.metrics.biological import deg_dice_at_k, deg_logfc_correlation
from reconeval.metrics.biological.contrast import (
    contrast_pair,
    contrast_reference,
    contrast_types,
    type_groups,
)
from reconeval.metrics.biological.deg import dice, top_genes

pytestmark = pytest.mark.filterwarnings(  # of scanpy
    "ignore::FutureWarning", "ignore::RuntimeWarning", "ignore:Transforming to str index"
)


@pytest.fixture(scope="module")
def immune():
    """Cells of three types, and a prediction that goes below zero."""
    dataset = load_dataset("immune")
    cells = np.flatnonzero(np.isin(dataset.cell_types, ["CD8_T", "CD4_T", "B_memory"]))[:250]
    X = dataset.X[cells][:, :500]
    Y = ((X + np.roll(X, 2, axis=0)) / 2 - 0.05).astype(np.float32)
    return X, Y, dataset.cell_types[cells]


def scanpy_table(X, labels, group, reference):
    adata = anndata.AnnData(X.copy(), obs=pd.DataFrame({"type": pd.Categorical(labels)}))
    adata.obs_names = [f"c{i}" for i in range(len(X))]
    sc.tl.rank_genes_groups(adata, "type", groups=[group], reference=reference, method="wilcoxon")
    return sc.get.rank_genes_groups_df(adata, group).set_index("names").loc[adata.var_names]


def test_fold_changes_are_scanpys_where_nothing_is_below_zero(immune):
    X, _, labels = immune
    table = scanpy_table(X, labels, "B_memory", "CD4_T")
    changes = contrast_reference(X[labels == "B_memory"], X[labels == "CD4_T"]).log2_fold_changes()
    assert changes[0] == pytest.approx(table["logfoldchanges"].to_numpy(), rel=1e-4, abs=1e-4)
    table = scanpy_table(X, labels, "B_memory", "rest")
    changes = contrast_types(X, (labels == "B_memory")[None]).log2_fold_changes()
    assert changes[0] == pytest.approx(table["logfoldchanges"].to_numpy(), rel=1e-4, abs=1e-4)


def scanpy_top(table, mean, reference, k):
    """The list of a side: scanpy's test, fold changes of amounts that cannot be negative."""
    amounts = [np.maximum(np.expm1(m), 0) + 1e-9 for m in (mean, reference)]
    changes = np.abs(np.log2(amounts[0] / amounts[1]))
    significant = (table["pvals_adj"] <= 0.05).to_numpy()
    if significant.any():
        changes[~significant] = -1
    return set(np.argsort(-changes, kind="stable")[: min(k, significant.sum() or k)])


@pytest.mark.parametrize("k", [5, 20])
def test_dice_is_the_plain_computation(immune, k):
    X, Y, labels = immune
    a, b = labels == "CD8_T", labels == "CD4_T"
    tops = []
    for side in (X, Y):
        table = scanpy_table(side[a | b], labels[a | b], "CD8_T", "CD4_T")
        means = side[a].mean(axis=0, dtype=float), side[b].mean(axis=0, dtype=float)
        tops.append(scanpy_top(table, *means, k))
    expected = 2 * len(tops[0] & tops[1]) / (len(tops[0]) + len(tops[1]))
    got = deg_dice_at_k(X[a], Y[a], reference=X[b], predicted_reference=Y[b], k=k)
    assert got == pytest.approx(expected)
    assert 0 < got < 1, "the comparison must have something to tell apart"


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_logfc_correlation_is_the_plain_computation(immune, method):
    X, Y, labels = immune
    a, b = labels == "CD8_T", labels == "CD4_T"
    shifts = [
        side[a].mean(axis=0, dtype=float) - side[b].mean(axis=0, dtype=float) for side in (X, Y)
    ]
    function = {"spearman": scipy.stats.spearmanr, "pearson": scipy.stats.pearsonr}[method]
    got = deg_logfc_correlation(X[a], Y[a], reference=X[b], predicted_reference=Y[b], method=method)
    assert got == pytest.approx(function(*shifts).statistic, rel=1e-6)


def test_without_a_reference_each_type_is_set_against_the_others(immune):
    X, Y, labels = immune
    names = [name for name in np.unique(labels) if (labels == name).sum() >= 20]
    assert len(names) >= 2
    by_type = [
        deg_dice_at_k(
            X[labels == name],
            Y[labels == name],
            reference=X[labels != name],
            predicted_reference=Y[labels != name],
            k=30,
        )
        for name in names
    ]
    assert deg_dice_at_k(X, Y, cell_types=labels, k=30) == pytest.approx(np.mean(by_type))


def test_perfect_predictions_score_one(immune):
    X, _, labels = immune
    assert deg_dice_at_k(X, X, cell_types=labels) == 1
    assert deg_logfc_correlation(X, X, cell_types=labels) == pytest.approx(1)


def test_the_measured_reference_stands_in_for_a_predicted_one(immune):
    X, Y, labels = immune
    a, b = labels == "B_memory", labels != "B_memory"
    assert deg_dice_at_k(X[a], Y[a], reference=X[b]) == deg_dice_at_k(
        X[a], Y[a], reference=X[b], predicted_reference=X[b]
    )


def test_negative_means_have_fold_changes():
    X = np.array([[-1.0, 0.5, -1.0]], dtype=np.float32)
    changes = contrast_reference(X, np.array([[0.5, -1.0, -2.0]], dtype=np.float32))
    assert np.isfinite(changes.log2_fold_changes()).all()
    lost, gained, neither = changes.log2_fold_changes()[0]
    assert lost < -20
    assert gained > 20
    assert neither == 0


def test_rounding_is_no_difference():
    cell = np.float32([[0.1, 0.7, 2.3]])
    contrast = contrast_reference(np.repeat(cell, 7, axis=0), np.repeat(cell, 130, axis=0))
    assert not contrast.shifts().any()
    assert not contrast.log2_fold_changes().any()
    assert (contrast.p_adjusted() == 1).all()


def test_top_genes_by_hand():
    changes = np.array([1.0, -3.0, 0.0, 2.0, -2.0])
    p = np.array([0.01, 0.05, 0.01, 0.06, 0.04])
    assert top_genes(changes, p, fdr=0.05).tolist() == [1, 4, 0]
    assert top_genes(changes, np.ones(5), fdr=0.05).tolist() == [1, 3, 4, 0]


def test_dice_by_hand():
    a, b = np.array([3, 1, 4, 7]), np.array([1, 5, 9, 3])
    assert dice([a], [b], k=4) == 0.5
    assert dice([a], [b], k=2) == 0.5
    assert dice([a], [b[:1]], k=3) == 0.5
    assert dice([a, a], [a, b[:0]], k=3) == 0.5
    assert dice([a, a[:0]], [a, b], k=3) == 1, "a group without changes in the truth is left out"
    with pytest.raises(UsageError, match="k=0"):
        dice([a], [b], k=0)


def test_a_prediction_without_differences_scores_zero(immune):
    X, _, labels = immune
    same = np.repeat(X.mean(axis=0, keepdims=True), len(X), axis=0)
    assert deg_dice_at_k(X, same, cell_types=labels) == 0
    assert deg_logfc_correlation(X, same, cell_types=labels) == 0
    with pytest.raises(Undefined, match="no gene differs"):
        deg_dice_at_k(same, X, cell_types=labels)
    with pytest.raises(Undefined, match="do not differ in how they differ"):
        deg_logfc_correlation(same, X, cell_types=labels)


def test_genes_can_be_filtered_by_the_truth(immune):
    X, Y, labels = immune
    keep = (X > 0).sum(axis=0) >= 60
    assert 0 < keep.sum() < len(keep)
    truth, prediction = contrast_pair(X, Y, cell_types=labels, min_cells=60)
    assert np.array_equal(truth.shifts(), contrast_types(X[:, keep], truth.groups).shifts())
    assert prediction.parts[0].shape == (len(X), keep.sum())
    with pytest.raises(Undefined, match="no gene is expressed in 251 of the 250 cells"):
        contrast_pair(X, Y, cell_types=labels, min_cells=251)


def test_small_types_and_lone_types_are_left_out():
    labels = np.array(["a"] * 30 + ["b"] * 5 + ["c"] * 20)
    assert type_groups(labels).sum(axis=1).tolist() == [30, 20]
    with pytest.raises(Undefined, match="none of 2 cell types has 20 cells"):
        type_groups(labels[:35])


def test_bad_use_is_refused(immune):
    X, Y, labels = immune
    for both in ({}, {"reference": X, "cell_types": labels}):
        with pytest.raises(UsageError, match="either a reference or cell types"):
            deg_dice_at_k(X, Y, **both)
    with pytest.raises(UsageError, match="3 cell types for 250 cells"):
        deg_dice_at_k(X, Y, cell_types=labels[:3])
    with pytest.raises(UsageError, match="a reference has 2 genes, expected the 500"):
        deg_dice_at_k(X, Y, reference=X[:, :2])
    with pytest.raises(UsageError, match="249 cells, expected the 250"):
        deg_logfc_correlation(X, Y[:-1], cell_types=labels)
