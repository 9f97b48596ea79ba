"""The page: all sections put into the template."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from reconeval import __version__
from reconeval.errors import UsageError
from reconeval.report import texts
from reconeval.report.html import _sections
from reconeval.report.html._predictions import galleries
from reconeval.report.html._ranking import arrow, heatmaps, summary
from reconeval.report.html._results import Place, gather
from reconeval.report.html._scores import by_place, commands_of, line_of, script_data
from reconeval.report.html._sections import environment_lines
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


@dataclass(frozen=True, slots=True)
class _Task:
    """A task's tables and charts."""

    name: str
    ranking: Heatmap
    heatmaps: Sequence[tuple[Place, Heatmap]]
    charts: Sequence[_sections.Chart]
    charts_by_place: Sequence[tuple[Place, Sequence[_sections.Chart]]]


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
    """Return all that the template reads."""
    places, has = results.by_place(), _present(results.rows)
    return {
        "version": __version__,
        "title": title or _title(results.models),
        "subtitle": _subtitle(results, places),
        "sections": SECTIONS,
        "numbers": _numbers(results),
        "families": FAMILIES,
        "number": texts.number,
        "has": has,
        "notes": _missing(has),
        "places": list(dict.fromkeys(place.name for place in places)),
        "failures": [row for row in results.rows if row.verdict.startswith("fail")],
        **_scores(results, places),
        **_pictures(results, places),
        "changes": _sections.changes(results.rows),
        "health": list(_sections.health(places).items()),
        "runs": [
            (name, shlex.join(map(str, run.get("command") or ())), environment_lines(run))
            for name, run in results.runs.items()
        ],
        "data": [(place, rows[0]) for place, rows in places.items()],
        "glossary": _glossary(results.rows),
        **_assets(),
    }


def _numbers(results: Results) -> dict[str, int]:
    """Return the number that stands for each model all over the page."""
    return {model: i for i, model in enumerate(results.models, start=1)}


def _scores(results: Results, places: Mapping[Place, Sequence[Row]]) -> dict[str, Any]:
    commands, index = commands_of(results)
    methods = list(dict.fromkeys(row.ci_method for row in results.rows if row.ci_method))
    return {
        "shown_families": list(dict.fromkeys(row.family for row in results.rows)),
        "lines": [line_of(row, results, index, methods) for row in results.rows],
        "reproduce": by_place(places, commands, index),
        "n_cached": sum(row.cached for row in results.rows),
        "whole_run": any("arguments" not in run for run in results.runs.values()),
        "data_json": script_data(results, commands, methods),
    }


def _pictures(results: Results, places: Mapping[Place, Sequence[Row]]) -> dict[str, Any]:
    tasks = _tasks(places, _numbers(results))
    drawn = list(galleries(results.material, _numbers(results)))
    return {
        "tasks": tasks,
        "charted_tasks": [task for task in tasks if task.charts],
        "galleries": drawn,
        "any_controls": any(gallery.controls for gallery in drawn),
    }


def _assets() -> dict[str, Any]:
    """Return style and script, and what allows this script and no other to run."""
    from markupsafe import Markup

    script = files(__package__).joinpath("templates/script.js").read_text(encoding="utf-8")
    return {
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


def _glossary(rows: Sequence[Row]) -> list[Any]:
    from reconeval.report.html._ranking import Column

    found = {
        row.metric: Column(row.metric, row.family, arrow(row), summary(row.metric)) for row in rows
    }
    return list(found.values())
