"""Groups of cells beside the cells that each is compared with, and how their genes differ.

With a reference the cells are one group, tested against it. Without, each cell type is a group
that is tested against the other cells (marker recovery). All is compared in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics._checks import as_matrix, check_pair
from reconeval.metrics.biological._genes import MIN_CELLS, expressed
from reconeval.metrics.biological.wilcoxon import benjamini_hochberg, rank_sum_z

if TYPE_CHECKING:
    from reconeval._typing import BoolArray, FloatArray, StrArray

__all__ = ["Contrast", "contrast_pair", "contrast_reference", "contrast_types", "type_groups"]

_PSEUDOCOUNT = 1e-9  # scanpy's
_RELATIVE_ZERO = 1e-10  # rounding of float64 sums, far below the resolution of float32 data


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Groups of cells and the cells that each is compared with.

    Attributes
    ----------
    means, reference_means
        Arrays of shape (n_groups, n_genes), float64. Gene means of each group and of its
        reference.
    groups
        Array of shape (n_groups, n_cells): which cells each group has; the others are its
        reference.
    parts
        Arrays of shape (n_cells_of_part, n_genes), float32, together n_cells cells.
    """

    means: FloatArray
    reference_means: FloatArray
    groups: BoolArray
    parts: tuple[FloatArray, ...]

    def shifts(self) -> FloatArray:
        """Return differences of means, (n_groups, n_genes); 0 where they are mere rounding."""
        shifts = self.means - self.reference_means
        scale = np.abs(self.means) + np.abs(self.reference_means)
        shifts[np.abs(shifts) <= _RELATIVE_ZERO * scale] = 0
        return shifts

    def log2_fold_changes(self) -> FloatArray:
        """Return the log2 ratio of expm1 of the means, (n_groups, n_genes), as scanpy defines it.

        Below 0, where a model can put a mean but no measurement does, expm1 is set to 0. Without
        that the logarithm has no value and the gene would drop out.
        """
        amounts, references = (
            np.clip(np.expm1(means), 0, None) + _PSEUDOCOUNT
            for means in (self.means, self.reference_means)
        )
        changes = np.log2(amounts / references)
        changes[self.shifts() == 0] = 0
        return np.asarray(changes)

    def p_adjusted(self) -> FloatArray:
        """Return false discovery rates of Wilcoxon's rank-sum test, (n_groups, n_genes)."""
        return benjamini_hochberg(rank_sum_z(self.groups, *self.parts))


def contrast_reference(X: FloatArray, reference: FloatArray) -> Contrast:
    """Compare all cells with reference cells.

    Parameters
    ----------
    X, reference
        Arrays of shape (n_cells, n_genes), log1p of counts per 10 000.

    Returns
    -------
    A contrast of one group.
    """
    X, reference = _as_float32(X), _as_float32(reference)
    groups = np.zeros((1, len(X) + len(reference)), dtype=np.bool_)
    groups[:, : len(X)] = True
    means, reference_means = (
        side.mean(axis=0, dtype=np.float64, keepdims=True) for side in (X, reference)
    )
    return Contrast(means, reference_means, groups, (X, reference))


def type_groups(cell_types: StrArray, *, min_cells: int = MIN_CELLS) -> BoolArray:
    """Return the cells of each type that has, and leaves, enough of them.

    Parameters
    ----------
    cell_types
        Array of shape (n_cells,) of labels.
    min_cells
        Number of cells that is enough, of the type and of all others together.

    Returns
    -------
    Array of shape (n_types, n_cells), types in sorted order.

    Raises
    ------
    Undefined
        If there is no such type.
    """
    names, codes, sizes = np.unique(cell_types, return_inverse=True, return_counts=True)
    enough = np.flatnonzero((sizes >= min_cells) & (len(codes) - sizes >= min_cells))
    if not enough.size:
        msg = (
            f"none of {len(names)} cell types has {min_cells} cells and as many of other types "
            f"among {len(codes)}"
        )
        raise Undefined(msg)
    return np.asarray(codes == enough[:, None])


def contrast_types(X: FloatArray, groups: BoolArray) -> Contrast:
    """Compare each group of cells with all other cells.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes), log1p of counts per 10 000.
    groups
        Array of shape (n_groups, n_cells), of `type_groups`.

    Returns
    -------
    A contrast of n_groups groups.
    """
    X = _as_float32(X)
    sizes = groups.sum(axis=1)[:, None]
    sums = np.stack([X[cells].sum(axis=0, dtype=np.float64) for cells in groups])
    rest = X.sum(axis=0, dtype=np.float64) - sums
    return Contrast(sums / sizes, rest / (len(X) - sizes), groups, (X,))


def _as_float32(X: FloatArray) -> FloatArray:
    """Return cells in the one precision that all are compared in.

    The same expression in float32 on one side and float64 on the other differs by rounding: no
    tie would be a tie, and no difference 0. Every comparison of cells with others is made of
    this, whatever types truth, prediction and controls come in.
    """
    return X.astype(np.float32, copy=False)


def contrast_pair(
    X: FloatArray,
    Y: FloatArray,
    *,
    reference: FloatArray | None = None,
    predicted_reference: FloatArray | None = None,
    cell_types: StrArray | None = None,
    min_cells: int = 0,
) -> tuple[Contrast, Contrast]:
    """Contrast truth and prediction, each with its own reference or rest.

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
        default `reference`, as for models that predict perturbed cells alone.
    cell_types
        Array of shape (n_cells,) of labels, in place of a reference.
    min_cells
        Genes that fewer cells of the truth express are left out; default none.

    Returns
    -------
    The contrast of the truth and that of the prediction, over the same groups and genes.

    Raises
    ------
    Undefined
        If no gene is left or no cell type has enough cells.
    UsageError
        If both or neither of `reference` and `cell_types` are given, shapes do not fit, or a
        value is not finite.
    """
    X, Y = check_pair(X, Y, paired=cell_types is not None)
    keep = expressed(X, min_cells=min_cells)
    if not keep.any():
        msg = f"no gene is expressed in {min_cells} of the {len(X)} cells of the truth"
        raise Undefined(msg)
    X, Y = _kept(X, keep), _kept(Y, keep)
    if reference is not None and cell_types is None:
        predicted = reference if predicted_reference is None else predicted_reference
        true_reference = _kept(as_matrix(reference, "the reference"), keep)
        predicted = _kept(as_matrix(predicted, "the predicted reference"), keep)
        return contrast_reference(X, true_reference), contrast_reference(Y, predicted)
    if cell_types is not None and reference is None:
        if len(cell_types) != len(X):
            msg = f"{len(cell_types)} cell types for {len(X)} cells; give one for each cell"
            raise UsageError(msg)
        groups = type_groups(np.asarray(cell_types))
        return contrast_types(X, groups), contrast_types(Y, groups)
    msg = "differential expression takes either a reference or cell types; give one of them"
    raise UsageError(msg)


def _kept(matrix: FloatArray, keep: BoolArray) -> FloatArray:
    if matrix.shape[1] != len(keep):
        msg = (
            f"a reference has {matrix.shape[1]} genes, expected the {len(keep)} of the truth; "
            "bring both to the same genes in the same order"
        )
        raise UsageError(msg)
    return matrix if keep.all() else matrix[:, keep]
