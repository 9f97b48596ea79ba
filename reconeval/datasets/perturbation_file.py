"""Read cells of several perturbations from the user's own file, or from one of the catalogue."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reconeval.datasets._descriptors import one_hot, read_descriptors
from reconeval.datasets._fitted import fit_components, fit_decoder
from reconeval.datasets._labels import relabelled, single_parts
from reconeval.datasets._perturbations import PerturbationDataset
from reconeval.datasets._types import Dataset
from reconeval.datasets.user_file import check_labels, load_user_file
from reconeval.errors import UsageError
from reconeval.filling import hint, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconeval._typing import FloatArray, StrArray

__all__ = ["load_perturbation_file", "load_perturbation_source"]

_LEAST_CELLS = 10  # of the control and of each perturbation


def load_perturbation_file(
    path: Path,
    *,
    name: str,
    perturbation_key: str | None,
    control: str | None,
    cell_type_key: str | None,
    batch_key: str | None,
    counts_layer: str | None,
    embedding: str | None,
    descriptor_key: str | None,
) -> PerturbationDataset:
    """Read, check and normalise an `.h5ad` file with perturbed and control cells.

    Parameters
    ----------
    path
        The file.
    name
        Name of the dataset.
    perturbation_key
        Column of `obs` with the perturbation of every cell. Labels that name one perturbation
        become one before anything else is done with them, see `_labels.canonical_label`; a
        warning lists them.
    control
        The label of control cells in that column.
    cell_type_key, batch_key, counts_layer
        As for `load_dataset`; the batches become the conditions.
    embedding
        Key of `obsm` or file, see `reconeval.embedders.read_embedding`; None for principal
        components of the training cells.
    descriptor_key
        Key of `uns`, a table or mapping by perturbation, or of `obsm`, a row per cell; None for
        one coordinate per single perturbation.

    Returns
    -------
    The dataset, of version "user".

    Raises
    ------
    UsageError
        As for `load_dataset`; or if the control or a perturbation has too few cells, or the
        embedding or a descriptor is missing or unfit.
    """
    key, control = _named(path, perturbation_key, control)
    cells = load_user_file(
        path,
        name=name,
        cell_type_key=cell_type_key,
        counts_layer=counts_layer,
        batch_key=batch_key,
    )
    obs = cells.adata.obs
    check_labels(path, obs, "--perturbation-key", key)
    labels, changed = relabelled(np.asarray(obs[key].astype(str)), control)
    names = _check_groups(path, labels, key, control)
    if changed:
        told = listed(f"{old} is {new}" for old, new in changed.items())
        warnings.warn(f"{path}: --perturbation-key {key}: {told}", stacklevel=3)
    parts = {label: single_parts(label) for label in names}
    descriptors = (
        one_hot(parts)
        if descriptor_key is None
        else read_descriptors(path, descriptor_key, labels, parts, control=control)
    )
    values = None if embedding is None else _read_embedding(path, embedding, cells)
    return _assembled(
        cells, labels, control, parts=parts, descriptors=descriptors, embedding=values
    )


def load_perturbation_source(name: str) -> PerturbationDataset:
    """Load a fetched file of the catalogue, as `load_fetched` draws cells and genes from it.

    Perturbations of fewer than 10 cells are left out. Splits are drawn as for the user's own
    file, and the embedding is fitted as there.

    Parameters
    ----------
    name
        Name in the catalogue.

    Returns
    -------
    The dataset, of version "fetched".

    Raises
    ------
    UsageError
        If it has not been fetched, or the file is not as its source documents it.
    """
    from reconeval.datasets.fetching import load_fetched

    adata = load_fetched(name)
    labels = np.asarray(adata.obs["perturbation"].astype(str))
    kinds, sizes = np.unique(labels, return_counts=True)
    adata = adata[np.isin(labels, kinds[sizes >= _LEAST_CELLS])].copy()
    cells = Dataset(
        name=name,
        version="fetched",
        sha256=str(adata.uns["sha256"]),
        adata=adata,
        cell_type_key="cell_type" if "cell_type" in adata.obs else None,
        batch_key="condition" if "condition" in adata.obs else None,
    )
    labels = np.asarray(adata.obs["perturbation"].astype(str))
    control = str(adata.uns["control"])
    names = _check_groups(Path(name), labels, "perturbation", control)
    parts = {single: (single,) for single in names}
    parts |= {label: tuple(of) for label, of in adata.uns["parts"].items() if label in parts}
    return _assembled(cells, labels, control, parts=parts, descriptors=one_hot(parts))


def _assembled(
    cells: Dataset,
    labels: StrArray,
    control: str,
    *,
    parts: Mapping[str, tuple[str, ...]],
    descriptors: Mapping[str, FloatArray],
    embedding: FloatArray | None = None,
) -> PerturbationDataset:
    """Put the parts together, with an embedding that is fitted on the controls for a start."""
    refit = partial(fit_components, X=cells.X)
    if embedding is not None:
        refit = partial(fit_decoder, X=cells.X, embedding=embedding)
    values, decode = refit(np.flatnonzero(labels == control).astype(np.int64))
    batches = None if cells.batch_key is None else cells.adata.obs[cells.batch_key].astype(str)
    return PerturbationDataset(
        name=cells.name,
        version=cells.version,
        sha256=cells.sha256,
        genes=cells.genes,
        X=cells.X,
        embedding=values,
        perturbation=labels,
        control=control,
        descriptors=descriptors,
        decode=decode,
        cell_types=cells.cell_types,
        conditions=None if batches is None else np.asarray(batches),
        counts=cells.counts,
        parts={name: of for name, of in parts.items() if len(of) > 1},
        targets={name: name for name in sorted(set(parts).intersection(cells.genes))},
        refit=refit,
    )


def _named(path: Path, key: str | None, control: str | None) -> tuple[str, str]:
    if key is None or control is None:
        option = "--perturbation-key COLUMN" if key is None else "--control LABEL"
        msg = f"{path}: perturbed cells of your own need {option}; add it, nothing is guessed"
        raise UsageError(msg)
    return key, control


def _check_groups(path: Path, labels: StrArray, key: str, control: str) -> list[str]:
    """Return the perturbations, the control left out; there is one at least, none too small."""
    names, sizes = np.unique(labels, return_counts=True)
    if control not in names:
        msg = f"{path}: --control {control}: no cell of {key} has it{hint(control, names.tolist())}"
        raise UsageError(msg)
    if len(names) == 1:
        msg = f"{path}: --perturbation-key {key}: {control} alone; add perturbed cells"
        raise UsageError(msg)
    few = sizes < _LEAST_CELLS
    if few.any():
        small = [f"{name} ({size})" for name, size in zip(names[few], sizes[few], strict=True)]
        msg = (
            f"{path}: --perturbation-key {key}: fewer than {_LEAST_CELLS} cells of "
            f"{listed(small)}; leave these cells out"
        )
        raise UsageError(msg)
    return [str(name) for name in names if name != control]


def _read_embedding(path: Path, source: str, cells: Dataset) -> FloatArray:
    from reconeval.embedders import read_embedding
    from reconeval.embedders.files import names_file

    try:
        return read_embedding(source if names_file(source) else f"{path}:{source}", cells.adata)
    except UsageError as error:
        msg = f"{path}: --embedding {source}: {error}"
        raise UsageError(msg) from None
