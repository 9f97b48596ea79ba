"""The page: all sections put into the template."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from reconeval import __version__
from reconeval.errors import UsageError
from reconeval.report import texts
from reconeval.report.html import _sections
from reconeval.report.html._commands import command_of, narrowing
from reconeval.report.html._predictions import galleries
from reconeval.report.html._ranking import arrow, heatmaps, summary
from reconeval.report.html._results import Place, gather
from reconeval.report.html._style import FAMILIES, style_sheet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from markupsafe import Markup

    from reconeval.gate import SavedRun
    from reconeval.report.html._ranking import Heatmap
    from reconeval.report.html._results import Results
    from reconeval.rows import Row

__all__ = ["render"]

SECTIONS = (
    ("overview", "Overview"),
    ("scores", "Scores"),
    ("cost", "Quality and cost"),
    ("baseline", "Against the baseline"),
    ("predictions", "Truth and prediction"),
    ("health", "Metric health"),
    ("reproduce", "Reproduce"),
    ("runs", "Environment"),
)
_TASKS = {
    "end_to_end": "Reconstruction (end_to_end)",
    "decode": "Decoding of an embedding (decode)",
    "latent_shift": "Perturbation prediction (latent_shift)",
    "query_mapping": "Query mapping (query_mapping)",
}
_CLASSES = {"fail": "fail", "pass": "pass", "better": "pass", "worse": "worse"}  # of colours
_SORTED = ("value", "skill", "negative", "positive", "threshold", "baseline")


@dataclass(frozen=True, slots=True)
class _Task:
    """A task's tables and charts."""

    name: str
    ranking: Heatmap
    heatmaps: Sequence[tuple[Place, Heatmap]]
    charts: Sequence[_sections.Chart]
    charts_by_place: Sequence[tuple[Place, Sequence[_sections.Chart]]]


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the table of scores, as texts; `sort` has the numbers behind them."""

    row: Row
    arrow: str
    value: str
    interval: str
    seeds: str
    skill: str
    verdict: str
    outcome: str
    command: int
    narrow: str
    method: int | None
    sort: Mapping[str, str]


def render(saved: Sequence[SavedRun], *, title: str = "") -> str:
    """Return the page.

    Parameters
    ----------
    saved
        One or several runs, see `reconeval.gate.read_saved`. What older files do not hold is
        named on the page.
    title
        The page's heading; by default it names the models.

    Returns
    -------
    HTML that needs nothing beside it and asks no network for anything.

    Raises
    ------
    UsageError
        If there is no row, or the material of a run cannot be read.
    """
    results = gather(saved)
    if not results.rows:
        msg = "nothing to report: these results hold no rows; run the benchmarks first"
        raise UsageError(msg)
    return str(_template().render(_context(results, title)))


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reconeval.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["foldable"] = _foldable
    return environment.get_template("report.html.j2")


def _foldable(name: str) -> Markup:
    """Let a long name be folded where one of its parts ends."""
    from markupsafe import Markup, escape

    escaped = str(escape(name))
    return Markup(re.sub(r"([+/:])(?=.)", r"\1<wbr>", escaped))  # noqa: S704  (escaped above)


def _context(results: Results, title: str) -> dict[str, Any]:
    from markupsafe import Markup

    models, places = results.models, results.by_place()
    numbers = {model: i for i, model in enumerate(models, start=1)}
    commands, index = _commands(results)
    methods = list(dict.fromkeys(row.ci_method for row in results.rows if row.ci_method))
    has = _present(results.rows)
    script = files(__package__).joinpath("templates/script.js").read_text(encoding="utf-8")
    tasks = _tasks(places, numbers)
    drawn = list(galleries(results.material, numbers))
    return {
        "version": __version__,
        "title": title or _title(models),
        "subtitle": _subtitle(results, places),
        "sections": SECTIONS,
        "numbers": numbers,
        "families": FAMILIES,
        "number": texts.number,
        "has": has,
        "notes": _missing(has),
        "failures": [row for row in results.rows if row.verdict.startswith("fail")],
        "tasks": tasks,
        "charted_tasks": [task for task in tasks if task.charts],
        "places": list(dict.fromkeys(place.name for place in places)),
        "shown_families": list(dict.fromkeys(row.family for row in results.rows)),
        "lines": [_line(row, results, index, methods) for row in results.rows],
        "changes": _sections.changes(results.rows),
        "galleries": drawn,
        "any_controls": any(gallery.controls for gallery in drawn),
        "health": list(_sections.health(places).items()),
        "reproduce": _reproduce(places, commands, index),
        "whole_run": any("arguments" not in run for run in results.runs.values()),
        "runs": [
            (name, " ".join(map(str, run.get("command") or ())), _sections.environment_lines(run))
            for name, run in results.runs.items()
        ],
        "data": [(place, rows[0]) for place, rows in places.items()],
        "glossary": _glossary(results.rows),
        "data_json": _data(results, commands, methods),
        "style": Markup(style_sheet()),  # noqa: S704  (our own file)
        "script": Markup(script),  # noqa: S704  (our own file)
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _title(models: Sequence[str]) -> str:
    if len(models) <= 3:
        return "Benchmark of " + ", ".join(models)
    return f"Benchmark of {len(models)} models"


def _subtitle(results: Results, places: Iterable[Place]) -> str:
    metrics = {row.metric for row in results.rows if row.family != "cost"}
    names = list(dict.fromkeys(place.name for place in places))
    counts = [
        (len(results.models), "model"),
        (len(names), "place"),
        (len(metrics), "metric"),
        (len(results.runs), "run"),
    ]
    parts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in counts]
    starts = sorted(str(run["start"])[:10] for run in results.runs.values() if run.get("start"))
    when = f", {' to '.join(dict.fromkeys((starts[0], starts[-1])))}" if starts else ""
    return f"{', '.join(parts)}{when}: {', '.join(names)}"


def _present(rows: Sequence[Row]) -> dict[str, bool]:
    """Return which optional parts any row has."""
    fields = ("skill", "negative", "positive", "threshold", "baseline")
    has = {name: any(getattr(row, name) is not None for row in rows) for name in fields}
    has["interval"] = any(row.ci_low is not None for row in rows)
    has["seeds"] = any(row.seeds > 1 and row.low != row.high for row in rows)
    has["health"] = any(row.informative is not None for row in rows)
    return has


def _missing(has: Mapping[str, bool]) -> list[str]:
    """Say what the results do not hold, and so the page cannot show."""
    notes = []
    if not has["interval"]:
        notes.append(
            "No intervals: these results were saved without them, so nothing says how far a "
            "number would move with other cells."
        )
    if not has["skill"]:
        notes.append("No skill: no negative and positive controls were scored with these results.")
    return notes


def _tasks(places: Mapping[Place, Sequence[Row]], numbers: Mapping[str, int]) -> list[_Task]:
    by_task: dict[str, dict[Place, Sequence[Row]]] = {}
    for place, rows in places.items():
        by_task.setdefault(place.task, {})[place] = rows
    tasks = []
    for task, mine in by_task.items():
        name = _TASKS.get(task, task)
        ranking, each = heatmaps(mine)
        every = [row for rows in mine.values() for row in rows]
        alone = {
            place: _sections.charts(rows, each[place], numbers, place.name)
            for place, rows in mine.items()
        }
        charts = _sections.charts(every, ranking, numbers, name)
        by_place = list(alone.items()) if len(mine) > 1 else []
        tasks.append(_Task(name, ranking, list(each.items()), charts, by_place))
    return tasks


def _commands(results: Results) -> tuple[list[dict[str, str]], dict[tuple[str, ...], int]]:
    """Return what belongs to each model on a place, and where in the list."""
    commands: list[dict[str, str]] = []
    index: dict[tuple[str, ...], int] = {}
    for row in results.rows:
        key = (row.task, *row.key[:3])
        if key not in index:
            index[key] = len(commands)
            seeds = f"{row.seeds} seed{'' if row.seeds == 1 else 's'}"
            commands.append(
                {
                    "command": command_of(row, results.run_of[row.key[:3]]),
                    "spec": row.spec,
                    "data": f"{row.dataset} version {row.dataset_version}, sha256 "
                    f"{row.dataset_sha256}, split {row.split}, {row.n} test cells, {seeds}",
                }
            )
    return commands, index


def _line(
    row: Row, results: Results, index: Mapping[tuple[str, ...], int], methods: Sequence[str]
) -> _Line:
    interval = ""
    if row.ci_low is not None and row.ci_high is not None:
        interval = f"[{texts.number(row.ci_low)}, {texts.number(row.ci_high)}]"
    spread = row.seeds > 1 and math.isfinite(row.low) and row.low != row.high
    verdict = texts.verdict(row)
    numbers = {name: getattr(row, name) for name in _SORTED}
    return _Line(
        row=row,
        arrow=arrow(row),
        value=texts.value(row),
        interval=interval,
        seeds=f"{texts.number(row.low)} … {texts.number(row.high)}" if spread else "",
        skill=texts.skill(row),
        verdict=row.verdict if verdict == "fail" else verdict,
        outcome=_CLASSES.get(verdict, "none"),
        command=index[row.task, *row.key[:3]],
        narrow=narrowing(row, results.run_of[row.key[:3]]),
        method=methods.index(row.ci_method) if row.ci_method else None,
        sort={
            name: "" if value is None or math.isnan(value) else repr(float(value))
            for name, value in numbers.items()
        },
    )


def _reproduce(
    places: Mapping[Place, Sequence[Row]],
    commands: Sequence[Mapping[str, str]],
    index: Mapping[tuple[str, ...], int],
) -> list[tuple[Place, list[tuple[str, str]]]]:
    found = []
    for place, rows in places.items():
        keys = {row.model: (row.task, *row.key[:3]) for row in rows}
        listed = [(model, commands[index[key]]["command"]) for model, key in keys.items()]
        found.append((place, listed))
    return found


def _glossary(rows: Sequence[Row]) -> list[Any]:
    from reconeval.report.html._ranking import Column

    found = {
        row.metric: Column(row.metric, row.family, arrow(row), summary(row.metric)) for row in rows
    }
    return list(found.values())


def _data(results: Results, commands: Sequence[Mapping[str, str]], methods: Sequence[str]) -> Any:
    """Return what the page's script reads, safe between the tags of a script."""
    from jinja2.utils import htmlsafe_json_dumps

    metrics = {row.metric: summary(row.metric) for row in results.rows}
    return htmlsafe_json_dumps(
        {"places": commands, "methods": methods, "metrics": metrics}, separators=(",", ":")
    )
