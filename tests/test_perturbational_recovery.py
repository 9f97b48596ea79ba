"""Recovery of significant genes: tables against scanpy, metrics against plain counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reconeval.errors import Undefined, UsageError
from reconeval.metrics.perturbational import (
    DETable,
    de_direction_match,
    de_lfc_spearman,
    de_overlap_at_k,
    de_pr_auc,
    de_precision_at_k,
    de_table,
    n_significant,
)
from tests.conftest import data_file

ALL = (de_overlap_at_k, de_precision_at_k, de_direction_match, de_lfc_spearman, de_pr_auc)


def table(seed, n_genes=60, *, n_significant=15):
    rng = np.random.default_rng(seed)
    statistic = rng.normal(0, 3, n_genes)
    p_adjusted = np.ones(n_genes)
    p_adjusted[np.argsort(-np.abs(statistic))[:n_significant]] = 0.01
    return DETable(statistic, p_adjusted, statistic + rng.normal(0, 0.5, n_genes))


def test_table_equals_scanpy():
    import anndata
    import scanpy as sc

    adata = anndata.read_h5ad(data_file("pbmc68k_counts.h5ad"))
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    names = adata.obs["bulk_labels"].to_numpy().astype(str)
    adata = adata[np.isin(names, ["Dendritic", "CD14+ Monocyte"])].copy()
    adata.X = adata.X.toarray().astype(np.float32)
    perturbed = (adata.obs["bulk_labels"] == "Dendritic").to_numpy()
    sc.tl.rank_genes_groups(
        adata, "bulk_labels", groups=["Dendritic"], reference="CD14+ Monocyte", method="wilcoxon"
    )
    expected = sc.get.rank_genes_groups_df(adata, "Dendritic").set_index("names")
    expected = expected.loc[adata.var_names]
    ours = de_table(adata.X[perturbed], adata.X[~perturbed])
    assert ours.statistic == pytest.approx(expected["scores"].to_numpy(), abs=1e-4)
    assert ours.p_adjusted == pytest.approx(expected["pvals_adj"].to_numpy(), rel=1e-4)
    changed = expected["logfoldchanges"].abs().to_numpy() > 1e-3
    assert ours.log2_fold_change[changed] == pytest.approx(
        expected["logfoldchanges"].to_numpy()[changed], rel=1e-3
    )
    assert n_significant(ours) == (expected["pvals_adj"] <= 0.05).sum() > 20


def test_negative_predictions_have_fold_changes():
    rng = np.random.default_rng(0)
    ours = de_table(rng.normal(-1, 0.1, (9, 4)), rng.poisson(2, (9, 4)).astype(float))
    assert np.isfinite(ours.log2_fold_change).all()
    assert (ours.log2_fold_change < -10).all()


@given(seed=st.integers(0, 10_000), k=st.integers(1, 30))
def test_metrics_equal_plain_counting(seed, k):
    truth, prediction = table(seed), table(seed + 1, n_significant=40)
    significant = set(np.flatnonzero(truth.p_adjusted <= 0.05))
    places = min(k, len(significant))
    top_true = set(np.argsort(-np.abs(truth.statistic))[:places])
    top_predicted = set(np.argsort(-np.abs(prediction.statistic))[:places])
    assert de_overlap_at_k(truth, prediction, k=k) == pytest.approx(
        len(top_true & top_predicted) / places
    )
    assert de_precision_at_k(truth, prediction, k=k) == pytest.approx(
        len(significant & top_predicted) / places
    )
    genes = sorted(significant)
    true, predicted = truth.log2_fold_change[genes], prediction.log2_fold_change[genes]
    assert de_direction_match(truth, prediction) == pytest.approx(np.mean(true * predicted > 0))
    ranks = [stats.rankdata(values) for values in (true, predicted)]
    assert de_lfc_spearman(truth, prediction) == pytest.approx(np.corrcoef(ranks)[0, 1])
    order = np.argsort(-np.abs(prediction.statistic))
    hits = np.isin(order, genes)
    precision = np.cumsum(hits) / np.arange(1, len(order) + 1)
    assert de_pr_auc(truth, prediction) == pytest.approx(precision[hits].mean())


@given(seed=st.integers(0, 1000))
def test_the_truth_itself_is_best_and_gene_order_does_not_matter(seed):
    truth, prediction = table(seed), table(seed + 1)
    order = np.random.default_rng(seed).permutation(60)
    shuffled = [
        DETable(one.statistic[order], one.p_adjusted[order], one.log2_fold_change[order])
        for one in (truth, prediction)
    ]
    for metric in ALL:
        assert metric(truth, truth) == pytest.approx(1)
        assert metric(*shuffled) == pytest.approx(metric(truth, prediction))
        assert metric(truth, prediction) <= 1


def test_the_list_is_as_long_as_the_truth_says():
    """A prediction that calls everything significant gets no longer list."""
    truth, prediction = table(0, n_significant=15), table(1, n_significant=15)
    everything = DETable(prediction.statistic, np.zeros(60), prediction.log2_fold_change)
    nothing = DETable(prediction.statistic, np.ones(60), prediction.log2_fold_change)
    for metric in ALL:
        assert metric(truth, everything) == metric(truth, nothing) == metric(truth, prediction)
    assert [n_significant(one) for one in (everything, nothing)] == [60, 0]


def test_a_prediction_without_effect_scores_chance():
    truth = table(0, n_significant=15)
    none = DETable(np.zeros(60), np.ones(60), np.zeros(60))
    assert de_overlap_at_k(truth, none) == pytest.approx(15 / 60)
    assert de_precision_at_k(truth, none) == pytest.approx(15 / 60)
    assert de_pr_auc(truth, none) == pytest.approx(15 / 60)
    assert de_direction_match(truth, none) == 0.5
    assert de_lfc_spearman(truth, none) == 0


def test_ties_at_the_end_of_the_list_share_it():
    truth = DETable(np.array([9.0, 8, 1, 1]), np.array([0.01, 0.01, 1, 1]), np.ones(4))
    tied = DETable(np.array([5.0, 2, 2, 0]), np.ones(4), np.ones(4))
    # gene 0 for sure; genes 1 and 2 share the second place
    assert de_overlap_at_k(truth, tied) == 0.75
    assert de_precision_at_k(truth, tied) == 0.75


def test_undefined_and_bad_use():
    silent = table(0, n_significant=0)
    for metric in ALL:
        with pytest.raises(Undefined, match="no gene is significant in the truth"):
            metric(silent, table(1))
        with pytest.raises(UsageError, match="has 50 genes, expected the truth's 60"):
            metric(table(0), table(0, 50))
    with pytest.raises(Undefined, match="all 60 genes are significant"):
        de_pr_auc(table(0, n_significant=60), table(1))
    with pytest.raises(Undefined, match="needs 3 significant genes"):
        de_lfc_spearman(table(0, n_significant=2), table(1))
    with pytest.raises(UsageError, match="k is 0"):
        de_overlap_at_k(table(0), table(1), k=0)
