"""Metrics of scores that cells have, in resamples of the cells.

What gave a cell its score stays as it was found on all cells: control genes, weights of pathways,
and classifiers. Arguments and results are those of `_cells`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from reconeval.metrics._shared import decisions
from reconeval.metrics.biological.association import column_correlations, varies
from reconeval.metrics.biological.table import activities, signatures
from reconeval.metrics.classifier import N_FOLDS

if TYPE_CHECKING:
    from reconeval._typing import FloatArray
    from reconeval.intervals._resampling import Drawn
    from reconeval.metrics.pair import Pair

__all__ = ["c2st", "cytokine", "pathway", "weight_below"]

BLOCK_ENTRIES = 1 << 22


def cytokine(pair: Pair, drawn: Drawn) -> FloatArray:
    """Correlation over signatures of their mean scores."""
    weights = drawn.counts.astype(np.float64)
    truth, (true, predicted) = pair.truth, signatures(pair)
    scores = truth.cached(("intervals", "signatures"), lambda: true.score(truth.X))
    means = (
        cells.T @ weights / len(weights) for cells in (scores, predicted.score(pair.prediction))
    )
    return column_correlations(*means, method="spearman")


def pathway(pair: Pair, drawn: Drawn) -> FloatArray:
    """Correlation over cells of activities, mean over pathways."""
    true, predicted = (np.where(varies(scores), scores, 0) for scores in activities(pair))
    n = len(true)

    def compute(place: slice) -> FloatArray:
        counts = np.ascontiguousarray(drawn.counts[:, place])
        total, size = np.zeros((2, counts.shape[1]))
        for x, y in zip(true.T, predicted.T, strict=True):
            # Mean ranks less their mean: both are known, as each resample has n cells.
            a, b = weight_below(x, counts), weight_below(y, counts)
            a -= n / 2
            b -= n / 2
            weighted = counts * a
            xx, xy = _sum_of_products(weighted, a), _sum_of_products(weighted, b)
            yy = _sum_of_products(np.multiply(counts, b, out=weighted), b)
            norms = np.sqrt(xx * yy)
            total += np.divide(xy, norms, out=np.zeros_like(xy), where=norms > 0)
            size += xx > 0
        nothing: FloatArray = np.full(len(size), np.nan)
        return np.asarray(np.divide(total, size, out=nothing, where=size > 0))

    step = max(16, BLOCK_ENTRIES // n)
    starts = range(0, drawn.counts.shape[1], step)
    return np.concatenate([compute(slice(start, start + step)) for start in starts])


def _sum_of_products(A: FloatArray, B: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("ij,ij->j", A, B), dtype=np.float64)


def c2st(pair: Pair, drawn: Drawn) -> FloatArray:
    """AUC over the folds of the decisions that classifiers fitted on all cells came to."""
    found = decisions(pair)
    counts = np.concatenate([drawn.counts, drawn.counts])
    total: FloatArray = np.zeros(counts.shape[1])
    for fold in range(N_FOLDS):
        cells = found.folds == fold
        is_predicted = found.predicted[cells][:, None]
        measured = np.where(is_predicted, 0, counts[cells])
        predicted = counts[cells] - measured
        below = weight_below(found.values[cells], measured)
        wins = (predicted * below).sum(axis=0, dtype=np.float64)
        pairs = measured.sum(axis=0) * predicted.sum(axis=0)
        nothing: FloatArray = np.full(len(wins), np.nan)
        total += np.divide(wins, pairs, out=nothing, where=pairs > 0)
    return total / N_FOLDS


def weight_below(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Weigh what is smaller than each value.

    Parameters
    ----------
    values
        Array of shape (n,).
    weights
        Array of shape (n, m): m weights for each value.

    Returns
    -------
    Array of shape (n, m): the weight of all smaller values and half that of equal ones, its own
    included. With whole weights this is the mean rank of its copies less ½.

    Examples
    --------
    >>> weight_below(np.array([3.0, 1.0, 3.0]), np.array([[1.0], [2.0], [1.0]])).ravel().tolist()
    [3.0, 1.0, 3.0]
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    new = np.ones(len(values), dtype=np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.cumsum(new) - 1
    weight = weights[order]
    if not new.all():
        weight = np.add.reduceat(weight, np.flatnonzero(new), axis=0)
    below = weight.copy()
    for before, row in pairwise(below):  # NumPy's cumsum down the columns takes ten times as long
        np.add(before, row, out=row)
    below -= weight / 2
    return np.asarray(below[group])
