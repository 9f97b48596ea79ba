"""The errors that reconeval shows to its users, each one line that says the next step."""

from __future__ import annotations

__all__ = ["ModelError", "ReconevalError", "Undefined", "UndefinedMetricWarning", "UsageError"]


class ReconevalError(Exception):
    """Base of every error that reconeval raises on purpose."""


class UsageError(ReconevalError, ValueError):
    """The user asked for something that cannot be: a bad model, dataset, option or baseline.

    On the command line it becomes one line and exit code 4.
    """


class ModelError(ReconevalError, RuntimeError):
    """The user's model broke its contract or raised: the message names the model and the call."""


class Undefined(ReconevalError, ValueError):  # noqa: N818  (a state of a metric, not a fault)
    """A metric has no value on these data; the message is the reason shown beside the NaN."""


class UndefinedMetricWarning(UserWarning):
    """A metric came out as NaN; the message has the reason."""
