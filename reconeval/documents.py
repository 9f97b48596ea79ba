"""What a run leaves behind: its document, the tidy table, plots of what was swept, the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconeval.gate._saved import saved_of
from reconeval.report import html
from reconeval.rows import KEY, SCHEMA
from reconeval.rows import write_results as write_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconeval.session import Session

__all__ = ["document", "write_plots", "write_report", "write_results"]


def document(session: Session) -> Mapping[str, Any]:
    """Return what goes into the benchmark JSON under `reconeval`."""
    run = {**session.environment, "duration_s": round(session.seconds, 3)}
    run["reference_seconds"] = session.reference.seconds
    if session.reference.kept:
        kept = sorted(session.reference.kept.items())
        run["kept_references"] = [[*place, seconds] for place, seconds in kept]
    rows = session.sorted_rows()
    return {
        "schema": SCHEMA,
        "run": run,
        "rows": [row.to_dict() for row in rows],
        "metric_seconds": {" ".join(key): s for key, s in session.metric_seconds.items()},
        "replicates": [
            {**dict(zip(KEY, row.key, strict=True)), **session.replicates[row.key].to_dict()}
            for row in rows
            if row.key in session.replicates
        ],
        "material": session.material.to_dict(),
    }


def write_results(session: Session) -> None:
    """Write the tidy table wherever the user asked for it."""
    whole = document(session)
    further = {name: whole[name] for name in ("replicates", "material")}
    for path in session.options.results:
        write_rows(path, session.sorted_rows(), whole["run"], further=further)


def write_plots(session: Session) -> list[Path]:
    """Draw what was swept, beside the results; returns the files, none without `--sweep`."""
    if not session.options.sweeps:
        return []
    from reconeval.report.sweep import write_plots as draw

    # One table in several formats is drawn once.
    tables = {path.with_suffix(""): path for path in session.options.results}
    return [plot for path in tables.values() for plot in draw(session.sorted_rows(), path)]


def write_report(session: Session) -> None:
    """Write the HTML report wherever the user asked for it."""
    for path in session.options.reports:
        html.write_report(path, [saved_of(document(session), "this run")])
