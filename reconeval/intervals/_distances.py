"""Energy distances and MMD in resamples of the cells.

In a resample with counts w a mean over pairs of cells is wᵀ D w / n², D the distances or kernels
of all pairs, so that one product of D with all counts serves all resamples. Distances are
computed in the blocks of `reconeval.metrics.kernels` and never held together. Copies of a cell
are pairs like any other, at distance 0. Arguments and results are those of `_cells`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reconeval.metrics._shared import PUBLISHED_GAMMAS, bandwidth_gammas, projected
from reconeval.metrics._threads import in_threads
from reconeval.metrics.kernels import VANISHED, Centred, squared_distances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconeval._typing import FloatArray
    from reconeval.intervals._resampling import Drawn
    from reconeval.metrics.pair import Pair

__all__ = ["energy", "energy_pca", "mmd", "mmd_median"]

LEAST_BLOCK, BLOCK = 64, 512
SHARES = 4  # of few cells, so that every core gets some
EXACT_CELLS = 512  # up to so many cells distances in float64 cost little


class _Sums(NamedTuple):
    """Sums over the pairs of each resample: of the distances, and of the kernels' mean."""

    distance: FloatArray
    rbf: FloatArray


def energy(pair: Pair, drawn: Drawn) -> FloatArray:
    """Energy distance over all genes and pairs."""
    truth, prediction, between = _in_genes(pair, drawn)
    n = len(drawn.counts)
    return (2 * between.distance - truth.distance - prediction.distance) / n**2


def mmd(pair: Pair, drawn: Drawn) -> FloatArray:
    """Squared MMD with the published kernel, over all genes and pairs."""
    truth, prediction, between = _in_genes(pair, drawn)
    return (truth.rbf + prediction.rbf - 2 * between.rbf) / len(drawn.counts) ** 2


def energy_pca(pair: Pair, drawn: Drawn) -> FloatArray:
    """Unbiased energy distance in components."""
    truth, prediction, between = _in_components(pair, drawn)
    n = len(drawn.counts)
    within = (truth.distance + prediction.distance) / (n * (n - 1))
    return 2 * between.distance / n**2 - within


def mmd_median(pair: Pair, drawn: Drawn) -> FloatArray:
    """Unbiased squared MMD with the kernels of the medians, in components."""
    truth, prediction, between = _in_components(pair, drawn)
    n = len(drawn.counts)
    within = (truth.rbf + prediction.rbf - 2 * n) / (n * (n - 1))
    return within - 2 * between.rbf / n**2


def _in_genes(pair: Pair, drawn: Drawn) -> tuple[_Sums, _Sums, _Sums]:
    def build() -> tuple[_Sums, _Sums, _Sums]:
        X, Y = pair.truth.X, pair.prediction
        exact = len(X) <= EXACT_CELLS
        within = pair.truth.cached(
            ("intervals", "genes", drawn.key),
            lambda: _pair_sums(X, None, drawn.counts, PUBLISHED_GAMMAS, exact=exact),
        )
        return (
            within,
            _pair_sums(Y, None, drawn.counts, PUBLISHED_GAMMAS, exact=exact),
            _pair_sums(Y, X, drawn.counts, PUBLISHED_GAMMAS, exact=exact),
        )

    return pair.cached(("intervals", "genes", drawn.key), build)


def _in_components(pair: Pair, drawn: Drawn) -> tuple[_Sums, _Sums, _Sums]:
    def build() -> tuple[_Sums, _Sums, _Sums]:
        X, Y = projected(pair)
        gammas = bandwidth_gammas(pair.truth)
        within = pair.truth.cached(
            ("intervals", "components", drawn.key),
            lambda: _pair_sums(X, None, drawn.counts, gammas),
        )
        return (
            within,
            _pair_sums(Y, None, drawn.counts, gammas),
            _pair_sums(Y, X, drawn.counts, gammas),
        )

    return pair.cached(("intervals", "components", drawn.key), build)


def _pair_sums(
    A: FloatArray,
    B: FloatArray | None,
    counts: FloatArray,
    gammas: Sequence[float],
    *,
    exact: bool = True,
) -> _Sums:
    """Sum distances and kernels over the pairs of each resample, within A or between A and B."""
    centre = (A if B is None else B).mean(axis=0, dtype=np.float64)
    block = min(BLOCK, max(LEAST_BLOCK, -(-len(A) // SHARES)))
    first = Centred(A, centre, block)
    second = first if B is None else Centred(B, centre, block)
    # Sums are taken of what distances differ by from a number of their size: no digits cancel.
    typical = np.float32(math.sqrt(2 * first.mean_norm()))

    def sum_up(i: int) -> FloatArray:
        totals = np.zeros((2, counts.shape[1]))
        rows = counts[i * block : (i + 1) * block]
        # Within a matrix the blocks before the i-th are left out: they are its mirror image.
        at = i if B is None else 0
        blocks = squared_distances(first, second, i, gamma=max(gammas), exact=exact)
        for j, (squared, times) in enumerate(blocks, start=at):
            columns = counts[j * block : (j + 1) * block]
            parts = [np.sqrt(squared) - typical]
            if squared.min() * min(gammas) < VANISHED:
                parts.append(sum(np.exp(squared * -gamma) for gamma in gammas) / len(gammas))
            for number, values in enumerate(parts):
                products = values.astype(np.float32, copy=False) @ columns
                products *= rows
                totals[number] += times * products.sum(axis=0, dtype=np.float64)
        return totals

    distance, rbf = np.sum(in_threads(sum_up, range(first.blocks)), axis=0)
    pairs = np.square(counts.sum(axis=0, dtype=np.float64))
    return _Sums(distance + typical * pairs, rbf)
