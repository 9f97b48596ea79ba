"""What two runs say about how far their scores differ by chance.

The noise of a difference has two sources. The test cells are a sample: where both runs kept the
metric's values in the same resamples, the spread of the difference over the resamples tells this
part, free of what both share; else the two 95 % intervals do. And another seed gives another
model: the spread over seeds tells this part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from reconeval.intervals import Replicates
    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row

__all__ = ["LEAST_SHARE", "SEED_SHARE", "Evidence", "evidence", "least_effect", "spread_of"]

# Of the way from the negative control to the best value: losses below it are not worth a failure.
LEAST_SHARE = 0.01
# Standard deviation over trainings, as a share of the same way, where neither run has two seeds.
SEED_SHARE = 0.02
# Resamples without a value are left out; beyond this share the resamples say nothing.
_MOST_UNDEFINED = 0.05
# A new run whose seeds spread more than the baseline's by what chance does once in so many.
_ERRATIC = 0.01
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Evidence:
    """A loss with its noise.

    Attributes
    ----------
    loss
        How much worse the new run is, in the metric's unit; negative where it is better.
    error
        Standard error of the loss.
    freedom
        Degrees of freedom of that error, by Welch and Satterthwaite; infinite where it is known
        from many resamples alone.
    how
        What was compared, in words.
    """

    loss: float
    error: float
    freedom: float
    how: str

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
        from scipy.special import stdtrit

        half = self.error * (
            _NORMAL_95 if math.isinf(self.freedom) else float(stdtrit(self.freedom, 0.975))
        )
        return self.loss - half, self.loss + half

    def _tail(self, loss: float) -> float:
        from scipy.special import ndtr, stdtr

        if self.error == 0:
            return 0.0 if loss > 0 else 1.0
        t = -loss / self.error
        return float(ndtr(t) if math.isinf(self.freedom) else stdtr(self.freedom, t))


class _Noise(NamedTuple):
    """A variance, its degrees of freedom, and where it comes from."""

    variance: float
    freedom: float
    how: str


def way(row: Row, baseline: Row, metric: Metric) -> float:
    """Return how far a metric can reasonably move, in its unit.

    Parameters
    ----------
    row, baseline
        The rows of the two runs.
    metric
        Their metric.

    Returns
    -------
    The distance from the negative control to the best value; without a control the farther of
    the two values from the best value; without a finite best value the larger of the two.
    """
    values = (row.value, baseline.value)
    if not math.isfinite(metric.best):
        return max(map(abs, values))
    best = metric.badness(metric.best)
    for negative in (row.negative, baseline.negative):
        if negative is not None and math.isfinite(negative):
            return abs(metric.badness(negative) - best)
    return max(abs(metric.badness(value) - best) for value in values)


def least_effect(row: Row, baseline: Row, metric: Metric) -> float:
    """Return the least loss that counts, 1 % of `way`, in the metric's unit."""
    return LEAST_SHARE * way(row, baseline, metric)


def spread_of(row: Row, baseline: Row, metric: Metric) -> float:
    """Return the baseline's highest minus lowest value over seeds; of one seed what is assumed."""
    if baseline.seeds > 1:
        return baseline.high - baseline.low
    return 4 * SEED_SHARE * way(row, baseline, metric)  # two standard deviations to either side


def evidence(
    row: Row,
    baseline: Row,
    metric: Metric,
    replicates: Replicates | None,
    base_replicates: Replicates | None,
) -> Evidence | None:
    """Weigh the difference of two rows of the same metric, dataset and split.

    Parameters
    ----------
    row, baseline
        The rows of the two runs, with finite values.
    metric
        Their metric.
    replicates, base_replicates
        What the two runs kept of the metric's values in resamples and of each seed.

    Returns
    -------
    The loss and its noise; None where neither resamples nor intervals tell what the test cells
    add to it.
    """
    loss = metric.badness(row.value) - metric.badness(baseline.value)
    sampling = _paired(metric, replicates, base_replicates) or _by_intervals(row, baseline)
    if sampling is None:
        return None
    new, old = _of_seeds(metric, row, replicates), _of_seeds(metric, baseline, base_replicates)
    seeds = _between_seeds(new, old, SEED_SHARE * way(row, baseline, metric))
    variance = sampling.variance + seeds.variance
    freedom = math.inf
    if variance > 0:
        parts = [one.variance**2 / one.freedom for one in (sampling, seeds)]
        freedom = variance**2 / sum(parts) if sum(parts) > 0 else math.inf
    return Evidence(loss, math.sqrt(variance), freedom, f"{sampling.how}, {seeds.how}")


def _paired(metric: Metric, new: Replicates | None, old: Replicates | None) -> _Noise | None:
    """Return the noise of a difference taken resample by resample."""
    if new is None or old is None or not new.paired(old):
        return None
    pair = np.stack([new.values, old.values]).astype(np.float64)
    defined = np.isfinite(pair).all(axis=0)
    n = int(defined.sum())
    if n < 2 or n < (1 - _MOST_UNDEFINED) * pair.shape[1]:
        return None
    losses = np.array([metric.badness(now) - metric.badness(was) for now, was in pair.T[defined]])
    how = f"paired over {new.over}"
    if new.kind == "jackknife":
        return _Noise(float((n - 1) * losses.var()), n - 1, how)
    return _Noise(float(losses.var(ddof=1)), math.inf, how)


def _by_intervals(row: Row, baseline: Row) -> _Noise | None:
    """Return the noise of a difference of two values whose 95 % intervals are known."""
    variance = 0.0
    for one in (row, baseline):
        if one.ci_low is None or one.ci_high is None:
            return None
        width = one.ci_high - one.ci_low
        if not math.isfinite(width):
            return None
        variance += (width / (2 * _NORMAL_95)) ** 2
    return _Noise(variance, math.inf, "by the two intervals")


class _Seeds(NamedTuple):
    """A number of seeds and the variance of the metric's badness over them."""

    n: int
    variance: float


def _of_seeds(metric: Metric, row: Row, replicates: Replicates | None) -> _Seeds:
    kept = replicates.seeds if replicates is not None else ()
    values = [metric.badness(value) for value in kept if math.isfinite(value)]
    if len(values) == row.seeds > 1:
        return _Seeds(row.seeds, float(np.var(values, ddof=1)))
    if row.seeds < 2:
        return _Seeds(1, 0.0)
    # The largest variance that lowest and highest value allow: half of the seeds at either.
    n, reach = row.seeds, metric.badness(row.high) - metric.badness(row.low)
    return _Seeds(n, reach**2 * (n * n // 4) / (n * (n - 1)))


def _between_seeds(new: _Seeds, old: _Seeds, assumed: float) -> _Noise:
    """Return the noise that other seeds of the same model add to a difference of means.

    Of the same model both runs have one variance, so it is pooled. A new run whose seeds spread
    more than the baseline's beyond chance lends none: a model that became erratic must not excuse
    itself by it.
    """
    counts = f"{old.n} and {new.n} seeds"
    share = 1 / new.n + 1 / old.n
    known = [one for one in (old, new) if one.n > 1]
    if not known:
        return _Noise(assumed**2 * share, math.inf, f"{counts}, whose spread is assumed")
    if len(known) == 2 and _erratic(new, old):
        known, counts = [old], f"{counts}, spread of the baseline's alone"
    freedom = sum(one.n - 1 for one in known)
    pooled = sum((one.n - 1) * one.variance for one in known) / freedom
    return _Noise(pooled * share, freedom, counts)


def _erratic(new: _Seeds, old: _Seeds) -> bool:
    from scipy.special import fdtrc

    if old.variance == 0:
        return new.variance > 0
    return float(fdtrc(new.n - 1, old.n - 1, new.variance / old.variance)) < _ERRATIC
