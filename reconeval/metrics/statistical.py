"""Metrics of values, means, variances and zeros.

Everywhere `X` is the truth and `Y` the prediction, cells x genes, on one scale (log1p of counts
per 10 000 in the harness). Sums run in float64, whatever the type of the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics._checks import check_pair

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = [
    "mae",
    "mse",
    "r2",
    "variance_log2_ratio",
    "zero_fraction_error",
]

COLLAPSE_FLOOR = 1e-6
"""Share of the truth's variance that is added to both variances of `variance_log2_ratio`."""


def r2(X: FloatArray, Y: FloatArray) -> float:
    """Coefficient of determination of the genes' means.

    With x and y the mean of each gene over the cells of either side,
    1 - sum((x - y)²) / sum((x - mean(x))²). It sees the average cell alone: a model that
    predicts the training mean for every cell scores close to 1.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction, same scale; its cells may be
        others than those of the truth.

    Returns
    -------
    In (-inf, 1], higher is better; 0 where the prediction is no nearer than one number for all
    genes.

    Raises
    ------
    Undefined
        If all genes have the same mean in the truth, as with one gene alone.
    UsageError
        If the shapes do not fit or a value is not finite.

    References
    ----------
    doi:10.64898/2026.06.15.731445. There on sums over cells, which is the same for equal numbers
    of cells.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0, 2.0], [0.0, 3.0, 2.0]])
    >>> r2(X, X[::-1])
    1.0
    >>> round(r2(X, np.zeros_like(X)), 6)
    -2.0

    Undefined where the truth's genes do not differ, even if the prediction is perfect:

    >>> r2(np.ones((2, 3)), np.ones((2, 3)))
    Traceback (most recent call last):
    reconeval.errors.Undefined: all genes have the same mean in the truth
    """
    X, Y = check_pair(X, Y)
    x, y = X.mean(axis=0, dtype=np.float64), Y.mean(axis=0, dtype=np.float64)
    if x.min() == x.max():
        msg = "all genes have the same mean in the truth"
        raise Undefined(msg)
    return float(1.0 - np.sum((x - y) ** 2) / np.sum((x - x.mean()) ** 2))


def mse(X: FloatArray, Y: FloatArray) -> float:
    """Mean squared error over all entries of paired cells.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_cells, n_genes). Prediction of the same cells, same scale.

    Returns
    -------
    In [0, inf), lower is better; in squared units of the input. Defined for a single cell.

    Raises
    ------
    UsageError
        If the shapes differ or a value is not finite.

    References
    ----------
    doi:10.64898/2026.06.15.731445

    Examples
    --------
    >>> import numpy as np
    >>> mse(np.zeros((2, 2)), np.array([[0.0, 2.0], [0.0, 0.0]]))
    1.0
    """
    X, Y = check_pair(X, Y, paired=True)
    errors = X - Y
    return float(np.mean(np.square(errors, out=errors), dtype=np.float64))


def mae(X: FloatArray, Y: FloatArray) -> float:
    """Mean absolute error over all entries of paired cells.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_cells, n_genes). Prediction of the same cells, same scale.

    Returns
    -------
    In [0, inf), lower is better; in units of the input. Defined for a single cell. As most
    entries are zero, the median, hence a prediction of zeros, does well here.

    Raises
    ------
    UsageError
        If the shapes differ or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> mae(np.zeros((2, 2)), np.array([[0.0, 2.0], [0.0, 0.0]]))
    0.5
    """
    X, Y = check_pair(X, Y, paired=True)
    errors = X - Y
    return float(np.mean(np.abs(errors, out=errors), dtype=np.float64))


def variance_log2_ratio(X: FloatArray, Y: FloatArray) -> float:
    """Median log2 ratio of the genes' variances, prediction to truth.

    Over the genes whose variance in the truth is above 0 and at least the median of all genes,
    the median of log2((v_Y + e) / (v_X + e)), e = 1e-6 · v_X. The floor e makes a prediction
    without variance a finite -19.93 instead of minus infinity and moves a ratio within a factor
    of 1000 of 1 by less than 0.0015. Variances divide by n - 1.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction, same scale; its cells may be
        others than those of the truth.

    Returns
    -------
    In [-19.94, inf), 0 is best; below 0 the prediction varies too little (-1: half the
    variance), above 0 too much.

    Raises
    ------
    Undefined
        If a side has fewer than 2 cells, or every gene is constant in the truth.
    UsageError
        If the shapes do not fit or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0, 1.0], [4.0, 2.0, 1.0]])
    >>> round(variance_log2_ratio(X, X / 2), 5)
    -2.0
    >>> round(variance_log2_ratio(X, np.ones_like(X)), 2)
    -19.93
    >>> variance_log2_ratio(np.ones((2, 3)), X)
    Traceback (most recent call last):
    reconeval.errors.Undefined: every gene is constant in the truth
    """
    X, Y = check_pair(X, Y)
    if min(len(X), len(Y)) < 2:
        msg = f"a variance needs 2 cells on both sides ({len(X)} measured, {len(Y)} predicted)"
        raise Undefined(msg)
    x = X.var(axis=0, ddof=1, dtype=np.float64)
    # Genes of equal variance differ by rounding, and so by the order of cells: take all or none.
    upper = (np.ptp(X, axis=0) > 0) & (x >= np.median(x) * (1 - 1e-9))
    if not upper.any():
        msg = "every gene is constant in the truth"
        raise Undefined(msg)
    x, y = x[upper], Y.var(axis=0, ddof=1, dtype=np.float64)[upper]
    return float(np.median(np.log2((y / x + COLLAPSE_FLOOR) / (1.0 + COLLAPSE_FLOOR))))


def zero_fraction_error(X: FloatArray, Y: FloatArray) -> float:
    """Mean over genes of the absolute difference of the fraction of zeros.

    Only exact zeros count: a model whose output is never exactly 0 scores the truth's mean
    fraction of zeros.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction; its cells may be others than
        those of the truth.

    Returns
    -------
    In [0, 1], lower is better. Defined for a single cell.

    Raises
    ------
    UsageError
        If the shapes do not fit or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.0, 0.0]])
    >>> zero_fraction_error(X, X + 0.1)
    0.75
    """
    X, Y = check_pair(X, Y)
    return float(np.mean(np.abs((X == 0).mean(axis=0) - (Y == 0).mean(axis=0))))
