"""Wilcoxon's rank-sum test of every gene, each gene ranked once for all groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.metrics.biological.ranks import for_gene_blocks, sorted_ranks

if TYPE_CHECKING:
    from reconeval._typing import BoolArray, FloatArray

__all__ = ["benjamini_hochberg", "rank_sum_z"]


def rank_sum_z(groups: BoolArray, *parts: FloatArray) -> FloatArray:
    """Test each gene of each group of cells against all other cells.

    Parameters
    ----------
    groups
        Array of shape (n_groups, n_cells): the cells of each group, some but not all, and none
        in two groups.
    parts
        Arrays of shape (n_cells_of_part, n_genes), which together are the n_cells cells.

    Returns
    -------
    Array of shape (n_groups, n_genes), float64: the standardised rank sum, above 0 where the
    group expresses more. Ties get average ranks; as in scanpy's default there is no correction
    of the variance for ties and none for continuity.

    References
    ----------
    doi:10.2307/3001968; `scanpy.tl.rank_genes_groups(method="wilcoxon")`.
    """
    n_groups, n_cells = groups.shape
    # Cells of no group have label 0.
    labels = (np.arange(1, n_groups + 1) @ groups).astype(np.int64)
    sums = np.empty((n_groups, parts[0].shape[1]))

    def add_ranks(place: slice, block: FloatArray) -> None:
        found, ranks = sorted_ranks(block, labels)
        for label, total in enumerate(sums, start=1):
            total[place] = np.einsum("ij,ij->i", found == label, ranks)

    for_gene_blocks(add_ranks, *parts)
    inside = groups.sum(axis=1)[:, None].astype(np.float64)
    expected = inside * (n_cells + 1) / 2
    variance = inside * (n_cells - inside) * (n_cells + 1) / 12
    return np.asarray((sums - expected) / np.sqrt(variance))


def benjamini_hochberg(z: FloatArray) -> FloatArray:
    """Turn normal statistics into two-sided p values, adjusted over the genes of each group.

    Parameters
    ----------
    z
        Array of shape (n_groups, n_genes).

    Returns
    -------
    Array of the same shape, in [0, 1].

    References
    ----------
    doi:10.1111/j.2517-6161.1995.tb02031.x
    """
    from scipy.special import ndtr
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(2 * ndtr(-np.abs(z)), axis=1))
