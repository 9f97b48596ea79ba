"""Whether the activity of signalling pathways orders the cells as in the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import check_pair
from reconeval.metrics.biological._genes import MIN_CELLS, MIN_GENES, expressed, gene_columns
from reconeval.metrics.biological.association import check_method, column_correlations
from reconeval.metrics.device import matmul

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from reconeval._typing import BoolArray, FloatArray
    from reconeval.metrics.biological.association import Method

__all__ = ["mean_correlation", "network_weights", "pathway", "ulm_scores"]

_CELLS_PER_BLOCK = 1024
_TINY = 2.2e-16  # decoupler's guard against a perfect fit


def pathway(
    X: FloatArray,
    Y: FloatArray,
    genes: Sequence[str],
    network: pd.DataFrame,
    *,
    method: Method = "spearman",
    min_cells: int = MIN_CELLS,
    min_genes: int = MIN_GENES,
) -> float:
    """Correlation over cells of pathway activities, averaged over pathways.

    The activity is the t statistic of the slope of a linear regression of the cell's expression
    on the pathway's weights, over all genes that enough cells of the truth express.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth, log1p of counts per 10 000.
    Y
        Array of shape (n_cells, n_genes). Prediction of the same cells, same scale.
    genes
        The n_genes gene names, unique.
    network
        Table with columns source (the pathway), target (the gene) and weight.
    method
        Spearman or Pearson.
    min_cells
        Genes that fewer cells of the truth express are left out, on both sides.
    min_genes
        Pathways with fewer target genes left are left out.

    Returns
    -------
    In [-1, 1], higher is better. A pathway whose activity is the same in all predicted cells
    counts 0.

    Raises
    ------
    Undefined
        If no pathway has enough genes, or none varies over the cells of the truth.
    UsageError
        If shapes, names or the table do not fit, or a value is not finite.

    References
    ----------
    doi:10.1038/s41467-017-02391-6 (PROGENy), doi:10.1093/bioadv/vbac016 (univariate linear
    model).
    """
    X, Y = check_pair(X, Y, paired=True)
    check_method(method)
    keep = expressed(X, min_cells=min_cells)
    weights = network_weights(network, genes, keep, min_genes=min_genes)
    return mean_correlation(
        ulm_scores(X, weights, keep), ulm_scores(Y, weights, keep), method=method
    )


def network_weights(
    network: pd.DataFrame, genes: Sequence[str], keep: BoolArray, *, min_genes: int = MIN_GENES
) -> FloatArray:
    """Lay a table of weights out over the genes that are kept.

    Parameters
    ----------
    network
        Table with columns source, target and weight, each pair once.
    genes
        The n_genes gene names, unique.
    keep
        Array of shape (n_genes,): which genes take part.
    min_genes
        Sources with fewer targets among them are left out.

    Returns
    -------
    Array of shape (n_kept_genes, n_sources): weights, 0 for genes that are no targets. Sources
    are in alphabetical order.

    Raises
    ------
    Undefined
        If no source has enough targets.
    UsageError
        If the table lacks a column, names a pair twice, or a weight is no finite number.
    """
    missing = {"source", "target", "weight"} - set(network.columns)
    if missing:
        msg = (
            f"the network has no column {', '.join(sorted(missing))}, expected source, target "
            "and weight; rename its columns"
        )
        raise UsageError(msg)
    _check_weights(network["weight"])
    if network.duplicated(["source", "target"]).any():
        twice = network[network.duplicated(["source", "target"])].iloc[0]
        msg = f"{twice.source} and {twice.target} occur twice in the network; keep one weight"
        raise UsageError(msg)
    columns = gene_columns(genes, len(keep))
    names = [gene for gene, column in columns.items() if keep[column]]
    known = network[network["target"].isin(names)]
    sizes = known["source"].value_counts()
    known = known[known["source"].map(sizes) >= min_genes]
    if known.empty:
        msg = (
            f"none of {network['source'].nunique()} pathways has {min_genes} genes among the "
            f"{len(names)} that count, the best has {sizes.max() if len(sizes) else 0}"
        )
        raise Undefined(msg)
    table = known.pivot_table(index="target", columns="source", values="weight")
    return table.reindex(names).fillna(0).to_numpy(dtype=np.float64)


def _check_weights(weights: pd.Series[float]) -> None:
    if weights.dtype.kind not in "iuf":
        msg = (
            f"the network's weights are of dtype {weights.dtype}, expected numbers; convert them "
            'by network["weight"].astype(float)'
        )
        raise UsageError(msg)
    n_bad = int((~np.isfinite(weights.to_numpy(dtype=np.float64))).sum())
    if n_bad:
        msg = (
            f"{n_bad} of the network's {len(weights)} weights are NaN or infinite, expected finite "
            "numbers; mend or drop these rows"
        )
        raise UsageError(msg)


def ulm_scores(
    X: FloatArray, weights: FloatArray, keep: BoolArray, *, device: str | None = None
) -> FloatArray:
    """Score each cell on each column of weights with a univariate linear model.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes).
    weights
        Array of shape (n_kept_genes, n_sources).
    keep
        Array of shape (n_genes,): the genes that `weights` is for.
    device
        Where the matrices are multiplied, as for `reconeval.metrics.device.on_torch`; default
        NumPy.

    Returns
    -------
    Array of shape (n_cells, n_sources), float64: t statistic of the slope; 0 for a cell in which
    all genes have the same value.

    Raises
    ------
    Undefined
        If there are fewer than 3 genes: the slope has no standard error.

    Examples
    --------
    >>> import numpy as np
    >>> X, weights = np.array([[1.0, 2.0, 2.0, 4.0]]), np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> ulm_scores(X, weights, np.full(4, True)).round(4)  # slope 0.9, standard error 0.2646
    array([[3.4017]])
    """
    n_genes = len(weights)
    if n_genes < 3:
        msg = f"a regression over genes needs 3 genes, there are {n_genes}"
        raise Undefined(msg)
    centred = weights - weights.mean(axis=0)
    norms = np.linalg.norm(centred, axis=0)
    unit = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0)
    r = np.zeros((len(X), weights.shape[1]))
    for start in range(0, len(X), _CELLS_PER_BLOCK):
        cells = slice(start, start + _CELLS_PER_BLOCK)
        rows = X[cells][:, keep].astype(np.float64)
        constant = np.ptp(rows, axis=1) == 0
        rows -= rows.mean(axis=1, keepdims=True)
        size = np.linalg.norm(rows, axis=1)
        size[constant] = np.inf
        r[cells] = matmul(rows, unit, device=device) / size[:, None]
    np.clip(r, -1, 1, out=r)  # rounding can put a perfect fit beyond
    degrees = n_genes - 2
    return np.asarray(r * np.sqrt(degrees / ((1 - r + _TINY) * (1 + r + _TINY))))


def mean_correlation(
    truth: FloatArray, prediction: FloatArray, *, method: Method = "spearman"
) -> float:
    """Correlate activities over cells and average over pathways.

    Parameters
    ----------
    truth, prediction
        Arrays of shape (n_cells, n_pathways).
    method
        Spearman or Pearson.

    Returns
    -------
    In [-1, 1], higher is better.

    Raises
    ------
    Undefined
        If no pathway varies over the cells of the truth, or there are fewer than 3 cells.
    """
    values = column_correlations(truth, prediction, method=method)
    if np.isnan(values).all():
        msg = f"no activity of {len(values)} pathways varies over the {len(truth)} cells"
        raise Undefined(msg)
    return float(np.nanmean(values))
