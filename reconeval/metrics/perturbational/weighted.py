"""Errors of the mean profile where only the genes that respond have a vote.

Over all genes the sampling noise of the many that do not respond outweighs the few that do, and
predicting the mean of the training set wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import check_pair
from reconeval.metrics.perturbational.shifts import as_profile, mean_profile

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = ["response_weights", "weighted_mse", "weighted_r2_delta_pert"]

# Means that agree to this share are equal but for rounding, which would give a gene that is
# constant on both sides a huge statistic.
ROUNDING = 1e-9


def response_weights(X: FloatArray, rest: FloatArray) -> FloatArray:
    """Weigh genes by how clearly they respond to a perturbation in the truth.

    The absolute t statistic (Welch) of the cells against the rest, brought to [0, 1] over genes
    and squared: a gene that does not respond has no vote.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Measured cells of one perturbation.
    rest
        Array of shape (n_rest, n_genes). All other measured cells: of other perturbations, and
        the controls.

    Returns
    -------
    Array of shape (n_genes,), at least 0, sum 1. A gene that is constant on both sides, at
    different values, has an infinite statistic and weighs as much as the largest finite one.

    Raises
    ------
    Undefined
        If either side has fewer than 2 cells, or no gene stands out from the others.
    UsageError
        If the genes differ or a value is not finite.

    References
    ----------
    doi:10.48550/arXiv.2506.22641
    """
    X, rest = check_pair(X, rest)
    if min(len(X), len(rest)) < 2:
        msg = f"weights need 2 cells on both sides ({len(X)} perturbed, {len(rest)} others)"
        raise Undefined(msg)
    x, others = mean_profile(X), mean_profile(rest)
    difference = np.abs(x - others)
    error = np.sqrt(_mean_variance(X) + _mean_variance(rest))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(difference > ROUNDING * np.abs(x), difference / error, 0.0)
    t = np.minimum(t, t[np.isfinite(t)].max(initial=0.0))
    if np.ptp(t) == 0:
        msg = "no gene responds more than the others, so there are no weights"
        raise Undefined(msg)
    weights = np.square((t - t.min()) / np.ptp(t))
    return np.asarray(weights / weights.sum())


def _mean_variance(cells: FloatArray) -> FloatArray:
    """Variance of each gene's mean."""
    return np.asarray(cells.var(axis=0, ddof=1, dtype=np.float64) / len(cells))


def weighted_mse(X: FloatArray, Y: FloatArray, weights: FloatArray) -> float:
    """Squared error of the mean profile, weighted by the genes' response.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Measured cells of one perturbation, log1p of counts
        per 10 000.
    Y
        Array of shape (n_predicted_cells, n_genes). Predicted cells, same scale.
    weights
        Array of shape (n_genes,), at least 0, from `response_weights`.

    Returns
    -------
    At least 0, lower is better, in squared log1p units.

    Raises
    ------
    UsageError
        If the shapes do not fit, a value is not finite, or the weights are not weights.

    References
    ----------
    doi:10.48550/arXiv.2506.22641

    Examples
    --------
    >>> import numpy as np
    >>> weighted_mse(np.array([[0.0, 1.0]]), np.array([[9.0, 3.0]]), np.array([0.0, 1.0]))
    4.0
    """
    X, Y = check_pair(X, Y)
    weights = _as_weights(weights, X.shape[1])
    return float(weights @ np.square(mean_profile(X) - mean_profile(Y)))


def weighted_r2_delta_pert(
    X: FloatArray, Y: FloatArray, background: FloatArray, weights: FloatArray
) -> float:
    """Share of the weighted variance over genes of the true shift that is predicted.

    With the shifts d and e of truth and prediction against the background and weights w,
    1 - sum(w (d - e)²) / sum(w (d - mean_w(d))²).

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Measured cells of one perturbation, log1p of counts
        per 10 000.
    Y
        Array of shape (n_predicted_cells, n_genes). Predicted cells, same scale.
    background
        Array of shape (n_genes,). As for `pearson_delta_pert`.
    weights
        Array of shape (n_genes,), at least 0, from `response_weights`.

    Returns
    -------
    In (-inf, 1], higher is better. Never clipped: below 0 the prediction is worse than one shift
    for all genes.

    Raises
    ------
    Undefined
        If the weighted true shift is the same in all genes.
    UsageError
        If the shapes do not fit, a value is not finite, or the weights are not weights.

    References
    ----------
    doi:10.48550/arXiv.2506.22641

    Examples
    --------
    >>> import numpy as np
    >>> X, w = np.array([[1.0, 2.0, 9.0]]), np.array([0.5, 0.5, 0.0])
    >>> weighted_r2_delta_pert(X, X, np.zeros(3), w)
    1.0
    """
    X, Y = check_pair(X, Y)
    weights = _as_weights(weights, X.shape[1])
    x, y = mean_profile(X), mean_profile(Y)
    true = x - as_profile(background, X.shape[1], "the background")
    total = float(weights @ np.square(true - weights @ true))
    if total == 0:
        msg = "the true shift is the same in all genes that have a weight"
        raise Undefined(msg)
    return 1.0 - float(weights @ np.square(x - y)) / total


def _as_weights(values: FloatArray, n_genes: int) -> FloatArray:
    """Return weights of sum 1."""
    weights = as_profile(values, n_genes, "the weights")
    if weights.min() < 0 or weights.sum() == 0:
        msg = "the weights must be at least 0 and not all 0"
        raise UsageError(msg)
    return np.asarray(weights / weights.sum())
