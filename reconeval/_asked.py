"""Which metrics a run scores, and whether its options name metrics that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconeval.costs import COSTS, find
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconeval.options import Options

__all__ = ["asked_metrics"]


def asked_metrics(options: Options, task: str, tolerances: Collection[str]) -> tuple[str, ...]:
    """Return the metrics of a run.

    Parameters
    ----------
    options
        What the user asked for.
    task
        The task of the run.
    tolerances
        Names of the metrics that have a tolerance of their own.

    Returns
    -------
    The names, in the registry's order.

    Raises
    ------
    UsageError
        If a name is not one of the task's, or nothing is left.
    """
    from reconeval.runs import metric_names

    known = metric_names(task)
    for option, names in (("--metrics", options.metrics), ("--metric-compare-fail", tolerances)):
        for name in names:
            family = _family(name, option, known)
            if name not in known and (family != "cost" or option == "--metrics"):
                msg = f"{option} {name}: a {family} metric, which test_metrics does not score"
                raise UsageError(msg)
    families = dict.fromkeys(find(name).family for name in known)
    for asked in options.families:
        if asked not in families:
            msg = f"--metric-family {asked}: unknown, expected one of {', '.join(families)}"
            raise UsageError(msg)
    chosen = tuple(
        name
        for name in known
        if (not options.metrics or name in options.metrics)
        and (not options.families or find(name).family in options.families)
    )
    if not chosen:
        msg = "--metrics and --metric-family leave no metric; drop one of the two"
        raise UsageError(msg)
    for name in tolerances:
        if name not in chosen and find(name).family != "cost":
            msg = f"--metric-compare-fail {name}: not among the metrics that this run scores"
            raise UsageError(msg)
    return chosen


def _family(name: str, option: str, known: Collection[str]) -> str:
    """Return the family of a metric; one that is unknown is refused with those of the task."""
    try:
        return find(name).family
    except UsageError:
        names = known if option == "--metrics" else (*known, *COSTS)
        near = hint(name, names, "expected one of", most=len(names))
        msg = f"{option} {name}: unknown metric{near}"
        raise UsageError(msg) from None
