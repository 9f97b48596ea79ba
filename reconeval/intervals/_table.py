"""How the interval of each metric over cells is found."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from reconeval.intervals import _cells, _distances, _genes, _jackknife, _linear, _scores
from reconeval.metrics.biological.cell_cycle import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray, IntArray
    from reconeval.intervals._resampling import Drawn
    from reconeval.metrics.pair import Pair

__all__ = ["BOOTSTRAP", "CONDITIONAL", "JACKKNIFE", "LINEAR"]

BOOTSTRAP: dict[str, Callable[[Pair, Drawn], FloatArray]] = {
    "r2": _genes.r2,
    "mse": _cells.mse,
    "mae": _cells.mae,
    "pearson_cell": _cells.pearson_cell,
    "pearson_gene": _genes.pearson_gene,
    "energy_distance": _distances.energy,
    "energy_distance_pca": _distances.energy_pca,
    "mmd_rbf": _distances.mmd,
    "mmd_rbf_median": _distances.mmd_median,
    "variance_log2_ratio": _genes.variance_log2_ratio,
    "zero_fraction_error": _genes.zero_fraction_error,
    "poisson_deviance": _cells.poisson,
    "deg_logfc_pearson": _genes.logfc_pearson,
}
"""The metric of each resample, as if it were computed of its cells from the start."""

CONDITIONAL: dict[str, Callable[[Pair, Drawn], FloatArray]] = {
    "c2st_auc": _scores.c2st,
    "cellcycle_proportion_same_phase": _cells.same_phase,
    **{f"cellcycle_{phase}": partial(_cells.recall, phase=phase) for phase in PHASES},
    "cellcycle_proportion_mean_diff": _cells.mean_diff,
    "pathway": _scores.pathway,
    "cytokine": _scores.cytokine,
}
"""The same of scores that cells keep from all cells: classifiers and control genes stay."""

LINEAR: dict[str, Callable[[Pair, Drawn], FloatArray]] = {
    "coexpression": _linear.coexpression,
    "sinkhorn_divergence": _linear.sinkhorn,
}
"""The metric of each resample to first order."""

JACKKNIFE: dict[str, Callable[[Pair, IntArray], FloatArray]] = {
    **{f"deg_dice_at_{k}": partial(_jackknife.dice, k=k) for k in (50, 100, 200)},
    "deg_logfc_spearman": _jackknife.logfc_spearman,
}
"""The metric without each group of cells."""
