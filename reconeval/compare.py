"""`reconeval compare OLD NEW`: what became worse between saved runs, the worst first."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reconeval.errors import UsageError
from reconeval.gate import (
    Comparison,
    Gate,
    SavedRun,
    Scored,
    Word,
    check_coverage,
    count_places,
    lost_rows,
    read_saved,
    read_tolerances,
)
from reconeval.rows import write_asked

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from reconeval.gate import Tolerance
    from reconeval.rows import Row

__all__ = ["Finding", "add_arguments", "compare_runs", "run"]

_ORDER = ("worse", "lost", "incomparable", "same", "new", "better")


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of either run and what became of it.

    Attributes
    ----------
    row
        The row of the new run; of a lost one that of the old run.
    baseline
        The row of the old run, None where it is new.
    word
        `worse`, `lost`, `incomparable`, `same`, `new` or `better`.
    fails
        Whether it is a regression.
    comparison
        Numbers and message.
    """

    row: Row
    baseline: Row | None
    word: Literal[Word, "lost"]
    fails: bool
    comparison: Comparison

    @property
    def rank(self) -> tuple[bool, int, float]:
        """Sorts the worst first: failures, then by word, then by the loss."""
        severity = self.comparison.severity
        return not self.fails, _ORDER.index(self.word), -severity


def compare_runs(
    old: SavedRun,
    new: SavedRun,
    *,
    tolerances: Mapping[str, Tolerance] | None = None,
    partial: bool = False,
) -> list[Finding]:
    """Compare two saved runs by the rules of `--fail-on-regression`.

    Parameters
    ----------
    old, new
        The runs.
    tolerances
        Metrics with a bound of their own.
    partial
        Whether the new run was asked for some models, datasets and splits alone.

    Returns
    -------
    One finding per row of the new run and per lost one, the worst first. Lost is a row of the old
    run that the new one lacks; of a partial one only where it has the model, dataset and split.

    Raises
    ------
    UsageError
        If no model, dataset and split stands in both.
    """
    here = {(row.model, row.dataset, row.split) for row in new.rows.values()}
    there = {(row.model, row.dataset, row.split) for row in old.rows.values()}
    if not here & there:
        names = [", ".join(sorted(f"{m} on {d}/{s}" for m, d, s in some)) for some in (there, here)]
        msg = f"{old.name} and {new.name} have nothing in common: {names[0]} against {names[1]}"
        raise UsageError(msg)
    gate = Gate(
        old,
        tolerances or {},
        fail_on_regression=True,
        n_places=count_places(old.rows.values(), here),
        reference=new.reference_seconds,
    )
    findings = [*_measured(gate, new), *_lost(old, new, here if partial else there)]
    return sorted(findings, key=lambda finding: finding.rank)


def _measured(gate: Gate, new: SavedRun) -> Iterator[Finding]:
    places: dict[tuple[str, str, str], list[Scored]] = {}
    for row in new.rows.values():
        if row.family != "cost":
            scored = Scored(row, new.replicates.get(row.key))
            places.setdefault((row.model, row.dataset, row.split), []).append(scored)
    for row in new.rows.values():
        peers = places.get((row.model, row.dataset, row.split), [])
        found = gate.outcome(row, lambda peers=peers: peers)  # type: ignore[misc]
        yield Finding(row, gate.baseline.rows.get(row.key), found.word, found.fails, found)


def _lost(old: SavedRun, new: SavedRun, asked: set[tuple[str, str, str]]) -> Iterator[Finding]:
    for model, dataset, split in sorted(asked):
        for row in lost_rows(
            old.rows.values(), new.rows.values(), models=[model], places=[f"{dataset}/{split}"]
        ):
            message = f"{row.where}: {row.value:.4g} -> not measured"
            found = Comparison("worse", True, message, row.value, severity=math.inf)  # noqa: FBT003
            yield Finding(row, row, "lost", fails=True, comparison=found)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `reconeval compare` takes."""
    parser.add_argument("old", metavar="OLD.json", help="run to compare with")
    parser.add_argument("new", nargs="+", metavar="NEW.json", help="runs, each against the first")
    parser.add_argument(
        "--format",
        choices=("table", "md", "json"),
        default="table",
        help="md is fit for a comment on a pull request (default: table)",
    )
    parser.add_argument("--all", action="store_true", help="list rows that are the same, too")
    parser.add_argument(
        "--metric-compare-fail",
        action="append",
        default=[],
        metavar="METRIC:TOL",
        help="bound of one metric instead of the test, e.g. r2:0.01 or mse:5%%; repeatable",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="the new runs have some of the old one's models, datasets and splits: the others are "
        "not lost",
    )
    parser.add_argument("-o", "--out", metavar="FILE", help="write to FILE instead of the terminal")


def run(args: argparse.Namespace) -> int:
    """Print the comparison; returns 1 where something is worse, lost or incomparable, else 0."""
    from reconeval.report.comparison import render

    tolerances = read_tolerances(args.metric_compare_fail)
    old, *others = (read_saved(Path(path), what="run") for path in (args.old, *args.new))
    found = [
        (new.name, compare_runs(old, new, tolerances=tolerances, partial=args.partial))
        for new in others
    ]
    for new in others:
        rows = new.rows.values()
        places = sorted({f"{row.dataset}/{row.split}" for row in rows})
        check_coverage(tolerances, old.rows.values(), {row.model for row in rows}, places)
    text = render(old.name, found, args.format, everything=args.all)
    if args.out is None:
        sys.stdout.write(text)
    else:
        write_asked(Path(args.out), text.encode(), option="--out")
    return int(any(finding.fails for _, findings in found for finding in findings))
