"""Line plots of each metric against a swept value."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from reconeval._settings import parse_settings
from reconeval.costs import find
from reconeval.errors import UsageError
from reconeval.rows import atomic_write
from reconeval.sweep import swept_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from reconeval.rows import Row

    Line = list[tuple[Any, Row]]
    Name = tuple[str, str]  # the model with the other keywords, and the place

__all__ = ["plot_paths", "sweep_figures", "write_plots"]

DPI = 150
WIDTH, HEIGHT, NAME = 3.1, 2.3, 0.165  # inches of a panel, and of a line of the legend
COLUMNS = 4
DECADE = 10
# Okabe and Ito's colours, which differ for colour-blind readers too; without the yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")
MARKERS = "osD^vP"


def sweep_figures(rows: Iterable[Row]) -> dict[str, Figure]:
    """Draw each metric against each swept keyword.

    Parameters
    ----------
    rows
        Of a run with `--sweep`; rows of models that were not swept are left aside.

    Returns
    -------
    A figure per swept keyword that has at least two values: one panel per metric with a value, one
    line per model, place and value of the other keywords, and a band from the lowest to the
    highest value over seeds. The axis of values is logarithmic where they are positive numbers
    that span over a decade.
    """
    from matplotlib.figure import Figure

    figures = {}
    for keyword, lines in _lines(rows).items():
        metrics = list(dict.fromkeys(metric for _, metric in lines))
        names = list(dict.fromkeys(name for name, _ in lines))
        wide = min(COLUMNS, len(metrics))
        high = math.ceil(len(metrics) / wide)
        legend = NAME * len(names) + 0.2
        longest = max(len(" on ".join(name)) for name in names)
        size = (max(wide * WIDTH, 0.075 * longest + 1), high * HEIGHT + legend)
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[high * HEIGHT, legend])
        panels, below = parts.flat
        axes = panels.subplots(high, wide, squeeze=False)
        for number, axis in enumerate(axes.flat):
            if number >= len(metrics):
                axis.set_axis_off()
                continue
            _panel(axis, metrics[number], keyword, names, lines)
        below.legend(handles=_handles(names), loc="upper center", frameon=False, fontsize=8)
        figures[keyword] = figure
    return figures


def plot_paths(results: Path, keyword: str) -> list[Path]:
    """Return where the plots of a keyword go: beside the results, as SVG and PNG."""
    stem = f"{results.stem}-{keyword}"
    return [results.with_name(f"{stem}{ending}") for ending in (".svg", ".png")]


def write_plots(rows: Sequence[Row], results: Path) -> list[Path]:
    """Draw and write the plots beside a file of results.

    Parameters
    ----------
    rows
        As for `sweep_figures`.
    results
        `out.json` gives `out-KEYWORD.svg` and `out-KEYWORD.png`.

    Returns
    -------
    The files that were written; none where nothing was swept over two values or more.

    Raises
    ------
    UsageError
        If a file cannot be written.
    """
    from matplotlib import rc_context

    written = []
    for keyword, figure in sweep_figures(rows).items():
        for path in plot_paths(results, keyword):
            content = io.BytesIO()
            with rc_context({"svg.hashsalt": "reconeval", "svg.fonttype": "none"}):
                figure.savefig(content, format=path.suffix[1:], dpi=DPI)
            try:
                atomic_write(path, content.getvalue())
            except OSError as error:
                msg = f"{path}: cannot be written ({error.strerror}); name results elsewhere"
                raise UsageError(msg) from None
            written.append(path)
    return written


def _lines(rows: Iterable[Row]) -> dict[str, dict[tuple[Name, str], Line]]:
    """Return for each keyword the points of each (line, metric), in the order of values."""
    found: dict[str, dict[tuple[Name, str], Line]] = {}
    for row in rows:
        model, point = swept_of(row.spec)
        if math.isnan(row.value):
            continue
        for keyword, text in point.items():
            others = "".join(f", {key} {value}" for key, value in point.items() if key != keyword)
            name = (model + others, f"{row.dataset}/{row.split}")
            values = parse_settings(f"{keyword}={text}", where="--sweep")
            value = next(value for part in values for value in part.values())
            lines = found.setdefault(keyword, {})
            lines.setdefault((name, row.metric), []).append((value, row))
    several = {
        keyword: lines
        for keyword, lines in found.items()
        if len({str(value) for line in lines.values() for value, _ in line}) > 1
    }
    for lines in several.values():
        for line in lines.values():
            if all(_is_number(value) for value, _ in line):
                line.sort(key=lambda at: float(at[0]))
    return several


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _panel(
    axis: Axes,
    metric: str,
    keyword: str,
    names: Sequence[Name],
    lines: dict[tuple[Name, str], Line],
) -> None:
    """Draw the lines of one metric."""
    entry = find(metric)
    arrow = {True: "↑", False: "↓"}.get(entry.higher_is_better, f"→{entry.best:g}")  # type: ignore[arg-type]
    axis.set_title(f"{metric} {arrow}", fontsize=8)
    styles = _styles(names)
    mine = {name: lines[name, metric] for name in names if (name, metric) in lines}
    every = [value for line in mine.values() for value, _ in line]
    numbers = all(map(_is_number, every))
    places = {str(value): number for number, value in enumerate(dict.fromkeys(map(str, every)))}
    for name, line in mine.items():
        x = [float(value) if numbers else places[str(value)] for value, _ in line]
        color, dash, marker = styles[name]
        axis.plot(x, [row.value for _, row in line], dash, color=color, marker=marker, ms=3, lw=1.2)
        low, high = [row.low for _, row in line], [row.high for _, row in line]
        axis.fill_between(x, low, high, color=color, alpha=0.18, lw=0)
    if not numbers:
        axis.set_xticks(list(places.values()), list(places), rotation=30, ha="right")
    else:
        if min(every) > 0 and max(every) / min(every) > DECADE:
            axis.set_xscale("log")
        ticks = sorted({float(value) for value in every})
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
    axis.set_xlabel(keyword, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#dddddd", lw=0.6)


def _styles(names: Sequence[Name]) -> dict[Name, tuple[str, str, str]]:
    """Return colour, dash and marker of each line: a colour per model, the others per place."""
    models = list(dict.fromkeys(model for model, _ in names))
    places = list(dict.fromkeys(place for _, place in names))
    styles = {}
    for model, place in names:
        color, number = models.index(model) % len(COLORS), places.index(place)
        dash, marker = DASHES[number % len(DASHES)], MARKERS[number % len(MARKERS)]
        styles[model, place] = (COLORS[color], dash, marker)
    return styles


def _handles(names: Sequence[Name]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=color, ls=dash, marker=marker, ms=4, lw=1.2, label=" on ".join(name))
        for name, (color, dash, marker) in _styles(names).items()
    ]
