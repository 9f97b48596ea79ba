"""Scores of the controls for one metric, and what they anchor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconeval.metrics.registry import Metric

__all__ = ["CONTROLS_VERSION", "SEED", "ControlScores", "negative_of", "skill"]

# Raised whenever a control's prediction changes: scores of another version are made again.
CONTROLS_VERSION = 1
# Of every draw of the controls, whatever the seeds of a run: a row keeps its anchors.
SEED = 0

_DIGITS = 9  # kept of a score, far beyond what two machines agree on


@dataclass(frozen=True, kw_only=True)
class ControlScores:
    """What the controls score by one metric on a dataset and split.

    Attributes
    ----------
    metric, version
        The metric's name and the version of its definition.
    negatives
        Scores of the negative controls by their names; NaN where they have none.
    half
        Score of half a signal: in every second cell the positive control, in the others the
        negative one that predicts a mean, `Mean` or `MeanShift`.
    positive
        Score of the positive control.
    positive_is
        What that is, in words.
    collapsed
        Score of one and the same cell, the mean of the training, for all.
    copied
        Score of the input itself; NaN where a task gives none.
    reasons
        Why a score is NaN, by `half`, `positive` or the name of a negative control.
    """

    metric: str
    version: int
    negatives: Mapping[str, float]
    half: float
    positive: float
    positive_is: str
    collapsed: float
    copied: float = math.nan
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def blended(self) -> tuple[str, float]:
        """The negative control that half a signal has in it, and its score."""
        return next((k, v) for k, v in self.negatives.items() if k in ("Mean", "MeanShift"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, of scores 9 digits; NaN becomes None."""
        return {
            "version": self.version,
            "negatives": {name: _plain(value) for name, value in self.negatives.items()},
            **{name: _plain(getattr(self, name)) for name in _NUMBERS},
            "positive_is": self.positive_is,
            **({"reasons": dict(self.reasons)} if self.reasons else {}),
        }

    @classmethod
    def from_dict(cls, metric: str, values: Mapping[str, Any]) -> ControlScores:
        """Read what `to_dict` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError, AttributeError
            If these are no such values.
        """
        return cls(
            metric=metric,
            version=int(values["version"]),
            negatives={str(k): _number(v) for k, v in values["negatives"].items()},
            positive_is=str(values["positive_is"]),
            reasons={str(k): str(v) for k, v in values.get("reasons", {}).items()},
            **{name: _number(values[name]) for name in _NUMBERS},
        )


_NUMBERS = ("half", "positive", "collapsed", "copied")


def _plain(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _number(value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{value!r} is no score"
        raise TypeError(msg)
    return float(value)


def negative_of(metric: Metric, scores: ControlScores) -> tuple[str, float]:
    """Return the negative control that counts for a metric, and its score.

    Parameters
    ----------
    metric
        The metric.
    scores
        Its scores of the controls.

    Returns
    -------
    The name and the score; NaN, with the first name, where none has one. Of metrics that compare
    cells one by one, and of those of perturbations, the better of the negative controls counts:
    what any of them reaches is worth nothing. Of metrics that compare reconstructed populations it
    is the first of them that has a value, `Mean`. `Shuffle` answers with measured cells, which
    under `iid` are another sample of the very population: a perfect score there, and no floor.
    """
    defined = {name: value for name, value in scores.negatives.items() if math.isfinite(value)}
    if not defined:
        return next(iter(scores.negatives)), math.nan
    if "Shuffle" in scores.negatives and not metric.paired:
        return next(iter(defined.items()))
    name = min(defined, key=lambda one: metric.badness(defined[one]))
    return name, defined[name]


def skill(metric: Metric, value: float, *, negative: float, positive: float) -> float | None:
    """Return where a value lies between the controls.

    Parameters
    ----------
    metric
        The metric, for its direction.
    value, negative, positive
        Scores of the model and of the controls, in the metric's unit.

    Returns
    -------
    (value - negative) / (positive - negative), higher is better: 0 is the negative control, 1 the
    positive one, and nothing is clipped. Of a metric that is best inside its range the distances
    from the best value stand for the scores. None where a score is not finite, or where the
    positive control is no better than the negative one, so that there is no way to go.
    """
    if not all(map(math.isfinite, (value, negative, positive))):
        return None
    floor = metric.badness(negative)
    way = floor - metric.badness(positive)
    return (floor - metric.badness(value)) / way if way > 0 else None
