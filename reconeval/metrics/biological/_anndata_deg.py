"""Recovery of differentially expressed genes on AnnData."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import UsageError
from reconeval.metrics.alignment import aligned_pair, labels_of
from reconeval.metrics.biological._anndata_gene_sets import value_or_warn
from reconeval.metrics.biological.contrast import contrast_pair
from reconeval.metrics.biological.deg import (
    FDR,
    TOP_K,
    dice,
    shift_correlation,
    top_genes_of_groups,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

__all__ = ["controls", "metric_deg"]


def metric_deg(
    adata_true: AnnData,
    adata_pred: AnnData,
    adata_ctrl: AnnData | None = None,
    adata_ctrl_pred: AnnData | None = None,
    *,
    cell_type_key: str | None = None,
    k: int | Sequence[int] = TOP_K,
    fdr: float = FDR,
    min_cells: int = 0,
) -> dict[str, float]:
    """Recovery of differentially expressed genes, on an AnnData pair and its references.

    See `reconeval.metrics.biological.deg_dice_at_k` and `deg_logfc_correlation`.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        Predicted cells, same scale, genes in any order.
    adata_ctrl
        Measured control cells, the reference of the truth.
    adata_ctrl_pred
        Predicted control cells, the reference of the prediction; default `adata_ctrl`.
    cell_type_key
        Column of `adata_true.obs`: without `adata_ctrl`, which goes before it, each type against
        all other cells.
    k
        Number of top genes, or several numbers.
    fdr
        Highest adjusted p value that counts as significant.
    min_cells
        Genes that fewer cells of the truth express are left out; default none.

    Returns
    -------
    `deg_dice_at_<k>` in [0, 1], `deg_logfc_spearman` and `deg_logfc_pearson` in [-1, 1], higher
    is better; NaN with an `UndefinedMetricWarning` where they have no value.

    Raises
    ------
    UsageError
        If genes or cells do not fit, neither control nor cell types are given, or a cell has no
        type.
    """
    cell_types = None
    if cell_type_key is not None:
        labels = labels_of(adata_true, cell_type_key, "adata_true")
        cell_types = labels if adata_ctrl is None else None
    aligned = aligned_pair(adata_true, adata_pred, *controls(adata_ctrl, adata_ctrl_pred))
    reference, predicted_reference, *_ = (*aligned.others, None, None)
    ks = (k,) if isinstance(k, int | np.integer) else tuple(k)
    predictions = [X for X in (aligned.prediction, predicted_reference) if X is not None]

    def values() -> dict[str, float]:
        truth, prediction = contrast_pair(
            aligned.X,
            aligned.prediction,
            reference=reference,
            predicted_reference=predicted_reference,
            cell_types=cell_types,
            min_cells=min_cells,
        )
        tops = [top_genes_of_groups(side, fdr=fdr) for side in (truth, prediction)]
        shifts = truth.shifts(), prediction.shifts()
        return {
            **{f"deg_dice_at_{number}": dice(*tops, k=number) for number in ks},
            "deg_logfc_spearman": shift_correlation(*shifts, method="spearman"),
            "deg_logfc_pearson": shift_correlation(*shifts, method="pearson"),
        }

    names = [*(f"deg_dice_at_{number}" for number in ks), "deg_logfc_spearman", "deg_logfc_pearson"]
    found = value_or_warn("deg", values, *predictions)
    return dict.fromkeys(names, math.nan) if found is None else found


def controls(adata_ctrl: AnnData | None, adata_ctrl_pred: AnnData | None) -> list[AnnData]:
    """Return the controls that are given, the measured ones first.

    Raises
    ------
    UsageError
        If there are predicted controls alone.
    """
    if adata_ctrl is None and adata_ctrl_pred is not None:
        msg = "got adata_ctrl_pred without adata_ctrl; give the measured controls, too"
        raise UsageError(msg)
    return [adata for adata in (adata_ctrl, adata_ctrl_pred) if adata is not None]
