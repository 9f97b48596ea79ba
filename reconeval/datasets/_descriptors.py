"""Descriptors of perturbations, those of the user and those that stand in for none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.datasets._labels import canonical_label
from reconeval.errors import UsageError
from reconeval.filling import hint, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconeval._typing import FloatArray, StrArray

__all__ = ["one_hot", "read_descriptors"]


def one_hot(parts: Mapping[str, tuple[str, ...]]) -> dict[str, FloatArray]:
    """Return one coordinate per single perturbation, 1 where it is a part and 0 elsewhere."""
    singles = sorted({part for of in parts.values() for part in of})
    return {name: np.isin(singles, of).astype(np.float32) for name, of in parts.items()}


def read_descriptors(
    path: Path,
    key: str,
    labels: StrArray,
    parts: Mapping[str, tuple[str, ...]],
    *,
    control: str,
) -> dict[str, FloatArray]:
    """Read a row per perturbation; a combination without one gets the sum of its parts' rows."""
    where = f"{path}: --descriptor-key {key}"
    group, value = _stored(path, key, where)
    found = _by_cells(value, labels, parts, where) if group == "obsm" else _by_name(value, where)
    rows = _one_each(found, control, where)
    sources = {name: (name,) if name in rows else of for name, of in parts.items()}
    missing = [name for name, of in sources.items() if any(part not in rows for part in of)]
    if missing:
        msg = f"{where}: none for {listed(missing)}; add a row for each perturbation"
        raise UsageError(msg)
    lengths = {len(rows[part]) for of in sources.values() for part in of}
    if len(lengths) > 1:
        msg = f"{where}: lengths {listed(map(str, sorted(lengths)))}, expected one; make them equal"
        raise UsageError(msg)
    return {name: np.sum([rows[part] for part in of], axis=0) for name, of in sources.items()}


def _one_each(found: Mapping[str, Any], control: str, where: str) -> dict[str, FloatArray]:
    """Return the rows by the labels that cells have now; names of one perturbation must agree."""
    rows: dict[str, FloatArray] = {}
    for name, row in found.items():
        label, vector = canonical_label(name, control), _vector(row, name, where)
        if not np.array_equal(rows.setdefault(label, vector), vector):
            msg = f"{where}: {name} and another name of {label} have different rows; keep one"
            raise UsageError(msg)
    return rows


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
