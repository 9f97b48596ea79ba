"""Build and train a model, and ask it for predictions."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reconeval.calls import call_model, checked_prediction
from reconeval.costs import PREDICT_ROUNDS
from reconeval.quiet import quiet
from reconeval.seeding import seed_everything
from reconeval.timing import Usage, synchronize

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray
    from reconeval.cases import Case
    from reconeval.inputs import Inputs
    from reconeval.metrics.pair import Pair
    from reconeval.spec import ModelSpec

__all__ = ["Fit", "fit", "predict", "predicted", "time_predictions", "trained"]


@dataclass(eq=False)
class Fit:
    """One trained model and its prediction.

    Attributes
    ----------
    seed
        The seed of this training.
    model
        The trained model.
    training, predicting
        Seconds and memory of the two.
    case
        Where it was trained and tested.
    make_prediction
        Called when `prediction` is first read.
    """

    seed: int
    model: Any
    training: Usage
    predicting: Usage
    case: Case
    make_prediction: Callable[[], FloatArray] = field(repr=False)

    @cached_property
    def prediction(self) -> FloatArray:
        """What the model predicted for the test cells, a row each."""
        return self.make_prediction()

    @cached_property
    def pair(self) -> Pair:
        """The prediction beside the truth."""
        return self.case.pair(self.prediction)


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
    model, training = trained(spec, case, seed, accelerator=accelerator, verbose=verbose)
    return predicted(spec, case, seed, model, training, verbose=verbose)


def trained(
    spec: ModelSpec, case: Case, seed: int, *, accelerator: str = "cpu", verbose: bool = False
) -> tuple[Any, Usage]:
    """Build and train for one seed; returns the model and what its training took.

    Raises
    ------
    ModelError
        If the model raises; one line that names the call.
    """
    who = f"{spec.id} on {case.name}, seed {seed}"
    constructor = case.constructor_offers(seed=seed)
    offers = case.train_offers(seed=seed, accelerator=accelerator, progress=verbose)
    seed_everything(seed)
    with quiet(verbose=verbose):
        model = call_model(f"building {who}", spec.build, constructor)
        train_model = call_model(f"training {who}", spec.training, model, offers)
        with Usage() as training:
            call_model(f"training {who}", train_model)
    return model, training


def predicted(
    spec: ModelSpec, case: Case, seed: int, model: Any, training: Usage, *, verbose: bool = False
) -> Fit:
    """Ask a trained model about the test cells; errors are those of `fit`."""
    with Usage() as predicting:
        prediction = predict(spec, case, model, seed, case.test_input(), verbose=verbose)
    made = Fit(seed, model, training, predicting, case, lambda: prediction)
    _ = made.pair  # what cannot be paired is the model's fault, and told as such
    return made


def predict(
    spec: ModelSpec, case: Case, model: Any, seed: int, inputs: Inputs, *, verbose: bool
) -> FloatArray:
    """Return a trained model's checked prediction for some inputs.

    Raises
    ------
    ModelError
        If the model raises or its prediction is no array of the right shape.
    """
    who = f"{spec.id}.predict on {case.name}, seed {seed}"
    args, kwargs = inputs.arguments(model)
    shape = (len(inputs), case.n_columns)
    with quiet(verbose=verbose):
        raw = call_model(who, model.predict, *args, **kwargs)
    return checked_prediction(raw, shape, who, column=case.column)


def time_predictions(spec: ModelSpec, case: Case, model: Any) -> list[float]:
    """Return the seconds of predicting all test cells in each round, after a warm-up.

    Raises
    ------
    ModelError
        If the model raises.
    """
    inputs = case.test_input()
    args, kwargs = inputs.arguments(model)
    who = f"{spec.id}.predict on {case.name}, timed"
    seconds = []
    for _ in range(PREDICT_ROUNDS + 1):
        synchronize()
        start = time.perf_counter()
        call_model(who, model.predict, *args, **kwargs)
        synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]
