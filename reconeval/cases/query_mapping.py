"""Query batches that are mapped onto a model of reference batches."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from reconeval._settings import shown
from reconeval.cases.end_to_end import EndToEndCase
from reconeval.datasets import Split
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconeval._typing import BoolArray, IntArray, StrArray
    from reconeval.datasets import Dataset

__all__ = [
    "AFTER",
    "BEFORE",
    "QUERY",
    "QueryMappingCase",
    "QuerySplit",
    "make_query_split",
    "query_split_names",
]

QUERY = "query"  # the split of what is asked of a whole mapping
BEFORE, AFTER = "before", "after"  # query training, for the reconstruction of a batch
_LEAST_CELLS = 20  # of the reference, and of each query batch
_TRAINING, _MAPPED = 0.9, 0.5  # of the reference cells; of the cells of a query batch


@dataclass(frozen=True, eq=False, kw_only=True)
class QuerySplit(Split):
    """An assignment of reference and query batches.

    Attributes
    ----------
    name, train, val, test, held_out
        `query`, and all query cells as the test; or `query:BATCH:before` and `query:BATCH:after`,
        and the cells of that batch that query training does not see. Training and validation
        cells are of the reference; the query batches are held out.
    batches
        The query batches.
    query
        Row numbers of all query cells, int64.
    mapped
        Row numbers of those that query training sees, int64.
    batch, stage
        What the name says; empty for `query`.
    """

    batches: tuple[str, ...]
    query: IntArray
    mapped: IntArray
    batch: str = ""
    stage: str = ""


@dataclass(eq=False)
class QueryMappingCase(EndToEndCase):
    """Query cells, and a model that is trained on reference cells alone.

    Attributes
    ----------
    dataset, split
        What the case is made of.
    """

    task: ClassVar[str] = "query_mapping"

    split: QuerySplit


def query_split_names(batches: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the splits of some query batches: one for all, two for each.

    Raises
    ------
    UsageError
        If two batches look the same in a name.
    """
    names = [shown(batch) for batch in batches]
    for name in names:
        if not name or names.count(name) > 1:
            msg = f"--query-batches {','.join(batches)}: {name!r} would be the name of two, or of "
            raise UsageError(msg + "none; rename the batches in the file")
    return (QUERY, *(f"{QUERY}:{name}:{stage}" for name in names for stage in (BEFORE, AFTER)))


def make_query_split(
    dataset: Dataset, batches: Sequence[str], name: str = QUERY, *, seed: int = 0
) -> QuerySplit:
    """Assign the cells of reference and query batches.

    Parameters
    ----------
    dataset
        The cells, with batches.
    batches
        The query batches; all others are the reference.
    name
        One of `query_split_names(batches)`.
    seed
        Seeds the shuffle.

    Returns
    -------
    The split: 90 % of the reference cells for training and 10 % for validation; query training
    sees half of the cells of each query batch.

    Raises
    ------
    UsageError
        If the dataset has no batches or not these, or a side has too few cells.
    """
    if dataset.batch_key is None:
        msg = f"dataset {dataset.name}: has no batches to map; take --dataset immune_batches, or "
        msg += "your own file with --batch-key COLUMN"
        raise UsageError(msg)
    labels = np.asarray(dataset.adata.obs[dataset.batch_key].astype(str))
    _check_batches(dataset.name, labels, batches)
    asked = [("", ""), *product(batches, (BEFORE, AFTER))]
    places = dict(zip(query_split_names(batches), asked, strict=True))
    if name not in places:
        msg = f"dataset {dataset.name}: no split {name!r}{hint(name, places, 'splits:')}"
        raise UsageError(msg)
    batch, stage = places[name]
    rng = np.random.default_rng(seed)
    train, val = _cut(~np.isin(labels, batches), _TRAINING, rng)
    parts = {one: _cut(labels == one, _MAPPED, rng) for one in batches}
    query = np.concatenate([rows for both in parts.values() for rows in both])
    return QuerySplit(
        name=name,
        train=train,
        val=val,
        test=parts[batch][1] if batch else query,
        held_out=tuple(batches),
        batches=tuple(batches),
        query=query,
        mapped=np.concatenate([mapped for mapped, _ in parts.values()]),
        batch=batch,
        stage=stage,
    )


def _cut(mask: BoolArray, share: float, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Shuffle the rows of a mask and cut them in two."""
    rows = rng.permutation(np.flatnonzero(mask).astype(np.int64))
    cut = round(share * len(rows))
    return rows[:cut], rows[cut:]


def _check_batches(dataset: str, labels: StrArray, batches: Sequence[str]) -> None:
    names, sizes = np.unique(labels, return_counts=True)
    found = {str(name): int(size) for name, size in zip(names, sizes, strict=True)}
    for batch in batches:
        if batch not in found:
            known = hint(batch, found, "batches:")
            msg = f"dataset {dataset}: --query-batches: no batch {batch!r}{known}"
            raise UsageError(msg)
        if found[batch] < _LEAST_CELLS:
            msg = f"dataset {dataset}: query batch {batch!r} has {found[batch]} cells, expected "
            msg += f"at least {_LEAST_CELLS}; name larger ones by --query-batches"
            raise UsageError(msg)
    n_reference = sum(size for name, size in found.items() if name not in batches)
    if n_reference < _LEAST_CELLS:
        msg = f"dataset {dataset}: --query-batches leave {n_reference} cells for the reference, "
        msg += f"expected at least {_LEAST_CELLS}; name fewer batches"
        raise UsageError(msg)
