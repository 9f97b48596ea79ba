"""The mean shift that a perturbation causes, and how well it is predicted.

These see the mean of the predicted cells alone: a prediction without any spread is not found
out here but by `relative_distance` and the recovery of significant genes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import as_matrix, check_pair
from reconeval.metrics.biological.association import column_correlations

if TYPE_CHECKING:
    from reconeval._typing import FloatArray, IntArray, StrArray

__all__ = [
    "as_profile",
    "control_halves",
    "has_no_shift",
    "mean_profile",
    "pearson_delta",
    "pearson_delta_pert",
    "pearson_of_shifts",
]

# A predicted shift this much smaller than the true one is rounding: a model that returns its
# control cells, or the mean of the training set in float32, must not be scored by its last digit.
NEGLIGIBLE = 1e-4


def control_halves(
    n: int, seed: int = 0, *, strata: StrArray | None = None
) -> tuple[IntArray, IntArray]:
    """Split control cells in two: one half for the truth, the other for the prediction.

    Shifts taken from the same control cells share their sampling noise and so correlate even
    where nothing was predicted.

    Parameters
    ----------
    n
        Number of control cells.
    seed
        Seeds the shuffle.
    strata
        Array of shape (n,). Labels, such as cell types, of which each half gets the same share:
        what differs between cell types then makes no difference between the halves.

    Returns
    -------
    Sorted positions for the truth and for the prediction: disjoint, together all `n`; the
    truth has one more where `n` is odd.

    Raises
    ------
    Undefined
        If there are fewer than 2 cells.

    Examples
    --------
    >>> truth, prediction = control_halves(5)
    >>> len(truth), len(prediction), set(truth) & set(prediction)
    (3, 2, set())
    """
    if n < 2:
        msg = f"needs at least 2 control cells to split in halves, got {n}"
        raise Undefined(msg)
    order = np.random.default_rng(seed).permutation(n)
    if strata is not None:
        order = order[np.argsort(strata[order], kind="stable")]
        return np.sort(order[::2]), np.sort(order[1::2])
    middle = (n + 1) // 2
    return np.sort(order[:middle]), np.sort(order[middle:])


def mean_profile(cells: FloatArray) -> FloatArray:
    """Mean of each gene over the cells, summed in float64."""
    return np.asarray(cells.mean(axis=0, dtype=np.float64))


def has_no_shift(predicted: FloatArray, true: FloatArray) -> bool:
    """Whether a predicted shift is nothing beside the true one but rounding."""
    return bool(np.abs(predicted).max() <= NEGLIGIBLE * np.abs(true).max())


def pearson_delta(X: FloatArray, Y: FloatArray, controls: FloatArray, *, seed: int = 0) -> float:
    """Pearson correlation over genes of the true and the predicted shift against control.

    The shift is the mean of the perturbed cells less the mean of control cells; truth and
    prediction are taken against disjoint halves of the real controls. It is blind to the size
    of the shift and to a common offset: read it beside `weighted_r2_delta_pert`.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Measured cells of one perturbation, log1p of counts
        per 10 000.
    Y
        Array of shape (n_predicted_cells, n_genes). Predicted cells, same scale.
    controls
        Array of shape (n_control_cells, n_genes). Measured control cells, same scale. Never
        predicted ones: a model could move those.
    seed
        Seeds the split of the controls in halves.

    Returns
    -------
    In [-1, 1], higher is better; 0 where the predicted shift is the same in all genes, or differs
    between them by less than 1e-4 of the true one.

    Raises
    ------
    Undefined
        If the true shift is the same for all genes, or there are fewer than 2 controls.
    UsageError
        If the genes differ or a value is not finite.

    References
    ----------
    doi:10.1038/s41592-025-02772-6

    Examples
    --------
    >>> import numpy as np
    >>> controls, X = np.zeros((4, 3)), np.array([[0.0, 1.0, 2.0]])
    >>> round(pearson_delta(X, 5 * X, controls), 6)
    1.0
    >>> pearson_delta(X, controls, controls)
    0.0
    """
    X, Y = check_pair(X, Y)
    _, controls = check_pair(X, as_matrix(controls, "the controls"))
    first, second = control_halves(len(controls), seed)
    return pearson_of_shifts(
        mean_profile(X) - mean_profile(controls[first]),
        mean_profile(Y) - mean_profile(controls[second]),
    )


def pearson_delta_pert(X: FloatArray, Y: FloatArray, background: FloatArray) -> float:
    """Pearson correlation over genes of the true and predicted shift against other perturbations.

    What all perturbations of an experiment have in common is part of `background` and earns
    nothing here, so that predicting the average effect scores 0.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Measured cells of one perturbation, log1p of counts
        per 10 000.
    Y
        Array of shape (n_predicted_cells, n_genes). Predicted cells, same scale.
    background
        Array of shape (n_genes,). Mean of the mean profiles of the other perturbations of the
        training set. The scored perturbation must not be in it.

    Returns
    -------
    In [-1, 1], higher is better; 0 where the prediction equals the background.

    Raises
    ------
    Undefined
        If the truth differs from the background by the same amount in all genes.
    UsageError
        If the genes differ or a value is not finite.

    References
    ----------
    doi:10.1038/s41587-025-02777-8

    Examples
    --------
    >>> import numpy as np
    >>> background, X = np.array([1.0, 1.0, 1.0]), np.array([[0.0, 1.0, 3.0]])
    >>> round(pearson_delta_pert(X, X, background), 6)
    1.0
    """
    X, Y = check_pair(X, Y)
    background = as_profile(background, X.shape[1], "the background")
    return pearson_of_shifts(mean_profile(X) - background, mean_profile(Y) - background)


def pearson_of_shifts(true: FloatArray, predicted: FloatArray) -> float:
    """Pearson of two shifts over genes; 0 where the predicted one does not vary over genes."""
    if has_no_shift(predicted - predicted.mean(), true - true.mean()):
        predicted = np.zeros_like(predicted)
    value = column_correlations(true[:, None], predicted[:, None], method="pearson")[0]
    if np.isnan(value):
        msg = "the true shift is the same in all genes, or there are fewer than 3 of them"
        raise Undefined(msg)
    return float(value)


def as_profile(values: FloatArray, n_genes: int, name: str) -> FloatArray:
    """Return one finite value per gene, in float64."""
    profile = np.asarray(values, dtype=np.float64)
    if profile.shape != (n_genes,) or not np.isfinite(profile).all():
        msg = f"{name} has shape {profile.shape}, expected ({n_genes},) finite values"
        raise UsageError(msg)
    return profile
