"""Prepare measured cells once, and put one prediction after the other beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from reconeval.errors import UsageError
from reconeval.metrics.alignment import aligned_matrix, aligned_pair, matching_rows
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.perturbational.anndata_api import embedding_of, labels_of
from reconeval.metrics.perturbational.pair import PerturbationPair
from reconeval.metrics.perturbational.truth import PerturbationTruth
from reconeval.metrics.registry import METRICS, get_metric, score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

    from reconeval._typing import FloatArray, StrArray
    from reconeval.metrics.registry import Metric

__all__ = ["lacking", "measured", "pair_of", "prepare", "selected"]

_ONLY = "perturbed"  # what all cells are called where no column says more


class _Origin(NamedTuple):
    """The AnnData that a truth came from, without what the truth holds already."""

    cells: AnnData
    perturbation_key: str | None = None
    covariate_key: str | None = None
    use_rep: str | None = None


def prepare(
    adata_true: AnnData,
    adata_ctrl: AnnData | None = None,
    *,
    metrics: Sequence[str] | Literal["all"] = "all",
    adata_train: AnnData | None = None,
    cell_type_key: str | None = None,
    perturbation_key: str | None = None,
    covariate_key: str | None = None,
    control: str = "control",
    targets: Mapping[str, str] | None = None,
    use_rep: str | None = None,
    device: str | None = None,
    seed: int = 0,
) -> Truth:
    """Prepare a truth for many predictions: ranks, distances, tests and scores of its own.

    Takes about as long as scoring one prediction, and saves that part of every further one.

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
        If genes, labels or metrics are not known, or labels come without controls.

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
        device=device,
        seed=seed,
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


def measured(
    adata_true: AnnData,
    adata_ctrl: AnnData | None = None,
    *,
    adata_train: AnnData | None = None,
    cell_type_key: str | None = None,
    perturbation_key: str | None = None,
    covariate_key: str | None = None,
    control: str = "control",
    targets: Mapping[str, str] | None = None,
    use_rep: str | None = None,
    device: str | None = None,
    seed: int = 0,
) -> Truth:
    """Make a truth of AnnData; parameters and errors as for `prepare`.

    Returns
    -------
    The truth, with nothing computed yet; a `PerturbationTruth` where there are controls.
    """
    genes = tuple(adata_true.var_names)
    X = aligned_matrix(adata_true, genes, "adata_true")
    types = None if cell_type_key is None else labels_of(adata_true, cell_type_key, "adata_true")
    train = None if adata_train is None else aligned_matrix(adata_train, genes, "adata_train")
    if adata_ctrl is None:
        keys = {"perturbation_key": perturbation_key, "covariate_key": covariate_key}
        for name, key in {**keys, "targets": targets, "use_rep": use_rep}.items():
            if key is not None:
                msg = f"got {name} without adata_ctrl; give the measured control cells, too"
                raise UsageError(msg)
        truth = Truth(X, genes, train=train, cell_types=types, device=device, seed=seed)
    else:
        embeddings = (
            None if use_rep is None else embedding_of(adata, use_rep, name)
            for adata, name in ((adata_true, "adata_true"), (adata_ctrl, "adata_ctrl"))
        )
        embedding, reference_embedding = embeddings
        labelled = adata_train if perturbation_key is not None else None
        truth = PerturbationTruth(
            X,
            genes,
            perturbations=_perturbations(adata_true, perturbation_key, "adata_true"),
            covariates=labels_of(adata_true, covariate_key, "adata_true"),
            reference=aligned_matrix(adata_ctrl, genes, "adata_ctrl"),
            reference_covariates=labels_of(adata_ctrl, covariate_key, "adata_ctrl"),
            train=train,
            train_perturbations=labelled and labels_of(labelled, perturbation_key, "adata_train"),
            train_covariates=labelled and labels_of(labelled, covariate_key, "adata_train"),
            control=control,
            targets=targets,
            embedding=embedding,
            reference_embedding=reference_embedding,
            cell_types=types,
            device=device,
            seed=seed,
        )
    origin = _Origin(_bare(truth, adata_true), perturbation_key, covariate_key, use_rep)
    truth.cached("origin", lambda: origin)
    return truth


def pair_of(truth: Truth, adata_pred: AnnData, adata_ctrl_pred: AnnData | None = None) -> Pair:
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

    Returns
    -------
    The pair; a `PerturbationPair` where the truth has controls.

    Raises
    ------
    UsageError
        If genes, cells or labels do not fit, see `reconeval.metrics.aligned_pair`.
    """
    origin = truth.cached("origin", lambda: _Origin(_bare(truth)))
    prediction = aligned_pair(origin.cells, adata_pred).prediction
    if isinstance(truth, PerturbationTruth):
        pair: Pair = _perturbation_pair(truth, origin, adata_pred, prediction)
    else:
        pair = Pair(truth, prediction)
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


def _bare(truth: Truth, named: AnnData | None = None) -> AnnData:
    """Return the truth's matrix as AnnData, under the names of its cells where it has any."""
    import pandas as pd
    from anndata import AnnData

    obs = None if named is None else pd.DataFrame(index=named.obs_names)
    return AnnData(truth.X, obs=obs, var=pd.DataFrame(index=pd.Index(truth.genes)))


def _perturbation_pair(
    truth: PerturbationTruth, origin: _Origin, adata_pred: AnnData, prediction: FloatArray
) -> PerturbationPair:
    """Bring labels and embedding into the order that the predicted cells were brought into."""
    rows = matching_rows(origin.cells.obs_names, adata_pred.obs_names)
    order = slice(None) if rows is None else rows
    same = adata_pred.n_obs == len(truth.X)

    def label(key: str | None, otherwise: StrArray) -> StrArray:
        if same and (key is None or key not in adata_pred.obs):
            return otherwise
        return labels_of(adata_pred, key, "adata_pred")[order]

    key, rep = origin.perturbation_key, origin.use_rep
    return PerturbationPair(
        truth,
        prediction,
        perturbations=(
            _perturbations(adata_pred, None, "adata_pred")
            if key is None
            else label(key, truth.perturbations)
        ),
        covariates=label(origin.covariate_key, truth.covariates),
        embedding=None if rep is None else embedding_of(adata_pred, rep, "adata_pred")[order],
    )


def _perturbations(adata: AnnData, key: str | None, name: str) -> StrArray:
    return np.full(adata.n_obs, _ONLY) if key is None else labels_of(adata, key, name)
