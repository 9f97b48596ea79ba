"""The table of scores: a line for each row, and the command that measures it again."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reconeval.report import texts
from reconeval.report.html._commands import command_of, narrowing
from reconeval.report.html._ranking import arrow, summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconeval.report.html._results import Place, Results
    from reconeval.rows import Row

__all__ = ["Line", "by_place", "commands_of", "line_of", "script_data"]

_SORTED = ("value", "skill", "negative", "positive", "threshold", "baseline")
_CLASSES = {"fail": "fail", "pass": "pass", "better": "pass", "worse": "worse"}  # of colours


@dataclass(frozen=True, slots=True)
class Line:
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


def commands_of(results: Results) -> tuple[list[dict[str, str]], dict[tuple[str, ...], int]]:
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


def line_of(
    row: Row, results: Results, index: Mapping[tuple[str, ...], int], methods: Sequence[str]
) -> Line:
    """Return a row as a line.

    Parameters
    ----------
    row
        The row.
    results
        Where it comes from.
    index
        From `commands_of`.
    methods
        How intervals were found; the line has a position in it.
    """
    interval = ""
    if row.ci_low is not None and row.ci_high is not None:
        interval = f"[{texts.number(row.ci_low)}, {texts.number(row.ci_high)}]"
    spread = row.seeds > 1 and math.isfinite(row.low) and row.low != row.high
    verdict = texts.verdict(replace(row, cached=False))  # the page has a mark of its own for that
    word = verdict.partition(",")[0]
    numbers = {name: getattr(row, name) for name in _SORTED}
    return Line(
        row=row,
        arrow=arrow(row),
        value=texts.value(row),
        interval=interval,
        seeds=f"{texts.number(row.low)} … {texts.number(row.high)}" if spread else "",
        skill=texts.skill(row),
        verdict=row.verdict if word == "fail" else verdict,
        outcome=_CLASSES.get(word, "none"),
        command=index[row.task, *row.key[:3]],
        narrow=narrowing(row, results.run_of[row.key[:3]]),
        method=methods.index(row.ci_method) if row.ci_method else None,
        sort={
            name: "" if value is None or math.isnan(value) else repr(float(value))
            for name, value in numbers.items()
        },
    )


def by_place(
    places: Mapping[Place, Sequence[Row]],
    commands: Sequence[Mapping[str, str]],
    index: Mapping[tuple[str, ...], int],
) -> list[tuple[Place, list[tuple[str, str]]]]:
    """Return, for each place, the models with their commands, from what `commands_of` found."""
    found = []
    for place, rows in places.items():
        keys = {row.model: (row.task, *row.key[:3]) for row in rows}
        listed = [(model, commands[index[key]]["command"]) for model, key in keys.items()]
        found.append((place, listed))
    return found


def script_data(
    results: Results, commands: Sequence[Mapping[str, str]], methods: Sequence[str]
) -> Any:
    """Return what the page's script reads, safe between the tags of a script."""
    from jinja2.utils import htmlsafe_json_dumps

    metrics = {row.metric: summary(row.metric) for row in results.rows}
    return htmlsafe_json_dumps(
        {"places": commands, "methods": methods, "metrics": metrics}, separators=(",", ":")
    )
