"""Settings of classes of scvi-tools, checked before a model is built: many pass unread there."""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING, Any

from reconeval._ranges import check_least, check_positive
from reconeval.errors import UsageError
from reconeval.filling import check_keywords, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "check_own_settings",
    "check_plan",
    "check_train_options",
    "checked_settings",
    "default_of",
]

_OWN = ("self", "adata", "registry")
# What the model tells its module of the cells.
_OF_CELLS = (
    *("n_input", "n_batch", "n_labels", "n_continuous_cov", "n_cats_per_cov"),
    *("n_input_genes", "n_input_proteins", "n_panel", "panel_key", "categorical_covariate_dims"),
    *("library_log_means", "library_log_vars", "protein_batch_mask", "use_size_factor_key"),
    *("protein_background_prior_mean", "protein_background_prior_scale"),
)
# What the adapter tells the training itself.
_OF_TRAINING = ("devices", "external_indexing", "datamodule", "train_size", "validation_size")
_WHOLE = ("n_latent", "n_hidden", "n_layers")
_LAYERS = (None, "counts", "X")
_RULES = ("mean_of_log", "log_of_mean")
_LITERAL = re.compile(r"(?:typing\.)?Literal(\[[^\]]*\])")


def checked_settings(cls: type[Any], settings: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Refuse settings that a class of scvi-tools or its module does not take.

    Parameters
    ----------
    cls
        The class.
    settings
        Its arguments.
    name
        What to call it in a message.

    Returns
    -------
    The settings; None becomes "none" where that is a choice, since `none` is None to a shell's
    reader of settings.

    Raises
    ------
    UsageError
        If there is no such setting, or it is out of range.
    """
    checked = dict(settings)
    known = _parameters(cls)
    check_keywords(known.values(), settings, where=f"{name}()")
    for word, value in settings.items():
        if word in _WHOLE:
            check_least(f"{name}()", 1, **{word: value})
        choices = _choices(known.get(word))
        if value is None and "none" in choices:
            checked[word] = "none"
        elif choices and value not in choices:
            msg = f"{name}(): {word} is {value!r}, expected one of {listed(map(str, choices))}"
            raise UsageError(msg)
    return checked


def check_own_settings(name: str, *, layer: str | None, n_samples: int, rule: str) -> None:
    """Refuse settings of the adapter that are out of range, with `UsageError`."""
    for word, value, choices in (("layer", layer, _LAYERS), ("rule", rule, _RULES)):
        if value not in choices:
            msg = f"{name}(): {word} is {value!r}, expected {' or '.join(filter(None, choices))}"
            raise UsageError(msg)
    check_least(f"{name}()", 0, n_samples=n_samples)


def check_train_options(
    cls: type[Any], options: Mapping[str, Any], *, own: Iterable[inspect.Parameter], where: str
) -> None:
    """Refuse options that a class of scvi-tools, its trainer or its training plan does not take.

    Parameters
    ----------
    cls
        The class.
    options
        The options.
    own
        Parameters of the adapter's own call.
    where
        Begins the message and ends with the call.

    Raises
    ------
    UsageError
        If there is no such option, the adapter sets it itself, or it is out of range.
    """
    from scvi.train import Trainer

    known = {one.name: one for one in own}
    for call in (cls.train, *(base.__init__ for base in Trainer.__mro__[:-1])):
        known |= dict(inspect.signature(call).parameters)
    passed = [
        one
        for one in known.values()
        if one.kind is not one.VAR_KEYWORD and one.name not in {"self", *_OF_TRAINING}
    ]
    check_keywords(passed, options, where=where)
    _check_rates(where, options)
    check_plan(cls, options, where=where)


def check_plan(cls: type[Any], options: Mapping[str, Any], *, where: str) -> None:
    """Refuse a training plan that a class of scvi-tools cannot be trained by.

    Parameters
    ----------
    cls
        The class.
    options
        Of a training; of these `plan_kwargs` and `plan_config` are looked at.
    where
        Begins the message.

    Raises
    ------
    UsageError
        If they are no settings by name, neither the plan nor the module's loss takes one, or a
        rate is out of range.
    """
    known = _plan_parameters(cls)
    for word in ("plan_kwargs", "plan_config"):
        plan = options.get(word)
        if plan is None or hasattr(plan, "to_kwargs"):
            continue
        if not isinstance(plan, dict):
            msg = f"{where}: {word} is {plan!r}, expected settings like {{'lr': 0.001}}"
            raise UsageError(msg)
        check_keywords(known, plan, where=f"{where}: {word}")
        _check_rates(f"{where}: {word}", plan)


def default_of(cls: type[Any], name: str) -> Any:
    """Return the default of a setting, None if the class does not take it."""
    parameter = _parameters(cls).get(name)
    return None if parameter is None else parameter.default


def _check_rates(where: str, settings: Mapping[str, Any]) -> None:
    for word, zero in (("lr", False), ("weight_decay", True)):
        if word in settings:
            check_positive(where, zero=zero, **{word: settings[word]})


def _plan_parameters(cls: type[Any]) -> list[inspect.Parameter] | None:
    """Return what a training plan takes: its own arguments and those of the module's loss."""
    plan = getattr(cls, "_training_plan_cls", None)
    if plan is None:
        return None
    if cls.__name__ == "TOTALANVI":  # scvi-tools takes another plan for a class of this name
        from scvi.train import SemiSupervisedAdversarialTrainingPlan

        plan = SemiSupervisedAdversarialTrainingPlan
    calls = [base.__init__ for base in plan.__mro__[:-1] if "__init__" in vars(base)]
    found: dict[str, inspect.Parameter] = {}
    for call in (*calls, cls._module_cls.loss):
        for one in inspect.signature(call).parameters.values():
            if one.default is not one.empty:
                found.setdefault(one.name, one)
    return list(found.values())


def _parameters(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """Return what a class takes: its own arguments and, through `**kwargs`, its module's."""
    found: dict[str, inspect.Parameter] = {}
    rest: inspect.Parameter | None = None
    for owner in (cls, getattr(cls, "_module_cls", None)):
        own = [base for base in getattr(owner, "__mro__", ()) if "__init__" in vars(base)]
        for rank, base in enumerate(own):
            parameters = inspect.signature(base.__init__).parameters.values()
            rest = next((one for one in parameters if one.kind is one.VAR_KEYWORD), None)
            for one in parameters:
                if one is not rest and one.name not in {*_OWN, *_OF_CELLS}:
                    found.setdefault(one.name, one)
            if rest is None and rank == 0:
                return found
            if rest is None:
                break
    return found if rest is None else found | {rest.name: rest}


def _choices(parameter: inspect.Parameter | None) -> tuple[Any, ...]:
    """Return what a parameter may be if its annotation, a text in scvi-tools, lists it."""
    annotation = "" if parameter is None else parameter.annotation
    found = _LITERAL.fullmatch(annotation) if isinstance(annotation, str) else None
    return tuple(ast.literal_eval(found[1])) if found else ()
