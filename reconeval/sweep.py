"""`--sweep n_latent=10,32,128`: one model becomes a model for each value."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from reconeval._settings import TRAIN, pairs, parse_settings, shown
from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["MOST", "read_sweeps", "swept_of", "swept_text", "variants"]

MOST = 1000  # more is a slip of the keyboard, or a week
_OPTION = " --sweep "


def read_sweeps(texts: Sequence[str]) -> tuple[dict[str, str], ...]:
    """Read the texts of `--sweep`, crossed with each other.

    Parameters
    ----------
    texts
        Each `KEYWORD=VALUE,VALUE,...`; a keyword of `train` begins with `train.`. Values are
        written as after `?` in `--model`.

    Returns
    -------
    The grid: one dictionary from keyword to the value's text for each variant, the last keyword
    changing first. A single empty dictionary where nothing is swept.

    Raises
    ------
    UsageError
        If a text has another form, a keyword or a value comes twice, or the grid has over 1000
        variants.
    """
    axes: dict[str, list[str]] = {}
    for text in texts:
        where = f"--sweep {text}"
        key, equals, values = text.partition("=")
        key = key.strip()
        if not equals or not key.removeprefix(TRAIN).isidentifier() or not values.strip():
            msg = f"{where}: expected KEYWORD=VALUE,VALUE,..., such as n_latent=10,32,128"
            raise UsageError(msg)
        if key in axes:
            msg = f"{where}: {key} is swept twice; write all its values into one --sweep"
            raise UsageError(msg)
        axes[key] = _distinct([value.strip() for value in pairs(values, where)], key, where)
    grid = itertools.product(*axes.values())
    found = tuple(dict(zip(axes, point, strict=True)) for point in itertools.islice(grid, MOST + 1))
    if len(found) > MOST:
        msg = f"--sweep {' --sweep '.join(texts)}: over {MOST} variants; sweep fewer values"
        raise UsageError(msg)
    return found


def variants(
    kwargs: Mapping[str, Any],
    train_kwargs: Mapping[str, Any],
    grid: Sequence[Mapping[str, str]],
    *,
    where: str,
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Mapping[str, str]]]:
    """Yield a model's settings at each point of the grid.

    Parameters
    ----------
    kwargs, train_kwargs
        What the user wrote for the model itself.
    grid
        As `read_sweeps` returns it.
    where
        Begins the message of an error.

    Yields
    ------
    Arguments of the constructor, those of `train`, and what was swept.

    Raises
    ------
    UsageError
        If the user wrote a value for a swept keyword.
    """
    fixed = {*kwargs, *(TRAIN + key for key in train_kwargs)}
    for point in grid:
        for key in point:
            if key in fixed:
                msg = f"{where}: {key} is fixed here and swept by --sweep; drop one of the two"
                raise UsageError(msg)
        text = "&".join(f"{key}={value}" for key, value in point.items())
        swept, swept_train = parse_settings(text, where=where) if text else ({}, {})
        yield {**kwargs, **swept}, {**train_kwargs, **swept_train}, point


def swept_text(swept: Mapping[str, str]) -> str:
    """Return a point of the grid as the options that give it, empty where nothing is swept."""
    return "".join(f"{_OPTION}{key}={value}" for key, value in swept.items())


def swept_of(typed: str) -> tuple[str, dict[str, str]]:
    """Split what `swept_text` added from a model's text; returns the text and the point."""
    model, *points = typed.split(_OPTION)
    found = dict(point.partition("=")[::2] for point in points)
    return model, {key: value.partition(" --")[0] for key, value in found.items()}


def _distinct(values: list[str], key: str, where: str) -> list[str]:
    """Return the texts of values; no two may be one value, or look like one in a model's id."""
    if "" in values:
        msg = f"{where}: a value is missing between two commas"
        raise UsageError(msg)
    read = [parse_settings(f"{key}={value}", where=where) for value in values]
    names = [shown(value) for value in values]
    for number, (value, name) in enumerate(zip(read, names, strict=True)):
        for other in range(number):
            if value == read[other] or name == names[other]:
                msg = f"{where}: {values[number]} "
                same = values[number] == values[other]
                msg += "is given twice" if same else f"is the same value as {values[other]}"
                msg += "; keep one"
                raise UsageError(msg)
    return values
