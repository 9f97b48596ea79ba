"""Real immune cells in four batches, made from `immune` by thinning its counts."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from anndata import AnnData

    from reconeval._typing import FloatArray, IntArray, StrArray

__all__ = ["BATCHES", "DEPTHS", "QUERY_BATCHES", "checksum", "derive"]

BATCHES = ("b1", "b2", "b3", "b4")
QUERY_BATCHES = ("b3", "b4")
DEPTHS = (1.0, 0.6, 0.8, 0.5)  # share of the molecules that a batch keeps, before capture
_LEAST_CAPTURE = 0.5  # of a gene in a batch; b1 captures all
# Cells of a type are dealt out in this order, so that batches differ in nothing but technique.
_DEAL = np.array([0, 2, 1, 3, 0, 2, 0, 1, 2, 3, 0, 2, 1, 0, 3, 2, 0, 2, 1, 3])


def derive(immune: AnnData, *, expected: str | None = None) -> AnnData:
    """Deal the cells out to batches and thin their counts.

    Of each molecule of a gene in a batch, the chance to stay is the batch's depth times how well
    the batch captures the gene: a number between 0.5 and 1, drawn once for each gene and batch.
    Batch b1 stays as it was measured. Only uniform numbers are drawn, and only compared, so that
    every machine makes the same cells.

    Parameters
    ----------
    immune
        The frozen cells of `immune`, with `layers["counts"]`, `obs["cell_type"]` and
        `obs["total_counts"]`; left as it is.
    expected
        The checksum that the result must have, or None.

    Returns
    -------
    The same cells, genes and cell types with fewer counts, `obs["batch"]` of b1 to b4 (300, 200,
    300 and 200 cells, cell types alike), and `obs["total_counts"]` thinned with them.

    Raises
    ------
    UsageError
        If the result has another checksum.
    """
    import pandas as pd

    rng = np.random.Generator(np.random.PCG64(0))
    batch = _deal(np.asarray(immune.obs["cell_type"].astype(str)), rng.random(immune.n_obs))
    capture = _LEAST_CAPTURE + (1 - _LEAST_CAPTURE) * rng.random((len(BATCHES), immune.n_vars))
    capture[0] = 1.0
    rates = np.asarray(DEPTHS)[:, None] * capture
    counts = immune.layers["counts"].tocsr(copy=True)
    measured = np.asarray(counts.sum(axis=1, dtype=np.int64)).ravel()
    rows = np.repeat(np.arange(immune.n_obs), np.diff(counts.indptr))
    counts.data = _thin(counts.data, rates[batch[rows], counts.indices], rng)
    counts.eliminate_zeros()
    # Molecules of genes that did not ship, as if each were captured like the mean gene.
    rest = immune.obs["total_counts"].to_numpy(dtype=np.int64) - measured
    rest = _thin(rest, rates.mean(axis=1)[batch], rng)
    adata = immune.copy()
    adata.layers["counts"] = counts
    adata.obs["batch"] = pd.Categorical.from_codes(batch, pd.Index(BATCHES))
    adata.obs["total_counts"] = rest + np.asarray(counts.sum(axis=1, dtype=np.int64)).ravel()
    if expected is not None:
        _check(checksum(adata), expected)
    return adata


def checksum(adata: AnnData) -> str:
    """Return the SHA-256 of counts, batches and totals, each as little-endian int64."""
    counts = adata.layers["counts"]
    digest = hashlib.sha256()
    for values in (
        *(counts.data, counts.indices, counts.indptr),
        adata.obs["batch"].cat.codes.to_numpy(),
        adata.obs["total_counts"].to_numpy(),
    ):
        digest.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
    return digest.hexdigest()


def _check(found: str, expected: str) -> None:
    if found != expected:
        msg = (
            f"dataset immune_batches: NumPy {np.__version__} makes cells of sha256 "
            f"{found[:12]}..., expected {expected[:12]}...; use another version of NumPy"
        )
        raise UsageError(msg)


def _deal(cell_types: StrArray, order: FloatArray) -> IntArray:
    """Return the number of each cell's batch: within a type in the given order, in turn."""
    batch = np.empty(len(order), dtype=np.int64)
    batch[np.lexsort((order, cell_types))] = np.resize(_DEAL, len(order))
    return batch


def _thin(counts: IntArray, rates: FloatArray, rng: np.random.Generator) -> IntArray:
    """Keep each molecule with the chance of its entry; the sum over molecules is binomial."""
    whole = counts.astype(np.int64)
    kept = rng.random(int(whole.sum())) < np.repeat(rates, whole)
    total = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
    ends = np.cumsum(whole)
    thinned: IntArray = (total[ends] - total[ends - whole]).astype(counts.dtype)
    return thinned
