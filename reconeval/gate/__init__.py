"""The comparison with an earlier run, and what may fail a build.

Nothing here knows of pytest: rows go in, verdicts come out.
"""

from __future__ import annotations

from reconeval.gate._compare import Comparison, Word, compare
from reconeval.gate._gate import ALPHA, Gate, Scored, discoveries
from reconeval.gate._making import count_places, make_gate
from reconeval.gate._saved import (
    SavedRun,
    has_only_timings,
    has_timings,
    lost_rows,
    read_baseline,
    read_saved,
    rows_of,
)
from reconeval.gate._tolerances import Tolerance, check_coverage, check_overlap, read_tolerances

__all__ = [
    "ALPHA",
    "Comparison",
    "Gate",
    "SavedRun",
    "Scored",
    "Tolerance",
    "Word",
    "check_coverage",
    "check_overlap",
    "compare",
    "count_places",
    "discoveries",
    "has_only_timings",
    "has_timings",
    "lost_rows",
    "make_gate",
    "read_baseline",
    "read_saved",
    "read_tolerances",
    "rows_of",
]
