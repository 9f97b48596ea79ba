"""A run whose scores are kept as soon as they are finished, and found again."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconeval.cache._keys import digest_of_inputs
from reconeval.cache._trainings import ROUNDS, TEST
from reconeval.fits import Fit
from reconeval.intervals import Replicates
from reconeval.metrics.registry import Score
from reconeval.report.html.material import Material
from reconeval.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray
    from reconeval.cache._keys import Keys
    from reconeval.cache._store import Store
    from reconeval.cache._trainings import Kept
    from reconeval.inputs import Inputs
    from reconeval.metrics.registry import Metric

__all__ = ["KeptRun"]

_MATERIAL = "material"


@dataclass(eq=False, kw_only=True)
class KeptRun(Run):
    """A run whose scores are kept one by one, and taken from an earlier run where it has them.

    Attributes
    ----------
    store, keys
        Where they are kept, and under which keys.
    trainings
        What is kept of the training of each seed.
    retrain
        Trains with a seed again, where something is asked that no earlier run has asked.
    """

    store: Store
    keys: Keys
    trainings: dict[int, Kept]
    retrain: Callable[[int], Fit]
    _seconds: dict[tuple[str, int], float] = field(default_factory=dict, repr=False)

    @property
    def cached(self) -> bool:
        """Whether a model was trained by an earlier run."""
        return any(kept.reused for kept in self.trainings.values())

    def add(self, seed: int, kept: Kept) -> None:
        """Add a training of an earlier run; it has no model until one is needed."""
        self.trainings[seed] = kept

        def predicted() -> FloatArray:
            found = kept.prediction(self.store, TEST)
            return self._trained_again(fit).prediction if found is None else found

        fit = Fit(seed, None, kept.training, kept.predicting, self.case, predicted)
        self.fits.append(fit)

    def scores(self, metric: Metric) -> list[Score]:
        """Return the metric's score for each seed, with the seconds of when it was computed."""
        known = metric.name in self._scores
        scores = super().scores(metric)
        kept = [self._seconds.get((metric.name, fit.seed)) for fit in self.fits]
        if kept and not known and None not in kept:
            self.metric_seconds[metric.name] = sum(filter(None, kept))
        return scores

    def predict(self, fit: Fit, inputs: Inputs) -> FloatArray:
        """Return a kept prediction for some inputs, else ask the model, trained again if needed."""
        if fit.model is None:
            known = self.trainings[fit.seed].prediction(self.store, digest_of_inputs(inputs))
            if known is not None:
                return known
        return super().predict(self._with_model(fit), inputs)

    def n_parameters(self, fit: Fit) -> int | None:
        """Return the number of parameters of a fit's model, None where nobody knows."""
        kept = self.trainings[fit.seed]
        return kept.n_parameters if kept.countable else super().n_parameters(self._with_model(fit))

    def rounds(self) -> list[float]:
        """Return the seconds of predicting all test cells; kept ones are those of their time."""
        if not self._rounds:
            fit = self.fits[0]
            kept = self.trainings[fit.seed]
            found = kept.read(self.store, ROUNDS)
            if found is None:
                self._with_model(fit)
                kept.write(self.store, ROUNDS, {"seconds": super().rounds()})
            else:
                self._rounds = [float(seconds) for seconds in found["seconds"]]
        return self._rounds

    def material(self) -> Material:
        """Return what a report draws of the run; a run that failed has nothing to draw."""
        made = Material()
        if not self.fits:
            return made
        kept = self.trainings[self.fits[0].seed]
        found = kept.read(self.store, _MATERIAL)
        if found is None:
            made.observe(self)
            kept.write(self.store, _MATERIAL, made.to_dict())
            return made
        # Named as now: neither an alias nor the name of a file tells one training from another.
        names = {"dataset": self.case.dataset.name, "split": self.case.split.name}
        names["model"] = self.spec.id
        return Material.from_dict(
            {part: [one | names for one in found[part]] for part in ("measured", "predicted")}
        )

    def unserved(self, metric: Metric) -> str:
        """Return why the data cannot serve a metric that came out without a value, else ""."""
        if all(math.isfinite(one.value) for one in self.scores(metric)):
            return ""
        return str(self._of_truth(metric, "unserved", lambda: self.case.unserved(metric)))

    def _score(self, metric: Metric, fit: Fit) -> Score:
        code, kept, name = (
            self.keys.metric(metric),
            self.trainings[fit.seed],
            f"score {metric.name}",
        )
        found = None if code is None else kept.read(self.store, name)
        if found is not None and found["metric"] == code:
            self._seconds[metric.name, fit.seed] = found["seconds"]
            return Score(found["value"], found["reason"])
        start, before = time.perf_counter(), self._predicting
        score = super()._score(metric, fit)
        seconds = time.perf_counter() - start - (self._predicting - before)
        if code is not None:
            content = {"metric": code, **score._asdict(), "seconds": seconds}
            kept.write(self.store, name, content)
        return score

    def _resampled(self, metric: Metric, fit: Fit) -> Replicates:
        code, kept = self.keys.metric(metric), self.trainings[fit.seed]
        name = f"{self.resamples} resamples {metric.name}"
        found = None if code is None else kept.read(self.store, name)
        if found is not None and found["metric"] == code:
            return Replicates.from_dict(found)
        made = super()._resampled(metric, fit)
        if code is not None:
            kept.write(self.store, name, {"metric": code, **made.to_dict()})
        return made

    def _of_truth(self, metric: Metric, what: str, make: Callable[[], Any]) -> Any:
        """Return what the data alone say of a metric, kept for all models."""
        code, key, name = self.keys.metric(metric), self.keys.truth(self.case), what
        if code is None or key is None:
            return make()
        name = f"{what} {metric.name}"
        found = self.store.read_json(key, name)
        if found is None or found["metric"] != code:
            found = {"metric": code, "found": make()}
            about = {"kind": "data", "place": self.case.name}
            self.store.write_json(key, name, found, about=about)
        return found["found"]

    def _with_model(self, fit: Fit) -> Fit:
        if fit.model is None:
            self._trained_again(fit)
        return fit

    def _trained_again(self, fit: Fit) -> Fit:
        again = self.retrain(fit.seed)
        fit.model = again.model
        return again
