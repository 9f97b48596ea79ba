"""Which tables a thresholds file may have, which model one is for, and which are for nothing."""

from __future__ import annotations

import math
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from reconeval._settings import parse_settings, settings_id
from reconeval.costs import find
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconeval.spec import ModelSpec

__all__ = ["FLOOR", "belongs", "check_tables", "idle_tables"]

FLOOR = "floor"

_NEAR = 0.9  # models:ReconAE and models:ReconPCA are no slips of each other


def belongs(owner: str, typed: str, key: str) -> bool:
    """Return whether a table is for a model.

    Parameters
    ----------
    owner
        The table's name.
    typed
        What the user typed for the model, as in the column `spec` of results.
    key
        The model's key, `MODULE:CLASS+setting:value`.
    """
    return owner != FLOOR and (owner == typed or _key_of(owner) == key)


def check_tables(tables: Mapping[str, Any], *, where: str) -> None:
    """Refuse a file that has what no run could hold to.

    Parameters
    ----------
    tables
        dataset -> split -> "floor" or model -> metric -> number or [low, high].
    where
        Begins the message of an error.

    Raises
    ------
    UsageError
        If something is no table, a split or metric is unknown, a table is neither the floor nor
        named like a model, or a bound is no number or a band not [low, high].
    """
    for dataset, splits in tables.items():
        for split, owners in _table(where, dataset, splits).items():
            place = f"{dataset}.{split}"
            tables_there = _table(where, place, owners)
            _check_split(f"{where}: [{place}]", split)
            for owner, bounds in tables_there.items():
                name = f"{place}.{_quoted(owner)}"
                bounds_there = _table(where, name, bounds)
                _check_owner(f"{where}: [{name}]", owner)
                for metric, bound in bounds_there.items():
                    _check_metric(f"{where}: [{name}]", metric)
                    _check_bound(f"{where}: {name}.{metric}", bound, floor=owner == FLOOR)


def idle_tables(
    tables: Mapping[str, Any],
    places: Sequence[tuple[str, str]],
    specs: Sequence[ModelSpec],
    known: Iterable[str],
) -> list[str]:
    """Return a line for each table that is for nothing, though nearly named like what is run.

    A file may serve many runs, so a table that this run does not need is no fault.

    Parameters
    ----------
    tables
        Of a file that is not empty.
    places
        Pairs of dataset and split of the run.
    specs
        Models of the run.
    known
        Names of datasets that are no slips.

    Returns
    -------
    The lines, each a slip once; where no table is for a place of the run, a line that says so.
    """
    strange = set(tables) - {*known, *(dataset for dataset, _ in places)}
    lines: dict[str, str] = {}
    for dataset, split in places:
        there = tables.get(dataset, {}).get(split)
        if there is None:
            others = sorted(name for name in strange if split in tables[name])
            for name in get_close_matches(dataset, others, n=1):
                found = f"[{name}.{split}]"
                lines[found] = f"{found} is for no dataset of this run; did you mean {dataset}?"
            continue
        for owner, spec in _slips(list(there), specs):
            place = f"{dataset}.{split}"
            lines.setdefault(
                owner,
                f"[{place}.{_quoted(owner)}] is for no model of this run; the bands of "
                f"{spec.typed} stand under [{place}.{_quoted(spec.key)}]",
            )
    if not lines and not any(split in tables.get(dataset, {}) for dataset, split in places):
        asked = ", ".join(f"{dataset}.{split}" for dataset, split in places)
        return [f"has no table for a place of this run ({asked})"]
    return list(lines.values())


def _slips(owners: Sequence[str], specs: Sequence[ModelSpec]) -> Iterable[tuple[str, ModelSpec]]:
    """Yield tables of no model, each with a model that has none and is nearly of that name."""
    bare = [
        spec for spec in specs if not any(belongs(owner, spec.typed, spec.key) for owner in owners)
    ]
    targets, ids = {spec.target: spec for spec in bare}, {spec.id: spec for spec in bare}
    for owner in owners:
        if owner == FLOOR or any(belongs(owner, spec.typed, spec.key) for spec in specs):
            continue
        named = re.match(r"[^:]*:[^+/]*", _key_of(owner))  # without settings and embedding
        near = get_close_matches(named[0], targets, n=1, cutoff=_NEAR) if named else []
        if owner in ids or near:
            yield owner, ids[owner] if owner in ids else targets[near[0]]


def _key_of(owner: str, where: str = "") -> str:
    """Return the key of the model that a table names, also where it stands as after `--model`."""
    head, question, query = owner.partition("?")
    settings = parse_settings(query, where=where) if question else ({}, {})
    return head.rpartition("=")[2] + settings_id(*settings)


def _quoted(name: str) -> str:
    """Return a name as it stands in the header of a table."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def _table(where: str, place: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"{where}: [{place}] is {value!r}, expected a table"
        raise UsageError(msg)
    return value


def _check_split(where: str, split: str) -> None:
    from reconeval.cases.query_mapping import QUERY
    from reconeval.places import split_names

    known = (*split_names(), QUERY)
    if split not in known and not split.startswith(f"{QUERY}:"):
        msg = f"{where}: no split {split!r}{hint(split, known, 'expected')}"
        raise UsageError(msg)


def _check_owner(where: str, owner: str) -> None:
    if owner != FLOOR and ":" not in owner:
        msg = f"{where}: is neither {FLOOR} nor a model; name a model as after --model, "
        msg += "MODULE:CLASS?setting=value"
        raise UsageError(msg)
    _key_of(owner, where)


def _check_metric(where: str, name: str) -> None:
    try:
        find(name)
    except UsageError as error:
        msg = f"{where} {error}"
        raise UsageError(msg) from None


def _check_bound(where: str, bound: object, *, floor: bool) -> None:
    values: list[object] = [bound] if floor else bound if isinstance(bound, list) else []
    numbers = [
        value
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
    if len(values) != (1 if floor else 2) or len(numbers) != len(values):
        msg = f"{where} = {bound!r}, expected {'a number' if floor else '[low, high]'}"
        raise UsageError(msg)
    if not floor and numbers[0] > numbers[1]:
        msg = f"{where} = {bound!r}, expected [low, high]; turn the two around"
        raise UsageError(msg)
