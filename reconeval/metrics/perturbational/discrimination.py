"""Whether a predicted effect is told apart from the effects of other perturbations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import check_pair
from reconeval.metrics.perturbational.shifts import has_no_shift

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconeval._typing import FloatArray, StrArray

__all__ = ["discrimination", "discrimination_cosine", "discrimination_l1", "discrimination_l2"]

Distance = Literal["l1", "l2", "cosine"]


def discrimination(
    X: FloatArray,
    Y: FloatArray,
    distance: Distance,
    *,
    targets: Sequence[int | None] | None = None,
    covariates: StrArray | None = None,
) -> FloatArray:
    """Rank the true perturbation by its distance to each predicted one.

    1 - (number of other perturbations that are closer + ½ number of equally close) / (n - 1),
    among the n measured perturbations of the same covariate.

    Parameters
    ----------
    X
        Array of shape (n_perturbations, n_genes). Measured effect of each perturbation: its mean
        profile or, for the cosine, its shift against control.
    Y
        Array of shape (n_perturbations, n_genes). Predicted effects, same order and scale.
    distance
        l1, l2 or cosine. For the cosine a prediction without any shift is equally far from all.
    targets
        For each perturbation the column of the gene it targets, or None; that gene is left out
        of the distances, since every model knows that it changes.
    covariates
        Array of shape (n_perturbations,). Perturbations are ranked within each value, such as a
        cell type; by default all together.

    Returns
    -------
    Array of shape (n_perturbations,), in [0, 1], higher is better; chance is 0.5, and the mean
    is exactly that for a model that predicts one effect for all, no targets given. NaN for the
    only perturbation of a covariate.

    Raises
    ------
    UsageError
        If the shapes do not fit or a value is not finite.

    References
    ----------
    doi:10.48550/arXiv.2408.10609
    doi:10.1016/j.cell.2025.06.008

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [4.0, 1.0], [9.0, 1.0]])
    >>> discrimination(X, X, "l2")
    array([1., 1., 1.])
    >>> discrimination(X, np.full((3, 2), 2.0), "l1")
    array([0.75, 0.75, 0.  ])
    """
    X, Y = check_pair(X, Y, paired=True)
    targets = [None] * len(X) if targets is None else targets
    groups = np.zeros(len(X)) if covariates is None else np.asarray(covariates)
    for name, values in (("targets", targets), ("covariates", groups)):
        if len(values) != len(X):
            msg = f"{len(values)} {name} for {len(X)} perturbations, expected one each"
            raise UsageError(msg)
    scores = np.full(len(X), np.nan)
    for value in np.unique(groups):
        (members,) = np.nonzero(groups == value)
        true = X[members].astype(np.float64)
        for own, row in enumerate(members):
            if len(members) > 1:
                scores[row] = _rank(
                    true, Y[row].astype(np.float64), own, distance, targets[int(row)]
                )
    return scores


def _rank(
    true: FloatArray, predicted: FloatArray, own: int, distance: Distance, target: int | None
) -> float:
    """Score of one prediction, where row `own` is its truth."""
    if target is not None:
        # a column of zeros adds nothing to either distance or to the products of the cosine
        true, predicted = true.copy(), predicted.copy()
        true[:, target] = predicted[target] = 0.0
    distances = _distances(true, predicted, distance, own)
    closer = np.count_nonzero(distances < distances[own])
    ties = np.count_nonzero(distances == distances[own]) - 1
    return float(1 - (closer + ties / 2) / (len(true) - 1))


def _distances(true: FloatArray, predicted: FloatArray, distance: Distance, own: int) -> FloatArray:
    """Distance of each row to one vector; equal rows come out exactly equal."""
    if distance == "l1":
        return np.asarray(np.abs(true - predicted).sum(axis=1))
    if distance == "l2":
        return np.asarray(np.square(true - predicted).sum(axis=1))
    if has_no_shift(predicted, true[own]):
        return np.zeros(len(true))
    norms = np.linalg.norm(true, axis=1) * np.linalg.norm(predicted)
    products = (true * predicted).sum(axis=1)
    cosines = np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
    return np.asarray(1 - cosines)


def _mean(scores: FloatArray) -> float:
    """Mean over the perturbations that have others beside them."""
    if np.isnan(scores).all():
        msg = "needs at least 2 perturbations of one covariate to tell apart"
        raise Undefined(msg)
    return float(np.nanmean(scores))


def discrimination_l1(
    X: FloatArray,
    Y: FloatArray,
    *,
    targets: Sequence[int | None] | None = None,
    covariates: StrArray | None = None,
) -> float:
    """Mean of `discrimination` by the sum of absolute differences.

    Parameters
    ----------
    X, Y, targets, covariates
        As for `discrimination`, mean profiles.

    Returns
    -------
    In [0, 1], higher is better, chance 0.5.

    Raises
    ------
    Undefined
        If no covariate has 2 perturbations.
    UsageError
        If the shapes do not fit or a value is not finite.

    References
    ----------
    doi:10.1016/j.cell.2025.06.008
    """
    return _mean(discrimination(X, Y, "l1", targets=targets, covariates=covariates))


def discrimination_l2(
    X: FloatArray,
    Y: FloatArray,
    *,
    targets: Sequence[int | None] | None = None,
    covariates: StrArray | None = None,
) -> float:
    """Mean of `discrimination` by the Euclidean distance.

    Parameters
    ----------
    X, Y, targets, covariates
        As for `discrimination`, mean profiles.

    Returns
    -------
    In [0, 1], higher is better, chance 0.5.

    Raises
    ------
    Undefined
        If no covariate has 2 perturbations.
    UsageError
        If the shapes do not fit or a value is not finite.

    References
    ----------
    doi:10.48550/arXiv.2408.10609
    """
    return _mean(discrimination(X, Y, "l2", targets=targets, covariates=covariates))


def discrimination_cosine(
    X: FloatArray,
    Y: FloatArray,
    *,
    targets: Sequence[int | None] | None = None,
    covariates: StrArray | None = None,
) -> float:
    """Mean of `discrimination` by one less the cosine of two shifts, blind to their size.

    Parameters
    ----------
    X, Y, targets, covariates
        As for `discrimination`, shifts against disjoint halves of the controls.

    Returns
    -------
    In [0, 1], higher is better, chance 0.5.

    Raises
    ------
    Undefined
        If no covariate has 2 perturbations.
    UsageError
        If the shapes do not fit or a value is not finite.

    References
    ----------
    doi:10.48550/arXiv.2408.10609
    """
    return _mean(discrimination(X, Y, "cosine", targets=targets, covariates=covariates))
