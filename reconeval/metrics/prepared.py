"""Prepare measured cells once, and put one prediction after the other beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reconeval.errors import UsageError
from reconeval.metrics._checks import require_anndata
from reconeval.metrics.alignment import (
    aligned_matrix,
    aligned_pair,
    embedding_of,
    labels_of,
    matching_rows,
)
from reconeval.metrics.measured import measured, origin_of, perturbations_of
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.perturbational.pair import PerturbationPair
from reconeval.metrics.perturbational.truth import PerturbationTruth
from reconeval.metrics.registry import METRICS, get_metric, score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from reconeval._typing import StrArray
    from reconeval.metrics.measured import Origin
    from reconeval.metrics.registry import Metric

__all__ = ["lacking", "pair_of", "prepare", "selected"]


def prepare(
    adata_true: AnnData,
    adata_ctrl: AnnData | None = None,
    *,
    metrics: Sequence[str] | Literal["all"] = "all",
    adata_train: AnnData | None = None,
    cell_type_key: str | None = None,
    perturbation_key: str | None = None,
    covariate_key: str | None = None,
    control: str | None = "control",
    targets: Mapping[str, str] | None = None,
    use_rep: str | None = None,
    s_genes: Sequence[str] | None = None,
    g2m_genes: Sequence[str] | None = None,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    net: pd.DataFrame | None = None,
    cytokine_dict: Mapping[str, Sequence[str]] | None = None,
    device: str | None = None,
    seed: int = 0,
) -> Truth:
    """Prepare a truth for many predictions: ranks, distances, tests and scores of its own.

    Takes about as long as scoring one prediction, and saves that part of every further one. The
    truth is a copy: changing the AnnData afterwards changes no score.

    Parameters
    ----------
    adata_true
        Measured cells, (n_cells, n_genes); `X` dense or sparse, log1p of counts per 10 000.
    adata_ctrl
        Measured control cells, same genes and scale; then `adata_true` has perturbed cells alone.
    metrics
        Names of the metrics to prepare for, or "all" for each that these arguments suffice for.
        Others can still be scored; they prepare what they need on first use.
    adata_train
        Measured training cells, same genes and scale.
    cell_type_key
        Column of `adata_true.obs`, whose types' markers are to be recovered where there are no
        controls.
    perturbation_key, covariate_key, control, targets
        Labels of the cells, as for `compute_perturbational_metrics`.
    use_rep
        Key of `obsm` of all, where kNN purity compares cells; default in genes.
    s_genes, g2m_genes, gene_sets, net, cytokine_dict
        Gene sets in place of the shipped ones, as for `compute_biological_metrics`.
    device
        Where dense work is done, such as "cuda"; default NumPy, see `reconeval.metrics.device`.
    seed
        Seeds halves of controls, folds and subsamples.

    Returns
    -------
    The truth, for `compute_all_metrics(truth, adata_pred)` or, on arrays, `Pair(truth, Y)`.

    Raises
    ------
    UsageError
        If genes, labels, gene sets or metrics do not fit, or labels come without controls.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> from reconeval.metrics import compute_all_metrics
    >>> cells = AnnData(np.random.default_rng(0).random((30, 4)).astype(np.float32))
    >>> truth = prepare(cells, metrics=["r2", "mae", "energy_distance"])
    >>> compute_all_metrics(truth, cells, metrics=["r2", "mae"])
    {'r2': 1.0, 'mae': 0.0}
    """
    truth = measured(
        adata_true,
        adata_ctrl,
        adata_train=adata_train,
        cell_type_key=cell_type_key,
        perturbation_key=perturbation_key,
        covariate_key=covariate_key,
        control=control,
        targets=targets,
        use_rep=use_rep,
        s_genes=s_genes,
        g2m_genes=g2m_genes,
        gene_sets=gene_sets,
        net=net,
        cytokine_dict=cytokine_dict,
        device=device,
        seed=seed,
        copy=True,
    )
    # The truth as its own prediction asks for every part of the truth that any other can ask for.
    itself = (
        PerturbationPair(truth, truth.X, embedding=truth.embedding)
        if isinstance(truth, PerturbationTruth)
        else Pair(truth, truth.X)
    )
    for metric in selected(metrics, itself):
        score(metric, itself)
    return truth


def pair_of(
    truth: Truth,
    adata_pred: AnnData,
    adata_ctrl_pred: AnnData | None = None,
    *,
    matched: bool = True,
) -> Pair:
    """Put a prediction beside a truth, genes and cells aligned.

    Parameters
    ----------
    truth
        From `prepare`, `measured` or arrays; the cells of one from arrays have no names.
    adata_pred
        Predicted cells, same scale, genes in any order; cells are matched by name where both
        sides name the same ones and by position where the names say nothing. Labels and embedding
        are read under the truth's keys; labels may be absent where the cells are the measured
        ones.
    adata_ctrl_pred
        Predicted control cells, the reference of the predicted genes' recovery.
    matched
        Whether cells are matched; without, a prediction stands as it comes, for a truth with
        controls, and must have all labels itself.

    Returns
    -------
    The pair; a `PerturbationPair` where the truth has controls.

    Raises
    ------
    UsageError
        If genes, cells or labels do not fit, see `reconeval.metrics.aligned_pair`.
    """
    require_anndata(adata_pred, "adata_pred")
    origin = origin_of(truth)
    if isinstance(truth, PerturbationTruth):
        pair: Pair = _perturbation_pair(truth, origin, adata_pred, matched=matched)
    else:
        pair = Pair(truth, aligned_pair(origin.cells, adata_pred).prediction)
    if adata_ctrl_pred is not None:
        if truth.reference is None:
            msg = "got adata_ctrl_pred without adata_ctrl; give the measured controls, too"
            raise UsageError(msg)
        pair.reference_prediction = aligned_matrix(adata_ctrl_pred, truth.genes, "adata_ctrl_pred")
    return pair


def selected(metrics: Sequence[str] | Literal["all"], pair: Pair) -> list[Metric]:
    """Return the metrics of these names, or all that the pair has everything for.

    Raises
    ------
    UsageError
        If a name is unknown, or names are not in a list.
    """
    if metrics == "all":
        return [metric for metric in METRICS.values() if not lacking(metric, pair)]
    if isinstance(metrics, str):
        msg = f'metrics={metrics!r} is a string, expected names in a list or "all"'
        raise UsageError(msg)
    return [get_metric(name) for name in metrics]


def lacking(metric: Metric, pair: Pair) -> tuple[str, ...]:
    """Return what a metric needs and the pair does not have, in words; empty if nothing."""
    missing = metric.needs - pair.truth.provides
    if missing:
        return tuple(sorted(missing))
    if "counts" in metric.needs and pair.thinned_prediction is None:
        return ("thinned_prediction",)
    if metric.name.startswith("deg_") and not {"reference", "cell_types"} & pair.truth.provides:
        return ("reference or cell_types",)
    if metric.paired and len(pair.prediction) != len(pair.truth.X):
        return ("the same cells on both sides",)
    return ()


def _perturbation_pair(
    truth: PerturbationTruth, origin: Origin, adata_pred: AnnData, *, matched: bool
) -> PerturbationPair:
    """Bring cells, labels and embedding into the order of the truth."""
    names = origin.cells.obs_names, adata_pred.obs_names
    rows = matching_rows(*names) if matched else None
    order = slice(None) if rows is None else rows
    same = matched and adata_pred.n_obs == len(truth.X)

    def label(key: str | None, otherwise: StrArray) -> StrArray:
        if same and (key is None or key not in adata_pred.obs):
            return otherwise
        return labels_of(adata_pred, key, "adata_pred")[order]

    key, rep = origin.perturbation_key, origin.use_rep
    return PerturbationPair(
        truth,
        aligned_matrix(adata_pred, truth.genes, "adata_pred")[order],
        perturbations=(
            perturbations_of(adata_pred, None, "adata_pred")
            if key is None
            else label(key, truth.perturbations)
        ),
        covariates=label(origin.covariate_key, truth.covariates),
        embedding=(
            None
            if rep is None
            else embedding_of(adata_pred, rep, "adata_pred", predicted=True)[order]
        ),
    )
