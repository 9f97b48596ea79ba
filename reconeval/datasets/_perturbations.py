"""Cells of several perturbations with their controls, and a split of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from reconeval._arrays import read_only
from reconeval.datasets._types import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconeval._typing import FloatArray, IntArray, StrArray

Embedded: TypeAlias = "tuple[FloatArray, Callable[[FloatArray], FloatArray]]"

__all__ = ["PerturbationDataset", "PerturbationSplit"]


@dataclass(frozen=True, eq=False)
class PerturbationDataset:
    """Control and perturbed cells, in an embedding and in genes.

    `X`, `embedding` and `counts` are read-only, since all models of a run share them.

    Attributes
    ----------
    name, version, sha256
        As for `Dataset`.
    genes
        n_genes gene names.
    X
        Float32 array of shape (n_cells, n_genes): expression, log1p of counts per 10 000 where
        it was measured.
    embedding
        Float32 array of shape (n_cells, d).
    perturbation
        Array of shape (n_cells,) of labels.
    control
        The label of control cells.
    descriptors
        For each perturbation, the control left out, a float32 array of shape (c,).
    decode
        The frozen decoder: float32 array (n, d) to (n, n_genes), on the scale of `X`.
    cell_types, conditions
        Arrays of shape (n_cells,) of labels, or None. A condition is a donor or a batch.
    partner
        Array of shape (n_cells,), int64: for each perturbed cell the row of the control cell
        that it came from, -1 for control cells; None where nobody knows, as in real data.
    counts
        Float32 array of shape (n_cells, n_genes) of raw counts, or None.
    parts
        For a combination of perturbations, the names of the single ones.
    targets
        For a perturbation, the gene it targets, where there is one.
    sources
        Array of shape (n_cells,), int64: the measured cell that each cell was made from. Cells of
        one source are on one side of every split. None where each cell was measured by itself.
    refit
        Fits embedding and decoder on the rows that it is given, and returns the embedding of all
        cells and the decoder; see `for_split`. None where both are frozen.
    """

    name: str
    version: str
    sha256: str
    genes: tuple[str, ...] = field(repr=False)
    X: FloatArray = field(repr=False)
    embedding: FloatArray = field(repr=False)
    perturbation: StrArray = field(repr=False)
    control: str
    descriptors: Mapping[str, FloatArray] = field(repr=False)
    decode: Callable[[FloatArray], FloatArray] = field(repr=False)
    cell_types: StrArray | None = field(default=None, repr=False)
    conditions: StrArray | None = field(default=None, repr=False)
    partner: IntArray | None = field(default=None, repr=False)
    counts: FloatArray | None = field(default=None, repr=False)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    targets: Mapping[str, str] = field(default_factory=dict, repr=False)
    sources: IntArray | None = field(default=None, repr=False)
    refit: Callable[[IntArray], Embedded] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("X", "embedding", "counts"):
            array = getattr(self, name)
            if array is not None:
                object.__setattr__(self, name, read_only(array))

    def for_split(self, split: PerturbationSplit) -> PerturbationDataset:
        """Return the dataset with an embedding and a decoder that know no test cell.

        Parameters
        ----------
        split
            A split of this dataset.

        Returns
        -------
        The dataset itself where its embedding is frozen; else one whose embedding and decoder
        are fitted on the split's training cells and training controls.
        """
        if self.refit is None:
            return self
        rows = np.concatenate([split.train, split.train_controls])
        embedding, decode = self.refit(rows)
        return replace(self, embedding=embedding, decode=decode)


@dataclass(frozen=True, eq=False)
class PerturbationSplit(Split):
    """A split of the perturbed cells, and of the control cells beside them.

    `train`, `val` and `test` are rows of perturbed cells. The controls of training are never
    those of the test; where `partner` is known, a perturbed cell's partner is on its side.

    Attributes
    ----------
    train_controls, test_controls
        Row numbers into the dataset, int64, disjoint. Validation cells share those of training.
    train_partner, val_partner, test_partner
        For each cell of `train`, `val` and `test` the row of the control that it is paired with:
        the known partner, or one drawn by seed among the controls of its side with the same cell
        type and condition; where that side has none, with the same cell type; else any of that
        side. The expression and embedding of the test cells themselves reach no
        model.
    """

    train_controls: IntArray = field(kw_only=True)
    test_controls: IntArray = field(kw_only=True)
    train_partner: IntArray = field(kw_only=True)
    val_partner: IntArray = field(kw_only=True)
    test_partner: IntArray = field(kw_only=True)
