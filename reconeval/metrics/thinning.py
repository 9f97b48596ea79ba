"""Held-out counts: 10 % of each cell's molecules, which the model does not see.

The molecules of each gene of a cell are split 90/10 by a binomial draw. For Poisson counts the
two parts are independent, given the rate: a model that copies its input knows nothing of the
noise in the held-out part, one that finds the rate does better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import check_pair

if TYPE_CHECKING:
    from reconeval._typing import FloatArray
    from reconeval.metrics.pair import Truth

__all__ = ["Thinned", "poisson_deviance", "thin", "thinned"]

KEPT_SHARE = 0.9
MU_FLOOR = 1e-6
SCALE = 1e4


@dataclass(frozen=True, eq=False)
class Thinned:
    """Cells with 90 % of their molecules, and the other 10 %.

    Attributes
    ----------
    X
        Array of shape (n_cells, n_genes), float32, read-only: log1p of counts per 10 000 of the
        90 % part, per 10 000 of its molecules over all measured genes; 0 throughout for a cell
        without any. What the model is given.
    held_out
        Array of shape (n_cells, n_genes), float32: counts of the 10 % part.
    library
        Array of shape (n_cells,): molecules in the 90 % part over all measured genes.
    kept
        The share of molecules that the first part has, 0.9 unless another was asked for.
    """

    X: FloatArray
    held_out: FloatArray
    library: FloatArray
    kept: float = KEPT_SHARE

    def expected(self, prediction: FloatArray) -> FloatArray:
        """Return the held-out counts that a prediction implies.

        Parameters
        ----------
        prediction
            Array of shape (n_cells, n_genes), log1p of counts per 10 000: the model's output for
            `X`.

        Returns
        -------
        Float64 array of shape (n_cells, n_genes): expm1(prediction) / 10 000 · library / 9, or
        the odds of another share.
        Below 0 where the prediction is; infinite above about 700.
        """
        share = (1 - self.kept) / self.kept
        with np.errstate(over="ignore"):  # the caller refuses what is infinite
            rates: FloatArray = np.expm1(prediction, dtype=np.float64)
        rates *= (self.library * share / SCALE)[:, None]
        return rates


def thinned(truth: Truth) -> Thinned:
    """Thin the truth's counts, once per `Truth`.

    Parameters
    ----------
    truth
        Truth with counts; its seed seeds the draw.

    Returns
    -------
    The two parts, the same object on every call.

    Raises
    ------
    Undefined
        If the truth has no counts, they are not whole numbers, or the library is below their
        sum.
    """

    def build() -> Thinned:
        if truth.counts is None or truth.library is None:
            msg = "the data have no counts to hold out"
            raise Undefined(msg)
        return thin(truth.counts, truth.library, seed=truth.seed)

    return truth.cached(("thinning", "thinned"), build)


def thin(
    counts: FloatArray, library: FloatArray, *, seed: int, kept: float = KEPT_SHARE
) -> Thinned:
    """Split each cell's molecules by binomial draws, 90/10 unless another share is asked for.

    Parameters
    ----------
    counts
        Array of shape (n_cells, n_genes). Raw counts, whole numbers.
    library
        Array of shape (n_cells,). Molecules of each cell over all measured genes, also those
        that `counts` leaves out; these are thinned as well.
    seed
        Seeds the draw.
    kept
        The share of molecules that the first part gets, above 0 and below 1.

    Returns
    -------
    The two parts.

    Raises
    ------
    Undefined
        If the counts are not whole numbers from 0, or the library is below their sum.
    """
    rest = np.rint(library - counts.sum(axis=1, dtype=np.float64)).astype(np.int64)
    if (counts < 0).any() or not np.array_equal(counts, np.rint(counts)):
        msg = "counts are not whole numbers from 0, so no molecules can be held out"
        raise Undefined(msg)
    if (rest < 0).any():
        msg = f"{(rest < 0).sum()} cells have a library below the sum of their counts"
        raise Undefined(msg)
    rng = np.random.default_rng(seed)
    drawn = np.zeros(counts.shape, dtype=np.float32)
    present = counts > 0
    drawn[present] = rng.binomial(counts[present].astype(np.int64), kept)
    total = drawn.sum(axis=1, dtype=np.float64) + rng.binomial(rest, kept)
    per_molecule = np.divide(SCALE, total, out=np.zeros_like(total), where=total > 0)
    X = np.log1p(drawn * per_molecule[:, None]).astype(np.float32)
    X.setflags(write=False)
    return Thinned(X, (counts - drawn).astype(np.float32), total, kept)


def poisson_deviance(counts: FloatArray, mu: FloatArray, *, floor: float = MU_FLOOR) -> float:
    """Mean Poisson deviance of expected counts.

    2 · mean(y · log(y / mu) - y + mu) over all cells and genes, with 0 · log(0) = 0.

    Parameters
    ----------
    counts
        Array of shape (n_cells, n_genes). Held-out counts y, at least 0.
    mu
        Array of shape (n_cells, n_genes). Expected counts.
    floor
        A smaller mu is raised to this, a negative one too: a model that excludes what is then
        observed pays about 26 per count at the default, not infinity.

    Returns
    -------
    In [0, inf), lower is better. It is 0 for mu = counts alone, which no model reaches on counts
    it has not seen: the noise of the held-out counts sets a limit that differs between data sets.

    Raises
    ------
    UsageError
        If a count is negative, the floor is not above 0, the shapes differ or a value is not
        finite.

    References
    ----------
    Molecular cross-validation, doi:10.1101/786269

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([[0.0, 1.0, 3.0]])
    >>> poisson_deviance(y, y + 0.0) < 1e-5
    True
    >>> round(poisson_deviance(y, np.full((1, 3), 4 / 3)), 4)
    1.4301
    """
    from scipy.special import kl_div

    counts, mu = check_pair(counts, mu, paired=True)
    if not floor > 0 or (counts < 0).any():
        msg = f"counts must be at least 0 and floor above 0, got {counts.min()} and {floor}"
        raise UsageError(msg)
    return float(2 * np.mean(kl_div(counts, np.maximum(mu, floor), dtype=np.float64)))
