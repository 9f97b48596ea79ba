"""The contract of a model: what every benchmark relies on, checked by running the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from reconeval import _checks as shared
from reconeval import _checks_predictors as predictors
from reconeval._checks import ATOL, RTOL, NotOffered, Violation
from reconeval._contract_data import (
    contract_data,
    decoder_contract_data,
    few_cells,
    predictor_contract_data,
)
from reconeval._subject import Subject
from reconeval._subjects import (
    SUBJECTS,
    DecoderSubject,
    PredictorSubject,
    ReconstructionSubject,
)
from reconeval.errors import ReconevalError, UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = [
    "ATOL",
    "RTOL",
    "SUBJECTS",
    "Check",
    "DecoderSubject",
    "NotOffered",
    "Outcome",
    "PredictorSubject",
    "ReconstructionSubject",
    "Subject",
    "Violation",
    "check_names",
    "checks",
    "contract_data",
    "declared_exceptions",
    "decoder_contract_data",
    "few_cells",
    "predictor_contract_data",
    "run_check",
]

Status = Literal["passed", "failed", "excepted", "not offered"]


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
        Returns, or raises `Violation` or `NotOffered`; takes a `Subject` of the check's task.
    """

    name: str
    rule: str
    run: Callable[[Any], None]


class Outcome(NamedTuple):
    """What came of a check; the message is one line, empty for a plain pass."""

    name: str
    status: Status
    message: str


_BEGINNING = (shared.check_signatures, shared.check_untrained, shared.check_training)
_PREDICTING = (
    shared.check_prediction,
    shared.check_input_untouched,
    shared.check_read_only_input,
    shared.check_repeated_prediction,
    shared.check_batch_composition,
    shared.check_cell_order,
    shared.check_other_cells,
    shared.check_one_cell,
)
_KEEPING = (
    shared.check_float_types,
    shared.check_save_load,
    shared.check_same_seed,
    shared.check_trained_afresh,
)
_FUNCTIONS: dict[str, tuple[Callable[[Any], None], ...]] = {
    "end_to_end": (*_BEGINNING, *_PREDICTING, shared.check_sparse_input, *_KEEPING),
    "decode": (*_BEGINNING, *_PREDICTING, *_KEEPING),
    "latent_shift": (
        *_BEGINNING,
        predictors.check_training_untouched,
        *_PREDICTING,
        predictors.check_descriptor_matters,
        predictors.check_unseen_descriptor,
        *_KEEPING,
    ),
}
# The sentences of shared checks that would speak of another task's arguments.
_RULES = {
    ("decode", "signatures"): "Build an instance that has train(...) and predict(embedding).",
    ("decode", "prediction"): (
        "Return a finite floating numpy array with a row per cell and a column per gene."
    ),
    ("latent_shift", "signatures"): (
        "Build an instance that has train(...) and predict(ctrl_emb, pert_cov)."
    ),
    ("latent_shift", "prediction"): (
        "Return a finite floating numpy array of the shape of ctrl_emb."
    ),
}


def _make_check(task: str, function: Callable[[Any], None]) -> Check:
    name = function.__name__.removeprefix("check_")
    return Check(name, _RULES.get((task, name)) or (function.__doc__ or "").strip(), function)


_CHECKS: dict[str, tuple[Check, ...]] = {
    task: tuple(_make_check(task, function) for function in functions)
    for task, functions in _FUNCTIONS.items()
}


def checks(task: str = "end_to_end") -> tuple[Check, ...]:
    """Return the checks of a task in the order in which they run; none for `query_mapping`."""
    return _CHECKS.get(task, ())


def check_names(task: str = "end_to_end") -> tuple[str, ...]:
    """Return the names of the checks of a task, in the order in which they run."""
    return tuple(check.name for check in checks(task))


def run_check(check: Check | str, subject: Subject[Any]) -> Outcome:
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
        known = {one.name: one for one in checks(subject.task)}
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
        status, message = "failed", subject.tell(error)
    if reason is None or status == "not offered":
        return Outcome(check.name, status, message)
    if status == "failed":
        return Outcome(check.name, "excepted", f"{reason} [{message}]")
    note = f"declared exception no longer needed, remove it: {reason}"
    return Outcome(check.name, status, "; ".join(filter(None, (message, note))))


def declared_exceptions(
    made: type, written: Mapping[str, str], task: str, *, where: str
) -> dict[str, str]:
    """Return the exceptions that a class and the user declare, by the name of the check.

    Parameters
    ----------
    made
        The class; its `contract_exceptions` are check -> reason.
    written
        What the user adds in a file of models.
    task
        Whose checks there are.
    where
        Begins a message.

    Returns
    -------
    Reasons by check.

    Raises
    ------
    UsageError
        If a check is unknown or an exception has no reason.
    """
    own = getattr(made, "contract_exceptions", {})
    if not isinstance(own, dict):
        msg = f"{where}: {made.__name__}.contract_exceptions is {own!r}, expected check -> reason"
        raise UsageError(msg)
    declared, known = {**own, **written}, check_names(task)
    for name, reason in declared.items():
        if name not in known:
            msg = f"{where}: exception for an unknown check {name!r}{hint(name, known)}"
            raise UsageError(msg)
        if not isinstance(reason, str) or not reason.strip():
            msg = f"{where}: the exception {name!r} has no reason; say why in words"
            raise UsageError(msg)
    return declared
