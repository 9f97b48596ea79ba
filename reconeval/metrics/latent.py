"""Metrics of genes, taken in an embedding: entries of the table, named `latent_...`.

They are computed of the `latent` part of a truth and a prediction, whose columns are dimensions.
Not among them are metrics that need genes (tests of expression, zeros, counts), one with a fixed
bandwidth, since the scale of an embedding is arbitrary, and kNN purity, which looks for
neighbours in the embedding anyway.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from reconeval.errors import Undefined
from reconeval.metrics.registry import METRICS, Metric, score

if TYPE_CHECKING:
    from reconeval.metrics.pair import Pair

__all__ = ["PREFIX", "latent_metrics"]

PREFIX = "latent_"
_NAMES = (
    "r2",
    "mse",
    "mae",
    "pearson_cell",
    "energy_distance",
    "energy_distance_pca",
    "mmd_rbf_median",
    "sinkhorn_divergence",
    "c2st_auc",
    "variance_log2_ratio",
    "pearson_delta",
    "pearson_delta_pert",
    "weighted_r2_delta_pert",
    "weighted_mse",
    "discrimination_l1",
    "discrimination_l2",
    "discrimination_cosine",
    "relative_distance",
)


def latent_metrics() -> tuple[Metric, ...]:
    """Return the entries, one for each original in the table."""
    return tuple(_latent(METRICS[name]) for name in _NAMES)


def _latent(original: Metric) -> Metric:
    """Return the entry of a metric in the embedding."""
    summary = original.summary.replace("genes", "dimensions").replace("gene", "dimension")
    return replace(
        original,
        name=PREFIX + original.name,
        unit=original.unit.replace("log1p CP10k", "latent units"),
        needs=frozenset({"latent"}),
        summary=f"{summary}, in the embedding",
        compute=partial(_compute, original),
    )


def _compute(original: Metric, pair: Pair) -> float:
    if pair.latent is None:
        msg = "needs the prediction in the embedding, which was not given"
        raise Undefined(msg)
    value, reason = score(original, pair.latent)
    if reason:
        raise Undefined(reason)
    return value
