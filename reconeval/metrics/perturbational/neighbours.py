"""Which measured cells surround the predicted ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import as_matrix, check_pair
from reconeval.metrics._threads import in_threads
from reconeval.metrics.device import on_torch
from reconeval.metrics.kernels import Centred, block_distances

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = ["knn_purity"]

# ‖a‖² + ‖b‖² - 2ab in float32 is off by at most this share of ‖a‖² + ‖b‖².
ERROR = 8 * float(np.finfo(np.float32).eps)
BLOCK = 512
BLOCK_ENTRIES = 1 << 23  # of predicted x pool distances held at once, 32 MB


def knn_purity(
    X: FloatArray,
    Y: FloatArray,
    controls: FloatArray,
    *,
    k: int = 20,
    known: FloatArray | None = None,
    device: str | None = None,
) -> float:
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
    known
        Float32 array of shape (n_predicted_cells, n_cells): squared distances of `Y` and `X`
        that `reconeval.metrics.kernels.pair_sums` kept; default computed.
    device
        Where to compute, as for `reconeval.metrics.device.on_torch`; default NumPy.

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
    _check(X, controls, k)
    place = on_torch(device)
    if place is not None:
        return place.count_neighbours(Y, X, controls, k=k) / (k * len(Y))
    return _count_neighbours(X, Y, controls, k=k, known=known) / (k * len(Y))


def _check(X: FloatArray, controls: FloatArray, k: int) -> None:
    if controls.shape[1] != X.shape[1]:
        msg = f"the controls have {controls.shape[1]} columns, expected the {X.shape[1]} of X"
        raise UsageError(msg)
    if k < 1:
        msg = f"k is {k}, expected at least 1 neighbour"
        raise UsageError(msg)
    if len(X) + len(controls) <= k:
        found = f"{len(X)} perturbed and {len(controls)} control cells"
        msg = f"needs more than k = {k} cells in the pool, found {found}"
        raise Undefined(msg)


def _count_neighbours(
    X: FloatArray, Y: FloatArray, controls: FloatArray, *, k: int, known: FloatArray | None
) -> float:
    """Count the perturbed cells among the k nearest of all predicted ones, block by block."""
    n_pool = len(X) + len(controls)
    # Distances do not see the origin, but rounding does. Known ones have this origin, too.
    centre = X.mean(axis=0, dtype=np.float64)
    predicted = Centred(Y, centre, max(1, min(BLOCK, BLOCK_ENTRIES // n_pool)))
    parts = (
        Centred(X, centre, BLOCK, hold=known is None),
        Centred(controls, centre, BLOCK, hold=True),
    )
    largest = max(in_threads(Centred.largest_norm, parts))

    def count(i: int) -> float:
        cells = predicted.read(i, np.float32)
        squared = np.empty((len(cells.rows), n_pool), dtype=np.float32)
        if known is not None:
            squared[:, : len(X)] = known[i * predicted.block : (i + 1) * predicted.block]
        at = 0 if known is None else len(X)
        for part in parts if known is None else parts[1:]:
            for j in range(part.blocks):
                others = part.read(j, np.float32)
                squared[:, at : at + len(others.rows)] = block_distances(cells, others)
                at += len(others.rows)
        error = ERROR * (cells.norms + largest)
        return _neighbours(predicted.raw(i), X, controls, squared, error=error, k=k)

    return float(sum(in_threads(count, range(predicted.blocks))))


def _neighbours(
    Y: FloatArray,
    X: FloatArray,
    controls: FloatArray,
    squared: FloatArray,
    *,
    error: FloatArray,
    k: int,
) -> float:
    """Count the perturbed cells among the k nearest, from distances known up to an error.

    Cells nearer or farther than the k-th by more than the error are settled. The few between,
    ties among them, are told apart by their distance in float64.
    """
    farthest = np.partition(squared, k - 1, axis=1)[:, k - 1]
    low, high = (farthest + sign * 2 * error for sign in (-1, 1))
    # Few of all pairs are this near: the rest is done on a list of them.
    rows, numbers = np.divmod(np.flatnonzero(squared <= high[:, None]), squared.shape[1])
    perturbed = numbers < len(X)
    nearer = squared[rows, numbers] < low[rows]
    places = k - np.bincount(rows[nearer], minlength=len(Y))
    settled = np.bincount(rows[~nearer], minlength=len(Y)) <= places
    total = float(np.count_nonzero(perturbed & (nearer | settled[rows])))
    for row in np.flatnonzero(~settled):
        tied = (rows == row) & ~nearer
        among, ours = numbers[tied], perturbed[tied]
        cells = np.concatenate([X[among[ours]], controls[among[~ours] - len(X)]])
        exact = np.square(cells.astype(np.float64) - Y[row]).sum(axis=1)
        last = np.partition(exact, places[row] - 1)[places[row] - 1]
        inside = exact < last
        left = places[row] - np.count_nonzero(inside)
        total += np.count_nonzero(inside & ours) + left * float(ours[exact == last].mean())
    return total
