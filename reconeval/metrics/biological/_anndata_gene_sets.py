"""The gene-set metrics on a measured and a predicted AnnData, under their published names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from reconeval import resources
from reconeval.errors import Undefined, UsageError
from reconeval.metrics._warn import warn_undefined
from reconeval.metrics.alignment import aligned_pair
from reconeval.metrics.biological import cellcycle, coexpression, cytokine, pathway
from reconeval.metrics.biological._genes import MIN_CELLS, MIN_GENES
from reconeval.metrics.biological.cell_cycle import PHASES
from reconeval.metrics.biological.scores import CTRL_SIZE, N_BINS
from reconeval.metrics.registry import require_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from reconeval._typing import FloatArray
    from reconeval.metrics.biological.association import Method

__all__ = [
    "metric_cellcycle",
    "metric_coexpression",
    "metric_cytokine",
    "metric_pathway",
    "value_or_warn",
]

T = TypeVar("T")


def metric_cellcycle(
    adata_true: AnnData,
    adata_pred: AnnData,
    s_genes: Sequence[str] | None = None,
    g2m_genes: Sequence[str] | None = None,
    *,
    min_cells: int = MIN_CELLS,
    overlap: int = MIN_GENES,
    random_state: int = 0,
) -> dict[str, float]:
    """Phases of the cell cycle, `reconeval.metrics.biological.cellcycle`, on an AnnData pair.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        The same cells predicted, same scale, genes in any order.
    s_genes, g2m_genes
        Marker genes; default the shipped lists.
    min_cells
        Markers that fewer cells of the truth express are left out.
    overlap
        Number of markers that either list must have left.
    random_state
        Seeds the draw of control genes.

    Returns
    -------
    Values by name: `cellcycle_proportion_same_phase`, `cellcycle_S`, `_G2M`, `_G1` and
    `cellcycle_proportion_mean_diff`, and the proportions `cellcycle_true_S` to
    `cellcycle_predicted_G1`. All are always there, NaN with an `UndefinedMetricWarning` where
    they have no value.

    Raises
    ------
    UsageError
        If genes or cells do not fit, or only one list is given.
    """
    if (s_genes is None) != (g2m_genes is None):
        msg = "metric_cellcycle got one list of markers; give s_genes and g2m_genes, or neither"
        raise UsageError(msg)
    if s_genes is None or g2m_genes is None:
        s_genes, g2m_genes = resources.load_cell_cycle_genes()
    pair = aligned_pair(adata_true, adata_pred)
    values = value_or_warn(
        "cellcycle",
        lambda: cellcycle(
            pair.X,
            pair.prediction,
            pair.genes,
            s_genes,
            g2m_genes,
            min_cells=min_cells,
            min_genes=overlap,
            seed=random_state,
        ),
        pair.prediction,
    )
    names = [
        "proportion_same_phase",
        *PHASES,
        "proportion_mean_diff",
        *(f"{side}_{phase}" for side in ("true", "predicted") for phase in PHASES),
    ]
    if values is not None:
        for phase in [phase for phase in PHASES if phase not in values]:
            reason = f"none of {len(pair.X)} cells of the truth is in phase {phase}"
            warn_undefined(f"cellcycle_{phase}", reason)
    found = values or {}
    return {f"cellcycle_{name}": found.get(name, math.nan) for name in names}


def metric_coexpression(
    adata_true: AnnData,
    adata_pred: AnnData,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    *,
    method: Method = "spearman",
    min_cells: int = MIN_CELLS,
    overlap: int = MIN_GENES,
) -> float:
    """Agreement of co-expression, `reconeval.metrics.biological.coexpression`, on an AnnData pair.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        Predicted cells, same scale, genes in any order.
    gene_sets
        Gene names by the name of their set; default the Hallmark sets.
    method
        Spearman or Pearson correlation over cells.
    min_cells
        Genes that fewer cells of the truth express are left out.
    overlap
        Sets with fewer genes left are left out.

    Returns
    -------
    In [0, 1], higher is better; NaN with an `UndefinedMetricWarning` where it has no value.

    Raises
    ------
    UsageError
        If genes or cells do not fit.
    """
    sets = resources.read_gmt() if gene_sets is None else gene_sets
    pair = aligned_pair(adata_true, adata_pred)
    return _number(
        "coexpression",
        lambda: coexpression(
            pair.X,
            pair.prediction,
            pair.genes,
            sets,
            method=method,
            min_cells=min_cells,
            min_genes=overlap,
        ),
        pair.prediction,
    )


def metric_pathway(
    adata_true: AnnData,
    adata_pred: AnnData,
    net: pd.DataFrame | None = None,
    *,
    method: Method = "spearman",
    min_cells: int = MIN_CELLS,
    overlap: int = MIN_GENES,
) -> float:
    """Pathway activities, `reconeval.metrics.biological.pathway`, on an AnnData pair.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        The same cells predicted, same scale, genes in any order.
    net
        Table with columns source, target and weight; default PROGENy's 500 genes a pathway.
    method
        Spearman or Pearson correlation over cells.
    min_cells
        Genes that fewer cells of the truth express are left out.
    overlap
        Pathways with fewer genes left are left out.

    Returns
    -------
    In [-1, 1], higher is better; NaN with an `UndefinedMetricWarning` where it has no value.

    Raises
    ------
    UsageError
        If genes, cells or the table do not fit.
    """
    network = resources.load_progeny() if net is None else net
    pair = aligned_pair(adata_true, adata_pred)
    return _number(
        "pathway",
        lambda: pathway(
            pair.X,
            pair.prediction,
            pair.genes,
            network,
            method=method,
            min_cells=min_cells,
            min_genes=overlap,
        ),
        pair.prediction,
    )


def metric_cytokine(
    adata_true: AnnData,
    adata_pred: AnnData,
    cytokine_dict: Mapping[str, Sequence[str]] | None = None,
    *,
    method: Method = "spearman",
    min_genes: int = MIN_GENES,
    ctrl_size: int = CTRL_SIZE,
    n_bins: int = N_BINS,
    random_state: int = 0,
) -> float:
    """Cytokine signatures, `reconeval.metrics.biological.cytokine`, on an AnnData pair.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        Predicted cells, same scale, genes in any order.
    cytokine_dict
        Gene names by the name of their signature, as of `load_cytokine_dict_from_csv`; default
        the shipped programmes of human blood cells.
    method
        Spearman or Pearson correlation over signatures.
    min_genes
        Signatures with fewer genes in the data are left out.
    ctrl_size, n_bins, random_state
        How control genes are drawn, as in `scanpy.tl.score_genes`.

    Returns
    -------
    In [-1, 1], higher is better; NaN with an `UndefinedMetricWarning` where it has no value.

    Raises
    ------
    UsageError
        If genes or cells do not fit.
    """
    sets = resources.load_cytokine_programmes() if cytokine_dict is None else cytokine_dict
    pair = aligned_pair(adata_true, adata_pred)
    return _number(
        "cytokine",
        lambda: cytokine(
            pair.X,
            pair.prediction,
            pair.genes,
            sets,
            method=method,
            min_genes=min_genes,
            ctrl_size=ctrl_size,
            n_bins=n_bins,
            seed=random_state,
        ),
        pair.prediction,
    )


def value_or_warn(name: str, compute: Callable[[], T], *predicted: FloatArray) -> T | None:
    """Return what `compute` returns, or None with a warning where it is undefined.

    Parameters
    ----------
    name
        What the warning calls the metric.
    compute
        Raises `Undefined` with the reason where there is no value.
    predicted
        What the model made; where it is not finite there is no value either.

    Returns
    -------
    The value; the `UndefinedMetricWarning` points at the user's code.
    """
    try:
        for values in predicted:
            require_finite(values)
        return compute()
    except Undefined as reason:
        warn_undefined(name, reason)
        return None


def _number(name: str, compute: Callable[[], float], prediction: FloatArray) -> float:
    value = value_or_warn(name, compute, prediction)
    return math.nan if value is None else value
