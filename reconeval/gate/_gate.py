"""The verdict on each row of a run, corrected for the many metrics that are looked at.

A run is a release's whole benchmark, and one false alarm fails it: so the chance that a run of an
unchanged model fails is held at 5 %. That 5 % is shared in equal parts by the places (a model on a
dataset and split) that the baseline has, and within a place the procedure of Benjamini and
Hochberg corrects for its metrics. Where nothing changed it holds the chance of any false alarm, as
Holm's does; where a model got worse, most metrics tell of it, and it finds more of them. A place is
decided when its model is trained, so every test tells its own verdict, and it is the same
whichever tests are selected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from reconeval.costs import find
from reconeval.gate._compare import Comparison, compare, decide, incomparable
from reconeval.gate._costs import compare_cost
from reconeval.gate._evidence import evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconeval.gate._chance import Evidence
    from reconeval.gate._saved import SavedRun
    from reconeval.gate._tolerances import Tolerance
    from reconeval.intervals import Replicates
    from reconeval.rows import Row

__all__ = ["ALPHA", "Gate", "Scored", "discoveries"]

ALPHA = 0.05  # chance that a run of an unchanged model fails

Place = tuple[str, str, str]


class Scored(NamedTuple):
    """A row and the values of its metric in resamples, where they were kept."""

    row: Row
    replicates: Replicates | None = None


class _Weighed(NamedTuple):
    """What is known of one metric of a place: its evidence, and the metrics beyond chance."""

    evidence: Mapping[str, Evidence]
    changed: frozenset[str]


def discoveries(p_values: Mapping[str, float], level: float) -> set[str]:
    """Return the hypotheses that the procedure of Benjamini and Hochberg rejects.

    Parameters
    ----------
    p_values
        One per hypothesis.
    level
        Expected share of false rejections, from 0 to 1; where all hypotheses hold, the chance of
        any rejection.

    References
    ----------
    Benjamini, Y. and Hochberg, Y. (1995), doi 10.1111/j.2517-6161.1995.tb02031.x.
    """
    order = sorted(p_values, key=p_values.__getitem__)
    last = 0
    for rank, name in enumerate(order, start=1):
        if p_values[name] <= level * rank / len(order):
            last = rank
    return set(order[:last])


@dataclass(eq=False)
class Gate:
    """Verdicts on the rows of a run beside a saved one.

    Attributes
    ----------
    baseline
        The saved run.
    tolerances
        Metrics with a bound of their own, which replaces the test and judges in any case.
    fail_on_regression
        Whether all other metrics can fail, too, where they are informative.
    n_places
        How many models on datasets and splits are compared, at least 1; they share the 5 %.
    reference
        Returns the seconds of the reference workload in the run of a row, None if unknown.
    """

    baseline: SavedRun
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    fail_on_regression: bool = False
    n_places: int = 1
    reference: Callable[[Row], float | None] = lambda _: None
    _weighed: dict[Place, _Weighed] = field(default_factory=dict, init=False, repr=False)

    def outcome(self, row: Row, peers: Callable[[], Iterable[Scored]]) -> Comparison:
        """Compare a row with the baseline's.

        Parameters
        ----------
        row
            The row, with what its controls say.
        peers
            Returns all rows of the same model, dataset and split that the run scores, this one
            among them; asked once per place.
        """
        metric, tolerance = find(row.metric), self.tolerances.get(row.metric)
        base = self.baseline.rows.get(row.key)
        if metric.family == "cost":
            if tolerance is not None and not (self.fail_on_regression and tolerance.relative):
                return compare(row, base, metric, tolerance)
            references = (self.reference(row), self.baseline.reference_seconds(row))
            gated = tolerance is not None or self.fail_on_regression
            return compare_cost(
                row, base, metric, gated=gated, tolerance=tolerance, references=references
            )
        votes = _informative(row, base)
        if tolerance is not None:  # whoever names a metric knows what it is worth
            found = compare(row, base, metric, tolerance)
            return found if votes or not found.fails else _doubted(found, row)
        gated = self.fail_on_regression and votes
        early = incomparable(row, base, gated=gated)
        if early is not None or base is None:
            return early or Comparison("new")
        weighed = self._weigh(row, peers)
        return decide(
            row,
            base,
            metric,
            weighed.evidence.get(row.metric),
            gated=gated,
            beyond_chance=row.metric in weighed.changed,
        )

    def _weigh(self, row: Row, peers: Callable[[], Iterable[Scored]]) -> _Weighed:
        place = (row.model, row.dataset, row.split)
        if place not in self._weighed:
            found: dict[str, Evidence] = {}
            votes: set[str] = set()
            for peer, replicates in peers():
                base = self.baseline.rows.get(peer.key)
                if base is None or incomparable(peer, base, gated=False) is not None:
                    continue
                metric = find(peer.metric)
                kept = self.baseline.replicates.get(peer.key)
                known = evidence(peer, base, metric, replicates, kept)
                if math.isnan(known.loss):
                    continue
                found[peer.metric] = known
                if peer.metric not in self.tolerances and _informative(peer, base):
                    votes.add(peer.metric)
            self._weighed[place] = _Weighed(found, self._changed(found, votes))
        return self._weighed[place]

    def _changed(self, found: Mapping[str, Evidence], votes: set[str]) -> frozenset[str]:
        """Return the metrics whose loss or gain is beyond chance, losses and gains apart.

        A metric without a vote is told by its own p value at the level of the smallest share, so
        that it takes nothing from the others.
        """
        level = ALPHA / self.n_places
        changed: set[str] = set()
        for p_values in (
            {name: one.p_worse for name, one in found.items()},
            {name: one.p_better for name, one in found.items()},
        ):
            changed |= discoveries(
                {name: p for name, p in p_values.items() if name in votes}, level
            )
            changed |= {
                name
                for name, p in p_values.items()
                if name not in votes and p <= level / max(len(found), 1)
            }
        return frozenset(changed)


def _doubted(found: Comparison, row: Row) -> Comparison:
    """Add to a failure that the controls doubt its metric."""
    return replace(found, message=f"{found.message}; {row.metric} is not informative there")


def _informative(row: Row, base: Row | None) -> bool:
    """Whether a metric tells a good model from a constant; where no control was scored, it may."""
    return row.informative is not False and (base is None or base.informative is not False)
