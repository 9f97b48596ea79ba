"""The comparison with an earlier run, and what may fail a build.

Nothing here knows of pytest: rows go in, verdicts come out.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from reconeval.errors import UsageError
from reconeval.rows import SCHEMA, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from reconeval.metrics.registry import Metric

__all__ = [
    "Comparison",
    "Tolerance",
    "check_coverage",
    "compare",
    "has_only_timings",
    "lost_rows",
    "read_baseline",
    "read_tolerances",
    "rows_of",
]

Word = Literal["better", "same", "worse", "incomparable", "new"]


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


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row beside its baseline.

    Attributes
    ----------
    word
        `better`, `same`, `worse`, `incomparable` or `new`.
    fails
        Whether the build must fail for it.
    message
        One line for a person.
    baseline
        The baseline's value; None where there is none to compare with.
    """

    word: Word
    fails: bool = False
    message: str = ""
    baseline: float | None = None


def compare(
    row: Row, baseline: Row | None, metric: Metric, tolerance: Tolerance | None
) -> Comparison:
    """Compare a row with the same row of an earlier run.

    Parameters
    ----------
    row
        The row of this run.
    baseline
        The row with the same key in the earlier run, or None.
    metric
        The metric's entry, for its direction.
    tolerance
        How much worse it may be before the build fails; None compares without failing.

    Returns
    -------
    Worse means: the mean over seeds is worse by more than the tolerance and by more than the
    baseline's own spread over seeds (its highest minus its lowest value). The spread of the new
    run is not used, since a model that became erratic must not excuse itself by it.
    """
    gated = tolerance is not None
    if baseline is None:
        return Comparison("new", message=f"{row.where}: not in the baseline")
    for name in ("dataset_sha256", "metric_version"):
        if getattr(row, name) != getattr(baseline, name):
            what = "the dataset" if name == "dataset_sha256" else "the metric's definition"
            message = (
                f"{row.where}: cannot be compared, {what} changed since the baseline "
                f"({getattr(baseline, name)!s:.12} -> {getattr(row, name)!s:.12}); "
                "save a new baseline"
            )
            return Comparison("incomparable", gated, message)
    was, now = baseline.value, row.value
    if math.isnan(was) or math.isnan(now):
        return _compare_undefined(row, was, gated=gated)
    loss = metric.badness(now) - metric.badness(was)
    spread = baseline.high - baseline.low
    # Far below any tolerance, far above the rounding of float64 sums in another order.
    noise = 1e-9 * max(abs(was), abs(now), 1e-12)
    allowed = max(tolerance.allowed(was) if tolerance else 0.0, spread, noise)
    word: Word = "worse" if loss > allowed else "better" if -loss > max(spread, noise) else "same"
    message = f"{row.where}: {was:.4g} -> {now:.4g}"
    if loss > 0:
        message += f", worse by {loss:.3g} (allowed {allowed:.3g})"
    return Comparison(word, gated and word == "worse", message, was)


def _compare_undefined(row: Row, was: float, *, gated: bool) -> Comparison:
    if math.isnan(was) and math.isnan(row.value):
        return Comparison("same", message=f"{row.where}: undefined in both runs")
    if math.isnan(was):
        return Comparison("better", message=f"{row.where}: undefined -> {row.value:.4g}")
    message = f"{row.where}: {was:.4g} -> undefined ({row.reason})"
    return Comparison("worse", gated, message, was)


def lost_rows(
    baseline: Iterable[Row], rows: Iterable[Row], *, models: Sequence[str], places: Sequence[str]
) -> list[Row]:
    """Return the baseline's rows that this run should have measured and did not.

    Parameters
    ----------
    baseline
        Rows of the earlier run.
    rows
        Rows of this run.
    models
        Ids of the models of this run.
    places
        `dataset/split` of this run; rows elsewhere were not asked for.
    """
    measured = {row.key for row in rows}
    return [
        row
        for row in baseline
        if row.model in models
        and f"{row.dataset}/{row.split}" in places
        and row.key not in measured
    ]


def has_only_timings(path: Path) -> bool:
    """Whether a file is a sound pytest-benchmark JSON without rows of ours."""
    document = _read_json(path)
    timings = isinstance(document, dict) and isinstance(document.get("benchmarks"), list)
    return timings and "reconeval" not in document


def read_baseline(path: Path) -> list[Row]:
    """Read the rows of a saved run: a pytest-benchmark JSON or a `--results` JSON.

    Raises
    ------
    UsageError
        If the file is missing, is no JSON, or holds no rows.
    """
    return rows_of(_read_json(path), str(path))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"baseline {path}: cannot be read ({error.strerror or error})"
        raise UsageError(msg) from None
    except ValueError as error:
        msg = f"baseline {path}: not a JSON file, or cut short ({error})"
        raise UsageError(msg) from None


def rows_of(document: Any, name: str) -> list[Row]:
    """Return the rows inside a loaded benchmark JSON; `UsageError` where it has none."""
    inner = document.get("reconeval", document) if isinstance(document, dict) else {}
    records = inner.get("rows") if isinstance(inner, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        msg = (
            f"baseline {name}: has no reconeval rows; save one with "
            "`pytest benchmarks --model ... --benchmark-json=FILE`"
        )
        raise UsageError(msg)
    if isinstance(inner.get("schema"), int) and inner["schema"] > SCHEMA:
        msg = f"baseline {name}: schema {inner['schema']}, this reconeval reads up to {SCHEMA}"
        raise UsageError(msg)
    try:
        return [Row.from_dict(record) for record in records]
    except UsageError as error:
        msg = f"baseline {name}: {error}"
        raise UsageError(msg) from None
