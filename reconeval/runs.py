"""Train a model once per seed on a dataset and split, and keep what every test reads of it."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconeval.calls import call_model
from reconeval.errors import ReconevalError
from reconeval.fits import Fit, fit, predict, time_predictions
from reconeval.intervals import averaged, interval_of, resample
from reconeval.metrics.registry import METRICS, Score
from reconeval.query_mapping.entries import MAPPING
from reconeval.rows import Row
from reconeval.timing import n_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconeval._typing import FloatArray
    from reconeval.cases import Case
    from reconeval.inputs import Inputs
    from reconeval.intervals import Replicates
    from reconeval.metrics.registry import Family, Metric
    from reconeval.spec import ModelSpec

__all__ = ["Fit", "Run", "fit", "metric_names", "train"]

_FAMILIES: dict[str, tuple[Family, ...]] = {
    "end_to_end": ("statistical", "biological"),
    "decode": ("statistical", "biological"),
    "latent_shift": ("statistical", "perturbational"),
    "query_mapping": ("query_mapping", "statistical", "biological"),
}
# Parts of a truth that a task never has; what needs them has no row, not one that is skipped.
_ABSENT = {
    "end_to_end": frozenset({"latent"}),
    "decode": frozenset({"latent"}),
    "latent_shift": frozenset({"counts"}),
    "query_mapping": frozenset({"latent"}),
}


@dataclass(eq=False)
class Run:
    """A model on a case, over all seeds.

    Attributes
    ----------
    spec, case, fits
        The model, the case and one trained model per seed.
    verbose
        Whether third-party libraries may write to the terminal while the model predicts.
    resamples
        In how many resamples of the test cells metrics are computed for intervals; 0 for none.
    metric_seconds
        Seconds that each metric took, over all seeds; the first model pays for the truth's part.
    error
        What the model did wrong, in one line; empty if it ran. Then there are no fits and every
        score is NaN with this reason.
    """

    spec: ModelSpec
    case: Case
    fits: list[Fit]
    error: str = ""
    verbose: bool = False
    resamples: int = 0
    metric_seconds: dict[str, float] = field(default_factory=dict)
    _scores: dict[str, list[Score]] = field(default_factory=dict, repr=False)
    _replicates: dict[str, Replicates | None] = field(default_factory=dict, repr=False)
    _predicting: float = field(default=0.0, repr=False)  # seconds of predictions for metrics
    _rounds: list[float] = field(default_factory=list, repr=False)

    @property
    def cached(self) -> bool:
        """Whether a model was trained by an earlier run."""
        return False

    def scores(self, metric: Metric) -> list[Score]:
        """Return the metric's score for each seed, computed on first use."""
        if self.error:
            return [Score(math.nan, self.error)]
        if metric.name not in self._scores:
            try:
                start, before = time.perf_counter(), self._predicting
                self._scores[metric.name] = [self._score(metric, fit) for fit in self.fits]
                predicting = self._predicting - before
                self.metric_seconds[metric.name] = time.perf_counter() - start - predicting
            except ReconevalError as error:
                self._scores[metric.name] = [Score(math.nan, str(error))]
        return self._scores[metric.name]

    def row(self, metric: Metric) -> Row:
        """Return the row of a metric: mean, lowest and highest value over the seeds, interval."""
        scores = self.scores(metric)
        reason = self.unserved(metric) or next((one.reason for one in scores if one.reason), "")
        row, kept = self._row(metric, [one.value for one in scores], reason), None
        if self.resamples:
            kept = self.replicates(metric)
        found = None if kept is None else interval_of(row.value, kept, bounds=metric.range)
        if found is None:
            return row
        return replace(row, ci_low=found.low, ci_high=found.high, ci_method=found.method)

    def replicates(self, metric: Metric) -> Replicates | None:
        """Return the metric's values in resamples and of the seeds, computed on first use.

        Parameters
        ----------
        metric
            A metric, no cost.

        Returns
        -------
        The values; None where the metric has no value, nothing is resampled, or neither resamples
        nor several seeds tell anything.
        """
        if metric.name not in self._replicates:
            values, found = [one.value for one in self.scores(metric)], None
            if self.resamples and self.fits and all(map(math.isfinite, values)):
                found = averaged([self._resampled(metric, fit) for fit in self.fits], values)
            self._replicates[metric.name] = found
        return self._replicates[metric.name]

    def _resampled(self, metric: Metric, fit: Fit) -> Replicates:
        return resample(
            self.case,
            metric,
            fit.pair,
            lambda inputs: self.predict(fit, inputs),
            n_resamples=self.resamples,
        )

    def cost_row(self, cost: Metric, values: Sequence[float]) -> Row:
        """Return the row of a cost: the median of its values, one per seed or round."""
        return replace(self._row(cost, values, ""), value=float(statistics.median(values)))

    def unserved(self, metric: Metric) -> str:
        """Return why the data cannot serve a metric that came out without a value, else ""."""
        defined = all(math.isfinite(one.value) for one in self.scores(metric))
        return "" if defined else self.case.unserved(metric)

    def deviation(self, metric: Metric) -> float:
        """Return the standard deviation of a metric over the seeds, 0 for one seed."""
        values = [one.value for one in self.scores(metric) if math.isfinite(one.value)]
        return statistics.stdev(values) if len(values) > 1 else 0.0

    def predict(self, fit: Fit, inputs: Inputs) -> FloatArray:
        """Return a fit's checked prediction for some inputs."""
        return predict(self.spec, self.case, fit.model, fit.seed, inputs, verbose=self.verbose)

    def n_parameters(self, fit: Fit) -> int | None:
        """Return the number of parameters of a fit's model, None where nobody knows.

        Raises
        ------
        ModelError
            If the model raises when it is asked.
        """
        who = f"counting the parameters of {self.spec.id}"
        return call_model(who, n_parameters, fit.model)

    def rounds(self) -> list[float]:
        """Return the seconds of predicting all test cells, measured on first use.

        Returns
        -------
        Seconds of each of `PREDICT_ROUNDS` predictions of the first seed's model, after a warm-up.

        Raises
        ------
        ModelError
            If the model raises.
        """
        if not self._rounds:
            self._rounds = time_predictions(self.spec, self.case, self.fits[0].model)
        return self._rounds

    def _score(self, metric: Metric, fit: Fit) -> Score:
        def predict(inputs: Inputs) -> FloatArray:
            start = time.perf_counter()
            prediction = self.predict(fit, inputs)
            self._predicting += time.perf_counter() - start
            return prediction

        return self.case.score(metric, fit.pair, predict)

    def _row(self, metric: Metric, values: Sequence[float], reason: str) -> Row:
        defined = not any(math.isnan(value) for value in values)
        return Row(
            model=self.spec.id,
            spec=self.spec.typed,
            task=self.spec.task,
            dataset=self.case.dataset.name,
            dataset_version=self.case.dataset.version,
            dataset_sha256=self.case.dataset.sha256,
            split=self.case.split.name,
            metric=metric.name,
            metric_version=metric.version,
            family=metric.family,
            value=float(statistics.fmean(values)) if defined else math.nan,
            low=float(min(values)) if defined else math.nan,
            high=float(max(values)) if defined else math.nan,
            n=self.case.n_test,
            seeds=len(self.fits),
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
            cached=self.cached,
            reason=reason,
        )


def train(
    spec: ModelSpec,
    case: Case,
    seeds: Sequence[int],
    *,
    accelerator: str = "cpu",
    verbose: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Run:
    """Build, train and predict once per seed.

    Parameters
    ----------
    spec
        The model.
    case
        Where it is trained and tested.
    seeds
        One training each.
    accelerator
        `cpu` or `gpu`, offered to `train`.
    verbose
        Whether third-party libraries may write to the terminal.
    progress
        Called with one line before each step that may take long.

    Returns
    -------
    The run, with the seconds and memory of each training. If the model raises or its prediction
    is no array of the right shape, the run says so in its `error`.
    """
    fits = []
    for seed in seeds:
        progress(f"training {spec.id} on {case.name}, seed {seed}")
        try:
            fits.append(fit(spec, case, seed, accelerator=accelerator, verbose=verbose))
        except ReconevalError as error:
            return Run(spec, case, [], str(error))
    return Run(spec, case, fits, verbose=verbose)


def metric_names(task: str) -> tuple[str, ...]:
    """Return the metrics that apply to a task, in the registry's order."""
    import reconeval.metrics  # noqa: F401  (fills the registry)

    families, absent = _FAMILIES.get(task, ()), _ABSENT.get(task, frozenset())
    return tuple(
        name
        for name, metric in {**MAPPING, **METRICS}.items()
        if metric.family in families and not metric.needs & absent
    )
