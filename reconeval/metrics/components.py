"""Principal components of the training truth, the space of several distance metrics.

They are fitted on measured training cells alone, so that all models, seeds and predictions of a
dataset and split are compared in one space, which none of them has shaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import as_matrix

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = ["N_COMPONENTS", "Components", "fit_components", "median_squared_distance"]

N_COMPONENTS = 50

# Components with less than this share of the first one's variance are rounding, in a direction
# that differs from machine to machine.
NULL_SHARE = 1e-9
FULL_SVD_SIDE = 500  # up to this smaller side a full decomposition is as fast as a truncated one
MEDIAN_CELLS = 1000  # half a million pairs fix a median to well under 1 %


@dataclass(frozen=True, eq=False)
class Components:
    """Principal axes.

    Attributes
    ----------
    mean
        Array of shape (n_genes,): mean of the training cells.
    axes
        Array of shape (n_genes, n_components), orthonormal columns.
    """

    mean: FloatArray
    axes: FloatArray

    def project(self, X: FloatArray) -> FloatArray:
        """Return the coordinates of cells.

        Parameters
        ----------
        X
            Array of shape (n_cells, n_genes), same genes and scale as the training cells.

        Returns
        -------
        Float64 array of shape (n_cells, n_components).

        Raises
        ------
        UsageError
            If the number of genes is another.
        """
        if X.shape[1] != len(self.mean):
            msg = f"cells have {X.shape[1]} genes, expected the {len(self.mean)} of the training"
            raise UsageError(msg)
        blocks = np.array_split(X, -(-len(X) // 1024))  # keeps the float64 copy small
        return np.concatenate([(block - self.mean) @ self.axes for block in blocks])


def fit_components(train: FloatArray, *, n_components: int = N_COMPONENTS) -> Components:
    """Fit principal components.

    Parameters
    ----------
    train
        Array of shape (n_train_cells, n_genes). Measured training cells.
    n_components
        How many at most; fewer where the training cells span fewer directions.

    Returns
    -------
    The components, in float64 and not approximated.

    Raises
    ------
    Undefined
        If there are fewer than 2 training cells, or all are equal.
    UsageError
        If `train` is no matrix of finite numbers, or `n_components` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> fit_components(np.eye(5)).axes.shape
    (5, 4)
    >>> fit_components(np.ones((5, 3)))
    Traceback (most recent call last):
    reconeval.errors.Undefined: no principal components: all 5 training cells are equal
    """
    from sklearn.decomposition import PCA

    train = as_matrix(train, "the training truth")
    if n_components < 1:
        msg = f"n_components must be at least 1, got {n_components}"
        raise UsageError(msg)
    if (train == train[0]).all():
        msg = f"no principal components: all {len(train)} training cells are equal"
        raise Undefined(msg)
    limit = min(n_components, len(train) - 1, train.shape[1])
    solver = "full" if min(train.shape) <= FULL_SVD_SIDE else "arpack"
    pca = PCA(limit, svd_solver=solver, random_state=0).fit(train.astype(np.float64))
    kept = pca.explained_variance_ > NULL_SHARE * pca.explained_variance_[0]
    return Components(pca.mean_, np.ascontiguousarray(pca.components_[kept].T))


def median_squared_distance(cells: FloatArray, *, seed: int = 0) -> float:
    """Return the median squared distance over pairs of different cells.

    Parameters
    ----------
    cells
        Array of shape (n_cells, n_components).
    seed
        Draws 1000 of the cells where there are more.

    Returns
    -------
    Above 0, in squared units of the input.

    Raises
    ------
    Undefined
        If more than half of the pairs coincide.
    """
    from scipy.spatial.distance import pdist

    if len(cells) > MEDIAN_CELLS:
        cells = np.random.default_rng(seed).choice(cells, MEDIAN_CELLS, replace=False)
    median = float(np.median(pdist(cells, "sqeuclidean")))
    if median == 0:
        msg = "no bandwidth: most pairs of training cells are equal"
        raise Undefined(msg)
    return median
