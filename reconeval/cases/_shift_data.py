"""The rows of a perturbation dataset that a predictor is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.offers_embedded import ShiftData

if TYPE_CHECKING:
    from reconeval._typing import FloatArray, IntArray, StrArray
    from reconeval.datasets import PerturbationDataset, PerturbationSplit

__all__ = ["descriptors_of", "shift_data", "strata_of"]


def shift_data(dataset: PerturbationDataset, split: PerturbationSplit) -> ShiftData:
    """Take the training and validation cells of a split, each beside its control.

    Parameters
    ----------
    dataset
        The cells.
    split
        Row numbers into them.

    Returns
    -------
    Copies of rows of the split's `train` and `val` and of their partners, and of no others.
    """
    embedding, train, val = dataset.embedding, split.train, split.val
    perturbation = dataset.perturbation[train]
    pert_cov = descriptors_of(dataset, perturbation)
    of_control = dataset.descriptors.get(dataset.control)
    ctrl_cov = np.zeros_like(pert_cov)
    if of_control is not None:
        ctrl_cov[:] = of_control
    some = len(val) > 0
    types, conditions = dataset.cell_types, dataset.conditions
    return ShiftData(
        ctrl_emb=embedding[split.train_partner],
        pert_emb=embedding[train],
        pert_cov=pert_cov,
        perturbation=perturbation,
        n_genes=len(dataset.genes),
        val_ctrl_emb=embedding[split.val_partner] if some else None,
        val_pert_emb=embedding[val] if some else None,
        val_pert_cov=descriptors_of(dataset, dataset.perturbation[val]) if some else None,
        ctrl_cov=ctrl_cov,
        parts=dataset.parts,
        cell_type=None if types is None else types[train],
        condition=None if conditions is None else conditions[train],
        decode=dataset.decode,
    )


def descriptors_of(dataset: PerturbationDataset, perturbation: StrArray) -> FloatArray:
    """Return the descriptor of each label, float32 of shape (n_labels, c)."""
    rows = [dataset.descriptors[str(name)] for name in perturbation]
    return np.asarray(rows, dtype=np.float32)


def strata_of(dataset: PerturbationDataset, rows: IntArray) -> StrArray:
    """Return cell type and condition of some cells as one label, as far as they are known."""
    known = (dataset.cell_types, dataset.conditions)
    columns = [values[rows].astype(str) for values in known if values is not None]
    labels = np.full(len(rows), "")
    for column in columns:
        labels = np.char.add(np.char.add(labels, column), " ")
    return labels
