"""How much worse than the baseline a metric may get, as the user says it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconeval.rows import Row

__all__ = ["Tolerance", "check_coverage", "check_overlap", "read_tolerances"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much worse a metric may get: `amount` of its unit, or of the baseline's value."""

    amount: float
    relative: bool = False

    @classmethod
    def parse(cls, text: str) -> tuple[str, Tolerance]:
        """Read `METRIC:0.01` or `METRIC:5%`.

        Returns
        -------
        The metric's name and the tolerance.

        Raises
        ------
        UsageError
            If the text has another form or the number is negative.
        """
        metric, colon, number = text.rpartition(":")
        digits = number.removesuffix("%")
        try:
            amount = float(digits)
        except ValueError:
            amount = math.nan
        if not colon or not metric or not math.isfinite(amount) or amount < 0:
            msg = (
                f"--metric-compare-fail {text}: expected METRIC:TOLERANCE with a tolerance of at "
                "least 0, such as r2:0.01 or mse:5%"
            )
            raise UsageError(msg)
        if number.endswith("%"):
            return metric, cls(amount / 100, relative=True)
        return metric, cls(amount)

    def allowed(self, baseline: float) -> float:
        """Return the tolerance in the metric's unit."""
        return self.amount * abs(baseline) if self.relative else self.amount


def read_tolerances(texts: Sequence[str]) -> dict[str, Tolerance]:
    """Read the texts of `--metric-compare-fail`; `UsageError` where a metric comes twice."""
    tolerances: dict[str, Tolerance] = {}
    for text in texts:
        name, tolerance = Tolerance.parse(text)
        if name in tolerances:
            msg = f"--metric-compare-fail {text}: {name} is given twice; keep one"
            raise UsageError(msg)
        tolerances[name] = tolerance
    return tolerances


def check_coverage(
    tolerances: Iterable[str],
    baseline: Iterable[Row],
    models: Iterable[str],
    places: Sequence[str],
) -> None:
    """Refuse a gate that could not fail because the baseline has nothing to compare with.

    Parameters
    ----------
    tolerances
        Names of the gated metrics.
    baseline
        Rows of the earlier run.
    models
        Ids of the models of this run.
    places
        `dataset/split` of this run.

    Raises
    ------
    UsageError
        If a gated metric has no row in the baseline for any model and place of this run.
    """
    rows, models = list(baseline), list(models)
    for name in tolerances:
        mine = [row for row in rows if row.metric == name]
        if any(row.model in models and f"{row.dataset}/{row.split}" in places for row in mine):
            continue
        has = sorted({f"{row.model} on {row.dataset}/{row.split}" for row in mine})
        msg = (
            f"--metric-compare-fail {name}: the baseline has no {name} of {', '.join(models)} on "
            f"{', '.join(places)} (has {', '.join(has) or 'none at all'})"
        )
        raise UsageError(msg)


def check_overlap(
    baseline: Iterable[Row],
    models: Iterable[str],
    places: Sequence[str],
    metrics: Iterable[str],
) -> None:
    """Refuse `--fail-on-regression` where the baseline has no row that this run will measure.

    Parameters
    ----------
    baseline, models, places
        As for `check_coverage`.
    metrics
        Names of the metrics of this run.

    Raises
    ------
    UsageError
        If no row of the baseline belongs to a model and place of this run, or those that do are
        of other metrics. A baseline of costs alone is held against the costs of this run.
    """
    rows, models, metrics = list(baseline), list(models), list(metrics)
    here = [row for row in rows if row.model in models and f"{row.dataset}/{row.split}" in places]
    scores = {row.metric for row in here if row.family != "cost"}
    if scores and not scores & set(metrics):
        msg = (
            "--fail-on-regression: the baseline has none of the metrics of this run, "
            f"{', '.join(metrics)} (has {', '.join(sorted(scores))}); save one with the same"
        )
        raise UsageError(msg)
    if here:
        return
    has = sorted({f"{row.model} on {row.dataset}/{row.split}" for row in rows})
    msg = (
        f"--fail-on-regression: the baseline has nothing of {', '.join(models)} on "
        f"{', '.join(places)} (has {', '.join(has) or 'no rows'}); save one with the same models"
    )
    raise UsageError(msg)
