"""All metrics of a measured and a predicted AnnData at once, under the published name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from reconeval.errors import Undefined, UsageError
from reconeval.metrics.anndata_api import warned_score
from reconeval.metrics.biological import cellcycle, coexpression, cytokine, pathway
from reconeval.metrics.pair import Truth
from reconeval.metrics.prepared import measured, pair_of, selected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from reconeval._typing import FloatArray
    from reconeval.metrics.pair import Pair
    from reconeval.metrics.registry import Metric

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
    control: str | None = None,
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
        what `prepare` made of them, with controls, training cells, keys and seed given there.
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
        Column of `adata_true.obs`; without controls, each type's markers are to be recovered.
    perturbation_key, covariate_key, control, targets
        Labels of the cells, as for `compute_perturbational_metrics`; `control` is "control" by
        default.
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
    and an `UndefinedMetricWarning` says why.

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
        "control": control,
        "targets": targets,
        "use_rep": use_rep,
        "device": device,
        "seed": seed,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if not isinstance(adata_true, Truth):
        truth = measured(adata_true, **given)
    elif given:
        msg = f"the truth is prepared, so {', '.join(given)} came too late; give it to prepare"
        raise UsageError(msg)
    else:
        truth = adata_true
    own = _on_own_sets(s_genes, g2m_genes, gene_sets, net, cytokine_dict)
    pair = pair_of(truth, adata_pred, adata_ctrl_pred)
    values = {}
    for metric in selected(metrics, pair):  # no comprehension: warnings point at the caller
        values[metric.name] = warned_score(own(metric), pair)
    return values


def _on_own_sets(
    s_genes: Sequence[str] | None,
    g2m_genes: Sequence[str] | None,
    gene_sets: Mapping[str, Sequence[str]] | None,
    net: pd.DataFrame | None,
    cytokine_dict: Mapping[str, Sequence[str]] | None,
) -> Callable[[Metric], Metric]:
    """Return what replaces a metric of shipped gene sets by the same one of the given sets."""
    if (s_genes is None) != (g2m_genes is None):
        msg = "got one list of cell cycle markers; give s_genes and g2m_genes, or neither"
        raise UsageError(msg)

    def phases(pair: Pair) -> dict[str, float]:
        return cellcycle(*_arrays(pair), s_genes or (), g2m_genes or ())

    def of_phases(name: str) -> Callable[[Pair], float]:
        def compute(pair: Pair) -> float:
            values = pair.cached("phases of given markers", lambda: phases(pair))
            if name not in values:
                msg = f"no cell of the truth is in phase {name}"
                raise Undefined(msg)
            return values[name]

        return compute

    def own(metric: Metric) -> Metric:
        phase = metric.name.removeprefix("cellcycle_")
        if phase != metric.name and s_genes is not None:
            return replace(metric, compute=of_phases(phase))
        for name, function, sets in (
            ("coexpression", coexpression, gene_sets),
            ("pathway", pathway, net),
            ("cytokine", cytokine, cytokine_dict),
        ):
            if metric.name == name and sets is not None:
                return replace(metric, compute=partial(_call, function, sets))
        return metric

    return own


def _call(function: Callable[..., float], sets: Any, pair: Pair) -> float:
    return function(*_arrays(pair), sets)


def _arrays(pair: Pair) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
    return pair.truth.X, pair.prediction, pair.truth.genes
