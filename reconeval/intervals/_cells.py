"""Metrics that are means of one number per cell, in resamples of the cells.

Every function takes truth and prediction, and the cells of each resample; it returns one value
per resample, float64, NaN where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.metrics.biological.cell_cycle import PHASES
from reconeval.metrics.biological.table import phases
from reconeval.metrics.correlation import row_correlations
from reconeval.metrics.thinning import MU_FLOOR, thinned

if TYPE_CHECKING:
    from reconeval._typing import FloatArray
    from reconeval.intervals._resampling import Drawn
    from reconeval.metrics.pair import Pair

__all__ = ["mae", "mean_diff", "mse", "pearson_cell", "poisson", "recall", "same_phase"]


def mse(pair: Pair, drawn: Drawn) -> FloatArray:
    """Mean squared error."""
    errors = np.subtract(pair.truth.X, pair.prediction, dtype=np.float64)
    return _mean(np.square(errors, out=errors).mean(axis=1), drawn.counts)


def mae(pair: Pair, drawn: Drawn) -> FloatArray:
    """Mean absolute error."""
    errors = np.subtract(pair.truth.X, pair.prediction, dtype=np.float64)
    return _mean(np.abs(errors, out=errors).mean(axis=1), drawn.counts)


def pearson_cell(pair: Pair, drawn: Drawn) -> FloatArray:
    """Mean over cells of the correlation across genes."""
    return _mean(row_correlations(pair.truth.X, pair.prediction), drawn.counts)


def poisson(pair: Pair, drawn: Drawn) -> FloatArray:
    """Mean deviance of the held-out counts."""
    from scipy.special import kl_div

    parts = thinned(pair.truth)
    mu = parts.expected(np.asarray(pair.thinned_prediction))
    np.maximum(mu, MU_FLOOR, out=mu)
    return _mean(2 * kl_div(parts.held_out, mu, dtype=np.float64).mean(axis=1), drawn.counts)


def same_phase(pair: Pair, drawn: Drawn) -> FloatArray:
    """Share of cells with the same phase of the cell cycle, phases as called on all cells."""
    true, predicted = phases(pair)
    return _mean((true == predicted).astype(np.float64), drawn.counts)


def recall(pair: Pair, drawn: Drawn, *, phase: str) -> FloatArray:
    """Share of the cells of a true phase that are predicted in it."""
    true, predicted = phases(pair)
    return _mean(np.where(true == phase, predicted == phase, np.nan), drawn.counts)


def mean_diff(pair: Pair, drawn: Drawn) -> FloatArray:
    """Mean absolute difference of the phases' proportions."""
    true, predicted = phases(pair)
    gaps = [
        np.abs(_mean((true == phase).astype(np.float64) - (predicted == phase), drawn.counts))
        for phase in PHASES
    ]
    return np.asarray(np.mean(gaps, axis=0))


def _mean(values: FloatArray, counts: FloatArray) -> FloatArray:
    """Average one number per cell over each resample; a cell where it is NaN is left out."""
    has = ~np.isnan(values)
    weights = counts[has].astype(np.float64)
    sizes = weights.sum(axis=0)
    nothing: FloatArray = np.full(counts.shape[1], np.nan)
    return np.asarray(np.divide(values[has] @ weights, sizes, out=nothing, where=sizes > 0))
