"""Load a frozen dataset by name, or the user's own file."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reconeval.datasets._types import Dataset
from reconeval.datasets.manifest import read_manifest, read_perturbation_manifest, verify
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

__all__ = ["dataset_id", "dataset_names", "load_dataset", "user_path"]


def dataset_names() -> tuple[str, ...]:
    """Return the names of the frozen datasets."""
    return tuple(read_manifest())


def dataset_id(name_or_path: str | PathLike[str]) -> str:
    """Return the name that a dataset has in test ids and results, without loading it.

    Parameters
    ----------
    name_or_path
        Name of a frozen dataset, or path of an `.h5ad` file.

    Returns
    -------
    The frozen name; for a path its stem, with `_` for every character that pytest's `-k` cannot
    take, and `user:` before it where a frozen dataset has that name.
    """
    frozen = (*dataset_names(), *read_perturbation_manifest())
    if name_or_path in frozen:
        return str(name_or_path)
    stem = re.sub(r"[^A-Za-z0-9_.+-]", "_", Path(name_or_path).stem)
    return f"user:{stem}" if stem in frozen else stem


def load_dataset(
    name_or_path: str | PathLike[str],
    *,
    cell_type_key: str | None = None,
    counts_layer: str | None = None,
    batch_key: str | None = None,
    protein_key: str | None = None,
) -> Dataset:
    """Load a frozen dataset, or check and load the user's own `.h5ad` file.

    Parameters
    ----------
    name_or_path
        A name of `dataset_names()`, or a path that ends in `.h5ad`. A frozen dataset is loaded
        once per process: every call returns the same object, so copy it before changing it.
    cell_type_key
        Column of `obs` with the cell types; for the user's file only.
    counts_layer
        Layer with raw counts, or "X" if `X` holds them; for the user's file only. `X` becomes
        log1p of these counts per 10 000. Without it, `X` must be on that scale already.
    batch_key
        Column of `obs` with the batches; for the user's file only.
    protein_key
        Key of `obsm` with raw counts of proteins; for the user's file only.

    Returns
    -------
    The dataset, with the checksum of its file.

    Raises
    ------
    UsageError
        If there is no such dataset or file, a frozen file's checksum is wrong, an option is
        given for a frozen dataset, or the user's file is unfit.
    """
    if name_or_path in dataset_names():
        if any((cell_type_key, counts_layer, batch_key, protein_key)):
            msg = (
                f"dataset {name_or_path}: --cell-type-key, --counts-layer, --batch-key and "
                "--protein-key are for your own file; leave them out"
            )
            raise UsageError(msg)
        return _load_frozen(str(name_or_path))
    path = user_path(name_or_path, dataset_names())
    from reconeval.datasets.user_file import load_user_file

    return load_user_file(
        path,
        name=dataset_id(path),
        cell_type_key=cell_type_key,
        counts_layer=counts_layer,
        batch_key=batch_key,
        protein_key=protein_key,
    )


def user_path(source: str | PathLike[str], names: Iterable[str]) -> Path:
    """Return the path of a user's file; what is no `.h5ad` is refused, with the frozen names."""
    path = Path(source)
    if path.suffix != ".h5ad":
        known = hint(str(source), names, "datasets:")
        msg = f"dataset {source}: neither a frozen dataset nor a path to an .h5ad file{known}"
        raise UsageError(msg)
    return path


@cache
def _load_frozen(name: str) -> Dataset:
    from anndata import read_h5ad

    from reconeval.datasets.immune_batches import derive
    from reconeval.datasets.normalise import log1p_cp10k

    entry = read_manifest()[name]
    verify(entry)
    adata = read_h5ad(entry.path)
    if entry.cells_sha256:
        adata = derive(adata, expected=entry.cells_sha256)
    # The file keeps small integers; float32 is what models and scanpy expect of counts.
    counts = adata.layers["counts"].astype(np.float32)
    adata.layers["counts"] = counts
    adata.X = log1p_cp10k(counts, adata.obs["total_counts"].to_numpy())
    return Dataset(
        name=name,
        version=entry.version,
        sha256=entry.cells_sha256 or entry.sha256,
        adata=adata,
        cell_type_key="cell_type",
        batch_key="batch" if entry.query_batches else None,
    )
