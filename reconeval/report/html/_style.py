"""The style sheet of the page: colours of both themes, then the rules."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from reconeval.report.themes import THEMES

if TYPE_CHECKING:
    from reconeval.report.themes import Color

__all__ = ["FAMILIES", "style_sheet"]

STEPS = 10  # of a shade, from the worst to the best
FAMILIES = tuple(THEMES["light"].low)


def style_sheet() -> str:
    """Return the rules of the page, light and dark."""
    rules = files(__package__).joinpath("templates/style.css").read_text(encoding="utf-8")
    return "\n".join([_variables(), *_shades(), rules])


def _variables() -> str:
    light, dark = THEMES["light"], THEMES["dark"]
    colors = {
        "page": (light.page, dark.page),
        "stripe": (light.stripe, dark.stripe),
        "track": (light.track, dark.track),
        "ink": (light.ink, dark.ink),
        "muted": (light.muted, dark.muted),
        "accent": (light.high["statistical"], dark.high["statistical"]),
        "control": (light.high["perturbational"], dark.high["perturbational"]),
    }
    pairs = {name: _pair(*both) for name, both in colors.items()}
    pairs |= {
        "link": "light-dark(#0b4a94,#a9d2ff)",
        "line": "light-dark(#d0d7de,#2f3944)",
        "edge": "light-dark(#7b858f,#76828f)",
        "good": "light-dark(#0f5f2c,#8fdda2)",
        "bad": "light-dark(#b3261e,#ffb0a8)",
        "truth": "light-dark(#b4bcc6,#56616d)",
    }
    listed = ";".join(f"--{name}:{value}" for name, value in pairs.items())
    return f":root{{color-scheme:light dark;{listed}}}"


def _shades() -> list[str]:
    """Return the colours of circles and bars, with text that can be read on them."""
    light, dark = THEMES["light"], THEMES["dark"]
    rules = []
    for family in FAMILIES:
        rules.append(f".t-{family}{{color:{_pair(light.high[family], dark.high[family])}}}")
        for step in range(STEPS + 1):
            shades = light.shade(family, step / STEPS), dark.shade(family, step / STEPS)
            ink = _pair(light.text_on(shades[0]), dark.text_on(shades[1]))
            rules.append(f".f-{family}.s{step}{{background:{_pair(*shades)};color:{ink}}}")
    # The better the larger, so that the order is seen without colours, too.
    rules += [f".dot.s{step}{{--size:{1.9 + 0.06 * step:.2f}rem}}" for step in range(STEPS + 1)]
    return rules


def _pair(light: Color, dark: Color) -> str:
    return f"light-dark({_code(light)},{_code(dark)})"


def _code(color: Color) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in color)
