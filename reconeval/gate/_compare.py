"""A row beside that of an earlier run: by a plain tolerance, or by what is known of noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reconeval.gate._evidence import least_effect

if TYPE_CHECKING:
    from reconeval.gate._chance import Evidence
    from reconeval.gate._tolerances import Tolerance
    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row

__all__ = ["Comparison", "Word", "compare", "decide", "incomparable"]

Word = Literal["better", "same", "worse", "incomparable", "new"]


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
    loss
        How much worse, in the metric's unit, negative where better; None where unknown.
    ratio
        Of a cost how many times as much it is, scaled to the baseline's machine; else None.
    interval
        95 % interval of the loss, where its noise is known.
    p
        Chance of a loss this large without a change, before correction; None where unknown.
    severity
        The loss as a multiple of what is allowed; infinite where a value was lost.
    how
        What the comparison rests on.
    """

    word: Word
    fails: bool = False
    message: str = ""
    baseline: float | None = None
    loss: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    severity: float = 0.0
    how: str = ""


def compare(
    row: Row, baseline: Row | None, metric: Metric, tolerance: Tolerance | None
) -> Comparison:
    """Compare a row with the same row of an earlier run by a plain tolerance.

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
    early = incomparable(row, baseline, gated=gated)
    if early is not None or baseline is None:
        return early or Comparison("new")
    was, now = baseline.value, row.value
    loss = metric.badness(now) - metric.badness(was)
    spread = baseline.high - baseline.low
    noise = _rounding(was, now)
    allowed = max(tolerance.allowed(was) if tolerance else 0.0, spread, noise)
    word: Word = "worse" if loss > allowed else "better" if -loss > max(spread, noise) else "same"
    message = f"{row.where}: {was:.4g} -> {now:.4g}"
    if loss > 0:
        message += f", worse by {loss:.3g} (allowed {allowed:.3g})"
    return Comparison(
        word,
        gated and word == "worse",
        message,
        was,
        loss=loss,
        severity=loss / allowed,
        how="tolerance",
    )


def _rounding(was: float, now: float) -> float:
    # Far below any tolerance, far above the rounding of float64 sums in another order.
    return 1e-9 * max(abs(was), abs(now), 1e-12)


def incomparable(row: Row, baseline: Row | None, *, gated: bool) -> Comparison | None:
    """Return the comparison of rows that no number can decide, None where one can.

    Parameters
    ----------
    row, baseline
        As for `compare`.
    gated
        Whether the build fails where they cannot be compared, or a value was lost.
    """
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
    if math.isnan(was) and math.isnan(now):
        return Comparison("same", message=f"{row.where}: undefined in both runs")
    if math.isnan(was):
        return Comparison("better", message=f"{row.where}: undefined -> {now:.4g}")
    if math.isnan(now):
        message = f"{row.where}: {was:.4g} -> undefined ({row.reason})"
        return Comparison("worse", gated, message, was, severity=math.inf)
    return None


def decide(
    row: Row,
    baseline: Row,
    metric: Metric,
    evidence: Evidence | None,
    *,
    gated: bool,
    beyond_chance: bool,
) -> Comparison:
    """Compare two rows that can be compared, by what is known of their noise.

    Parameters
    ----------
    row, baseline, metric
        As for `compare`.
    evidence
        The loss and its noise; None where the metric was not weighed, and nobody can tell.
    gated
        Whether the build fails where the row is worse.
    beyond_chance
        Whether the loss or gain remains significant after the correction for many metrics.

    Returns
    -------
    Worse, or better, means: beyond chance, and by more than the least effect that counts.
    """
    was, now = baseline.value, row.value
    loss = metric.badness(now) - metric.badness(was)
    least = max(least_effect(row, baseline, metric), _rounding(was, now))
    real = evidence is not None and beyond_chance and abs(loss) > least
    if evidence is None:
        noise = how = "nothing tells whether by chance"
    else:
        how, (low, high) = evidence.how, evidence.interval
        noise = f"95 % interval {low:.3g} to {high:.3g}, {how}; counts from {least:.2g}"
    word: Word = "same" if not real else "worse" if loss > 0 else "better"
    message = f"{row.where}: {was:.4g} -> {now:.4g}"
    if loss > 0:
        message += f", worse by {loss:.3g} ({noise})"
    return Comparison(
        word,
        gated and word == "worse",
        message,
        was,
        loss=loss,
        interval=evidence.interval if evidence else None,
        p=evidence.p_worse if evidence else None,
        severity=loss / least,
        how=how,
    )
