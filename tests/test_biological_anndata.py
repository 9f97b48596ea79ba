"""The published names on AnnData, as a script for the published package calls them."""

import math

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from reconeval.datasets import load_dataset
from reconeval.errors import UndefinedMetricWarning, UsageError
from reconeval.metrics.biological import coexpression, cytokine, deg_dice_at_k, pathway
from reconeval.metrics.biological.anndata_api import (
    compute_biological_metrics,
    metric_cellcycle,
    metric_coexpression,
    metric_cytokine,
    metric_deg,
    metric_pathway,
)
from reconeval.resources import (
    load_cell_cycle_genes,
    load_cytokine_programmes,
    load_progeny,
    read_gmt,
)


@pytest.fixture(scope="module")
def pair():
    adata = load_dataset("immune").adata[:300].copy()
    mixed = (adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X).astype(np.float32)
    predicted = (mixed + np.roll(mixed, 1, axis=0)) / 2 - 0.02
    return adata, AnnData(predicted.astype(np.float32), obs=adata.obs, var=adata.var)


def arrays(pair):
    true, pred = pair
    dense = true.X.toarray() if hasattr(true.X, "toarray") else true.X
    return np.asarray(dense), pred.X, list(true.var_names)


def test_defaults_are_the_pure_functions_with_the_shipped_sets(pair):
    X, Y, genes = arrays(pair)
    assert metric_coexpression(*pair) == coexpression(X, Y, genes, read_gmt())
    assert metric_pathway(*pair) == pathway(X, Y, genes, load_progeny())
    assert metric_cytokine(*pair) == cytokine(X, Y, genes, load_cytokine_programmes())
    labels = np.asarray(pair[0].obs["cell_type"].astype(str))
    got = metric_deg(*pair, cell_type_key="cell_type", k=(50, 100))
    assert list(got) == [
        "deg_dice_at_50",
        "deg_dice_at_100",
        "deg_logfc_spearman",
        "deg_logfc_pearson",
    ]
    assert got["deg_dice_at_50"] == deg_dice_at_k(X, Y, cell_types=labels, k=50)


def test_a_script_for_the_published_package_runs(pair):
    true, pred = pair
    controls = true.obs["cell_type"] == "CD4_T"
    s_genes, g2m_genes = load_cell_cycle_genes()
    cells, pred_cells = true[~controls], pred[(~controls).to_numpy()]
    cycle = metric_cellcycle(cells, pred_cells, s_genes=s_genes, g2m_genes=g2m_genes)
    recovery = metric_deg(cells, pred_cells, true[controls], pred[controls.to_numpy()], k=100)
    scores = compute_biological_metrics(
        cells, pred_cells, true[controls], pred[controls.to_numpy()]
    )
    assert scores == {
        **{
            name: value
            for name, value in cycle.items()
            if "true" not in name and "pred" not in name
        },
        "coexpression": metric_coexpression(cells, pred_cells, read_gmt()),
        "pathway": metric_pathway(cells, pred_cells, load_progeny()),
        **recovery,
        "cytokine": metric_cytokine(cells, pred_cells, load_cytokine_programmes()),
    }
    assert {
        "cellcycle_proportion_same_phase",
        "coexpression",
        "pathway",
        "deg_dice_at_100",
        "deg_logfc_spearman",
        "cytokine",
    } <= set(scores)
    assert all(math.isfinite(value) for value in scores.values())


def test_sparse_and_reordered_genes_make_no_difference(pair):
    true, pred = pair
    expected = compute_biological_metrics(true, pred, cell_type_key="cell_type")
    turned = AnnData(csr_matrix(pred.X[:, ::-1]), obs=pred.obs, var=pred.var.iloc[::-1])
    got = compute_biological_metrics(true, turned, cell_type_key="cell_type")
    assert got == pytest.approx(expected, rel=1e-9)


def test_without_reference_there_is_no_deg(pair):
    assert not [name for name in compute_biological_metrics(*pair) if name.startswith("deg")]


def test_what_has_no_value_is_nan_with_a_warning(pair):
    true, pred = (adata[:, :40] for adata in pair)
    with pytest.warns(UndefinedMetricWarning, match="cellcycle is undefined: . markers of phase"):
        got = metric_cellcycle(true, pred)
    assert list(got) == ["cellcycle_proportion_same_phase"]
    assert math.isnan(got["cellcycle_proportion_same_phase"])
    with pytest.warns(UndefinedMetricWarning, match="coexpression is undefined") as caught:
        assert math.isnan(metric_coexpression(true, pred, overlap=30))
    assert caught[0].filename == __file__
    with pytest.warns(UndefinedMetricWarning, match="pathway is undefined"):
        assert math.isnan(metric_pathway(true, pred, overlap=40))
    with pytest.warns(UndefinedMetricWarning, match="cytokine is undefined"):
        assert math.isnan(metric_cytokine(true, pred, min_genes=40))
    with pytest.warns(UndefinedMetricWarning, match="deg is undefined: no gene is expressed"):
        got = metric_deg(true, pred, cell_type_key="cell_type", min_cells=301)
    assert np.isnan(list(got.values())).all()


def test_bad_use_is_refused(pair):
    true, pred = pair
    with pytest.raises(UsageError, match="give s_genes and g2m_genes, or neither"):
        metric_cellcycle(true, pred, ["MCM5"])
    with pytest.raises(UsageError, match=r"no column 'celltype' .*cell_type"):
        metric_deg(true, pred, cell_type_key="celltype")
    with pytest.raises(UsageError, match="adata_ctrl_pred without adata_ctrl"):
        compute_biological_metrics(true, pred, adata_ctrl_pred=pred)
    with pytest.raises(UsageError, match="either a reference or cell types"):
        metric_deg(true, pred)
    with pytest.raises(UsageError, match="lacks 1 of the 2296 genes"):
        metric_cytokine(true, pred[:, 1:])
    bad = pd.DataFrame({"source": ["P"], "target": ["MCM5"]})
    with pytest.raises(UsageError, match="no column weight"):
        metric_pathway(true, pred, bad)
