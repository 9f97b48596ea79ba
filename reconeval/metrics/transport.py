"""Sinkhorn divergence: what it costs to move the predicted cells onto the measured ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import check_pair

if TYPE_CHECKING:
    from reconeval._typing import FloatArray, IntArray

__all__ = [
    "Transport",
    "sinkhorn_divergence",
    "subsample",
    "subsampled",
    "transport",
    "transport_cost",
]

MAX_CELLS = 500
REG = 0.1
TOLERANCE = 1e-6
# The iteration may stall a little above its tolerance. Marginals that are off by this much (in
# L2; a cell weighs 1/n) move the value by less than 1e-4 of itself.
ACCEPTED = 1e-5
STEPS = 20_000
STEPS_PER_SCALE = 20


class Transport(NamedTuple):
    """How cells are moved onto others.

    Attributes
    ----------
    cost
        Mean distance that they travel.
    source, target
        Arrays of shape (n_cells,) and (m_cells,): the dual potentials, how the cost grows with
        the weight of a cell on either side, each up to a constant.
    """

    cost: float
    source: FloatArray
    target: FloatArray


def sinkhorn_divergence(
    X: FloatArray,
    Y: FloatArray,
    *,
    reg: float = REG,
    max_cells: int = MAX_CELLS,
    seed: int = 0,
) -> float:
    """Sinkhorn divergence with Euclidean cost, over all genes.

    2·OT(X, Y) - OT(X, X) - OT(Y, Y), where OT is the mean distance that cells travel under the
    transport plan of entropic regularisation `reg` (without the entropy itself). Distances
    between cells are large beside the default, so that the plan is nearly an assignment,
    OT(X, X) nearly 0, and the value about twice the mean distance of a cell to its match.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction, same scale.
    reg
        Weight of the entropy, above 0, in units of the input.
    max_cells
        A side with more cells is represented by this many of them: time and memory grow with
        the square. Two sides of one size keep the same rows, so that a predicted cell keeps its
        measured partner.
    seed
        Draws those cells.

    Returns
    -------
    Lower is better, in units of the input; 0 for equal cells. In (-inf, inf): without the
    entropy it is not strictly bounded by 0, though in practice far above it. Between samples of
    one distribution it falls with the number of cells, so compare equal numbers alone.

    Raises
    ------
    Undefined
        If the plan's sums over measured cells do not come within 1e-6 (norm) of uniform after
        20 000 iterations, as may be when distances exceed `reg` ten thousandfold.
    UsageError
        If reg is not above 0, the shapes do not fit or a value is not finite.

    References
    ----------
    doi:10.48550/arXiv.1706.00292; solved in scaled and stabilised form, doi:10.1137/16M1106018

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> round(sinkhorn_divergence(X, X), 6)
    0.0
    >>> round(sinkhorn_divergence(X, X + np.array([1.0, 0.0])), 6)
    2.0
    """
    X, Y = check_pair(X, Y)
    if not reg > 0:
        msg = f"reg must be above 0, got {reg}"
        raise UsageError(msg)
    X, Y = subsample(X, max_cells, seed=seed), subsample(Y, max_cells, seed=seed)
    between = transport_cost(X, Y, reg=reg)
    return 2 * between - transport_cost(X, X, reg=reg) - transport_cost(Y, Y, reg=reg)


def subsample(X: FloatArray, max_cells: int = MAX_CELLS, *, seed: int = 0) -> FloatArray:
    """Return `max_cells` rows in their order, the same ones for matrices of one size.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes).
    max_cells
        Number of rows to keep; all of them where there are no more.
    seed
        Draws the rows.

    Returns
    -------
    Array of shape (min(n_cells, max_cells), n_genes).
    """
    return X if len(X) <= max_cells else X[subsampled(len(X), max_cells, seed=seed)]


def subsampled(n_cells: int, max_cells: int = MAX_CELLS, *, seed: int = 0) -> IntArray:
    """Return the numbers of the rows that `subsample` keeps of `n_cells`, in their order."""
    if n_cells <= max_cells:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).choice(n_cells, max_cells, replace=False))


def transport_cost(X: FloatArray, Y: FloatArray, *, reg: float = REG) -> float:
    """Mean Euclidean distance under the entropic transport plan of `X` to `Y`.

    Parameters
    ----------
    X, Y
        Arrays of shape (n_cells, n_genes) and (m_cells, n_genes), finite.
    reg
        Weight of the entropy, above 0.

    Returns
    -------
    In [0, inf), in units of the input.

    Raises
    ------
    Undefined
        If the iteration does not converge.
    """
    return transport(X, Y, reg=reg).cost


def transport(X: FloatArray, Y: FloatArray, *, reg: float = REG) -> Transport:
    """Move the cells of `X` onto those of `Y` by the entropic plan of least Euclidean cost.

    Parameters
    ----------
    X, Y, reg
        As for `transport_cost`.

    Returns
    -------
    The cost of the plan and its potentials.

    Raises
    ------
    Undefined
        If the iteration does not converge.
    """
    import warnings

    import ot
    from scipy.spatial.distance import cdist

    cost = cdist(X, Y)
    measured, predicted = np.full(len(X), 1 / len(X)), np.full(len(Y), 1 / len(Y))
    # From a coarse plan to the wanted one, halving: a cold start at a small `reg` underflows or
    # takes ten times the steps.
    scales = max(0, int(np.ceil(np.log2(cost.max() / reg)))) if cost.any() else 0
    potentials = None
    for scale in reversed(range(scales + 1)):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the marginals below tell whether it converged
            plan, log = ot.bregman.sinkhorn_stabilized(
                measured,
                predicted,
                cost,
                reg * 2**scale,
                numItermax=STEPS_PER_SCALE if scale else STEPS,
                stopThr=TOLERANCE,
                warmstart=potentials,
                print_period=10,
                log=True,
            )
        potentials = log["alpha"], log["beta"]
    off = np.hypot(
        np.linalg.norm(plan.sum(axis=0) - predicted), np.linalg.norm(plan.sum(axis=1) - measured)
    )
    if not off <= ACCEPTED:
        msg = f"transport did not converge in {STEPS} iterations (marginals are off by {off:.1e})"
        raise Undefined(msg)
    return Transport(float(np.vdot(plan, cost)), log["alpha"], log["beta"])
