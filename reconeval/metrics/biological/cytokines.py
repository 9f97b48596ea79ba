"""Whether signatures of the response to cytokines keep their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics._checks import check_pair
from reconeval.metrics.biological._genes import MIN_GENES, columns_of_sets, gene_columns
from reconeval.metrics.biological.association import check_method, column_correlations
from reconeval.metrics.biological.scores import CTRL_SIZE, N_BINS, draw_controls, gene_means

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconeval._typing import FloatArray, IntArray
    from reconeval.metrics.biological.association import Method
    from reconeval.metrics.biological.scores import SetMasks

__all__ = ["cytokine", "score_correlation", "signature_masks", "signature_scores"]


def cytokine(
    X: FloatArray,
    Y: FloatArray,
    genes: Sequence[str],
    signatures: Mapping[str, Iterable[str]],
    *,
    method: Method = "spearman",
    min_genes: int = MIN_GENES,
    ctrl_size: int = CTRL_SIZE,
    n_bins: int = N_BINS,
    seed: int = 0,
) -> float:
    """Correlation over signatures of their mean scores in truth and prediction.

    Each side draws its control genes from bins of its own gene means, as scanpy does when it is
    called on either. All genes take part, also those that few cells express.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth, log1p of counts per 10 000.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction, same scale.
    genes
        The n_genes gene names, unique.
    signatures
        Gene names by the name of their signature.
    method
        Spearman or Pearson.
    min_genes
        Signatures with fewer genes in the data are left out.
    ctrl_size, n_bins, seed
        How control genes are drawn, as in `scanpy.tl.score_genes`.

    Returns
    -------
    In [-1, 1], higher is better.

    Raises
    ------
    Undefined
        If fewer than 3 signatures have enough genes, their scores are all equal in the truth, or
        there are too few genes to draw controls from.
    UsageError
        If shapes or names do not fit, or a value is not finite.

    References
    ----------
    doi:10.64898/2026.06.15.731445; scores as in doi:10.1038/nbt.3192.
    """
    X, Y = check_pair(X, Y)
    check_method(method)
    columns = gene_columns(genes, X.shape[1])
    sets = list(columns_of_sets(signatures, columns, min_genes=min_genes).values())
    true, predicted = (
        signature_scores(side, sets, ctrl_size=ctrl_size, n_bins=n_bins, seed=seed)
        for side in (X, Y)
    )
    return score_correlation(true, predicted, method=method)


def signature_scores(
    X: FloatArray,
    sets: Sequence[IntArray],
    *,
    ctrl_size: int = CTRL_SIZE,
    n_bins: int = N_BINS,
    seed: int = 0,
) -> FloatArray:
    """Average the score of each signature over cells.

    A score is linear in the cell, so the mean score is the score of the mean cell.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes), log1p of counts per 10 000.
    sets
        Columns of each signature's genes.
    ctrl_size, n_bins, seed
        How control genes are drawn, as in `scanpy.tl.score_genes`.

    Returns
    -------
    Array of shape (n_signatures,).

    Raises
    ------
    Undefined
        If there are too few genes to draw controls from.
    """
    masks = signature_masks(X, sets, ctrl_size=ctrl_size, n_bins=n_bins, seed=seed)
    return np.asarray(masks.score(gene_means(X)[None])[0])


def signature_masks(
    X: FloatArray,
    sets: Sequence[IntArray],
    *,
    ctrl_size: int = CTRL_SIZE,
    n_bins: int = N_BINS,
    seed: int = 0,
) -> SetMasks:
    """Draw the control genes of each signature, from bins of these cells' gene means.

    Parameters
    ----------
    X, sets, ctrl_size, n_bins, seed
        As for `signature_scores`.

    Returns
    -------
    The genes and the controls of each signature.

    Raises
    ------
    Undefined
        If there are too few genes to draw controls from.
    """
    return draw_controls(gene_means(X), sets, ctrl_size=ctrl_size, n_bins=n_bins, seed=seed)


def score_correlation(
    truth: FloatArray, prediction: FloatArray, *, method: Method = "spearman"
) -> float:
    """Correlate two vectors of mean scores.

    Parameters
    ----------
    truth, prediction
        Arrays of shape (n_signatures,).
    method
        Spearman or Pearson.

    Returns
    -------
    In [-1, 1], higher is better; 0 where all predicted scores are equal.

    Raises
    ------
    Undefined
        If there are fewer than 3 signatures or their true scores are all equal.

    Examples
    --------
    >>> import numpy as np
    >>> round(score_correlation(np.array([0.1, 0.4, 0.2]), np.array([1.0, 9.0, 2.0])), 6)
    1.0
    >>> score_correlation(np.array([0.1, 0.4, 0.2]), np.ones(3))
    0.0
    """
    value = float(column_correlations(truth[:, None], prediction[:, None], method=method)[0])
    if np.isnan(value):
        msg = f"a correlation needs 3 signatures that differ in the truth, there are {len(truth)}"
        raise Undefined(msg)
    return value
