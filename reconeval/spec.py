"""What the user asks for with `--model`, read and checked without building anything."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval._loading import class_of, load_target
from reconeval._models_file import check_table, read_models_file
from reconeval._settings import check_alias, parse_settings, settings_id, surgery_id, surgery_text
from reconeval.adapters import adapt, find_scvi
from reconeval.contract import declared_exceptions
from reconeval.errors import UsageError
from reconeval.filling import check_keywords, fill, hint, plan, signature_of
from reconeval.offers import OFFERED
from reconeval.protocols import method_parameters, task_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reconeval.filling import Offer

__all__ = ["ModelSpec", "parse_models"]

_TOML = re.compile(r"(?P<path>[^?]+\.toml)(?::(?P<alias>[^:]+))?")


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelSpec:
    """A model as the user named it.

    Attributes
    ----------
    id
        Unique in a run; the alias, or the class with its settings. Letters, digits, `_:+-./`.
    source
        What the user typed.
    target
        `MODULE:CLASS`.
    task
        One of `reconeval.protocols.TASKS`.
    kwargs, train_kwargs
        What the user wrote for the constructor and for `train`.
    exceptions
        Checks of the contract that the model is known to fail, with the reason.
    factory
        Makes the model: the class, a function, or an adapter around a class.
    embedding
        Of a decoder: the name of the embedding that it decodes, and what was typed for it.
    surgery
        Of a model that maps queries: what the user wrote for that by `--surgery`.
    """

    id: str
    source: str
    target: str
    task: str
    factory: Callable[..., Any] = field(repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    train_kwargs: Mapping[str, Any] = field(default_factory=dict)
    exceptions: Mapping[str, str] = field(default_factory=dict)
    embedding: tuple[str, str] | None = None
    surgery: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The target with its settings, and the embedding: the same whatever the alias."""
        name = f"/{self.embedding[0]}" if self.embedding else ""
        settings = settings_id(self.kwargs, self.train_kwargs) + surgery_id(self.surgery)
        return self.target + settings + name

    @property
    def typed(self) -> str:
        """What the user typed, for results."""
        typed = f"{self.source} {self.embedding[1]}" if self.embedding else self.source
        return f"{typed} {surgery_text(self.surgery)}" if self.surgery else typed

    def decoding(self, name: str, option: str) -> ModelSpec:
        """Return the spec of the same decoder on an embedding.

        Parameters
        ----------
        name
            Of the embedding; becomes part of the id, so that results on two embeddings are
            never taken for those of one model.
        option
            What the user typed for it.
        """
        return replace(self, id=f"{self.id}/{name}", embedding=(name, option))

    def mapping(self, surgery: Mapping[str, Any]) -> ModelSpec:
        """Return the same model as one that maps queries with these settings, part of its id."""
        name = self.id + surgery_id(surgery)
        return replace(self, id=name, task="query_mapping", surgery=surgery)

    @property
    def name(self) -> str:
        """The name of the class, without its module."""
        return self.target.rpartition(":")[2]

    def build(self, offers: Mapping[str, Offer]) -> Any:
        """Make the model, its arguments filled by name.

        Parameters
        ----------
        offers
            As `reconeval.offers.constructor_offers` makes them.

        Returns
        -------
        A new, untrained model.

        Raises
        ------
        UsageError
            If the constructor requires what nothing offers; errors of the model's own pass.
        """
        where = f"{self.source}: {self.name}()"
        args, kwargs = fill(self.factory, offers, self.kwargs, where=where)
        return self.factory(*args, **kwargs)

    def train(self, model: Any, offers: Mapping[str, Offer]) -> None:
        """Train the model, the arguments of `train` filled by name.

        Parameters
        ----------
        model
            What `build` returned.
        offers
            As `reconeval.offers.train_offers` makes them.

        Raises
        ------
        UsageError
            If `train` requires what nothing offers; errors of the model's own pass.
        """
        self.training(model, offers)()

    def training(self, model: Any, offers: Mapping[str, Offer]) -> Callable[[], None]:
        """Return the call of `train` with its arguments made, so that a timing covers it alone.

        Parameters and errors are those of `train`.
        """
        where = f"{self.source}: {self.name}.train()"
        offered = OFFERED[self.task]
        args, kwargs = fill(
            model.train,
            offers,
            self.train_kwargs,
            where=where,
            lone=offered.lone,
            reserved=offered.train,
        )
        return partial(model.train, *args, **kwargs)


def parse_models(
    texts: Sequence[str], *, folder: Path | None = None, option: str = "--model "
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
    for text in texts:
        for spec in _parse(text, folder, option):
            if spec.id in specs:
                first, second = specs[spec.id].source, spec.source
                msg = f"{option}{second}: has the id {spec.id!r} of {option}{first}; "
                table = _TOML.fullmatch(second)
                msg += (
                    f"give the table [{spec.id}] of {table['path']} another name"
                    if table
                    else f"name one of them: {option}ALIAS={second}"
                )
                raise UsageError(msg)
            specs[spec.id] = spec
    return list(specs.values())


def _parse(text: str, folder: Path, option: str) -> Iterable[ModelSpec]:
    where = option + text
    toml = _TOML.fullmatch(text)
    if toml is not None:
        yield from _parse_file(folder / toml["path"], toml["alias"], text, folder, option)
        return
    head, question, query = text.partition("?")
    alias, equals, target = head.rpartition("=")
    if equals:
        check_alias(alias, where=where)
    kwargs, train_kwargs = parse_settings(query, where=where) if question else ({}, {})
    yield _make(
        alias or None,
        text,
        target,
        kwargs=kwargs,
        train_kwargs=train_kwargs,
        folder=folder,
        where=where,
    )


def _parse_file(
    path: Path, wanted: str | None, text: str, folder: Path, option: str
) -> Iterable[ModelSpec]:
    tables = read_models_file(path, where=option + text)
    if wanted is not None and wanted not in tables:
        msg = f"{option}{text}: no table [{wanted}]{hint(wanted, tables)}"
        raise UsageError(msg)
    for alias in tables if wanted is None else [wanted]:
        source = f"{text}:{alias}" if wanted is None else text
        where = option + source
        check_alias(alias, where=where)
        table = tables[alias]
        check_table(table, where=where)
        yield _make(
            alias,
            source,
            table["target"],
            kwargs=table.get("kwargs", {}),
            train_kwargs=table.get("train", {}),
            exceptions=table.get("exceptions", {}),
            folder=folder,
            where=where,
        )


def _make(
    alias: str | None,
    source: str,
    target: str,
    *,
    kwargs: Mapping[str, Any],
    train_kwargs: Mapping[str, Any],
    exceptions: Mapping[str, str] | None = None,
    folder: Path,
    where: str,
) -> ModelSpec:
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
        id=alias or name + settings_id(kwargs, train_kwargs),
        source=source,
        target=target,
        task=task,
        factory=factory,
        kwargs=kwargs,
        train_kwargs=train_kwargs,
        exceptions=declared,
    )


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
