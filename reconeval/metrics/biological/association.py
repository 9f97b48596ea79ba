"""Correlation of columns, with a rule for columns that do not vary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from reconeval._typing import BoolArray, FloatArray

__all__ = ["Method", "check_method", "column_correlations", "varies"]

Method = Literal["spearman", "pearson"]

# Far below the resolution of float32 data and far above the rounding of float64 sums: values
# that differ by less are the same number, added up in another order.
_RELATIVE_SPREAD = 1e-10


def check_method(method: str) -> None:
    """Raise `UsageError` unless `method` is spearman or pearson."""
    if method not in {"spearman", "pearson"}:
        msg = f"unknown correlation {method!r}, expected 'spearman' or 'pearson'"
        raise UsageError(msg)


def varies(values: FloatArray) -> BoolArray:
    """Return which columns hold more than one value.

    Parameters
    ----------
    values
        Array of shape (n, n_columns).

    Returns
    -------
    Array of shape (n_columns,), bool; a spread of rounding errors does not count.
    """
    return np.asarray(np.ptp(values, axis=0) > _RELATIVE_SPREAD * np.abs(values).max(axis=0))


def column_correlations(A: FloatArray, B: FloatArray, *, method: Method) -> FloatArray:
    """Correlate each column of `A` with the same column of `B`.

    Parameters
    ----------
    A
        Array of shape (n, n_columns). Truth.
    B
        Array of shape (n, n_columns). Prediction.
    method
        Spearman (of average ranks) or Pearson.

    Returns
    -------
    Array of shape (n_columns,), in [-1, 1], higher is better: NaN where the truth does not vary
    or n is below 3, 0 where the prediction alone does not vary.
    """
    if len(A) < 3:
        return np.full(A.shape[1], np.nan)
    a_varies, b_varies = varies(A), varies(B)
    if method == "spearman":
        from scipy.stats import rankdata

        A, B = rankdata(A, axis=0), rankdata(B, axis=0)
    a, b = A - A.mean(axis=0), B - B.mean(axis=0)
    norms = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    values = np.zeros(A.shape[1])
    np.divide(np.einsum("ij,ij->j", a, b), norms, out=values, where=b_varies & (norms > 0))
    np.clip(values, -1, 1, out=values)  # rounding can put a perfect correlation beyond
    values[~a_varies] = np.nan
    return values
