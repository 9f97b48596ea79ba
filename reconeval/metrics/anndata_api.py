"""The statistical metrics on a measured and a predicted AnnData, under their published names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reconeval.errors import UsageError
from reconeval.metrics._warn import warn_undefined
from reconeval.metrics.alignment import aligned_pair
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.registry import METRICS, get_metric, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from reconeval.metrics.registry import Metric

__all__ = [
    "compute_statistical_metrics",
    "metric_energy_distance",
    "metric_mse",
    "metric_r2",
    "warned_score",
]

PUBLISHED = ("r2", "mse", "energy_distance")


def metric_r2(adata_true: AnnData, adata_pred: AnnData) -> float:
    """R² of the genes' means, `reconeval.metrics.r2`, on an AnnData pair.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        Predicted cells, (n_predicted_cells, n_genes), same scale and genes in any order.

    Returns
    -------
    In (-inf, 1], higher is better; NaN with an `UndefinedMetricWarning` where it has no value.

    Raises
    ------
    UsageError
        If genes or cells do not fit, see `reconeval.metrics.aligned_pair`.
    """
    return compute_statistical_metrics(adata_true, adata_pred, metrics=("r2",))["r2"]


def metric_mse(adata_true: AnnData, adata_pred: AnnData) -> float:
    """Mean squared error, `reconeval.metrics.mse`, on an AnnData pair.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        The same cells predicted, same scale, genes in any order; cells are matched by name
        where both sides name the same ones and by position where the names say nothing.

    Returns
    -------
    In [0, inf), lower is better; NaN with an `UndefinedMetricWarning` where it has no value.

    Raises
    ------
    UsageError
        If genes or cells do not fit, see `reconeval.metrics.aligned_pair`.
    """
    return compute_statistical_metrics(adata_true, adata_pred, metrics=("mse",))["mse"]


def metric_energy_distance(adata_true: AnnData, adata_pred: AnnData) -> float:
    """Energy distance, `reconeval.metrics.energy_distance`, on an AnnData pair.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        Predicted cells, (n_predicted_cells, n_genes), same scale and genes in any order.

    Returns
    -------
    In [0, inf), lower is better; NaN with an `UndefinedMetricWarning` where it has no value.

    Raises
    ------
    UsageError
        If genes or cells do not fit, see `reconeval.metrics.aligned_pair`.
    """
    name = "energy_distance"
    return compute_statistical_metrics(adata_true, adata_pred, metrics=(name,))[name]


def compute_statistical_metrics(
    adata_true: AnnData,
    adata_pred: AnnData,
    *,
    metrics: Sequence[str] | Literal["all"] = PUBLISHED,
    adata_train: AnnData | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Compute statistical metrics of an AnnData pair.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        Predicted cells, same scale, genes in any order; cells are matched by name where both
        sides name the same ones and by position where the names say nothing.
    metrics
        Names of statistical metrics, or "all" for each that these arguments suffice for.
    adata_train
        Measured training cells, same genes and scale; for `energy_distance_pca`,
        `mmd_rbf_median` and `c2st_auc`.
    seed
        Seeds folds and subsamples.

    Returns
    -------
    Value by name, in the order of `metrics`. A metric that has no value on these data is NaN,
    and an `UndefinedMetricWarning` says why.

    Raises
    ------
    UsageError
        If a name is unknown, genes or cells do not fit, see `reconeval.metrics.aligned_pair`, or
        a paired metric is asked for and the numbers of cells differ.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> truth = AnnData(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.5]], dtype=np.float32))
    >>> compute_statistical_metrics(truth, truth)
    {'r2': 1.0, 'mse': 0.0, 'energy_distance': 0.0}
    >>> sorted(compute_statistical_metrics(truth, truth, metrics=["mae", "pearson_cell"]))
    ['mae', 'pearson_cell']
    """
    if isinstance(metrics, str) and metrics != "all":
        msg = f'metrics={metrics!r} is a string, expected names in a list or "all"'
        raise UsageError(msg)
    further = () if adata_train is None else (adata_train,)
    aligned = aligned_pair(adata_true, adata_pred, *further)
    truth = Truth(aligned.X, aligned.genes, train=next(iter(aligned.others), None), seed=seed)
    pair = Pair(truth, aligned.prediction)
    chosen = _all_for(pair) if metrics == "all" else [_statistical(name) for name in metrics]
    for metric in chosen:
        _require_same_cells(metric, pair)
    return {metric.name: warned_score(metric, pair) for metric in chosen}


def warned_score(metric: Metric, pair: Pair) -> float:
    """Return a metric's value, NaN with an `UndefinedMetricWarning` where it has none.

    Parameters
    ----------
    metric
        The metric.
    pair
        Truth and prediction.

    Returns
    -------
    The value or NaN; the warning points at the user's code.
    """
    value, reason = score(metric, pair)
    if reason:
        warn_undefined(metric.name, reason)
    return value


def _all_for(pair: Pair) -> list[Metric]:
    paired = len(pair.prediction) == len(pair.truth.X)
    return [
        metric
        for metric in METRICS.values()
        if metric.family == "statistical"
        and metric.needs <= pair.truth.provides
        and (paired or not metric.paired)
    ]


def _statistical(name: str) -> Metric:
    metric = get_metric(name)
    if metric.family != "statistical":
        known = ", ".join(entry.name for entry in METRICS.values() if entry.family == "statistical")
        msg = f"{name} is a {metric.family} metric, expected a statistical one ({known})"
        raise UsageError(msg)
    return metric


def _require_same_cells(metric: Metric, pair: Pair) -> None:
    measured, predicted = len(pair.truth.X), len(pair.prediction)
    if metric.paired and measured != predicted:
        msg = (
            f"{metric.name} compares cell by cell: adata_pred has {predicted} cells, expected "
            f"the {measured} of adata_true; predict the same cells, or leave {metric.name} out"
        )
        raise UsageError(msg)
