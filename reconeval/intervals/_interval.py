"""From values in resamples to a 95 % interval, with what the seeds add."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from reconeval._typing import FloatArray
    from reconeval.intervals._replicates import Replicates

__all__ = ["LEVEL", "MOST_UNDEFINED", "Interval", "interval_of"]

LEVEL = 0.95
MOST_UNDEFINED = 0.05


class Interval(NamedTuple):
    """Bounds of a 95 % interval and how they were found.

    Attributes
    ----------
    low, high
        The bounds; NaN where too many resamples have no value.
    method
        In words; empty where there is nothing to tell.
    """

    low: float
    high: float
    method: str


def interval_of(
    value: float,
    replicates: Replicates,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Interval | None:
    """Return the 95 % interval of a metric's mean over seeds.

    Of a bootstrap it has the shape of the percentile interval, moved so that the mean of the
    resamples comes to the value: copies of cells in a resample shift many metrics, which says
    nothing about the value. It is widened for few units and for the spread over seeds: with V the
    variance over resamples times n/(n - 1), S the variance over seeds divided by their number,
    and t the quantile of Student's distribution with Welch's and Satterthwaite's degrees of
    freedom, each half is as long as that of the percentile interval times
    t / 1.96 · sqrt((V + S) / (variance over resamples)). Of a jackknife it is the value and
    t · sqrt(V + S) to either side, V its estimate of the variance.

    Parameters
    ----------
    value
        The metric's mean over seeds.
    replicates
        Its values in resamples and of the seeds.
    bounds
        Lowest and highest possible value of the metric, beyond which no interval goes.

    Returns
    -------
    The interval; None where neither resamples nor seeds tell anything.

    References
    ----------
    doi:10.1201/9780429246593 (percentile interval), doi:10.1080/00031305.2015.1089789 (its
    widening for few units), doi:10.2307/3002019 (degrees of freedom)

    Examples
    --------
    >>> from reconeval.intervals import Replicates
    >>> values = np.arange(1001.0)
    >>> replicates = Replicates(over="cells", resampling="x", values=values, units=10**9)
    >>> low, high, method = interval_of(2.0, replicates)
    >>> round(low), round(high), method
    (-473, 477, 'bootstrap over cells (percentile, 1001)')
    """
    seeds = np.array(replicates.seeds)
    parts = [_over_seeds(seeds)] if len(seeds) > 1 and np.isfinite(seeds).all() else []
    values = replicates.values[np.isfinite(replicates.values)].astype(np.float64)
    shape = np.array([-1.0, 1.0])
    words = _words(replicates)
    if len(replicates.values):
        missing = 1 - len(values) / len(replicates.values)
        if missing > MOST_UNDEFINED or len(values) < 2:
            method = f"{words}: undefined in {missing:.0%} of the resamples"
            return Interval(math.nan, math.nan, method)
        parts.append(_over_units(values, replicates))
        if replicates.kind == "bootstrap" and values.var() > 0:
            tail = (1 - LEVEL) / 2
            ends = np.quantile(values, [tail, 1 - tail]) - values.mean()
            shape = ends / (_normal() * values.std(ddof=1))
    if not parts:
        return None
    half = _half(parts)
    low, high = np.clip(value + shape * half, *bounds).tolist()
    if len(seeds) > 1:
        words = f"{words} and seeds ({len(seeds)})" if words else f"over seeds (t, {len(seeds)})"
    return Interval(low, high, words)


class _Part(NamedTuple):
    """A variance and its degrees of freedom."""

    variance: float
    freedom: float


def _over_seeds(seeds: FloatArray) -> _Part:
    return _Part(float(seeds.var(ddof=1)) / len(seeds), len(seeds) - 1)


def _over_units(values: FloatArray, replicates: Replicates) -> _Part:
    n = len(values)
    if replicates.kind == "jackknife":
        return _Part((n - 1) * float(values.var()), n - 1)
    units = replicates.units
    return _Part(float(values.var(ddof=1)) * units / max(units - 1, 1), max(units - 1, 1))


def _half(parts: list[_Part]) -> float:
    """Return half the width of a symmetric interval."""
    from scipy.special import stdtrit

    variance = sum(part.variance for part in parts)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part.variance**2 / part.freedom for part in parts)
    return float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance)


def _normal() -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + LEVEL) / 2))


def _words(replicates: Replicates) -> str:
    n = len(replicates.values)
    if replicates.kind == "jackknife":
        return f"jackknife over {replicates.over} ({n} groups)"
    if replicates.kind == "bootstrap":
        how = "linearised, " if replicates.linear else ""
        few = "" if replicates.over == "cells" else f"{replicates.units} "
        return f"bootstrap over {few}{replicates.over} ({how}percentile, {n})"
    return ""
