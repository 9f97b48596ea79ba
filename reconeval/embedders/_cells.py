"""Cells as a foundation model takes them: counts of the genes that it knows."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import UsageError
from reconeval.filling import hint, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from reconeval._typing import FloatArray, IntArray

__all__ = ["known_cells", "with_empty_cells"]

_EXAMPLES = 3


def known_cells(
    adata: AnnData,
    vocabulary: Mapping[str, str],
    *,
    where: str,
    min_genes: int,
    gene_key: str | None = None,
) -> tuple[AnnData, IntArray]:
    """Return the counts of the model's genes in the model's order, without empty cells.

    The order of the model makes the result independent of the order in the data, whatever a
    package does with it.

    Parameters
    ----------
    adata
        Cells with raw counts in `layers["counts"]` or else in `X`.
    vocabulary
        For each name that a gene may have in the data, its name in the model; in the order of
        the model.
    where
        Begins messages.
    min_genes
        The least number of the model's genes that the data must have.
    gene_key
        Column of `var` with the names of the genes; default `var_names`.

    Returns
    -------
    Float32 CSR counts with the model's gene names, and the row of each of its cells in `adata`.

    Raises
    ------
    UsageError
        If there are no raw counts, if fewer genes than `min_genes` are known, or if two columns
        are one gene of the model.
    """
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    names = _gene_names(adata, gene_key, where)
    columns = _known_columns(names, vocabulary, where=where, min_genes=min_genes)
    matrix = sparse.csr_matrix(_counts(adata, where))[:, columns].astype(np.float32)
    matrix.eliminate_zeros()
    rows = _expressing(matrix, where)
    made = AnnData(
        matrix[rows],
        obs=pd.DataFrame(index=[str(row) for row in rows]),
        var=pd.DataFrame(index=pd.Index([vocabulary[names[c]] for c in columns], dtype=str)),
    )
    return made, rows


def with_empty_cells(embedding: Any, rows: IntArray, n_cells: int, *, where: str) -> FloatArray:
    """Return an embedding of all cells, those without a known gene at zero.

    Parameters
    ----------
    embedding
        Array of shape (n_rows, d), from a package.
    rows
        The row of each in the result.
    n_cells
        Number of cells.
    where
        Begins messages.

    Returns
    -------
    Float32 array of shape (n_cells, d).

    Raises
    ------
    UsageError
        If values are NaN or infinite: the weights of the checkpoint are, then.
    """
    embedding = np.asarray(embedding, dtype=np.float32)
    n_bad = int((~np.isfinite(embedding).all(axis=1)).sum())
    if n_bad:
        msg = f"{where}: NaN or infinite embeddings for {n_bad} of {len(embedding)} cells; "
        msg += "check the checkpoint"
        raise UsageError(msg)
    whole = np.zeros((n_cells, embedding.shape[1]), dtype=np.float32)
    whole[rows] = embedding
    return whole


def _expressing(matrix: Any, where: str) -> IntArray:
    """Return the rows with a count, and tell how many have none."""
    rows = np.flatnonzero(np.diff(matrix.indptr))
    n_cells = matrix.shape[0]
    n_empty = n_cells - len(rows)
    if not len(rows):
        msg = f"{where}: none of the {n_cells} cells has a count in a gene that the model knows"
        raise UsageError(msg)
    if n_empty:
        message = f"{where}: {n_empty} of {n_cells} cells have no count in a gene that the model "
        message += "knows; their embedding is zeros"
        warnings.warn(message, stacklevel=4)
    return rows


def _gene_names(adata: AnnData, gene_key: str | None, where: str) -> list[str]:
    if gene_key is None:
        return [str(name) for name in adata.var_names]
    if gene_key not in adata.var.columns:
        msg = f"{where}: gene_key={gene_key!r}: no such column in var"
        raise UsageError(msg + hint(gene_key, map(str, adata.var.columns)))
    return [str(name) for name in adata.var[gene_key]]


def _known_columns(
    names: list[str], vocabulary: Mapping[str, str], *, where: str, min_genes: int
) -> IntArray:
    """Return the columns of known genes in the order of the vocabulary."""
    place = {name: i for i, name in enumerate(vocabulary)}
    columns = [column for column, name in enumerate(names) if name in place]
    columns.sort(key=lambda column: place[names[column]])
    n_model = len(set(vocabulary.values()))
    known = f"{len(columns)} of {len(names)} genes are among the {n_model} that the model knows"
    if len(columns) < min_genes:
        theirs, ours = listed(list(vocabulary)[:_EXAMPLES]), listed(names[:_EXAMPLES])
        msg = (
            f"{where}: {known}, expected at least {min_genes}; its names are like {theirs}, those "
            f"of the data like {ours}: name the column of var by gene_key, or lower min_genes"
        )
        raise UsageError(msg)
    genes = Counter(vocabulary[names[column]] for column in columns)
    repeated = [gene for gene, times in genes.items() if times > 1]
    if repeated:
        msg = f"{where}: {len(repeated)} genes of the model stand in more than one column "
        msg += f"({listed(repeated[:_EXAMPLES])}); add them up or leave one out"
        raise UsageError(msg)
    if len(columns) < len(names):
        warnings.warn(f"{where}: {known}; it never sees the others", stacklevel=4)
    return np.asarray(columns, dtype=np.int64)


def _counts(adata: AnnData, where: str) -> Any:
    from scipy import sparse

    layer = "layers['counts']" if "counts" in adata.layers else "X"
    counts = adata.layers.get("counts", adata.X)
    if counts is None:
        msg = f"{where}: needs raw counts; store them in layers['counts']"
        raise UsageError(msg)
    stored = counts.data if sparse.issparse(counts) else np.asarray(counts)
    whole = layer != "X" or bool((stored == np.rint(stored)).all())
    if not np.isfinite(stored).all() or (stored < 0).any() or not whole:
        msg = f"{where}: {layer} does not hold raw counts; store them in layers['counts']"
        raise UsageError(msg)
    return counts
