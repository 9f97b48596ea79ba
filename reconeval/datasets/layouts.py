"""Read a source's own file into the schema that all perturbation data share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.datasets.normalise import log1p_cp10k
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    from reconeval._typing import BoolArray, FloatArray, IntArray, StrArray
    from reconeval.datasets.catalogue import Layout, Source

__all__ = ["load_source"]


def load_source(
    source: Source,
    path: Path,
    *,
    cells: int | None = None,
    genes: int | None = None,
    seed: int = 0,
) -> AnnData:
    """Read a file in the layout of a source.

    Only the cells that are drawn are read from the disk, so that files larger than the memory
    can be sampled.

    Parameters
    ----------
    source
        Entry of the catalogue.
    path
        The source's `.h5ad` file.
    cells
        Draw this many cells at random where there are more; None for all.
    genes
        Keep this many genes of highest variance of log1p of counts per 10 000; None for all.
    seed
        Seed of the draw.

    Returns
    -------
    As for `load_fetched`, without the checksum. Cells and genes are in the order of the file.

    Raises
    ------
    UsageError
        If the file cannot be read, or lacks a column, the control cells or whole counts.
    """
    import h5py
    from anndata import AnnData

    try:
        with h5py.File(path, "r") as file:
            rows, obs = _choose_cells(source, path, file, cells=cells, seed=seed)
            counts = _read_counts(source, path, file, rows)
            names = _gene_names(source, path, file)
    except OSError as error:
        msg = f"{path}: cannot be read as .h5ad ({error}); fetch or copy it again"
        raise UsageError(msg) from error
    adata = AnnData(obs=obs, layers={"counts": counts})
    adata.var_names = names
    adata.var_names_make_unique()
    adata.obs["total_counts"] = library = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    n_empty = int((library == 0).sum())
    if n_empty:
        msg = f"{path}: {n_empty} cells have no counts in {source.layout.counts}; {_unlike(source)}"
        raise UsageError(msg)
    adata.X = log1p_cp10k(counts, library)
    adata.uns["control"] = source.layout.control
    adata.uns["parts"] = _parts(source.layout, obs["perturbation"])
    return adata if genes is None else adata[:, _most_variable(adata.X, genes)].copy()


def _unlike(source: Source) -> str:
    return f"expected the layout that {source.page} describes; take the file from there"


def _choose_cells(
    source: Source, path: Path, file: Any, *, cells: int | None, seed: int
) -> tuple[IntArray, pd.DataFrame]:
    """Return the rows to read, in order, and their `obs` in the common schema."""
    import pandas as pd

    layout = source.layout
    label = _column(source, path, file, layout.perturbation)
    keep: BoolArray = ~(pd.isna(label) | np.isin(label.astype(str), ["", "nan", "None"]))
    for name, number in layout.only.items():
        keep &= pd.to_numeric(_column(source, path, file, name), errors="coerce") == number
    rows = np.flatnonzero(keep)
    if cells is not None and rows.size > cells:
        rows = np.sort(np.random.default_rng(seed).choice(rows, cells, replace=False))
    label = label.astype(str)[rows]
    if layout.control not in label:
        found = hint(layout.control, sorted(set(label)), "labels:")
        msg = f"{path}: no cell has {layout.perturbation} = {layout.control!r}{found}"
        raise UsageError(msg)
    if layout.dose is not None:
        dose = _column(source, path, file, layout.dose)[rows]
        label = _with_dose(layout, label, dose)
    index = _names(file["obs"])[rows]
    obs = pd.DataFrame({"perturbation": pd.Categorical(label)}, index=pd.Index(index, dtype=str))
    if layout.only_cell_type is not None:
        obs["cell_type"] = pd.Categorical([layout.only_cell_type] * rows.size)
    for name, column in (("cell_type", layout.cell_type), ("condition", layout.condition)):
        if column is not None:
            values = _column(source, path, file, column)[rows].astype(str)
            obs[name] = pd.Categorical(values)
    return rows, obs


def _column(source: Source, path: Path, file: Any, name: str) -> StrArray:
    from anndata.io import read_elem

    if name not in file["obs"]:
        known = hint(name, file["obs"].keys(), "it has")
        msg = f"{path}: no column {name} in obs{known}; {_unlike(source)}"
        raise UsageError(msg)
    return np.asarray(read_elem(file["obs"][name]), dtype=object)


def _names(frame: Any) -> StrArray:
    from anndata.io import read_elem

    return np.asarray(read_elem(frame[frame.attrs["_index"]])).astype(str)


def _with_dose(layout: Layout, label: StrArray, dose: StrArray) -> StrArray:
    return np.array(
        [
            name if name == layout.control else f"{name} {float(amount):g} {layout.dose_unit}"
            for name, amount in zip(label, dose, strict=True)
        ]
    )


def _read_counts(source: Source, path: Path, file: Any, rows: IntArray) -> csr_matrix:
    """Return the counts of some rows as sparse float32."""
    import h5py
    from anndata.io import sparse_dataset
    from scipy import sparse

    where = source.layout.counts
    if where not in file:
        msg = f"{path}: no matrix {where}; {_unlike(source)}"
        raise UsageError(msg)
    stored = file[where]
    if isinstance(stored, h5py.Dataset):
        matrix = stored[rows]
    else:
        backed = sparse_dataset(stored)
        # A matrix by columns has no rows to read singly.
        matrix = (backed if backed.format == "csr" else backed.to_memory())[rows]
    counts = sparse.csr_matrix(matrix, dtype=np.float32)
    if not source.layout.whole:
        counts.data = np.rint(counts.data)
    wrong = counts.data[(counts.data < 0) | (counts.data != np.rint(counts.data))]
    if wrong.size:
        msg = (
            f"{path}: {where} holds values such as {wrong[0]:g}, expected raw counts; "
            f"{_unlike(source)}"
        )
        raise UsageError(msg)
    counts.eliminate_zeros()
    return counts


def _gene_names(source: Source, path: Path, file: Any) -> StrArray:
    from anndata.io import read_elem

    frame = file["raw/var" if source.layout.counts == "raw/X" else "var"]
    column = source.layout.genes
    if column is None:
        return _names(frame)
    if column not in frame:
        msg = f"{path}: no column {column} in {frame.name[1:]}; {_unlike(source)}"
        raise UsageError(msg)
    return np.asarray(read_elem(frame[column]), dtype=object).astype(str)


def _parts(layout: Layout, perturbation: pd.Series) -> dict[str, list[str]]:
    """Return the single perturbations of each combination."""
    if layout.separator is None:
        return {}
    labels = [str(label) for label in perturbation.cat.categories if label != layout.control]
    split = {label: label.split(layout.separator) for label in labels}
    return {label: parts for label, parts in split.items() if len(parts) > 1}


def _most_variable(X: csr_matrix, n_genes: int) -> IntArray:
    """Return the columns of highest variance, in their order; of equal ones the first."""
    values: FloatArray = np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()
    squares = np.asarray(X.multiply(X).mean(axis=0, dtype=np.float64)).ravel()
    order = np.argsort(-(squares - values**2), kind="stable")
    return np.sort(order[:n_genes])
