"""A dataset and split, prepared once and shared by all models: what every task has."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from reconeval.errors import Undefined
from reconeval.metrics.registry import Score, score

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray
    from reconeval.datasets import Dataset, PerturbationDataset, Split
    from reconeval.filling import Offer
    from reconeval.inputs import Inputs
    from reconeval.metrics.pair import Pair
    from reconeval.metrics.registry import Metric

__all__ = ["Case", "nothing_to_ask"]


@dataclass(eq=False)
class Case(ABC):
    """A dataset and split, prepared once and shared by all models.

    Attributes
    ----------
    dataset, split
        What the case is made of.
    """

    task: ClassVar[str]
    column: ClassVar[str] = "gene"  # what a column of a prediction is
    compared: ClassVar[str] = "mse"  # the metric by which trainings on two devices are compared

    dataset: Dataset | PerturbationDataset
    split: Split
    _unserved: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """`dataset/split`, as messages name it."""
        return f"{self.dataset.name}/{self.split.name}"

    @property
    def n_test(self) -> int:
        """Number of test cells."""
        return len(self.split.test)

    @property
    @abstractmethod
    def n_columns(self) -> int:
        """How many columns a prediction must have."""

    @abstractmethod
    def constructor_offers(self, *, seed: int) -> dict[str, Offer]:
        """Return what a constructor can ask for by name."""

    @abstractmethod
    def train_offers(
        self, *, seed: int, accelerator: str = "cpu", progress: bool = False
    ) -> dict[str, Offer]:
        """Return what `train` can ask for by name: nothing of the test cells."""

    @abstractmethod
    def test_input(self) -> Inputs:
        """Return a fresh copy of what `predict` is asked about: a model may spoil it."""

    @abstractmethod
    def pair(self, prediction: FloatArray) -> Pair:
        """Put a prediction for `test_input` beside the truth."""

    @abstractmethod
    def perfect(self) -> Pair:
        """Put the truth beside itself, as if a model had predicted it."""

    def completed(
        self,
        metric: Metric,  # noqa: ARG002  (tasks with further predictions ask)
        pair: Pair,
        predict: Callable[[Inputs], FloatArray],  # noqa: ARG002  (likewise)
    ) -> Pair:
        """Return the pair that a metric is computed of.

        Parameters
        ----------
        metric
            The metric.
        pair
            What `pair` or `perfect` made.
        predict
            Asks the model about other inputs, where the metric needs a further prediction.

        Returns
        -------
        The same pair, completed, or another one.

        Raises
        ------
        Undefined
            If the data cannot serve the metric.
        """
        return pair

    def score(self, metric: Metric, pair: Pair, predict: Callable[[Inputs], FloatArray]) -> Score:
        """Return a metric's score of a pair.

        Parameters
        ----------
        metric, pair, predict
            As for `completed`.

        Returns
        -------
        The value, or NaN with the reason.
        """
        try:
            return score(metric, self.completed(metric, pair, predict))
        except Undefined as reason:
            return Score(math.nan, str(reason))

    def positive(self, metric: Metric) -> float | None:  # noqa: ARG002  (tasks that tell it ask)
        """Return the score of a perfect prediction, None where a task does not tell it."""
        return None

    def excused(self, metric: Metric) -> bool:  # noqa: ARG002  (tasks that excuse one ask)
        """Return whether no floor asks for a metric, for want of what the user could not bring."""
        return False

    def unserved(self, metric: Metric) -> str:
        """Return why even the truth, taken as a prediction, has no value; empty if it has one."""
        if metric.name not in self._unserved:
            self._unserved[metric.name] = self.score(metric, self.perfect(), nothing_to_ask).reason
        return self._unserved[metric.name]


def nothing_to_ask(_: Inputs) -> FloatArray:
    """Stand for a model where the pair is complete."""
    msg = "the truth beside itself is complete"
    raise AssertionError(msg)
