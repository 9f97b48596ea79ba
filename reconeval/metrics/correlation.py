"""Pearson correlation of paired cells, across genes and across cells.

`X` is the truth and `Y` the prediction, cells x genes. Sums run in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics._checks import check_pair

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = ["pearson_cell", "pearson_gene", "row_correlations"]


def pearson_cell(X: FloatArray, Y: FloatArray) -> float:
    """Mean over cells of the Pearson correlation across genes.

    A cell whose genes all have one value in the truth is left out; one that is so in the
    prediction alone counts 0, so that a collapse does not hide.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_cells, n_genes). Prediction of the same cells, on any linear scale.

    Returns
    -------
    In [-1, 1], higher is better.

    Raises
    ------
    Undefined
        If every cell of the truth is constant, as with one gene alone.
    UsageError
        If the shapes differ or a value is not finite.

    References
    ----------
    doi:10.1098/rspl.1895.0041

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0, 2.0], [2.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    >>> Y = np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0], [0.0, 1.0, 2.0]])
    >>> round(pearson_cell(X, Y), 6)
    0.5
    >>> pearson_cell(np.ones((2, 3)), np.ones((2, 3)))
    Traceback (most recent call last):
    reconeval.errors.Undefined: no cell of the truth varies over the genes
    """
    X, Y = check_pair(X, Y, paired=True)
    values = row_correlations(X, Y)
    values = values[~np.isnan(values)]
    if not values.size:
        msg = "no cell of the truth varies over the genes"
        raise Undefined(msg)
    return float(values.mean())


def pearson_gene(X: FloatArray, Y: FloatArray) -> float:
    """Mean over genes of the Pearson correlation across cells.

    A gene that is constant in the truth is left out; one that is constant in the prediction
    alone counts 0, as it does for a model that predicts one profile for all cells.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_cells, n_genes). Prediction of the same cells, on any linear scale.

    Returns
    -------
    In [-1, 1], higher is better.

    Raises
    ------
    Undefined
        If every gene is constant in the truth, as with one cell alone.
    UsageError
        If the shapes differ or a value is not finite.

    References
    ----------
    doi:10.1098/rspl.1895.0041

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0]])
    >>> pearson_gene(X, np.array([[0.0, 5.0, 0.0], [3.0, 5.0, 1.0]]))
    0.5
    >>> pearson_gene(X[:1], X[:1])
    Traceback (most recent call last):
    reconeval.errors.Undefined: no gene of the truth varies over the cells
    """
    X, Y = check_pair(X, Y, paired=True)
    values = row_correlations(X.T, Y.T)
    values = values[~np.isnan(values)]
    if not values.size:
        msg = "no gene of the truth varies over the cells"
        raise Undefined(msg)
    return float(values.mean())


def row_correlations(A: FloatArray, B: FloatArray, *, block_size: int = 256) -> FloatArray:
    """Correlate each row of `A` with the same row of `B`.

    Parameters
    ----------
    A, B
        Arrays of shape (n_rows, n_columns). Truth and prediction.
    block_size
        Rows that are turned to float64 at a time.

    Returns
    -------
    Array of shape (n_rows,), in [-1, 1]: NaN where the truth is constant, 0 where the prediction
    alone is.
    """
    found = np.full(A.shape[0], np.nan)
    for start in range(0, A.shape[0], block_size):
        a = A[start : start + block_size].astype(np.float64)
        b = B[start : start + block_size].astype(np.float64)
        # Ranges, not variances: rounding gives a constant row a variance just above zero.
        a_varies, b_varies = np.ptp(a, axis=1) > 0, np.ptp(b, axis=1) > 0
        a -= a.mean(axis=1, keepdims=True)
        b -= b.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        products = np.einsum("ij,ij->i", a, b)
        values = np.divide(products, norms, out=np.zeros_like(norms), where=b_varies & (norms > 0))
        found[start : start + block_size] = np.where(a_varies, values, np.nan)
    return found
