"""What a model costs, as entries beside the metrics: rows of their own, open to the gate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from reconeval.errors import Undefined
from reconeval.metrics.registry import METRICS, Metric, metric_of
from reconeval.query_mapping.entries import MAPPING

if TYPE_CHECKING:
    from reconeval.metrics.pair import Pair

__all__ = ["COSTS", "PREDICT_ROUNDS", "find"]

PREDICT_ROUNDS = 5  # predictions that are timed, after a warm-up


def _measured(_: Pair) -> float:
    msg = "a cost is measured while the model runs, not computed from a prediction"
    raise Undefined(msg)


def _cost(name: str, unit: str, summary: str, *, higher_is_better: bool = False) -> Metric:
    return Metric(
        name=name,
        family="cost",
        higher_is_better=higher_is_better,
        best=math.inf if higher_is_better else 0.0,
        range=(0.0, math.inf),
        unit=unit,
        paired=False,
        source="reconeval",
        summary=summary,
        compute=_measured,
    )


COSTS: dict[str, Metric] = {
    cost.name: cost
    for cost in (
        _cost("train_seconds", "s", "wall time of training, median over seeds"),
        _cost(
            "predict_cells_per_second",
            "cells/s",
            "test cells predicted per second, median over rounds",
            higher_is_better=True,
        ),
        _cost("peak_rss_mb", "MB", "highest resident memory of the process in training"),
        _cost("train_rss_mb", "MB", "resident memory of the process that training added"),
        _cost("peak_gpu_mb", "MB", "highest GPU memory that torch allocated in training"),
        _cost("n_parameters", "", "number of values that the model learns"),
    )
}


def find(name: str) -> Metric:
    """Return the metric or cost of that name; `UsageError` with the nearest where none is."""
    import reconeval.metrics  # noqa: F401  (fills the registry)

    found = COSTS.get(name) or MAPPING.get(name)
    return found or metric_of(name, {**METRICS, **MAPPING, **COSTS})
