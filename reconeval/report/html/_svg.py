"""Small pictures as SVG text: coloured by the page's style sheet, escaped, with a description."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reconeval._typing import FloatArray

__all__ = [
    "Point",
    "cloud",
    "cost_chart",
    "dots",
    "front",
    "interval_mark",
    "outside",
    "scatter",
    "window",
]

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 44
SIDE = 240  # of a square picture, in units of its view box
MARK = 240  # width of the picture of a change, as in the style sheet


class Point(NamedTuple):
    """A model in a chart: its number on the page, its name, a cost and a quality."""

    number: int
    name: str
    cost: float
    quality: float


def front(points: Sequence[Point]) -> set[int]:
    """Return the numbers of the models that none beats in cost and quality at once.

    Parameters
    ----------
    points
        Cost: lower is better; quality: higher is better.
    """

    def beaten(one: Point) -> bool:
        return any(
            other.cost <= one.cost
            and other.quality >= one.quality
            and (other.cost, other.quality) != (one.cost, one.quality)
            for other in points
        )

    return {one.number for one in points if not beaten(one)}


def cost_chart(points: Sequence[Point], *, cost: str, quality: str, title: str) -> Markup:
    """Draw quality against a cost on a logarithmic axis, the Pareto front marked.

    Parameters
    ----------
    points
        At least one; costs above 0.
    cost, quality
        What stands at the axes.
    title
        Names the picture to those who do not see it.
    """
    best = front(points)
    ticks = _ticks([point.cost for point in points])
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])
    bottom, top, step = _nice(point.quality for point in points)

    def x(value: float) -> float:
        return LEFT + (math.log10(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    parts = [_x_axis(ticks, x), _y_axis(bottom, top, step, y)]
    parts.append(_axis_names(cost, quality))
    stairs = sorted((point for point in points if point.number in best), key=lambda one: one.cost)
    if len(stairs) > 1:
        path = f"M{x(stairs[0].cost):.0f} {y(stairs[0].quality):.0f}"
        path += "".join(f"H{x(one.cost):.0f}V{y(one.quality):.0f}" for one in stairs[1:])
        parts.append(Markup('<path class="front" d="{}"/>').format(path))
    ordered = sorted(points, key=lambda one: one.number in best)  # so that the front is on top
    parts += [
        _numbered(one, x(one.cost), y(one.quality), on_front=one.number in best) for one in ordered
    ]
    listed = ", ".join(one.name for one in stairs)
    description = f"{len(points)} models. On the Pareto front: {listed}. The table below has all."
    return _picture(WIDTH, HEIGHT, title, description, parts)


def _numbered(one: Point, x: float, y: float, *, on_front: bool) -> Markup:
    """Draw a model as its number in a circle, within the picture."""
    x, y = min(max(x, 10), WIDTH - 10), min(max(y, 10), HEIGHT - 10)
    return Markup(
        '<g class="model{}"><title>{}: {:.4g}, {:.4g}</title><circle cx="{:.0f}" cy="{:.0f}" '
        'r="9"/><text x="{:.0f}" y="{:.0f}">{}</text></g>'
    ).format(
        " best" if on_front else "", one.name, one.cost, one.quality, x, y, x, y + 3.5, one.number
    )


def _x_axis(ticks: Sequence[float], x: Callable[[float], float]) -> Markup:
    marks = []
    for tick in ticks:
        text = f"{tick:,.0f}" if 1 <= tick < 1e7 else f"{tick:g}"
        marks.append(
            Markup(
                '<path class="grid" d="M{0:.0f} {1}V{2}"/>'
                '<text x="{0:.0f}" y="{3}" class="mid">{4}</text>'
            ).format(x(tick), TOP, HEIGHT - BOTTOM, HEIGHT - BOTTOM + 15, text)
        )
    return Markup().join(marks)


def _y_axis(bottom: float, top: float, step: float, y: Callable[[float], float]) -> Markup:
    marks = []
    for i in range(round((top - bottom) / step) + 1):
        value = bottom + i * step
        marks.append(
            Markup(
                '<path class="grid" d="M{0} {1:.0f}H{2}"/>'
                '<text x="{3}" y="{4:.0f}" class="end">{5:g}</text>'
            ).format(LEFT, y(value), WIDTH - RIGHT, LEFT - 6, y(value) + 4, round(value, 10))
        )
    return Markup().join(marks)


def _axis_names(below: str, beside: str) -> Markup:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return Markup(
        '<text x="{}" y="{}" class="mid name">{}</text>'
        '<text transform="rotate(-90 12 {:.0f})" x="12" y="{:.0f}" class="mid name">{}</text>'
    ).format((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, below, middle, middle, beside)


def _ticks(values: Sequence[float]) -> list[float]:
    """Return round numbers around some values: powers of ten, where these are few 1, 2 and 5."""
    first, last = (math.floor(math.log10(end)) for end in (min(values), max(values)))
    fine = last - first < 2
    round_ones = [
        factor * 10.0**exponent
        for exponent in range(first - 1, last + 2)
        for factor in ((1, 2, 5) if fine else (1,))
    ]
    low = max(tick for tick in round_ones if tick <= min(values))
    high = min(tick for tick in round_ones if tick >= max(values) and tick > low)
    return [tick for tick in round_ones if low <= tick <= high]


def _nice(values: Iterable[float]) -> tuple[float, float, float]:
    """Return round bounds around some values, and a round step between them."""
    values = list(values)
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0
    rough = span / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step
    return bottom, max(top, bottom + step), step


def window(*clouds: FloatArray) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of the finite points of some arrays, with a margin.

    Parameters
    ----------
    clouds
        Arrays of shape (n, 2).
    """
    points = np.concatenate(clouds)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return (0.0, 1.0, 0.0, 1.0)
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    margin = np.maximum((high - low) * 0.12, 1e-3 * (1 + np.abs(high)))
    (left, bottom), (right, top) = low - margin, high + margin
    return float(left), float(right), float(bottom), float(top)


def dots(points: FloatArray, bounds: tuple[float, float, float, float], mark: str = "h0") -> str:
    """Return the path of a mark at each point, those outside the bounds at the border.

    Parameters
    ----------
    points
        Array of shape (n, 2); what is not finite is left out.
    bounds
        From `window`.
    mark
        The path of one mark from its middle and back: a dot, as wide as the line, by default.
    """
    left, right, bottom, top = bounds
    points = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    scaled = (points - [left, top]) / [right - left, bottom - top]
    pixels = np.unique((np.clip(scaled, 0, 1) * SIDE).round().astype(int), axis=0)
    steps = np.diff(pixels, axis=0, prepend=[[0, 0]])  # short, since pixels are in order
    return "".join(f"m{x} {y}{mark}" for x, y in steps)


def outside(points: FloatArray, bounds: tuple[float, float, float, float]) -> int:
    """Return how many points are not within the bounds, or not finite."""
    left, right, bottom, top = bounds
    x, y = points.T
    return int(len(x) - ((x >= left) & (x <= right) & (y >= bottom) & (y <= top)).sum())


def cloud(shared: str, predicted: str, *, title: str, description: str) -> Markup:
    """Draw predicted cells over those that all models of a place share.

    Parameters
    ----------
    shared
        Id of the measured cells on the page.
    predicted
        From `dots`.
    title, description
        What those hear who do not see the picture.
    """
    parts = [
        Markup('<use href="#{}"/><path class="predicted" d="{}"/>').format(shared, predicted),
        _frame("component 1", "component 2"),
    ]
    return _picture(SIDE, SIDE, title, description, parts, margin=True)


def scatter(truth: FloatArray, prediction: FloatArray, *, title: str, description: str) -> Markup:
    """Draw gene means of the prediction against those of the truth, equal ones on the diagonal.

    Parameters
    ----------
    truth, prediction
        Arrays of shape (n_genes,), same scale.
    title, description
        What those hear who do not see the picture.
    """
    finite = truth[np.isfinite(truth)]
    high = float(finite.max()) * 1.08 if len(finite) else 1.0
    bounds = (min(0.0, float(finite.min()) if len(finite) else 0.0), high or 1.0) * 2
    path = dots(np.stack([truth, prediction], axis=1), bounds)
    parts = [
        Markup('<path class="equal" d="M0 {0}L{0} 0"/><path class="gene" d="{1}"/>').format(
            SIDE, path
        ),
        _frame("truth", "prediction"),
        Markup(
            '<text x="{0}" y="{1}" class="end">{2:.3g}</text>'
            '<text x="-4" y="12" class="end">{2:.3g}</text>'
        ).format(SIDE, SIDE + 17, bounds[1]),
    ]
    return _picture(SIDE, SIDE, title, description, parts, margin=True)


def _frame(below: str, beside: str) -> Markup:
    return Markup(
        '<path class="frame" d="M0 0V{0}H{0}"/><text x="{1}" y="{2}" class="mid name">{3}</text>'
        '<text transform="rotate(-90 -8 {1})" x="-8" y="{1}" class="mid name">{4}</text>'
    ).format(SIDE, SIDE // 2, SIDE + 17, below, beside)


def interval_mark(change: float, low: float | None, high: float | None, limit: float) -> Markup:
    """Draw a change as a dot with its interval, 0 in the middle; the text beside it says the same.

    Parameters
    ----------
    change
        Not NaN.
    low, high
        Bounds of its interval, None without one.
    limit
        The change at the picture's right end, above 0; what is beyond ends there.
    """

    def x(value: float) -> float:
        return MARK / 2 + max(-1.0, min(1.0, value / limit)) * (MARK / 2 - 8)

    whisker = Markup()
    if low is not None and high is not None:
        whisker = Markup('<path d="M{:.0f} 11H{:.0f}"/>').format(x(low), x(high))
    return Markup(
        '<svg class="mark" aria-hidden="true">{}<circle cx="{:.0f}" cy="11" r="4.5"/></svg>'
    ).format(whisker, x(change))


def _picture(
    width: int,
    height: int,
    title: str,
    description: str,
    parts: Sequence[Markup],
    *,
    margin: bool = False,
) -> Markup:
    box = f"-40 -8 {width + 52} {height + 30}" if margin else f"0 0 {width} {height}"
    return Markup('<svg role="img" viewBox="{}"><title>{}</title><desc>{}</desc>{}</svg>').format(
        box, title, description, Markup().join(parts)
    )
