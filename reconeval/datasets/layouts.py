"""Read a source's own file into the schema that all perturbation data share."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.datasets._labels import relabelled, single_parts
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

# The label of cells whose type or condition the source leaves open.
_UNKNOWN = "unknown"


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
    from anndata import AnnData, OldFormatWarning

    try:
        with h5py.File(path, "r") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", OldFormatWarning)
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
    label, cell_type, condition = layout.perturbation, layout.cell_type, layout.condition
    wanted = (label, cell_type, condition, layout.dose, *layout.only)
    table = _columns(source, path, file["obs"], [name for name in wanted if name is not None])
    keep: BoolArray = np.asarray(
        table[label].notna() & ~table[label].astype(str).isin(["", "nan", "None"])
    )
    for name, number in layout.only.items():
        keep &= np.asarray(pd.to_numeric(table[name], errors="coerce") == number)
    rows = np.flatnonzero(keep)
    if cells is not None and rows.size > cells:
        rows = np.sort(np.random.default_rng(seed).choice(rows, cells, replace=False))
    table = table.iloc[rows]
    labels: StrArray = np.asarray(table[label].astype(str))
    if layout.separator is not None:
        labels, _ = relabelled(labels, layout.control, layout.separator)
    if layout.control not in labels:
        found = hint(layout.control, sorted(set(labels)), "labels:")
        msg = f"{path}: no cell has {label} = {layout.control!r}{found}"
        raise UsageError(msg)
    if layout.dose is not None:
        labels = _with_dose(layout, labels, np.asarray(table[layout.dose]))
    obs = pd.DataFrame({"perturbation": pd.Categorical(labels)}, index=table.index)
    if layout.only_cell_type is not None:
        obs["cell_type"] = pd.Categorical([layout.only_cell_type] * rows.size)
    for name, column in (("cell_type", cell_type), ("condition", condition)):
        if column is not None:
            obs[name] = pd.Categorical(table[column].astype("string").fillna(_UNKNOWN).astype(str))
    return rows, obs


def _columns(source: Source, path: Path, group: Any, names: list[str]) -> pd.DataFrame:
    """Return some columns of `obs` or `var`, which may have far too many to read them all."""
    import pandas as pd
    from anndata.io import read_elem

    for name in names:
        if name not in group:
            known = hint(name, group.keys(), "it has")
            msg = f"{path}: no column {name} in {group.name[1:]}{known}; {_unlike(source)}"
            raise UsageError(msg)
    # Until anndata 0.8 the labels of a column were stored apart from it.
    if "__categories" in group:
        table: pd.DataFrame = read_elem(group)[names]
    else:
        index = read_elem(group[group.attrs["_index"]])
        table = pd.DataFrame({name: read_elem(group[name]) for name in names}, index=index)
    table.index = table.index.astype(str)
    return table


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
    group = file["raw/var" if source.layout.counts == "raw/X" else "var"]
    column = source.layout.genes
    table = _columns(source, path, group, [] if column is None else [column])
    return np.asarray(table.index if column is None else table[column].astype(str))


def _parts(layout: Layout, perturbation: pd.Series) -> dict[str, list[str]]:
    """Return the single perturbations of each combination."""
    if layout.separator is None:
        return {}
    labels = [str(label) for label in perturbation.cat.categories if label != layout.control]
    split = {label: single_parts(label, layout.separator) for label in labels}
    return {label: list(parts) for label, parts in split.items() if len(parts) > 1}


def _most_variable(X: csr_matrix, n_genes: int) -> IntArray:
    """Return the columns of highest variance, in their order; of equal ones the first."""
    values: FloatArray = np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()
    squares = np.asarray(X.multiply(X).mean(axis=0, dtype=np.float64)).ravel()
    order = np.argsort(-(squares - values**2), kind="stable")
    return np.sort(order[:n_genes])
