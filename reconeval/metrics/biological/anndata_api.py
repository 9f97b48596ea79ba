"""The biological metrics on a measured and a predicted AnnData, under their published names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconeval.metrics.alignment import aligned_pair
from reconeval.metrics.biological._anndata_deg import controls, metric_deg
from reconeval.metrics.biological._anndata_gene_sets import (
    metric_cellcycle,
    metric_coexpression,
    metric_cytokine,
    metric_pathway,
)
from reconeval.metrics.biological._genes import MIN_CELLS, MIN_GENES
from reconeval.metrics.biological.deg import FDR, TOP_K
from reconeval.metrics.registry import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from reconeval.metrics.biological.association import Method

__all__ = [
    "compute_biological_metrics",
    "metric_cellcycle",
    "metric_coexpression",
    "metric_cytokine",
    "metric_deg",
    "metric_pathway",
]


def compute_biological_metrics(
    adata_true: AnnData,
    adata_pred: AnnData,
    adata_ctrl: AnnData | None = None,
    adata_ctrl_pred: AnnData | None = None,
    *,
    cell_type_key: str | None = None,
    s_genes: Sequence[str] | None = None,
    g2m_genes: Sequence[str] | None = None,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    net: pd.DataFrame | None = None,
    cytokine_dict: Mapping[str, Sequence[str]] | None = None,
    method: Method = "spearman",
    min_cells: int = MIN_CELLS,
    overlap: int = MIN_GENES,
    k: int | Sequence[int] = TOP_K,
    fdr: float = FDR,
) -> dict[str, float]:
    """Compute the biological metrics of an AnnData pair.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        The same cells predicted, same scale, genes in any order.
    adata_ctrl, adata_ctrl_pred, cell_type_key, k, fdr
        What the genes differ from, as for `metric_deg`; without control and cell types the
        metrics of differential expression are left out.
    s_genes, g2m_genes, gene_sets, net, cytokine_dict
        Gene sets, as for `metric_cellcycle`, `metric_coexpression`, `metric_pathway` and
        `metric_cytokine`; default the shipped ones.
    method
        Spearman or Pearson, for co-expression, pathways and cytokines.
    min_cells
        Genes that fewer cells of the truth express are left out of cell cycle, co-expression and
        pathways.
    overlap
        Gene sets with fewer genes left are left out.

    Returns
    -------
    Values by name, without the proportions that `metric_cellcycle` adds; the five of the cell
    cycle are always there. NaN with an `UndefinedMetricWarning` where a metric has none.

    Raises
    ------
    UsageError
        If genes, cells or gene sets do not fit.
    """
    import pandas as pd
    from anndata import AnnData

    aligned = aligned_pair(adata_true, adata_pred, *controls(adata_ctrl, adata_ctrl_pred))
    var = pd.DataFrame(index=pd.Index(aligned.genes))
    true = AnnData(aligned.X, obs=adata_true.obs, var=var)
    pred, *references = (AnnData(X, var=var) for X in (aligned.prediction, *aligned.others))
    if pred.n_obs == true.n_obs:  # these cells are matched already
        pred.obs_names = true.obs_names
    filters = {"min_cells": min_cells, "overlap": overlap}
    phases = metric_cellcycle(true, pred, s_genes, g2m_genes, **filters)
    # The proportions of the phases are no scores: neither way is better.
    values = {name: value for name, value in phases.items() if name in METRICS}
    values["coexpression"] = metric_coexpression(true, pred, gene_sets, method=method, **filters)
    values["pathway"] = metric_pathway(true, pred, net, method=method, **filters)
    if references or cell_type_key is not None:
        values |= metric_deg(true, pred, *references, cell_type_key=cell_type_key, k=k, fdr=fdr)
    values["cytokine"] = metric_cytokine(
        true, pred, cytokine_dict, method=method, min_genes=overlap
    )
    return values
