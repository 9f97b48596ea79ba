"""The table of metrics: what each is called, which way is better, what it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from reconeval.errors import Undefined, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconeval._typing import FloatArray
    from reconeval.metrics.pair import Pair

__all__ = [
    "METRICS",
    "Family",
    "Metric",
    "Score",
    "get_metric",
    "metric_of",
    "register",
    "require_finite",
    "score",
]

# Squares of larger values overflow float32; log1p of counts per 10 000 stays below 10.
LARGEST = 1e15

Family = Literal["statistical", "biological", "perturbational", "query_mapping", "cost"]


class Score(NamedTuple):
    """A metric's value; NaN comes with the reason, and only then is there one."""

    value: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A declared metric.

    Attributes
    ----------
    name
        Its key in options, rows and tables.
    family
        The group it is averaged in.
    higher_is_better
        The direction; None where `best` lies inside the range and both sides of it are worse.
    best
        The value of a perfect prediction.
    range
        Lowest and highest possible value.
    unit
        Unit of the value, or what one unit of it means; empty for a pure number.
    paired
        Whether row i of the prediction must be the same cell as row i of the truth.
    needs
        Parts of `Truth` that must be there: train, counts, cell_types, reference, latent.
    version
        Raised whenever values change; rows of another version are not compared.
    source
        DOI or name of the definition.
    summary
        One line for legends.
    compute
        The value for a pair; raises `Undefined` with the reason where there is none.
    limit
        The worst value that passes, whatever the data and the model; None where these decide.
    """

    name: str
    family: Family
    higher_is_better: bool | None
    best: float
    range: tuple[float, float]
    unit: str = ""
    paired: bool
    needs: frozenset[str] = frozenset()
    version: int = 1
    source: str
    summary: str
    compute: Callable[[Pair], float]
    limit: float | None = None

    def badness(self, value: float) -> float:
        """Return how bad a value is: lower is better for every metric, whatever its direction."""
        if self.higher_is_better is None:
            return abs(value - self.best)
        return -value if self.higher_is_better else value

    @property
    def arrow(self) -> str:
        """The direction as a sign for a table's header."""
        return {True: "↑", False: "↓", None: f"→{self.best:g}"}[self.higher_is_better]


METRICS: dict[str, Metric] = {}


def register(metrics: Iterable[Metric]) -> None:
    """Add metrics to the table; a name may be taken once."""
    for metric in metrics:
        if metric.name in METRICS:
            msg = f"metric {metric.name!r} is registered twice"
            raise ValueError(msg)
        METRICS[metric.name] = metric


def get_metric(name: str) -> Metric:
    """Return the metric of that name, or raise `UsageError` with the nearest ones."""
    return metric_of(name, METRICS)


def metric_of(name: str, known: Mapping[str, Metric]) -> Metric:
    """Return the metric of that name among the known, or raise `UsageError` with the nearest."""
    if name not in known:
        from reconeval.filling import hint

        msg = f"unknown metric {name!r}{hint(name, known, 'known:', most=len(known))}"
        raise UsageError(msg)
    return known[name]


def score(metric: Metric, pair: Pair) -> Score:
    """Compute one metric.

    Parameters
    ----------
    metric
        The metric.
    pair
        Truth and prediction.

    Returns
    -------
    The value, or NaN with the reason: something the metric needs is missing, the numbers of
    cells differ for a paired metric, the prediction is not finite, or the metric is undefined.
    """
    import numpy as np

    missing = metric.needs - pair.truth.provides
    if missing:
        return Score(math.nan, f"needs {', '.join(sorted(missing))}, which the data do not have")
    if metric.paired and pair.prediction.shape[0] != pair.truth.X.shape[0]:
        counts = f"{pair.prediction.shape[0]} predicted, {pair.truth.X.shape[0]} measured"
        return Score(math.nan, f"needs the same cells on both sides ({counts})")
    try:
        pair.cached("finite", lambda: require_finite(pair.prediction))
        # A model may have left NumPy raising where it should warn.
        with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
            value = float(metric.compute(pair))
    except Undefined as reason:
        return Score(math.nan, str(reason))
    if not math.isfinite(value):
        return Score(math.nan, f"{metric.name} came out as {value}")
    return Score(value)


def require_finite(values: FloatArray, name: str = "the prediction") -> None:
    """Raise `Undefined` where a model's output has values that no metric can work with.

    Parameters
    ----------
    values
        Array that a model made, of any shape.
    name
        What the reason calls it.

    Raises
    ------
    Undefined
        If a value is NaN, infinite or too large.
    """
    # NaN is neither above nor below; no copy of the matrix is made.
    if values.size and not (values.min() > -LARGEST and values.max() < LARGEST):
        msg = f"{name} has NaN or infinite values, or beyond {LARGEST:g}"
        raise Undefined(msg)
