"""Embeddings of cells in files: read in the order of the cells, written with their names."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import UsageError
from reconeval.filling import hint, listed
from reconeval.rows import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from anndata import AnnData

    from reconeval._typing import FloatArray

__all__ = ["names_file", "read_embedding", "write_embedding"]

_SUFFIXES = (".npy", ".zarr", ".h5ad")
_EXAMPLES = 3


def read_embedding(source: str | Path, adata: AnnData) -> FloatArray:
    """Return the embedding of cells from their `obsm` or from a file.

    Parameters
    ----------
    source
        A key of `adata.obsm`, or else a file:

        - `.npy`, an array of shape (n_cells, d). Cell names stand in a file of the same name
          that ends in `.txt` (one name a line) or `.csv` (a header, names in the first column,
          as `adata.obs.to_csv` writes them). Without such a file the rows must be the cells of
          `adata`, in their order.
        - `.h5ad` or `.zarr`, as anndata writes them: the only array in `obsm`, or the one that
          `FILE:KEY` names; `X` where `obsm` is empty.
    adata
        The cells. Rows are found by `obs_names`, so the file may hold more cells, in any order.

    Returns
    -------
    Float32 array of shape (n_cells, d), in the order of `adata`, on the scale of the source.

    Raises
    ------
    UsageError
        If there is no such key or file, if cells are missing or have a name that is not unique,
        or if the values of these cells are no finite matrix.
    """
    text = str(source)
    if text in adata.obsm:
        return _matrix(adata.obsm[text], adata.obs_names, where=f"obsm[{text!r}]")
    path, key = _path_and_key(text)
    if path.suffix not in _SUFFIXES:
        near = hint(text, map(str, adata.obsm), "obsm has")
        msg = f"{text}: no such embedding{near}; name a key of obsm or a file, {listed(_SUFFIXES)}"
        raise UsageError(msg)
    if not path.exists():
        siblings = sorted(p.name for p in path.parent.glob(f"*{path.suffix}"))
        msg = f"{path}: no such file{hint(path.name, siblings, 'the folder has')}"
        raise UsageError(msg)
    values, names = _read_npy(path) if path.suffix == ".npy" else _read_anndata(path, key)
    if names is None:
        if len(values) != adata.n_obs:
            msg = (
                f"{path}: {len(values)} rows, expected {adata.n_obs}, one for each cell; "
                f"write the names of the rows into {path.with_suffix('.txt').name}, one a line"
            )
            raise UsageError(msg)
    else:
        values = values[_rows_of(adata.obs_names, names, where=path)]
    return _matrix(values, adata.obs_names, where=text)


def names_file(source: str) -> bool:
    """Return whether a text names a file of an embedding, not a key of `obsm` such as `X.v2`."""
    return _path_and_key(source)[0].suffix in _SUFFIXES


def write_embedding(path: str | Path, embedding: FloatArray, names: Iterable[str]) -> None:
    """Write an embedding with the names of its cells, as `read_embedding` reads it.

    Parameters
    ----------
    path
        Ends in `.h5ad` (the embedding as `X`), or in `.npy`; then the names go beside it into
        a file that ends in `.csv`. An existing file is replaced.
    embedding
        Array of shape (n_cells, d).
    names
        n_cells unique names.

    Raises
    ------
    UsageError
        If the path ends in something else, or if the names do not fit.
    """
    import pandas as pd
    from anndata import AnnData

    path = Path(path)
    index = pd.Index([str(name) for name in names], name="cell", dtype=str)
    if len(index) != len(embedding) or not index.is_unique:
        msg = f"{path}: {len(embedding)} rows and {index.nunique()} different names of "
        msg += f"{len(index)}; expected one unique name for each row"
        raise UsageError(msg)
    values = np.ascontiguousarray(embedding, dtype=np.float32)
    if path.suffix == ".npy":
        names_path = path.with_suffix(".csv")
        # Names first, so that a run cut short leaves no array whose rows nobody can name.
        atomic_write(names_path, index.to_frame(index=False).to_csv(index=False).encode())
        content = io.BytesIO()
        np.save(content, values, allow_pickle=False)
        atomic_write(path, content.getvalue())
    elif path.suffix == ".h5ad":
        with tempfile.TemporaryDirectory(dir=path.resolve().parent) as folder:
            made = Path(folder) / path.name
            AnnData(values, obs=pd.DataFrame(index=index.rename(None))).write_h5ad(made)
            made.replace(path)
    else:
        msg = f"{path}: an embedding is written as .h5ad or .npy; give the path one of these ends"
        raise UsageError(msg)


def _path_and_key(text: str) -> tuple[Path, str | None]:
    head, colon, key = text.rpartition(":")
    if colon and Path(head).suffix in {".h5ad", ".zarr"}:
        return Path(head).expanduser(), key
    return Path(text).expanduser(), None


def _read_npy(path: Path) -> tuple[Any, pd.Index[str] | None]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        msg = f"{path}: cannot be read as .npy ({error}); write plain numbers with numpy.save"
        raise UsageError(msg) from error
    if values.ndim != 2:
        msg = f"{path}: an array of shape {values.shape}, expected (n_cells, d)"
        raise UsageError(msg)
    beside = [path.with_suffix(end) for end in (".txt", ".csv")]
    found = [file for file in beside if file.is_file()]
    if len(found) == 2:
        msg = f"{path}: cell names in {found[0].name} and in {found[1].name}; keep one of them"
        raise UsageError(msg)
    names = _read_names(found[0]) if found else None
    if names is not None and len(names) != len(values):
        msg = f"{path}: {len(values)} rows but {len(names)} cell names in {found[0].name}; "
        msg += "expected one name for each row"
        raise UsageError(msg)
    return values, names


def _read_names(path: Path) -> pd.Index[str]:
    import pandas as pd

    try:
        if path.suffix == ".txt":
            lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
            return pd.Index(lines, dtype=str)
        table = pd.read_csv(path, usecols=[0], dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' and Unicode's errors are ValueErrors
        msg = f"{path}: no cell names could be read ({error}); write UTF-8 text, one name a line"
        raise UsageError(msg) from error
    names: pd.Index[str] = pd.Index(table.iloc[:, 0], dtype=str)
    return names


def _read_anndata(path: Path, key: str | None) -> tuple[Any, pd.Index[str]]:
    """Read one array and the cell names, and nothing else: the genes may fill the memory."""
    try:
        group = _open_group(path)
    except Exception as error:  # what a damaged store raises is anybody's guess
        msg = f"{path}: cannot be opened as {path.suffix} ({error}); write it again with anndata"
        raise UsageError(msg) from error
    try:
        return _read_group(group, key, path)
    finally:
        if path.suffix == ".h5ad":
            group.close()


def _open_group(path: Path) -> Any:
    if path.suffix == ".h5ad":
        import h5py

        return h5py.File(path, mode="r")
    import zarr

    return zarr.open_group(path, mode="r")


def _read_group(group: Any, key: str | None, path: Path) -> tuple[Any, pd.Index[str]]:
    import pandas as pd
    from anndata.io import read_elem

    if "obs" not in group or "_index" not in group["obs"].attrs:
        msg = f"{path}: no cell names in it, expected what anndata writes; use AnnData.write_h5ad"
        raise UsageError(msg)
    keys = sorted(group["obsm"]) if "obsm" in group else []
    if key is not None and key not in keys:
        msg = f"{path}: no {key!r} in obsm{hint(key, keys)}"
        raise UsageError(msg)
    if key is None and len(keys) > 1:
        msg = f"{path}: obsm has {listed(keys)}; say which: {path}:{keys[0]}"
        raise UsageError(msg)
    wanted = f"obsm/{key or keys[0]}" if keys else "X"
    if wanted not in group:
        msg = f"{path}: neither obsm nor X holds an embedding; store it in obsm"
        raise UsageError(msg)
    names = read_elem(group["obs"][group["obs"].attrs["_index"]])
    values = read_elem(group[wanted])
    is_table = isinstance(values, pd.DataFrame)
    return values.to_numpy() if is_table else values, pd.Index(names, dtype=str)


def _rows_of(cells: pd.Index[str], names: pd.Index[str], *, where: Path) -> Any:
    """Return the row of each cell; names that are not unique would make it a guess."""
    for index, whose in ((names, "in the file"), (cells, "of the data set")):
        repeated = index[np.flatnonzero(index.duplicated())].unique()
        if len(repeated):
            shown = listed(repeated[:_EXAMPLES])
            msg = f"{where}: {len(repeated)} cell names {whose} occur more than once ({shown}), "
            msg += "expected unique ones; call adata.obs_names_make_unique() and write it again"
            raise UsageError(msg)
    rows = names.get_indexer(cells)
    absent = cells[np.flatnonzero(rows < 0)]
    if len(absent):
        msg = (
            f"{where}: no embedding for {len(absent)} of {len(cells)} cells "
            f"({listed(absent[:_EXAMPLES])}); the file's names are like "
            f"{listed(names[:_EXAMPLES])}: embed all cells, under the data set's names"
        )
        raise UsageError(msg)
    return rows


def _matrix(values: Any, cells: pd.Index[str], *, where: str) -> FloatArray:
    """Return float32 rows, once they are a finite matrix."""
    from scipy import sparse

    dense = values.toarray() if sparse.issparse(values) else np.asarray(values)
    if dense.ndim != 2 or dense.shape[1] == 0:
        msg = f"{where}: an array of shape {dense.shape}, expected (n_cells, d)"
        raise UsageError(msg)
    if not (np.issubdtype(dense.dtype, np.number) or dense.dtype == np.bool_):
        msg = f"{where}: holds {dense.dtype} values, expected numbers"
        raise UsageError(msg)
    if np.iscomplexobj(dense):
        msg = f"{where}: holds complex values, expected real numbers"
        raise UsageError(msg)
    with np.errstate(over="ignore"):  # what overflows is refused below
        made = np.ascontiguousarray(dense, dtype=np.float32)
    bad = cells[np.flatnonzero(~np.isfinite(made).all(axis=1))]
    if len(bad):
        msg = f"{where}: NaN or infinite values in {len(bad)} of {len(cells)} cells "
        msg += f"({listed(bad[:_EXAMPLES])}); embed these cells again or leave them out"
        raise UsageError(msg)
    return made
