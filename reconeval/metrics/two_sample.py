"""Energy distance and MMD from one pass over the pairs of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconeval.errors import Undefined
from reconeval.metrics.kernels import pair_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconeval._typing import FloatArray
    from reconeval.metrics.kernels import PairSums

__all__ = ["TwoSample", "two_sample"]

# Float32 blocks leave up to about 1e-8 of the mean distance in error: an energy distance below
# this share of it could be off by more than 1e-5 and is computed again in float64.
CLOSE = 1e-3


@dataclass(frozen=True, slots=True)
class TwoSample:
    """Sums over the pairs within the truth, within the prediction and between them.

    Attributes
    ----------
    truth, prediction, between
        The sums.
    """

    truth: PairSums
    prediction: PairSums
    between: PairSums

    def energy(self, *, unbiased: bool = False) -> float:
        """2E|X-Y| - E|X-X'| - E|Y-Y'|, over all pairs or, unbiased, over different cells."""
        self._require_pairs(unbiased=unbiased)
        return (
            2 * self.between.mean_distance()
            - self.truth.mean_distance(unbiased=unbiased)
            - self.prediction.mean_distance(unbiased=unbiased)
        )

    def mmd(self, *, unbiased: bool = False) -> float:
        """E k(X,X') + E k(Y,Y') - 2E k(X,Y), over all pairs or, unbiased, different cells."""
        self._require_pairs(unbiased=unbiased)
        return (
            self.truth.mean_rbf(unbiased=unbiased)
            + self.prediction.mean_rbf(unbiased=unbiased)
            - 2 * self.between.mean_rbf()
        )

    def _require_pairs(self, *, unbiased: bool) -> None:
        measured, predicted = self.truth.selves, self.prediction.selves
        if unbiased and min(measured, predicted) < 2:
            msg = f"needs 2 cells on both sides ({measured} measured, {predicted} predicted)"
            raise Undefined(msg)


def two_sample(
    X: FloatArray,
    Y: FloatArray,
    *,
    gammas: Sequence[float] = (),
    exact: bool = False,
    truth: Callable[[bool], PairSums] | None = None,
    between: Callable[[bool], PairSums] | None = None,
    device: str | None = None,
) -> TwoSample:
    """Compare all cells of two matrices.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_dimensions). Truth.
    Y
        Array of shape (n_predicted_cells, n_dimensions). Prediction.
    gammas
        Factors of the squared distance in the kernels.
    exact
        Use float64 throughout; otherwise only where the two are so near each other that float32
        may not tell the energy distance to 1e-5.
    truth, between
        Give the sums within the truth and those between the two, called with `exact`, where
        they are kept; by default they are computed.
    device
        Where to compute, as for `reconeval.metrics.device.on_torch`; default NumPy.

    Returns
    -------
    The sums within and between the two.
    """
    within = truth(exact) if truth else pair_sums(X, gammas=gammas, exact=exact, device=device)
    result = TwoSample(
        within,
        pair_sums(Y, gammas=gammas, exact=exact, device=device),
        between(exact) if between else pair_sums(X, Y, gammas=gammas, exact=exact, device=device),
    )
    if not exact and abs(result.energy()) < CLOSE * result.between.mean_distance():
        return two_sample(X, Y, gammas=gammas, exact=True, truth=truth, between=between)
    return result
