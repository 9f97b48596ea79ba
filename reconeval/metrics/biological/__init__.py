"""Biological metrics: pure functions on arrays with gene names.

Arrays are cells x genes, log1p of counts per 10 000; `X` is the truth, `Y` the prediction. Which
genes take part is always decided by the truth.
"""

from __future__ import annotations

from reconeval.metrics.biological.cell_cycle import cellcycle
from reconeval.metrics.biological.co_expression import coexpression
from reconeval.metrics.biological.cytokines import cytokine
from reconeval.metrics.biological.deg import deg_dice_at_k, deg_logfc_correlation
from reconeval.metrics.biological.pathways import pathway

__all__ = [
    "cellcycle",
    "coexpression",
    "cytokine",
    "deg_dice_at_k",
    "deg_logfc_correlation",
    "pathway",
]
