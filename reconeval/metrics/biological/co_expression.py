"""Whether genes that work together vary together in the prediction as they do in the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics._checks import check_pair
from reconeval.metrics._threads import in_threads
from reconeval.metrics.biological._genes import (
    MIN_CELLS,
    MIN_GENES,
    columns_of_sets,
    expressed,
    gene_columns,
)
from reconeval.metrics.biological.association import check_method
from reconeval.metrics.biological.ranks import for_gene_blocks, sorted_ranks
from reconeval.metrics.device import matmul

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconeval._typing import FloatArray, IntArray
    from reconeval.metrics.biological.association import Method

__all__ = ["coexpression", "mean_agreement", "set_agreement", "set_correlations"]


def coexpression(
    X: FloatArray,
    Y: FloatArray,
    genes: Sequence[str],
    gene_sets: Mapping[str, Iterable[str]],
    *,
    method: Method = "spearman",
    min_cells: int = MIN_CELLS,
    min_genes: int = MIN_GENES,
) -> float:
    """Agreement of gene-gene correlations within gene sets.

    For two genes it is `1 - |r_X - r_Y| / 2`: 1 where the correlation over cells is the same, 0
    where it turns from 1 to -1. Averaged over the pairs of a set, then over sets. Pairs with a
    gene that is constant on either side have no correlation and are left out.

    Most genes of single cells correlate weakly, so that values crowd near 1: predictions
    without any correlation score `1 - mean |r_X| / 2`.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth, log1p of counts per 10 000.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction; on any scale for Spearman.
    genes
        The n_genes gene names, unique.
    gene_sets
        Gene names by the name of their set.
    method
        Spearman or Pearson correlation over cells.
    min_cells
        Genes that fewer cells of the truth express are left out.
    min_genes
        Sets with fewer genes left are left out.

    Returns
    -------
    In [0, 1], higher is better.

    Raises
    ------
    Undefined
        If no set has enough genes, a side has fewer than 3 cells, or no pair has a correlation.
    UsageError
        If shapes or names do not fit, or a value is not finite.

    References
    ----------
    doi:10.64898/2026.06.15.731445, where genes of the unfiltered matrix are picked by their
    positions in the filtered list; here they are picked by name.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    >>> sets, options = {"S": ["A", "B"]}, {"min_cells": 3, "min_genes": 2}
    >>> coexpression(X, X * 2, ["A", "B"], sets, **options)
    1.0
    >>> round(coexpression(X, X * [1.0, -1.0], ["A", "B"], sets, **options), 6)
    0.0
    >>> coexpression(X, np.ones((3, 2)), ["A", "B"], sets, **options)
    Traceback (most recent call last):
    reconeval.errors.Undefined: no two genes of any of 1 gene sets vary over the cells on both sides
    """
    X, Y = check_pair(X, Y)
    check_method(method)
    sets = columns_of_sets(
        gene_sets,
        gene_columns(genes, X.shape[1]),
        keep=expressed(X, min_cells=min_cells),
        min_genes=min_genes,
    )
    truth = set_correlations(X, sets, method=method)
    return mean_agreement(truth, set_correlations(Y, sets, method=method))


def set_correlations(
    X: FloatArray,
    sets: Mapping[str, IntArray],
    *,
    method: Method = "spearman",
    device: str | None = None,
) -> dict[str, FloatArray]:
    """Correlate all pairs of genes within each set.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes).
    sets
        Column numbers by the name of the set.
    method
        Spearman or Pearson correlation over cells.
    device
        Where the matrices are multiplied, as for `reconeval.metrics.device.on_torch`; default
        NumPy.

    Returns
    -------
    For each set an array of shape (n_pairs,): the upper triangle, row by row, float32, NaN
    where a gene is constant.

    Raises
    ------
    Undefined
        If there are fewer than 3 cells.
    """
    if len(X) < 3:
        msg = f"correlations over cells need 3 cells, there are {len(X)}"
        raise Undefined(msg)
    union = np.unique(np.concatenate(list(sets.values())))
    # A gene that sits in several sets is ranked once. Rows of unit length turn each set's
    # correlations into one matrix product.
    unit = np.empty((len(union), len(X)), dtype=np.float32)
    constant = np.empty(len(union), dtype=np.bool_)

    position = np.arange(len(X))

    def standardise(place: slice, block: FloatArray) -> None:
        if method == "spearman":
            order, rows = sorted_ranks(block, position)
        else:
            order, rows = None, block.astype(np.float64)
        constant[place] = np.ptp(rows, axis=1) == 0
        rows -= rows.mean(axis=1, keepdims=True)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        norms[constant[place]] = 1
        rows /= norms[:, None]
        if order is None:
            unit[place] = rows
        else:
            np.put_along_axis(unit[place], order, rows, axis=1)

    for_gene_blocks(standardise, X, columns=union)

    def correlate(columns: IntArray) -> FloatArray:
        members = np.searchsorted(union, columns)
        rows = unit[members]
        matrix: FloatArray = np.clip(
            matmul(rows, rows.T, device=device), -1, 1
        )  # rounding can put a perfect one beyond
        matrix[constant[members]] = np.nan
        matrix[:, constant[members]] = np.nan
        return matrix[np.triu_indices(len(members), k=1)]

    return dict(zip(sets, in_threads(correlate, sets.values()), strict=True))


def set_agreement(
    truth: Mapping[str, FloatArray], prediction: Mapping[str, FloatArray]
) -> dict[str, float]:
    """Compare the correlations of each set.

    Parameters
    ----------
    truth, prediction
        Of `set_correlations`, with the same sets.

    Returns
    -------
    Agreement by the name of the set, in [0, 1], higher is better; sets without a pair that has
    a correlation on both sides are left out.
    """
    agreement = {}
    for name, correlations in truth.items():
        distance = np.abs(correlations - prediction[name])
        both = distance[~np.isnan(distance)]
        if both.size:
            agreement[name] = 1 - float(both.mean(dtype=np.float64)) / 2
    return agreement


def mean_agreement(truth: Mapping[str, FloatArray], prediction: Mapping[str, FloatArray]) -> float:
    """Average `set_agreement` over sets; raises `Undefined` where no set has a value."""
    agreement = set_agreement(truth, prediction)
    if not agreement:
        msg = f"no two genes of any of {len(truth)} gene sets vary over the cells on both sides"
        raise Undefined(msg)
    return float(np.mean(list(agreement.values())))
