"""Find genes by name, and the genes that a truth expresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconeval._typing import BoolArray, FloatArray, IntArray

__all__ = ["MIN_CELLS", "MIN_GENES", "columns_of_sets", "expressed", "find_genes", "gene_columns"]

MIN_CELLS = 20
MIN_GENES = 5


def gene_columns(genes: Sequence[str], n_genes: int) -> dict[str, int]:
    """Return the column of each gene name.

    Parameters
    ----------
    genes
        Gene names in column order.
    n_genes
        Number of columns of the matrix they name.

    Returns
    -------
    Column numbers by name.

    Raises
    ------
    UsageError
        If there is not one name for each column, or a name occurs twice.
    """
    columns = {gene: column for column, gene in enumerate(genes)}
    if len(genes) != n_genes:
        msg = f"{len(genes)} gene names for {n_genes} genes; give one name for each column"
        raise UsageError(msg)
    if len(columns) != n_genes:
        twice = next(gene for column, gene in enumerate(genes) if columns[gene] != column)
        msg = f"gene {twice!r} occurs twice, expected unique names; make them unique or drop one"
        raise UsageError(msg)
    return columns


def expressed(X: FloatArray, *, min_cells: int = MIN_CELLS) -> BoolArray:
    """Return which genes enough cells of the truth express.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth; a cell expresses a gene where it is above 0.
    min_cells
        Number of cells that is enough; 0 keeps every gene.

    Returns
    -------
    Array of shape (n_genes,).
    """
    return np.asarray(np.count_nonzero(X > 0, axis=0) >= min_cells)


def find_genes(
    names: Iterable[str], columns: Mapping[str, int], keep: BoolArray | None = None
) -> IntArray:
    """Return the columns of the genes among `names` that exist and are kept, each once.

    Parameters
    ----------
    names
        Gene names; unknown ones are passed over.
    columns
        Column numbers by gene name.
    keep
        Array of shape (n_genes,): which columns may be used; default all.

    Returns
    -------
    Column numbers in the order of `names`.
    """
    found = (columns[name] for name in dict.fromkeys(names) if name in columns)
    return np.fromiter((c for c in found if keep is None or keep[c]), dtype=np.int64)


def columns_of_sets(
    sets: Mapping[str, Iterable[str]],
    columns: Mapping[str, int],
    *,
    keep: BoolArray | None = None,
    min_genes: int = MIN_GENES,
) -> dict[str, IntArray]:
    """Return the columns of each gene set that has enough genes.

    Parameters
    ----------
    sets
        Gene names by the name of their set.
    columns
        Column numbers by gene name.
    keep
        Array of shape (n_genes,): which columns may be used; default all.
    min_genes
        Number of genes that is enough.

    Returns
    -------
    Column numbers by the name of the set; sets with fewer genes are left out.

    Raises
    ------
    Undefined
        If no set has enough genes.
    """
    found = {name: find_genes(genes, columns, keep) for name, genes in sets.items()}
    enough = {name: members for name, members in found.items() if len(members) >= min_genes}
    if not enough:
        most = max(map(len, found.values()), default=0)
        usable = len(columns) if keep is None else int(keep.sum())
        msg = (
            f"none of {len(sets)} gene sets has {min_genes} genes among the {usable} that count, "
            f"the best has {most}"
        )
        raise Undefined(msg)
    return enough
