"""Which measured cells surround the predicted ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import as_matrix, check_pair

if TYPE_CHECKING:
    from reconeval._typing import BoolArray, FloatArray

__all__ = ["knn_purity"]

# ‖a‖² + ‖b‖² - 2ab in float32 is off by at most this share of ‖a‖² + ‖b‖².
ERROR = 8 * float(np.finfo(np.float32).eps)
BLOCK_ENTRIES = 1 << 23  # of predicted x pool distances held at once, 32 MB


def knn_purity(X: FloatArray, Y: FloatArray, controls: FloatArray, *, k: int = 20) -> float:
    """Share of measured perturbed cells among the neighbours of the predicted ones.

    For each predicted cell the `k` nearest cells, by Euclidean distance, of the measured
    perturbed and the control cells together; the share of perturbed ones, mean over predicted
    cells. Where several cells are equally far as the k-th, the places left are shared among them
    evenly: a perturbed and a control cell that tie for one place count a half, whatever the
    order of the cells.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_dimensions). Measured cells of one perturbation, in genes or
        in an embedding.
    Y
        Array of shape (n_predicted_cells, n_dimensions). Predicted cells, same space.
    controls
        Array of shape (n_control_cells, n_dimensions). Measured control cells, same space.
    k
        Number of neighbours.

    Returns
    -------
    In [0, 1], higher is better. Cells placed without regard to the perturbation reach the share
    n_cells / (n_cells + n_control_cells) of the pool, which is 0.5 where the two are as many.

    Raises
    ------
    Undefined
        If the pool has no more than `k` cells, all of which would be neighbours.
    UsageError
        If `k` is below 1, the dimensions differ or a value is not finite.

    References
    ----------
    doi:10.64898/2026.06.15.731445

    Examples
    --------
    >>> import numpy as np
    >>> X, controls = np.array([[1.0], [2.0]]), np.array([[-1.0], [-2.0]])
    >>> knn_purity(X, np.array([[1.4]]), controls, k=2)
    1.0
    >>> knn_purity(X, np.array([[0.0]]), controls, k=1)
    0.5
    """
    X, Y = check_pair(X, Y)
    controls = as_matrix(controls, "the controls")
    if controls.shape[1] != X.shape[1]:
        msg = f"the controls have {controls.shape[1]} columns, expected the {X.shape[1]} of X"
        raise UsageError(msg)
    if k < 1:
        msg = f"k is {k}, expected at least 1 neighbour"
        raise UsageError(msg)
    pool = np.concatenate([X, controls])
    if len(pool) <= k:
        found = f"{len(X)} perturbed and {len(controls)} control cells"
        msg = f"needs more than k = {k} cells in the pool, found {found}"
        raise Undefined(msg)
    perturbed = np.arange(len(pool)) < len(X)
    # Distances do not see the origin, but rounding does.
    centre = pool.mean(axis=0, dtype=np.float64)
    pool32, Y32 = ((cells - centre).astype(np.float32) for cells in (pool, Y))
    pool_norms = np.einsum("ij,ij->i", pool32, pool32)
    shares: list[float] = []
    size = max(1, BLOCK_ENTRIES // len(pool))
    for start in range(0, len(Y), size):
        block = Y32[start : start + size]
        norms = np.einsum("ij,ij->i", block, block)
        squared = norms[:, None] + pool_norms[None, :] - 2 * (block @ pool32.T)
        error = ERROR * (norms + pool_norms.max())
        for row, cell in enumerate(Y[start : start + size]):
            shares.append(_share(cell, pool, perturbed, squared[row], error=error[row], k=k))
    return float(np.mean(shares))


def _share(
    cell: FloatArray,
    pool: FloatArray,
    perturbed: BoolArray,
    squared: FloatArray,
    *,
    error: float,
    k: int,
) -> float:
    """Share of perturbed cells among the k nearest, from distances known up to an error.

    Cells nearer or farther than the k-th by more than the error are settled. The few between,
    ties among them, are told apart by their distance in float64.
    """
    farthest = np.partition(squared, k - 1)[k - 1]
    nearer = squared < farthest - 2 * error
    count = float(perturbed[nearer].sum())
    places = k - int(nearer.sum())
    (open_,) = np.nonzero(~nearer & (squared <= farthest + 2 * error))
    if len(open_) > places:
        exact = np.square(pool[open_].astype(np.float64) - cell).sum(axis=1)
        last = np.partition(exact, places - 1)[places - 1]
        inside, tied = open_[exact < last], open_[exact == last]
        count += float(perturbed[inside].sum())
        count += (places - len(inside)) * float(perturbed[tied].mean())
    else:
        count += float(perturbed[open_].sum())
    return count / k
