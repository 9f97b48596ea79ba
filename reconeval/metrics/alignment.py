"""Bring a measured and a predicted AnnData to the same genes and, where they can be, cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reconeval.errors import UsageError
from reconeval.metrics._checks import as_matrix, require_anndata

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd
    from anndata import AnnData

    from reconeval._typing import FloatArray, StrArray

__all__ = [
    "Aligned",
    "aligned_matrix",
    "aligned_pair",
    "embedding_of",
    "labels_of",
    "matching_rows",
]

SHOWN = 3  # names that an error lists


class Aligned(NamedTuple):
    """Dense matrices over the same genes.

    Attributes
    ----------
    genes
        Gene names, in the order of the truth.
    X
        Array of shape (n_cells, n_genes). Truth.
    prediction
        Array of shape (n_predicted_cells, n_genes). Prediction; where the numbers of cells are
        equal, row i is the same cell as row i of `X`.
    others
        One array of shape (n_other_cells, n_genes) for each further AnnData.
    """

    genes: tuple[str, ...]
    X: FloatArray
    prediction: FloatArray
    others: tuple[FloatArray, ...]


def aligned_pair(adata_true: AnnData, adata_pred: AnnData, *others: AnnData) -> Aligned:
    """Align genes by name and cells by name or position.

    Genes: each AnnData must have the genes of the truth, in any order. Cells: where both sides
    name the same cells, the prediction is brought into the order of the truth. Where their names
    have nothing in common, or those of one side are just numbers from 0, as AnnData makes them
    for a bare array, and the other side has other names, cells stand beside each other as they
    come. Refused, since either reading may be wrong: names that overlap in part, and the same
    numbers from 0 in another order, which a shuffled AnnData has, and a new one around an array.

    Parameters
    ----------
    adata_true
        Measured cells; `X` dense or sparse, log1p of counts per 10 000.
    adata_pred
        Predicted cells, same scale.
    others
        Further cells over the same genes, such as references; aligned by gene alone.

    Returns
    -------
    The matrices, float32 or float64; nothing is changed in place.

    Raises
    ------
    UsageError
        If something is no AnnData, an `X` is missing or not numeric, gene names repeat or
        differ, or cell names overlap in part or cannot be told apart.
    """
    require_anndata(adata_true, "adata_true")
    genes = adata_true.var_names
    X = aligned_matrix(adata_true, genes, "adata_true")
    prediction = aligned_matrix(adata_pred, genes, "adata_pred")
    rows = matching_rows(adata_true.obs_names, adata_pred.obs_names)
    return Aligned(
        genes=tuple(genes),
        X=X,
        prediction=prediction if rows is None else prediction[rows],
        others=tuple(
            aligned_matrix(other, genes, f"AnnData {number}")
            for number, other in enumerate(others, start=3)
        ),
    )


def aligned_matrix(adata: AnnData, genes: Sequence[str] | pd.Index[str], name: str) -> FloatArray:
    """Return the dense expression of an AnnData over the given genes.

    Parameters
    ----------
    adata
        Cells; `X` dense or sparse, in memory or backed.
    genes
        Unique gene names: all that `adata` must have, and in which order.
    name
        What the AnnData is called in an error.

    Returns
    -------
    Array of shape (n_cells, n_genes), float32 or float64.

    Raises
    ------
    UsageError
        If `adata` is no AnnData, `X` is missing or not numeric, or gene names repeat or differ.
    """
    import pandas as pd

    require_anndata(adata, name)
    wanted, found = pd.Index(genes), adata.var_names
    for names, owner in ((wanted, "adata_true"), (found, name)):
        if not names.is_unique:
            repeated = names[names.duplicated()].unique()
            msg = (
                f"{owner} has {len(repeated)} gene names more than once ({_some(repeated)}), "
                "expected unique ones; call its var_names_make_unique() or drop the doubles"
            )
            raise UsageError(msg)
    missing, extra = wanted.difference(found, sort=False), found.difference(wanted, sort=False)
    if len(missing) or len(extra):
        raise UsageError(_gene_difference(name, wanted, missing, extra, bare=_are_numbers(found)))
    matrix = _dense(adata, name)
    return matrix if found.equals(wanted) else matrix[:, found.get_indexer(wanted)]


def embedding_of(adata: AnnData, key: str, name: str, *, predicted: bool = False) -> FloatArray:
    """Return an entry of `obsm`.

    Parameters
    ----------
    adata
        The cells.
    key
        Key of `obsm`.
    name
        What the AnnData is called in an error.
    predicted
        Whether a model made the values; then they may be NaN, and metrics have no value.

    Returns
    -------
    Array of shape (n_cells, d), float32 or float64.

    Raises
    ------
    UsageError
        If the key is missing, or the entry is no matrix of finite numbers.
    """
    if key not in adata.obsm:
        found = ", ".join(adata.obsm) or "none"
        msg = f"{name}.obsm has no {key!r} (it has {found}); compute it or omit use_rep"
        raise UsageError(msg)
    return as_matrix(adata.obsm[key], f"{name}.obsm[{key!r}]", finite=not predicted)


def labels_of(adata: AnnData, key: str | None, name: str) -> StrArray:
    """Return a column of `obs` as text.

    Parameters
    ----------
    adata
        The cells.
    key
        Column of `obs`; None labels every cell the same, with the empty text.
    name
        What the AnnData is called in an error.

    Returns
    -------
    Array of shape (n_cells,).

    Raises
    ------
    UsageError
        If `adata` is no AnnData, there is no such column, or a cell has no label.
    """
    require_anndata(adata, name)
    if key is None:
        return np.full(adata.n_obs, "")
    if key not in adata.obs:
        known = ", ".join(map(str, adata.obs)) or "none"
        msg = f"{name}.obs has no column {key!r} (it has {known}); name one of these"
        raise UsageError(msg)
    column = adata.obs[key]
    if column.isna().any():
        msg = f"{name}.obs[{key!r}] is missing for {column.isna().sum()} cells; label or drop them"
        raise UsageError(msg)
    return np.asarray(column.astype(str))


def _gene_difference(
    name: str,
    wanted: pd.Index[str],
    missing: pd.Index[str],
    extra: pd.Index[str],
    *,
    bare: bool,
) -> str:
    parts = []
    if len(missing):
        parts.append(f"lacks {len(missing)} of the {len(wanted)} genes ({_some(missing)})")
    if len(extra):
        parts.append(f"has {len(extra)} that are not among them ({_some(extra)})")
    advice = "pass var=adata_true.var to AnnData" if bare else "subset both to the genes they share"
    return f"{name} {' and '.join(parts)}; expected the genes of adata_true: {advice}"


def _dense(adata: AnnData, name: str) -> FloatArray:
    X = adata.to_memory().X if adata.isbacked else adata.X
    if X is None:
        msg = f"{name} has no X, expected log1p expression there; set it from a layer"
        raise UsageError(msg)
    values = np.asarray(X.toarray() if hasattr(X, "toarray") else X)
    if values.dtype.kind not in "biuf":
        msg = f"{name}.X has dtype {values.dtype}, expected real numbers; convert it first"
        raise UsageError(msg)
    return values.astype(np.result_type(values, np.float32), copy=False)


def matching_rows(truth: pd.Index[str], prediction: pd.Index[str]) -> npt.NDArray[np.intp] | None:
    """Match cells by name, as `aligned_pair` does.

    Parameters
    ----------
    truth, prediction
        Names of the cells of both sides.

    Returns
    -------
    The rows of the prediction in the order of the truth, None to leave them as they are.

    Raises
    ------
    UsageError
        If names overlap in part, are the same plain numbers in another order, or cannot be told
        apart.
    """
    if truth.equals(prediction):
        return None
    if _are_numbers(truth) or _are_numbers(prediction):
        if len(truth) == len(prediction) and set(truth) == set(prediction):
            msg = (
                "cells cannot be matched: adata_true and adata_pred both have the numbers from 0 "
                f"to {len(truth) - 1} as obs_names, in another order, which may be names of cells "
                "or counted afresh; give the cells names (obs_names) before shuffling, splitting "
                "or predicting"
            )
            raise UsageError(msg)
        return None
    shared = len(truth.intersection(prediction))
    if not shared:
        return None
    if not (truth.is_unique and prediction.is_unique):
        msg = (
            "cells cannot be matched: adata_true and adata_pred share obs_names, but in another "
            "order and with repeats; call obs_names_make_unique() before splitting or predicting"
        )
        raise UsageError(msg)
    if shared < max(len(truth), len(prediction)):
        lost = truth.difference(prediction, sort=False)
        more = prediction.difference(truth, sort=False)
        msg = (
            f"adata_pred has {shared} of the {len(truth)} cells of adata_true; only there: "
            f"{len(lost)} ({_some(lost)}), only in adata_pred: {len(more)} ({_some(more)}); "
            "expected the same cells or none in common, so subset both to the cells they share"
        )
        raise UsageError(msg)
    return prediction.get_indexer(truth)


def _are_numbers(names: pd.Index[str]) -> bool:
    """Whether names are "0", "1", ... as AnnData gives them to an array."""
    return all(name == str(number) for number, name in enumerate(names))


def _some(names: pd.Index[str]) -> str:
    more = ", ..." if len(names) > SHOWN else ""
    return (", ".join(map(str, names[:SHOWN])) or "none") + more
