"""Metrics that are costly to compute, to first order in the weights of the cells.

How much a metric would change with the weight of each cell, its influence, comes out of one
computation on all cells; in a resample the metric changes by the sum of the influences of its
cells (infinitesimal jackknife, doi:10.1137/1.9781611970319). Arguments and results are those
of `_cells`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.metrics._shared import moves
from reconeval.metrics.biological.co_expression import mean_agreement
from reconeval.metrics.biological.ranks import for_gene_blocks, sorted_ranks
from reconeval.metrics.biological.table import correlations, gene_sets
from reconeval.metrics.transport import subsampled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconeval._typing import FloatArray, IntArray
    from reconeval.intervals._resampling import Drawn
    from reconeval.metrics.pair import Pair

__all__ = ["coexpression", "correlation_influence", "sinkhorn"]

HELD_ENTRIES = 1 << 22


def sinkhorn(pair: Pair, drawn: Drawn) -> FloatArray:
    """Sinkhorn divergence; the influence of a cell is the potential of its two sides."""
    between, truth, prediction = moves(pair)
    value = 2 * between.cost - truth.cost - prediction.cost
    influence = 2 * (between.source + between.target)
    influence -= truth.source + truth.target + prediction.source + prediction.target
    cells = subsampled(len(pair.truth.X), seed=pair.truth.seed)
    return _first_order(value, influence, drawn.counts[cells])


def coexpression(pair: Pair, drawn: Drawn) -> FloatArray:
    """Agreement of correlations within gene sets."""
    sets, (true, predicted) = gene_sets(pair.truth), correlations(pair)
    value = mean_agreement(true, predicted)
    slopes = {}
    for name, r in true.items():
        gaps = r - predicted[name]
        both = ~np.isnan(gaps)
        if both.any():
            slopes[name] = np.where(both, -np.sign(gaps), 0) / (2 * both.sum())
    for name in slopes:
        slopes[name] /= len(slopes)
    influence = correlation_influence(pair.truth.X, sets, slopes, true)
    influence -= correlation_influence(pair.prediction, sets, slopes, predicted)
    return _first_order(value, influence, drawn.counts)


def correlation_influence(
    X: FloatArray,
    sets: Mapping[str, IntArray],
    slopes: Mapping[str, FloatArray],
    r: Mapping[str, FloatArray],
) -> FloatArray:
    """Influence of each cell on a sum of Spearman correlations.

    A cell adds its own product of standardised ranks, moves their variances, and lifts the ranks
    of all cells above it.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes).
    sets
        Column numbers by the name of the set.
    slopes
        By the name of a set, array of shape (n_pairs,): what the correlation of each pair of its
        genes is multiplied by in the sum; 0 where it has none.
    r
        These correlations, of `set_correlations`.

    Returns
    -------
    Array of shape (n_cells,), mean 0: the derivative of the sum with respect to the cell's
    share of all weight.
    """
    union = np.unique(np.concatenate(list(sets.values())))
    n, position = len(X), np.arange(len(X))
    unit = np.zeros((len(union), n), dtype=np.float32)
    spread = np.ones((len(union), 1), dtype=np.float32)
    held: dict[int, tuple[IntArray, FloatArray]] = {}  # of few cells, what need not be sorted again

    def standardise(place: slice, block: FloatArray) -> None:
        order, ranks = sorted_ranks(block, position)
        if unit.size <= HELD_ENTRIES:
            held[place.start] = order.astype(np.int32), ranks.astype(np.float32)
        ranks -= ranks.mean(axis=1, keepdims=True)
        deviation = np.sqrt(np.square(ranks).mean(axis=1, keepdims=True))
        deviation[deviation == 0] = 1
        ranks /= deviation
        spread[place] = deviation
        np.put_along_axis(unit[place], order, ranks.astype(np.float32), axis=1)

    for_gene_blocks(standardise, X, columns=union)
    members = {name: np.searchsorted(union, columns) for name, columns in sets.items()}
    pull = _pull(unit, members, slopes, r)
    influence = (pull * unit).sum(axis=0, dtype=np.float64) / 2
    pull /= spread
    lifts: list[FloatArray] = []

    def lift(place: slice, block: FloatArray) -> None:
        order, ranks = held.get(place.start) or sorted_ranks(block, position)
        above = _above(np.take_along_axis(pull[place], order, axis=1), ranks)
        lifted = np.empty_like(above)
        np.put_along_axis(lifted, order, above, axis=1)
        lifts.append(lifted.sum(axis=0))

    for_gene_blocks(lift, X, columns=union)
    influence += np.sum(lifts, axis=0)
    return np.asarray(influence - influence.mean())


def _pull(
    unit: FloatArray,
    members: Mapping[str, IntArray],
    slopes: Mapping[str, FloatArray],
    r: Mapping[str, FloatArray],
) -> FloatArray:
    """Return how the sum of correlations grows with each standardised rank.

    Parameters
    ----------
    unit
        Float32 array of shape (n_genes, n_cells): the standardised ranks.
    members
        Row numbers of `unit` by the name of the set.
    slopes, r
        As for `correlation_influence`.
    """
    from threadpoolctl import threadpool_limits

    pull = np.zeros_like(unit)
    bound = np.zeros((len(unit), 1), dtype=np.float32)
    with threadpool_limits(1, user_api="blas"):  # many small products, see `in_threads`
        for name, values in slopes.items():
            rows = members[name]
            pull[rows] += _symmetric(values, len(rows)) @ unit[rows]
            known = np.where(values != 0, values * r[name], 0)
            bound[rows] += _symmetric(known, len(rows)).sum(axis=1, keepdims=True)
    # Each product of ranks is in the pull of both genes; their variances hold it back.
    pull -= bound * unit
    return pull


def _symmetric(values: FloatArray, size: int) -> FloatArray:
    """Return a matrix from its upper triangle, row by row, with zeros on the diagonal."""
    matrix = np.zeros((size, size), dtype=np.float32)
    matrix[np.triu_indices(size, k=1)] = values
    return matrix + matrix.T


def _above(ascending: FloatArray, ranks: FloatArray) -> FloatArray:
    """Sum what belongs to larger values, and half of what belongs to equal ones, itself included.

    Parameters
    ----------
    ascending
        Array of shape (n_rows, n): in each row what belongs to values in ascending order.
    ranks
        Array of shape (n_rows, n): the mean ranks of these values.

    Returns
    -------
    Array of shape (n_rows, n), in the same order.
    """
    n_rows, n = ascending.shape
    running = np.zeros((n_rows, n + 1))
    np.cumsum(ascending, axis=1, out=running[:, 1:])
    new = np.diff(ranks, axis=1, prepend=0.0) > 0
    first = np.maximum.accumulate(np.where(new, np.arange(n), 0), axis=1)
    last = (2 * ranks).astype(np.int64) - first - 1  # the mean rank is halfway between the two
    equal = np.take_along_axis(running, first, axis=1) + np.take_along_axis(running, last, axis=1)
    return np.asarray(running[:, -1:] - equal / 2)


def _first_order(value: float, influence: FloatArray, counts: FloatArray) -> FloatArray:
    """Move a value by the mean influence of the cells of each resample, less that of all."""
    shares = counts / counts.sum(axis=0)
    return np.asarray(value + (influence - influence.mean()) @ shares)
