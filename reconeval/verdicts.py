"""The verdict on each row of a run: controls, floors and bands, and the earlier run beside it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconeval.costs import find
from reconeval.gate import Scored
from reconeval.thresholds import shortfall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconeval.controls import Controls
    from reconeval.gate import Gate
    from reconeval.rows import Row
    from reconeval.runs import Run
    from reconeval.thresholds import Thresholds

__all__ = ["Verdicts"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Verdicts:
    """What the rows of a run are held against.

    Attributes
    ----------
    controls
        What trivial models score where this run's models do.
    thresholds
        Floors and bands.
    writes_bands
        Whether bands are noted in `thresholds`, to be written at the end.
    gate
        The comparison with an earlier run, or None.
    metric_names
        The metrics of the run.
    """

    controls: Controls
    thresholds: Thresholds
    writes_bands: bool
    gate: Gate | None
    metric_names: Sequence[str]

    def judge(self, row: Row, run: Run) -> tuple[Row, str]:
        """Give a row its verdict.

        Parameters
        ----------
        row
            A row as measured.
        run
            The model on the case that it was measured of.

        Returns
        -------
        The row with controls, threshold, baseline and verdict, and the failure in one line, empty
        if none. A metric that the data cannot serve is skipped, unless a threshold or the gate
        asks for a value.
        """
        row, metric = self.controls.annotate(row, run.case), find(row.metric)
        scored = metric.family != "cost"
        unserved = scored and bool(run.unserved(metric))
        excused = unserved and run.case.excused(metric)
        bound = None if excused else self.thresholds.bound(row, run.spec.key, metric)
        if self.writes_bands and scored:
            self.thresholds.note(row, run.spec.key, metric, run.deviation(metric))
        skipped = unserved and bound is None
        failures = [] if skipped else shortfall(row, metric, bound)
        beside = None if self.gate is None else self.gate.outcome(row, lambda: self._scored(run))
        if beside is not None and beside.fails:
            failures.append(beside.message)
        failure = "; ".join(failures)
        verdict = "fail" if failures else "skip" if skipped else "pass"
        judged = replace(
            row,
            threshold=bound,
            baseline=None if beside is None else beside.baseline,
            verdict=verdict if beside is None else f"{verdict}: {beside.word}",
            reason=failure or row.reason,
        )
        return judged, failure

    def _scored(self, run: Run) -> Iterator[Scored]:
        """Yield all scores of a run that the baseline has, as the gate judges them together."""
        baseline = {} if self.gate is None else self.gate.baseline.rows
        for name in self.metric_names:
            metric = find(name)
            if (run.spec.id, run.case.dataset.name, run.case.split.name, name) in baseline:
                with suppress(Exception):  # the metric's own test tells what broke
                    row = self.controls.annotate(run.row(metric), run.case)
                    yield Scored(row, run.replicates(metric))
