"""Committed floors and bands: what a score must reach, whoever is the model or for one model.

A file has, per dataset and split, a hand-written table `floor` that holds for every model, and
one table per reference model that `--update-thresholds` writes:

    [immune.iid.floor]
    mse = 0.93
    [immune.iid."models:ReconPCA"]
    mse = [0.79, 0.81]

A model's table is named by its key, `mypkg:Model+n_latent:8`, or as it is typed after `--model`.
"""

from __future__ import annotations

import math
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval._threshold_tables import FLOOR, belongs, check_tables
from reconeval.errors import UsageError
from reconeval.rows import atomic_write, check_results_path

if TYPE_CHECKING:
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
        dataset -> split -> "floor" or model -> metric -> number or [low, high].
    updates
        Bands measured by this run, waiting for `write`, by dataset, split and model's table.
    """

    path: Path
    tables: dict[str, Any]
    updates: dict[tuple[str, str, str], dict[str, list[float]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None = None, *, may_be_new: bool = False) -> Thresholds:
        """Read a file, by default the suite's own.

        Parameters
        ----------
        path
            The file; None for the suite's own.
        may_be_new
            Take a file that does not exist for an empty one, since it is going to be written.

        Raises
        ------
        UsageError
            If the file cannot be read, is no TOML, or has an unknown split or metric, a table
            that no model can have, or a wrong value.
        """
        where = path or packaged_path()
        if may_be_new and not where.exists():
            return cls(where, {})
        try:
            tables = tomllib.loads(where.read_text(encoding="utf-8"))
        except OSError as error:
            msg = f"--thresholds {where}: cannot be read ({error.strerror or error})"
            raise UsageError(msg) from None
        except ValueError as error:
            msg = f"--thresholds {where}: not valid TOML ({error})"
            raise UsageError(msg) from None
        check_tables(tables, where=f"--thresholds {where}")
        return cls(where, tables)

    def bound(self, row: Row, model_key: str, metric: Metric) -> float | None:
        """Return the worst value that passes: the strictest of limit, floor and model's bands."""
        place = self._place(row)
        bounds = [] if metric.limit is None else [metric.limit]
        floor = place.get(FLOOR, {}).get(metric.name)
        if floor is not None:
            bounds.append(float(floor))
        bands = [place[owner].get(metric.name) for owner in self._owners(row, model_key)]
        bounds += [max(map(float, band), key=metric.badness) for band in bands if band is not None]
        return min(bounds, key=metric.badness, default=None)

    def _place(self, row: Row) -> dict[str, Any]:
        found: dict[str, Any] = self.tables.get(row.dataset, {}).get(row.split, {})
        return found

    def _owners(self, row: Row, model_key: str) -> list[str]:
        """Return the tables of the row's model, one unless it is named in two ways."""
        return [owner for owner in self._place(row) if belongs(owner, row.spec, model_key)]

    def note(self, row: Row, model_key: str, metric: Metric, deviation: float) -> None:
        """Remember the band for a measured row; a NaN has none."""
        if not math.isfinite(row.value):
            return
        anchor = self._place(row).get(FLOOR, {}).get(metric.name, metric.best)
        half = max(_DEVIATIONS * deviation, _SHARE * abs(row.value - anchor), _LEAST)
        low = max(min(row.low, row.value - half), metric.range[0])
        high = min(max(row.high, row.value + half), metric.range[1])
        for owner in self._owners(row, model_key) or [model_key]:
            bands = self.updates.setdefault((row.dataset, row.split, owner), {})
            bands[row.metric] = [_rounded(low), _rounded(high)]

    def check_writable(self) -> None:
        """Refuse to update in CI or inside an installed package, before anything is computed."""
        if os.environ.get("CI"):
            msg = "--update-thresholds is refused in CI: run it at your desk and commit the file"
            raise UsageError(msg)
        locked = self.path.exists() and not os.access(self.path, os.W_OK)
        if "site-packages" in self.path.parts or locked:
            msg = f"--update-thresholds cannot write {self.path}; pass your own --thresholds FILE"
            raise UsageError(msg)
        check_results_path(self.path, option="--thresholds", endings=(self.path.suffix,))

    def write(self) -> None:
        """Write the measured bands into the file, keeping its comments and floors."""
        import tomlkit

        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        document = tomlkit.parse(text)
        for (dataset, split, owner), bands in sorted(self.updates.items()):
            table: Any = document
            for name in (dataset, split, owner):
                if name not in table:
                    table[name] = tomlkit.table(is_super_table=name != owner)
                table = table[name]
            for metric, band in sorted(bands.items()):
                table[metric] = band
        text = tomlkit.dumps(document).replace("]\n[", "]\n\n[")  # tables apart
        atomic_write(self.path, text.encode())


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


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
