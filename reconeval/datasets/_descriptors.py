"""Descriptors of perturbations, and the single ones that a combination is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import UsageError
from reconeval.filling import hint, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconeval._typing import FloatArray, StrArray

__all__ = ["one_hot", "parts_of_names", "read_descriptors"]

_JOIN = "+"


def parts_of_names(names: Iterable[str], control: str) -> dict[str, tuple[str, ...]]:
    """Return the single perturbations in each name: itself, or the parts of `A+B`."""
    found = {}
    for name in names:
        parts = [part.strip() for part in name.split(_JOIN)]
        # A screen of pairs writes a single one as `A+control`.
        kept = tuple(part for part in parts if part != control)
        found[name] = kept if all(parts) and kept else (name,)
    return found


def one_hot(parts: Mapping[str, tuple[str, ...]]) -> dict[str, FloatArray]:
    """Return one coordinate per single perturbation, 1 where it is a part and 0 elsewhere."""
    singles = sorted({part for of in parts.values() for part in of})
    return {name: np.isin(singles, of).astype(np.float32) for name, of in parts.items()}


def read_descriptors(
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
