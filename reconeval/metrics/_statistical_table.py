"""The statistical metrics as entries of the table, on what truth and pair keep."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics import correlation, statistical
from reconeval.metrics._shared import bandwidth_gammas, decisions, in_components, in_genes, moves
from reconeval.metrics.registry import Metric, register
from reconeval.metrics.thinning import poisson_deviance, thinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray
    from reconeval.metrics.pair import Pair

__all__: list[str] = []

_PUBLISHED = "doi:10.64898/2026.06.15.731445"
_SZEKELY = "doi:10.1016/j.jspi.2013.03.018"
_GRETTON = "JMLR 13 (2012) 723-773"
_LOG = "log1p CP10k"
_TRAIN = frozenset({"train"})


def _on_arrays(function: Callable[[FloatArray, FloatArray], float]) -> Callable[[Pair], float]:
    return lambda pair: function(pair.truth.X, pair.prediction)


def _mmd_rbf_median(pair: Pair) -> float:
    bandwidth_gammas(pair.truth)  # raises the reason where there is no bandwidth
    return in_components(pair).mmd(unbiased=True)


def _sinkhorn_divergence(pair: Pair) -> float:
    between, truth, prediction = moves(pair)
    return 2 * between.cost - truth.cost - prediction.cost


def _poisson_deviance(pair: Pair) -> float:
    parts, prediction = thinned(pair.truth), pair.thinned_prediction
    if prediction is None:
        msg = "needs the model's prediction for the thinned cells, which was not given"
        raise Undefined(msg)
    prediction = np.asarray(prediction)
    if prediction.shape != parts.X.shape:
        msg = f"the prediction for the {parts.X.shape} thinned cells has shape {prediction.shape}"
        raise Undefined(msg)
    mu = parts.expected(prediction)
    if not np.isfinite(mu).all():
        low, high = np.min(prediction), np.max(prediction)
        msg = f"the prediction for the thinned cells, {low:.3g} to {high:.3g}, has no finite counts"
        raise Undefined(msg)
    return poisson_deviance(parts.held_out, mu)


_statistical = partial(Metric, family="statistical")
_correlation = partial(
    _statistical,
    higher_is_better=True,
    best=1.0,
    range=(-1.0, 1.0),
    paired=True,
    source="doi:10.1098/rspl.1895.0041",
)
_error = partial(
    _statistical, higher_is_better=False, best=0.0, range=(0.0, math.inf), paired=False
)

register(
    [
        _statistical(
            name="r2",
            higher_is_better=True,
            best=1.0,
            range=(-math.inf, 1.0),
            paired=False,
            source=_PUBLISHED,
            summary="R² of the genes' means",
            compute=_on_arrays(statistical.r2),
        ),
        _error(
            name="mse",
            unit=f"({_LOG})²",
            paired=True,
            source=_PUBLISHED,
            summary="mean squared error of paired cells",
            compute=_on_arrays(statistical.mse),
        ),
        _error(
            name="mae",
            unit=_LOG,
            paired=True,
            source="reconeval",
            summary="mean absolute error of paired cells",
            compute=_on_arrays(statistical.mae),
        ),
        _correlation(
            name="pearson_cell",
            summary="mean over cells of Pearson across genes",
            compute=_on_arrays(correlation.pearson_cell),
        ),
        _correlation(
            name="pearson_gene",
            summary="mean over genes of Pearson across cells",
            compute=_on_arrays(correlation.pearson_gene),
        ),
        _error(
            name="energy_distance",
            unit=_LOG,
            source=_SZEKELY,
            summary="energy distance, all genes",
            compute=lambda pair: in_genes(pair).energy(),
        ),
        _error(
            name="energy_distance_pca",
            range=(-math.inf, math.inf),
            unit=_LOG,
            needs=_TRAIN,
            source=_SZEKELY,
            summary="energy distance, unbiased, 50 components of the training truth",
            compute=lambda pair: in_components(pair).energy(unbiased=True),
        ),
        _error(
            name="mmd_rbf",
            range=(0.0, 2.0),
            source=_GRETTON,
            summary="squared MMD, RBF with gamma 1, all genes",
            compute=lambda pair: in_genes(pair).mmd(),
        ),
        _error(
            name="mmd_rbf_median",
            range=(-2.0, 2.0),
            needs=_TRAIN,
            source=_GRETTON,
            summary="squared MMD, unbiased, five median bandwidths, 50 components",
            compute=_mmd_rbf_median,
        ),
        _error(
            name="sinkhorn_divergence",
            range=(-math.inf, math.inf),
            unit=_LOG,
            source="doi:10.48550/arXiv.1706.00292",
            summary="Sinkhorn divergence, Euclidean cost, all genes, up to 500 cells",
            compute=_sinkhorn_divergence,
        ),
        _statistical(
            name="c2st_auc",
            higher_is_better=None,
            best=0.5,
            range=(0.0, 1.0),
            paired=False,
            needs=_TRAIN,
            source="doi:10.48550/arXiv.1610.06545",
            summary="AUC of a linear classifier of predicted against measured cells",
            compute=lambda pair: decisions(pair).auc(),
        ),
        _statistical(
            name="variance_log2_ratio",
            higher_is_better=None,
            best=0.0,
            range=(
                math.log2(statistical.COLLAPSE_FLOOR / (1 + statistical.COLLAPSE_FLOOR)),
                math.inf,
            ),
            unit="log2",
            paired=False,
            source="reconeval",
            summary="median log2 ratio of the variances of variable genes; below 0 is collapse",
            compute=_on_arrays(statistical.variance_log2_ratio),
        ),
        _error(
            name="zero_fraction_error",
            range=(0.0, 1.0),
            source="reconeval",
            summary="mean over genes of the difference in the fraction of zeros",
            compute=_on_arrays(statistical.zero_fraction_error),
        ),
        _error(
            name="poisson_deviance",
            paired=True,
            needs=frozenset({"counts"}),
            source="doi:10.1101/786269",
            summary="Poisson deviance of 10 % held-out molecules",
            compute=_poisson_deviance,
        ),
    ]
)
