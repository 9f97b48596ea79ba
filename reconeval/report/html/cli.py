"""`reconeval report runs/*.json -o report.html`: saved runs as one page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconeval.errors import UsageError
from reconeval.report.html._write import check_report_path, write_report

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = (
        "A model that two files score differently stands on the page once for each. "
        "exit codes: 0 written, 4 bad usage"
    )
    parser.add_argument(
        "results",
        type=Path,
        nargs="+",
        metavar="FILE.json",
        help="of --results or --benchmark-json, of reconeval score or of reconeval merge",
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FILE.html", help="where the page goes"
    )
    parser.add_argument("--title", default="", help="heading of the page (the models' names)")


def run(args: argparse.Namespace) -> int:
    """Write the page.

    Parameters
    ----------
    args
        Parsed arguments.

    Returns
    -------
    0.

    Raises
    ------
    UsageError
        If a file cannot be read or holds no rows, or the page cannot be written.
    """
    from reconeval.gate import read_saved

    check_report_path(args.out, option="--out")
    saved = []
    for path in args.results:
        try:
            saved.append(read_saved(path))
        except UsageError as error:
            msg = str(error).removeprefix("baseline ")  # here it is none
            raise UsageError(msg) from None
    write_report(args.out, saved, title=args.title, option="--out")
    print(f"report written to {args.out} ({args.out.stat().st_size / 1e6:.1f} MB)")
    return 0
