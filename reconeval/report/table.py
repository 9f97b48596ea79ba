"""The table on the terminal: one per dataset and split, models as rows, metrics as columns."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from reconeval.costs import find
from reconeval.rows import latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.table import Table

    from reconeval.rows import Row

__all__ = ["summary_lines"]

_TRUTH = "the truth itself"  # a line below the models, of the rows' `positive`
_WIDEST = 20  # of a column; a table with a very long id may be wider than the terminal


def summary_lines(
    rows: Sequence[Row], lost: Sequence[Row] = (), *, width: int = 100, color: bool = False
) -> list[str]:
    """Return the lines of the summary.

    Parameters
    ----------
    rows
        Rows of the run; the last of each key counts.
    lost
        Rows of the baseline that were not measured.
    width
        Columns of the terminal; a table that is wider is folded into several.
    color
        Whether the terminal shows bold and colours. Without it the best value carries a `*`.

    Returns
    -------
    Tables, a legend, what the data cannot serve, and each failure and lost row in one line.
    """
    rows = latest(rows)
    places: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        places.setdefault((row.dataset, row.split), []).append(row)
    parts: list[object] = []
    for (dataset, split), here in places.items():
        n = max(row.n for row in here)
        title = f"{dataset} / {split}  ({n} test cells, {_seeds(here)})"
        parts += [title, *_tables(here, width, color=color)]
    longest = max((len(row.model) for row in rows), default=0)
    lines = _render(parts, max(width, longest + 2 * _WIDEST), color=color)
    lines += list(_legend(rows, width))
    lines += list(_skips(rows, width))
    failures = list(_failures(rows))
    if failures:
        lines += ["", f"failed ({len(failures)}):", *failures]
    if lost:
        lines += ["", f"lost since the baseline ({len(lost)}):"]
        lines += [f"  {row.model}: {row.where} was {_number(row.value)}" for row in lost]
    return lines


def _seeds(rows: Sequence[Row]) -> str:
    seeds = max(row.seeds for row in rows)
    return "1 seed" if seeds == 1 else f"{seeds} seeds, mean [lowest, highest]"


def _tables(rows: Sequence[Row], width: int, *, color: bool) -> Iterator[Table]:
    models = list(dict.fromkeys(row.model for row in rows))
    metrics = list(dict.fromkeys(row.metric for row in rows))
    cells = {(row.model, row.metric): row for row in rows}
    below = [_TRUTH] if any(row.positive is not None for row in rows) else []
    first = max(5, *map(len, [*models, *below])) + 2
    while metrics:
        used, columns, family = first, list[str](), find(metrics[0]).family
        while metrics and find(metrics[0]).family == family:
            used += _breadth(metrics[0], rows)
            if columns and used > width:
                break
            columns.append(metrics.pop(0))
        yield _table(models, columns, cells, color=color)


def _breadth(metric: str, rows: Sequence[Row]) -> int:
    texts = [_text(row) for row in rows if row.metric == metric]
    return max(map(len, (*_header(metric).split("\n"), *texts))) + 3


def _header(metric: str) -> str:
    return metric.replace("_", "_\n") + f"\n{find(metric).arrow}"


def _table(
    models: Sequence[str],
    metrics: Sequence[str],
    cells: dict[tuple[str, str], Row],
    *,
    color: bool,
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("model", vertical="bottom", no_wrap=True)
    best = {metric: _best(metric, models, cells) for metric in metrics}
    for metric in metrics:
        table.add_column(Text(_header(metric)), justify="right", no_wrap=True)
    for model in models:
        line = [Text(model)]
        for metric in metrics:
            row = cells.get((model, metric))
            text = Text("" if row is None else _text(row))
            if row is not None and row.verdict.startswith("fail"):
                text.stylize("red")
            if model in best[metric]:
                text.stylize("bold")
                text.append("" if color else "*")
            line.append(text)
        table.add_row(*line)
    positives = {metric: _positive(metric, models, cells) for metric in metrics}
    if any(value is not None for value in positives.values()):
        texts = ("" if value is None else _number(value) for value in positives.values())
        table.add_row(Text(_TRUTH, style="italic"), *texts)
    return table


def _positive(
    metric: str, models: Sequence[str], cells: dict[tuple[str, str], Row]
) -> float | None:
    """Return the score of the positive control, which all models of a place share."""
    rows = [cells[model, metric] for model in models if (model, metric) in cells]
    return next((row.positive for row in rows if row.positive is not None), None)


def _best(metric: str, models: Sequence[str], cells: dict[tuple[str, str], Row]) -> set[str]:
    """Return the models with the best value; none where fewer than two have one."""
    entry = find(metric)
    losses = {
        model: entry.badness(cells[model, metric].value)
        for model in models
        if (model, metric) in cells and math.isfinite(cells[model, metric].value)
    }
    if len(losses) < 2 or len(set(losses.values())) == 1:
        return set()
    least = min(losses.values())
    return {model for model, loss in losses.items() if loss == least}


def _text(row: Row) -> str:
    if math.isnan(row.value):
        return "-" if row.verdict.startswith("skip") else "undefined"
    if row.seeds == 1 or row.low == row.high:
        return _number(row.value)
    return f"{_number(row.value)} [{_number(row.low)}, {_number(row.high)}]"


def _number(value: float) -> str:
    if math.isfinite(value) and abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.01 else f"{value:.4g}"


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


def _legend(rows: Sequence[Row], width: int) -> Iterator[str]:
    from textwrap import fill

    yield ""
    yield "↑ higher is better, ↓ lower is better, →x best at x; * or bold: best in its column"
    if any(row.positive is not None for row in rows):
        text = f"{_TRUTH}: what a perfect prediction scores; a value beyond it is no gain"
        yield fill(text, width=width, initial_indent="  ", subsequent_indent="    ")
    for name in dict.fromkeys(row.metric for row in rows):
        entry = find(name)
        low, high = (f"{bound:g}" for bound in entry.range)
        unit = f", {entry.unit}" if entry.unit else ""
        text = f"{name}: {entry.summary} [{low}, {high}]{unit}"
        yield fill(text, width=width, initial_indent="  ", subsequent_indent="    ")


def _skips(rows: Sequence[Row], width: int) -> Iterator[str]:
    """Tell what the data cannot serve, metrics of a place that share a reason together."""
    from textwrap import fill

    told: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in rows:
        if row.verdict.startswith("skip"):
            told.setdefault((row.dataset, row.split, row.reason), {})[row.metric] = None
    if told:
        yield from ("", "skipped, for the data cannot serve them:")
    for (dataset, split, reason), metrics in told.items():
        text = f"{', '.join(metrics)} on {dataset}/{split}: {reason}"
        yield fill(text, width=width, initial_indent="  ", subsequent_indent="    ")


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
