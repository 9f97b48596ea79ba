"""One number per method from many metrics: rank percentiles, by family and overall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from reconeval.costs import COSTS
from reconeval.errors import UsageError
from reconeval.metrics.perturbational.table import COUNTS
from reconeval.metrics.registry import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from reconeval.metrics.registry import Metric

__all__ = ["HIGHER_IS_BETTER", "aggregate_rank_percentile", "family_of", "without_counts"]

OTHER = "other"
APART = "cost"  # seconds and megabytes are no quality and stay out of the overall mean


class _Directions(Mapping[str, "bool | None"]):
    """A view of the table of metrics, so that metrics registered later are in it."""

    def __getitem__(self, name: str) -> bool | None:
        return METRICS[name].higher_is_better

    def __iter__(self) -> Iterator[str]:
        return iter(METRICS)

    def __len__(self) -> int:
        return len(METRICS)

    def __repr__(self) -> str:
        return repr(dict(self))


HIGHER_IS_BETTER: Mapping[str, bool | None] = _Directions()
"""The direction of each metric of the table: True, False, or None where the best value lies inside
the range. What is None is ranked by its distance from that value, which the table has."""


def aggregate_rank_percentile(
    scores: pd.DataFrame,
    higher_is_better: Mapping[str, bool | None] | None = None,
    *,
    families: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Rank methods in each metric and average the ranks' percentiles.

    In each metric (n - rank) / (n - 1), where the best of the n methods that have a value is of
    rank 1 and equal ones share the mean of their ranks: 1 is best, 0 worst. It says nothing of
    how far methods are apart, and changes with the company: compare releases by the scores.

    Parameters
    ----------
    scores
        Methods x metrics, raw values; NaN where a method has none. The numbers of significant
        genes that stand beside `de_*` are no scores and are left out.
    higher_is_better
        Direction of each metric, None for one whose best value lies inside its range (that must
        be a metric of the table); by default as in `HIGHER_IS_BETTER` and, for costs, in
        `reconeval.costs.COSTS`. What is not in it is looked up there.
    families
        Family of each metric, first that given here, then that of the table, then "other".

    Returns
    -------
    Methods in the order of `scores`, all in [0, 1], higher is better. Columns: `overall`, the
    mean over all metrics but costs; the families, means over their metrics; the metrics; and
    `missing`, the number of metrics in which other methods are ranked and this one has no value.
    A metric in which fewer than two methods have a value, or all have the same, is NaN. So is
    one that a method has no value for, for that method: it is left out of its means, so look at
    `missing` before trusting a rank.

    Raises
    ------
    UsageError
        If a method or metric is named twice, a value is not a number, a direction is unknown, or
        a metric has the name of another column of the result.

    References
    ----------
    doi:10.64898/2026.06.15.731445

    Examples
    --------
    >>> import pandas as pd
    >>> scores = pd.DataFrame({"r2": [0.9, 0.8, 0.7], "mse": [0.2, 0.1, 0.1]}, index=list("ABC"))
    >>> aggregate_rank_percentile(scores, {"r2": True, "mse": False})[["overall", "r2", "mse"]]
       overall   r2   mse
    A    0.500  1.0  0.00
    B    0.625  0.5  0.75
    C    0.375  0.0  0.75
    """
    import pandas as pd

    values = _checked(scores)
    percentiles = values.apply(lambda column: _percentiles(column, higher_is_better))
    metrics = [str(name) for name in values]
    family = {name: family_of(name, families) for name in metrics}
    names = ["overall", *dict.fromkeys(family.values()), "missing"]
    clash = [name for name in metrics if name in names]
    if clash:
        msg = f"a metric is called {clash[0]!r}, as another column of the result; rename it"
        raise UsageError(msg)
    means = {"overall": percentiles[[name for name in metrics if family[name] != APART]]}
    for one in names[1:-1]:
        means[one] = percentiles[[name for name in metrics if family[name] == one]]
    ranked = percentiles.dropna(axis="columns", how="all")
    result = pd.DataFrame({name: part.mean(axis=1) for name, part in means.items()})
    return result.join(percentiles).assign(missing=ranked.isna().sum(axis=1))


def family_of(name: str, families: Mapping[str, str] | None = None) -> str:
    """Return the family of a metric or cost: as given, else as in the table, else "other".

    Parameters
    ----------
    name
        The metric.
    families
        Families that are given.

    Returns
    -------
    The family's name.
    """
    if families is not None and name in families:
        return families[name]
    entry = _entry(name)
    return OTHER if entry is None else entry.family


def _entry(name: str) -> Metric | None:
    return METRICS.get(name) or COSTS.get(name)


def without_counts(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores without the numbers of significant genes, of which none is better."""
    return scores.drop(columns=[name for name in COUNTS if name in scores.columns])


def _checked(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores as floats, each method and metric named once."""
    for kind, names in (("method", scores.index), ("metric", scores.columns)):
        if not names.is_unique:
            repeated = names[names.duplicated()][0]
            msg = f"{kind} {repeated!r} is in the scores more than once; give each its own name"
            raise UsageError(msg)
    try:
        return without_counts(scores).rename(columns=str).astype(np.float64)
    except (TypeError, ValueError) as error:
        msg = f"scores must be numbers, methods x metrics: {error}"
        raise UsageError(msg) from None


def _percentiles(
    column: pd.Series[float], higher_is_better: Mapping[str, bool | None] | None
) -> pd.Series[float]:
    """Rank percentiles of one metric, all NaN where nothing can be ranked."""
    badness = _badness(column, higher_is_better)
    n = badness.count()
    if badness.nunique() < 2:
        return badness * np.nan
    return (n - badness.rank(method="average")) / (n - 1)


def _badness(
    column: pd.Series[float], higher_is_better: Mapping[str, bool | None] | None
) -> pd.Series[float]:
    """Values turned so that lower is better."""
    name = str(column.name)
    if higher_is_better is not None and name in higher_is_better:
        direction = higher_is_better[name]
    elif (entry := _entry(name)) is not None:
        direction = entry.higher_is_better
    else:
        msg = (
            f"direction of metric {name!r} is unknown, for it is not in the table of metrics; "
            f"say it with higher_is_better={{{name!r}: True}} or False"
        )
        raise UsageError(msg)
    if direction is not None:
        return -column if direction else column
    if name not in METRICS:
        msg = (
            f"metric {name!r} has no direction (None) and is not in the table of metrics, which "
            "has the best values; give distances to the best value, lower is better"
        )
        raise UsageError(msg)
    return (column - METRICS[name].best).abs()
