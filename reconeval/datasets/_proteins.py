"""Raw counts of proteins in the user's own file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData

__all__ = ["read_proteins"]


def read_proteins(path: Path, file: AnnData, key: str) -> pd.DataFrame:
    """Return the protein counts of a file, checked.

    Parameters
    ----------
    path, file
        The file and what was read of it.
    key
        Key of `obsm`: a table or an array, a row per cell.

    Returns
    -------
    Float32 table with a row per cell, under the names of the proteins where it has them.

    Raises
    ------
    UsageError
        If there is no such key, or values are not whole numbers from 0 up.
    """
    import pandas as pd
    from scipy import sparse

    where = f"{path}: --protein-key {key}"
    if key not in file.obsm:
        msg = f"{where}: no such key of obsm{hint(key, map(str, file.obsm))}"
        raise UsageError(msg)
    table = file.obsm[key]
    dense = table.toarray() if sparse.issparse(table) else table
    names = getattr(dense, "columns", [f"protein {i}" for i in range(np.shape(dense)[1])])
    values = np.asarray(dense)
    numbers = np.issubdtype(values.dtype, np.number) and np.isfinite(values).all()
    if not numbers or (values < 0).any() or (values != np.rint(values)).any():
        msg = f"{where}: expected raw counts, whole numbers from 0 up; name the obsm that has them"
        raise UsageError(msg)
    return pd.DataFrame(
        values.astype(np.float32), index=file.obs_names, columns=[str(name) for name in names]
    )
