"""What the user asks for with `--model`, read and checked without building anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval._loading import class_of, load_target
from reconeval._model_spec import ModelSpec
from reconeval._models_file import check_table, read_models_file
from reconeval._settings import TRAIN, check_alias, parse_settings, settings_id
from reconeval.adapters import adapt, find_scvi
from reconeval.contract import declared_exceptions
from reconeval.errors import UsageError
from reconeval.filling import check_keywords, hint, plan, signature_of
from reconeval.offers import OFFERED
from reconeval.protocols import method_parameters, task_of
from reconeval.sweep import read_sweeps, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Settings = tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, str]]

__all__ = ["ModelSpec", "parse_models"]

_TOML = re.compile(r"(?P<path>[^?]+\.toml)(?::(?P<alias>[^:]+))?")


def parse_models(
    texts: Sequence[str],
    *,
    folder: Path | None = None,
    option: str = "--model ",
    sweeps: Sequence[str] = (),
) -> list[ModelSpec]:
    """Read the models that the user asked for; imports their modules, builds nothing.

    Parameters
    ----------
    texts
        Each `[ALIAS=]MODULE:CLASS[?key=value&train.key=value]`, `FILE.toml` for all models of a
        file, or `FILE.toml:ALIAS` for one.
    folder
        Where modules and files are looked up first; default the current folder.
    option
        Stands before the text in messages.
    sweeps
        Texts of `--sweep`; each model becomes one for each point of their grid.

    Returns
    -------
    The models in the order asked for.

    Raises
    ------
    UsageError
        If something cannot be read, imported or filled, or if two models have one id.
    """
    folder = Path.cwd() if folder is None else folder
    specs: dict[str, ModelSpec] = {}
    reading = _Reading(folder, option, read_sweeps(sweeps))
    for text in texts:
        for spec in _parse(text, reading):
            if spec.id in specs:
                first, second = specs[spec.id].source, spec.source
                msg = f"{option}{second}: has the id {spec.id!r} of {option}{first}; "
                table = _TOML.fullmatch(second)
                msg += (
                    f"give the table [{spec.id}] of {table['path']} another name"
                    if table
                    else f"name one of them: {option}ALIAS={_without_alias(second)}"
                )
                raise UsageError(msg)
            specs[spec.id] = spec
    return list(specs.values())


@dataclass(frozen=True, slots=True)
class _Reading:
    """What holds for all models: where they are, how messages begin, and what is swept."""

    folder: Path
    option: str
    grid: Sequence[Mapping[str, str]]


def _parse(text: str, reading: _Reading) -> Iterable[ModelSpec]:
    where = reading.option + text
    toml = _TOML.fullmatch(text)
    if toml is not None:
        yield from _parse_file(toml["path"], toml["alias"], text, reading)
        return
    head, question, query = text.partition("?")
    alias, equals, target = head.rpartition("=")
    if equals:
        check_alias(alias, where=where)
    kwargs, train_kwargs = parse_settings(query, where=where) if question else ({}, {})
    for settings in variants(kwargs, train_kwargs, reading.grid, where=where):
        yield _make(alias or None, text, target, settings, folder=reading.folder, where=where)


def _without_alias(text: str) -> str:
    head, question, query = text.partition("?")
    return head.rpartition("=")[2] + question + query


def _parse_file(path: str, wanted: str | None, text: str, reading: _Reading) -> Iterable[ModelSpec]:
    tables = read_models_file(reading.folder / path, where=reading.option + text)
    if wanted is not None and wanted not in tables:
        msg = f"{reading.option}{text}: no table [{wanted}]{hint(wanted, tables)}"
        raise UsageError(msg)
    for alias in tables if wanted is None else [wanted]:
        source = f"{text}:{alias}" if wanted is None else text
        where = reading.option + source
        check_alias(alias, where=where)
        table = tables[alias]
        check_table(table, where=where)
        kwargs, train_kwargs = table.get("kwargs", {}), table.get("train", {})
        for settings in variants(kwargs, train_kwargs, reading.grid, where=where):
            yield _make(
                alias,
                source,
                table["target"],
                settings,
                exceptions=table.get("exceptions", {}),
                folder=reading.folder,
                where=where,
            )


def _make(
    alias: str | None,
    source: str,
    target: str,
    settings: Settings,
    *,
    exceptions: Mapping[str, str] | None = None,
    folder: Path,
    where: str,
) -> ModelSpec:
    kwargs, train_kwargs, swept = settings
    found = find_scvi(target, where=where) or load_target(target, folder=folder, where=where)
    made = class_of(found, where=where)
    adapted = adapt(made, found, where=where)
    factory = adapted or found
    made = adapted or made
    try:
        task = task_of(made)
    except UsageError as error:
        msg = f"{where}: {error}"
        raise UsageError(msg) from None
    name = target.rpartition(":")[2]
    _check_call(factory, kwargs, task, f"{where}: {name}()")
    parameters = method_parameters(made, "train")
    check_keywords(parameters, train_kwargs, where=f"{where}: {name}.train()")
    offered = OFFERED.get(task)
    if offered is not None and parameters is not None:
        place = f"{where}: {name}.train()"
        plan(parameters, offered.train, train_kwargs, where=place, lone=offered.lone)
    declared = declared_exceptions(made, exceptions or {}, task, where=where)
    return ModelSpec(
        id=_id(alias, name, settings),
        source=source,
        target=target,
        task=task,
        factory=factory,
        kwargs=kwargs,
        train_kwargs=train_kwargs,
        exceptions=declared,
        swept=swept,
    )


def _id(alias: str | None, name: str, settings: Settings) -> str:
    """Return the alias with what was swept, or the class with all its settings."""
    kwargs, train_kwargs, swept = settings
    if alias is None:
        return name + settings_id(kwargs, train_kwargs)
    named = {
        TRAIN: {key: value for key, value in train_kwargs.items() if TRAIN + key in swept},
        "": {key: value for key, value in kwargs.items() if key in swept},
    }
    return alias + settings_id(named[""], named[TRAIN])


def _check_call(
    factory: Callable[..., Any], kwargs: Mapping[str, Any], task: str, where: str
) -> None:
    signature = signature_of(factory)
    if signature is None:
        return
    parameters = signature.parameters.values()
    check_keywords(parameters, kwargs, where=where)
    if task in OFFERED:
        plan(parameters, OFFERED[task].constructor, kwargs, where=where)
