"""The chance of a loss that has two sources of noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray

__all__ = ["Evidence", "Noise"]

_LEAST_P = 1e-12  # smaller chances are not told apart
_NOTHING = 1e-3  # of the other source's error: too small to matter


class Noise(NamedTuple):
    """One source of noise: a standard error, its degrees of freedom, and where it comes from."""

    error: float
    freedom: float
    how: str

    def quantile(self, p: FloatArray | float) -> Any:
        """Return what this noise stays below with chance `p`."""
        from scipy.special import ndtri, stdtrit

        return self.error * (ndtri(p) if math.isinf(self.freedom) else stdtrit(self.freedom, p))

    def beyond(self, loss: FloatArray) -> FloatArray:
        """Return the chance that this noise exceeds each of some losses; the error is not 0."""
        from scipy.special import ndtr, stdtr

        t = -loss / self.error
        return np.asarray(ndtr(t) if math.isinf(self.freedom) else stdtr(self.freedom, t))


@dataclass(frozen=True, slots=True)
class Evidence:
    """A loss with its noise.

    The chance of a loss is that of the sum of the two sources, each with its own distribution, as
    in the solution of Behrens and Fisher (doi 10.1111/j.1469-1809.1935.tb02120.x). Welch's
    approximation would read its degrees of freedom off the spread of few seeds, which is often
    too small by chance, and alarm far too often.

    Attributes
    ----------
    loss
        How much worse the new run is, in the metric's unit; negative where it is better.
    sampling
        What the choice of test cells adds.
    seeds
        What the choice of seeds adds.
    """

    loss: float
    sampling: Noise
    seeds: Noise

    @property
    def how(self) -> str:
        """What was compared, in words."""
        return f"{self.sampling.how}, {self.seeds.how}"

    @property
    def p_worse(self) -> float:
        """Chance of at least this loss if nothing changed, from 0 to 1."""
        return self._tail(self.loss)

    @property
    def p_better(self) -> float:
        """Chance of at least this gain if nothing changed, from 0 to 1."""
        return self._tail(-self.loss)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the loss."""
        half = self.margin(0.025)
        return self.loss - half, self.loss + half

    def margin(self, p: float) -> float:
        """Return the loss that chance exceeds with probability `p`, at most one half."""
        from scipy.optimize import brentq

        alone = [float(-one.quantile(p)) for one in (self.sampling, self.seeds)]
        if min(alone) <= _NOTHING * max(alone):
            return max(alone)
        tail = self._tails()
        # Beyond where each exceeds half the chance, both together have less than all of it.
        most = sum(float(-one.quantile(p / 2)) for one in (self.sampling, self.seeds))
        return float(brentq(lambda loss: tail(loss) - p, 0.0, 1.01 * most))

    def _tail(self, loss: float) -> float:
        """Return the chance that both sources together exceed a loss."""
        if self.sampling.error == self.seeds.error == 0:
            return _LEAST_P if loss > 0 else 0.5 if loss == 0 else 1 - _LEAST_P
        return min(max(self._tails()(loss), _LEAST_P), 1 - _LEAST_P)

    def _tails(self) -> Callable[[float], float]:
        """Return the function from a loss to its chance; not both errors are 0."""
        from scipy.special import ndtr

        small, large = sorted((self.sampling, self.seeds), key=lambda one: one.error)
        if small.error <= _NOTHING * large.error:
            return lambda loss: float(large.beyond(np.array(loss)))
        # An integral over the quantiles of the smaller source.
        at = np.linspace(-8.0, 8.0, 401)
        weights = np.exp(-(at**2) / 2)
        weights /= weights.sum()
        shifts = small.quantile(ndtr(at))
        return lambda loss: float(weights @ large.beyond(loss - shifts))
