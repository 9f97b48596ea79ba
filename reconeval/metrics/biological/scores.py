"""Gene-set scores as scanpy defines them, for many sets in one matrix product.

The score of a cell is the mean over the set's genes minus the mean over control genes of
similar mean expression. Both are sums over columns, so all sets take one product with a matrix
of zeros and ones. Sums of float32 values are exact in float64: scores that tie, as in cells that
express few of the genes, stay tied and get the phases that scanpy calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics.device import matmul

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconeval._typing import BoolArray, FloatArray, IntArray

__all__ = ["CTRL_SIZE", "N_BINS", "SetMasks", "draw_controls", "gene_means", "gene_set_scores"]

CTRL_SIZE = 50
N_BINS = 25
_CELLS_PER_BLOCK = 1024


def gene_means(X: FloatArray) -> FloatArray:
    """Mean of each gene over cells, summed in float64: it decides on the bins of the controls.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes).

    Returns
    -------
    Array of shape (n_genes,), float64.
    """
    return np.asarray(X.mean(axis=0, dtype=np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class SetMasks:
    """Genes of sets and their control genes.

    Attributes
    ----------
    members, controls
        Arrays of shape (n_genes, n_sets).
    """

    members: BoolArray
    controls: BoolArray

    def score(self, X: FloatArray, *, device: str | None = None) -> FloatArray:
        """Return scores of shape (n_cells, n_sets), float64, for X of (n_cells, n_genes)."""
        masks = np.concatenate((self.members, self.controls), axis=1)
        used = np.flatnonzero(masks.any(axis=1))
        product = masks[used].astype(np.float64)
        sums = np.empty((len(X), masks.shape[1]))
        for start in range(0, len(X), _CELLS_PER_BLOCK):
            cells = slice(start, start + _CELLS_PER_BLOCK)
            sums[cells] = matmul(X[cells][:, used].astype(np.float64), product, device=device)
        means = sums / masks.sum(axis=0)
        n_sets = self.members.shape[1]
        return np.asarray(means[:, :n_sets] - means[:, n_sets:])


def draw_controls(
    means: FloatArray,
    sets: Sequence[IntArray],
    *,
    ctrl_size: int = CTRL_SIZE,
    n_bins: int = N_BINS,
    seed: int = 0,
) -> SetMasks:
    """Draw the control genes of each set.

    Genes are cut into bins by the rank of their mean. From each bin that holds a gene of the
    set, `ctrl_size` genes are drawn without replacement; those that are not in the set are its
    controls. The draws start afresh from `seed` for each set, so that a score does not depend
    on the other sets.

    Parameters
    ----------
    means
        Array of shape (n_genes,): mean of each gene over the cells to be scored.
    sets
        Columns of each set's genes, none empty.
    ctrl_size
        Genes drawn from each bin.
    n_bins
        Number of bins, as scanpy counts them.
    seed
        Seeds the draws.

    Returns
    -------
    The genes and the controls of each set.

    Raises
    ------
    Undefined
        If there are too few genes to fill the bins, or none is left as a control.

    References
    ----------
    `scanpy.tl.score_genes`, whose draws these are; doi:10.1038/nbt.3192.
    """
    from scipy.stats import rankdata

    n_genes = len(means)
    per_bin = round(n_genes / (n_bins - 1))
    if per_bin < 1:
        msg = f"{n_genes} genes cannot fill the {n_bins} bins that control genes are drawn from"
        raise Undefined(msg)
    bins = (rankdata(means, method="min") // per_bin).astype(np.int64)
    genes_of_bin = [np.flatnonzero(bins == number) for number in range(bins.max() + 1)]
    members, controls = np.zeros((2, n_genes, len(sets)), dtype=np.bool_)
    for number, columns in enumerate(sets):
        draw = np.random.RandomState(seed)  # scanpy's generator, for equal draws
        for one_bin in np.unique(bins[columns]):
            candidates = genes_of_bin[one_bin]
            if ctrl_size < len(candidates):
                candidates = candidates[draw.choice(len(candidates), ctrl_size, replace=False)]
            controls[candidates, number] = True
        members[columns, number] = True
        controls[columns, number] = False
        if not controls[:, number].any():
            msg = f"no control genes for a gene set of {len(columns)} among {n_genes} genes"
            raise Undefined(msg)
    return SetMasks(members, controls)


def gene_set_scores(
    X: FloatArray,
    sets: Sequence[IntArray],
    *,
    ctrl_size: int = CTRL_SIZE,
    n_bins: int = N_BINS,
    seed: int = 0,
    device: str | None = None,
) -> FloatArray:
    """Score each cell on each gene set.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes), log1p of counts per 10 000. The bins of the control
        genes come from these cells.
    sets
        Columns of each set's genes, none empty.
    ctrl_size, n_bins, seed
        As for `draw_controls`.
    device
        Where the matrices are multiplied, as for `reconeval.metrics.device.on_torch`; default
        NumPy.

    Returns
    -------
    Array of shape (n_cells, n_sets), float64; equal to `scanpy.tl.score_genes`.

    Raises
    ------
    Undefined
        If there are too few genes to draw controls from.
    """
    masks = draw_controls(gene_means(X), sets, ctrl_size=ctrl_size, n_bins=n_bins, seed=seed)
    return masks.score(X, device=device)
