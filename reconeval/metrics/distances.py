"""Distances between the distributions of measured and predicted cells.

None of them needs to know which predicted cell belongs to which measured one. `X` is the truth
and `Y` the prediction, cells x genes, on one scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconeval.errors import UsageError
from reconeval.metrics._checks import check_pair
from reconeval.metrics.components import N_COMPONENTS, fit_components, median_squared_distance
from reconeval.metrics.two_sample import two_sample

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = [
    "energy_distance",
    "energy_distance_pca",
    "median_gammas",
    "mmd_rbf",
    "mmd_rbf_median",
]

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def energy_distance(X: FloatArray, Y: FloatArray) -> float:
    """Energy distance over all genes and all pairs of cells.

    2E|X - Y| - E|X - X'| - E|Y - Y'| with Euclidean distances. The means run over all pairs,
    those of a cell with itself included (V-statistic), so that it is never negative.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction, same scale.

    Returns
    -------
    In [0, inf), lower is better, 0 for equal distributions alone; in units of the input. Defined
    for a single cell on each side, where it is twice their distance. Between samples of one
    distribution it is above 0 and falls with the number of cells.

    Raises
    ------
    UsageError
        If the shapes do not fit or a value is not finite.

    References
    ----------
    doi:10.1016/j.jspi.2013.03.018

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> energy_distance(X, X)
    0.0
    >>> energy_distance(X, np.zeros((3, 2)))
    2.5
    """
    X, Y = check_pair(X, Y)
    return two_sample(X, Y).energy()


def energy_distance_pca(
    X: FloatArray, Y: FloatArray, *, train: FloatArray, n_components: int = N_COMPONENTS
) -> float:
    """Energy distance in principal components of the training truth, unbiased.

    As `energy_distance`, but E|X - X'| and E|Y - Y'| run over pairs of different cells
    (U-statistic): between independent samples of one distribution it is 0 on average, whatever
    the numbers of cells.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction, same scale.
    train
        Array of shape (n_train_cells, n_genes). Measured training cells, same scale; the
        components are fitted on these alone.
    n_components
        How many at most; fewer where the training cells span fewer directions.

    Returns
    -------
    In (-inf, inf), lower is better, in units of the input. A little below 0 is chance, or cells
    of the prediction that copy those of the truth: they are nearer than independent cells.

    Raises
    ------
    Undefined
        If a side has fewer than 2 cells, or the training cells are fewer than 2 or all equal.
    UsageError
        If the shapes do not fit or a value is not finite.

    References
    ----------
    doi:10.1016/j.jspi.2013.03.018

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> round(energy_distance_pca(X, X + 100.0, train=X), 2)
    270.0
    >>> energy_distance_pca(X[:1], X, train=X)
    Traceback (most recent call last):
    reconeval.errors.Undefined: needs 2 cells on both sides (1 measured, 2 predicted)
    """
    X, Y = check_pair(X, Y)
    components = fit_components(train, n_components=n_components)
    return two_sample(components.project(X), components.project(Y), exact=True).energy(
        unbiased=True
    )


def mmd_rbf(X: FloatArray, Y: FloatArray, *, gamma: float = 1.0) -> float:
    """Squared maximum mean discrepancy with one RBF kernel, over all genes and pairs.

    mean k(X, X) + mean k(Y, Y) - 2 mean k(X, Y) with k = `exp(-gamma · |a - b|²)` and all
    pairs, those of a cell with itself included. The default gamma is the published one; over
    thousands of genes nearly every kernel value is then 0 and what is left is 1/n_cells +
    1/n_predicted_cells, unless predicted cells coincide: it tells a collapse and little else.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction, same scale.
    gamma
        Factor of the squared distance, above 0.

    Returns
    -------
    In [0, 2], lower is better, a pure number. Defined for a single cell.

    Raises
    ------
    UsageError
        If gamma is not above 0, the shapes do not fit or a value is not finite.

    References
    ----------
    Gretton et al., A kernel two-sample test, JMLR 13 (2012) 723-773; gamma 1 as in
    doi:10.64898/2026.06.15.731445

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [30.0, 40.0]])
    >>> mmd_rbf(X, X), mmd_rbf(X, X + 10.0), mmd_rbf(X, np.full((2, 2), 10.0))
    (0.0, 1.0, 1.5)
    """
    X, Y = check_pair(X, Y)
    if not gamma > 0:
        msg = f"gamma must be above 0, got {gamma}"
        raise UsageError(msg)
    return two_sample(X, Y, gammas=(gamma,)).mmd()


def mmd_rbf_median(
    X: FloatArray,
    Y: FloatArray,
    *,
    train: FloatArray,
    n_components: int = N_COMPONENTS,
    seed: int = 0,
) -> float:
    """Squared maximum mean discrepancy in principal components, unbiased, median bandwidths.

    The mean over five kernels `exp(-|a - b|² / h)`, h = 1/4, 1/2, 1, 2 and 4 times the median
    squared distance between pairs of training cells, of the unbiased estimate, which leaves out
    the pairs of a cell with itself. Components and bandwidths come from the training truth
    alone: a median over both sides would widen with a bad prediction and forgive it, and the
    values of two models could not be compared.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction, same scale.
    train
        Array of shape (n_train_cells, n_genes). Measured training cells, same scale.
    n_components
        How many at most; fewer where the training cells span fewer directions.
    seed
        Draws 1000 training cells for the median where there are more.

    Returns
    -------
    In [-2, 2], lower is better, a pure number; 0 on average between independent samples of one
    distribution, a little below 0 where predicted cells copy those of the truth.

    Raises
    ------
    Undefined
        If a side has fewer than 2 cells, or the training cells are fewer than 2, all equal, or
        equal in more than half of their pairs.
    UsageError
        If the shapes do not fit or a value is not finite.

    References
    ----------
    Gretton et al., A kernel two-sample test, JMLR 13 (2012) 723-773

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> abs(mmd_rbf_median(X[:100], X[100:], train=X)) < 0.01
    True
    >>> round(mmd_rbf_median(X[:100], X[100:] + 2.0, train=X), 2)
    0.49
    >>> mmd_rbf_median(X, X, train=np.repeat(X[:2], [1, 9], axis=0))
    Traceback (most recent call last):
    reconeval.errors.Undefined: no bandwidth: most pairs of training cells are equal
    """
    X, Y = check_pair(X, Y)
    components = fit_components(train, n_components=n_components)
    gammas = median_gammas(components.project(train), seed=seed)
    sample = two_sample(components.project(X), components.project(Y), gammas=gammas, exact=True)
    return sample.mmd(unbiased=True)


def median_gammas(cells: FloatArray, *, seed: int = 0) -> tuple[float, ...]:
    """Return the factors 1/h of the kernels of `mmd_rbf_median`.

    Parameters
    ----------
    cells
        Array of shape (n_train_cells, n_components). Training cells in components.
    seed
        Draws 1000 of them where there are more.

    Returns
    -------
    One factor per bandwidth, from the narrowest to the widest.

    Raises
    ------
    Undefined
        If more than half of the pairs coincide.
    """
    median = median_squared_distance(cells, seed=seed)
    return tuple(1.0 / (width * median) for width in BANDWIDTHS)
