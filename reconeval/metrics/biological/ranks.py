"""Ranks of genes over cells, each gene ranked once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconeval._typing import FloatArray, IntArray

__all__ = ["for_gene_blocks", "in_threads", "rank_rows"]

S = TypeVar("S")
T = TypeVar("T")

_BLOCK_ENTRIES = 2**19  # 2 MB of float32: small enough for a core's cache, few enough calls
_MAX_THREADS = 4  # bounds the memory of the blocks in flight
_LOW_HALF = 0xFFFFFFFF  # of the keys: the position


def rank_rows(rows: FloatArray) -> FloatArray:
    """Rank the entries of each row, ties averaged.

    Parameters
    ----------
    rows
        Array of shape (n_rows, n_entries), C-ordered, finite.

    Returns
    -------
    Array of the same shape, float64, in [1, n_entries]; equal to `scipy.stats.rankdata`.

    Examples
    --------
    >>> import numpy as np
    >>> rank_rows(np.array([[0.0, 3.0, 0.0, -1.0]], dtype=np.float32))
    array([[2.5, 4. , 2.5, 1. ]])
    """
    if rows.dtype != np.float32:
        from scipy.stats import rankdata

        return np.asarray(rankdata(rows, axis=1))
    bits = (rows + np.float32(0)).view(np.int32)  # adding 0 makes -0.0 equal to 0.0
    bits ^= (bits >> 31) & 0x7FFFFFFF  # now these integers are in the order of the floats
    ranks = np.empty(rows.shape)
    for row, out in zip(bits, ranks, strict=True):
        _rank_row(row, out)
    return ranks


def _rank_row(row: IntArray, out: FloatArray) -> None:
    """Write the ranks of integers, most of them 0 in measured data, into `out`."""
    nonzero = np.flatnonzero(row != 0)
    n_zeros = len(row) - len(nonzero)
    # Value and position in one integer: NumPy sorts these several times faster than it argsorts
    # the values.
    keys = row[nonzero].astype(np.int64)
    keys <<= 32
    keys |= nonzero
    keys.sort()
    order = keys & _LOW_HALF
    keys >>= 32
    starts = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=starts[1:])
    if starts.all():
        ranks = np.arange(1.0, len(keys) + 1)
    else:
        first = np.flatnonzero(starts)
        ties = np.diff(first, append=len(keys))
        ranks = np.repeat(first + (ties + 1) / 2, ties)
    if n_zeros:
        n_negative = np.searchsorted(keys, 0)
        ranks[n_negative:] += n_zeros
        out[:] = n_negative + (n_zeros + 1) / 2
    out[order] = ranks


def for_gene_blocks(
    work: Callable[[slice, FloatArray], None], *parts: FloatArray, columns: IntArray | None = None
) -> None:
    """Call `work` on blocks of genes, several at a time.

    Parameters
    ----------
    work
        Takes the places of the block's genes in `columns` and a C-ordered array of shape
        (n_genes_in_block, n_cells) that holds the cells of all parts, one after another.
    parts
        Arrays of shape (n_cells_of_part, n_genes).
    columns
        The genes to go through; default all.
    """
    n_cells = sum(len(part) for part in parts)
    n_genes = parts[0].shape[1] if columns is None else len(columns)
    size = max(1, _BLOCK_ENTRIES // max(n_cells, 1))

    def one(start: int) -> None:
        place = slice(start, min(start + size, n_genes))
        genes = place if columns is None else columns[place]
        block = np.empty(
            (place.stop - start, n_cells), dtype=np.result_type(*(part.dtype for part in parts))
        )
        at = 0
        for part in parts:
            block[:, at : at + len(part)] = part[:, genes].T
            at += len(part)
        work(place, block)

    in_threads(one, range(0, n_genes, size))


def in_threads(work: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Call `work` on each item, several at a time; returns what it returned, in order.

    NumPy lets go of the interpreter while it sorts and multiplies, so threads are enough. Its
    matrix products run on one core each meanwhile: small ones waste the time that they spend on
    waiting for each other's threads.
    """
    from threadpoolctl import threadpool_limits

    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
