"""Cells as models of scvi-tools read them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import UsageError
from reconeval.filling import listed
from reconeval.offers import PROTEINS

if TYPE_CHECKING:
    from anndata import AnnData

    from reconeval._typing import FloatArray

__all__ = [
    "per_molecule",
    "setup",
    "unlabel",
    "with_fields_of",
]


def setup(
    cls: type[Any],
    adata: AnnData,
    *,
    layer: str | None = "counts",
    batch_key: str | None = None,
    labels_key: str | None = None,
    unlabeled: str = "unknown",
) -> None:
    """Register cells with a class of scvi-tools, each field that the class knows.

    Parameters
    ----------
    cls
        The class, such as `scvi.model.SCVI`.
    adata
        Cells, registered in place; a class of proteins reads them from `obsm["proteins"]`.
    layer
        The layer to model, None for `X`.
    batch_key, labels_key
        Columns of `obs`, or None.
    unlabeled
        The label of cells without one, for a class that asks for it.

    Raises
    ------
    UsageError
        If the cells lack the layer, the proteins or the labels that the class needs.
    """
    takes = inspect.signature(cls.setup_anndata).parameters
    if layer is not None and layer not in adata.layers:
        msg = f"{cls.__name__} models raw counts, which the dataset does not have; name them by "
        msg += "--counts-layer, or take gene_likelihood=normal, which models X"
        raise UsageError(msg)
    fields = {"layer": layer, "batch_key": batch_key, "labels_key": labels_key}
    if "protein_expression_obsm_key" in takes:
        if PROTEINS not in adata.obsm:
            msg = f"{cls.__name__} models proteins, which the dataset does not have; name the "
            msg += "obsm of your own file with their raw counts by --protein-key"
            raise UsageError(msg)
        fields["protein_expression_obsm_key"] = PROTEINS
    if "unlabeled_category" in takes:
        if labels_key is None:
            msg = f"{cls.__name__} learns from labels, which the dataset does not have; name "
            msg += "their column by --cell-type-key"
            raise UsageError(msg)
        fields["unlabeled_category"] = unlabeled
    cls.setup_anndata(adata, **{name: value for name, value in fields.items() if name in takes})


def per_molecule(X: FloatArray, counts: FloatArray) -> FloatArray:
    """Return what a count of a cell is worth on the scale of the metrics.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes), log1p of counts per 10 000 molecules of all that were
        measured in the cell, be they of these genes or not.
    counts
        Array of the same shape: the raw counts.

    Returns
    -------
    Float64 array of shape (n_cells,): Σ expm1(X) / Σ counts, which is 10 000 / molecules of the
    cell; 0 for a cell without counts. So the genes that are not there count as they do in `X`.
    """
    totals = counts.sum(axis=1, dtype=np.float64)
    per_ten_thousand = np.expm1(X, dtype=np.float64).sum(axis=1)
    out: FloatArray = np.divide(
        per_ten_thousand, totals, out=np.zeros_like(totals), where=totals > 0
    )
    return out


def with_fields_of(
    model: Any,
    cells: AnnData,
    *,
    layer: str | None,
    batch_key: str | None,
    labels_key: str | None,
) -> AnnData:
    """Complete and check cells that a trained model is to be asked about.

    Parameters
    ----------
    model
        The trained model of scvi-tools.
    cells
        The cells, changed in place.
    layer, batch_key, labels_key
        As the model's own cells were registered.

    Returns
    -------
    The cells. Their labels are set to one and the same, which no posterior and no mean depends on.

    Raises
    ------
    UsageError
        If the layer, the proteins or the batches are missing, or a batch was not in training.
    """
    name, manager = type(model).__name__, model.adata_manager
    for what, missing in (
        ("counts", layer is not None and layer not in cells.layers),
        ("proteins", "proteins" in manager.data_registry and PROTEINS not in cells.obsm),
        (f"obs with {batch_key}", batch_key is not None and batch_key not in cells.obs),
    ):
        if missing:
            msg = f"{name}.predict needs {what} of the cells beside X"
            raise UsageError(msg)
    if batch_key is not None:
        known = [str(one) for one in manager.get_state_registry("batch").categorical_mapping]
        new = sorted(set(cells.obs[batch_key].astype(str)) - set(known))
        if new:
            msg = f"{name}.predict: {batch_key} {listed(new)} was not in training (knew "
            msg += f"{listed(known)}); such cells need query mapping"
            raise UsageError(msg)
    unlabel(model, cells, labels_key)
    return cells


def unlabel(model: Any, cells: AnnData, labels_key: str | None) -> None:
    """Give all cells, in place, one and the same label that a model knows: none, if it can."""
    if labels_key is not None:
        labels = model.adata_manager.get_state_registry("labels")
        mapping = [str(one) for one in labels.categorical_mapping]
        cells.obs[labels_key] = str(labels.get("unlabeled_category", mapping[0]))
