"""The summary on the terminal: a line per model, a table per dataset and split, what failed."""

from __future__ import annotations

import io
from textwrap import wrap
from types import MappingProxyType
from typing import TYPE_CHECKING

from reconeval.costs import find
from reconeval.report.overview import overview
from reconeval.report.scores import score_tables
from reconeval.report.texts import interval, number
from reconeval.rows import latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconeval.contract import Outcome
    from reconeval.rows import Row

__all__ = ["summary_lines"]

LEAST_WIDTH = 40  # what a metric's name and its value take


def summary_lines(
    rows: Sequence[Row],
    lost: Sequence[Row] = (),
    *,
    outcomes: Mapping[str, Mapping[str, Outcome]] = MappingProxyType({}),
    width: int = 100,
    color: bool = False,
    verbosity: int = 0,
) -> list[str]:
    """Return the lines of the summary.

    Parameters
    ----------
    rows
        Rows of the run; the last of each key counts.
    lost
        Rows of the baseline that were not measured.
    outcomes
        What came of the checks of each model's contract, by model and check.
    width
        Columns of the terminal, at least 40; a table that is wider is folded into several.
    color
        Whether the terminal shows bold and colours. Without it the best value carries a `*`.
    verbosity
        Below 0 one line per model and what failed; above 0 every column, what each metric means,
        how the intervals were found, and what the rows say beside their values.

    Returns
    -------
    A line per model, tables, a legend, what the data cannot serve, and each failure and lost row
    in one line.
    """
    rows, width = latest(rows), max(width, LEAST_WIDTH)
    places: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        places.setdefault((row.dataset, row.split), []).append(row)
    parts: list[object] = [overview(rows, width, outcomes)] if rows or outcomes else []
    if verbosity >= 0:
        for (dataset, split), here in places.items():
            parts.append(_title(dataset, split, here))
            parts += score_tables(here, width, color=color, full=verbosity > 0)
    lines = _render(parts, width, color=color)
    if verbosity >= 0 and rows:
        lines += _below(rows, width, full=verbosity > 0)
    lines += _listed("failed", [*_broken(outcomes), *_failures(rows)])
    gone = [f"  {row.model}: {row.where} was {number(row.value)}" for row in lost]
    return lines + _listed("lost since the baseline", gone)


def _below(rows: Sequence[Row], width: int, *, full: bool) -> list[str]:
    """Return what explains the tables."""
    notes = _notes(rows, width) if full else ()
    return [*_legend(rows, width, full=full), *_skips(rows, width), *notes]


def _listed(title: str, told: Sequence[str]) -> list[str]:
    """Return lines below their title and number, none where there are none."""
    return ["", f"{title} ({len(told)}):", *told] if told else []


def _title(dataset: str, split: str, rows: Sequence[Row]) -> str:
    models = list(dict.fromkeys(row.model for row in rows))
    alone = f"{models[0]} on " if len(models) == 1 else ""
    seeds = max(row.seeds for row in rows)
    often = "1 seed" if seeds == 1 else f"mean of {seeds} seeds"
    return f"{alone}{dataset} / {split}  ({max(row.n for row in rows)} test cells, {often})"


def _render(parts: Iterable[object], width: int, *, color: bool) -> list[str]:
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, highlight=False
    )
    for index, part in enumerate(parts):
        if index:
            console.print()
        console.print(part, style="bold" if isinstance(part, str) else None, markup=False)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def _legend(rows: Sequence[Row], width: int, *, full: bool) -> Iterator[str]:
    yield ""
    for text in _signs(rows):
        yield from wrap(text, width=width, subsequent_indent="  ")
    if not full:
        yield from wrap(_units(rows), width=width, subsequent_indent="  ")
        yield from wrap("-v: every column, what each metric means; -q: models and failures", width)
        return
    methods: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.ci_method:
            methods.setdefault(row.ci_method, {})[row.metric] = None
    for method, metrics in methods.items():
        yield from wrap(
            f"interval by {method}: {', '.join(metrics)}", width, subsequent_indent="  "
        )
    for name in dict.fromkeys(row.metric for row in rows):
        entry = find(name)
        low, high = (f"{bound:g}" for bound in entry.range)
        unit = f", {entry.unit}" if entry.unit else ""
        text = f"{name}: {entry.summary} [{low}, {high}]{unit}"
        yield from wrap(text, width, initial_indent="  ", subsequent_indent="    ")


def _signs(rows: Sequence[Row]) -> Iterator[str]:
    """Explain the signs that stand in these tables, and no others."""
    several = len({row.model for row in rows}) > 1
    best = "; * or bold: best of the models" if several else ""
    yield f"↑ higher is better, ↓ lower is better, →x best at x{best}"
    if any("…" in interval(row) for row in rows):
        yield "a … b: lowest and highest over seeds or rounds"
    if any(row.skill is not None for row in rows):
        yield "skill: 0 as good as the negative control, 1 as the positive control; never clipped"
    if any(row.informative is False for row in rows):
        yield (
            "~ not informative: on these data the metric cannot tell a good prediction from a "
            "control; --fail-on-regression leaves it out"
        )


def _units(rows: Sequence[Row]) -> str:
    """Tell the units of what the tables show; the names of costs hold theirs."""
    named: dict[str, dict[str, None]] = {}
    shown = [row for row in rows if not row.verdict.startswith("skip")]
    for row in shown:
        if row.family != "cost":
            named.setdefault(find(row.metric).unit, {})[row.metric] = None
    without = named.pop("", None)
    parts = [f"{unit} for {', '.join(metrics)}" for unit, metrics in named.items()]
    if without:
        parts.append("else none" if parts else "none")
    if any(row.family == "cost" for row in shown):
        parts.append("costs as named")
    return f"units: {'; '.join(parts)}" if parts else ""


def _skips(rows: Sequence[Row], width: int) -> Iterator[str]:
    """Tell what the data cannot serve, metrics of a place that share a reason together."""
    skipped = [row for row in rows if row.verdict.startswith("skip")]
    if skipped:
        yield from ("", "skipped, for the data cannot serve them:")
    yield from _reasons(skipped, width)


def _notes(rows: Sequence[Row], width: int) -> Iterator[str]:
    """Tell what rows that passed have to say, such as why a metric is not informative."""
    noted = [row for row in rows if row.reason and not row.verdict.startswith(("skip", "fail"))]
    if noted:
        yield from ("", "notes:")
    yield from _reasons(noted, width)


def _reasons(rows: Iterable[Row], width: int) -> Iterator[str]:
    told: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in rows:
        told.setdefault((row.dataset, row.split, row.reason), {})[row.metric] = None
    for (dataset, split, reason), metrics in told.items():
        text = f"{', '.join(metrics)} on {dataset}/{split}: {reason}"
        yield from wrap(text, width, initial_indent="  ", subsequent_indent="    ")


def _broken(outcomes: Mapping[str, Mapping[str, Outcome]]) -> Iterator[str]:
    """One line per rule that a model breaks; checks that say the same share a line."""
    for model, found in outcomes.items():
        told: dict[str, list[str]] = {}
        for outcome in found.values():
            if outcome.status == "failed":
                text = outcome.message.removeprefix(f"{model}: ")
                told.setdefault(text, []).append(outcome.name)
        for text, names in told.items():
            if len(names) == 1:
                yield f"  {model}: contract {names[0]}: {text}"
            else:
                yield f"  {model}: contract: {text} ({len(names)} checks)"


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    """One line per failure; a reason that a model's rows on one place share is told once."""
    told: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        if row.verdict.startswith("fail"):
            shared = row.reason.partition("undefined, ")[2] or row.reason
            told.setdefault((row.model, row.dataset, row.split, shared), []).append(row.metric)
    for (model, dataset, split, reason), metrics in told.items():
        if len(metrics) == 1:
            where = "" if f"{dataset}/{split}" in reason else f"{metrics[0]} on {dataset}/{split}: "
            yield f"  {model}: {where}{reason}"
        else:
            yield f"  {model} on {dataset}/{split}: {reason} ({len(metrics)} metrics)"
