"""Differential expression of perturbed against control cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconeval.metrics._checks import as_matrix, check_pair
from reconeval.metrics.biological.contrast import contrast_reference
from reconeval.metrics.biological.wilcoxon import benjamini_hochberg, rank_sum_z
from reconeval.metrics.perturbational.recovery import DETable

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = ["de_table"]


def de_table(cells: FloatArray, controls: FloatArray) -> DETable:
    """Test each gene by the Wilcoxon rank sum, as scanpy does by default.

    The normal approximation without correction for ties or continuity, two-sided;
    Benjamini-Hochberg over genes. Fold changes are those of `deg_dice_at_k`: of the means on the
    scale of counts per 10 000, a mean below 0 taken as 0, since linear decoders go there.

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
    doi:10.2307/3001968
    """
    controls, cells = check_pair(as_matrix(controls, "the controls"), cells)
    contrast = contrast_reference(cells, controls)
    statistic = rank_sum_z(contrast.groups, *contrast.parts)
    return DETable(statistic[0], benjamini_hochberg(statistic)[0], contrast.log2_fold_changes()[0])
