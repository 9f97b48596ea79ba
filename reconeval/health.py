"""`reconeval health DATASET`: which metrics can tell a good model from a constant on these data."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval.options import Options, names_in
from reconeval.report import texts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from reconeval.cases import Case
    from reconeval.controls import Controls, Health
    from reconeval.metrics.registry import Metric

__all__ = ["add_arguments", "run"]

_EPILOG = (
    "A metric is informative where the positive control covers a tenth or more of the way from the "
    "negative one to the best value, half a signal lies between them, and neither one cell for all "
    "nor a copy of the input comes out on top. One that is not cannot fail a gate."
)
_FILE = 200  # columns of a table that does not go to a terminal
_OWN = {
    "--cell-type-key": ("COLUMN", "obs column of cell types in your file"),
    "--counts-layer": ("LAYER", "layer of raw counts in your file, or X"),
    "--batch-key": ("COLUMN", "obs column of batches in your file"),
    "--perturbation-key": ("COLUMN", "obs column of perturbations in your file"),
    "--control": ("LABEL", "label of the control cells in that column"),
    "--descriptor-key": ("KEY", "descriptors of perturbations in your file"),
    "--embedding": ("KEY|FILE", "embedding of perturbed cells in your file"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("dataset", metavar="NAME|FILE.h5ad", help="frozen dataset or your own file")
    add("--split", action="append", default=[], metavar="NAME", help="repeatable (default: all)")
    add("--metrics", default="", metavar="NAMES", help="comma-separated metrics (default: all)")
    for option, (metavar, text) in _OWN.items():
        add(option, metavar=metavar, help=text)
    add("--format", choices=("table", "json"), default="table", help="default: table")
    add("--no-cache", action="store_true", help="score the controls of your own data anew")
    add("--cache-dir", type=Path, metavar="DIR", help="as for pytest")


def run(args: argparse.Namespace) -> int:
    """Print what the controls score, and which metrics are informative.

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
        If the dataset, a split, a metric or an option cannot be used.
    """
    from reconeval.cases.making import Cases
    from reconeval.controls import Controls
    from reconeval.places import find_places

    given = {name.removeprefix("--").replace("-", "_") for name in _OWN}
    options = Options(
        datasets=(args.dataset,),
        splits=tuple(args.split),
        **{name: getattr(args, name) for name in given},
    )
    task = _task(options)
    places, sources = find_places(options, task)
    metrics = _metrics(args.metrics, task)
    cases = Cases(task, options, sources)
    controls = Controls(_store(args))
    records: list[dict[str, Any]] = []
    for name, split in places:
        case = cases.get(name, split)
        found = _judged(controls, case, metrics)
        if args.format == "json":
            records += [_record(case, metric, health) for metric, health in found]
        else:
            _print_table(case, found, first=(name, split) == places[0])
    if args.format == "json":
        print(json.dumps(records, indent=1, allow_nan=False))
    return 0


def _task(options: Options) -> str:
    from reconeval.datasets import perturbation_dataset_names
    from reconeval.datasets.catalogue import catalogue_names

    perturbed = {*perturbation_dataset_names(), *catalogue_names()}
    shift = options.perturbation_key is not None or options.datasets[0] in perturbed
    return "latent_shift" if shift else "end_to_end"


def _metrics(text: str, task: str) -> list[Metric]:
    from reconeval.errors import UsageError
    from reconeval.filling import hint
    from reconeval.metrics.registry import get_metric
    from reconeval.runs import metric_names

    known = metric_names(task)
    asked = names_in(text)
    for name in asked:
        if name not in known:
            msg = f"--metrics {name}: not a metric of {task}{hint(name, known, 'it has')}"
            raise UsageError(msg)
    return [get_metric(name) for name in known if not asked or name in asked]


def _store(args: argparse.Namespace) -> Any:
    from reconeval.cache._store import Store, results_folder

    return None if args.no_cache else Store(args.cache_dir or results_folder())


def _judged(
    controls: Controls, case: Case, metrics: Sequence[Metric]
) -> list[tuple[Metric, Health]]:
    found = []
    for metric in metrics:
        if sys.stderr.isatty():
            print(f"\r\033[K{case.name}: {metric.name}", end="", file=sys.stderr, flush=True)
        found.append((metric, controls.health(metric, case)))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return found


def _record(case: Case, metric: Metric, health: Health) -> dict[str, Any]:
    scores = health.scores
    numbers = {
        "negative": health.negative,
        "half": scores.half,
        "positive": scores.positive,
        "perfect": metric.best,
        "collapsed": scores.collapsed,
        "copied": scores.copied,
        "dynamic_range": health.dynamic_range,
    }
    return {
        "dataset": case.dataset.name,
        "dataset_sha256": case.dataset.sha256,
        "split": case.split.name,
        "metric": metric.name,
        "metric_version": metric.version,
        "negatives": {name: _plain(value) for name, value in scores.negatives.items()},
        "negative_is": health.negative_is,
        "positive_is": scores.positive_is,
        **{name: _plain(value) for name, value in numbers.items()},
        "informative": health.informative,
        "reason": health.reason,
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _print_table(case: Case, found: Sequence[tuple[Metric, Health]], *, first: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _FILE
    console = Console(width=width, highlight=False, markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    negatives = list(found[0][1].scores.negatives)
    table.add_column("metric", overflow="fold")
    for name in (*negatives, "half a\nsignal", "positive\ncontrol", "one cell\nfor all"):
        table.add_column(name, justify="right", vertical="bottom")
    for name in ("copy of\nthe input", "best", "range"):
        table.add_column(name, justify="right", vertical="bottom")
    table.add_column("informative", vertical="bottom")
    for metric, health in found:
        table.add_row(*map(Text, _cells(metric, health)))
    console.print(f"{'' if first else chr(10)}{case.name}  ({case.n_test} test cells)\n")
    console.print(table)
    for line in _reasons(found, width):
        console.print(line)


def _cells(metric: Metric, health: Health) -> Iterator[str]:
    scores = health.scores
    yield f"{metric.name} {metric.arrow}"
    for name, value in scores.negatives.items():
        counts = name == health.negative_is and math.isfinite(value)
        yield texts.number(value) + ("*" if counts else " ")
    for value in (scores.half, scores.positive, scores.collapsed, scores.copied, metric.best):
        yield texts.number(value)
    share = health.dynamic_range
    yield "" if math.isnan(share) else f"{share:.2f}"
    yield {True: "yes", False: "no", None: "-"}[health.informative]


def _reasons(found: Sequence[tuple[Metric, Health]], width: int) -> Iterator[str]:
    from textwrap import fill

    legend = (
        "* the negative control that counts; range: (positive control - negative control) / "
        "(best value - negative control)"
    )
    yield "\n" + fill(legend, width)
    told: dict[tuple[bool | None, str], list[str]] = {}
    for metric, health in found:
        if health.reason:
            told.setdefault((health.informative, health.reason), []).append(metric.name)
    for informative, title in ((False, "not informative:"), (None, "cannot be told:")):
        some = [(names, why) for (flag, why), names in told.items() if flag is informative]
        if some:
            yield f"\n{title}"
        for names, why in some:
            text = f"{', '.join(names)}: {why}"
            yield fill(text, width, initial_indent="  ", subsequent_indent="    ")
