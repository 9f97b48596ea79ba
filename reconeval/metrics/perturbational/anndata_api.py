"""The perturbational metrics on AnnData, under their published names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import require_anndata
from reconeval.metrics._warn import warn_undefined
from reconeval.metrics.alignment import aligned_matrix, embedding_of
from reconeval.metrics.anndata_api import warned_score
from reconeval.metrics.measured import measured
from reconeval.metrics.perturbational.neighbours import knn_purity
from reconeval.metrics.perturbational.table import PERTURBATIONAL, significant_genes
from reconeval.metrics.prepared import pair_of
from reconeval.metrics.registry import require_finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

    from reconeval.metrics.registry import Metric

__all__ = ["compute_perturbational_metrics", "metric_knn_purity"]


def metric_knn_purity(
    adata_pred: AnnData,
    adata_pert_true: AnnData,
    adata_ctrl: AnnData,
    k: int = 20,
    use_rep: str | None = None,
) -> float:
    """Share of measured perturbed cells among the neighbours of the predicted ones.

    `reconeval.metrics.perturbational.knn_purity` on AnnData.

    Parameters
    ----------
    adata_pred
        Predicted cells, (n_predicted_cells, n_genes).
    adata_pert_true
        Measured cells of one perturbation, (n_cells, n_genes).
    adata_ctrl
        Measured control cells, (n_control_cells, n_genes).
    k
        Number of neighbours.
    use_rep
        Key of `obsm` of all three where cells are compared; by default in `X`, genes in any
        order.

    Returns
    -------
    In [0, 1], higher is better; chance is the share of perturbed cells in the pool. NaN with an
    `UndefinedMetricWarning` where it has no value: the pool has no more than `k` cells, or the
    prediction is not finite.

    Raises
    ------
    UsageError
        If something is no AnnData, genes differ, `use_rep` is missing, or `k` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> ctrl, pert = AnnData(np.zeros((9, 2))), AnnData(np.ones((9, 2)))
    >>> metric_knn_purity(adata_pred=pert, adata_pert_true=pert, adata_ctrl=ctrl, k=5)
    1.0
    """
    sides = (
        (adata_pert_true, "adata_pert_true"),
        (adata_pred, "adata_pred"),
        (adata_ctrl, "adata_ctrl"),
    )
    for adata, name in sides:
        require_anndata(adata, name)
    X, Y, controls = (
        aligned_matrix(adata, adata_pert_true.var_names, name)
        if use_rep is None
        else embedding_of(adata, use_rep, name, predicted=adata is adata_pred)
        for adata, name in sides
    )
    try:
        require_finite(Y)
        return knn_purity(X, Y, controls, k=k)
    except Undefined as reason:
        warn_undefined("knn_purity", reason)
        return math.nan


def compute_perturbational_metrics(
    adata_pred: AnnData,
    adata_pert_true: AnnData,
    adata_ctrl: AnnData,
    *,
    use_rep: str | None = None,
    metrics: Sequence[str] | Literal["all"] = ("knn_purity",),
    perturbation_key: str | None = None,
    covariate_key: str | None = None,
    adata_train: AnnData | None = None,
    control: str | None = "control",
    targets: Mapping[str, str] | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Compute perturbational metrics, averaged over perturbations and covariates.

    Parameters
    ----------
    adata_pred
        Predicted cells, (n_predicted_cells, n_genes), log1p of counts per 10 000; genes in any
        order, the cells need not be paired with the measured ones.
    adata_pert_true
        Measured cells of one or more perturbations, (n_cells, n_genes).
    adata_ctrl
        Measured control cells, (n_control_cells, n_genes). One half serves the truth, the other
        the prediction.
    use_rep
        Key of `obsm` of all three, for kNN purity; by default in genes.
    metrics
        Names of perturbational metrics, or "all" for each that these arguments suffice for.
    perturbation_key
        Column of `obs` with the perturbation, in predicted, measured and training cells; by
        default all cells are of one.
    covariate_key
        Column of `obs` of all, such as the cell type, within which effects are taken.
    adata_train
        Measured training cells with `perturbation_key`, for `pearson_delta_pert` and
        `weighted_r2_delta_pert`.
    control
        Label of control cells in the training set, None where there are none in it.
    targets
        For a perturbation, the gene it targets.
    seed
        Seeds the halves of the controls.

    Returns
    -------
    Value by name. With a metric that starts with `de_` come `de_n_significant_true` and
    `de_n_significant_pred`, the mean numbers of significant genes. A metric that has no value
    is NaN, and an `UndefinedMetricWarning` says why.

    Raises
    ------
    UsageError
        If a name is unknown, a key is missing, genes, labels or embeddings do not fit, or no
        training cell has the label of the controls.
    """
    chosen = _chosen(metrics)
    if adata_train is not None and perturbation_key is None:
        msg = "adata_train needs perturbation_key, the column of obs that labels its cells"
        raise UsageError(msg)
    truth = measured(
        adata_pert_true,
        adata_ctrl,
        adata_train=adata_train,
        perturbation_key=perturbation_key,
        covariate_key=covariate_key,
        control=control,
        targets=targets,
        use_rep=use_rep,
        seed=seed,
        name="adata_pert_true",
    )
    pair = pair_of(truth, adata_pred, matched=False)
    if metrics == "all":
        chosen = [metric for metric in chosen if metric.needs <= truth.provides]
    values = {metric.name: warned_score(metric, pair) for metric in chosen}
    return values | significant_genes(pair, values)


def _chosen(metrics: Sequence[str] | Literal["all"]) -> list[Metric]:
    """Return the entries of the table."""
    known = {metric.name: metric for metric in PERTURBATIONAL}
    if metrics == "all":
        return list(known.values())
    if isinstance(metrics, str):
        msg = f'metrics={metrics!r} is a string, expected names in a list or "all"'
        raise UsageError(msg)
    unknown = [name for name in metrics if name not in known]
    if unknown:
        msg = f"unknown perturbational metric {unknown[0]!r} (known: {', '.join(known)})"
        raise UsageError(msg)
    return [known[name] for name in metrics]
