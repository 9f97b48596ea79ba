"""Make the gate of a run from what the user asked for, or refuse one that could never fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconeval.costs import COSTS
from reconeval.errors import UsageError
from reconeval.gate._gate import Gate
from reconeval.gate._saved import has_only_timings, read_saved
from reconeval.gate._tolerances import check_coverage, check_overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from reconeval.gate._tolerances import Tolerance
    from reconeval.rows import Row

__all__ = ["count_places", "make_gate"]


def make_gate(
    path: Path | None,
    *,
    tolerances: Mapping[str, Tolerance],
    fail_on_regression: bool,
    models: Sequence[str],
    places: Sequence[tuple[str, str]],
    metrics: Sequence[str],
    reference: Callable[[Row], float | None],
) -> Gate | None:
    """Return the gate of a run; None without a baseline, or with one of timings alone.

    Parameters
    ----------
    path
        The baseline, or None.
    tolerances, fail_on_regression, reference
        As for `Gate`.
    models
        Ids of the models of this run.
    places
        Pairs of dataset id and split name of this run.
    metrics
        Names of the metrics of this run.

    Raises
    ------
    UsageError
        If something is gated and there is no baseline, or nothing in it to compare with.
    """
    gating = ["--metric-compare-fail"] if tolerances else []
    gating += ["--fail-on-regression"] if fail_on_regression else []
    if path is None:
        if gating:
            msg = (
                f"{gating[0]} needs a baseline: add --baseline FILE with the JSON of an earlier run"
            )
            raise UsageError(msg)
        return None
    # A file of timings alone is a baseline for pytest-benchmark, if not for the gate.
    if not gating and has_only_timings(path):
        return None
    saved = read_saved(path)
    names = [f"{dataset}/{split}" for dataset, split in places]
    check_coverage(tolerances, saved.rows.values(), models, names)
    if fail_on_regression:
        check_overlap(saved.rows.values(), models, names, metrics)
    here = [(model, *place) for model in models for place in places]
    return Gate(
        saved,
        tolerances,
        fail_on_regression=fail_on_regression,
        n_places=count_places(saved.rows.values(), here),
        reference=reference,
    )


def count_places(baseline: Iterable[Row], here: Iterable[tuple[str, str, str]]) -> int:
    """Count the models on datasets and splits whose metrics both runs have, at least 1."""
    known = {(row.model, row.dataset, row.split) for row in baseline if row.metric not in COSTS}
    return max(1, len(known & set(here)))
