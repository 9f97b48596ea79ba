"""Numbers that a user sets, refused where they are out of range."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from reconeval.errors import UsageError

__all__ = ["check_least", "check_positive", "check_share"]


def check_least(where: str, least: int, **numbers: Any) -> None:
    """Raise `UsageError` if a setting is no whole number, or below the least allowed.

    Parameters
    ----------
    where
        Begins the message: the model or the call.
    least
        The lowest value that is allowed.
    **numbers
        The settings by name.
    """
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            msg = f"{where}: {name} must be a whole number of at least {least}, got {value!r}"
            raise UsageError(msg)
        if value < least:
            msg = f"{where}: {name} must be at least {least}, got {value}"
            raise UsageError(msg)


def check_positive(where: str, *, zero: bool = False, **numbers: Any) -> None:
    """Raise `UsageError` if a setting is no finite number, or not above 0.

    Parameters
    ----------
    where
        Begins the message: the model or the call.
    zero
        Allow 0, too.
    **numbers
        The settings by name.
    """
    bound = "at least 0" if zero else "above 0"
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            kind = "a number of" if zero else "a number"
            msg = f"{where}: {name} must be {kind} {bound}, got {value!r}"
            raise UsageError(msg)
        if value < 0 or (value == 0 and not zero):
            msg = f"{where}: {name} must be {bound}, got {value}"
            raise UsageError(msg)


def check_share(where: str, **numbers: Any) -> None:
    """Raise `UsageError` if a setting is no number in [0, 1), as a share of dropped units is.

    Parameters
    ----------
    where
        Begins the message: the model or the call.
    **numbers
        The settings by name.
    """
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < 1:
            msg = f"{where}: {name} must be in [0, 1), got {value!r}"
            raise UsageError(msg)
