"""Drawing of the heatmap: sizes, places and artists."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from reconeval.report.themes import Theme

__all__ = ["BAR", "CELL", "NUMBER", "OVERALL_BAR", "Block", "Column", "Picture", "short_number"]

# Inches; the axes are in inches from the top left corner, so that text fits at any size.
MARGIN, GAP, ROW, CELL = 0.25, 0.25, 0.5, 0.58
BAR, OVERALL_BAR, NUMBER = 0.7, 1.0, 0.36
RADIUS = (0.15, 0.235)  # of the worst and of the best: a number fits in both
SMALL, MEDIUM, LARGE = 7.0, 9.0, 12.0  # points
MISSING = "n/a"
STAR = "*"
STAR_NOTE = f" {STAR} over fewer metrics, for want of a value."
NOTES = (
    "Circles: rank percentile among the methods shown, 1 is best; numbers: raw values.",
    "Bars: mean percentile, overall without costs. A number without a circle: not ranked.",
)


@dataclass(slots=True)
class Column:
    """A mean or a metric, and where it stands.

    Attributes
    ----------
    name
        The column of the tables.
    arrow
        The direction, written below the name; empty for a mean.
    family
        Gives the hue.
    width, left
        In inches; `left` is set by the picture.
    """

    name: str
    arrow: str
    family: str
    width: float
    left: float = 0.0

    @property
    def centre(self) -> float:
        """The middle, in inches."""
        return self.left + self.width / 2


@dataclass(slots=True)
class Block:
    """Columns under one heading.

    Attributes
    ----------
    heading, family
        What is written above, and what gives the hue.
    columns
        From left to right.
    left, width
        In inches, set by the picture.
    """

    heading: str
    family: str
    columns: list[Column] = field(default_factory=list)
    left: float = 0.0
    width: float = 0.0


def _extent(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    font = FontProperties(weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().x1) / 72


def short_number(value: float) -> str:
    """Write a value in about five characters."""
    if not math.isfinite(value):
        return MISSING if math.isnan(value) else f"{value:+}"
    size = abs(value)
    if value and not 1e-3 <= size < 1e12:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= 10 * unit:
            return f"{value / unit:.0f}{suffix}"
    return f"{value:.{3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0}f}"


class Picture:
    """The figure of a heatmap.

    Parameters
    ----------
    theme
        Colours.
    methods
        Names of the rows from the top.
    blocks
        The columns; the first block is that of the means, drawn as bars.
    title
        Shown at the top.
    """

    def __init__(
        self, theme: Theme, methods: Sequence[str], blocks: Sequence[Block], title: str
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.theme = theme
        self.methods = methods
        self.blocks = blocks
        self.title = title
        right = self._place()
        names = [column.name for block in blocks[1:] for column in block.columns]
        self.heading_y = MARGIN + (0.4 if title else 0.0) + 0.14
        self.names_y = self.heading_y + 0.22 + max(_extent(name, MEDIUM) for name in names)
        self.top = self.names_y + 0.28
        notes_y = self.top + len(methods) * ROW + 0.3
        self.width = max(right, _extent(NOTES[1] + STAR_NOTE, SMALL) + 2.8) + MARGIN
        self.width = max(self.width, 2 * MARGIN + _extent(title, LARGE, bold=True))
        self.height = notes_y + 0.35 + MARGIN
        self.notes_y = notes_y
        self.figure = Figure(figsize=(self.width, self.height), facecolor=theme.page)
        FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        self.axes.set_axis_off()

    def _place(self) -> float:
        """Give every column its place, and return where the last one ends."""
        x = MARGIN + max(_extent(name, MEDIUM, bold=True) for name in self.methods) + GAP
        for column in self.blocks[0].columns:
            column.width = max(column.width, _extent(column.name, SMALL + 1) + 0.1)
        for block in self.blocks:
            inner = sum(column.width for column in block.columns)
            block.left, block.width = x, max(inner, _extent(block.heading, MEDIUM, bold=True))
            at = x + (block.width - inner) / 2
            for column in block.columns:
                column.left = at
                at += column.width
            x += block.width + GAP
        return x - GAP

    def draw(self, scores: pd.DataFrame, table: pd.DataFrame) -> None:
        """Draw all.

        Parameters
        ----------
        scores
            Methods x metrics, raw values, rows in the order of the picture.
        table
            Of `aggregate_rank_percentile`, the same rows.
        """
        if self.title:
            self._text(MARGIN, MARGIN + 0.1, self.title, size=LARGE, bold=True)
        for row, method in enumerate(self.methods):
            self._row(row, method)
        means, *families = self.blocks
        for block in self.blocks:
            self._heading(block)
        for j, column in enumerate(means.columns):
            for row in range(len(self.methods)):
                star = STAR if j == 0 and table["missing"].iloc[row] else ""
                self._bar(row, j, column, float(table[column.name].iloc[row]), star)
        columns = [column for block in families for column in block.columns]
        for j, column in enumerate(columns):
            for row in range(len(self.methods)):
                value = float(scores[column.name].iloc[row])
                self._circle(row, j, column, value, float(table[column.name].iloc[row]))
        self._legend(has_missing=bool(table["missing"].any()))

    def _y(self, row: int) -> float:
        return self.top + (row + 0.5) * ROW

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = MEDIUM,
        bold: bool = False,
        **more: Any,
    ) -> None:
        options = {"color": self.theme.ink, "va": "center", "ha": "left"} | more
        weight = "bold" if bold else "normal"
        self.axes.text(x, y, text, fontsize=size, fontweight=weight, **options)

    def _row(self, row: int, method: str) -> None:
        from matplotlib.patches import Rectangle

        if row % 2 == 0:
            corner = (MARGIN / 2, self.top + row * ROW)
            stripe = Rectangle(corner, self.width - MARGIN, ROW, color=self.theme.stripe, lw=0)
            self.axes.add_patch(stripe)
        self._text(MARGIN, self._y(row), method, bold=row == 0, gid=f"method-{row}")

    def _heading(self, block: Block) -> None:
        color = self.theme.high[block.family if block.family in self.theme.high else "other"]
        centre = block.left + block.width / 2
        self._text(
            centre,
            self.heading_y,
            block.heading,
            bold=True,
            color=color,
            ha="center",
            gid=f"heading-{block.heading}",
        )
        y, ends = self.heading_y + 0.13, (block.left, block.left + block.width)
        self.axes.plot(ends, (y, y), color=color, lw=1.5, solid_capstyle="butt")
        bars = block is self.blocks[0]
        for column in block.columns:
            gid = f"name-{block.heading}-{column.name}"
            if bars:
                self._text(column.left, self.names_y + 0.14, column.name, size=SMALL + 1, gid=gid)
                continue
            self._text(
                column.centre,
                self.names_y,
                column.name,
                rotation=90,
                ha="center",
                va="bottom",
                gid=gid,
            )
            self._text(column.centre, self.names_y + 0.14, column.arrow, ha="center")

    def _bar(self, row: int, j: int, column: Column, value: float, star: str) -> None:
        from matplotlib.patches import Rectangle

        y, length = self._y(row), column.width - NUMBER - 0.06
        if math.isnan(value):
            self._text(column.left, y, MISSING, color=self.theme.muted, gid=f"mean-{row}-{j}")
            return
        for width, color, gid in (
            (length, self.theme.track, f"track-{row}-{j}"),
            (
                length * value,
                self.theme.shade(column.family, 0.35 + 0.65 * value),
                f"bar-{row}-{j}",
            ),
        ):
            corner = (column.left, y - 0.09)
            self.axes.add_patch(Rectangle(corner, width, 0.18, color=color, lw=0, gid=gid))
        self._text(
            column.left + length + 0.05,
            y,
            f"{value:.2f}{star}",
            size=SMALL + 0.5,
            bold=j == 0,
            gid=f"mean-{row}-{j}",
        )

    def _circle(self, row: int, j: int, column: Column, value: float, percentile: float) -> None:
        from matplotlib.patches import Circle

        color, at = self.theme.muted, (column.centre, self._y(row))
        if not math.isnan(percentile):
            low, high = RADIUS
            shade = self.theme.shade(column.family, percentile)
            radius = low + (high - low) * percentile
            self.axes.add_patch(Circle(at, radius, color=shade, lw=0, gid=f"circle-{row}-{j}"))
            color = self.theme.text_on(shade)
        self._text(
            *at, short_number(value), size=SMALL, color=color, ha="center", gid=f"value-{row}-{j}"
        )

    def _legend(self, *, has_missing: bool) -> None:
        from matplotlib.patches import Circle

        x, y = MARGIN + RADIUS[1], self.notes_y + 0.1
        for percentile in (0.0, 0.5, 1.0):
            radius = RADIUS[0] + (RADIUS[1] - RADIUS[0]) * percentile
            shade = self.theme.shade("overall", percentile)
            self.axes.add_patch(Circle((x, y), radius, color=shade, lw=0))
            self._text(x + radius + 0.06, y, f"{percentile:g}", size=SMALL)
            x += 0.75
        notes = [NOTES[0], NOTES[1] + (STAR_NOTE if has_missing else "")]
        for line, note in enumerate(notes):
            self._text(x, y - 0.08 + 0.17 * line, note, size=SMALL, color=self.theme.muted)
