"""Assign cells to training, validation and test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.datasets._types import Split
from reconeval.datasets.manifest import read_manifest
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from reconeval._typing import IntArray, StrArray
    from reconeval.datasets._types import Dataset

__all__ = ["default_splits", "draw_groups", "make_split", "split_names"]

_IID_FRACTIONS = (0.6, 0.1)  # training, validation; the gene-set metrics need the rest
_TRAIN_FRACTION = 0.9  # of the cells whose type is not held out
_WORDS = {1: "one", 2: "two"}
_LEAST_HELD_OUT, _MOST_HELD_OUT = 0.2, 0.5


def split_names() -> tuple[str, ...]:
    """Return the names of the splits."""
    return ("iid", "cell_type")


def default_splits(dataset: Dataset) -> tuple[str, ...]:
    """Return the splits that a dataset's labels allow: `iid`, and `cell_type` where it can be."""
    try:
        make_split(dataset, "cell_type")
    except UsageError:
        return ("iid",)
    return split_names()


def make_split(dataset: Dataset, name: str, *, seed: int = 0) -> Split:
    """Assign every cell to training, validation or test.

    Parameters
    ----------
    dataset
        The cells.
    name
        `iid` is 60 % training, 10 % validation, 30 % test. `cell_type` keeps whole cell types
        for the test and divides the other cells 90 to 10: the types that the manifest names for
        a frozen dataset; for the user's own, types drawn with the seed until they make up 20 %
        of the cells, at most 50 %, with two types or more left for training.
    seed
        Seeds the shuffle, since files come sorted.

    Returns
    -------
    The split: three disjoint, shuffled parts that together have every cell once.

    Raises
    ------
    UsageError
        If there is no such split, the dataset has no cell types, or no choice of types fits.
    """
    if name not in split_names():
        msg = f"dataset {dataset.name}: no split {name!r}{hint(name, split_names(), 'splits:')}"
        raise UsageError(msg)
    rng = np.random.default_rng(seed)
    n_cells = dataset.adata.n_obs
    if name == "iid":
        order = rng.permutation(np.arange(n_cells, dtype=np.int64))
        train, val, test = np.split(order, _cuts(n_cells, np.cumsum(_IID_FRACTIONS)))
        return Split(name, train, val, test)
    labels = dataset.cell_types
    if labels is None:
        msg = f"dataset {dataset.name}: split cell_type needs labels; add --cell-type-key COLUMN"
        raise UsageError(msg)
    frozen = dataset.version != "user"
    held_out = (
        read_manifest()[dataset.name].held_out
        if frozen
        else draw_groups(labels, rng, where=dataset.name, split=name, noun="types")
    )
    in_test = np.isin(labels, held_out)
    test, rest = (rng.permutation(_rows(part)) for part in (in_test, ~in_test))
    train, val = np.split(rest, _cuts(len(rest), [_TRAIN_FRACTION]))
    return Split(name, train, val, test, held_out)


def _rows(mask: NDArray[np.bool_]) -> IntArray:
    return np.flatnonzero(mask).astype(np.int64)


def _cuts(n: int, fractions: Iterable[float]) -> list[int]:
    return [round(n * fraction) for fraction in fractions]


def draw_groups(
    labels: StrArray,
    rng: np.random.Generator,
    *,
    where: str,
    split: str,
    noun: str,
    least_left: int = 2,
) -> tuple[str, ...]:
    """Draw groups of cells to hold out, with 20 % of the cells or more, at most 50 %.

    Parameters
    ----------
    labels
        Array of shape (n_cells,), the group of each cell.
    rng
        Draws the order in which groups are tried.
    where, split, noun
        The dataset, the split and the plural of a group, for the error.
    least_left
        Groups that must remain.

    Returns
    -------
    The groups, sorted.

    Raises
    ------
    UsageError
        If no choice of groups fits.
    """
    types, sizes = np.unique(labels, return_counts=True)
    # Where the drawn order leads nowhere, the largest types first find a choice if there is one.
    for order in (rng.permutation(len(types)), np.argsort(-sizes, kind="stable")):
        chosen: list[int] = []
        n_test = 0
        for i in order:
            fits = n_test + sizes[i] <= _MOST_HELD_OUT * len(labels)
            if fits and len(chosen) < len(types) - least_left:
                chosen.append(i)
                n_test += sizes[i]
            if n_test >= _LEAST_HELD_OUT * len(labels):
                return tuple(sorted(str(types[i]) for i in chosen))
    shares = ", ".join(
        f"{types[i]} {sizes[i] / len(labels):.0%}" for i in np.argsort(-sizes, kind="stable")[:4]
    )
    msg = (
        f"dataset {where}: split {split} cannot hold out whole {noun} with {_LEAST_HELD_OUT:.0%} "
        f"to {_MOST_HELD_OUT:.0%} of the cells and leave {_WORDS[least_left]} for training "
        f"(largest of {len(types)}: {shares}); use --split iid"
    )
    raise UsageError(msg)
