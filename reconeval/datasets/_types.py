"""A frozen dataset and a split of its cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from reconeval._typing import FloatArray, IntArray, StrArray

__all__ = ["Dataset", "Split"]


def _dense(matrix: object) -> FloatArray:
    to_array = getattr(matrix, "toarray", None)
    values = to_array() if to_array is not None else matrix
    return np.ascontiguousarray(values, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Measured cells with a name, a version and a checksum.

    Attributes
    ----------
    name
        Short name; the file's stem for a user's own file.
    version
        Version of the content; "user" for a user's own file.
    sha256
        Checksum of the file that the cells came from, or of cells that are made when loaded.
    adata
        (n_cells, n_genes), `X` as log1p of counts per 10 000, `layers["counts"]` where there are
        counts, `obs["total_counts"]` the library size over all genes that were measured,
        `obsm["proteins"]` raw counts of proteins where they were measured and named.
    cell_type_key, batch_key
        Columns of `obs`, or None.
    """

    name: str
    version: str
    sha256: str
    adata: AnnData = field(repr=False)
    cell_type_key: str | None = None
    batch_key: str | None = None

    @cached_property
    def X(self) -> FloatArray:  # noqa: N802
        """Dense float32 array of shape (n_cells, n_genes), log1p of counts per 10 000."""
        return _dense(self.adata.X)

    @cached_property
    def counts(self) -> FloatArray | None:
        """Dense float32 array of shape (n_cells, n_genes) of raw counts, or None."""
        return _dense(self.adata.layers["counts"]) if "counts" in self.adata.layers else None

    @cached_property
    def library(self) -> FloatArray | None:
        """Array of shape (n_cells,): total counts over all measured genes, or None."""
        if self.counts is None:
            return None
        return np.asarray(self.adata.obs["total_counts"], dtype=np.float64)

    @cached_property
    def proteins(self) -> pd.DataFrame | None:
        """Raw counts of proteins, a row per cell and a column per protein, or None."""
        table: pd.DataFrame | None = self.adata.obsm.get("proteins")
        return table

    @property
    def genes(self) -> tuple[str, ...]:
        """The n_genes gene names in column order."""
        return tuple(self.adata.var_names)

    @property
    def cell_types(self) -> StrArray | None:
        """Array of shape (n_cells,) of labels, or None."""
        if self.cell_type_key is None:
            return None
        return np.asarray(self.adata.obs[self.cell_type_key].astype(str))


@dataclass(frozen=True, eq=False)
class Split:
    """A named train-validation-test assignment; the three are disjoint and shuffled.

    Attributes
    ----------
    name
        `iid` or `cell_type`.
    train, val, test
        Row numbers into the dataset, int64.
    held_out
        The groups that occur in the test cells alone; empty for `iid`.
    """

    name: str
    train: IntArray
    val: IntArray
    test: IntArray
    held_out: tuple[str, ...] = ()
