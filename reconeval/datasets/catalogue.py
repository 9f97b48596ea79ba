"""The catalogue of perturbation data that a user can download."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Layout", "Source", "catalogue_names", "find_source", "read_catalogue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a source's file keeps what the common schema wants.

    Attributes
    ----------
    perturbation
        Column of `obs` with the perturbation of each cell; cells without one are left out.
    control
        The label of control cells in that column.
    cell_type, condition
        Columns of `obs`, or None.
    only_cell_type
        The type of all cells, for a source of one cell line without such a column.
    dose, dose_unit
        Column of `obs` whose number becomes part of a perturbation's label, and its unit.
    only
        Columns of `obs` and the number that cells must have there to be kept.
    separator
        What stands between the single perturbations in the label of a combination; there are
        none without it.
    counts
        Where the raw counts are in the file: "X", "raw/X" or "layers/NAME".
    genes
        Column of `var` with gene symbols; None where they are the index.
    whole
        Whether counts must be whole; otherwise they are rounded.
    """

    perturbation: str
    control: str
    cell_type: str | None = None
    condition: str | None = None
    only_cell_type: str | None = None
    dose: str | None = None
    dose_unit: str = ""
    only: Mapping[str, float] = field(default_factory=dict)
    separator: str | None = None
    counts: str = "X"
    genes: str | None = None
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One entry of the catalogue.

    Attributes
    ----------
    name
        What the user types; the file is kept as `name.h5ad`.
    title
        What the cells are.
    citation, doi, licence
        Whom to cite, and on what terms the data may be used.
    page
        Where the source describes the data.
    layout
        How its file is read.
    url
        Address of the file; None where it has to be downloaded by hand.
    by_hand
        What to do on `page` then.
    checksum
        "sha256:..." or "md5:...", or None where nobody published one.
    size
        About how large the file is, in words; empty where unknown.
    """

    name: str
    title: str
    citation: str
    doi: str
    licence: str
    page: str
    layout: Layout
    url: str | None = None
    by_hand: str = ""
    checksum: str | None = None
    size: str = ""


@cache
def read_catalogue() -> dict[str, Source]:
    """Return the entries by name, in the order of the file."""
    text = Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    return {
        name: Source(name=name, **{**table, "layout": Layout(**table["layout"])})
        for name, table in tables.items()
    }


def catalogue_names() -> tuple[str, ...]:
    """Return the names of the data that can be fetched."""
    return tuple(read_catalogue())


def find_source(name: str) -> Source:
    """Return one entry.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    entries = read_catalogue()
    if name not in entries:
        msg = f"no dataset {name!r} in the catalogue{hint(name, entries, 'it has:')}"
        raise UsageError(msg)
    return entries[name]
