"""Ranks of genes over cells, each gene sorted once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.metrics._threads import in_threads, n_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconeval._typing import FloatArray, IntArray

__all__ = ["for_gene_blocks", "sorted_ranks"]

_TILE_GENES = 64  # columns turned into rows at a time
_TILE_CELLS = 512  # the same in the other direction: a tile fits a core's cache
_BLOCK_ENTRIES = 2**16  # few enough for the cache, enough to be worth a call of NumPy
_LOW_HALF = 0xFFFFFFFF


def sorted_ranks(rows: FloatArray, labels: IntArray) -> tuple[IntArray, FloatArray]:
    """Sort each row and rank its entries, ties averaged.

    Parameters
    ----------
    rows
        Array of shape (n_rows, n_entries), finite.
    labels
        Array of shape (n_entries,), from 0 to 2³² - 1: what to tell entries by once they are
        sorted, such as their position or their group.

    Returns
    -------
    Two arrays of the shape of `rows`, each row in ascending order of its values: the labels, and
    the ranks from 1 to n_entries in float64, as `scipy.stats.rankdata` gives them.

    Examples
    --------
    >>> import numpy as np
    >>> sorted_ranks(np.array([[0.0, 3.0, 0.0, -1.0]], dtype=np.float32), np.arange(4))
    (array([[3, 0, 2, 1]]), array([[1. , 2.5, 2.5, 4. ]]))
    """
    if rows.dtype == np.float32:
        bits = (rows + np.float32(0)).view(np.int32)  # adding 0 makes -0.0 equal to 0.0
        bits ^= (bits >> 31) & 0x7FFFFFFF  # now these integers are in the order of the floats
        # Value and label in one integer: NumPy sorts these several times faster than it
        # argsorts the floats.
        keys = bits.astype(np.int64)
        keys <<= 32
        keys |= labels
        keys.sort(axis=1)
        return keys & _LOW_HALF, _average_ranks(keys >> 32)
    order = np.argsort(rows, axis=1)
    return labels[order], _average_ranks(np.take_along_axis(rows, order, axis=1))


def _average_ranks(values: FloatArray | IntArray) -> FloatArray:
    """Rank rows that are in ascending order."""
    n_rows, n = values.shape
    as_before = np.zeros((n_rows, n + 1), dtype=np.bool_)  # one more, so that none comes after
    np.equal(values[:, 1:], values[:, :-1], out=as_before[:, 1:n])
    ranks = np.empty((n_rows, n))
    ranks[:] = np.arange(1.0, n + 1)
    tied = np.flatnonzero(as_before[:, :n] | as_before[:, 1:])
    if tied.size:
        first = np.flatnonzero(~as_before[:, :n].ravel()[tied])
        sizes = np.diff(first, append=tied.size)
        flat = ranks.ravel()
        flat[tied] = np.repeat(flat[tied[first]] + (sizes - 1) / 2, sizes)
    return ranks


def for_gene_blocks(
    work: Callable[[slice, FloatArray], None], *parts: FloatArray, columns: IntArray | None = None
) -> None:
    """Call `work` on blocks of genes, several at a time.

    Parameters
    ----------
    work
        Takes the places of the block's genes in `columns` and a C-ordered array of shape
        (n_genes_in_block, n_cells) that holds the cells of all parts, one after another, and is
        overwritten afterwards.
    parts
        Arrays of shape (n_cells_of_part, n_genes).
    columns
        The genes to go through; default all.
    """
    n_cells = sum(len(part) for part in parts)
    n_genes = parts[0].shape[1] if columns is None else len(columns)
    n_rows = max(1, min(_TILE_GENES, _BLOCK_ENTRIES // n_cells))
    dtype = np.result_type(*(part.dtype for part in parts))

    def go_through(share: range) -> None:
        tile = np.empty((_TILE_GENES, n_cells), dtype=dtype)
        for start in range(share.start, share.stop, _TILE_GENES):
            stop = min(start + _TILE_GENES, share.stop)
            _turn(parts, slice(start, stop) if columns is None else columns[start:stop], tile)
            for first in range(start, stop, n_rows):
                place = slice(first, min(first + n_rows, stop))
                work(place, tile[place.start - start : place.stop - start])

    size = -(-n_genes // n_threads())
    shares = (range(at, min(at + size, n_genes)) for at in range(0, n_genes, size))
    in_threads(go_through, shares)


def _turn(parts: Iterable[FloatArray], genes: slice | IntArray, tile: FloatArray) -> None:
    """Write the genes of all parts into the first rows of a tile."""
    at = 0
    for part in parts:
        for start in range(0, len(part), _TILE_CELLS):
            cells = part[start : start + _TILE_CELLS][:, genes]
            tile[: cells.shape[1], at : at + len(cells)] = cells.T
            at += len(cells)
