"""All metrics of a measured and a predicted AnnData at once, under the published name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from reconeval.errors import UsageError
from reconeval.metrics.anndata_api import warned_score
from reconeval.metrics.measured import measured
from reconeval.metrics.pair import Truth
from reconeval.metrics.perturbational.table import significant_genes
from reconeval.metrics.prepared import pair_of, selected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

__all__ = ["compute_all_metrics"]


def compute_all_metrics(
    adata_true: AnnData | Truth,
    adata_pred: AnnData,
    adata_ctrl: AnnData | None = None,
    adata_ctrl_pred: AnnData | None = None,
    *,
    metrics: Sequence[str] | Literal["all"] = "all",
    adata_train: AnnData | None = None,
    cell_type_key: str | None = None,
    perturbation_key: str | None = None,
    covariate_key: str | None = None,
    control: str | None = "control",
    targets: Mapping[str, str] | None = None,
    use_rep: str | None = None,
    s_genes: Sequence[str] | None = None,
    g2m_genes: Sequence[str] | None = None,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    net: pd.DataFrame | None = None,
    cytokine_dict: Mapping[str, Sequence[str]] | None = None,
    device: str | None = None,
    seed: int | None = None,
) -> dict[str, float]:
    """Compute the statistical, biological and, against controls, perturbational metrics.

    Cells and genes are aligned once, and metrics share what they have in common.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000. Or
        what `prepare` made of them, with controls, training cells, keys, gene sets and seed given
        there.
    adata_pred
        Predicted cells, same scale, genes in any order; cells are matched by name where both
        sides name the same ones and by position where the names say nothing.
    adata_ctrl
        Measured control cells: the reference of differential expression and of perturbations.
        Then `adata_true` has perturbed cells alone.
    adata_ctrl_pred
        Predicted control cells, the reference of the prediction's differential expression alone;
        default `adata_ctrl`.
    metrics
        Names of metrics, or "all" for each that these arguments suffice for.
    adata_train
        Measured training cells; for the metrics in principal components and, labelled, for those
        against other perturbations.
    cell_type_key
        Column of `adata_true.obs`: without `adata_ctrl`, which goes before it, each type's markers
        are to be recovered.
    perturbation_key, covariate_key, control, targets
        Labels of the cells, as for `compute_perturbational_metrics`.
    use_rep
        Key of `obsm` of all, for kNN purity; default in genes.
    s_genes, g2m_genes, gene_sets, net, cytokine_dict
        Gene sets in place of the shipped ones, as for `compute_biological_metrics`.
    device
        Where dense work is done, such as "cuda"; default NumPy, see `reconeval.metrics.device`.
    seed
        Seeds halves of controls, folds and subsamples; default 0.

    Returns
    -------
    Value by name, in the order of `metrics`. A metric that has no value on these data is NaN,
    and an `UndefinedMetricWarning` says why. With a metric that starts with `de_` come
    `de_n_significant_true` and `de_n_significant_pred`, the mean numbers of significant genes.

    Raises
    ------
    UsageError
        If a name is unknown, or genes, cells, labels or gene sets do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> truth = AnnData(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.5]], dtype=np.float32))
    >>> compute_all_metrics(truth, truth, metrics=["r2", "mae"])
    {'r2': 1.0, 'mae': 0.0}
    """
    options: dict[str, Any] = {
        "adata_ctrl": adata_ctrl,
        "adata_train": adata_train,
        "cell_type_key": cell_type_key,
        "perturbation_key": perturbation_key,
        "covariate_key": covariate_key,
        "targets": targets,
        "use_rep": use_rep,
        "s_genes": s_genes,
        "g2m_genes": g2m_genes,
        "gene_sets": gene_sets,
        "net": net,
        "cytokine_dict": cytokine_dict,
        "device": device,
        "seed": seed,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if control != "control":  # None says that there are none
        given["control"] = control
    if not isinstance(adata_true, Truth):
        truth = measured(adata_true, **given)
    elif given:
        msg = f"the truth is prepared, so {', '.join(given)} came too late; give it to prepare"
        raise UsageError(msg)
    else:
        truth = adata_true
    pair = pair_of(truth, adata_pred, adata_ctrl_pred)
    values = {metric.name: warned_score(metric, pair) for metric in selected(metrics, pair)}
    return values | significant_genes(pair, values)
