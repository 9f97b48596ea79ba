"""Whether a metric can tell a good model from a constant on the data at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconeval.controls._scores import negative_of

if TYPE_CHECKING:
    from reconeval.controls._scores import ControlScores
    from reconeval.metrics.registry import Metric

__all__ = ["LEAST_RANGE", "Health", "health_of"]

LEAST_RANGE = 0.1
"""The share of the way from the negative control to the best value that the positive one must
cover, or the noise of the data is as large as what the metric could show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A metric on a dataset and split, by its controls.

    Attributes
    ----------
    scores
        Scores of the controls.
    negative_is, negative
        The negative control that counts, and its score.
    dynamic_range
        (positive - negative) / (best value - negative); NaN where it cannot be told.
    informative
        Whether the metric may have a say; None where it cannot be told.
    reason
        Why not, in words; empty for an informative metric.
    """

    scores: ControlScores
    negative_is: str
    negative: float
    dynamic_range: float
    informative: bool | None
    reason: str = ""


def health_of(metric: Metric, scores: ControlScores) -> Health:
    """Judge a metric by the scores of the controls.

    Parameters
    ----------
    metric
        The metric.
    scores
        Its scores of the controls.

    Returns
    -------
    The metric is informative if the positive control covers `LEAST_RANGE` of the way from the
    negative one to the best value, half a signal is better than the mean that it has in it and no
    better than the positive control, and neither one cell for all comes out on top nor, where
    held-out counts guard against it, a copy of the input. Without a negative and a positive score
    it cannot be told.

    References
    ----------
    Calibration of metrics by their dynamic range, doi:10.1101/2025.10.20.683304
    """
    name, negative = negative_of(metric, scores)
    bad = metric.badness
    ways = bad(negative) - bad(scores.positive), bad(negative) - bad(metric.best)
    share = ways[0] / ways[1] if all(map(math.isfinite, ways)) and ways[1] > 0 else math.nan
    untold = _untold(scores, name, negative)
    reason = untold or _fault(metric, scores, name, negative, share)
    return Health(
        scores=scores,
        negative_is=name,
        negative=negative,
        dynamic_range=share,
        informative=None if untold else not reason,
        reason=reason,
    )


def _untold(scores: ControlScores, name: str, negative: float) -> str:
    """Return why the controls say nothing, empty if they do."""
    if not math.isfinite(scores.positive):
        return f"no positive control: {scores.reasons.get('positive', 'it has no value')}"
    if not math.isfinite(negative):
        return f"no negative control: {scores.reasons.get(name, 'it has no value')}"
    return ""


def _fault(metric: Metric, scores: ControlScores, name: str, negative: float, share: float) -> str:
    """Return what the metric fails in, empty if nothing."""
    bad, best, half = metric.badness, scores.positive, scores.half
    if bad(negative) <= bad(best):
        return f"{name} scores {negative:.4g}, no worse than the positive control, {best:.4g}"
    if not share >= LEAST_RANGE:
        covered = "none" if math.isnan(share) else f"{share:.0%}"
        return (
            f"the positive control, {best:.4g}, covers {covered} of the way from {name}, "
            f"{negative:.4g}, to the best value, {metric.best:g}, expected {LEAST_RANGE:.0%}"
        )
    if math.isnan(half):
        return f"half a signal has no value: {scores.reasons.get('half', '')}"
    blended, mean = scores.blended
    if math.isnan(mean):
        blended, mean = name, negative
    if not bad(mean) > bad(half) >= bad(best):
        return (
            f"half a signal scores {half:.4g}, not between {blended}, {mean:.4g}, and the "
            f"positive control, {best:.4g}"
        )
    return _trick(metric, scores)


def _trick(metric: Metric, scores: ControlScores) -> str:
    """Return which prediction without any skill comes out on top, empty if none."""
    bad, best = metric.badness, scores.positive
    if bad(scores.collapsed) <= bad(scores.half):
        return (
            f"one cell for all scores {scores.collapsed:.4g}, no worse than half a signal, "
            f"{scores.half:.4g}"
        )
    if "counts" in metric.needs and bad(scores.copied) <= bad(best):
        return (
            f"a copy of the input scores {scores.copied:.4g}, no worse than the positive "
            f"control, {best:.4g}"
        )
    return ""
