"""`reconeval merge A.json B.json -o ALL.json`: one result of a run that was split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval.errors import UsageError
from reconeval.gate import read_saved
from reconeval.rows import SCHEMA, write_asked

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconeval.gate import SavedRun
    from reconeval.rows import Row

__all__ = ["add_arguments", "merge_runs", "run"]

_NAMED = 8  # rows that an error names before it counts the others


def merge_runs(runs: Sequence[SavedRun]) -> dict[str, Any]:
    """Put the results of several processes or machines together.

    Parameters
    ----------
    runs
        Saved runs that share no row.

    Returns
    -------
    A document as `--results FILE.json` writes it. Its `run` is that of the first, with the time of
    all; what each part ran on stands under `parts`, with the places (model, dataset, split) that
    it scored and timed.

    Raises
    ------
    UsageError
        If a row stands in two of them, or they differ in the content of a dataset, the definition
        of a metric, the version of reconeval or what a model's name stands for; or in the seeds,
        the device or the versions of libraries of a place that both have. The rows are named.
    """
    _check_versions(runs)
    _check_duplicates(runs)
    for name, what in (("dataset_sha256", "dataset"), ("metric_version", "metric")):
        _check_same(runs, name, what)
    _check_same(runs, "spec", "model")
    _check_places(runs)
    merged: dict[str, Any] = {}
    for saved in runs:
        merged = _together(merged, {**saved.document, "run": {}})
    merged["schema"] = SCHEMA
    merged["run"] = _run(runs)
    merged["rows"] = [row.to_dict() for saved in runs for row in saved.rows.values()]
    return merged


def _check_versions(runs: Sequence[SavedRun]) -> None:
    first = runs[0]
    for other in runs[1:]:
        versions = [saved.run.get("reconeval") for saved in (first, other)]
        if None not in versions and versions[0] != versions[1]:
            msg = (
                f"{first.name} was made by reconeval {versions[0]} and {other.name} by "
                f"{versions[1]}, with {_names(other.rows.values())}; run both with one version"
            )
            raise UsageError(msg)


def _check_duplicates(runs: Sequence[SavedRun]) -> None:
    for index, other in enumerate(runs):
        for first in runs[:index]:
            twice = [row for key, row in other.rows.items() if key in first.rows]
            if twice:
                msg = f"{_names(twice)} in {first.name} and in {other.name}; leave one of them out"
                raise UsageError(msg)


def _check_same(runs: Sequence[SavedRun], field: str, what: str) -> None:
    """Refuse runs that differ in a field that belongs to a dataset, a metric or a model."""
    known: dict[tuple[str, str], tuple[object, str]] = {}
    for saved in runs:
        for row in saved.rows.values():
            name, value = getattr(row, what), getattr(row, field)
            # A model of two tasks may be built for each.
            key = name, row.task if what == "model" else ""
            first, where = known.setdefault(key, (value, saved.name))
            if value != first:
                rows = [one for one in saved.rows.values() if getattr(one, what) == name]
                texts = [str(one)[: None if field == "spec" else 12] for one in (first, value)]
                msg = (
                    f"{what} {name} has {field} {texts[0]} in {where} and {texts[1]} in "
                    f"{saved.name} ({_names(rows)}); run both with the same one"
                )
                raise UsageError(msg)


def _check_places(runs: Sequence[SavedRun]) -> None:
    """Refuse a model on a dataset and split whose rows were made in different ways."""
    known: dict[tuple[str, ...], tuple[dict[str, Any], str]] = {}
    for saved in runs:
        for row in saved.rows.values():
            made = {"number of seeds": row.seeds, **_made(saved.part(row))}
            first, where = known.setdefault((row.task, *row.key[:3]), (made, saved.name))
            for what in sorted(first.keys() & made.keys()):
                if first[what] != made[what] and where != saved.name:
                    rows = [one for one in saved.rows.values() if one.key[:3] == row.key[:3]]
                    msg = (
                        f"{row.model} on {row.dataset}/{row.split} has {what} {first[what]} in "
                        f"{where} and {made[what]} in {saved.name} ({_names(rows)}); run both alike"
                    )
                    raise UsageError(msg)


def _made(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has a say in the scores of a run, as far as it is known."""
    versions = run.get("versions")
    libraries = versions if isinstance(versions, dict) else {}
    return {
        **{what: run[what] for what in ("seeds", "device") if run.get(what) is not None},
        **{name: one for name, one in libraries.items() if not name.startswith("pytest")},
    }


def _names(rows: Iterable[Row]) -> str:
    names = [f"{row.where} of {row.model}" for row in rows]
    more = f" and {len(names) - _NAMED} more rows" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _together(one: Any, other: Any) -> Any:
    """Return two values of JSON as one: tables by key, lists without what is there already."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {name: _together(one[name], other[name]) for name in one if name in other}
        return {**one, **other, **both}
    if isinstance(one, list) and isinstance(other, list):
        there = {json.dumps(value, sort_keys=True) for value in one}
        return one + [value for value in other if json.dumps(value, sort_keys=True) not in there]
    return one


def _run(runs: Sequence[SavedRun]) -> dict[str, Any]:
    parts = [part for saved in runs for part in _parts(saved)]
    of_parts = ("reference_seconds", "kept_references")
    merged = {name: value for name, value in runs[0].run.items() if name not in of_parts}
    starts = [str(part["start"]) for part in parts if "start" in part]
    seconds = [float(part["duration_s"]) for part in parts if "duration_s" in part]
    return {
        **merged,
        **({"start": min(starts)} if starts else {}),
        "duration_s": round(sum(seconds), 3),
        "parts": parts,
    }


def _parts(saved: SavedRun) -> Iterator[dict[str, Any]]:
    """Yield what each process ran on; a file that was merged before brings its own parts."""
    if saved.run.get("parts"):
        yield from saved.run["parts"]
        return
    rows = saved.rows.values()
    yield {
        **saved.run,
        "file": Path(saved.name).name,
        "scored": _places(row for row in rows if row.family != "cost"),
        "timed": _places(row for row in rows if row.family == "cost"),
    }


def _places(rows: Iterable[Row]) -> list[list[str]]:
    return [list(place) for place in dict.fromkeys((r.model, r.dataset, r.split) for r in rows)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `reconeval merge` takes."""
    parser.add_argument("runs", nargs="+", metavar="RUN.json", help="results that share no row")
    parser.add_argument("-o", "--out", required=True, metavar="ALL.json", help="file to write")


def run(args: argparse.Namespace) -> int:
    """Write the merged results; returns 0."""
    out = Path(args.out)
    if out.suffix != ".json":
        msg = f"--out {out}: results are merged as JSON, name a file that ends in .json"
        raise UsageError(msg)
    runs = [read_saved(Path(path), what="run") for path in args.runs]
    document = merge_runs(runs)
    content = json.dumps(document, indent=1, allow_nan=False).encode()
    write_asked(out, content, option="--out")
    print(f"{len(document['rows'])} rows of {len(runs)} runs written to {out}")
    return 0
