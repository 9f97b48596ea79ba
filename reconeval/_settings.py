"""The text after `?` in a model's name: `n_latent=32&n_hidden=[128,64]&train.max_epochs=50`."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "TRAIN",
    "check_alias",
    "pairs",
    "parse_settings",
    "settings_id",
    "shown",
    "surgery_id",
    "surgery_text",
]

TRAIN = "train."

_ID = re.compile(r"[A-Za-z0-9_:+\-./]+")  # what a -k expression of pytest can hold
_WORDS = {"true": True, "false": False, "none": None}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def parse_settings(text: str, *, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read settings.

    Parameters
    ----------
    text
        `key=value` pairs separated by `&` or `,`, outside brackets and quotes. Values are Python
        literals; `true`, `false` and `none` in any case; anything else is the text itself.
    where
        Begins the message of an error.

    Returns
    -------
    Arguments of the constructor, and those of `train`, whose keys begin with `train.`.

    Raises
    ------
    UsageError
        If a pair has no `=`, a key is no name or comes twice, or a bracket or quote stays open.
    """
    settings: dict[str, Any] = {}
    for pair in pairs(text, where):
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key.removeprefix(TRAIN).isidentifier():
            msg = f"{where}: expected key=value, got {pair!r}; put text with commas in quotes"
            raise UsageError(msg)
        if key in settings:
            msg = f"{where}: {key!r} is given twice; keep one"
            raise UsageError(msg)
        settings[key] = _value(value.strip())
    train = {
        key.removeprefix(TRAIN): value for key, value in settings.items() if key.startswith(TRAIN)
    }
    return {key: value for key, value in settings.items() if not key.startswith(TRAIN)}, train


def settings_id(kwargs: Mapping[str, Any], train_kwargs: Mapping[str, Any]) -> str:
    """Return settings as they stand in a model's id, `+key:value` each, sorted by key."""
    named = dict(kwargs) | {TRAIN + key: value for key, value in train_kwargs.items()}
    return "".join(f"+{key}:{shown(named[key])}" for key in sorted(named))


def surgery_id(surgery: Mapping[str, Any]) -> str:
    """Return settings of query mapping as they stand in a model's id."""
    return settings_id({f"surgery.{name}": value for name, value in surgery.items()}, {})


def surgery_text(surgery: Mapping[str, Any]) -> str:
    """Return settings of query mapping as the option that gives them."""
    return "--surgery " + "&".join(f"{name}={value}" for name, value in surgery.items())


def check_alias(alias: str, *, where: str) -> None:
    """Refuse an alias that `-k` cannot select; `where` begins the message."""
    if not _ID.fullmatch(alias):
        msg = f"{where}: the alias {alias!r} may hold only a-z, A-Z, 0-9 and _ : + - . /"
        raise UsageError(msg)


def pairs(text: str, where: str) -> Iterator[str]:
    """Yield the parts between `&` or `,` outside brackets and quotes; `where` begins errors."""
    start, quote, escaped, open_brackets = 0, "", False, [""]
    for position, char in enumerate(text):
        if escaped:
            escaped = False
        elif quote:
            escaped = char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in _CLOSING:
            open_brackets.append(_CLOSING[char])
        elif char == open_brackets[-1]:
            open_brackets.pop()
        elif char in "&," and len(open_brackets) == 1:
            yield text[start:position]
            start = position + 1
    if quote or len(open_brackets) > 1:
        msg = f"{where}: {quote or open_brackets[-1]} is missing at the end of {text[start:]!r}"
        raise UsageError(msg)
    yield text[start:]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _WORDS.get(text.lower(), text)


def shown(value: Any) -> str:
    """Return a value as it stands in a model's id: without what a shell or a name would trip on."""
    text = value if isinstance(value, str) else re.sub(r"[\s\[\](){}'\"]", "", repr(value))
    return re.sub(r"[^A-Za-z0-9_:+\-./]", "-", text)
