"""What a saved run says of itself, checked once where it is read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["checked_run"]


def _number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _table(value: object) -> bool:
    return isinstance(value, dict)


def _sources(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _list(value: object) -> bool:
    return isinstance(value, list)


def _tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


# Of other entries any value can be shown.
_EXPECTED: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "arguments": ("a list", _list),
    "command": ("a list", _list),
    "datasets": ("a table of names", _sources),
    "duration_s": ("a number", _number),
    "parts": ("a list of tables", _tables),
    "reference_seconds": ("a number", _number),
    "scored": ("a list", _list),
    "seeds": ("a list", _list),
    "timed": ("a list", _list),
    "versions": ("a table", _table),
}


def checked_run(run: Any, where: str = "run") -> dict[str, Any]:
    """Return what a saved run says of where and how it was made.

    Parameters
    ----------
    run
        The entry `run` of a document, None where it has none.
    where
        What errors call it.

    Returns
    -------
    Its entries, without those that others work with and that are empty (null).

    Raises
    ------
    UsageError
        If an entry that others work with has another type than it was written with.
    """
    if run is None:
        return {}
    if not isinstance(run, dict):
        msg = f"{where} is {run!r:.40}, expected a table; save the run again"
        raise UsageError(msg)
    checked = {name: one for name, one in run.items() if one is not None or name not in _EXPECTED}
    for name, (expected, fits) in _EXPECTED.items():
        if name in checked and not fits(checked[name]):
            msg = f"{where}.{name} is {run[name]!r:.40}, expected {expected}; save the run again"
            raise UsageError(msg)
    if "parts" in checked:
        parts = enumerate(checked["parts"])
        checked["parts"] = [checked_run(part, f"{where}.parts[{i}]") for i, part in parts]
    return checked
