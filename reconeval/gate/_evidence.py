"""What two runs say about how far their scores differ by chance.

The noise of a difference has two sources. The test cells are a sample: where both runs kept the
metric's values in the same resamples, the spread of the difference over the resamples tells this
part, free of what both share; else the two 95 % intervals do. And another seed gives another
model: the spread over seeds tells this part, and all of it where nothing is known of the cells.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reconeval.gate._chance import Evidence, Noise

if TYPE_CHECKING:
    from reconeval.intervals import Replicates
    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row

__all__ = ["LEAST_SHARE", "SEED_SHARE", "evidence", "least_effect"]

# Of the way from the negative control to the best value: losses below it are not worth a failure.
LEAST_SHARE = 0.01
# Standard deviation over seeds, as a share of the same way, where neither run has two: what an
# autoencoder's metrics have at most, but for the cell cycle, whose phases tip over together.
SEED_SHARE = 0.03
_SEED_SHARES = {"cellcycle": 0.15}
# Resamples without a value are left out; beyond this share the resamples say nothing.
_MOST_UNDEFINED = 0.05
# A new run whose seeds spread more than the baseline's by what chance does once in so many.
_ERRATIC = 0.001
_NORMAL_95 = 1.959963984540054


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


def _assumed(row: Row, baseline: Row, metric: Metric) -> float:
    """Return the standard deviation over seeds that is assumed where no run tells it."""
    group = metric.name.partition("_")[0]
    return _SEED_SHARES.get(group, SEED_SHARE) * way(row, baseline, metric)


def evidence(
    row: Row,
    baseline: Row,
    metric: Metric,
    replicates: Replicates | None,
    base_replicates: Replicates | None,
) -> Evidence:
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
    The loss and its noise. Where neither resamples nor intervals tell what the test cells add to
    it, that of the seeds alone: both runs are scored on the same cells, so it is all that moves
    an unchanged model.
    """
    loss = metric.badness(row.value) - metric.badness(baseline.value)
    new, old = _of_seeds(metric, row, replicates), _of_seeds(metric, baseline, base_replicates)
    seeds = _between_seeds(new, old, _assumed(row, baseline, metric))
    sampling = _paired(metric, replicates, base_replicates)
    if sampling is not None:
        return Evidence(loss, sampling, seeds)
    sampling = _by_intervals(row, baseline, erratic=_erratic(new, old))
    if sampling is None:
        return Evidence(loss, Noise(0.0, math.inf, "over seeds alone"), seeds)
    if min(new.n, old.n) > 1:  # such intervals hold the seeds' spread
        seeds = Noise(0.0, math.inf, seeds.how)
    return Evidence(loss, sampling, seeds)


def _paired(metric: Metric, new: Replicates | None, old: Replicates | None) -> Noise | None:
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
        return Noise(math.sqrt((n - 1) * losses.var()), n - 1, how)
    # A bootstrap of few units is too narrow by this factor.
    units = max(new.units, 2) if new.units else math.inf
    few = 1.0 if math.isinf(units) else units / (units - 1)
    return Noise(math.sqrt(few * losses.var(ddof=1)), units - 1, how)


def _by_intervals(row: Row, baseline: Row, *, erratic: bool) -> Noise | None:
    """Return the noise of a difference of two values, None unless both 95 % intervals tell it."""
    if all(one.seeds > 1 and one.ci_method.startswith("over seeds") for one in (row, baseline)):
        return None  # such intervals know nothing of the cells
    widths = []
    for one in (row, baseline):
        if one.ci_low is None or one.ci_high is None:
            return None
        widths.append(one.ci_high - one.ci_low)
    if not all(map(math.isfinite, widths)):
        return None
    if erratic:
        widths[0] = min(widths)
    error = math.hypot(*widths) / (2 * _NORMAL_95)
    return Noise(error, math.inf, "by the two intervals")


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


def _between_seeds(new: _Seeds, old: _Seeds, assumed: float) -> Noise:
    """Return the noise that other seeds of the same model add to a difference of means.

    Of the same model both runs have one variance, so it is pooled. A new run whose seeds spread
    more than the baseline's beyond chance lends none: a model that became erratic must not excuse
    itself by it.
    """
    counts = f"{old.n} and {new.n} seeds"
    share = 1 / new.n + 1 / old.n
    known = [one for one in (old, new) if one.n > 1]
    if not known:
        return Noise(assumed * math.sqrt(share), math.inf, f"{counts}, whose spread is assumed")
    if _erratic(new, old):
        known, counts = [old], f"{counts}, spread of the baseline's alone"
    freedom = sum(one.n - 1 for one in known)
    pooled = sum((one.n - 1) * one.variance for one in known) / freedom
    return Noise(math.sqrt(pooled * share), freedom, counts)


def _erratic(new: _Seeds, old: _Seeds) -> bool:
    from scipy.special import fdtrc

    if min(new.n, old.n) < 2:
        return False
    if old.variance == 0:
        return new.variance > 0
    return float(fdtrc(new.n - 1, old.n - 1, new.variance / old.variance)) < _ERRATIC
