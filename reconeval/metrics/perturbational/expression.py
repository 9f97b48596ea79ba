"""Differential expression of perturbed against control cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.metrics._checks import as_matrix, check_pair
from reconeval.metrics.perturbational.recovery import DETable
from reconeval.metrics.perturbational.shifts import mean_profile

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = ["de_table"]

PSEUDOCOUNT = 1e-9
GENES_PER_BLOCK = 256  # bounds the ranks held at once


def de_table(cells: FloatArray, controls: FloatArray) -> DETable:
    """Test each gene by the Wilcoxon rank sum, as scanpy does by default.

    The normal approximation without correction for ties or continuity, two-sided;
    Benjamini-Hochberg over genes. The fold change is that of the means on the scale of counts
    per 10 000: log2((expm1(mean of cells) + 1e-9) / (expm1(mean of controls) + 1e-9)), a mean
    below 0 taken as 0, since linear decoders go there.

    Parameters
    ----------
    cells
        Array of shape (n_cells, n_genes). Perturbed cells, measured or predicted, log1p of
        counts per 10 000.
    controls
        Array of shape (n_control_cells, n_genes). Measured control cells, same scale.

    Returns
    -------
    Statistic (above 0 where the perturbed cells express more), adjusted p value and log2 fold
    change of each gene.

    Raises
    ------
    UsageError
        If the genes differ or a value is not finite.

    References
    ----------
    doi:10.1186/s13059-017-1382-0
    """
    from scipy.stats import false_discovery_control, norm, rankdata

    cells, controls = check_pair(as_matrix(controls, "the controls"), cells)[::-1]
    n, m = len(cells), len(controls)
    rank_sums = [
        rankdata(np.concatenate([cells[:, start:stop], controls[:, start:stop]]), axis=0)[:n].sum(
            axis=0
        )
        for start in range(0, cells.shape[1], GENES_PER_BLOCK)
        for stop in [start + GENES_PER_BLOCK]
    ]
    expected, variance = n * (n + m + 1) / 2, n * m * (n + m + 1) / 12
    statistic = (np.concatenate(rank_sums) - expected) / np.sqrt(variance)
    adjusted = false_discovery_control(2 * norm.sf(np.abs(statistic)))
    fold = np.log2(_expression(cells) / _expression(controls))
    return DETable(statistic, adjusted, fold)


def _expression(cells: FloatArray) -> FloatArray:
    """Mean expression in counts per 10 000, above 0."""
    return np.asarray(np.expm1(mean_profile(cells)).clip(0) + PSEUDOCOUNT)
