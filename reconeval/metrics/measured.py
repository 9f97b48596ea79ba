"""Make a truth of measured cells in AnnData."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reconeval.errors import UsageError
from reconeval.metrics._checks import require_anndata
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
    require_anndata(adata_true, name)
    read = partial(_Cells, genes=tuple(adata_true.var_names), copy=copy)
    true = read(adata_true, name)
    ctrl = None if adata_ctrl is None else read(adata_ctrl, "adata_ctrl")
    train = None if adata_train is None else read(adata_train, "adata_train")
    X = true.matrix()
    options |= {
        "train": None if train is None else train.matrix(),
        "cell_types": None if cell_type_key is None else true.labels(cell_type_key),
        "gene_sets": GeneSets(
            s_genes=s_genes,
            g2m_genes=g2m_genes,
            gene_sets=gene_sets,
            net=net,
            cytokine_dict=cytokine_dict,
        ),
    }
    keys = {
        "perturbation_key": perturbation_key,
        "covariate_key": covariate_key,
        "use_rep": use_rep,
    }
    if ctrl is None:
        options.pop("control", None)
        _refuse_without_controls({**keys, "targets": options.pop("targets", None)})
        truth = Truth(X, true.genes, **options)
    else:
        options |= _perturbed(true, ctrl, train, **keys)
        truth = PerturbationTruth(X, true.genes, **options)
    origin = Origin(_bare(truth, adata_true), **keys)
    truth.cached("origin", lambda: origin)
    return truth


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells in AnnData, which errors call by `name`, in the order of the truth's genes."""

    adata: AnnData
    name: str
    genes: tuple[str, ...]
    copy: bool

    def matrix(self) -> FloatArray:
        values = aligned_matrix(self.adata, self.genes, self.name)
        return _own(values, self.adata.X) if self.copy else values

    def embedding(self, key: str | None) -> FloatArray | None:
        if key is None:
            return None
        values = embedding_of(self.adata, key, self.name)
        return _own(values, self.adata.obsm[key]) if self.copy else values

    def labels(self, key: str | None) -> StrArray:
        return labels_of(self.adata, key, self.name)


def _refuse_without_controls(needing: Mapping[str, Any]) -> None:
    for option, value in needing.items():
        if value is not None:
            msg = f"got {option} without adata_ctrl; give the measured control cells, too"
            raise UsageError(msg)


def _perturbed(
    true: _Cells,
    ctrl: _Cells,
    train: _Cells | None,
    *,
    perturbation_key: str | None,
    covariate_key: str | None,
    use_rep: str | None,
) -> dict[str, Any]:
    """Return what a `PerturbationTruth` takes beside what every truth does."""
    labelled = {}
    if train is not None and perturbation_key is not None:
        labelled = {
            "train_perturbations": train.labels(perturbation_key),
            "train_covariates": train.labels(covariate_key),
        }
    return labelled | {
        "perturbations": perturbations_of(true.adata, perturbation_key, true.name),
        "covariates": true.labels(covariate_key),
        "reference": ctrl.matrix(),
        "reference_covariates": ctrl.labels(covariate_key),
        "embedding": true.embedding(use_rep),
        "reference_embedding": ctrl.embedding(use_rep),
    }


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
