"""The parts of the page that are tables: scores, costs, baseline, metric health, runs."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconeval.costs import COSTS
from reconeval.metrics.registry import METRICS
from reconeval.report import texts
from reconeval.report.html import _svg
from reconeval.report.html._chart import Point, cost_chart, front
from reconeval.report.html._ranking import arrow, median_skill

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from markupsafe import Markup

    from reconeval.report.html._ranking import Heatmap
    from reconeval.report.html._results import Place
    from reconeval.rows import Row

__all__ = ["Change", "Changes", "Chart", "Health", "changes", "charts", "health"]

DOUBT = "not informative: "  # how a row's reason begins where the controls doubt its metric
_COSTS = {"train_seconds": "training time", "peak_rss_mb": "memory", "peak_gpu_mb": "GPU memory"}


@dataclass(frozen=True, slots=True)
class Chart:
    """Quality against a cost: the picture, and its points with those on the Pareto front."""

    cost: str
    unit: str
    quality: str
    picture: Markup
    points: Sequence[Point]
    on_front: set[int]


@dataclass(frozen=True, slots=True)
class Change:
    """A row beside its baseline, as texts and as a picture."""

    model: str
    place: str
    baseline: str
    value: str
    change: str
    interval: str
    word: str
    mark: Markup


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes of a metric, the worst word first."""

    metric: str
    arrow: str
    counts: Mapping[str, int]
    limit: str
    lines: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Health:
    """What the controls say of a metric on a place."""

    metric: str
    arrow: str
    negative: str
    positive: str
    informative: bool | None
    reason: str


def charts(
    rows: Sequence[Row], ranking: Heatmap, models: Mapping[str, int], where: str
) -> list[Chart]:
    """Draw quality against each cost that was measured.

    Parameters
    ----------
    rows
        Of the places that are drawn.
    ranking
        The mean percentiles on the same places.
    models
        Numbers of the models on the page.
    where
        What the title calls the places.

    Returns
    -------
    Quality is the median skill over informative metrics where every model has one, else the mean
    rank percentile; a cost is the median over places. None where no model has both.
    """
    skills = {line.model: median_skill(_of(rows, line.model)) for line in ranking.lines}
    quality, values = "median skill", skills
    if any(skill is None for skill in skills.values()):
        quality = "mean rank percentile"
        values = {line.model: line.bars[0].value for line in ranking.lines}
    found = []
    for cost, name in _COSTS.items():
        points = []
        for model, value in values.items():
            costs = [row.value for row in _of(rows, model) if row.metric == cost]
            costs = [one for one in costs if math.isfinite(one) and one > 0]
            if costs and value is not None:
                points.append(Point(models[model], model, statistics.median(costs), value))
        if points:
            unit = COSTS[cost].unit
            title = f"{quality.capitalize()} against {name}, {where}"
            picture = cost_chart(
                points, cost=f"{name} ({unit}), lower is better", quality=quality, title=title
            )
            points.sort(key=lambda one: -one.quality)
            found.append(Chart(name, unit, quality, picture, points, front(points)))
    return found


def changes(rows: Iterable[Row]) -> list[Changes]:
    """Return the rows that have a baseline, by metric; those with the most regressions first."""
    by_metric: dict[str, list[Row]] = {}
    for row in rows:
        if row.baseline is not None and math.isfinite(row.baseline):
            by_metric.setdefault(row.metric, []).append(row)
    found = [_changes(metric, mine) for metric, mine in by_metric.items()]
    return sorted(found, key=lambda one: (-one.counts["worse"], -one.counts["better"]))


def _changes(metric: str, rows: Sequence[Row]) -> Changes:
    bounds = [
        abs(end - (row.baseline or 0.0))
        for row in rows
        for end in (row.value, row.ci_low, row.ci_high)
        if end is not None and math.isfinite(end)
    ]
    limit = max(bounds, default=0.0) or 1.0
    order = {"worse": 0, "better": 1}
    words = [_word(row) for row in rows]
    lines = [_change(row, word, limit) for row, word in zip(rows, words, strict=True)]
    lines.sort(key=lambda line: order.get(line.word, 2))
    counts = {word: words.count(word) for word in ("worse", "better", "same")}
    return Changes(metric, arrow(rows[0]), counts, texts.number(limit), lines)


def _word(row: Row) -> str:
    """Return how a row compares: the gate's word, else the direction of the change."""
    word = row.verdict.partition(": ")[2]
    if word or math.isnan(row.value) or row.baseline is None:
        return word or "undefined"
    better = {True: row.value - row.baseline, False: row.baseline - row.value}
    if row.higher_is_better is None:
        if row.metric not in METRICS:
            return "changed"
        badness = METRICS[row.metric].badness
        gain = badness(row.baseline) - badness(row.value)
    else:
        gain = better[row.higher_is_better]
    return "same" if gain == 0 else "better" if gain > 0 else "worse"


def _change(row: Row, word: str, limit: float) -> Change:
    from markupsafe import Markup

    baseline = row.baseline or 0.0
    ends = [
        None if end is None or not math.isfinite(end) else end - baseline
        for end in (row.ci_low, row.ci_high)
    ]
    low, high = ends
    defined = math.isfinite(row.value)
    return Change(
        model=row.model,
        place=f"{row.dataset}/{row.split}",
        baseline=texts.number(baseline),
        value=texts.value(row),
        change=f"{row.value - baseline:+.3g}" if defined else "",
        interval="" if low is None or high is None else f"[{low:+.3g}, {high:+.3g}]",
        word=word,
        mark=_svg.interval_mark(row.value - baseline, low, high, limit) if defined else Markup(),
    )


def health(places: Mapping[Place, Sequence[Row]]) -> dict[Place, list[Health]]:
    """Return, for each place, what the controls say of each metric but costs."""
    found = {}
    for place, rows in places.items():
        metrics: dict[str, list[Row]] = {}
        for row in rows:
            if row.family != "cost":
                metrics.setdefault(row.metric, []).append(row)
        found[place] = [_health(mine) for mine in metrics.values()]
    return found


def _health(rows: Sequence[Row]) -> Health:
    """Return what the controls say; all models of a place share them."""
    row = next((row for row in rows if row.negative is not None), rows[0])
    told = [one.reason for one in rows if one.reason.startswith(DOUBT)]
    reason = told[0].removeprefix(DOUBT) if told else "the controls cannot tell good from poor here"
    return Health(
        metric=row.metric,
        arrow=arrow(row),
        negative=texts.number(row.negative),
        positive=texts.number(row.positive),
        informative=row.informative,
        reason=reason if row.informative is False else "",
    )


def environment_lines(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is known of where a run took place, as names and texts."""
    versions = run.get("versions")
    known = {
        "started": run.get("start"),
        "took": _seconds(run.get("duration_s", run.get("duration"))),
        "reconeval": run.get("reconeval"),
        "commit": run.get("commit"),
        "Python": run.get("python"),
        "system": " ".join(str(run[key]) for key in ("system", "machine") if run.get(key)),
        "cores": run.get("cpu_count"),
        "device": run.get("device"),
        "seeds": ", ".join(map(str, run.get("seeds") or ())),
        "reference workload": _seconds(run.get("reference_seconds")),
    }
    if isinstance(versions, dict):
        known |= versions
    return [(name, str(value)) for name, value in known.items() if value not in (None, "")]


def _seconds(value: object) -> str:
    return f"{value:.4g} s" if isinstance(value, int | float) else ""


def _of(rows: Iterable[Row], model: str) -> list[Row]:
    return [row for row in rows if row.model == model]
