"""A real time course: human myoblasts that differentiate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from reconeval.datasets._fitted import fit_components
from reconeval.datasets._perturbations import PerturbationDataset
from reconeval.datasets.normalise import log1p_cp10k

if TYPE_CHECKING:
    from reconeval.datasets.manifest import PerturbationEntry

__all__ = ["CONTROL", "load"]

CONTROL = "T0h"
_LAST_HOUR = 72


def load(entry: PerturbationEntry) -> PerturbationDataset:
    """Return the dataset.

    Parameters
    ----------
    entry
        Its part of the manifest.

    Returns
    -------
    The dataset. A descriptor is the hours over 72, and 1 for the differentiation medium; the
    control would be 0 and 0. The embedding is not frozen: before `for_split` it is fitted on the
    controls, which do not vary in what differentiation changes.
    """
    from anndata import read_h5ad

    adata = read_h5ad(entry.path)
    # FPKM over their sum is what counts over their sum are: the share of a gene in the cell.
    X = log1p_cp10k(adata.layers["fpkm"], adata.obs["total_fpkm"].to_numpy()).toarray()
    labels = np.asarray(adata.obs["condition"].astype(str))
    hours = {str(label): int(label[1:-1]) for label in np.unique(labels)}
    refit = partial(fit_components, X=X)
    embedding, decode = refit(np.flatnonzero(labels == CONTROL).astype(np.int64))
    return PerturbationDataset(
        name=entry.name,
        version=entry.version,
        sha256=entry.sha256,
        genes=tuple(adata.var_names),
        X=X,
        embedding=embedding,
        perturbation=labels,
        control=CONTROL,
        descriptors={
            label: np.asarray([hour / _LAST_HOUR, 1], dtype=np.float32)
            for label, hour in hours.items()
            if label != CONTROL
        },
        decode=decode,
        refit=refit,
    )
