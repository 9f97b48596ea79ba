"""The published names on AnnData, as a script for the published package calls them."""

import math

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from reconeval.datasets import load_dataset
from reconeval.errors import UndefinedMetricWarning, UsageError
from reconeval.metrics import METRICS, compute_all_metrics
from reconeval.metrics.biological import (
    coexpression,
    cytokine,
    deg_dice_at_k,
    deg_logfc_correlation,
    pathway,
)
from reconeval.metrics.biological.anndata_api import (
    compute_biological_metrics,
    metric_cellcycle,
    metric_coexpression,
    metric_cytokine,
    metric_deg,
    metric_pathway,
)
from reconeval.metrics.perturbational import de_table
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
    assert list(got) == list(metric_cellcycle(*pair))
    assert np.isnan(list(got.values())).all()
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


CYCLE = [name for name in METRICS if name.startswith("cellcycle_")]


def test_the_five_keys_of_the_cell_cycle_are_always_there(pair):
    true, pred = pair
    assert len(CYCLE) == 5
    assert set(CYCLE) <= set(compute_biological_metrics(true, pred))
    few = [adata[:, :40] for adata in pair]
    with pytest.warns(UndefinedMetricWarning) as caught:
        got = compute_biological_metrics(*few)
    assert np.isnan([got[name] for name in CYCLE]).all()
    assert {warning.filename for warning in caught} == {__file__}
    X = np.random.default_rng(0).random((40, 100)).astype(np.float32)
    X[:, :10] += 3  # the markers of S stand out in every cell
    genes = [f"g{i}" for i in range(100)]
    one_phase = AnnData(X, var=pd.DataFrame(index=genes))
    with pytest.warns(UndefinedMetricWarning, match="cellcycle_G1 is undefined: none of 40 cells"):
        got = metric_cellcycle(one_phase, one_phase, genes[:10], genes[10:20])
    assert set(CYCLE) <= set(got)
    assert got["cellcycle_S"] == 1
    assert math.isnan(got["cellcycle_G2M"])


def test_a_prediction_with_nan_is_nan_with_a_warning_under_every_name(pair):
    true, pred = pair[0], pair[1].copy()
    pred.X[3, 4] = np.nan
    for call in (metric_coexpression, metric_pathway, metric_cytokine):
        with pytest.warns(UndefinedMetricWarning, match="the prediction has NaN") as caught:
            assert math.isnan(call(true, pred))
        assert caught[0].filename == __file__
    with pytest.warns(UndefinedMetricWarning, match="the prediction has NaN"):
        assert np.isnan(list(metric_cellcycle(true, pred).values())).all()
    with pytest.warns(UndefinedMetricWarning, match="the prediction has NaN"):
        assert np.isnan(list(metric_deg(true, pred, cell_type_key="cell_type").values())).all()
    with pytest.warns(UndefinedMetricWarning, match="the prediction has NaN"):
        assert np.isnan(list(metric_deg(true, pair[1], true[:50], pred[:50]).values())).all()
    with pytest.raises(UsageError, match="the truth has 1 NaN"):
        metric_cytokine(pred, true)


def test_cells_without_a_type_are_refused(pair):
    """A missing label is no type of its own."""
    true, pred = pair[0].copy(), pair[1]
    true.obs["cell_type"] = true.obs["cell_type"].where(np.arange(true.n_obs) > 29)
    with pytest.raises(UsageError, match=r"obs\['cell_type'\] is missing for 30 cells"):
        metric_deg(true, pred, cell_type_key="cell_type")


def test_k_of_numpy_is_a_number(pair):
    for k in (np.int64(5), [np.int64(5)]):
        got = metric_deg(*pair, cell_type_key="cell_type", k=k)
        assert got == metric_deg(*pair, cell_type_key="cell_type", k=5)


def test_controls_go_before_cell_types(pair):
    """The rule of `compute_all_metrics`, under every name."""
    true, pred = pair
    ctrl = true[:60].copy()
    expected = metric_deg(true, pred, ctrl)
    assert metric_deg(true, pred, ctrl, cell_type_key="cell_type") == expected
    every = compute_all_metrics(
        true, pred, ctrl, cell_type_key="cell_type", metrics=["deg_dice_at_100"]
    )
    assert every["deg_dice_at_100"] == expected["deg_dice_at_100"]
    with pytest.raises(UsageError, match="no column 'kind'"):
        metric_deg(true, pred, ctrl, cell_type_key="kind")


def test_cells_in_an_order_of_their_own_are_matched_once(pair):
    """Numbers as names, shuffled alike on both sides, say which cell is which."""
    order = np.random.default_rng(0).permutation(300)
    true, pred = (
        AnnData(
            adata.X,
            obs=adata.obs.reset_index(drop=True).set_axis(map(str, range(300))),
            var=adata.var,
        )[order].copy()
        for adata in pair
    )
    got = compute_biological_metrics(true, pred, cell_type_key="cell_type")
    expected = compute_biological_metrics(*pair, cell_type_key="cell_type")
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("doubles", [0, 1, 2])
def test_a_side_in_float64_changes_nothing(pair, doubles):
    """Equal expression in another precision differs by rounding: no tie, and no difference 0."""
    X, _, _ = arrays(pair)
    X = X.astype(np.float32)
    sides = [X[:100], X[100:200], X[100:200]]  # the prediction is the controls
    expected = (
        de_table(sides[0], sides[2]),
        deg_logfc_correlation(sides[0], sides[1], reference=sides[2]),
    )
    # What a file has that was never float32: values that round to those of the others.
    jitter = 1 + np.random.default_rng(0).uniform(-2e-8, 2e-8, sides[0].shape)
    sides[doubles] = sides[doubles].astype(np.float64) * jitter
    got = (
        de_table(sides[0], sides[2]),
        deg_logfc_correlation(sides[0], sides[1], reference=sides[2]),
    )
    np.testing.assert_array_equal(got[0].statistic, expected[0].statistic)
    assert got[1] == expected[1] == 0
