"""The rows of one or several runs, put together for one page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from reconeval.report.html.material import Material

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconeval.gate import SavedRun
    from reconeval.rows import Row

__all__ = ["Place", "Results", "gather"]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A task on a dataset and split.

    Attributes
    ----------
    task, dataset, split
        As in the rows.
    """

    task: str
    dataset: str
    split: str

    @property
    def name(self) -> str:
        """`dataset/split`, as messages name it."""
        return f"{self.dataset}/{self.split}"


@dataclass(frozen=True, eq=False)
class Results:
    """What a page shows.

    Attributes
    ----------
    rows
        Of all runs, each key once.
    runs
        Environment of each run by its name.
    run_of
        For each model, dataset and split the environment of the run that they come from.
    material
        What is drawn of predictions.
    """

    rows: Sequence[Row]
    runs: Mapping[str, Mapping[str, Any]]
    run_of: Mapping[tuple[str, str, str], Mapping[str, Any]]
    material: Material

    @property
    def models(self) -> list[str]:
        """The models in order of appearance."""
        return list(dict.fromkeys(row.model for row in self.rows))

    def by_place(self) -> dict[Place, list[Row]]:
        """Return the rows of each task, dataset and split, in order of appearance."""
        places: dict[Place, list[Row]] = {}
        for row in self.rows:
            places.setdefault(Place(row.task, row.dataset, row.split), []).append(row)
        return places


def gather(saved: Sequence[SavedRun]) -> Results:
    """Put runs together.

    Parameters
    ----------
    saved
        Runs in the order of the command line.

    Returns
    -------
    All rows. A model that two runs scored differently, such as two releases, stands on the page
    once for each, as `model (file)`; rows that are equal in both stand there once.

    Raises
    ------
    UsageError
        If the material of a run cannot be read.
    """
    names, clashes = _names(saved), _clashes(saved)
    rows: dict[tuple[str, ...], Row] = {}
    runs: dict[str, Mapping[str, Any]] = {}
    run_of: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    materials = []
    for name, one in zip(names, saved, strict=True):

        def label(model: str, name: str = name) -> str:
            return f"{model} ({name})" if model in clashes else model

        parts = one.run.get("parts") or [one.run]
        for i, part in enumerate(parts, start=1):
            runs[name if len(parts) == 1 else f"{name}, part {i}"] = part
        for row in one.rows.values():
            mine = replace(row, model=label(row.model))
            rows.setdefault(mine.key, mine)
            run_of.setdefault(mine.key[:3], _part(parts, row))
        materials.append(_relabelled(one, label))
    return Results(list(rows.values()), runs, run_of, Material.merged(materials))


def _names(saved: Sequence[SavedRun]) -> list[str]:
    """Return a name for each run: its file's stem, or the whole path where two share one."""
    stems = [PurePath(one.name).stem for one in saved]
    counts = Counter(stems)
    return [stem if counts[stem] == 1 else one.name for stem, one in zip(stems, saved, strict=True)]


def _clashes(saved: Sequence[SavedRun]) -> set[str]:
    """Return the models that have two different rows under one key."""
    seen: dict[tuple[str, ...], dict[str, Any]] = {}
    clashes = set()
    for one in saved:
        for key, row in one.rows.items():
            if seen.setdefault(tuple(key), row.to_dict()) != row.to_dict():
                clashes.add(row.model)
    return clashes


def _part(parts: Sequence[Mapping[str, Any]], row: Row) -> Mapping[str, Any]:
    """Return the run of a merged file that timed a row's model, the first where none says so."""
    place = [row.model, row.dataset, row.split]
    return next((part for part in parts if place in part.get("timed", ())), parts[0])


def _relabelled(one: SavedRun, label: Any) -> Material:
    material = Material.from_dict(one.document.get("material") or {})
    predicted = [replace(found, model=label(found.model)) for found in material.predicted.values()]
    return Material(
        material.measured,
        {(found.model, found.dataset, found.split): found for found in predicted},
    )
