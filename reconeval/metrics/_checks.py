"""Checks of the arrays that metrics are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = ["as_matrix", "check_pair", "require_anndata"]


def as_matrix(values: FloatArray, name: str, *, finite: bool = True) -> FloatArray:
    """Return `values` as a real matrix of at least one cell and one gene.

    Parameters
    ----------
    values
        Array of shape (n_cells, n_genes).
    name
        What the array is called in the error.
    finite
        Whether NaN and infinite values are refused.

    Returns
    -------
    The same array where it is float32 or float64 already; other types become float64.

    Raises
    ------
    UsageError
        If it is sparse, not a matrix, empty, not numeric, or has NaN or infinite values.
    """
    if hasattr(values, "toarray"):
        msg = f"{name} is sparse, expected a dense array; call its toarray() first"
        raise UsageError(msg)
    matrix = np.asarray(values)
    if matrix.ndim != 2 or 0 in matrix.shape:
        msg = f"{name} has shape {matrix.shape}, expected (n_cells, n_genes), each at least 1"
        raise UsageError(msg)
    if matrix.dtype not in {np.dtype(np.float32), np.dtype(np.float64)}:
        if matrix.dtype.kind not in "biuf":
            msg = f"{name} has dtype {matrix.dtype}, expected real numbers; convert it first"
            raise UsageError(msg)
        matrix = matrix.astype(np.float64)
    # The extremes are NaN where any value is, and need no second matrix.
    if finite and not np.isfinite([matrix.min(), matrix.max()]).all():
        usable = np.isfinite(matrix)
        row, column = np.argwhere(~usable)[0]
        msg = (
            f"{name} has {usable.size - np.count_nonzero(usable)} NaN or infinite values, the "
            f"first at cell {row}, gene {column}; expected finite values only, so leave such "
            "cells or genes out on both sides"
        )
        raise UsageError(msg)
    return matrix


def check_pair(
    X: FloatArray, Y: FloatArray, *, paired: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Return truth and prediction as matrices over the same genes.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction.
    paired
        Whether the numbers of cells must be equal, too.

    Returns
    -------
    Both arrays, float32 or float64.

    Raises
    ------
    UsageError
        If either is no matrix of finite numbers, or the shapes do not fit each other.
    """
    X, Y = as_matrix(X, "the truth"), as_matrix(Y, "the prediction")
    if X.shape[1] != Y.shape[1]:
        msg = (
            f"the prediction has {Y.shape[1]} genes, expected the {X.shape[1]} of the truth; "
            "bring both to the same genes in the same order"
        )
        raise UsageError(msg)
    if paired and X.shape[0] != Y.shape[0]:
        msg = (
            f"the prediction has {Y.shape[0]} cells, expected the {X.shape[0]} of the truth: "
            "this metric compares cell by cell, so predict the same cells in the same order"
        )
        raise UsageError(msg)
    return X, Y


def require_anndata(given: object, name: str) -> None:
    """Refuse what is no AnnData, such as an array; `name` is what it is called in the error."""
    from anndata import AnnData

    if not isinstance(given, AnnData):
        kind = f"{type(given).__module__}.{type(given).__qualname__}".removeprefix("builtins.")
        msg = (
            f"{name} is a {kind}, expected an AnnData; arrays are for the functions without "
            "`metric_`, such as reconeval.metrics.mse(X, Y)"
        )
        raise UsageError(msg)
