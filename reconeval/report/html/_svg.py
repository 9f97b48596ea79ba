"""Small pictures as SVG text: coloured by the page's style sheet, escaped, with a description."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconeval._typing import FloatArray

__all__ = ["cloud", "dots", "interval_mark", "outside", "picture", "scatter", "window"]

SIDE = 240  # of a square picture, in units of its view box
MARK = 240  # width of the picture of a change, as in the style sheet


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
    x, y = points.astype(np.float64).T
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
    return picture(SIDE, SIDE, title, description, parts, margin=True)


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
    return picture(SIDE, SIDE, title, description, parts, margin=True)


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


def picture(
    width: int,
    height: int,
    title: str,
    description: str,
    parts: Sequence[Markup],
    *,
    margin: bool = False,
) -> Markup:
    """Put parts into one picture.

    Parameters
    ----------
    width, height
        Of the view box.
    title, description
        What those hear who do not see the picture.
    parts
        Drawn in this order.
    margin
        Whether there is room around the box, for the names of axes.
    """
    box = f"-40 -8 {width + 52} {height + 30}" if margin else f"0 0 {width} {height}"
    return Markup('<svg role="img" viewBox="{}"><title>{}</title><desc>{}</desc>{}</svg>').format(
        box, title, description, Markup().join(parts)
    )
