"""Real immune cells with known perturbations, made by thinning their counts."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.datasets._decoders import LinearEmbedding
from reconeval.datasets._perturbations import PerturbationDataset
from reconeval.datasets.normalise import log1p_cp10k

if TYPE_CHECKING:
    from anndata import AnnData

    from reconeval._typing import FloatArray
    from reconeval.datasets.manifest import PerturbationEntry

__all__ = ["CAP", "CONTROL", "PARTS", "load", "true_effects", "true_effects_of"]

CONTROL = "control"
CAP = 4.0  # log2 fold changes level off towards it
PARTS = {
    "L1+L5": ("L1", "L5"),
    "L2+L6": ("L2", "L6"),
    "L3+L4": ("L3", "L4"),
    "L1+L4": ("L1", "L4"),
    "L2+L3": ("L2", "L3"),
}


def load(entry: PerturbationEntry) -> PerturbationDataset:
    """Return the dataset.

    Parameters
    ----------
    entry
        Its part of the manifest.

    Returns
    -------
    The dataset. `partner` is None: a measured cell became a control or perturbed cells, never
    both, so nobody knows what a perturbed cell was like before. `sources` are the rows of the
    measured cells in the dataset `immune`.
    """
    adata = _read(entry)
    counts = adata.layers["counts"].astype(np.float32)
    X = log1p_cp10k(counts, adata.obs["total_counts"].to_numpy()).toarray()
    decode = LinearEmbedding(
        axes=adata.varm["axes"], center=adata.varm["center"][:, 0], weights=adata.uns["weights"]
    )
    names = [str(name) for name in adata.uns["perturbations"]]
    return PerturbationDataset(
        name=entry.name,
        version=entry.version,
        sha256=entry.sha256,
        genes=tuple(adata.var_names),
        X=X,
        embedding=decode.encode(X),
        perturbation=np.asarray(adata.obs["perturbation"].astype(str)),
        control=CONTROL,
        descriptors=dict(zip(names, adata.uns["doses"], strict=True)),
        decode=decode,
        cell_types=np.asarray(adata.obs["cell_type"].astype(str)),
        conditions=np.asarray(adata.obs["donor"].astype(str)),
        counts=counts.toarray(),
        parts=PARTS,
        sources=adata.obs["source"].to_numpy(dtype=np.int64),
    )


def true_effects() -> dict[tuple[str, str, str], FloatArray]:
    """Return what each perturbation of `immune_shift` does, as its cells were made.

    Returns
    -------
    For each perturbation, cell type and donor an array of shape (n_genes,): log2 of the mean
    count in perturbed cells over the mean count in controls, 0 where nothing changes. The genes
    are those of the dataset, in its order.
    """
    from reconeval.datasets.manifest import read_perturbation_manifest, verify

    entry = read_perturbation_manifest()["immune_shift"]
    verify(entry)
    return true_effects_of(_read(entry))


def true_effects_of(adata: AnnData) -> dict[tuple[str, str, str], FloatArray]:
    """Compute the effects from the parts that the file has; see `true_effects`.

    Doses add up over programmes, and over the parts of a combination; `CAP * tanh(sum / CAP)`
    levels them off, and a donor's amplitude scales the whole.
    """
    uns: dict[str, Any] = adata.uns
    effects = adata.varm["programmes"].astype(np.float64)
    found = {}
    for (i, name), (j, cell_type), (k, donor) in product(
        *(enumerate(uns[key]) for key in ("perturbations", "types", "donors"))
    ):
        total = effects @ (uns["doses"][i].astype(np.float64) * uns["answers"][j])
        found[str(name), str(cell_type), str(donor)] = (
            uns["amplitudes"][k] * CAP * np.tanh(total / CAP)
        )
    return found


def _read(entry: PerturbationEntry) -> AnnData:
    from anndata import read_h5ad

    return read_h5ad(entry.path)
