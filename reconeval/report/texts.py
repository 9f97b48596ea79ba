"""How the numbers and words of a row are written on the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from reconeval.costs import find

if TYPE_CHECKING:
    from reconeval.rows import Row

__all__ = ["interval", "metric_name", "number", "skill", "value", "verdict"]

_MUTE = "~"  # after the name of a metric that is not informative on these data


def number(one: float | None) -> str:
    """Return a number with four digits, large ones without decimals; none is empty."""
    if one is None or math.isnan(one):
        return ""
    if math.isfinite(one) and abs(one) >= 1000:
        return f"{one:,.0f}"
    return f"{one:.3g}" if abs(one) < 0.01 else f"{one:.4g}"


def value(row: Row) -> str:
    """Return the row's value, or the word for why there is none."""
    if math.isnan(row.value):
        return "-" if row.verdict.startswith("skip") else "undefined"
    return number(row.value)


def interval(row: Row) -> str:
    """Return the 95 % interval as `[low, high]`; without one the spread of the seeds.

    The spread, lowest to highest, is written `low … high`, so that it is not read as an interval.
    """
    if row.ci_low is not None and row.ci_high is not None:
        return f"[{_short(row.ci_low)}, {_short(row.ci_high)}]"
    if math.isnan(row.value) or row.low == row.high:
        return ""
    return f"{_short(row.low)} … {_short(row.high)}"


def _short(one: float) -> str:
    return number(one) if abs(one) >= 1000 else f"{one:.3g}"


def skill(row: Row) -> str:
    """Return the skill, 0 for the negative control and 1 for the positive, with two decimals."""
    if row.skill is None or not math.isfinite(row.skill):
        return ""
    return f"{row.skill:z.2f}" if abs(row.skill) < 100 else f"{row.skill:,.0f}"


def verdict(row: Row) -> str:
    """Return the verdict in a word: the comparison with the baseline says more than `pass`.

    A cost that an earlier run has measured is marked `cached`.
    """
    outcome, _, comparison = row.verdict.partition(": ")
    word = comparison if outcome == "pass" and comparison else outcome
    return f"{word}, cached" if row.cached and row.family == "cost" else word


def metric_name(row: Row) -> str:
    """Return the metric's name with its direction, marked where it is not informative."""
    mark = f" {_MUTE}" if row.informative is False else ""
    return f"{row.metric} {find(row.metric).arrow}{mark}"
