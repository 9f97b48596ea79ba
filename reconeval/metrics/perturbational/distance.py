"""How near the predicted cells come, as a distribution, compared with doing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconeval.errors import Undefined
from reconeval.metrics._checks import as_matrix, check_pair
from reconeval.metrics.two_sample import two_sample

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = ["distance_ratio", "relative_distance"]


def relative_distance(X: FloatArray, Y: FloatArray, controls: FloatArray) -> float:
    """Energy distance of prediction and truth over that of controls and truth.

    Both are unbiased (U-statistics): with all pairs, a cell and itself included, the distance
    between samples of one law grows with 1/n, so that the ratio would depend on how many cells
    were measured and predicted. It sees all of the distribution: a prediction without spread is
    far away, even at the right mean.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_dimensions). Measured cells of one perturbation, in genes or
        in principal components.
    Y
        Array of shape (n_predicted_cells, n_dimensions). Predicted cells, same space.
    controls
        Array of shape (n_control_cells, n_dimensions). Measured control cells, same space.

    Returns
    -------
    Lower is better: 0 for cells of the true law (slightly below is noise and not clipped), 1 for
    control cells, above 1 worse than doing nothing.

    Raises
    ------
    Undefined
        If any side has fewer than 2 cells, or the perturbed cells are no farther from the
        controls than those are from each other.
    UsageError
        If the shapes do not fit or a value is not finite.

    References
    ----------
    doi:10.1016/j.jspi.2013.03.018

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> controls = rng.normal(0, 1, (100, 2))
    >>> X, Y = rng.normal(3, 1, (100, 2)), rng.normal(2, 1, (100, 2))
    >>> 0 < relative_distance(X, Y, controls) < 0.5
    True
    """
    X, Y = check_pair(X, Y)
    _, controls = check_pair(X, as_matrix(controls, "the controls"))
    return distance_ratio(
        two_sample(X, Y).energy(unbiased=True), two_sample(X, controls).energy(unbiased=True)
    )


def distance_ratio(prediction: float, controls: float) -> float:
    """Divide the two distances to the truth, where the second is one."""
    if controls <= 0:
        msg = (
            f"the perturbed cells do not differ from the controls (energy distance {controls:.3g})"
        )
        raise Undefined(msg)
    return prediction / controls
