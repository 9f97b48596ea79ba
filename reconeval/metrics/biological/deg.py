"""Whether the genes that differ between groups of cells differ in the prediction, too.

With a reference the cells are one group, tested against it. Without, each cell type is a group
that is tested against the other cells (marker recovery), and values are averaged over types.
Each side is tested against its own reference or rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics.biological.association import check_method, column_correlations
from reconeval.metrics.biological.contrast import contrast_pair

if TYPE_CHECKING:
    from reconeval._typing import FloatArray, IntArray, StrArray
    from reconeval.metrics.biological.association import Method
    from reconeval.metrics.biological.contrast import Contrast

__all__ = [
    "FDR",
    "TOP_K",
    "deg_dice_at_k",
    "deg_logfc_correlation",
    "dice",
    "shift_correlation",
    "top_genes",
    "top_genes_of_groups",
]

FDR = 0.05
TOP_K = 100


def deg_dice_at_k(
    X: FloatArray,
    Y: FloatArray,
    *,
    reference: FloatArray | None = None,
    predicted_reference: FloatArray | None = None,
    cell_types: StrArray | None = None,
    k: int = TOP_K,
    fdr: float = FDR,
    min_cells: int = 0,
) -> float:
    """Overlap of the top differentially expressed genes of truth and prediction.

    The top genes of a side are the k largest in `|log2 fold change|` among those with an adjusted
    p value of at most `fdr`, or among all where no gene is that significant. Wilcoxon's rank-sum
    test without correction for ties or continuity, Benjamini-Hochberg.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth, log1p of counts per 10 000.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction, same scale; of the same cells
        where `cell_types` are given.
    reference
        Array of shape (n_reference_cells, n_genes). Measured control cells.
    predicted_reference
        Array of shape (n_predicted_reference_cells, n_genes). The model's output for them;
        default `reference`.
    cell_types
        Array of shape (n_cells,) of labels, in place of a reference: the markers of each type
        with at least 20 cells against all other cells, averaged over types.
    k
        Number of top genes.
    fdr
        Highest adjusted p value that counts as significant.
    min_cells
        Genes that fewer cells of the truth express are left out; default none. Fold changes of
        genes that hardly any cell expresses are mostly pseudocount.

    Returns
    -------
    Dice coefficient, in [0, 1], higher is better.

    Raises
    ------
    Undefined
        If no gene changes in the truth, no gene is left, or no cell type has enough cells.
    UsageError
        If both or neither of `reference` and `cell_types` are given, `k` is below 1, shapes do
        not fit, or a value is not finite.

    References
    ----------
    doi:10.64898/2026.06.15.731445. There a gene whose mean is predicted below 0 has no fold
    change; here its expression counts as 0.
    """
    truth, prediction = contrast_pair(
        X,
        Y,
        reference=reference,
        predicted_reference=predicted_reference,
        cell_types=cell_types,
        min_cells=min_cells,
    )
    return dice(top_genes_of_groups(truth, fdr=fdr), top_genes_of_groups(prediction, fdr=fdr), k=k)


def deg_logfc_correlation(
    X: FloatArray,
    Y: FloatArray,
    *,
    method: Method = "spearman",
    reference: FloatArray | None = None,
    predicted_reference: FloatArray | None = None,
    cell_types: StrArray | None = None,
    min_cells: int = 0,
) -> float:
    """Correlation over genes of the mean difference to the reference, truth against prediction.

    The difference of means of log1p values is a log fold change in all but name; it has a value
    for every prediction and needs no pseudocount.

    Parameters
    ----------
    X, Y, reference, predicted_reference, cell_types, min_cells
        As for `deg_dice_at_k`.
    method
        Spearman or Pearson.

    Returns
    -------
    In [-1, 1], higher is better; a group without any predicted difference counts 0.

    Raises
    ------
    Undefined
        If the genes of the truth all differ by the same amount, no gene is left, or no cell type
        has enough cells.
    UsageError
        If both or neither of `reference` and `cell_types` are given, shapes do not fit, or a
        value is not finite.

    References
    ----------
    doi:10.64898/2026.06.15.731445
    """
    check_method(method)
    truth, prediction = contrast_pair(
        X,
        Y,
        reference=reference,
        predicted_reference=predicted_reference,
        cell_types=cell_types,
        min_cells=min_cells,
    )
    return shift_correlation(truth.shifts(), prediction.shifts(), method=method)


def top_genes_of_groups(contrast: Contrast, *, fdr: float = FDR) -> list[IntArray]:
    """Return `top_genes` of each group of a contrast."""
    tables = zip(contrast.log2_fold_changes(), contrast.p_adjusted(), strict=True)
    return [top_genes(changes, p, fdr=fdr) for changes, p in tables]


def top_genes(log2_fold_changes: FloatArray, p_adjusted: FloatArray, *, fdr: float) -> IntArray:
    """Order the significant genes by the size of their fold change.

    Parameters
    ----------
    log2_fold_changes, p_adjusted
        Arrays of shape (n_genes,).
    fdr
        Highest adjusted p value that counts as significant. If no gene is, all are taken.

    Returns
    -------
    Gene numbers, the largest change first, equal changes in the order of the genes. Genes that
    do not change at all are left out.

    Examples
    --------
    >>> import numpy as np
    >>> changes, p = np.array([1.0, -3.0, 0.0, 2.0]), np.array([0.01, 0.04, 0.01, 0.2])
    >>> top_genes(changes, p, fdr=0.05).tolist()
    [1, 0]
    >>> top_genes(changes, p, fdr=0.001).tolist()
    [1, 3, 0]
    """
    significant = p_adjusted <= fdr
    candidates = np.flatnonzero((significant | ~significant.any()) & (log2_fold_changes != 0))
    order = np.argsort(-np.abs(log2_fold_changes[candidates]), kind="stable")
    return candidates[order]


def dice(truth: list[IntArray], prediction: list[IntArray], *, k: int = TOP_K) -> float:
    """Overlap of the first k genes of both sides, averaged over groups.

    Parameters
    ----------
    truth, prediction
        Gene numbers of each group, the best first.
    k
        Number of genes; a shorter list is taken whole.

    Returns
    -------
    2 |A ∩ B| / (|A| + |B|), in [0, 1], higher is better.

    Raises
    ------
    Undefined
        If no gene changes in the truth of any group.
    UsageError
        If `k` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> dice([np.array([3, 1, 4, 7])], [np.array([1, 5, 9])], k=2)
    0.5
    """
    if k < 1:
        msg = f"k={k}, expected a number of top genes from 1 up"
        raise UsageError(msg)
    values = [
        2 * len(np.intersect1d(a[:k], b[:k])) / (len(a[:k]) + len(b[:k]))
        for a, b in zip(truth, prediction, strict=True)
        if len(a)
    ]
    if not values:
        msg = "no gene differs between the cells of the truth and their reference"
        raise Undefined(msg)
    return float(np.mean(values))


def shift_correlation(truth: FloatArray, prediction: FloatArray, *, method: Method) -> float:
    """Correlate mean differences over genes and average over groups.

    Parameters
    ----------
    truth, prediction
        Arrays of shape (n_groups, n_genes), of `Contrast.shifts`.
    method
        Spearman or Pearson.

    Returns
    -------
    In [-1, 1], higher is better; a group without any predicted difference counts 0.

    Raises
    ------
    Undefined
        If the genes of the truth all differ by the same amount, in every group.
    """
    values = column_correlations(truth.T, prediction.T, method=method)
    if np.isnan(values).all():
        msg = "the genes of the truth do not differ in how they differ from the reference"
        raise Undefined(msg)
    return float(np.nanmean(values))
