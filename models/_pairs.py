"""Check what a perturbation predictor is given: rows of embeddings and descriptors that match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval._arrays import as_matrix
from reconeval.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from reconeval._typing import IntArray, StrArray

    F32 = npt.NDArray[np.float32]

__all__ = ["as_labels", "as_pairs", "as_queries", "by_descriptor", "mean_shifts"]


def as_pairs(
    ctrl_emb: Any,
    pert_emb: Any,
    pert_cov: Any,
    *,
    name: str,
    embed_dim: int | None = None,
    cov_dim: int | None = None,
) -> tuple[F32, F32, F32]:
    """Return training rows as float32 arrays.

    Parameters
    ----------
    ctrl_emb, pert_emb
        Arrays of shape (n_cells, embed_dim): a control cell and the perturbed cell beside it.
    pert_cov
        Array of shape (n_cells, cov_dim): the descriptor of each row's perturbation.
    name
        Begins the message of an error, e.g. `MeanShift.train`.
    embed_dim, cov_dim
        Widths that the arrays must have; default any.

    Returns
    -------
    The three arrays.

    Raises
    ------
    UsageError
        An array is no finite matrix of that width, rows do not match, or there are none.
    """
    ctrl, cov = as_queries(ctrl_emb, pert_cov, name=name, embed_dim=embed_dim, cov_dim=cov_dim)
    pert = as_matrix(pert_emb, name=f"{name}: pert_emb", n_genes=ctrl.shape[1])
    if len(pert) != len(ctrl):
        msg = f"{name}: pert_emb has {len(pert)} rows and ctrl_emb {len(ctrl)}; pair them"
        raise UsageError(msg)
    if len(ctrl) == 0:
        msg = f"{name}: there are no cells, expected at least one pair"
        raise UsageError(msg)
    return ctrl, pert, cov


def as_queries(
    ctrl_emb: Any,
    pert_cov: Any,
    *,
    name: str,
    embed_dim: int | None = None,
    cov_dim: int | None = None,
) -> tuple[F32, F32]:
    """Return rows to predict as float32 arrays; parameters and errors as `as_pairs`."""
    ctrl = as_matrix(ctrl_emb, name=f"{name}: ctrl_emb", n_genes=embed_dim)
    cov = as_matrix(pert_cov, name=f"{name}: pert_cov", n_genes=cov_dim)
    if len(cov) != len(ctrl):
        msg = f"{name}: pert_cov has {len(cov)} rows and ctrl_emb {len(ctrl)}; give one per cell"
        raise UsageError(msg)
    return ctrl, cov


def as_labels(labels: Any, n: int, *, name: str) -> StrArray:
    """Return labels of n rows as an array of strings; None gives the same label to all."""
    if labels is None:
        return np.full(n, "", dtype=object)
    found = np.asarray(labels).astype(str).astype(object)
    if found.shape != (n,):
        msg = f"{name} has shape {found.shape}, expected ({n},): one label per cell"
        raise UsageError(msg)
    return found


def by_descriptor(pert_cov: F32) -> tuple[F32, IntArray]:
    """Group rows by their descriptor.

    Parameters
    ----------
    pert_cov
        Array of shape (n_cells, cov_dim).

    Returns
    -------
    The distinct descriptors, array of shape (n_groups, cov_dim), and each row's group.
    """
    if len(pert_cov) == 0:
        return pert_cov, np.empty(0, dtype=np.int64)
    # Adding zero makes -0.0 and 0.0 the same.
    distinct, group = np.unique(pert_cov + 0.0, axis=0, return_inverse=True)
    return distinct, group.reshape(-1).astype(np.int64)


def mean_shifts(
    ctrl_emb: F32, pert_emb: F32, pert_cov: F32
) -> tuple[F32, npt.NDArray[np.float64], IntArray]:
    """Average the shift of each perturbation over its cells.

    Parameters
    ----------
    ctrl_emb, pert_emb, pert_cov
        As `as_pairs` returns them.

    Returns
    -------
    The distinct descriptors, array of shape (n_perturbations, cov_dim); the mean of
    pert_emb - ctrl_emb of each, float64 array of shape (n_perturbations, embed_dim); and each
    row's perturbation.
    """
    descriptors, group = by_descriptor(pert_cov)
    sums = np.zeros((len(descriptors), ctrl_emb.shape[1]))
    np.add.at(sums, group, pert_emb.astype(np.float64) - ctrl_emb)
    return descriptors, sums / np.bincount(group)[:, None], group
