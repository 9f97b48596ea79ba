"""Seconds and memory beside those of an earlier run, also of another machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from reconeval.costs import PREDICT_ROUNDS
from reconeval.gate._compare import Comparison, incomparable

if TYPE_CHECKING:
    from reconeval.gate._compare import Word
    from reconeval.gate._tolerances import Tolerance
    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row

__all__ = ["MIN_ROUNDS", "compare_cost"]

MIN_ROUNDS = 3


class _Rule(NamedTuple):
    """How a cost is gated.

    Attributes
    ----------
    factor
        Times as much as in the baseline that is allowed.
    least
        Difference that counts, in seconds or MB: below it a ratio is the clock's noise.
    timed
        Whether it depends on how fast the machine is.
    of_model
        Whether it is the model's alone. The memory of the whole process hangs on what ran in it
        before, so it fails by a bound of the user's own at most.
    """

    factor: float
    least: float
    timed: bool
    of_model: bool = True


_RULES = {
    "train_seconds": _Rule(1.5, 0.1, timed=True),
    "predict_cells_per_second": _Rule(1.5, 0.02, timed=True),
    "train_rss_mb": _Rule(1.2, 100.0, timed=False),
    "peak_rss_mb": _Rule(1.2, 50.0, timed=False, of_model=False),
    "peak_gpu_mb": _Rule(1.2, 50.0, timed=False),
}


def compare_cost(
    row: Row,
    baseline: Row | None,
    metric: Metric,
    *,
    gated: bool,
    tolerance: Tolerance | None = None,
    references: tuple[float | None, float | None] = (None, None),
) -> Comparison:
    """Compare a cost with that of an earlier run, by ratio.

    Parameters
    ----------
    row, baseline
        The rows of the two runs.
    metric
        The cost.
    gated
        Whether the build may fail for it.
    tolerance
        Replaces the factor that is allowed, whatever the machines: `50%` is 1.5.
    references
        Seconds of the reference workload in this run and in the baseline. Where both are known,
        timings are scaled by their ratio, and the factor that is allowed grows by the root of it.

    Returns
    -------
    Worse means: more than the factor and more than the clock's noise. Of a training the quickest
    seed counts, which other work on the machine disturbs least. Only costs of at least three
    rounds in both runs can fail; the size of a model never does, and the memory of the whole
    process by a tolerance alone.
    """
    early = incomparable(row, baseline, gated=gated)
    if early is not None or baseline is None:
        return early or Comparison("new")
    rule = _RULES.get(metric.name)
    if rule is None:
        return _size(row, baseline, metric)
    was, now = (_spent(one) for one in (baseline, row))
    scale, note = _scale(references) if rule.timed else (1.0, "")
    allowed = rule.factor * _doubt(scale) if tolerance is None else 1 + tolerance.allowed(1.0)
    expected = was * scale
    ratio = now / expected if expected > 0 else math.inf if now > 0 else 1.0
    word: Word = "same"
    if now > allowed * expected and now - expected > rule.least:
        word = "worse"
    elif expected > allowed * now and expected - now > rule.least:
        word = "better"
    rounds = min(_rounds(one) for one in (row, baseline))
    shown = f"{row.where}: {_shown(baseline):.4g} -> {_shown(row):.4g}"
    message = f"{shown}, {ratio:.3g} times the cost (allowed {allowed:.3g}{note}; {rounds} rounds)"
    votes = rule.of_model or tolerance is not None
    if word == "worse" and not votes:
        message += "; not gated, hangs on what ran before in the process"
    elif word == "worse" and rounds < MIN_ROUNDS:
        message += f"; not gated, needs {MIN_ROUNDS} rounds: add --seeds {MIN_ROUNDS}"
    return Comparison(
        word,
        gated and votes and word == "worse" and rounds >= MIN_ROUNDS,
        message,
        baseline.value,
        ratio=ratio,
        severity=math.log(max(ratio, 1e-9)) / math.log(max(allowed, 1 + 1e-9)),
        how=f"by ratio{note}",
    )


def _size(row: Row, baseline: Row, metric: Metric) -> Comparison:
    loss = metric.badness(row.value) - metric.badness(baseline.value)
    word: Word = "worse" if loss > 0 else "better" if loss < 0 else "same"
    message = f"{row.where}: {baseline.value:.4g} -> {row.value:.4g}"
    return Comparison(word, message=message, baseline=baseline.value, how="shown, never gated")


def _scale(references: tuple[float | None, float | None]) -> tuple[float, str]:
    """Return how many times slower this run's machine was, and a note for messages."""
    now, was = references
    if now is None or was is None:
        return 1.0, ", not scaled: no reference workload in both runs"
    return now / was, f", scaled by reference workload {now / was:.2g}x"


def _doubt(scale: float) -> float:
    """Return how far off scaled seconds may be, as a factor of at least 1.

    No model is slowed down by another machine, or by other work on it, just as the reference
    workload is: busy cores cost a product of large matrices twice what they cost a small one. The
    more there is to correct, the more the correction itself may be wrong.
    """
    return math.sqrt(max(scale, 1 / scale))


def _shown(row: Row) -> float:
    return row.low if row.metric == "train_seconds" else row.value


def _spent(row: Row) -> float:
    """Return seconds, or MB."""
    if row.metric == "predict_cells_per_second":
        return row.n / row.value if row.value > 0 else math.inf
    return _shown(row)


def _rounds(row: Row) -> int:
    return PREDICT_ROUNDS if row.metric == "predict_cells_per_second" else row.seeds
