"""Quality against cost: a chart with the Pareto front."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from reconeval.report.html._svg import picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Point", "cost_chart", "front"]

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 44


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
    return picture(WIDTH, HEIGHT, title, description, parts)


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
    span = (high - low) or abs(high)
    if span < 1e-300:  # its quarter may be 0, which has no logarithm
        span = 1.0
    rough = span / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    tiny = 1e-6  # of a step: what is 0 but for rounding stands at 0
    bottom = math.floor(low / step + tiny) * step
    top = math.ceil(high / step - tiny) * step
    return bottom, max(top, bottom + step), step
