"""Write the report to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconeval.rows import check_results_path, write_asked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconeval.gate import SavedRun

__all__ = ["check_report_path", "write_report"]

ENDINGS = (".html", ".htm")


def check_report_path(path: Path, *, option: str = "--report") -> None:
    """Refuse a path that the report could not be written to; `option` is how the user gave it."""
    check_results_path(path, option=option, endings=ENDINGS)


def write_report(
    path: Path, saved: Sequence[SavedRun], *, title: str = "", option: str = "--report"
) -> None:
    """Write runs as one HTML page, never half.

    Parameters
    ----------
    path
        Ends in .html.
    saved
        The runs, see `reconeval.gate.read_saved`.
    title
        The page's heading; by default it names the models.
    option
        What the user gave the path as.

    Raises
    ------
    UsageError
        If there is no row, the ending is another, or the file cannot be written.
    """
    from reconeval.report.html._page import render

    check_report_path(path, option=option)
    write_asked(path, render(saved, title=title).encode(), option=option)
