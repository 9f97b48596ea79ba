"""The rows of a result: one schema for the JSON, the table and the gate."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "FORMATS",
    "KEY",
    "SCHEMA",
    "Row",
    "atomic_write",
    "check_results_path",
    "latest",
    "write_asked",
    "write_results",
]

SCHEMA = 1
FORMATS = (".csv", ".json", ".parquet")
KEY = ("model", "dataset", "split", "metric")  # the fields of `Row.key`

_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "None": (type(None),),
}
_WORDS = {"str": "text", "int": "an integer", "float": "a number", "bool": "a bool", "None": "null"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one model on one dataset and split, over all seeds of the run.

    Attributes
    ----------
    model, spec
        The model's id and what the user typed for it.
    task
        `end_to_end` or another of the design's tasks.
    dataset, dataset_version, dataset_sha256, split
        What the model was scored on.
    metric, metric_version, family, unit, higher_is_better
        The metric, as in its registry entry.
    value, low, high
        Mean, lowest and highest value over the seeds; NaN where undefined.
    n
        Number of test cells.
    seeds
        Number of seeds.
    ci_low, ci_high, ci_method
        Bounds of the 95 % interval of `value` and how they were found; None and empty without one.
    negative, positive, skill, informative
        Scores of the controls and what follows from them; None where no control was scored.
    threshold
        The floor or band that was applied, as a bound on `value`; None where there is none.
    baseline
        The value of the baseline run; None where there is none.
    verdict
        `pass` or `fail`, then, after a colon, the comparison with the baseline if any.
    reason
        Why the value is NaN or the verdict is what it is; empty otherwise.
    cached
        Whether a model was trained by an earlier run, from whose results this comes; times and
        memory are those of that run.
    """

    model: str
    spec: str
    task: str
    dataset: str
    dataset_version: str
    dataset_sha256: str
    split: str
    metric: str
    metric_version: int
    family: str
    value: float
    low: float
    high: float
    n: int
    seeds: int
    unit: str
    higher_is_better: bool | None
    ci_low: float | None = None
    ci_high: float | None = None
    ci_method: str = ""
    negative: float | None = None
    positive: float | None = None
    skill: float | None = None
    informative: bool | None = None
    threshold: float | None = None
    baseline: float | None = None
    verdict: str = ""
    reason: str = ""
    cached: bool = False

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What identifies a row across runs: model, dataset, split, metric."""
        return (self.model, self.dataset, self.split, self.metric)

    @property
    def where(self) -> str:
        """The place as messages name it, e.g. `r2 on immune/iid`."""
        return f"{self.metric} on {self.dataset}/{self.split}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values; a number that is not finite becomes None, as JSON needs."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """Read what `to_dict` wrote; keys of later schemas are left aside.

        Raises
        ------
        UsageError
            If a key that every row has is missing, or a value is of another type.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        given = {name: value for name, value in values.items() if name in known}
        for name in ("value", "low", "high"):
            if given.get(name) is None:
                given[name] = math.nan
        for name, value in given.items():
            words = cls.__annotations__[name].split(" | ")
            # JSON writes 1.0 as 1 in some programs; True is no number.
            kinds = {kind for word in words for kind in _KINDS[word]}
            if type(value) not in kinds:
                expected = " or ".join(_WORDS[word] for word in words)
                msg = (
                    f"not a row of a reconeval result: {name} is {value!r:.40}, expected {expected}"
                )
                raise UsageError(msg)
        try:
            return cls(**given)
        except TypeError as error:
            msg = f"not a row of a reconeval result: {error}"
            raise UsageError(msg) from None


def check_results_path(
    path: Path, *, option: str = "--results", endings: Sequence[str] = FORMATS
) -> None:
    """Refuse a path that results could not be written to; `option` is what the user gave it as."""
    if path.suffix not in endings:
        kinds = ", ".join(endings)
        msg = f"{option} {path}: unknown ending {path.suffix!r}, expected one of {kinds}"
        raise UsageError(msg)
    folder = path.resolve().parent
    if not folder.is_dir():
        msg = f"{option} {path}: folder {folder} does not exist; create it first"
        raise UsageError(msg)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=folder) as probe:  # permissions alone do not tell
            probe.write(bytes(4096))
    except OSError as error:
        raise _unwritable(path, option, error) from error


def _unwritable(path: Path, option: str, error: OSError) -> UsageError:
    why = error.strerror or type(error).__name__
    return UsageError(
        f"{option} {path}: cannot be written there ({why}); name a file in a folder of your own"
    )


def write_results(
    path: Path,
    rows: Sequence[Row],
    run: Mapping[str, Any],
    *,
    further: Mapping[str, Any] | None = None,
    option: str = "--results",
) -> None:
    """Write rows as a tidy table, by the path's ending, never half.

    Parameters
    ----------
    path
        Ends in .csv, .json or .parquet. JSON also holds `run`; in parquet it is file metadata.
    rows
        One line or record each.
    run
        Versions, machine, command line, start and duration of the run.
    further
        What JSON holds beside rows and run, such as replicates; other formats leave it out.
    option
        What the user gave the path as.

    Raises
    ------
    UsageError
        If the ending is none of the three, or the file cannot be written.
    """
    check_results_path(path, option=option)
    write_asked(path, _content(path, rows, run, further or {}), option=option)


def write_asked(path: Path, content: bytes, *, option: str) -> None:
    """Write a file that the user asked for by an option, never half.

    Raises
    ------
    UsageError
        If it cannot be written, as where the disk is full by now.
    """
    try:
        atomic_write(path, content)
    except OSError as error:
        raise _unwritable(path, option, error) from error


def _content(
    path: Path, rows: Sequence[Row], run: Mapping[str, Any], further: Mapping[str, Any]
) -> bytes:
    """Return the file's bytes, by the path's ending."""
    records = [row.to_dict() for row in rows]
    if path.suffix == ".json":
        document = {"schema": SCHEMA, "run": dict(run), "rows": records, **further}
        return json.dumps(document, indent=1, allow_nan=False).encode()
    import pandas as pd

    names = [field.name for field in dataclasses.fields(Row)]
    table = pd.DataFrame(records, columns=names)
    numbers = [name for name, kind in Row.__annotations__.items() if kind.startswith("float")]
    table[numbers] = table[numbers].astype("float64")
    table[["higher_is_better", "informative"]] = table[["higher_is_better", "informative"]].astype(
        "boolean"
    )
    if path.suffix == ".csv":
        return table.to_csv(index=False).encode()
    table.attrs = {"reconeval": {"schema": SCHEMA, "run": dict(run)}}
    content: bytes = table.to_parquet(index=False)
    return content


def atomic_write(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file in one step: a reader sees the old or the new content, never half.

    Parameters
    ----------
    path
        The file.
    content
        Its bytes.
    durable
        Wait for the disk, so that this holds even where the machine loses its power.
    """
    path = path.resolve()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def latest(rows: Iterable[Row]) -> list[Row]:
    """Keep the last row of each key, in order of first appearance."""
    return list({row.key: row for row in rows}.values())
