"""Committed floors and bands: what a score must reach, whoever is the model or for one model.

A file has, per dataset and split, a hand-written table `floor` that holds for every model, and
one table per reference model that `--update-thresholds` writes:

    [immune.iid.floor]
    mse = 0.93
    [immune.iid."models:ReconPCA"]
    mse = [0.79, 0.81]
"""

from __future__ import annotations

import math
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval.costs import find
from reconeval.errors import UsageError
from reconeval.rows import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row

__all__ = ["Thresholds", "packaged_path", "shortfall"]

# A band reaches this many standard deviations over the seeds to either side, and at least this
# share of the way to the floor (or to the best value): another processor rounds differently.
_DEVIATIONS = 3.0
_SHARE = 0.05
_LEAST = 1e-3


def packaged_path() -> Path:
    """Return the thresholds that belong to the suite."""
    from importlib.util import find_spec

    spec = find_spec("reconeval.benchmarks")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))) / "thresholds.toml"
    return Path(__file__).parents[1] / "benchmarks" / "thresholds.toml"


@dataclass
class Thresholds:
    """Floors and bands of one run.

    Attributes
    ----------
    path
        The file they come from and updates go to.
    tables
        dataset -> split -> "floor" or model key -> metric -> number or [low, high].
    updates
        Bands measured by this run, waiting for `write`.
    """

    path: Path
    tables: dict[str, Any]
    updates: dict[tuple[str, str, str], dict[str, list[float]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None = None) -> Thresholds:
        """Read a file, by default the suite's own.

        Raises
        ------
        UsageError
            If the file cannot be read, is no TOML, or has an unknown metric or a wrong value.
        """
        where = path or packaged_path()
        try:
            tables = tomllib.loads(where.read_text(encoding="utf-8"))
        except OSError as error:
            msg = f"--thresholds {where}: cannot be read ({error.strerror or error})"
            raise UsageError(msg) from None
        except ValueError as error:
            msg = f"--thresholds {where}: not valid TOML ({error})"
            raise UsageError(msg) from None
        _check(where, tables)
        return cls(where, tables)

    def bound(self, row: Row, model_key: str, metric: Metric) -> float | None:
        """Return the worst value that passes: the strictest of limit, floor and model's band."""
        place = self.tables.get(row.dataset, {}).get(row.split, {})
        bounds = [] if metric.limit is None else [metric.limit]
        floor = place.get("floor", {}).get(metric.name)
        if floor is not None:
            bounds.append(float(floor))
        band = place.get(model_key, {}).get(metric.name)
        if band is not None:
            bounds.append(max(map(float, band), key=metric.badness))
        return min(bounds, key=metric.badness, default=None)

    def note(self, row: Row, model_key: str, metric: Metric, deviation: float) -> None:
        """Remember the band for a measured row; a NaN has none."""
        if not math.isfinite(row.value):
            return
        place = self.tables.get(row.dataset, {}).get(row.split, {})
        anchor = place.get("floor", {}).get(metric.name, metric.best)
        half = max(_DEVIATIONS * deviation, _SHARE * abs(row.value - anchor), _LEAST)
        low = max(min(row.low, row.value - half), metric.range[0])
        high = min(max(row.high, row.value + half), metric.range[1])
        key = (row.dataset, row.split, model_key)
        self.updates.setdefault(key, {})[row.metric] = [_rounded(low), _rounded(high)]

    def check_writable(self) -> None:
        """Refuse to update in CI or inside an installed package, before anything is computed."""
        if os.environ.get("CI"):
            msg = "--update-thresholds is refused in CI: run it at your desk and commit the file"
            raise UsageError(msg)
        if "site-packages" in self.path.parts or not os.access(self.path, os.W_OK):
            msg = f"--update-thresholds cannot write {self.path}; pass your own --thresholds FILE"
            raise UsageError(msg)

    def write(self) -> None:
        """Write the measured bands into the file, keeping its comments and floors."""
        import tomlkit

        document = tomlkit.parse(self.path.read_text(encoding="utf-8"))
        for (dataset, split, model_key), bands in sorted(self.updates.items()):
            table: Any = document
            for name in (dataset, split, model_key):
                if name not in table:
                    table[name] = tomlkit.table(is_super_table=name != model_key)
                table = table[name]
            for metric, band in sorted(bands.items()):
                table[metric] = band
        text = tomlkit.dumps(document).replace("]\n[", "]\n\n[")  # tables apart
        atomic_write(self.path, text.encode())


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _check(path: Path, tables: Mapping[str, Any]) -> None:
    for dataset, splits in tables.items():
        for split, owners in _table(path, dataset, splits).items():
            for owner, bounds in _table(path, f"{dataset}.{split}", owners).items():
                place = f"{dataset}.{split}.{owner}"
                for name, bound in _table(path, place, bounds).items():
                    _check_metric(path, place, name)
                    _check_bound(path, f"{place}.{name}", bound, floor=owner == "floor")


def _check_metric(path: Path, place: str, name: str) -> None:
    try:
        find(name)
    except UsageError as error:
        msg = f"--thresholds {path}: [{place}] {error}"
        raise UsageError(msg) from None


def _table(path: Path, place: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"--thresholds {path}: [{place}] is {value!r}, expected a table"
        raise UsageError(msg)
    return value


def _check_bound(path: Path, place: str, bound: object, *, floor: bool) -> None:
    values: list[object] = [bound] if floor else bound if isinstance(bound, list) else []
    fits = len(values) == (1 if floor else 2)
    if not fits or any(
        isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v)
        for v in values
    ):
        expected = "a number" if floor else "[low, high]"
        msg = f"--thresholds {path}: {place} = {bound!r}, expected {expected}"
        raise UsageError(msg)


def shortfall(row: Row, metric: Metric, bound: float | None) -> list[str]:
    """Return the failure in one line if a row misses its bound or is undefined, else nothing.

    A row that misses its bound and has a reason tells it.
    """
    if math.isnan(row.value):
        return [f"{row.where}: undefined, {row.reason}"]
    if bound is None or metric.badness(row.value) <= metric.badness(bound):
        return []
    way = {True: "at least", False: "at most", None: f"as near to {metric.best:g} as"}
    text = f"{row.where}: {row.value:.4g}, expected {way[metric.higher_is_better]} {bound:.4g}"
    return [f"{text}: {row.reason}" if row.reason else text]
