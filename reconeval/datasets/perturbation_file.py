"""Read the user's own cells of several perturbations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.datasets._fitted import fit_components, fit_decoder
from reconeval.datasets._perturbations import PerturbationDataset
from reconeval.datasets.user_file import check_labels, load_user_file
from reconeval.errors import UsageError
from reconeval.filling import hint, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconeval._typing import FloatArray, StrArray
    from reconeval.datasets._types import Dataset

__all__ = ["load_perturbation_file"]

_LEAST_CELLS = 10  # of the control and of each perturbation
_JOIN = "+"


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
        Column of `obs` with the perturbation of every cell.
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
    labels = np.asarray(obs[key].astype(str))
    names = _check_groups(path, labels, key, control)
    parts = _parts(names, control)
    descriptors = (
        _one_hot(parts)
        if descriptor_key is None
        else _read_descriptors(path, descriptor_key, labels, parts)
    )
    refit = partial(fit_components, X=cells.X)
    if embedding is not None:
        values = _read_embedding(path, embedding, cells)
        refit = partial(fit_decoder, X=cells.X, embedding=values)
    values, decode = refit(np.flatnonzero(labels == control).astype(np.int64))
    return PerturbationDataset(
        name=name,
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
        conditions=None if batch_key is None else np.asarray(obs[batch_key].astype(str)),
        counts=cells.counts,
        parts={name: of for name, of in parts.items() if len(of) > 1},
        targets={name: name for name in set(names).intersection(cells.genes)},
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


def _parts(names: Iterable[str], control: str) -> dict[str, tuple[str, ...]]:
    """Return the single perturbations in each name: itself, or the parts of `A+B`."""
    found = {}
    for name in names:
        parts = [part.strip() for part in name.split(_JOIN)]
        # A screen of pairs writes a single one as `A+control`.
        kept = tuple(part for part in parts if part != control)
        found[name] = kept if all(parts) and kept else (name,)
    return found


def _one_hot(parts: Mapping[str, tuple[str, ...]]) -> dict[str, FloatArray]:
    singles = sorted({part for of in parts.values() for part in of})
    return {name: np.isin(singles, of).astype(np.float32) for name, of in parts.items()}


def _read_descriptors(
    path: Path, key: str, labels: StrArray, parts: Mapping[str, tuple[str, ...]]
) -> dict[str, FloatArray]:
    """Read a row per perturbation; a combination without one gets the sum of its parts' rows."""
    where = f"{path}: --descriptor-key {key}"
    group, value = _stored(path, key, where)
    found = _by_cells(value, labels, parts, where) if group == "obsm" else _by_name(value, where)
    rows = {name: _vector(row, name, where) for name, row in found.items()}
    for name, of in parts.items():
        if name not in rows and all(part in rows for part in of):
            rows[name] = np.sum([rows[part] for part in of], axis=0)
    missing = [name for name in parts if name not in rows]
    if missing:
        msg = f"{where}: none for {listed(missing)}; add a row for each perturbation"
        raise UsageError(msg)
    lengths = {len(rows[name]) for name in parts}
    if len(lengths) > 1:
        msg = f"{where}: lengths {listed(map(str, sorted(lengths)))}, expected one; make them equal"
        raise UsageError(msg)
    return {name: rows[name] for name in parts}


def _by_cells(value: Any, labels: StrArray, names: Iterable[str], where: str) -> dict[str, Any]:
    cells = np.asarray(value)
    rows = {}
    for name in names:
        mine = cells[labels == name]
        if (mine != mine[0]).any():
            msg = (
                f"{where}: cells of {name} differ, expected one descriptor per perturbation; "
                "is this an embedding of cells?"
            )
            raise UsageError(msg)
        rows[name] = mine[0]
    return rows


def _by_name(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return {str(name): row for name, row in value.items()}
    if hasattr(value, "iterrows"):
        return {str(name): row.to_numpy() for name, row in value.iterrows()}
    msg = (
        f"{where}: a {type(value).__name__}, expected a table or mapping by perturbation; "
        "store a pandas DataFrame with the names as its index"
    )
    raise UsageError(msg)


def _vector(row: Any, name: str, where: str) -> FloatArray:
    try:
        vector: FloatArray = np.asarray(row, dtype=np.float32)
    except (TypeError, ValueError):
        vector = np.empty((0, 0), dtype=np.float32)
    if vector.ndim != 1 or not vector.size or not np.isfinite(vector).all():
        got = " ".join(str(row).split())[:40]
        msg = f"{where}: of {name}: {got!r}, expected a vector of finite numbers; correct it"
        raise UsageError(msg)
    return vector


def _stored(path: Path, key: str, where: str) -> tuple[str, Any]:
    """Return where a key is stored, in `uns` or `obsm`, and its value."""
    import h5py
    from anndata.io import read_elem

    with h5py.File(path) as file:
        groups = {group: file[group] for group in ("uns", "obsm") if group in file}
        for group, content in groups.items():
            if key in content:
                return group, read_elem(content[key])
        known = [str(name) for content in groups.values() for name in content]
    msg = f"{where}: neither in uns nor in obsm{hint(key, known)}"
    raise UsageError(msg)


def _read_embedding(path: Path, source: str, cells: Dataset) -> FloatArray:
    from pathlib import Path

    from reconeval.embedders import read_embedding

    is_file = Path(source.rpartition(":")[0] or source).suffix
    try:
        return read_embedding(source if is_file else f"{path}:{source}", cells.adata)
    except UsageError as error:
        msg = f"{path}: --embedding {source}: {error}"
        raise UsageError(msg) from None
