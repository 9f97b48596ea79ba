"""The table of one dataset and split: a line per metric and model."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from reconeval.costs import find
from reconeval.report import texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.table import Table
    from rich.text import Text

    from reconeval.rows import Row

__all__ = ["score_tables"]

_NARROW_MODEL = 16  # characters that a model's id keeps in a line where the terminal is narrow


class _Column(NamedTuple):
    """What a column shows: its header, which may have lines, and the text of a row."""

    header: str
    text: Callable[[Row], str]
    justify: Literal["left", "right"] = "right"


_VALUE = _Column("value", texts.value)
_MAIN = (
    _VALUE,
    _Column("95 % interval", texts.interval),
    _Column("skill", texts.skill),
    _Column("baseline", lambda row: texts.number(row.baseline)),
    _Column("verdict", texts.verdict, "left"),
)
_CONTROLS = (
    _Column("negative\ncontrol", lambda row: texts.number(row.negative)),
    _Column("positive\ncontrol", lambda row: texts.number(row.positive)),
)
_MORE = (
    _Column("threshold", lambda row: texts.number(row.threshold)),
    _Column("lowest", lambda row: "" if row.low == row.high else texts.number(row.low)),
    _Column("highest", lambda row: "" if row.low == row.high else texts.number(row.high)),
)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Columns that stand side by side, and how wide the first two of the table are."""

    columns: tuple[_Column, ...]
    metric: int
    model: int
    gap: int


def score_tables(
    rows: Sequence[Row], width: int, *, color: bool = False, full: bool = False
) -> Iterator[Table]:
    """Make the table of a dataset and split, folded into several where it is too wide.

    Parameters
    ----------
    rows
        The latest row of each model and metric on one dataset and split, in the order to show.
    width
        Columns of the terminal.
    color
        Whether the terminal shows bold and colours; without it the best value carries a `*`.
    full
        Show every column and metric. Otherwise the controls' scores stand there where they fit,
        and metrics that were skipped for every model do not.

    Yields
    ------
    Tables with a line per metric and model; those of one metric stand together.
    """
    if not full:
        served = {row.metric for row in rows if not row.verdict.startswith("skip")}
        rows = [row for row in rows if row.metric in served]
    if not rows:
        return
    shown = {column: [column.text(row) for row in rows] for column in (*_MAIN, *_CONTROLS, *_MORE)}
    filled = {column: cells for column, cells in shown.items() if any(cells)}
    widths = {
        column: max(map(len, (*column.header.split("\n"), *cells))) + (column is _VALUE)
        for column, cells in filled.items()
    }
    best = {metric: _best(metric, rows) for metric in dict.fromkeys(row.metric for row in rows)}
    for layout in _layouts(rows, widths, width, full=full):
        yield _table(rows, layout, best, color=color)


def _layouts(
    rows: Sequence[Row], widths: dict[_Column, int], width: int, *, full: bool
) -> list[_Layout]:
    names = {texts.metric_name(row) for row in rows}
    models = {row.model for row in rows}
    longest = max(map(len, models)) if len(models) > 1 else 0
    segments = max(len(piece) for name in names for piece in _pieces(name))
    whole = max(map(len, names))

    def fit(columns: tuple[_Column, ...], metric: int, model: int, gap: int) -> _Layout | None:
        used = [widths[column] for column in columns] + ([model] if model else [])
        room = width - sum(used) - gap * len(used)
        return _Layout(columns, min(whole, room), model, gap) if room >= metric else None

    main = tuple(column for column in _MAIN if column in widths)
    controls = tuple(column for column in _CONTROLS if column in widths)
    everything = tuple(widths)
    short = min(longest, _NARROW_MODEL)
    tries = [] if full else [(main + controls, whole, longest, 2)]
    tries += [
        (everything if full else main, segments, model, gap)
        for model, gap in ((longest, 2), (longest, 1), (short, 1))
    ]
    fitting = next((layout for one in tries if (layout := fit(*one))), None)
    if fitting is not None:
        return [fitting]
    return _folded(everything if full else main, widths, width, (segments, short))


def _folded(
    columns: tuple[_Column, ...], widths: dict[_Column, int], width: int, key: tuple[int, int]
) -> list[_Layout]:
    """Return layouts that together show all columns, at least one in each."""
    metric, model = key
    room = width - metric - (model + 1 if model else 0)
    parts: list[list[_Column]] = [[]]
    left = room
    for column in columns:
        left -= widths[column] + 1
        if left < 0 and parts[-1]:
            parts.append([])
            left = room - widths[column] - 1
        parts[-1].append(column)
    return [_Layout(tuple(part), metric, model, 1) for part in parts]


def _table(
    rows: Sequence[Row], layout: _Layout, best: dict[str, set[str]], *, color: bool
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, layout.gap - 1, 0, 0)
    )
    heads = ["metric", *(["model"] if layout.model else [])]
    heads += [column.header for column in layout.columns]
    low = max(head.count("\n") for head in heads)
    heads = ["\n" * (low - head.count("\n")) + head for head in heads]
    table.add_column(heads.pop(0), no_wrap=True, min_width=layout.metric)
    if layout.model:
        table.add_column(heads.pop(0), overflow="fold", width=layout.model)
    for head, column in zip(heads, layout.columns, strict=True):
        table.add_column(head, justify=column.justify, no_wrap=True)
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.metric, []).append(row)
    family = rows[0].family
    for metric, group in grouped.items():
        if group[0].family != family:
            table.add_section()
            family = group[0].family
        lines = _name_lines(texts.metric_name(group[0]), layout.metric, len(group))
        for name, row in zip(lines, group, strict=True):
            cells = [_cell(row, column, best[metric], color=color) for column in layout.columns]
            keys = [
                Text(name),
                *([Text("\n".join(_wrapped(row.model, layout.model)))] if layout.model else []),
            ]
            style = "dim" if row.informative is False else None
            table.add_row(*keys, *cells, style=style)
    return table


def _cell(row: Row, column: _Column, best: set[str], *, color: bool) -> Text:
    from rich.text import Text

    text = Text(column.text(row))
    if column.header == "verdict" and row.verdict.startswith("fail"):
        text.stylize("red")
    if column is _VALUE and best:
        is_best = row.model in best
        if row.verdict.startswith("fail"):
            text.stylize("red")
        if is_best:
            text.stylize("bold")
        if not color:  # a place for the star in every line, so that the digits stay aligned
            text.append("*" if is_best else " ")
    return text


def _pieces(name: str) -> list[str]:
    """Return the pieces of a metric's name or a model's id that a line may end after."""
    return re.findall(r"[^_/+:]*[_/+:]+|[^_/+:]+$", name)


def _wrapped(name: str, width: int) -> list[str]:
    lines = [""]
    for piece in _pieces(name):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return lines


def _name_lines(name: str, width: int, n_rows: int) -> list[str]:
    """Spread a name over the lines of a metric; what is left stands in the last one."""
    lines = _wrapped(name, width)
    lines += [""] * (n_rows - len(lines))
    return [*lines[: n_rows - 1], "\n".join(lines[n_rows - 1 :])]


def _best(metric: str, rows: Sequence[Row]) -> set[str]:
    """Return the models with the best value; none where fewer than two have one."""
    entry = find(metric)
    losses = {
        row.model: entry.badness(row.value)
        for row in rows
        if row.metric == metric and math.isfinite(row.value)
    }
    if len(losses) < 2 or len(set(losses.values())) == 1:
        return set()
    least = min(losses.values())
    return {model for model, loss in losses.items() if loss == least}
