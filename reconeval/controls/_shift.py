"""Controls of models that predict perturbed cells."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from reconeval.controls._reconstruction import alternate
from reconeval.controls._scores import SEED, ControlScores

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from reconeval._typing import FloatArray
    from reconeval.cases.latent_shift import LatentShiftCase
    from reconeval.inputs import Inputs
    from reconeval.metrics.pair import Pair
    from reconeval.metrics.registry import Metric, Score

    Predict: TypeAlias = Callable[[Inputs], FloatArray]

__all__ = ["ShiftControls"]

_TRUTH = "the measured cells themselves, against the other half of the controls"
_NEGATIVES = ("NoShift", "MeanShift")


class ShiftControls:
    """Control predictions of the perturbed test cells of a case.

    Parameters
    ----------
    case
        The case. Its truth, and what metrics have prepared on it, is shared.
    """

    def __init__(self, case: LatentShiftCase) -> None:
        self.case = case

    def scores(self, metric: Metric) -> ControlScores:
        """Return the controls' scores by a metric."""
        found = {name: self._score(metric, name) for name in self._predictors}
        positive = self.case.positive(metric)
        reasons = {name: one.reason for name, one in found.items() if one.reason}
        if positive is None:
            reasons["positive"] = self.case.unserved(metric)
        return ControlScores(
            metric=metric.name,
            version=metric.version,
            negatives={name: found[name].value for name in _NEGATIVES},
            half=found["half"].value,
            positive=math.nan if positive is None else positive,
            positive_is=_TRUTH,
            collapsed=found["collapsed"].value,
            copied=found["NoShift"].value,  # the input of a prediction is the control cell
            reasons={name: reason for name, reason in reasons.items() if name != "collapsed"},
        )

    def _score(self, metric: Metric, name: str) -> Score:
        return self.case.score(metric, self._pairs[name], self._predictors[name])

    @cached_property
    def _pairs(self) -> dict[str, Pair]:
        inputs = self.case.test_input()
        return {
            name: self.case.pair(predict(inputs.copy()))
            for name, predict in self._predictors.items()
        }

    @cached_property
    def _predictors(self) -> dict[str, Predict]:
        from reconeval.models import MeanShift, NoShift  # type: ignore[import-not-found]

        data = self.case.data
        predictors: dict[str, Predict] = {}
        for model in (NoShift(), MeanShift()):
            model.train(data.ctrl_emb, data.pert_emb, data.pert_cov)
            predictors[type(model).__name__] = _asking(model)
        collapsed = data.pert_emb.mean(axis=0, dtype=np.float64).astype(np.float32)
        dataset, test = self.case.dataset, self.case.split.test
        measured, moved = dataset.embedding[test], predictors["MeanShift"]
        kept = alternate(dataset.perturbation[test], seed=SEED)[:, None]
        predictors["half"] = lambda inputs: np.where(kept, measured, moved(inputs))
        predictors["collapsed"] = lambda inputs: np.tile(collapsed, (len(inputs), 1))
        return predictors


def _asking(model: object) -> Predict:
    def predict(inputs: Inputs) -> FloatArray:
        cells: FloatArray = model.predict(*inputs.arrays.values())  # type: ignore[attr-defined]
        return cells

    return predict
