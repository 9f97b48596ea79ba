"""Turn what users pass as expression matrices into plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reconeval.errors import UsageError

__all__ = ["as_matrix", "read_only"]


def as_matrix(
    X: Any, *, name: str, n_genes: int | None = None, copy: bool = False
) -> npt.NDArray[np.float32]:
    """Return a matrix as a dense, finite float32 array.

    Parameters
    ----------
    X
        Array, SciPy sparse matrix or data frame of shape (n_cells, n_genes), any scale.
    name
        What to call it in an error, e.g. `ReconAE.predict: X`.
    n_genes
        Number of columns it must have; default any.
    copy
        Copy even where `X` is dense float32 already, so that the result is its own.

    Returns
    -------
    Array of shape (n_cells, n_genes), float32, C-ordered. `X` is never changed.

    Raises
    ------
    UsageError
        `X` is not a numeric matrix, has other columns than `n_genes`, or is not finite.
    """
    to_array = getattr(X, "toarray", None)
    make = np.array if copy else np.asarray
    try:
        values = make(to_array() if to_array else X, dtype=np.float32, order="C")
    except (TypeError, ValueError):
        advice = "; pass its .X" if hasattr(X, "X") else ""
        msg = f"{name} must be a numeric matrix (n_cells, n_genes), got {type(X).__name__}{advice}"
        raise UsageError(msg) from None
    if values.ndim != 2:
        msg = f"{name} must be a matrix (n_cells, n_genes), got shape {values.shape}"
        raise UsageError(msg)
    if n_genes is not None and values.shape[1] != n_genes:
        msg = f"{name} has {values.shape[1]} columns, expected {n_genes} in the order of training"
        raise UsageError(msg)
    if not np.isfinite(values).all():
        msg = f"{name} has NaN, infinite or too large values; remove or impute them first"
        raise UsageError(msg)
    return values


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view of an array through which nobody writes; the array itself stays as it is."""
    view = array.view()
    view.flags.writeable = False
    return view
