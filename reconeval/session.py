"""One benchmark run: its options, its models and cases, and the verdict on each row.

Nothing here knows of pytest; `plugin` translates options and hooks.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reconeval import gate
from reconeval._asked import asked_metrics
from reconeval.cases.making import Cases
from reconeval.controls import Controls
from reconeval.costs import COSTS, find
from reconeval.environment import environment
from reconeval.places import decoded_name, find_embedding, find_places, task_of_run
from reconeval.reference import Reference
from reconeval.report.html import check_report_path
from reconeval.rows import Row, check_results_path, latest
from reconeval.thresholds import Thresholds, shortfall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconeval.cache import Cache
    from reconeval.cases import Case
    from reconeval.contract import Outcome
    from reconeval.gate import Gate, Scored, Tolerance
    from reconeval.intervals import Replicates
    from reconeval.options import Options
    from reconeval.query_mapping.runs import Mappings
    from reconeval.report.html.material import Material
    from reconeval.runs import Run
    from reconeval.spec import ModelSpec

__all__ = ["Session"]


@dataclass(eq=False)
class Session:
    """The state of a run; everything that can be refused is refused when it is made.

    Attributes
    ----------
    options
        What was asked for.
    task
        The task of all its models.
    specs
        The models, by id.
    places
        Pairs of dataset id and split name.
    tolerances
        Per metric, how much worse than the baseline it may be.
    metric_names
        The metrics of this run, in the registry's order.
    thresholds
        Floors and bands.
    gate
        The comparison with an earlier run, or None.
    baseline
        Rows of the earlier run, by key.
    rows
        Rows of this run, in order of arrival.
    metric_seconds
        Seconds that each metric took over all seeds, by the row's key.
    replicates
        The metric's values in resamples of the test cells, by the row's key.
    reference
        How fast the machine is.
    controls
        What trivial models score where this run's models do.
    material
        What a report draws of the predictions.
    cache
        What earlier runs have finished, None where it is not to be used.
    """

    options: Options
    task: str = field(init=False)
    specs: dict[str, ModelSpec] = field(init=False)
    places: list[tuple[str, str]] = field(init=False)
    tolerances: dict[str, Tolerance] = field(init=False)
    metric_names: tuple[str, ...] = field(init=False)
    thresholds: Thresholds = field(init=False)
    gate: Gate | None = field(init=False)
    baseline: Mapping[tuple[str, ...], Row] = field(init=False)
    rows: list[Row] = field(init=False, default_factory=list)
    metric_seconds: dict[tuple[str, ...], float] = field(init=False, default_factory=dict)
    replicates: dict[tuple[str, ...], Replicates] = field(init=False, default_factory=dict)
    reference: Reference = field(init=False)
    controls: Controls = field(init=False, default_factory=Controls)
    material: Material = field(init=False)
    cache: Cache | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        from reconeval.report.html.material import Material
        from reconeval.spec import parse_models

        self._start = time.time()
        self.material = Material()
        options = self.options
        specs = parse_models(options.models, sweeps=options.sweeps)
        self.reference = Reference(on_cpu=options.accelerator == "cpu")
        self.task = options.task or task_of_run(specs)
        if self.task == "query_mapping":
            from reconeval.query_mapping.models import mapping_specs

            specs = mapping_specs(specs, options)
        embedding = find_embedding(options, self.task)
        if self.task == "decode" and embedding is not None:
            specs = [spec.decoding(*decoded_name(embedding, options)) for spec in specs]
        self.specs = {spec.id: spec for spec in specs}
        self.places, sources = find_places(options, self.task)
        self._cases = Cases(self.task, options, sources, embedding)
        self.tolerances = gate.read_tolerances(options.tolerances)
        self.metric_names = asked_metrics(options, self.task, self.tolerances)
        self.thresholds = Thresholds.read(options.thresholds)
        if options.update_thresholds:
            self.thresholds.check_writable()
        if options.results is not None:
            check_results_path(options.results)
        if options.report is not None:
            check_report_path(options.report)
        self.gate = gate.make_gate(
            options.baseline,
            tolerances=self.tolerances,
            fail_on_regression=options.fail_on_regression,
            models=list(self.specs),
            places=self.places,
            metrics=self.metric_names,
            reference=lambda row: self.reference.of(row.key[:3]),
        )
        self.baseline = {} if self.gate is None else self.gate.baseline.rows
        if options.cache:
            from reconeval.cache import Cache

            self.cache = Cache(options, self.specs.values(), self.reference)
            self.controls = Controls(self.cache.store)

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
        if self.task == "query_mapping":
            return self._mappings.run(self.specs[model], self.case(dataset, split), progress)
        from reconeval.runs import train

        spec, case = self.specs[model], self.case(dataset, split)
        if self.cache is not None:
            metrics = [find(name) for name in self.metric_names]
            run = self.cache.train(spec, case, metrics=metrics, timed=timed, progress=progress)
            run.resamples = self.options.resamples
            return run
        run = train(
            spec,
            case,
            self.options.seeds,
            accelerator=self.options.accelerator,
            verbose=self.options.verbose,
            progress=progress,
        )
        self.reference.measure()
        run.resamples = self.options.resamples
        return run

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

    def annotate(self, row: Row) -> Row:
        """Return a row with what the controls say of it; one of a cost as it is."""
        if row.family == "cost":
            return row
        return self.controls.annotate(row, self.case(row.dataset, row.split))

    @cached_property
    def _mappings(self) -> Mappings:
        from reconeval.query_mapping.runs import Mappings

        return Mappings(
            self.options.seeds,
            accelerator=self.options.accelerator,
            verbose=self.options.verbose,
        )

    def judge(
        self,
        row: Row,
        spec: ModelSpec,
        *,
        deviation: float = 0.0,
        served: bool = True,
        excused: bool = False,
        peers: Callable[[], Iterable[Scored]] = tuple,
    ) -> tuple[Row, str]:
        """Give a row its verdict.

        Parameters
        ----------
        row
            A row as measured.
        spec
            Its model.
        deviation
            Standard deviation of the metric over seeds, for a band that is being written.
        served
            Whether the data can serve the metric; if not, the row is skipped, unless a threshold
            or the gate asks for a value.
        excused
            Whether a threshold may ask for a value in vain.
        peers
            Returns all scores of the same model and place, which the gate judges together.

        Returns
        -------
        The row with controls, threshold, baseline and verdict, and the failure in one line, empty
        if none.
        """
        row, metric = self.annotate(row), find(row.metric)
        bound = None if excused else self.thresholds.bound(row, spec.key, metric)
        skipped = not served and bound is None
        failures = [] if skipped else shortfall(row, metric, bound)
        verdict = ""
        known: float | None = None
        if self.gate is not None:
            outcome = self.gate.outcome(row, peers)
            verdict, known = f": {outcome.word}", outcome.baseline
            failures += [outcome.message] if outcome.fails else []
        if self.options.update_thresholds and metric.family != "cost":
            self.thresholds.note(row, spec.key, metric, deviation)
        judged = replace(
            row,
            threshold=bound,
            baseline=known,
            verdict=("fail" if failures else "skip" if skipped else "pass") + verdict,
            reason="; ".join(failures) or row.reason,
        )
        return judged, "; ".join(failures)

    def scored(self, run: Run) -> Iterator[Scored]:
        """Yield all scores of a run that the baseline has, as the gate judges them together."""
        for name in self.metric_names:
            metric = find(name)
            if (run.spec.id, run.case.dataset.name, run.case.split.name, name) in self.baseline:
                with suppress(Exception):  # the metric's own test tells what broke
                    yield gate.Scored(self.annotate(run.row(metric)), run.replicates(metric))

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
