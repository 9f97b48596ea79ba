"""How well a prediction recovers the genes that a perturbation significantly changes.

Each side is tested against its own half of the real controls. Which genes count and how many are
looked at depends on the truth alone: a prediction without spread finds nearly every gene
significant, and must not gain a longer list by it. Genes are ordered by the size of the test's
statistic; fold changes of genes near 0 are mostly pseudocount.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics.biological.deg import FDR, TOP_K

if TYPE_CHECKING:
    from reconeval._typing import BoolArray, FloatArray

__all__ = [
    "DETable",
    "de_direction_match",
    "de_lfc_spearman",
    "de_overlap_at_k",
    "de_pr_auc",
    "de_precision_at_k",
    "n_significant",
]


@dataclass(frozen=True, slots=True, eq=False)
class DETable:
    """Differential expression of perturbed against control cells.

    Attributes
    ----------
    statistic
        Array of shape (n_genes,): above 0 where the perturbed cells express more.
    p_adjusted
        Array of shape (n_genes,): false discovery rate.
    log2_fold_change
        Array of shape (n_genes,).
    """

    statistic: FloatArray
    p_adjusted: FloatArray
    log2_fold_change: FloatArray


def n_significant(table: DETable, *, fdr: float = FDR) -> int:
    """Count the significant genes of a table.

    Beside the metrics here, this tells a prediction that found the genes from one that calls
    all or none.

    Parameters
    ----------
    table
        Differential expression of one side.
    fdr
        Highest adjusted p value that counts as significant.

    Returns
    -------
    Number of genes.
    """
    return int(np.count_nonzero(table.p_adjusted <= fdr))


def de_overlap_at_k(
    truth: DETable, prediction: DETable, *, k: int = TOP_K, fdr: float = FDR
) -> float:
    """Share of the top genes of the truth among as many top genes of the prediction.

    Parameters
    ----------
    truth, prediction
        Differential expression of either side, same genes.
    k
        Number of genes, fewer where the truth has fewer significant ones. Genes that tie for the
        last places share them evenly.
    fdr
        Highest adjusted p value of the truth that counts as significant.

    Returns
    -------
    In [0, 1], higher is better; chance is the share that the top genes have of all.

    Raises
    ------
    Undefined
        If no gene is significant in the truth.
    UsageError
        If `k` is below 1 or the tables have different numbers of genes.

    References
    ----------
    doi:10.1016/j.cell.2025.06.008. There the list is also cut to the genes that are significant
    in the prediction.
    """
    places = _places(truth, prediction, k, fdr)
    overlap = _top(truth.statistic, places) @ _top(prediction.statistic, places)
    return float(overlap / places)


def de_precision_at_k(
    truth: DETable, prediction: DETable, *, k: int = TOP_K, fdr: float = FDR
) -> float:
    """Share of significant genes of the truth among the top genes of the prediction.

    Parameters
    ----------
    truth, prediction
        Differential expression of either side, same genes.
    k
        Number of genes, fewer where the truth has fewer significant ones, so that all of them
        can be reached. Genes that tie for the last places share them evenly.
    fdr
        Highest adjusted p value of the truth that counts as significant.

    Returns
    -------
    In [0, 1], higher is better; chance is the share of significant genes in the truth.

    Raises
    ------
    Undefined
        If no gene is significant in the truth.
    UsageError
        If `k` is below 1 or the tables have different numbers of genes.

    References
    ----------
    doi:10.1016/j.cell.2025.06.008. There over the genes that are significant in the prediction.
    """
    places = _places(truth, prediction, k, fdr)
    found = (truth.p_adjusted <= fdr) @ _top(prediction.statistic, places)
    return float(found / places)


def de_direction_match(truth: DETable, prediction: DETable, *, fdr: float = FDR) -> float:
    """Share of the significant genes of the truth that are predicted to change the same way.

    Parameters
    ----------
    truth, prediction
        Differential expression of either side, same genes.
    fdr
        Highest adjusted p value of the truth that counts as significant.

    Returns
    -------
    In [0, 1], higher is better, chance 0.5: a gene that is predicted not to change counts a half.

    Raises
    ------
    Undefined
        If no gene is significant in the truth.
    UsageError
        If the tables have different numbers of genes.

    References
    ----------
    doi:10.1016/j.cell.2025.06.008
    """
    genes = _significant(truth, prediction, fdr)
    signs = np.sign(truth.log2_fold_change[genes]) * np.sign(prediction.log2_fold_change[genes])
    return float((1 + signs.mean()) / 2)


def de_lfc_spearman(truth: DETable, prediction: DETable, *, fdr: float = FDR) -> float:
    """Spearman correlation of the fold changes over the significant genes of the truth.

    Parameters
    ----------
    truth, prediction
        Differential expression of either side, same genes.
    fdr
        Highest adjusted p value of the truth that counts as significant.

    Returns
    -------
    In [-1, 1], higher is better; 0 where all predicted fold changes are equal.

    Raises
    ------
    Undefined
        If fewer than 3 genes are significant in the truth, or their fold changes are all equal.
    UsageError
        If the tables have different numbers of genes.

    References
    ----------
    doi:10.1016/j.cell.2025.06.008
    """
    from scipy.stats import spearmanr

    genes = _significant(truth, prediction, fdr)
    true, predicted = truth.log2_fold_change[genes], prediction.log2_fold_change[genes]
    if len(true) < 3 or np.ptp(true) == 0:
        msg = f"needs 3 significant genes of different fold changes in the truth, got {len(true)}"
        raise Undefined(msg)
    return 0.0 if np.ptp(predicted) == 0 else float(spearmanr(true, predicted).statistic)


def de_pr_auc(truth: DETable, prediction: DETable, *, fdr: float = FDR) -> float:
    """Average precision of the predicted statistic in finding the significant genes of the truth.

    Parameters
    ----------
    truth, prediction
        Differential expression of either side, same genes.
    fdr
        Highest adjusted p value of the truth that counts as significant.

    Returns
    -------
    In (0, 1], higher is better; chance is the share of significant genes in the truth.

    Raises
    ------
    Undefined
        If no gene, or every gene, is significant in the truth.
    UsageError
        If the tables have different numbers of genes.

    References
    ----------
    doi:10.1145/1143844.1143874
    """
    from sklearn.metrics import average_precision_score

    genes = _significant(truth, prediction, fdr)
    if genes.all():
        msg = f"all {len(genes)} genes are significant in the truth, so none could be missed"
        raise Undefined(msg)
    return float(average_precision_score(genes, np.abs(prediction.statistic)))


def _significant(truth: DETable, prediction: DETable, fdr: float) -> BoolArray:
    """Mask of the significant genes of the truth, at least one."""
    n_true, n_predicted = len(truth.statistic), len(prediction.statistic)
    if n_true != n_predicted:
        msg = f"the prediction's table has {n_predicted} genes, expected the truth's {n_true}"
        raise UsageError(msg)
    genes = truth.p_adjusted <= fdr
    if not genes.any():
        msg = f"no gene is significant in the truth (adjusted p <= {fdr:g})"
        raise Undefined(msg)
    return np.asarray(genes)


def _places(truth: DETable, prediction: DETable, k: int, fdr: float) -> int:
    """Length of the lists of top genes."""
    if k < 1:
        msg = f"k is {k}, expected at least 1 gene"
        raise UsageError(msg)
    return min(k, int(_significant(truth, prediction, fdr).sum()))


def _top(statistic: FloatArray, places: int) -> FloatArray:
    """Membership of each gene in the top genes: 1, 0, or between for ties at the end."""
    size = np.abs(statistic)
    last = np.partition(size, -places)[-places]
    inside, tied = size > last, size == last
    return np.asarray(inside + tied * (places - inside.sum()) / tied.sum())
