"""From counts to the scale that models and metrics work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from reconeval._typing import FloatArray

__all__ = ["log1p_cp10k"]


def log1p_cp10k(counts: csr_matrix, library: FloatArray) -> csr_matrix:
    """Normalise counts to 10 000 per cell and take log1p.

    Parameters
    ----------
    counts
        Sparse matrix of shape (n_cells, n_genes). Raw counts.
    library
        Array of shape (n_cells,). Total counts of each cell over all measured genes, above 0.

    Returns
    -------
    Sparse float32 matrix of the same shape. The work is done in float64, so that the rounded
    result is the same on every machine.
    """
    scaled = counts.astype(np.float64)
    scaled.data *= np.repeat(1e4 / np.asarray(library, dtype=np.float64), np.diff(counts.indptr))
    return scaled.log1p().astype(np.float32)
