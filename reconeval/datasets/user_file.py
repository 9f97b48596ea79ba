"""Read the user's own `.h5ad` file and refuse what would make its scores meaningless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.datasets._proteins import read_proteins
from reconeval.datasets._types import Dataset
from reconeval.datasets.manifest import sha256_of
from reconeval.datasets.normalise import log1p_cp10k
from reconeval.errors import UsageError
from reconeval.filling import hint, listed

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    from reconeval._typing import FloatArray

__all__ = ["check_labels", "load_user_file", "read_cells"]

_LEAST_CELLS, _LEAST_GENES = 20, 2
# log1p of counts per 10 000 ends at 9.2, per million at 13.8.
_MOST_LOG1P = 20.0
_EXPECTED = "expected log1p of counts per 10 000"


def load_user_file(
    path: Path,
    *,
    name: str,
    cell_type_key: str | None,
    counts_layer: str | None,
    batch_key: str | None,
    protein_key: str | None = None,
) -> Dataset:
    """Read, check and normalise an `.h5ad` file.

    `obs`, `X` and the counts are kept. Embeddings, graphs and other layers are not: they were
    computed from all cells, those of the test included.

    Parameters
    ----------
    path
        The file.
    name
        Name of the dataset.
    cell_type_key, batch_key
        Columns of `obs` with a label for every cell.
    counts_layer
        Layer with raw counts, "X" for `X` itself, None if `X` is log1p of normalised counts.
    protein_key
        Key of `obsm` with raw counts of proteins, or None.

    Returns
    -------
    The dataset, of version "user".

    Raises
    ------
    UsageError
        If the file cannot be read, is too small, lacks what was named, has repeated names,
        missing labels, or values that are not on the scale they should be on.
    """
    sha256, file = _read(path)
    _check_shape_and_names(path, file)
    for option, key in (("--cell-type-key", cell_type_key), ("--batch-key", batch_key)):
        if key is not None:
            check_labels(path, file.obs, option, key)
    adata = _normalised(path, file, counts_layer)
    if protein_key is not None:
        adata.obsm["proteins"] = read_proteins(path, file, protein_key)
    return Dataset(
        name=name,
        version="user",
        sha256=sha256,
        adata=adata,
        cell_type_key=cell_type_key,
        batch_key=batch_key,
    )


def read_cells(path: Path, *, predicted: bool = False) -> tuple[str, AnnData]:
    """Read an `.h5ad` file whose `X` is log1p of counts per 10 000, and check that it is.

    Parameters
    ----------
    path
        The file.
    predicted
        Whether a model made the values; then they may be negative.

    Returns
    -------
    The file's sha256 and its cells as they are, embeddings included.

    Raises
    ------
    UsageError
        If the file cannot be read, is too small, has repeated names, or values that are not
        finite or not on that scale.
    """
    sha256, adata = _read(path)
    _check_shape_and_names(path, adata)
    if adata.X is None:
        msg = f"{path}: X is absent, {_EXPECTED}: store that in X"
        raise UsageError(msg)
    _, stored = _finite(path, adata.X, "X")
    fault = _scale_fault(stored, predicted=predicted)
    if fault:
        msg = (
            f"{path}: X {fault[1]}; {_EXPECTED}: store that in X "
            "(scanpy.pp.normalize_total with target_sum=1e4, then scanpy.pp.log1p)"
        )
        raise UsageError(msg)
    return sha256, adata


def _normalised(path: Path, file: AnnData, counts_layer: str | None) -> AnnData:
    """Return `obs`, gene names, checked `X` and, where they are named, the counts."""
    from anndata import AnnData

    adata = AnnData(obs=file.obs.copy(), var=file.var[[]].copy())
    if counts_layer is None:
        adata.X = _log1p_matrix(path, file)
        return adata
    counts, library = _counts_matrix(path, file, counts_layer)
    adata.layers["counts"] = counts
    adata.obs["total_counts"] = library
    adata.X = log1p_cp10k(counts, library)
    return adata


def _read(path: Path) -> tuple[str, AnnData]:
    import h5py
    from anndata import read_h5ad

    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        msg = f"{path}: {what}, expected an .h5ad file; check the path"
        raise UsageError(msg)
    if path.stat().st_size == 0:
        msg = f"{path}: the file is empty; write it again with AnnData.write_h5ad"
        raise UsageError(msg)
    if not h5py.is_hdf5(path):
        msg = f"{path}: not an HDF5 file, so not .h5ad; write it with AnnData.write_h5ad"
        raise UsageError(msg)
    try:
        return sha256_of(path), read_h5ad(path)
    except Exception as error:  # a damaged file can raise anything
        reason = str(error).strip().partition("\n")[0]
        msg = (
            f"{path}: cannot be read as .h5ad, so it is truncated, damaged or of another kind "
            f"({type(error).__name__}: {reason}); copy or write it again"
        )
        raise UsageError(msg) from error


def _check_shape_and_names(path: Path, file: AnnData) -> None:
    if file.n_obs < _LEAST_CELLS or file.n_vars < _LEAST_GENES:
        msg = (
            f"{path}: {file.n_obs} cells x {file.n_vars} genes, expected at least "
            f"{_LEAST_CELLS} x {_LEAST_GENES}; take a larger file"
        )
        raise UsageError(msg)
    for kind, axis, remedy in (
        ("gene", file.var_names, "adata.var_names_make_unique()"),
        ("cell", file.obs_names, "adata.obs_names_make_unique()"),
    ):
        repeated = axis[axis.duplicated()].unique()
        if len(repeated):
            shown = listed(str(name) for name in repeated[:3])
            msg = (
                f"{path}: {len(repeated)} {kind} names occur more than once ({shown}), "
                f"expected unique ones; call {remedy} and save again"
            )
            raise UsageError(msg)


def check_labels(path: Path, obs: pd.DataFrame, option: str, key: str) -> None:
    """Refuse a column of `obs` that is absent or lacks the label of a cell."""
    if key not in obs.columns:
        msg = f"{path}: {option} {key}: no such column in obs{hint(key, map(str, obs.columns))}"
        raise UsageError(msg)
    n_missing = int(obs[key].isna().sum())
    if n_missing:
        msg = (
            f"{path}: {option} {key}: {n_missing} of {len(obs)} cells have no label; "
            "fill them or leave these cells out"
        )
        raise UsageError(msg)


def _finite(path: Path, values: Any, where: str) -> tuple[Any, FloatArray]:
    """Return a matrix as CSR or a dense array, and its stored values, both checked."""
    from scipy import sparse

    if values is None:
        msg = f"{path}: {where} is absent; store a matrix there, or name one by --counts-layer"
        raise UsageError(msg)
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_):
        msg = f"{path}: {where} holds {values.dtype} values, expected numbers; convert them"
        raise UsageError(msg)
    matrix: Any = sparse.csr_matrix(values) if sparse.issparse(values) else np.asarray(values)
    stored: FloatArray = matrix.data if sparse.issparse(matrix) else matrix.ravel()
    n_bad = stored.size - int(np.isfinite(stored).sum())
    if n_bad:
        msg = f"{path}: {where} has {n_bad} NaN or infinite values; remove or fill them"
        raise UsageError(msg)
    if not stored.any():
        msg = f"{path}: {where} holds only zeros, expected expression; check how it was written"
        raise UsageError(msg)
    return matrix, stored


def _counts_matrix(path: Path, file: AnnData, layer: str) -> tuple[csr_matrix, FloatArray]:
    """Return counts as sparse float32 and the library of each cell over all genes of the file."""
    from scipy import sparse

    where = f"--counts-layer {layer}"
    if layer != "X" and layer not in file.layers:
        known = hint(layer, [*file.layers, "X"])
        msg = f"{path}: {where}: no such layer{known}"
        raise UsageError(msg)
    matrix, stored = _finite(path, file.X if layer == "X" else file.layers[layer], where)
    wrong = stored[(stored < 0) | (stored != np.rint(stored))]
    if wrong.size:
        msg = (
            f"{path}: {where} holds values such as {wrong[0]:g}, expected whole numbers from 0 up; "
            "name the layer with raw counts, or leave the option out if X is log1p-normalised"
        )
        raise UsageError(msg)
    counts = sparse.csr_matrix(matrix, dtype=np.float32)
    counts.eliminate_zeros()
    library = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    n_empty = int((library == 0).sum())
    if n_empty:
        msg = f"{path}: {where}: {n_empty} cells have no counts at all; leave these cells out"
        raise UsageError(msg)
    return counts, library


def _log1p_matrix(path: Path, file: AnnData) -> Any:
    """Return `X` as float32, sparse or dense as it was, once it looks like log1p."""
    matrix, stored = _finite(path, file.X, "X")
    fault = _scale_fault(stored)
    if fault:
        kind, text = fault
        advice = {
            "scaled": "store that in X, or raw counts and add --counts-layer LAYER",
            "counts": "add --counts-layer X to have them normalised",
            "linear": "call scanpy.pp.log1p, or store raw counts and add --counts-layer LAYER",
        }[kind]
        msg = f"{path}: X {text}; {_EXPECTED}: {advice}"
        raise UsageError(msg)
    return matrix.astype(np.float32)


def _scale_fault(stored: FloatArray, *, predicted: bool = False) -> tuple[str, str] | None:
    """Return the kind of fault and its description where values cannot be log1p of CP10k."""
    lowest, highest = float(stored.min()), float(stored.max())
    if lowest < 0 and not predicted:
        return "scaled", f"has negative values (lowest {lowest:g}), so it was scaled or centred"
    if (stored == np.rint(stored)).all():
        return "counts", f"holds whole numbers up to {highest:g}, so raw counts"
    if highest > _MOST_LOG1P:
        return "linear", f"reaches {highest:g}, too high for a logarithm"
    return None
