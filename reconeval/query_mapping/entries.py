"""The questions of query mapping as entries beside the metrics: rows of their own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from reconeval.errors import Undefined
from reconeval.metrics.registry import Metric

if TYPE_CHECKING:
    from reconeval.metrics.pair import Pair

__all__ = ["MAPPING", "MOST_DIFFERENCE"]

MOST_DIFFERENCE = 1e-5  # float32 of latent values around 1 has an error of 1e-6
_UNIT = "latent units"
_DECODED = "log1p CP10k"
_EITHER = f"{_UNIT} or {_DECODED}"


def _measured(_: Pair) -> float:
    msg = "query mapping is measured on trained models, not computed from a prediction"
    raise Undefined(msg)


def _entry(
    name: str,
    summary: str,
    *,
    limit: float | None = None,
    best: float = 0.0,
    bounds: tuple[float, float] = (0.0, math.inf),
    unit: str = _UNIT,
) -> Metric:
    return Metric(
        name=name,
        family="query_mapping",
        higher_is_better=None if best else False,
        best=best,
        range=bounds,
        unit=unit,
        paired=True,
        source="reconeval",
        summary=summary,
        compute=_measured,
        limit=limit,
    )


MAPPING: dict[str, Metric] = {
    entry.name: entry
    for entry in (
        _entry(
            "reference_drift",
            "largest change of a reference cell's latent representation by query training",
            limit=MOST_DIFFERENCE,
        ),
        _entry(
            "reference_reconstruction_drift",
            "largest change of a reference cell's reconstruction by query training",
            unit=_DECODED,
        ),
        _entry(
            "query_batch_dependence",
            "largest change of a query cell's latent representation when its batch is encoded "
            "alone",
            limit=MOST_DIFFERENCE,
        ),
        _entry(
            "query_minibatch_dependence",
            "largest change when 1, 7, 64 or all query cells are encoded at once",
            limit=MOST_DIFFERENCE,
        ),
        _entry(
            "query_separate_vs_joint_epochs",
            "largest difference of query cells mapped batch by batch or all at once, equal epochs",
        ),
        _entry(
            "query_separate_vs_joint_steps",
            "the same, each batch with as many optimiser steps as all at once",
        ),
        _entry(
            "query_steps_share",
            "share of the mean squared difference at equal epochs that equal steps take away, by "
            "more epochs: a KL weight that rises with epochs then differs, too",
            best=1.0,
            bounds=(-math.inf, 1.0),
            unit="",
        ),
        _entry(
            "query_other_seed",
            "largest difference of query cells between two joint trainings of other seeds",
        ),
        _entry(
            "query_latent_sd",
            "standard deviation of the query's latent representation, mean over dimensions",
            best=1.0,
        ),
        _entry(
            "query_reload_difference",
            "largest change by saving and loading, of what a query cell is encoded or decoded to",
            limit=0.0,
            unit=_EITHER,
        ),
        _entry(
            "query_same_seed_difference",
            "largest difference between two joint trainings with the same seed, encoded or decoded",
            limit=0.0,
            unit=_EITHER,
        ),
    )
}
