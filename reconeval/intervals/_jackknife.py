"""Metrics of tests and ranks of genes, computed again without each group of cells.

They are neither sums over cells nor smooth in them, and too slow to be computed for a thousand
resamples: a delete-a-group jackknife with few groups (doi:10.1137/1.9781611970319). The truth's
part is computed once for all models and seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics.biological import deg
from reconeval.metrics.biological.contrast import contrast_types
from reconeval.metrics.biological.table import contrasts

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import BoolArray, FloatArray, IntArray
    from reconeval.metrics.pair import Pair

__all__ = ["N_GROUPS", "dice", "logfc_spearman"]

N_GROUPS = 10


class _Side(NamedTuple):
    """What is left of one side without a group of cells: by type, top genes and shifts."""

    tops: list[IntArray]
    shifts: FloatArray


def dice(pair: Pair, dealt: IntArray, *, k: int) -> FloatArray:
    """Overlap of the first k genes without each group of cells.

    Parameters
    ----------
    pair
        Truth and prediction.
    dealt
        Array of shape (n_cells,): the group of each cell, from 0.
    k
        Number of genes.

    Returns
    -------
    Array of shape (n_groups,), NaN where there is no value.
    """
    return _values(pair, dealt, lambda x, y: deg.dice(x.tops, y.tops, k=k))


def logfc_spearman(pair: Pair, dealt: IntArray) -> FloatArray:
    """Rank correlation of shifts without each group of cells; arguments as for `dice`."""
    return _values(
        pair, dealt, lambda x, y: deg.shift_correlation(x.shifts, y.shifts, method="spearman")
    )


def _values(pair: Pair, dealt: IntArray, compute: Callable[[_Side, _Side], float]) -> FloatArray:
    groups = contrasts(pair)[0].groups
    if pair.truth.reference is not None:
        msg = "cells of the reference are not resampled"
        raise Undefined(msg)
    key = ("intervals", "jackknife", dealt.tobytes())
    true = pair.truth.cached(key, lambda: _sides(pair.truth.X, groups, dealt))
    predicted = pair.cached(key, lambda: _sides(pair.prediction, groups, dealt))
    values = np.full(len(true), np.nan)
    for number, sides in enumerate(zip(true, predicted, strict=True)):
        try:
            values[number] = compute(*sides)
        except Undefined:
            continue
    return values


def _sides(X: FloatArray, groups: BoolArray, dealt: IntArray) -> list[_Side]:
    found = []
    for number in range(dealt.max() + 1):
        kept = dealt != number
        contrast = contrast_types(X[kept], groups[:, kept])
        found.append(_Side(deg.top_genes_of_groups(contrast), contrast.shifts()))
    return found
