"""The checks of the contract, one function each.

A check returns when the model holds to the rule, raises `Violation` with the figures when it
does not, and `NotOffered` where the model does not have the ability. Its docstring is the rule,
said to the model, and is shown beside a violation.
"""

from __future__ import annotations

import inspect
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.calls import NothingRan
from reconeval.errors import ModelError, ReconevalError, UsageError
from reconeval.protocols import task_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._subject import Subject
    from reconeval._typing import FloatArray

__all__ = ["ATOL", "RTOL", "NotOffered", "Violation", "largest_excess", "same", "untouched"]

# What rounding may change: BLAS sums float32 in another order for another number of rows. The
# absolute part is relative to the largest prediction, since large terms cancel in small ones.
RTOL = 1e-4
ATOL = 1e-5

# Errors that say where the code broke, not what the caller did wrong.
_ACCIDENTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)


class Violation(ModelError):  # noqa: N818  (the word of the contract)
    """A model broke a rule of the contract; the message holds the figures."""


class NotOffered(ModelError):  # noqa: N818  (a state of the model, not a fault)
    """The model does not have the ability that the check is about."""


def largest_excess(got: FloatArray, expected: FloatArray) -> str:
    """Say how far two predictions differ.

    Parameters
    ----------
    got, expected
        Arrays of one shape (n_cells, n_genes).

    Returns
    -------
    The difference in words, or nothing if it is within `RTOL` and `ATOL`.
    """
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    off = np.abs(got.astype(np.float64) - expected)
    beyond = off > ATOL * scale + RTOL * np.abs(expected)
    if not beyond.any():
        return ""
    return (
        f"by up to {off.max():.3g} in {int(beyond.sum())} of {off.size} values "
        f"(allowed {RTOL:g} relative + {ATOL * scale:.1g})"
    )


def same(got: FloatArray, expected: FloatArray, finding: str) -> None:
    """Raise `Violation` that begins with a finding if two predictions differ."""
    excess = largest_excess(got, expected)
    if excess:
        msg = f"{finding} {excess}"
        raise Violation(msg)


def check_signatures(subject: Subject[Any]) -> None:
    """Build an instance that has train(...) and predict(X)."""
    model = subject.fresh()
    if isinstance(model, type):
        msg = f"building returned the class {model.__name__} itself, expected an instance of it"
        raise Violation(msg)
    try:
        task = task_of(model)
    except UsageError as error:
        raise Violation(str(error)) from None
    args, kwargs = subject.inputs.arguments(model)
    try:
        inspect.signature(model.predict).bind(*args, **kwargs)
    except TypeError as error:
        msg = f"predict cannot be called with {subject.asked_with} alone ({error})"
        raise Violation(msg) from None
    if task != subject.spec.task:
        msg = f"the class was read as {subject.spec.task}, its instance as {task}"
        raise Violation(msg)


def check_training(subject: Subject[Any]) -> None:
    """Train to the end."""
    _ = subject.trained


def check_prediction(subject: Subject[Any]) -> None:
    """Return a finite floating numpy array of the shape of the input."""
    _ = subject.prediction


def check_input_untouched(subject: Subject[Any]) -> None:
    """Leave the input of predict as it was, its values and its flags."""
    given = subject.inputs.copy()
    subject.ask("predict", given, subject.trained)
    for (word, array), before in zip(given.named(), subject.inputs.arrays.values(), strict=True):
        untouched(f"predict changed {{}} of its {word}", array, before, writeable=True)
    for name, label in given.labels.items():
        if not _equal_labels(label, subject.inputs.labels[name]):
            msg = f"predict changed its {name}; work on a copy"
            raise Violation(msg)


def untouched(finding: str, array: FloatArray, before: FloatArray, *, writeable: bool) -> None:
    """Raise `Violation` if an array differs from its copy; `finding` has `{}` for how much."""
    was = (before.shape, before.dtype, writeable)
    now = (array.shape, array.dtype, array.flags.writeable)
    if now != was:
        said = finding.format("(shape, dtype, writeable)")
        msg = f"{said} from {was} to {now}"
        raise Violation(msg)
    changed = int((array != before).sum())
    if changed:
        msg = f"{finding.format(f'{changed} of {array.size} values')}; work on a copy"
        raise Violation(msg)


def _equal_labels(got: Any, expected: Any) -> bool:
    if hasattr(expected, "equals"):
        return bool(expected.equals(got))
    return np.array_equal(got, expected)


def check_read_only_input(subject: Subject[Any]) -> None:
    """Predict read-only input like any other and leave it read-only."""
    given = subject.inputs.copy()
    for array in given.arrays.values():
        array.flags.writeable = False
    got = subject.predict(given)
    for word, array in given.named():
        if array.flags.writeable:
            msg = f"predict made its read-only {word} writeable; work on a copy"
            raise Violation(msg)
    same(got, subject.prediction, "the prediction for read-only input differs")


def check_same_seed(subject: Subject[Any]) -> None:
    """Become the same model when trained with the same seed."""
    expected = subject.prediction
    finding = f"two models trained with seed {subject.seed} differ"
    same(subject.twin_prediction, expected, finding)


def check_repeated_prediction(subject: Subject[Any]) -> None:
    """Predict the same for the same cells every time."""
    got = subject.predict(subject.inputs.copy())
    same(got, subject.prediction, "a second prediction for the same cells differs")


def check_batch_composition(subject: Subject[Any]) -> None:
    """Predict a cell the same in small batches as in large ones."""
    n = len(subject.inputs)
    batches = [rows for rows in np.split(np.arange(n), [1, max(2, n // 3)]) if len(rows)]
    got = np.concatenate([subject.predict(subject.inputs.take(rows)) for rows in batches])
    sizes = " + ".join(str(len(rows)) for rows in batches)
    same(got, subject.prediction, f"predicting {sizes} cells instead of {n} at once differs")


def check_cell_order(subject: Subject[Any]) -> None:
    """Predict a cell the same wherever it stands in the input."""
    order = np.random.default_rng(subject.seed).permutation(len(subject.inputs))
    got = subject.predict(subject.inputs.take(order))
    same(got, subject.prediction[order], "the prediction for shuffled cells differs")


def check_other_cells(subject: Subject[Any]) -> None:
    """Predict a cell the same whatever the other cells of the input are."""
    n = len(subject.inputs)
    kept = n // 2
    finding = f"the prediction of {kept} cells differs when the other {n - kept} change,"
    got = subject.predict(subject.with_others_changed(kept))
    same(got[:kept], subject.prediction[:kept], finding)


def check_one_cell(subject: Subject[Any]) -> None:
    """Predict a single cell."""
    subject.predict(subject.inputs.take(slice(1)))


def check_sparse_input(subject: Subject[Any]) -> None:
    """Refuse sparse input with TypeError or ValueError, or predict it like dense input."""
    # Unlike csr_matrix it keeps to NumPy's rules, so that plain array code may well work on it.
    from scipy.sparse import csr_array

    model, expected = subject.trained, subject.prediction
    who = "predict (sparse input)"
    given = subject.inputs.copy()
    _, labels = given.arguments(model)
    try:
        raw = subject.call(who, partial(model.predict, csr_array(given.first), **labels))
    except ModelError as error:
        cause = error.__cause__
        # torch refuses sparse matrices with RuntimeError.
        if isinstance(cause, (TypeError, ValueError, RuntimeError)):
            msg = f"sparse input is refused with {type(cause).__name__}"
            raise NotOffered(msg) from None
        raise Violation(str(error)) from error
    got = subject.checked(raw, subject.inputs, who)
    same(got, expected, "the prediction for sparse input differs")


def check_float_types(subject: Subject[Any]) -> None:
    """Predict the same for float32 and float64 input of equal values."""
    single = subject.inputs.change(lambda _, array: array.astype(np.float32))
    got = subject.predict(single.change(lambda _, array: array.astype(np.float64)))
    finding = "the predictions for float64 and float32 input of equal values differ"
    same(got, subject.predict(single), finding)


def check_save_load(subject: Subject[Any]) -> None:
    """Predict the same after saving and loading."""
    model = subject.trained
    if not all(callable(getattr(model, name, None)) for name in ("save", "load")):
        msg = "the model has no save and load"
        raise NotOffered(msg)
    expected = subject.prediction
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        subject.call("save", model.save, path)
        restored = _load(subject, path)
        got = subject.predict(subject.inputs.copy(), restored)
    same(got, expected, "the prediction of the loaded model differs")


def _load(subject: Subject[Any], path: Path) -> Any:
    fresh = subject.fresh()
    own = isinstance(inspect.getattr_static(fresh, "load"), (classmethod, staticmethod))
    load: Callable[[Path], Any] = fresh.load
    loaded = subject.call("load", load, path)
    if loaded is None and own:
        msg = "the class's own load returned None, expected the model"
        raise Violation(msg)
    return fresh if loaded is None else loaded


def check_trained_afresh(subject: Subject[Any]) -> None:
    """Start afresh when trained again, with nothing left of an earlier training."""
    expected = subject.prediction
    finding = "a model that was trained on other data before differs from a new one"
    same(subject.retrained_prediction, expected, finding)


def check_untrained(subject: Subject[Any]) -> None:
    """Fail with an error that says so when asked to predict before training."""
    model = subject.fresh()
    try:
        subject.ask("predict (untrained)", subject.inputs.copy(), model)
    except NothingRan:
        raise
    except ReconevalError as error:
        cause = error.__cause__ or error  # a model may raise an error of reconeval's own
        # scikit-learn's NotFittedError is a ValueError and, for old callers, an AttributeError.
        accident = isinstance(cause, _ACCIDENTS) and not isinstance(cause, ValueError)
        if not accident and str(cause).strip():
            return
        msg = f'{error}; raise RuntimeError("call train first") instead'
        raise Violation(msg) from error
    msg = 'predict returned before any training; raise RuntimeError("call train first") instead'
    raise Violation(msg)
