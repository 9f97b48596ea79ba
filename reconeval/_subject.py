"""A model under test of its contract: built, trained and asked once for all checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from reconeval.calls import call_model, checked_prediction
from reconeval.errors import ReconevalError, UsageError
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray
    from reconeval.filling import Offer
    from reconeval.inputs import Inputs
    from reconeval.offers import TrainingData
    from reconeval.offers_embedded import ShiftData
    from reconeval.spec import ModelSpec

__all__ = ["Subject"]

T = TypeVar("T")
Data = TypeVar("Data", bound="TrainingData | ShiftData")


class Subject(ABC, Generic[Data]):
    """A model under test, with its trainings and predictions made once for all checks.

    All checks together train it four times at most: once, once more with the same seed, and a
    third object on other data and then on the same. A building or training that failed is not
    tried again.

    Parameters
    ----------
    spec
        The model.
    data
        Training cells.
    inputs
        What the model is asked to predict, at least two cells.
    seed
        Seed of every training.
    accelerator
        `cpu` or `gpu`, offered to `train`.

    Raises
    ------
    UsageError
        If the model is for another task.
    """

    task: ClassVar[str]
    asked_with: ClassVar[str]  # the arguments of predict, in words
    column: ClassVar[str] = "gene"  # what a column of a prediction is

    def __init__(
        self,
        spec: ModelSpec,
        data: Data,
        inputs: Inputs,
        *,
        seed: int = 0,
        accelerator: str = "cpu",
    ) -> None:
        if spec.task != self.task:
            msg = f"{spec.source}: is a {spec.task} model; these cells are for {self.task} models"
            raise UsageError(msg)
        self.spec = spec
        self.data = data
        self.inputs = inputs
        self.seed = seed
        self.accelerator = accelerator
        self.handed: dict[str, tuple[FloatArray, FloatArray, bool]] = {}
        self._memo: dict[str, Any] = {}
        self._failed: dict[str, ReconevalError] = {}
        self._told: set[str] = set()

    @property
    @abstractmethod
    def n_columns(self) -> int:
        """How many columns a prediction must have."""

    @abstractmethod
    def constructor_offers(self) -> dict[str, Offer]:
        """Return what the constructor can ask for by name."""

    @abstractmethod
    def train_offers(self, data: Data) -> dict[str, Offer]:
        """Return what `train` can ask for by name."""

    def with_others_changed(self, kept: int) -> Inputs:
        """Return the inputs with every row from number `kept` on changed."""

        def change(_: str, array: FloatArray) -> FloatArray:
            array[kept:] = 2 * np.roll(array[kept:], 1, axis=1)
            return array

        return self.inputs.change(change)

    def fresh(self) -> Any:
        """Build a new, untrained model."""
        from reconeval.seeding import seed_everything

        def build() -> Any:
            seed_everything(self.seed)
            return self.call("building it", self.spec.build, self.constructor_offers())

        return self._attempt("building", build)

    @property
    def trained(self) -> Any:
        """The model after its training."""
        return self._once("trained", lambda: self._trained_anew(self._watched()))

    @property
    def prediction(self) -> FloatArray:
        """The trained model's prediction for `inputs`."""
        return self._once("prediction", lambda: self.predict(self.inputs.copy()))

    @property
    def twin_prediction(self) -> FloatArray:
        """The prediction of a second model, trained on the same data with the same seed."""

        def build() -> FloatArray:
            return self.predict(
                self.inputs.copy(), self._trained_anew(self.train_offers(self.data))
            )

        return self._once("twin", build)

    @property
    def retrained_prediction(self) -> FloatArray:
        """The prediction of a model that was trained on other data before."""

        def build() -> FloatArray:
            model = self._train(self.fresh(), self.train_offers(_shifted(self.data)))
            self._train(model, self.train_offers(self.data))
            return self.predict(self.inputs.copy(), model)

        return self._once("retrained", build)

    def predict(self, inputs: Inputs, model: Any = None) -> FloatArray:
        """Return the checked prediction of the trained or another model."""
        model = self.trained if model is None else model
        who = f"predict ({len(inputs)} cells, {inputs.first.dtype})"
        return self.checked(self.ask(who, inputs, model), inputs, who)

    def ask(self, who: str, inputs: Inputs, model: Any) -> object:
        """Return whatever a model predicts."""

        def predict() -> object:
            args, kwargs = inputs.arguments(model)
            return model.predict(*args, **kwargs)

        return self.call(who, predict)

    def checked(self, raw: object, inputs: Inputs, who: str) -> FloatArray:
        """Return a prediction if it is a finite floating array of the right shape."""
        shape = (len(inputs), self.n_columns)
        return checked_prediction(raw, shape, f"{self.spec.id}: {who}", column=self.column)

    def call(self, who: str, function: Callable[..., T], *args: Any) -> T:
        """Call the model; an error is a `ModelError` that begins with the model and the call."""
        with quiet():
            return call_model(f"{self.spec.id}: {who}", function, *args)

    def tell(self, error: ReconevalError) -> str:
        """Return an error's message, in short where a failed building or training was told."""
        step = next((step for step, one in self._failed.items() if one is error), "")
        if step in self._told:
            return f"as above: {step} failed"
        if step:
            self._told.add(step)
        return str(error)

    def _trained_anew(self, offers: dict[str, Offer]) -> Any:
        model = self.fresh()
        return self._attempt("training", lambda: self._train(model, offers))

    def _train(self, model: Any, offers: dict[str, Offer]) -> Any:
        from reconeval.seeding import seed_everything

        seed_everything(self.seed)
        self.call("train", self.spec.train, model, offers)
        return model

    def _watched(self) -> dict[str, Offer]:
        """Return what `train` is offered, each array it takes kept in `handed` with a copy."""

        def watch(name: str, offer: Offer) -> Offer:
            def make() -> Any:
                value = offer.make()
                if isinstance(value, np.ndarray):
                    self.handed[name] = (value, value.copy(), value.flags.writeable)
                return value

            return replace(offer, make=make)

        return {name: watch(name, offer) for name, offer in self.train_offers(self.data).items()}

    def _attempt(self, step: str, function: Callable[[], T]) -> T:
        if step in self._failed:
            raise self._failed[step]
        try:
            return function()
        except ReconevalError as error:
            self._failed[step] = error
            raise

    def _once(self, key: str, build: Callable[[], T]) -> T:
        if key not in self._memo:
            try:
                self._memo[key] = build()
            except ReconevalError as error:
                self._memo[key] = error
        value = self._memo[key]
        if isinstance(value, ReconevalError):
            raise value
        return value  # type: ignore[no-any-return]


def _shifted(data: Data) -> Data:
    """Return as many other cells: each with its genes and dimensions moved on by one."""
    moved: dict[str, Any] = {
        name: np.roll(value, 1, axis=1)
        for name, value in vars(data).items()
        if isinstance(value, np.ndarray) and value.ndim == 2
    }
    return replace(data, **moved)
