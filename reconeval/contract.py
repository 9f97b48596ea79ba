"""The contract of a reconstruction model: what every benchmark relies on, checked by running it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from reconeval._checks import ATOL, FUNCTIONS, RTOL, NotOffered, Violation
from reconeval.calls import call_model, checked_prediction
from reconeval.errors import ReconevalError, UsageError
from reconeval.filling import hint
from reconeval.offers import TrainingData, constructor_offers, train_offers, training_data
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray
    from reconeval.datasets import Dataset, Split
    from reconeval.spec import ModelSpec

__all__ = [
    "ATOL",
    "CHECKS",
    "RTOL",
    "Check",
    "NotOffered",
    "Outcome",
    "Subject",
    "Violation",
    "check_names",
    "contract_data",
    "run_check",
]

N_TRAIN = 256
N_TEST = 64

Status = Literal["passed", "failed", "excepted", "not offered"]
T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One rule of the contract.

    Attributes
    ----------
    name
        As in `contract_exceptions` and in ids.
    rule
        The rule in one sentence, said to the model.
    run
        Returns, or raises `Violation` or `NotOffered`.
    """

    name: str
    rule: str
    run: Callable[[Subject], None]


CHECKS: tuple[Check, ...] = tuple(
    Check(function.__name__.removeprefix("check_"), (function.__doc__ or "").strip(), function)
    for function in FUNCTIONS
)


class Outcome(NamedTuple):
    """What came of a check; the message is one line, empty for a plain pass."""

    name: str
    status: Status
    message: str


def check_names() -> tuple[str, ...]:
    """Return the names of the checks, in the order in which they run."""
    return tuple(check.name for check in CHECKS)


class Subject:
    """A model under test, with its trainings and predictions made once for all checks.

    All checks together train it four times at most: once, once more with the same seed, and a
    third object on other data and then on the same.

    Parameters
    ----------
    spec
        The model.
    data
        Training cells.
    X
        Array of shape (n_cells, n_genes), log1p of counts per 10 000. At least two cells to
        predict.
    seed
        Seed of every training.
    accelerator
        `cpu` or `gpu`, offered to `train`.

    Raises
    ------
    UsageError
        If the model is for another task than `end_to_end`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        data: TrainingData,
        X: FloatArray,
        *,
        seed: int = 0,
        accelerator: str = "cpu",
    ) -> None:
        if spec.task != "end_to_end":
            msg = f"{spec.source}: is a {spec.task} model; the contract is for end_to_end models"
            raise UsageError(msg)
        self.spec = spec
        self.data = data
        self.X = X
        self.seed = seed
        self.accelerator = accelerator
        self._memo: dict[str, Any] = {}

    def fresh(self) -> Any:
        """Build a new, untrained model."""
        from reconeval.seeding import seed_everything

        seed_everything(self.seed)
        offers = constructor_offers(n_genes=self.X.shape[1], seed=self.seed)
        return self.call("building it", self.spec.build, offers)

    @property
    def trained(self) -> Any:
        """The model after its training."""
        return self._once("trained", lambda: self._train(self.fresh(), self.data))

    @property
    def prediction(self) -> FloatArray:
        """The trained model's prediction for `X`."""
        return self._once("prediction", lambda: self.predict(self.X.copy()))

    @property
    def twin_prediction(self) -> FloatArray:
        """The prediction of a second model, trained on the same data with the same seed."""

        def build() -> FloatArray:
            return self.predict(self.X.copy(), self._train(self.fresh(), self.data))

        return self._once("twin", build)

    @property
    def retrained_prediction(self) -> FloatArray:
        """The prediction of a model that was trained on other data before."""

        def build() -> FloatArray:
            model = self._train(self.fresh(), _shifted(self.data))
            return self.predict(self.X.copy(), self._train(model, self.data))

        return self._once("retrained", build)

    def predict(self, X: FloatArray, model: Any = None) -> FloatArray:
        """Return the checked prediction of the trained or another model for (n_cells, n_genes)."""
        model = self.trained if model is None else model
        who = f"predict ({X.shape[0]} cells, {X.dtype})"
        shape = X.shape
        return self.checked(self.call(who, model.predict, X), shape, who)

    def checked(self, raw: object, shape: tuple[int, ...], who: str) -> FloatArray:
        """Return a prediction if it is a finite floating array of that shape."""
        return checked_prediction(raw, shape, f"{self.spec.id}: {who}")

    def call(self, who: str, function: Callable[..., T], *args: Any) -> T:
        """Call the model; an error is a `ModelError` that begins with the model and the call."""
        with quiet():
            return call_model(f"{self.spec.id}: {who}", function, *args)

    def _train(self, model: Any, data: TrainingData) -> Any:
        from reconeval.seeding import seed_everything

        seed_everything(self.seed)
        offers = train_offers(data, seed=self.seed, accelerator=self.accelerator)
        self.call("train", self.spec.train, model, offers)
        return model

    def _once(self, key: str, build: Callable[[], T]) -> T:
        if key not in self._memo:
            try:
                self._memo[key] = build()
            except ReconevalError as error:  # a training that fails is not tried again
                self._memo[key] = error
        value = self._memo[key]
        if isinstance(value, ReconevalError):
            raise value
        return value  # type: ignore[no-any-return]


def _shifted(data: TrainingData) -> TrainingData:
    """Return as many other cells: each with its genes moved on by one."""
    names = ("X", "val_X", "counts", "val_counts")
    tables = {name: getattr(data, name) for name in names}
    moved = {name: np.roll(x, 1, axis=1) for name, x in tables.items() if x is not None}
    return replace(data, **moved)


def run_check(check: Check | str, subject: Subject) -> Outcome:
    """Run one check.

    Parameters
    ----------
    check
        The check or its name.
    subject
        The model.

    Returns
    -------
    `passed`; `failed` with the figures and the rule; `excepted` if it failed and the model
    declares that, with the reason; or `not offered`. An exception that is declared for a check
    that does not fail is reported in the message.

    Raises
    ------
    UsageError
        If there is no check of that name.
    """
    if isinstance(check, str):
        known = {one.name: one for one in CHECKS}
        if check not in known:
            msg = f"unknown check {check!r}{hint(check, known)}"
            raise UsageError(msg)
        check = known[check]
    reason = subject.spec.exceptions.get(check.name)
    status: Status = "passed"
    message = ""
    try:
        check.run(subject)
    except NotOffered as absent:
        status, message = "not offered", str(absent)
    except Violation as violation:
        text, who = str(violation), f"{subject.spec.id}: "
        status, message = "failed", f"{who}{text.removeprefix(who)}; the rule: {check.rule}"
    except ReconevalError as error:
        status, message = "failed", str(error)
    if reason is None:
        return Outcome(check.name, status, message)
    if status == "failed":
        return Outcome(check.name, "excepted", f"{reason} [{message}]")
    note = f"declared exception no longer needed, remove it: {reason}"
    return Outcome(check.name, status, "; ".join(filter(None, (message, note))))


def contract_data(dataset: Dataset, split: Split) -> tuple[TrainingData, FloatArray]:
    """Take the few cells on which a contract is checked.

    Parameters
    ----------
    dataset
        The cells.
    split
        Its first 256 training, 64 validation and 64 test cells are taken; a split is shuffled.

    Returns
    -------
    Training cells, and an array of shape (n_test, n_genes) to predict.
    """
    few = replace(split, train=split.train[:N_TRAIN], val=split.val[:N_TEST])
    return training_data(dataset, few), dataset.X[split.test[:N_TEST]]
