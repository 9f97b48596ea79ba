"""Make a truth of measured cells in AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reconeval.errors import UsageError
from reconeval.metrics.alignment import aligned_matrix, embedding_of, labels_of
from reconeval.metrics.gene_sets import GeneSets
from reconeval.metrics.pair import Truth
from reconeval.metrics.perturbational.truth import PerturbationTruth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from reconeval._typing import FloatArray, StrArray

__all__ = ["Origin", "measured", "origin_of", "perturbations_of"]

_ONLY = "perturbed"  # what all cells are called where no column says more


class Origin(NamedTuple):
    """The AnnData that a truth came from, without what the truth holds already."""

    cells: AnnData
    perturbation_key: str | None = None
    covariate_key: str | None = None
    use_rep: str | None = None


def measured(
    adata_true: AnnData,
    adata_ctrl: AnnData | None = None,
    *,
    adata_train: AnnData | None = None,
    cell_type_key: str | None = None,
    perturbation_key: str | None = None,
    covariate_key: str | None = None,
    use_rep: str | None = None,
    s_genes: Sequence[str] | None = None,
    g2m_genes: Sequence[str] | None = None,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    net: pd.DataFrame | None = None,
    cytokine_dict: Mapping[str, Sequence[str]] | None = None,
    copy: bool = False,
    name: str = "adata_true",
    **options: Any,
) -> Truth:
    """Make a truth of AnnData.

    Parameters
    ----------
    adata_true, adata_ctrl, adata_train, cell_type_key, perturbation_key, covariate_key, use_rep
        As for `prepare`.
    s_genes, g2m_genes, gene_sets, net, cytokine_dict
        Likewise.
    copy
        Whether no matrix may be one of the AnnData's own; without, dense ones are not copied.
    name
        What `adata_true` is called in an error.
    **options
        Those of `prepare` that `PerturbationTruth` takes as they are: `control` and `targets`,
        which need controls, `device` and `seed`.

    Returns
    -------
    The truth, with nothing computed yet; a `PerturbationTruth` where there are controls.

    Raises
    ------
    UsageError
        As for `prepare`.
    """
    genes = tuple(adata_true.var_names)

    def matrix(adata: AnnData, owner: str) -> FloatArray:
        return _own(aligned_matrix(adata, genes, owner), adata.X if copy else None)

    def embedding(adata: AnnData, owner: str) -> FloatArray | None:
        if use_rep is None:
            return None
        return _own(embedding_of(adata, use_rep, owner), adata.obsm[use_rep] if copy else None)

    X = matrix(adata_true, name)
    options |= {
        "train": None if adata_train is None else matrix(adata_train, "adata_train"),
        "cell_types": (
            None if cell_type_key is None else labels_of(adata_true, cell_type_key, name)
        ),
        "gene_sets": GeneSets(
            s_genes=s_genes,
            g2m_genes=g2m_genes,
            gene_sets=gene_sets,
            net=net,
            cytokine_dict=cytokine_dict,
        ),
    }
    keys = {"perturbation_key": perturbation_key, "covariate_key": covariate_key}
    if adata_ctrl is None:
        options.pop("control", None)
        needing = {**keys, "targets": options.pop("targets", None), "use_rep": use_rep}
        for option, value in needing.items():
            if value is not None:
                msg = f"got {option} without adata_ctrl; give the measured control cells, too"
                raise UsageError(msg)
        truth = Truth(X, genes, **options)
    else:
        if adata_train is not None and perturbation_key is not None:
            options |= {
                "train_perturbations": labels_of(adata_train, perturbation_key, "adata_train"),
                "train_covariates": labels_of(adata_train, covariate_key, "adata_train"),
            }
        truth = PerturbationTruth(
            X,
            genes,
            perturbations=perturbations_of(adata_true, perturbation_key, name),
            covariates=labels_of(adata_true, covariate_key, name),
            reference=matrix(adata_ctrl, "adata_ctrl"),
            reference_covariates=labels_of(adata_ctrl, covariate_key, "adata_ctrl"),
            embedding=embedding(adata_true, name),
            reference_embedding=embedding(adata_ctrl, "adata_ctrl"),
            **options,
        )
    origin = Origin(_bare(truth, adata_true), **keys, use_rep=use_rep)
    truth.cached("origin", lambda: origin)
    return truth


def _own(values: FloatArray, source: Any) -> FloatArray:
    """Return the values, copied where they lie in the memory of their source."""
    shared = isinstance(source, np.ndarray) and np.may_share_memory(values, source)
    return values.copy() if shared else values


def origin_of(truth: Truth) -> Origin:
    """Return where a truth came from; the cells of one from arrays have no names."""
    return truth.cached("origin", lambda: Origin(_bare(truth)))


def _bare(truth: Truth, named: AnnData | None = None) -> AnnData:
    """Return the truth's matrix as AnnData, under the names of its cells where it has any."""
    import pandas as pd
    from anndata import AnnData

    obs = None if named is None else pd.DataFrame(index=named.obs_names)
    return AnnData(truth.X, obs=obs, var=pd.DataFrame(index=pd.Index(truth.genes)))


def perturbations_of(adata: AnnData, key: str | None, name: str) -> StrArray:
    """Return the perturbation of each cell, the same for all where no column names it."""
    return np.full(adata.n_obs, _ONLY) if key is None else labels_of(adata, key, name)
