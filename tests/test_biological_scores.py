"""Gene-set scores, cell cycle and cytokine signatures against scanpy."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.stats

from reconeval.datasets import load_dataset
from reconeval.errors import Undefined, UsageError
from reconeval.metrics.biological import cellcycle, cytokine
from reconeval.metrics.biological._genes import expressed
from reconeval.metrics.biological.cell_cycle import phase_recall, proportion_mean_diff
from reconeval.metrics.biological.cytokines import score_correlation, signature_scores
from reconeval.metrics.biological.scores import gene_set_scores
from reconeval.resources import load_cell_cycle_genes, load_cytokine_programmes

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def immune():
    dataset = load_dataset("immune")
    return dataset.X[:250], list(dataset.genes)


def blurred(X):
    """A prediction that mixes cells, misses the genes' means and goes below zero."""
    offset = np.random.default_rng(0).normal(0, 0.1, X.shape[1])
    return ((X + np.roll(X, 1, axis=0)) / 2 + offset).astype(np.float32)


def scanpy_scores(X, genes, gene_list, **options):
    adata = anndata.AnnData(X.copy(), var=pd.DataFrame(index=genes))
    sc.tl.score_genes(adata, gene_list, **options)
    return adata.obs["score"].to_numpy()


@pytest.mark.parametrize("side", ["truth", "prediction"])
@pytest.mark.parametrize(
    "options",
    [{}, {"ctrl_size": 7, "n_bins": 10, "random_state": 3}],
    ids=["defaults", "others"],
)
def test_scores_are_scanpys(immune, side, options):
    X, genes = immune
    X = X if side == "truth" else blurred(X)
    rng = np.random.default_rng(0)
    sets = [rng.choice(len(genes), size, replace=False) for size in (1, 5, 40, 300)]
    ours = {("seed" if name == "random_state" else name): v for name, v in options.items()}
    scores = gene_set_scores(X, sets, **ours)
    for column, members in zip(scores.T, sets, strict=True):
        expected = scanpy_scores(X, genes, [genes[i] for i in members], **options)
        assert column == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_the_mean_score_is_the_score_of_the_mean_cell(immune):
    X, _ = immune
    sets = [np.arange(10), np.arange(50, 90)]
    expected = gene_set_scores(X, sets).mean(axis=0)
    assert signature_scores(X, sets) == pytest.approx(expected, rel=1e-12)


def test_a_score_does_not_depend_on_the_other_sets(immune):
    X, _ = immune
    a, b = np.arange(10), np.arange(50, 90)
    assert np.array_equal(gene_set_scores(X, [a, b])[:, 1], gene_set_scores(X, [b])[:, 0])


def test_scores_need_genes_to_draw_controls_from():
    with pytest.raises(Undefined, match="11 genes cannot fill the 25 bins"):
        gene_set_scores(np.ones((4, 11)), [np.arange(5)])
    with pytest.raises(Undefined, match="no control genes for a gene set of 48"):
        gene_set_scores(np.ones((4, 48)), [np.arange(48)])


def scanpy_phases(X, genes, s, g2m):
    adata = anndata.AnnData(X.copy(), var=pd.DataFrame(index=genes))
    sc.tl.score_genes_cell_cycle(adata, s_genes=s, g2m_genes=g2m)
    return adata.obs["phase"].to_numpy().astype(str)


def test_phases_are_scanpys_on_both_sides(immune):
    X, genes = immune
    Y = blurred(X)
    kept = {gene for gene, keep in zip(genes, (X > 0).sum(axis=0) >= 20, strict=True) if keep}
    s, g2m = ([gene for gene in names if gene in kept] for names in load_cell_cycle_genes())
    assert min(len(s), len(g2m)) >= 5, "the frozen cells must support the metric"
    true, predicted = scanpy_phases(X, genes, s, g2m), scanpy_phases(Y, genes, s, g2m)
    got = cellcycle(X, Y, genes, *load_cell_cycle_genes())
    assert got["proportion_same_phase"] == np.mean(true == predicted)
    gaps = []
    for phase in ("S", "G2M", "G1"):
        a, b = np.mean(true == phase), np.mean(predicted == phase)
        assert (got[f"true_{phase}"], got[f"predicted_{phase}"]) == (a, b)
        assert got[phase] == np.mean(predicted[true == phase] == phase)
        gaps.append(abs(a - b))
    assert got["proportion_mean_diff"] == pytest.approx(np.mean(gaps))
    assert got["proportion_same_phase"] < 1, "the comparison must have something to tell apart"


def test_cells_that_keep_their_phase_score_best(immune):
    X, genes = immune
    got = cellcycle(X, X, genes, *load_cell_cycle_genes())
    assert got["proportion_same_phase"] == got["S"] == got["G2M"] == got["G1"] == 1
    assert got["proportion_mean_diff"] == 0


def test_markers_are_filtered_by_the_truth_alone(immune):
    X, genes = immune
    s, g2m = load_cell_cycle_genes()
    columns = [genes.index(gene) for gene in s if gene in genes]
    rare = X.copy()
    rare[:, columns] = 0
    assert cellcycle(X, rare, genes, s, g2m)["true_S"] > 0
    with pytest.raises(Undefined, match=r"0 markers of phase S .* 5 are needed"):
        cellcycle(rare, X, genes, s, g2m)


def test_phases_without_cells_have_no_recall():
    true = np.array(["G1", "G1", "S"])
    predicted = np.array(["G1", "S", "S"])
    assert phase_recall(true, predicted, "G1") == 0.5
    with pytest.raises(Undefined, match="none of 3 cells of the truth is in phase G2M"):
        phase_recall(true, predicted, "G2M")
    assert proportion_mean_diff(true, predicted) == pytest.approx((1 / 3 + 0 + 1 / 3) / 3)


def test_cytokine_is_the_plain_computation(immune):
    X, genes = immune
    Y = blurred(X)
    present, known = {}, set(genes)
    for name, members in list(load_cytokine_programmes().items())[::4]:
        found = [gene for gene in members if gene in known]
        if len(found) >= 5:
            present[name] = found
    true, predicted = (
        [scanpy_scores(side, genes, members).mean() for members in present.values()]
        for side in (X, Y)
    )
    expected = scipy.stats.spearmanr(true, predicted).statistic
    assert 0 < expected < 1
    assert cytokine(X, Y, genes, present) == pytest.approx(expected, rel=1e-12)
    linear = scipy.stats.pearsonr(true, predicted).statistic
    assert cytokine(X, Y, genes, present, method="pearson") == pytest.approx(linear, rel=1e-9)


def test_cytokine_does_not_ask_for_the_same_cells(immune):
    X, genes = immune
    order = np.random.default_rng(0).permutation(len(X))
    assert cytokine(X, X[order], genes, load_cytokine_programmes()) == pytest.approx(1)


def test_cytokine_has_reasons(immune):
    X, genes = immune
    with pytest.raises(Undefined, match="none of 1 gene sets has 5 genes among the 2296"):
        cytokine(X, X, genes, {"A": genes[:4]})
    with pytest.raises(Undefined, match=r"needs 3 signatures .* there are 2"):
        cytokine(X, X, genes, {"A": genes[:5], "B": genes[5:10]})
    with pytest.raises(UsageError, match="unknown correlation 'kendall'"):
        cytokine(X, X, genes, {"A": genes[:5]}, method="kendall")
    assert score_correlation(np.arange(3.0), np.ones(3)) == 0


@pytest.mark.parametrize(
    ("genes", "problem"),
    [(["a", "b"], "2 gene names for 3 genes"), (["a", "b", "a"], "gene 'a' occurs twice")],
)
def test_gene_names_must_fit(genes, problem):
    with pytest.raises(UsageError, match=problem):
        cytokine(np.ones((4, 3)), np.ones((4, 3)), genes, {})


def test_expressed_counts_cells_above_zero():
    X = np.array([[0, -1, 2, 1], [0, 3, 2, 0]], dtype=np.float32)
    assert expressed(X, min_cells=1).tolist() == [False, True, True, True]
    assert expressed(X, min_cells=2).tolist() == [False, False, True, False]
    assert expressed(X, min_cells=0).all()
