"""A saved run, read from the JSON of `--results` or of pytest-benchmark."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from reconeval.errors import UsageError
from reconeval.gate._damage import checked_run
from reconeval.rows import KEY, SCHEMA, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from reconeval.intervals import Replicates

__all__ = [
    "Key",
    "SavedRun",
    "has_only_timings",
    "has_timings",
    "lost_rows",
    "read_baseline",
    "read_saved",
    "rows_of",
    "saved_of",
]

Key = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SavedRun:
    """What a run left behind.

    Attributes
    ----------
    name
        The file, as messages name it.
    rows
        Its rows, by key.
    replicates
        Values of the metric in resamples, by the row's key, where they were kept.
    run
        Versions, machine and command line.
    document
        All of the JSON that is ours.
    """

    name: str
    rows: Mapping[Key, Row]
    replicates: Mapping[Key, Replicates] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)

    def reference_seconds(self, row: Row) -> float | None:
        """Return what the reference workload took in the run that a row comes from, or None.

        A merged file has one run per part; a row's part is the one that timed its model there.
        A training that the run found in its cache has the seconds of the time of the training.
        """
        part, place = self.part(row, by="timed"), [row.model, row.dataset, row.split]
        kept = part.get("kept_references")
        for one in kept if isinstance(kept, list) else ():
            if isinstance(one, list) and len(one) == 4 and one[:3] == place:
                return _seconds(one[3])
        return _seconds(part.get("reference_seconds"))

    def part(self, row: Row, *, by: str | None = None) -> Mapping[str, Any]:
        """Return the run that a row comes from: a part of a merged file, or all of it.

        Parameters
        ----------
        row
            A row of this file.
        by
            `scored` or `timed`: which of the model's parts there; by default as the row's family.
        """
        place = [row.model, row.dataset, row.split]
        by = by or ("timed" if row.family == "cost" else "scored")
        for part in self.run.get("parts", ()):
            if place in part.get(by, ()):
                return cast("Mapping[str, Any]", part)
        return self.run


def _seconds(seconds: object) -> float | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        return None
    return float(seconds)


def lost_rows(
    baseline: Iterable[Row], rows: Iterable[Row], *, models: Sequence[str], places: Sequence[str]
) -> list[Row]:
    """Return the baseline's rows that this run should have measured and did not.

    Parameters
    ----------
    baseline
        Rows of the earlier run.
    rows
        Rows of this run.
    models
        Ids of the models of this run.
    places
        `dataset/split` of this run; rows elsewhere were not asked for.
    """
    measured = {row.key for row in rows}
    return [
        row
        for row in baseline
        if row.model in models
        and f"{row.dataset}/{row.split}" in places
        and row.key not in measured
    ]


def has_only_timings(path: Path) -> bool:
    """Whether a file is a sound pytest-benchmark JSON without rows of ours."""
    document = _read_json(path)
    return _has_timings(document) and "reconeval" not in document


def has_timings(path: Path) -> bool:
    """Whether a file has the timings of pytest-benchmark; `UsageError` where it is no JSON."""
    return _has_timings(_read_json(path))


def _has_timings(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("benchmarks"), list)


def read_saved(path: Path, *, what: str = "baseline") -> SavedRun:
    """Read a saved run: a pytest-benchmark JSON or a `--results` JSON.

    Parameters
    ----------
    path
        The file.
    what
        What errors call it.

    Raises
    ------
    UsageError
        If the file is missing, is no JSON, or holds no rows.
    """
    return saved_of(_read_json(path, what), str(path), what=what)


def read_baseline(path: Path) -> list[Row]:
    """Read the rows of a saved run, as `read_saved` does."""
    return rows_of(_read_json(path), str(path))


def _read_json(path: Path, what: str = "baseline") -> Any:
    try:
        # Strict JSON has no NaN and no Infinity; other writers' are read as values that are absent.
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except OSError as error:
        msg = f"{what} {path}: cannot be read ({error.strerror or error})"
        raise UsageError(msg) from None
    except ValueError as error:
        msg = f"{what} {path}: not a JSON file, or cut short ({error})"
        raise UsageError(msg) from None


def rows_of(document: Any, name: str, *, what: str = "baseline") -> list[Row]:
    """Return the rows inside a loaded benchmark JSON; `UsageError` where it has none."""
    inner = _inner(document)
    records = inner.get("rows")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        msg = (
            f"{what} {name}: has no reconeval rows; save one with "
            "`pytest benchmarks --model ... --benchmark-json=FILE`"
        )
        raise UsageError(msg)
    if isinstance(inner.get("schema"), int) and inner["schema"] > SCHEMA:
        msg = f"{what} {name}: schema {inner['schema']}, this reconeval reads up to {SCHEMA}"
        raise UsageError(msg)
    try:
        return [Row.from_dict(record) for record in records]
    except UsageError as error:
        msg = f"{what} {name}: {error}"
        raise UsageError(msg) from None


def _inner(document: Any) -> dict[str, Any]:
    inner = document.get("reconeval", document) if isinstance(document, dict) else {}
    return inner if isinstance(inner, dict) else {}


def saved_of(document: Any, name: str, *, what: str = "baseline") -> SavedRun:
    """Return the saved run inside a loaded JSON; `UsageError` where it has none."""
    from reconeval.intervals import Replicates

    rows, inner = rows_of(document, name, what=what), _inner(document)
    replicates: dict[Key, Replicates] = {}
    try:
        run = checked_run(inner.get("run"))
        for one in inner.get("replicates") or ():
            replicates[tuple(str(one[part]) for part in KEY)] = Replicates.from_dict(one)
    except (KeyError, TypeError) as error:
        msg = f"{what} {name}: replicates of no row (no {error}); save the run again"
        raise UsageError(msg) from None
    except UsageError as error:
        msg = f"{what} {name}: {error}"
        raise UsageError(msg) from None
    return SavedRun(
        name=name,
        rows={row.key: row for row in rows},
        replicates=replicates,
        run=run,
        document=inner,
    )
