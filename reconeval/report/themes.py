"""Colours of pictures on a light and on a dark page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["THEMES", "Color", "Theme", "contrast"]

Color: TypeAlias = tuple[float, float, float]


def _color(code: str) -> Color:
    red, green, blue = (int(code[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Theme:
    """What a picture is painted with.

    Attributes
    ----------
    page, stripe, track
        The page, every second row, and the empty part of a bar.
    ink, muted
        Main text, and text and lines that stand back.
    low, high
        For each family the colours of the lowest and of the highest value: near the page and
        far from it, so that the order is seen without colours, too.
    """

    page: Color
    stripe: Color
    track: Color
    ink: Color
    muted: Color
    low: dict[str, Color]
    high: dict[str, Color]

    def shade(self, family: str, value: float) -> Color:
        """Colour of a value in [0, 1]; families that are not known share one hue."""
        low, high = (ends.get(family, ends["other"]) for ends in (self.low, self.high))
        red, green, blue = (a + (b - a) * value for a, b in zip(low, high, strict=True))
        return red, green, blue

    def text_on(self, color: Color) -> Color:
        """Black or white, whichever reads better."""
        black, white = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        return black if contrast(black, color) >= contrast(white, color) else white


def contrast(a: Color, b: Color) -> float:
    """Contrast ratio of two colours.

    Parameters
    ----------
    a, b
        Red, green and blue in [0, 1].

    Returns
    -------
    From 1, equal, to 21, black on white; small text should have 4.5.

    References
    ----------
    Web Content Accessibility Guidelines 2.2, relative luminance and contrast ratio.
    """
    dark, light = sorted((_luminance(a), _luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _theme(paint: tuple[str, str, str, str, str], hues: dict[str, tuple[str, str]]) -> Theme:
    page, stripe, track, ink, muted = map(_color, paint)
    low = {name: _color(ends[0]) for name, ends in hues.items()}
    high = {name: _color(ends[1]) for name, ends in hues.items()}
    return Theme(page, stripe, track, ink, muted, low, high)


THEMES: dict[str, Theme] = {
    "light": _theme(
        ("ffffff", "f4f5f7", "dfe3e8", "1b1f24", "59636e"),
        {
            "overall": ("d5d9de", "24292f"),
            "statistical": ("dbe9f9", "0b4a94"),
            "biological": ("d9f0dd", "0f5f2c"),
            "perturbational": ("fde3cd", "943a05"),
            "cost": ("e8e2f3", "50318f"),
            "other": ("d8eef0", "0a5a64"),
        },
    ),
    "dark": _theme(
        ("0f1318", "171c23", "2b333d", "e8ecf1", "98a3b0"),
        {
            "overall": ("3a434e", "f2f4f7"),
            "statistical": ("17395f", "a9d2ff"),
            "biological": ("173f25", "a6e8b5"),
            "perturbational": ("552c10", "ffc896"),
            "cost": ("382a5c", "d3c2fb"),
            "other": ("123f45", "a3e4ec"),
        },
    ),
}
