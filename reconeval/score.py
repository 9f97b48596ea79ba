"""`reconeval score truth.h5ad prediction.h5ad`: the metrics of a pair of files from any tool."""

from __future__ import annotations

import argparse
import math
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval.errors import UsageError
from reconeval.filling import hint
from reconeval.options import names_in
from reconeval.rows import Row, check_results_path, write_results
from reconeval.score_files import check_options, make_pair, read_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconeval.metrics.pair import Pair
    from reconeval.metrics.registry import Metric, Score

__all__ = ["add_arguments", "run"]

_EPILOG = """\
X of all files: log1p of counts per 10 000, the same genes in any order. Cells are matched by
name, or by position where the names have nothing in common. The table of --targets has columns
perturbation and gene, separated by commas or, in a .tsv, by tabs.
exit codes: 0 scored, 4 bad usage"""
_WIDE = 200  # columns of a table that goes to a file: one line per metric
# What a metric may lack -> what would give it.
_OPTIONS = {
    "counts": "a model that can be run (pytest benchmarks --model)",
    "perturbations": "--reference",
    "reference": "--reference",
    "reference or cell_types": "--reference or --cell-type-key",
    "train": "--train",
    "train_perturbations": "--perturbation-key",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("truth", type=Path, help="measured cells, .h5ad")
    add("prediction", type=Path, help="predicted cells, .h5ad")
    add("--reference", type=Path, metavar="FILE", help="measured control cells, .h5ad")
    add("--train", type=Path, metavar="FILE", help="measured training cells, .h5ad")
    add("--embedding", metavar="KEY", help="key of obsm where kNN purity compares cells")
    add("--cell-type-key", metavar="COLUMN", help="column of the truth's obs with cell types")
    add("--perturbation-key", metavar="COLUMN", help="column of obs with the perturbation")
    add("--covariate-key", metavar="COLUMN", help="column of obs within which effects are taken")
    add(
        "--control",
        default="control",
        help="label of control cells in --train, '' for none (%(default)s)",
    )
    add("--targets", type=Path, metavar="FILE", help="table: perturbation, gene it targets")
    add("--metrics", metavar="NAMES", help="comma-separated metrics (all that are possible)")
    add("--metric-family", metavar="NAMES", help="comma-separated families of metrics (all)")
    add("--device", default="cpu", help="where dense work is done, cpu or cuda (%(default)s)")
    add("--seed", type=_seed, default=0, help="of folds, halves and subsamples (%(default)s)")
    add("--out", type=Path, metavar="FILE", help="write the scores: .json, .csv or .parquet")


def run(args: argparse.Namespace) -> int:
    """Score the pair of files and print a table.

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
        If a file, a key or a metric cannot be used, genes or cells do not fit each other, or the
        scores cannot be written where they should.
    """
    start = time.time()
    if args.out is not None:
        check_results_path(args.out, option="--out")
    chosen = _chosen(args.metrics, args.metric_family)
    check_options(args)
    cells, sha256 = read_files(args)
    pair = make_pair(args, cells)
    possible, left_out = _possible(chosen, pair, named=args.metrics is not None)
    scores = dict(_scores(possible, pair))
    entries = [(_entry(metric), scores[metric.name]) for metric in possible]
    entries += _counts(pair, possible)
    rows = [_row(args, pair, sha256["truth"], found, **entry) for entry, found in entries]
    _print(f"{args.prediction} against {args.truth}, {_size(pair)}", rows)
    for lack, names in left_out.items():
        print(f"left out for want of {lack}: {', '.join(names)}")
    if args.out is not None:
        run_of = _environment(args, sha256, start)
        write_results(args.out, rows, run_of, option="--out")
        print(f"scores written to {args.out}")
    return 0


def _chosen(names: str | None, families: str | None) -> list[Metric]:
    """Return the metrics of these names and families; all of them by default."""
    from reconeval.metrics import METRICS, get_metric

    known = dict.fromkeys(metric.family for metric in METRICS.values())
    wanted = known if families is None else dict.fromkeys(_split("--metric-family", families))
    for family in wanted:
        if family not in known:
            msg = f"--metric-family {families}: no family {family!r}{hint(family, known, 'known:')}"
            raise UsageError(msg)
    metrics = METRICS.values() if names is None else map(get_metric, _split("--metrics", names))
    chosen = {metric.name: metric for metric in metrics if metric.family in wanted}
    if not chosen:
        msg = f"--metrics {names} --metric-family {families}: no metric is in both; drop one option"
        raise UsageError(msg)
    return list(chosen.values())


def _split(option: str, names: str) -> tuple[str, ...]:
    found = names_in(names)
    if not found:
        msg = f"{option} {names}: names nothing, expected names separated by commas"
        raise UsageError(msg)
    return found


def _seed(text: str) -> int:
    """Read `--seed`."""
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 32):
        msg = f"{text!r} is no seed, expected a whole number from 0 to 2**32 - 1"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _possible(
    metrics: Sequence[Metric], pair: Pair, *, named: bool
) -> tuple[list[Metric], dict[str, list[str]]]:
    """Part metrics in those to score and, by what they lack, those to leave out."""
    from reconeval.metrics.prepared import lacking

    possible: list[Metric] = []
    left_out: dict[str, list[str]] = {}
    for metric in metrics:
        lack = lacking(metric, pair)
        if lack:
            left_out.setdefault(_in_options(lack), []).append(metric.name)
        else:
            possible.append(metric)
    if left_out and (named or not possible):
        lack_text, names = next(iter(left_out.items()))
        msg = f"{', '.join(names)}: needs {lack_text}; add that, or choose others by --metrics"
        raise UsageError(msg)
    return possible, left_out


def _in_options(lack: tuple[str, ...]) -> str:
    return " and ".join(dict.fromkeys(_OPTIONS.get(part, part) for part in lack))


def _scores(metrics: Sequence[Metric], pair: Pair) -> Iterator[tuple[str, Score]]:
    """Score one metric after the other, with a progress bar where a terminal shows it."""
    from rich.console import Console
    from rich.progress import Progress

    from reconeval.metrics import score

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=len(metrics))
        for metric in metrics:
            bar.update(task, description=metric.name)
            yield metric.name, score(metric, pair)
            bar.advance(task)


def _row(args: argparse.Namespace, pair: Pair, sha256: str, score: Score, **entry: Any) -> Row:
    perturbed = entry["family"] == "perturbational"
    return Row(
        model=args.prediction.stem,
        spec=str(args.prediction),
        task="latent_shift" if perturbed else "end_to_end",
        dataset=args.truth.stem,
        dataset_version="user",
        dataset_sha256=sha256,
        split="all",
        value=score.value,
        low=score.value,
        high=score.value,
        n=len(pair.truth.X),
        seeds=1,
        reason=score.reason,
        **entry,
    )


def _entry(metric: Metric) -> dict[str, Any]:
    """Return what a row says of a metric."""
    return {
        "metric": metric.name,
        "metric_version": metric.version,
        "family": metric.family,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
    }


def _counts(pair: Pair, metrics: Sequence[Metric]) -> Iterator[tuple[dict[str, Any], Score]]:
    """Return the numbers of significant genes, which stand beside the metrics of their recovery."""
    from reconeval.metrics.perturbational.table import significant_genes
    from reconeval.metrics.registry import Score

    entry = {"metric_version": 1, "family": "perturbational", "higher_is_better": None}
    for name, value in significant_genes(pair, [metric.name for metric in metrics]).items():
        reason = "" if math.isfinite(value) else "no perturbation could be tested"
        yield {"metric": name, "unit": "genes", **entry}, Score(value, reason)


def _size(pair: Pair) -> str:
    (n_cells, n_genes), n_predicted = pair.truth.X.shape, len(pair.prediction)
    return f"{n_predicted} predicted and {n_cells} measured cells, {n_genes} genes"


def _print(title: str, rows: Sequence[Row]) -> None:
    """Print one line per metric."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from reconeval.metrics import METRICS

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("metric", "value", "better", "range", "reason"):
        justify: Any = "right" if name == "value" else "left"
        table.add_column(name, justify=justify, no_wrap=name != "reason")
    for row in rows:
        value = "undefined" if row.reason else f"{row.value:.4g}"
        better, bounds = "", ""  # of a number that is no score
        if row.metric in METRICS:
            metric = METRICS[row.metric]
            better, bounds = metric.arrow, "[{:g}, {:g}]".format(*metric.range)
        table.add_row(*map(Text, (row.metric, value, better, bounds, row.reason)))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    with console.capture() as captured:
        console.print(title, style="bold", markup=False)
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _environment(args: argparse.Namespace, sha256: dict[str, str], start: float) -> dict[str, Any]:
    """Return where and on what the scores were made."""
    from reconeval.environment import environment

    return {
        **environment(),
        "device": args.device,
        "seeds": [args.seed],
        "start": datetime.fromtimestamp(start, tz=UTC).isoformat(timespec="seconds"),
        "duration": round(time.time() - start, 3),
        "files": {
            name: {"path": str(getattr(args, name)), "sha256": digest}
            for name, digest in sha256.items()
        },
    }
