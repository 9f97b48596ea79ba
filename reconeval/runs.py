"""Train a model once per seed on a dataset and split, and keep what every test reads of it."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reconeval.calls import call_model, checked_prediction
from reconeval.errors import ReconevalError, Undefined
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.registry import METRICS, Score, score
from reconeval.offers import constructor_offers, train_offers, training_data
from reconeval.quiet import quiet
from reconeval.rows import Row
from reconeval.seeding import seed_everything
from reconeval.timing import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconeval._typing import FloatArray
    from reconeval.datasets import Dataset, Split
    from reconeval.metrics.registry import Family, Metric
    from reconeval.offers import TrainingData
    from reconeval.spec import ModelSpec

__all__ = ["Case", "Fit", "Run", "fit", "metric_names", "train"]

_FAMILIES: dict[str, tuple[Family, ...]] = {
    "end_to_end": ("statistical", "biological"),
    "latent_shift": ("perturbational",),
}


@dataclass(eq=False)
class Case:
    """A dataset and split, prepared once and shared by all models.

    Attributes
    ----------
    dataset, split
        What the case is made of.
    """

    dataset: Dataset
    split: Split
    _unserved: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """`dataset/split`, as messages name it."""
        return f"{self.dataset.name}/{self.split.name}"

    @cached_property
    def data(self) -> TrainingData:
        """What training may see: training and validation cells, never test cells."""
        return training_data(self.dataset, self.split)

    @cached_property
    def truth(self) -> Truth:
        """The test cells, with what metrics prepare on them."""
        dataset, test = self.dataset, self.split.test
        counts, library, types = dataset.counts, dataset.library, dataset.cell_types
        return Truth(
            dataset.X[test],
            dataset.genes,
            train=dataset.X[self.split.train],
            counts=None if counts is None else counts[test],
            library=None if library is None else library[test],
            cell_types=None if types is None else types[test],
        )

    def test_input(self) -> FloatArray:
        """Return a fresh copy of the test cells, (n_test, n_genes): a model may spoil it."""
        return self.dataset.X[self.split.test]

    def thinned_input(self) -> FloatArray | None:
        """Return a fresh copy of the thinned test cells, None where the data allow none."""
        from reconeval.metrics.thinning import thinned

        try:
            return thinned(self.truth).X.copy()
        except Undefined:  # the metric will say the same
            return None

    def unserved(self, metric: Metric) -> str:
        """Return why even the truth, taken as a prediction, has no value; empty if it has one."""
        if metric.name not in self._unserved:
            perfect = Pair(self.truth, self.truth.X)
            if "counts" in metric.needs:
                perfect.thinned_prediction = self.thinned_input()
            self._unserved[metric.name] = score(metric, perfect).reason
        return self._unserved[metric.name]


@dataclass(eq=False)
class Fit:
    """One trained model and its prediction.

    Attributes
    ----------
    seed
        The seed of this training.
    model
        The trained model.
    prediction
        Array of shape (n_test, n_genes), log1p of counts per 10 000.
    training, predicting
        Seconds and memory of the two.
    pair
        The prediction beside the truth.
    """

    seed: int
    model: Any
    prediction: FloatArray
    training: Usage
    predicting: Usage
    pair: Pair


@dataclass(eq=False)
class Run:
    """A model on a case, over all seeds.

    Attributes
    ----------
    spec, case, fits
        The model, the case and one trained model per seed.
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
    metric_seconds: dict[str, float] = field(default_factory=dict)
    _scores: dict[str, list[Score]] = field(default_factory=dict, repr=False)

    def scores(self, metric: Metric) -> list[Score]:
        """Return the metric's score for each seed, computed on first use."""
        if self.error:
            return [Score(math.nan, self.error)]
        if metric.name not in self._scores:
            try:
                start = time.perf_counter()
                predicting = self._predict_thinned() if "counts" in metric.needs else 0.0
                self._scores[metric.name] = [score(metric, fit.pair) for fit in self.fits]
                self.metric_seconds[metric.name] = time.perf_counter() - start - predicting
            except ReconevalError as error:
                self._scores[metric.name] = [Score(math.nan, str(error))]
        return self._scores[metric.name]

    def row(self, metric: Metric) -> Row:
        """Return the row of a metric: mean, lowest and highest value over the seeds."""
        scores = self.scores(metric)
        reason = self.unserved(metric) or next((one.reason for one in scores if one.reason), "")
        return self._row(metric, [one.value for one in scores], reason)

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

    def predict(self, fit: Fit, X: FloatArray) -> FloatArray:
        """Return a fit's checked prediction for an array of shape (n_cells, n_genes)."""
        return _predict(self.spec, self.case, fit.model, fit.seed, X)

    def _predict_thinned(self) -> float:
        """Predict the thinned cells; returns the seconds that the model took."""
        seconds = 0.0
        for fit in self.fits:
            X = self.case.thinned_input()
            if X is not None:
                start = time.perf_counter()
                fit.pair.thinned_prediction = self.predict(fit, X)
                seconds += time.perf_counter() - start
        return seconds

    def _row(self, metric: Metric, values: Sequence[float], reason: str) -> Row:
        defined = not any(math.isnan(value) for value in values)
        return Row(
            model=self.spec.id,
            spec=self.spec.source,
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
            n=len(self.case.split.test),
            seeds=len(self.fits),
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
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
    return Run(spec, case, fits)


def fit(
    spec: ModelSpec, case: Case, seed: int, *, accelerator: str = "cpu", verbose: bool = False
) -> Fit:
    """Build, train and predict for one seed.

    Raises
    ------
    ModelError
        If the model raises or its prediction is no array of the right shape; one line that names
        the call.
    """
    who = f"{spec.id} on {case.name}, seed {seed}"
    offers = train_offers(case.data, seed=seed, accelerator=accelerator, progress=verbose)
    constructor = constructor_offers(n_genes=len(case.dataset.genes), seed=seed)
    seed_everything(seed)
    with quiet(verbose=verbose):
        model = call_model(f"building {who}", spec.build, constructor)
        train_model = call_model(f"training {who}", spec.training, model, offers)
        with Usage() as training:
            call_model(f"training {who}", train_model)
    with Usage() as predicting:
        prediction = _predict(spec, case, model, seed, case.test_input())
    return Fit(seed, model, prediction, training, predicting, Pair(case.truth, prediction))


def _predict(spec: ModelSpec, case: Case, model: Any, seed: int, X: FloatArray) -> FloatArray:
    who = f"{spec.id}.predict on {case.name}, seed {seed}"
    with quiet():
        raw = call_model(who, model.predict, X)
    return checked_prediction(raw, X.shape, who)


def metric_names(task: str) -> tuple[str, ...]:
    """Return the metrics that apply to a task, in the registry's order."""
    import reconeval.metrics  # noqa: F401  (fills the registry)

    families = _FAMILIES.get(task, ())
    return tuple(name for name, metric in METRICS.items() if metric.family in families)
