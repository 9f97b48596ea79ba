"""Small pictures as SVG: three panels side by side on one scale, legible on light and dark."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

__all__ = ["AXIS", "BLUE", "GREY", "ORANGE", "Bars", "Layer", "Line", "Panel", "Points", "draw"]

# Mid tones: on white and on black they keep a contrast of 3 and more.
AXIS, GREY, BLUE, ORANGE = "#808080", "#8c8c8c", "#2f86d1", "#d97a1e"
_SIDE, _LEFT, _GAP, _TOP, _BOTTOM = 150, 44, 34, 40, 34


@dataclass(frozen=True, slots=True)
class Layer:
    """Something drawn into a panel, in data coordinates."""

    x: ArrayLike
    y: ArrayLike
    color: str = BLUE
    size: float | Sequence[float] = 3.0


class Points(Layer):
    """Dots, of one size or each of its own."""


class Line(Layer):
    """A line through points, `size` wide."""


class Bars(Layer):
    """Bars from 0 to y around x, `size` wide on the scale of x."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One prediction: what it is called, the metric's value and what the metric sees of it."""

    name: str
    value: str
    layers: Sequence[Layer]


def draw(
    title: str,
    panels: Sequence[Panel],
    labels: tuple[str, str],
    *,
    ticks: dict[Literal["x", "y"], Sequence[tuple[float, str]]] | None = None,
) -> str:
    """Return the picture as SVG text.

    Parameters
    ----------
    title
        What it shows, for those who cannot see it and as a tooltip.
    panels
        Drawn on one scale, from left to right.
    labels
        Names of the horizontal and of the vertical axis.
    ticks
        Places and texts of the ticks of an axis; without them its ends have numbers.
    """
    x_range, y_range = (_range(panels, axis) for axis in ("x", "y"))
    width = _LEFT + len(panels) * (_SIDE + _GAP)
    height = _TOP + _SIDE + _BOTTOM
    values = "; ".join(f"{panel.name}: {panel.value}" for panel in panels)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    style = f'role="img" font-family="sans-serif" font-size="11" fill="{AXIS}"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>',
        f"<title>{escape(title)}</title><desc>{escape(values)}</desc>",
    ]
    for index, panel in enumerate(panels):
        left = _LEFT + index * (_SIDE + _GAP)
        out.append(f'<g transform="translate({left} {_TOP})">')
        out += [_shape(layer, x_range, y_range) for layer in panel.layers]
        out.append(f'<path d="M0 0V{_SIDE}H{_SIDE}" fill="none" stroke="{AXIS}"/>')
        out.append(_text(_SIDE / 2, -22, panel.name, anchor="middle", weight="bold"))
        out.append(_text(_SIDE / 2, -8, panel.value, anchor="middle"))
        out += _tick_texts("x", x_range, (ticks or {}).get("x"))
        if index == 0:
            out += _tick_texts("y", y_range, (ticks or {}).get("y"))
            turned = f'transform="translate(-30 {_SIDE / 2:g}) rotate(-90)" text-anchor="middle"'
            out.append(f"<text {turned}>{escape(labels[1])}</text>")
        out.append(_text(_SIDE / 2, _SIDE + 28, labels[0], anchor="middle"))
        out.append("</g>")
    return "\n".join([*out, "</svg>"]) + "\n"


def _range(panels: Sequence[Panel], axis: Literal["x", "y"]) -> tuple[float, float]:
    values = [np.ravel(getattr(layer, axis)) for panel in panels for layer in panel.layers]
    if axis == "y" and any(isinstance(one, Bars) for panel in panels for one in panel.layers):
        values.append(np.zeros(1))
    together = np.concatenate(values).astype(float)
    low, high = float(together.min()), float(together.max())
    if axis == "x":  # room for the outer bars
        sizes = [one.size for panel in panels for one in panel.layers if isinstance(one, Bars)]
        half = max((float(np.max(size)) for size in sizes), default=0.0) / 2
        low, high = low - half, high + half
    # Room for the outer dots.
    layers = [one for panel in panels for one in panel.layers if isinstance(one, Points)]
    dot = max((float(np.max(one.size)) for one in layers), default=0.0) / 2 / _SIDE
    low, high = low - dot * (high - low), high + dot * (high - low)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _scaled(values: ArrayLike, limits: tuple[float, float], *, up: bool = False) -> list[float]:
    share = (np.ravel(values).astype(float) - limits[0]) / (limits[1] - limits[0])
    return list(_SIDE * (1 - share if up else share))


def _shape(layer: Layer, x_range: tuple[float, float], y_range: tuple[float, float]) -> str:
    x, y = _scaled(layer.x, x_range), _scaled(layer.y, y_range, up=True)
    if isinstance(layer, Bars):
        half = _SIDE * float(np.max(layer.size)) / (x_range[1] - x_range[0]) / 2
        base = _scaled([0.0], y_range, up=True)[0]
        path = "".join(
            f"M{a - half:.1f} {base:.1f}V{b:.1f}h{2 * half:.1f}V{base:.1f}z"
            for a, b in zip(x, y, strict=True)
        )
        return f'<path d="{path}" fill="{layer.color}" fill-opacity="0.75"/>'
    if isinstance(layer, Line):
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
        return f'<path d="{path}" fill="none" stroke="{layer.color}" stroke-width="{layer.size}"/>'
    sizes = np.broadcast_to(np.asarray(layer.size, dtype=float), len(x))
    style = f'fill="none" stroke="{layer.color}" stroke-opacity="0.7" stroke-linecap="round"'
    # A stroke without length and round ends is a dot, in ten characters.
    return "\n".join(
        f'<path {style} stroke-width="{size:g}" d="'
        + "".join(f"M{a:.1f} {b:.1f}h0" for a, b, s in zip(x, y, sizes, strict=True) if s == size)
        + '"/>'
        for size in np.unique(sizes)
    )


def _tick_texts(
    axis: str, limits: tuple[float, float], ticks: Sequence[tuple[float, str]] | None
) -> list[str]:
    if ticks is None:
        ticks = [
            (value, f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}") for value in limits
        ]
        ends = ("start", "end")
    else:
        ends = ("middle",) * len(ticks)
    out = []
    for (value, text), anchor in zip(ticks, ends, strict=True):
        if axis == "x":
            out.append(_text(_scaled([value], limits)[0], _SIDE + 13, text, anchor=anchor))
        else:
            at = _scaled([value], limits, up=True)[0]
            out.append(_text(-4, min(at + 8, _SIDE), text, anchor="end"))
    return out


def _text(x: float, y: float, text: str, *, anchor: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
