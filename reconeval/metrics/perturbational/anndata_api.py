"""The perturbational metrics on AnnData, under their published names."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import as_matrix
from reconeval.metrics.alignment import aligned_matrix
from reconeval.metrics.anndata_api import warned_score
from reconeval.metrics.perturbational.neighbours import knn_purity
from reconeval.metrics.perturbational.pair import PerturbationPair
from reconeval.metrics.perturbational.recovery import n_significant
from reconeval.metrics.perturbational.table import PERTURBATIONAL
from reconeval.metrics.perturbational.truth import PerturbationTruth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anndata import AnnData

    from reconeval._typing import FloatArray, StrArray
    from reconeval.metrics.perturbational.recovery import DETable
    from reconeval.metrics.perturbational.truth import Group
    from reconeval.metrics.registry import Metric

__all__ = ["compute_perturbational_metrics", "embedding_of", "labels_of", "metric_knn_purity"]


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
    In [0, 1], higher is better; chance is the share of perturbed cells in the pool.

    Raises
    ------
    Undefined
        If the pool has no more than `k` cells.
    UsageError
        If genes differ, `use_rep` is missing, or `k` is below 1.

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
    X, Y, controls = (
        aligned_matrix(adata, adata_pert_true.var_names, name)
        if use_rep is None
        else embedding_of(adata, use_rep, name)
        for adata, name in sides
    )
    return knn_purity(X, Y, controls, k=k)


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
    control: str = "control",
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
        Label of control cells in the training set.
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
        If a name is unknown, a key is missing, or genes or labels do not fit.
    """
    chosen = _chosen(metrics)
    if adata_train is not None and perturbation_key is None:
        msg = "adata_train needs perturbation_key, the column of obs that labels its cells"
        raise UsageError(msg)
    keys = (perturbation_key, covariate_key)
    truth = _truth(
        (adata_pert_true, adata_ctrl, adata_train),
        keys,
        use_rep,
        control=control,
        targets=targets,
        seed=seed,
    )
    pair = PerturbationPair(
        truth,
        aligned_matrix(adata_pred, truth.genes, "adata_pred"),
        perturbations=labels_of(adata_pred, perturbation_key, "adata_pred"),
        covariates=labels_of(adata_pred, covariate_key, "adata_pred"),
        embedding=None if use_rep is None else embedding_of(adata_pred, use_rep, "adata_pred"),
    )
    if metrics == "all":
        chosen = [metric for metric in chosen if metric.needs <= truth.provides]
    values = {}
    for metric in chosen:  # no comprehension: the warning is to point at the caller's line
        values[metric.name] = warned_score(metric, pair)
    if any(name.startswith("de_") for name in values):
        values["de_n_significant_true"] = _mean_n_significant(truth.de_table, truth.groups)
        finite = bool(np.isfinite(pair.prediction).all())
        values["de_n_significant_pred"] = (
            _mean_n_significant(pair.de_table, truth.groups) if finite else math.nan
        )
    return values


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


def _truth(
    cells: tuple[AnnData, AnnData, AnnData | None],
    keys: tuple[str | None, str | None],
    use_rep: str | None,
    **options: Any,
) -> PerturbationTruth:
    """Prepare measured, control and, where there are any, training cells."""
    (measured, controls, train), (perturbation_key, covariate_key) = cells, keys
    genes = measured.var_names
    if use_rep is not None:
        options["embedding"] = embedding_of(measured, use_rep, "adata_pert_true")
        options["reference_embedding"] = embedding_of(controls, use_rep, "adata_ctrl")
    if train is not None:
        options["train"] = aligned_matrix(train, genes, "adata_train")
        options["train_perturbations"] = labels_of(train, perturbation_key, "adata_train")
        options["train_covariates"] = labels_of(train, covariate_key, "adata_train")
    return PerturbationTruth(
        aligned_matrix(measured, genes, "adata_pert_true"),
        tuple(genes),
        perturbations=labels_of(measured, perturbation_key, "adata_pert_true"),
        covariates=labels_of(measured, covariate_key, "adata_pert_true"),
        reference=aligned_matrix(controls, genes, "adata_ctrl"),
        reference_covariates=labels_of(controls, covariate_key, "adata_ctrl"),
        **options,
    )


def embedding_of(adata: AnnData, key: str, name: str) -> FloatArray:
    """Return an entry of `obsm`, (n_cells, d); `name` is what an error calls the AnnData."""
    if key not in adata.obsm:
        found = ", ".join(adata.obsm) or "none"
        msg = f"{name}.obsm has no {key!r} (it has {found}); compute it or omit use_rep"
        raise UsageError(msg)
    return as_matrix(adata.obsm[key], f"{name}.obsm[{key!r}]")


def labels_of(adata: AnnData, key: str | None, name: str) -> StrArray:
    """Return a column of `obs` as text, (n_cells,); every cell the same where there is no key."""
    if key is None:
        return np.full(adata.n_obs, "")
    if key not in adata.obs:
        msg = f"{name}.obs has no column {key!r} (it has {', '.join(adata.obs) or 'none'})"
        raise UsageError(msg)
    column = adata.obs[key]
    if column.isna().any():
        msg = f"{name}.obs[{key!r}] is missing for {column.isna().sum()} cells; label or drop them"
        raise UsageError(msg)
    return np.asarray(column.astype(str))


def _mean_n_significant(tables: Callable[[Group], DETable], groups: Sequence[Group]) -> float:
    """Mean number of significant genes over the groups that could be tested."""
    numbers = []
    for group in groups:
        with suppress(Undefined):  # the metrics beside these numbers have told why
            numbers.append(n_significant(tables(group)))
    return float(np.mean(numbers)) if numbers else math.nan
