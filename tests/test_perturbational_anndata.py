"""The published names on AnnData, and the examples in the docstrings."""

import doctest
import math
import warnings
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from reconeval.errors import UndefinedMetricWarning, UsageError
from reconeval.metrics.perturbational import PERTURBATIONAL, knn_purity
from reconeval.metrics.perturbational.anndata_api import (
    compute_perturbational_metrics,
    metric_knn_purity,
)

GENES = [f"G{j:02d}" for j in range(40)]


@pytest.fixture
def cells():
    """Predicted, measured, control and training cells of two perturbations."""
    rng = np.random.default_rng(0)
    effects = {"a": np.r_[np.full(5, 3.0), np.zeros(35)], "b": np.r_[np.zeros(35), np.full(5, 3.0)]}

    def make(labels, n=30):
        rows = [rng.normal(1 + effects.get(one, np.zeros(40)), 1, (n, 40)) for one in labels]
        adata = AnnData(
            np.concatenate(rows).astype(np.float32),
            obs=pd.DataFrame(
                {"drug": np.repeat(labels, n)}, index=map(str, range(n * len(labels)))
            ),
            var=pd.DataFrame(index=GENES),
        )
        adata.obsm["X_fm"] = adata.X[:, :3] + 10
        return adata

    return make(["a", "b"]), make(["a", "b"]), make(["dmso"]), make(["dmso", "a", "b", "c"])


def test_knn_purity_equals_the_pure_function(cells):
    pred, true, ctrl, _ = cells
    for k in (10, 20, 50):
        for use_rep in (None, "X_fm"):
            value = metric_knn_purity(
                adata_pred=pred, adata_pert_true=true, adata_ctrl=ctrl, k=k, use_rep=use_rep
            )
            X, Y, controls = (one.obsm["X_fm"] if use_rep else one.X for one in (true, pred, ctrl))
            assert value == knn_purity(X, Y, controls, k=k)


def test_genes_are_matched_by_name_and_sparse_is_dense(cells):
    pred, true, ctrl, _ = cells
    expected = metric_knn_purity(pred, true, ctrl)
    shuffled = pred[:, GENES[::-1]].copy()
    shuffled.X = csr_matrix(shuffled.X)
    assert metric_knn_purity(shuffled, true, ctrl) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(UsageError, match="adata_pred"):
        metric_knn_purity(pred[:, :30].copy(), true, ctrl)
    with pytest.raises(UsageError, match=r"adata_pert_true.obsm has no 'X_pca' \(it has X_fm\)"):
        metric_knn_purity(pred, true, ctrl, use_rep="X_pca")


def test_knn_purity_without_a_value_is_nan_with_the_reason(cells):
    pred, true, ctrl, _ = cells
    with pytest.warns(UndefinedMetricWarning, match="more than k = 90 cells") as caught:
        assert math.isnan(metric_knn_purity(pred, true, ctrl, k=90))
    assert caught[0].filename == __file__
    pred.X[0, 0] = pred.obsm["X_fm"][1, 1] = np.nan
    for use_rep in (None, "X_fm"):
        with pytest.warns(UndefinedMetricWarning, match="the prediction has NaN"):
            assert math.isnan(metric_knn_purity(pred, true, ctrl, use_rep=use_rep))
    with pytest.raises(UsageError, match="the controls has 1 NaN"):
        metric_knn_purity(true, true, pred)


def test_published_default(cells):
    pred, true, ctrl, _ = cells
    values = compute_perturbational_metrics(pred, true, ctrl, use_rep="X_fm")
    assert values == {"knn_purity": metric_knn_purity(pred, true, ctrl, use_rep="X_fm")}


def test_all_metrics_of_labelled_perturbations(cells):
    pred, true, ctrl, train = cells
    values = compute_perturbational_metrics(
        pred,
        true,
        ctrl,
        metrics="all",
        perturbation_key="drug",
        adata_train=train,
        control="dmso",
        targets={"a": "G00"},
    )
    names = [metric.name for metric in PERTURBATIONAL]
    assert list(values) == [*names, "de_n_significant_true", "de_n_significant_pred"]
    assert all(math.isfinite(value) for value in values.values())
    assert values["discrimination_l2"] == 1
    assert values["de_precision_at_100"] > 0.9
    assert 4 <= values["de_n_significant_true"] <= 7
    assert 4 <= values["de_n_significant_pred"] <= 7


def test_all_leaves_out_what_needs_training_cells(cells):
    pred, true, ctrl, _ = cells
    values = compute_perturbational_metrics(
        pred, true, ctrl, metrics="all", perturbation_key="drug"
    )
    assert "pearson_delta_pert" not in values
    assert "pearson_delta" in values


def test_covariates_have_their_own_controls(cells):
    """Without them the shift of one cell type would be taken against another."""
    pred, true, ctrl, _ = cells
    offset = 5 * np.arange(40, dtype=np.float32)
    for one in (pred, true, ctrl):
        one.obs["type"] = np.where(np.arange(one.n_obs) % 2, "T", "B")
        one.X[one.obs["type"] == "T"] += offset

    def error(key):
        return compute_perturbational_metrics(
            pred,
            true,
            ctrl,
            metrics=["relative_distance"],
            perturbation_key="drug",
            covariate_key=key,
        )["relative_distance"]

    assert abs(error("type")) < 0.2
    pred.X[:] = ctrl.X[np.resize(np.arange(30), 60)]
    assert error("type") == pytest.approx(1, abs=0.2)


def test_no_value_is_nan_with_the_reason(cells):
    pred, true, ctrl, _ = cells
    with pytest.warns(
        UndefinedMetricWarning, match="discrimination_l1 is undefined: .*only"
    ) as one:
        values = compute_perturbational_metrics(pred, true, ctrl, metrics=["discrimination_l1"])
    assert one[0].filename == __file__
    assert math.isnan(values["discrimination_l1"])
    pred.X[0, 0] = np.nan
    with pytest.warns(UndefinedMetricWarning, match="NaN or infinite"):
        values = compute_perturbational_metrics(
            pred, true, ctrl, metrics=["de_pr_auc"], perturbation_key="drug"
        )
    assert math.isnan(values["de_pr_auc"])
    assert math.isnan(values["de_n_significant_pred"])
    assert values["de_n_significant_true"] > 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values = compute_perturbational_metrics(pred, true, ctrl[:1].copy(), metrics=["de_pr_auc"])
    assert [warning.category for warning in caught] == [UndefinedMetricWarning]
    assert math.isnan(values["de_n_significant_true"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "knn_purity"}, "is a string"),
        ({"metrics": ["knn_puritty"]}, "unknown perturbational metric 'knn_puritty'"),
        ({"perturbation_key": "dose"}, r"obs has no column 'dose' \(it has drug\)"),
    ],
)
def test_bad_use(cells, options, message):
    pred, true, ctrl, train = cells
    with pytest.raises(UsageError, match=message):
        compute_perturbational_metrics(pred, true, ctrl, **options)
    with pytest.raises(UsageError, match="needs perturbation_key"):
        compute_perturbational_metrics(pred, true, ctrl, adata_train=train)
    true.obs["drug"] = true.obs["drug"].where(np.arange(true.n_obs) > 2)
    with pytest.raises(UsageError, match="missing for 3 cells"):
        compute_perturbational_metrics(pred, true, ctrl, perturbation_key="drug")


@pytest.mark.parametrize(
    "name",
    ["anndata_api", "discrimination", "distance", "neighbours", "shifts", "weighted"],
)
def test_docstring_examples(name):
    result = doctest.testmod(import_module(f"reconeval.metrics.perturbational.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
