"""From a model's name to trained mappings, and from these to rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from reconeval.calls import call_model
from reconeval.cases.query_mapping import BEFORE, QUERY, QueryMappingCase, make_query_split
from reconeval.errors import ModelError, ReconevalError, Undefined
from reconeval.fits import predicted, trained
from reconeval.metrics.registry import Score
from reconeval.query_mapping.cells import query_cells
from reconeval.query_mapping.checks import CHECKS, Finding
from reconeval.query_mapping.models import mapper_of
from reconeval.query_mapping.trainings import Trainings
from reconeval.quiet import quiet
from reconeval.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconeval.cases import Case
    from reconeval.fits import Fit
    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row
    from reconeval.spec import ModelSpec
    from reconeval.timing import Usage

__all__ = ["MappingRun", "Mappings"]


@dataclass(eq=False)
class _Reference:
    """A reference trained with one seed, and its mappings."""

    seed: int
    training: Usage
    trainings: Trainings


@dataclass(eq=False)
class MappingRun(Run):
    """What is asked of a mapping as a whole, over all seeds.

    Attributes
    ----------
    spec, case, fits, error, verbose, metric_seconds
        As for any run, without fits.
    references
        The mappings, one per seed.
    """

    references: list[_Reference] = field(default_factory=list)
    _findings: dict[str, list[Finding]] = field(default_factory=dict, repr=False)
    _unserved: dict[str, str] = field(default_factory=dict, repr=False)

    def scores(self, metric: Metric) -> list[Score]:
        """Return the answer to a question for each seed, found on first use."""
        if self.error:
            return [Score(math.nan, self.error)]
        if metric.name not in self._scores:
            try:
                found = [self._ask(metric.name, one) for one in self.references]
                self._findings[metric.name] = found
                self._scores[metric.name] = [Score(one.value) for one in found]
            except ReconevalError as error:
                if isinstance(error, Undefined):
                    self._unserved[metric.name] = str(error)
                self._scores[metric.name] = [Score(math.nan, str(error))]
        return self._scores[metric.name]

    def row(self, metric: Metric) -> Row:
        """Return the row of a question; its reason is the cause where the limit is missed."""
        row = replace(super().row(metric), seeds=len(self.references))
        worst = max(self._findings.get(metric.name, ()), key=lambda one: one.value, default=None)
        if worst is None or metric.limit is None or worst.value <= metric.limit:
            return row
        return replace(row, reason=worst.cause)

    def unserved(self, metric: Metric) -> str:
        """Return why the data give no answer to a question, else ""."""
        self.scores(metric)
        return self._unserved.get(metric.name, "")

    def usages(self) -> list[Usage]:
        """Return what the joint query training took, for each seed.

        Raises
        ------
        ModelError
            If the model raises.
        """
        if self.error:
            raise ModelError(self.error)
        who = f"mapping {self.spec.id} on {self.case.name}"
        with quiet(verbose=self.verbose):
            return [
                call_model(who, lambda one=one: one.trainings.joint_usage)
                for one in self.references
            ]

    def cost_row(self, cost: Metric, values: Sequence[float]) -> Row:
        """Return the row of a cost: the median of its values, one per seed."""
        return replace(super().cost_row(cost, values), seeds=len(self.references))

    def _ask(self, name: str, reference: _Reference) -> Finding:
        who = f"{name} of {self.spec.id} on {self.case.name}, seed {reference.seed}"
        with quiet(verbose=self.verbose):
            return call_model(who, CHECKS[name], reference.trainings)


class Mappings:
    """The mappings of a run: each model is trained once per dataset and seed.

    Parameters
    ----------
    seeds
        One reference each.
    accelerator
        `cpu` or `gpu`.
    verbose
        Whether third-party libraries may write to the terminal.
    """

    def __init__(
        self, seeds: Sequence[int], *, accelerator: str = "cpu", verbose: bool = False
    ) -> None:
        self._seeds = seeds
        self._accelerator = accelerator
        self._verbose = verbose
        self._references: dict[tuple[str, str], list[_Reference] | ReconevalError] = {}

    def run(self, spec: ModelSpec, case: Case, progress: Callable[[str], None]) -> Run:
        """Return the run of a model on one split of a dataset.

        Parameters
        ----------
        spec, case
            The model, and a split of reference and query batches.
        progress
            Called with one line before each step that may take long.

        Returns
        -------
        A `MappingRun` for the split `query`; for a batch before or after query training an
        ordinary run, whose predictions are for the cells of that batch.
        """
        if not isinstance(case, QueryMappingCase):
            msg = f"{case.name} is no case of query mapping"
            raise TypeError(msg)
        try:
            references = self._trained(spec, case, progress)
            if case.split.name == QUERY:
                return MappingRun(spec, case, [], verbose=self._verbose, references=references)
            fits = [self._fit(spec, case, reference) for reference in references]
        except ReconevalError as error:
            kind = MappingRun if case.split.name == QUERY else Run
            return kind(spec, case, [], str(error))
        return Run(spec, case, fits, verbose=self._verbose)

    def _fit(self, spec: ModelSpec, case: QueryMappingCase, reference: _Reference) -> Fit:
        def mapped() -> Any:
            trainings = reference.trainings
            return (trainings.untrained if case.split.stage == BEFORE else trainings.joint).model

        who = f"mapping {spec.id} on {case.name}, seed {reference.seed}"
        with quiet(verbose=self._verbose):
            model = call_model(who, mapped)
        training = reference.training
        return predicted(spec, case, reference.seed, model, training, verbose=self._verbose)

    def _trained(
        self, spec: ModelSpec, case: QueryMappingCase, progress: Callable[[str], None]
    ) -> list[_Reference]:
        key = (spec.id, case.dataset.name)
        if key not in self._references:
            try:
                make = partial(self._reference, spec, case, progress=progress)
                self._references[key] = [make(seed) for seed in self._seeds]
            except ReconevalError as error:
                self._references[key] = error
        found = self._references[key]
        if isinstance(found, ReconevalError):
            raise found
        return found

    def _reference(
        self,
        spec: ModelSpec,
        case: QueryMappingCase,
        seed: int,
        *,
        progress: Callable[[str], None],
    ) -> _Reference:
        who = f"{spec.id} on {case.dataset.name}, seed {seed}"
        progress(f"training {who}")
        whole = QueryMappingCase(case.dataset, make_query_split(case.dataset, case.split.batches))
        model, training = trained(
            spec, whole, seed, accelerator=self._accelerator, verbose=self._verbose
        )
        make = partial(mapper_of, model, spec.surgery, accelerator=self._accelerator)
        trainings = Trainings(
            call_model(f"query_mapper of {who}", make),
            query_cells(case.dataset, whole.split),
            seed=seed,
            progress=progress,
        )
        return _Reference(seed, training, trainings)
