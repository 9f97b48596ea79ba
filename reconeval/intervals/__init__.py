"""How far a score can be trusted: intervals over cells, perturbations and seeds."""

from __future__ import annotations

from reconeval.intervals._interval import Interval, interval_of
from reconeval.intervals._of_case import averaged, resample
from reconeval.intervals._replicates import Replicates
from reconeval.intervals._resampling import FEWEST

__all__ = [
    "FEWEST",
    "Interval",
    "Replicates",
    "averaged",
    "interval_of",
    "resample",
]
