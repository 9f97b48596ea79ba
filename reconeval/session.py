"""One benchmark run: its options, its models and cases, its trainings and its rows.

Nothing here knows of pytest; `plugin` translates options and hooks.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reconeval import gate
from reconeval._asked import asked_metrics
from reconeval._asked_models import asked_models
from reconeval._threshold_tables import idle_tables
from reconeval.cases.making import Cases
from reconeval.controls import Controls
from reconeval.costs import COSTS, find
from reconeval.environment import environment
from reconeval.places import find_places, known_datasets
from reconeval.reference import Reference
from reconeval.report.html import check_report_path
from reconeval.rows import Row, check_results_path, latest
from reconeval.thresholds import Thresholds
from reconeval.verdicts import Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconeval.cache import Cache
    from reconeval.cases import Case
    from reconeval.contract import Outcome
    from reconeval.intervals import Replicates
    from reconeval.options import Options
    from reconeval.query_mapping.runs import Mappings
    from reconeval.runs import Run
    from reconeval.spec import ModelSpec

__all__ = ["Session"]


class Session:
    """The state of a run; everything that can be refused is refused when it is made.

    Parameters
    ----------
    options
        What was asked for.

    Attributes
    ----------
    options
        The same.
    task
        The task of all its models.
    specs
        The models, by id.
    places
        Pairs of dataset id and split name.
    metric_names
        The metrics of this run, in the registry's order.
    tolerances
        Per metric, how much worse than the baseline it may be.
    thresholds
        Floors and bands.
    gate
        The comparison with an earlier run, or None.
    baseline
        Rows of the earlier run, by key.
    verdicts
        Judges a row by all of these.
    rows
        Rows of this run, in order of arrival.
    outcomes
        What came of the checks of each model's contract, by model and check.
    metric_seconds
        Seconds that each metric took over all seeds, by the row's key.
    replicates
        The metric's values in resamples of the test cells, by the row's key.
    reference
        How fast the machine is.
    material
        What a report draws of the predictions.
    cache
        What earlier runs have finished, None where it is not to be used.

    Raises
    ------
    UsageError
        If something that was asked for does not exist or does not go with the rest.
    """

    def __init__(self, options: Options) -> None:
        from reconeval.report.html.material import Material

        self._start = time.time()
        self.options = options
        self.task, specs, embedding = asked_models(options)
        self.specs = {spec.id: spec for spec in specs}
        self.places, sources = find_places(options, self.task)
        self._cases = Cases(self.task, options, sources, embedding)
        self.reference = Reference(on_cpu=options.accelerator == "cpu")
        self.tolerances = gate.read_tolerances(options.tolerances)
        self.metric_names = asked_metrics(options, self.task, self.tolerances)
        self.thresholds = Thresholds.read(options.thresholds, may_be_new=options.update_thresholds)
        self._check_writable()
        self.gate = gate.make_gate(
            options.baseline,
            tolerances=self.tolerances,
            fail_on_regression=options.fail_on_regression,
            models=list(self.specs),
            places=self.places,
            metrics=self.metric_names,
            reference=lambda row: self.reference.of(row.key[:3]),
        )
        self.baseline: Mapping[tuple[str, ...], Row] = (
            {} if self.gate is None else self.gate.baseline.rows
        )
        self.cache = self._open_cache()
        self.verdicts = Verdicts(
            controls=Controls(None if self.cache is None else self.cache.store),
            thresholds=self.thresholds,
            writes_bands=options.update_thresholds,
            gate=self.gate,
            metric_names=self.metric_names,
        )
        self.rows: list[Row] = []
        self.outcomes: dict[str, dict[str, Outcome]] = {}
        self.metric_seconds: dict[tuple[str, ...], float] = {}
        self.replicates: dict[tuple[str, ...], Replicates] = {}
        self.material = Material()

    def _check_writable(self) -> None:
        options = self.options
        if options.update_thresholds:
            self.thresholds.check_writable()
        for path in options.results:
            check_results_path(path)
        for path in options.reports:
            check_report_path(path)

    def _open_cache(self) -> Cache | None:
        if not self.options.cache:
            return None
        from reconeval.cache import Cache

        return Cache(self.options, self.specs.values(), self.reference)

    def case(self, dataset: str, split: str) -> Case:
        """Return the prepared case, loaded on first use.

        Raises
        ------
        UsageError
            If the dataset is damaged, unfit, or has too few groups for the split.
        """
        return self._cases.get(dataset, split)

    def train(
        self,
        model: str,
        dataset: str,
        split: str,
        progress: Callable[[str], None],
        *,
        timed: bool = True,
    ) -> Run:
        """Train a model on a case, once per seed; a model that breaks gives a run that says so.

        Parameters
        ----------
        model, dataset, split
            Names of what is trained where.
        progress
            Called with one line before each step that may take long.
        timed
            Whether the seconds of predictions are going to be asked for.

        In query mapping a model is trained once per dataset, whatever the split.
        """
        spec, case = self.specs[model], self.case(dataset, split)
        if self.task == "query_mapping":
            return self._mappings.run(spec, case, progress)
        run = None
        if self.cache is not None:
            metrics = [find(name) for name in self.metric_names]
            run = self.cache.train(spec, case, metrics=metrics, timed=timed, progress=progress)
        if run is None:
            run = self._train(spec, case, progress)
        run.resamples = self.options.resamples
        return run

    def _train(self, spec: ModelSpec, case: Case, progress: Callable[[str], None]) -> Run:
        from reconeval.runs import train

        options = self.options
        run = train(
            spec,
            case,
            options.seeds,
            accelerator=options.accelerator,
            verbose=options.verbose,
            progress=progress,
        )
        self.reference.measure()
        return run

    @cached_property
    def _mappings(self) -> Mappings:
        from reconeval.query_mapping.runs import Mappings

        return Mappings(
            self.options.seeds,
            accelerator=self.options.accelerator,
            verbose=self.options.verbose,
        )

    def outcome(self, model: str, check: str, make: Callable[[], Outcome]) -> Outcome:
        """Return the outcome of a check of a model's contract, made unless an earlier run has it.

        Parameters
        ----------
        model
            Id of the model.
        check
            Name of the check.
        make
            Runs it on cells of the first dataset and split.
        """
        if self.cache is None:
            return make()
        return self.cache.outcome(self.specs[model], self.case(*self.places[0]), check, make)

    def observe(self, run: Run) -> None:
        """Keep what a report draws of a run, where the user asked for a file that holds it."""
        if not self.options.material:
            return
        if self.cache is None:
            self.material.observe(run)
        else:
            self.material.add(self.cache.material(run))

    def idle_thresholds(self) -> list[str]:
        """Return a line for each table of the user's thresholds that seems misspelt."""
        options, thresholds = self.options, self.thresholds
        if options.thresholds is None or options.update_thresholds or not thresholds.tables:
            return []
        specs, known = list(self.specs.values()), known_datasets()
        lines = idle_tables(thresholds.tables, self.places, specs, known)
        return [f"--thresholds {thresholds.path}: {line}" for line in lines]

    def lost(self) -> list[Row]:
        """Return the baseline's rows that a full run should have measured and did not."""
        wanted = set(self.metric_names)
        restricted = bool(self.options.metrics or self.options.families)
        rows = gate.lost_rows(
            self.baseline.values(),
            self.rows,
            models=list(self.specs),
            places=[f"{dataset}/{split}" for dataset, split in self.places],
        )
        return [row for row in rows if not restricted or row.metric in wanted]

    @property
    def seconds(self) -> float:
        """How long the run has lasted."""
        return time.time() - self._start

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, machine and command line of this run."""
        started = datetime.fromtimestamp(self._start, tz=UTC).isoformat(timespec="seconds")
        return {
            **environment(),
            "device": self.options.accelerator,
            "seeds": list(self.options.seeds),
            "start": started,
            "arguments": self.options.arguments,
            "datasets": dict(self._cases.sources),
        }

    def sorted_rows(self) -> list[Row]:
        """Return the rows by dataset, split, model and metric, each in the order asked for."""
        places = [f"{dataset}/{split}" for dataset, split in self.places]
        models, metrics = list(self.specs), [*self.metric_names, *COSTS]

        def position(row: Row) -> tuple[int, int, int]:
            place = places.index(f"{row.dataset}/{row.split}")
            return place, models.index(row.model), metrics.index(row.metric)

        return sorted(latest(self.rows), key=position)
