"""Ranks, correlations and rank-sum tests against SciPy and scanpy."""

import anndata
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.stats
from hypothesis import given
from hypothesis.extra.numpy import arrays

from reconeval.datasets import load_dataset
from reconeval.metrics.biological import ranks
from reconeval.metrics.biological.association import column_correlations, varies
from reconeval.metrics.biological.ranks import sorted_ranks
from reconeval.metrics.biological.wilcoxon import benjamini_hochberg, rank_sum_z

FLOATS = {"allow_nan": False, "allow_infinity": False}
# Few values make ties; both zeros and subnormals are among them.
TIED = st.sampled_from([-2.5, -1e-42, -0.0, 0.0, 1e-42, 0.5, 3e38])


def unsorted(labels, ranks):
    out = np.empty_like(ranks)
    np.put_along_axis(out, labels, ranks, axis=1)
    return out


@given(
    arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(1, 4), st.integers(1, 30)),
        elements=TIED | st.floats(width=32, **FLOATS),
    )
)
def test_rows_are_ranked_as_scipy_does(rows):
    labels, ranks = sorted_ranks(rows, np.arange(rows.shape[1]))
    assert np.array_equal(unsorted(labels, ranks), scipy.stats.rankdata(rows, axis=1))
    assert (np.diff(np.take_along_axis(rows, labels, axis=1), axis=1) >= 0).all()


def test_labels_may_repeat():
    rows = np.float32([[3, 1, 2, 1]])
    labels, ranks = sorted_ranks(rows, np.array([7, 7, 0, 2**32 - 1]))
    assert labels.tolist() == [[7, 2**32 - 1, 0, 7]]
    assert ranks.tolist() == [[1.5, 1.5, 3, 4]]


def test_float64_is_not_ranked_in_float32():
    rows = np.array([[1.0, 1.0 + 1e-12, 1.0 - 1e-12]])
    labels, ranks = sorted_ranks(rows, np.arange(3))
    assert unsorted(labels, ranks).tolist() == [[2, 3, 1]]


@pytest.mark.parametrize("entries", [1, 30, 2**16])
@pytest.mark.parametrize("tile", [1, 4, 64])
@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_cover_every_gene_once(entries, tile, threads, monkeypatch):
    monkeypatch.setattr(ranks, "_BLOCK_ENTRIES", entries)
    monkeypatch.setattr(ranks, "_TILE_GENES", tile)
    monkeypatch.setattr(ranks, "_TILE_CELLS", tile)
    monkeypatch.setattr(ranks, "n_threads", lambda: threads)
    rng = np.random.default_rng(0)
    X, R = rng.normal(size=(7, 11)), rng.normal(size=(4, 11)).astype(np.float32)
    columns = np.array([9, 0, 3, 3, 10])
    for chosen in (None, columns):
        expected = np.concatenate((X, R)).T[slice(None) if chosen is None else chosen]
        got = np.full_like(expected, np.nan)

        def fill(place, block, got=got):
            got[place] = block

        ranks.for_gene_blocks(fill, X, R, columns=chosen)
        assert np.array_equal(got, expected)


def test_errors_in_a_block_surface():
    def fail(place, block):
        raise ArithmeticError("in the block")

    with pytest.raises(ArithmeticError, match="in the block"):
        ranks.for_gene_blocks(fail, np.zeros((2, 3)))


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_columns_correlate_as_scipy_says(method):
    rng = np.random.default_rng(0)
    A = rng.integers(0, 4, size=(30, 5)).astype(float)
    B = A + rng.integers(0, 3, size=A.shape)
    function = {"spearman": scipy.stats.spearmanr, "pearson": scipy.stats.pearsonr}[method]
    expected = [function(a, b).statistic for a, b in zip(A.T, B.T, strict=True)]
    assert column_correlations(A, B, method=method) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_constant_columns_follow_the_rule(method):
    moving, still = np.arange(5.0), np.full(5, 3.0)
    A, B = np.stack([moving, still, still], axis=1), np.stack([still, moving, still], axis=1)
    values = column_correlations(A, B, method=method)
    assert values[0] == 0
    assert np.isnan(values[1:]).all()
    assert np.isnan(column_correlations(A[:2], A[:2], method=method)).all()


def test_a_spread_of_rounding_errors_is_no_spread():
    values = np.array([[0.1 + 0.2, 0.3, -1e-30], [0.3, 0.3 + 1e-7, 1e-30]])
    assert varies(values).tolist() == [False, True, True]


def immune_cells():
    dataset = load_dataset("immune")
    cells = np.flatnonzero(np.isin(dataset.cell_types, ["CD8_T", "CD4_T", "B_memory"]))[:300]
    return dataset.X[cells][:, :400], dataset.cell_types[cells]


def scanpy_table(X, labels, group, reference):
    adata = anndata.AnnData(X.copy(), obs=pd.DataFrame({"type": pd.Categorical(labels)}))
    adata.obs_names = [f"c{i}" for i in range(len(X))]
    sc.tl.rank_genes_groups(adata, "type", groups=[group], reference=reference, method="wilcoxon")
    table = sc.get.rank_genes_groups_df(adata, group).set_index("names")
    return table.loc[adata.var_names]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wilcoxon_is_scanpys_against_a_reference(dtype):
    X, labels = immune_cells()
    X = X.astype(dtype)
    a, b = X[labels == "CD8_T"], X[labels == "CD4_T"]
    group = np.arange(len(a) + len(b))[None] < len(a)
    z = rank_sum_z(group, a, b)
    both = np.isin(labels, ["CD8_T", "CD4_T"])
    table = scanpy_table(X[both], labels[both], "CD8_T", "CD4_T")
    assert z[0] == pytest.approx(table["scores"].to_numpy(), rel=1e-6, abs=1e-6)
    assert benjamini_hochberg(z)[0] == pytest.approx(table["pvals_adj"].to_numpy(), rel=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_wilcoxon_is_scanpys_against_the_rest():
    X, labels = immune_cells()
    names = ["CD4_T", "CD8_T"]
    z = rank_sum_z(labels == np.array(names)[:, None], X)
    for row, p, name in zip(z, benjamini_hochberg(z), names, strict=True):
        table = scanpy_table(X, labels, name, "rest")
        assert row == pytest.approx(table["scores"].to_numpy(), rel=1e-6, abs=1e-6)
        assert p == pytest.approx(table["pvals_adj"].to_numpy(), rel=1e-9)


def test_wilcoxon_without_ties_is_scipys():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(40, 6)).astype(np.float32), rng.normal(0.3, size=(25, 6))
    z = rank_sum_z(np.arange(65)[None] < 40, a, b)
    expected = scipy.stats.mannwhitneyu(a, b, use_continuity=False, method="asymptotic").pvalue
    assert 2 * scipy.stats.norm.sf(np.abs(z[0])) == pytest.approx(expected, rel=1e-9)
