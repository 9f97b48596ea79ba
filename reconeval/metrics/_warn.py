"""Tell of a metric without a value, at the line of the user's own code."""

from __future__ import annotations

import inspect
import warnings

from reconeval.errors import UndefinedMetricWarning

__all__ = ["warn_undefined"]

_OURS = __name__.rpartition(".")[0]


def warn_undefined(name: str, reason: object) -> None:
    """Warn that a metric is undefined.

    Parameters
    ----------
    name
        What the metric is called.
    reason
        Why it has no value.

    Notes
    -----
    The `UndefinedMetricWarning` points at the nearest caller outside `reconeval.metrics`, however
    many functions and, in Python 3.11, comprehensions lie between.
    """
    level, frame = 1, inspect.currentframe()
    while frame is not None and f"{frame.f_globals.get('__name__')}.".startswith(f"{_OURS}."):
        level, frame = level + 1, frame.f_back
    warnings.warn(f"{name} is undefined: {reason}", UndefinedMetricWarning, stacklevel=level)
