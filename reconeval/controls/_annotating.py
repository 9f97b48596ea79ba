"""Put the scores of the controls into the rows of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconeval.controls._scores import skill
from reconeval.controls._store import KeptScores, frozen_scores, place_of
from reconeval.controls._verdict import health_of
from reconeval.costs import find
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from reconeval.cache._store import Store
    from reconeval.cases import Case
    from reconeval.controls._reconstruction import ReconstructionControls
    from reconeval.controls._scores import ControlScores
    from reconeval.controls._shift import ShiftControls
    from reconeval.controls._store import Place
    from reconeval.controls._verdict import Health
    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row

__all__ = ["Controls", "score_controls"]


@dataclass(eq=False)
class Controls:
    """Scores of the controls on the cases of a run, each made once.

    What the shipped table has costs nothing; other scores are made when they are first asked for,
    and kept in the user's cache.

    Attributes
    ----------
    store
        The user's cache, None where it is not to be used.
    """

    store: Store | None = None
    _books: dict[Place, _Book] = field(default_factory=dict, init=False, repr=False)

    def scores(self, metric: Metric, case: Case) -> ControlScores:
        """Return the controls' scores by a metric on a case."""
        place = place_of(case)
        known = frozen_scores(place).get(metric.name)
        if known is not None and known.version == metric.version:
            return known
        if place not in self._books:
            self._books[place] = _Book(case, place, self.store)
        return self._books[place].scores(metric)

    def health(self, metric: Metric, case: Case) -> Health:
        """Return whether a metric can be trusted on a case, with the scores it follows from."""
        return health_of(metric, self.scores(metric, case))

    def annotate(self, row: Row, case: Case) -> Row:
        """Fill in what the controls say of a row.

        Parameters
        ----------
        row
            A row as measured.
        case
            The case it was measured on.

        Returns
        -------
        The row with `negative`, `positive`, `skill` and `informative`, and in `reason` why its
        metric is not informative, if it is not; a row of a cost or of
        a question to a mapping as it was.
        """
        if row.family in ("cost", "query_mapping"):
            return row
        metric = find(row.metric)
        health = self.health(metric, case)
        negative, positive = health.negative, health.scores.positive
        doubt = f"not informative: {health.reason}" if health.informative is False else ""
        return replace(
            row,
            negative=_finite(negative),
            positive=_finite(positive),
            skill=skill(metric, row.value, negative=negative, positive=positive),
            informative=health.informative,
            reason=row.reason or doubt,
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class _Book:
    """Scores on one case, from the user's cache or made now."""

    def __init__(self, case: Case, place: Place, store: Store | None) -> None:
        self._case = case
        self._kept = None if store is None else KeptScores(store, place, case)
        self._scores: dict[str, ControlScores] = {}
        self._controls: ReconstructionControls | ShiftControls | None = None

    def scores(self, metric: Metric) -> ControlScores:
        if metric.name not in self._scores:
            known = None if self._kept is None else self._kept.read(metric)
            self._scores[metric.name] = self._make(metric) if known is None else known
        return self._scores[metric.name]

    def _make(self, metric: Metric) -> ControlScores:
        with quiet():
            if self._controls is None:
                self._controls = score_controls(self._case)
            scores = self._controls.scores(metric)
        if self._kept is not None:
            self._kept.write(metric, scores)
        return scores


def score_controls(case: Case) -> ReconstructionControls | ShiftControls:
    """Return the controls of a case, which score themselves by any metric."""
    from reconeval.cases import LatentShiftCase
    from reconeval.cases.end_to_end import ReconstructionCase
    from reconeval.controls._reconstruction import ReconstructionControls
    from reconeval.controls._shift import ShiftControls

    if isinstance(case, LatentShiftCase):
        return ShiftControls(case)
    if not isinstance(case, ReconstructionCase):
        msg = f"no controls are known for the task {case.task}"
        raise TypeError(msg)
    return ReconstructionControls(case)
