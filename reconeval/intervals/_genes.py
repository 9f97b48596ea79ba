"""Metrics of genes' means, variances and correlations, in resamples of the cells.

Sums over a resample are products with the matrix of its counts, in float32; genes are shifted
first so that no digits cancel, and resamples go block by block so that their sums over all genes
stay in the cache. Arguments and results are those of `_cells`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.metrics._threads import in_threads
from reconeval.metrics.biological.table import contrasts
from reconeval.metrics.statistical import COLLAPSE_FLOOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray
    from reconeval.intervals._resampling import Drawn
    from reconeval.metrics.pair import Pair

__all__ = ["logfc_pearson", "pearson_gene", "r2", "variance_log2_ratio", "zero_fraction_error"]

BLOCK_ENTRIES = 1 << 18
ROUNDING = 1e-6  # of a variance, in float32: genes that differ by less vary alike


def r2(pair: Pair, drawn: Drawn) -> FloatArray:
    """R² of the genes' means."""
    X = pair.truth.X.astype(np.float32, copy=False)
    errors = X - pair.prediction.astype(np.float32, copy=False)

    def compute(rows: FloatArray) -> FloatArray:
        means = rows @ X
        varies = np.ptp(means, axis=1) > 0
        means -= means.mean(axis=1, keepdims=True, dtype=np.float64)
        total, left = _squares(means), _squares(rows @ errors)
        values: FloatArray = np.where(varies, 1 - left / np.where(varies, total, 1), np.nan)
        return values

    return _by_blocks(compute, drawn.counts, X.shape[1])


def zero_fraction_error(pair: Pair, drawn: Drawn) -> FloatArray:
    """Mean difference of the genes' fractions of zeros."""
    zeros = (pair.truth.X == 0).astype(np.float32) - (pair.prediction == 0)
    zeros = zeros.astype(np.float32, copy=False)

    def compute(rows: FloatArray) -> FloatArray:
        gaps = rows @ zeros
        return np.asarray(np.abs(gaps, out=gaps).mean(axis=1, dtype=np.float64) / len(zeros))

    return _by_blocks(compute, drawn.counts, zeros.shape[1])


def variance_log2_ratio(pair: Pair, drawn: Drawn) -> FloatArray:
    """Median log2 ratio of the variances of the genes that vary more than the median."""
    return np.asarray(_variances(pair, drawn)[0])


def pearson_gene(pair: Pair, drawn: Drawn) -> FloatArray:
    """Mean over genes of the correlation across cells."""
    return np.asarray(_variances(pair, drawn)[1])


def _variances(pair: Pair, drawn: Drawn) -> FloatArray:
    """Both metrics of variances, from one pass; the pass is kept for the second of them."""
    return pair.cached(("intervals", "variances", drawn.key), lambda: _pass(pair, drawn))


def _pass(pair: Pair, drawn: Drawn) -> FloatArray:
    X, Y = _less_median(pair.truth.X), _less_median(pair.prediction)
    parts = (X, Y, X * X, Y * Y, X * Y)

    def compute(rows: FloatArray) -> FloatArray:
        x, y, xx, yy, xy = (rows @ part for part in parts)
        n = rows.sum(axis=1, keepdims=True)
        xy -= x * y / n
        xx -= np.square(x, out=x) / n
        yy -= np.square(y, out=y) / n
        return np.stack([_median_ratio(xx, yy), _mean_correlation(xx, yy, xy)])

    return _by_blocks(compute, drawn.counts, X.shape[1])


def _less_median(X: FloatArray) -> FloatArray:
    """Shift each gene by its median.

    The median is within a standard deviation of the mean, so that no digits cancel; and where
    most cells share a value, as they do 0, a resample that has no others has sums of exactly 0.
    """
    X = X.astype(np.float32, copy=False)
    return np.asarray(X - np.median(X, axis=0).astype(np.float32))


def _median_ratio(xx: FloatArray, yy: FloatArray) -> FloatArray:
    upper = (xx > 0) & (xx >= np.median(xx, axis=1)[:, None] * (1 - ROUNDING))
    ratios = np.full_like(xx, np.inf)
    np.divide(np.maximum(yy, 0), xx, out=ratios, where=upper)
    ratios.sort(axis=1)
    size, rows = upper.sum(axis=1), np.arange(len(xx))
    middle = np.stack([ratios[rows, np.maximum(size - 1, 0) // 2], ratios[rows, size // 2]])
    middle[:, size == 0] = np.nan
    logs = np.log2((middle.astype(np.float64) + COLLAPSE_FLOOR) / (1 + COLLAPSE_FLOOR))
    return np.asarray(logs.mean(axis=0))


def _mean_correlation(xx: FloatArray, yy: FloatArray, xy: FloatArray) -> FloatArray:
    truth_varies = xx > 0
    norms = np.sqrt(np.maximum(xx, 0)) * np.sqrt(np.maximum(yy, 0))
    r = np.divide(xy, norms, out=np.zeros_like(xy), where=truth_varies & (norms > 0))
    size = truth_varies.sum(axis=1)
    total: FloatArray = r.sum(axis=1, dtype=np.float64)
    nothing: FloatArray = np.full(len(xx), np.nan)
    return np.asarray(np.divide(total, size, out=nothing, where=size > 0))


def logfc_pearson(pair: Pair, drawn: Drawn) -> FloatArray:
    """Correlation over genes of the shifts of each cell type against the others, mean over types.

    The types are those of all cells; a resample that has none of one, or no others, has no value.
    """
    truth, prediction = contrasts(pair)
    # The same number off every cell changes no shift, and makes constant genes exactly 0.
    rest = ~truth.groups.any(axis=0)
    X, Y = (
        [(side.parts[0] - side.parts[0][0])[cells] for cells in (*truth.groups, rest)]
        for side in (truth, prediction)
    )
    n, n_genes = pair.truth.X.shape

    def compute(rows: FloatArray) -> FloatArray:
        parts = [np.ascontiguousarray(rows[:, cells]) for cells in (*truth.groups, rest)]
        of_truth, of_prediction = (
            [part @ side for part, side in zip(parts, cells, strict=True)] for cells in (X, Y)
        )
        totals = sum(of_truth), sum(of_prediction)
        found = np.full((len(truth.groups), len(rows)), np.nan)
        missing = np.zeros(len(rows), dtype=np.bool_)
        for number, part in enumerate(parts[:-1]):
            inside = part.sum(axis=1, keepdims=True)
            missing |= ((inside == 0) | (inside == n))[:, 0]
            sums = of_truth[number], of_prediction[number]
            found[number] = _shift_correlation(sums, totals, inside, n)
        has = ~np.isnan(found)
        sizes = has.sum(axis=0)
        mean: FloatArray = np.where(has, found, 0).sum(axis=0) / np.maximum(sizes, 1)
        mean[missing | (sizes == 0)] = np.nan
        return mean

    return _by_blocks(compute, drawn.counts, n_genes)


def _shift_correlation(
    sums: tuple[FloatArray, FloatArray],
    totals: tuple[FloatArray, FloatArray],
    inside: FloatArray,
    n: int,
) -> FloatArray:
    """Pearson of two shifts from sums over a group and over all cells, one per resample."""
    inside, outside = np.clip(inside, 1, None), np.clip(n - inside, 1, None)
    factor = 1 / inside + 1 / outside
    x, y = (
        _centred(own * factor - total / outside) for own, total in zip(sums, totals, strict=True)
    )
    xx, yy = _squares(x), _squares(y)
    norms = np.sqrt(xx * yy)
    products = np.einsum("ij,ij->i", x, y, dtype=np.float64)
    r: FloatArray = np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
    r[xx == 0] = np.nan
    return r


def _centred(rows: FloatArray) -> FloatArray:
    rows -= rows.mean(axis=1, keepdims=True)
    return rows


def _squares(rows: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))


def _by_blocks(
    compute: Callable[[FloatArray], FloatArray], counts: FloatArray, n_genes: int
) -> FloatArray:
    """Compute some resamples at a time, given as rows; they are the last axis of what is found."""
    size = max(16, BLOCK_ENTRIES // n_genes)
    places = [slice(start, start + size) for start in range(0, counts.shape[1], size)]
    found = in_threads(lambda place: compute(np.ascontiguousarray(counts[:, place].T)), places)
    return np.concatenate(found, axis=-1)
