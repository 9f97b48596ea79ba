"""Models by metrics as a table of circles, and what the models reach on average."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from reconeval.costs import COSTS
from reconeval.metrics.aggregate import aggregate_rank_percentile, without_counts
from reconeval.metrics.registry import METRICS
from reconeval.report import texts
from reconeval.report.picture import short_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconeval.report.html._results import Place
    from reconeval.rows import Row

__all__ = ["Bar", "Circle", "Column", "Heatmap", "Line", "arrow", "heatmaps", "summary"]


Percentiles: TypeAlias = "Mapping[str, float]"  # of a model: by metric, family, and overall


@dataclass(frozen=True, slots=True)
class Column:
    """A metric at the head of a table: `voting` where it takes part in the mean."""

    name: str
    family: str
    arrow: str
    summary: str
    voting: bool = True


@dataclass(frozen=True, slots=True)
class Circle:
    """A score: its text, its rank percentile in [0, 1] or None, and its verdict."""

    text: str
    percentile: float | None
    verdict: str
    failed: bool

    @property
    def step(self) -> int | None:
        """The shade, 0 to 10."""
        return None if self.percentile is None else round(10 * self.percentile)


@dataclass(frozen=True, slots=True)
class Bar:
    """A mean percentile in [0, 1], None where there is none, over `missing` metrics fewer."""

    family: str
    value: float | None
    missing: int = 0

    @property
    def step(self) -> int:
        """The shade, 3 to 10: a short bar must be seen, too."""
        return 0 if self.value is None else round(3.5 + 6.5 * self.value)


@dataclass(frozen=True, slots=True)
class Line:
    """A model with its bars, circles and median skill (None without one)."""

    model: str
    bars: Sequence[Bar]
    circles: Mapping[str, Circle | None]
    skill: float | None
    failed: int
    passed: int


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A table: names of its bars, its metrics, and its models from the best."""

    bars: Sequence[str]
    columns: Sequence[Column]
    lines: Sequence[Line]

    @property
    def families(self) -> list[tuple[str, list[Column]]]:
        """The families in order, with their metrics."""
        names = dict.fromkeys(column.family for column in self.columns)
        return [(name, [one for one in self.columns if one.family == name]) for name in names]

    @property
    def votes(self) -> int:
        """How many metrics take part in the overall mean."""
        return sum(column.voting and column.family != "cost" for column in self.columns)

    @property
    def incomplete(self) -> bool:
        """Whether a model is ranked in fewer metrics than others."""
        return any(bar.missing for line in self.lines for bar in line.bars)

    @property
    def ranked(self) -> bool:
        """Whether any model could be ranked."""
        return any(line.bars[0].value is not None for line in self.lines)


def arrow(row: Row) -> str:
    """Return the direction of a row's metric as a sign; empty for one that is not in the table."""
    if row.higher_is_better is not None:
        return "↑" if row.higher_is_better else "↓"
    return METRICS[row.metric].arrow if row.metric in METRICS else ""


def summary(metric: str) -> str:
    """Return one line on a metric; empty for one that is not in the table."""
    found = METRICS.get(metric) or COSTS.get(metric)
    return found.summary if found else ""


def heatmaps(places: Mapping[Place, Sequence[Row]]) -> tuple[Heatmap, dict[Place, Heatmap]]:
    """Rank the models of a task.

    Parameters
    ----------
    places
        Rows of each dataset and split of the task.

    Returns
    -------
    One table of means over places, and one of all metrics for each place.
    """
    import reconeval.metrics  # noqa: F401  (fills the registry)

    tables = {place: _percentiles(rows) for place, rows in places.items()}
    each = {place: _heatmap(rows, tables[place]) for place, rows in places.items()}
    every = [row for rows in places.values() for row in rows]
    models = list(dict.fromkeys(row.model for row in every))
    families = dict.fromkeys(name for one in each.values() for name in one.bars[1:])
    lines = []
    for model in models:
        here = [table[model] for table in tables.values() if model in table]
        overall = [_value(one, "overall") for one in here]
        missing = sum(int(one["missing"]) for one in here)
        missing += sum(each[place].votes for place in tables if model not in tables[place])
        bars = [Bar("overall", _mean(overall), missing)]
        bars += [Bar(name, _mean(_value(one, name) for one in here)) for name in families]
        if len(tables) > 1:
            bars += [
                Bar("overall", _value(table.get(model, {}), "overall")) for table in tables.values()
            ]
        lines.append(_line(model, bars, {}, every))
    names = ["overall", *families, *([place.name for place in places] if len(tables) > 1 else [])]
    return Heatmap(names, (), _sorted(lines)), each


def _heatmap(rows: Sequence[Row], table: Mapping[str, Percentiles]) -> Heatmap:
    columns = _columns(rows)
    cells = {(row.model, row.metric): row for row in rows}
    families = list(dict.fromkeys(column.family for column in columns))
    lines = []
    for model in dict.fromkeys(row.model for row in rows):
        values = table[model]
        bars = [Bar("overall", _value(values, "overall"), int(values["missing"]))]
        bars += [Bar(name, _value(values, name)) for name in families]
        circles = {
            column.name: _circle(cells.get((model, column.name)), _value(values, column.name))
            for column in columns
        }
        lines.append(_line(model, bars, circles, rows))
    return Heatmap(["overall", *families], columns, _sorted(lines))


def _line(
    model: str, bars: Sequence[Bar], circles: Mapping[str, Circle | None], rows: Sequence[Row]
) -> Line:
    mine = [row for row in rows if row.model == model]
    outcomes = [row.verdict.partition(":")[0] for row in mine]
    skill = median_skill(mine)
    return Line(model, bars, circles, skill, outcomes.count("fail"), outcomes.count("pass"))


def median_skill(rows: Iterable[Row]) -> float | None:
    """Return the median skill over informative metrics, None without one.

    The median, since skill is never clipped: a single metric may have -50.
    """
    skills = [
        row.skill
        for row in rows
        if row.skill is not None and math.isfinite(row.skill) and row.informative is not False
    ]
    return statistics.median(skills) if skills else None


def _circle(row: Row | None, percentile: float | None) -> Circle | None:
    if row is None:
        return None
    text = short_number(row.value) if math.isfinite(row.value) else texts.value(row)
    return Circle(text, percentile, texts.verdict(row), row.verdict.startswith("fail"))


def _columns(rows: Sequence[Row]) -> list[Column]:
    """Return the metrics, family by family, costs last."""
    found: dict[str, Column] = {}
    for row in rows:
        voting = row.informative is not False and (row.higher_is_better is not None or _known(row))
        if row.metric not in found or not voting:
            found[row.metric] = Column(
                row.metric, row.family, arrow(row), summary(row.metric), voting
            )
    families = list(dict.fromkeys(column.family for column in found.values()))
    families.sort(key=lambda name: name == "cost")
    return sorted(found.values(), key=lambda column: families.index(column.family))


def _known(row: Row) -> bool:
    return row.metric in METRICS


def _percentiles(rows: Sequence[Row]) -> dict[str, Percentiles]:
    """Return each model's rank percentiles in the metrics that have a vote, and their means."""
    import pandas as pd

    columns = _columns(rows)
    models = list(dict.fromkeys(row.model for row in rows))
    values = {(row.model, row.metric): row.value for row in rows}
    scores = pd.DataFrame(
        {
            one.name: [values.get((model, one.name), math.nan) for model in models]
            for one in columns
            if one.voting
        },
        index=pd.Index(models),
        dtype=float,
    )
    scores = without_counts(scores).replace([math.inf, -math.inf], math.nan)
    if scores.empty:
        return {model: {"missing": 0.0} for model in models}
    directions = {row.metric: row.higher_is_better for row in rows}
    families = {row.metric: row.family for row in rows}
    table = aggregate_rank_percentile(scores, directions, families=families)
    return {
        str(model): {str(name): float(value) for name, value in zip(table, values, strict=True)}
        for model, values in zip(table.index, table.to_numpy(), strict=True)
    }


def _value(values: Percentiles, name: str) -> float | None:
    found = values.get(name, math.nan)
    return None if math.isnan(found) else found


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None


def _sorted(lines: Sequence[Line]) -> list[Line]:
    def worst_last(line: Line) -> float:
        value = line.bars[0].value
        return math.inf if value is None else -value

    return sorted(lines, key=worst_last)
