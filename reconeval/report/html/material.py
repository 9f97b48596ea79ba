"""What the report draws of predictions: gene means and a few cells in two components."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import Undefined, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconeval._typing import FloatArray, IntArray
    from reconeval.metrics.pair import Pair, Truth
    from reconeval.runs import Run

__all__ = ["MOST_CELLS", "Material", "Measured", "Predicted"]

MOST_CELLS = 300  # drawn of each side: enough to see a shape, few enough to see a cell


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Measured:
    """The truth of a dataset and split.

    Attributes
    ----------
    dataset, dataset_sha256, split
        The place.
    genes
        n_genes names.
    means
        Array of shape (n_genes,), float32: mean over the test cells, log1p of counts per 10 000.
    cells, controls
        Arrays of shape (n, 2), float32: up to 300 test cells, and control cells where a task has
        them, in the first two principal components of the measured training cells; of shape
        (0, 2) where there are none.
    """

    dataset: str
    dataset_sha256: str
    split: str
    genes: tuple[str, ...]
    means: FloatArray
    cells: FloatArray
    controls: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {
            "dataset": self.dataset,
            "dataset_sha256": self.dataset_sha256,
            "split": self.split,
            "genes": list(self.genes),
            "means": _text(self.means),
            "cells": _text(self.cells),
            "controls": _text(self.controls),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measured:
        """Read what `to_dict` wrote."""
        return cls(
            dataset=str(values["dataset"]),
            dataset_sha256=str(values["dataset_sha256"]),
            split=str(values["split"]),
            genes=tuple(map(str, values["genes"])),
            means=_array(values["means"]),
            cells=_array(values["cells"]).reshape(-1, 2),
            controls=_array(values["controls"]).reshape(-1, 2),
        )


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Predicted:
    """A model's prediction for a dataset and split, of the run's first seed.

    Attributes
    ----------
    model, dataset, split
        The model and the place.
    means
        Array of shape (n_genes,), float32: mean over the test cells.
    cells
        Array of shape (n, 2), float32: the predictions for `Measured.cells`, in their order.
    """

    model: str
    dataset: str
    split: str
    means: FloatArray
    cells: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "split": self.split,
            "means": _text(self.means),
            "cells": _text(self.cells),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Predicted:
        """Read what `to_dict` wrote."""
        return cls(
            model=str(values["model"]),
            dataset=str(values["dataset"]),
            split=str(values["split"]),
            means=_array(values["means"]),
            cells=_array(values["cells"]).reshape(-1, 2),
        )


@dataclass(eq=False)
class Material:
    """What a run keeps for its report.

    Attributes
    ----------
    measured
        By dataset and split; shared by all models.
    predicted
        By model, dataset and split.
    """

    measured: dict[tuple[str, str], Measured] = field(default_factory=dict)
    predicted: dict[tuple[str, str, str], Predicted] = field(default_factory=dict)

    def observe(self, run: Run) -> None:
        """Keep what the report draws of a run; a run that failed has nothing to draw."""
        if not run.fits:
            return
        pair, dataset, split = run.fits[0].pair, run.case.dataset, run.case.split
        place = (dataset.name, split.name)
        if place not in self.measured:
            self.measured[place] = Measured(
                dataset=dataset.name,
                dataset_sha256=dataset.sha256,
                split=split.name,
                genes=pair.truth.genes,
                means=_means(pair.truth.X),
                cells=_measured_cells(pair.truth, pair.truth.X),
                controls=_measured_cells(pair.truth, pair.truth.reference),
            )
        self.predicted[run.spec.id, *place] = Predicted(
            model=run.spec.id,
            dataset=dataset.name,
            split=split.name,
            means=_means(pair.prediction),
            cells=_cells(pair, _drawn(len(pair.truth.X))),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {
            "measured": [one.to_dict() for one in self.measured.values()],
            "predicted": [one.to_dict() for one in self.predicted.values()],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Material:
        """Read what `to_dict` wrote; other keys are left aside.

        Raises
        ------
        UsageError
            If a key is missing or its value is not what it should be.
        """
        try:
            measured = [Measured.from_dict(one) for one in values.get("measured", ())]
            predicted = [Predicted.from_dict(one) for one in values.get("predicted", ())]
        except (AttributeError, binascii.Error, KeyError, TypeError, ValueError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            msg = f"not the material of a reconeval report: {what}; run the benchmarks again"
            raise UsageError(msg) from None
        return cls(
            {(one.dataset, one.split): one for one in measured},
            {(one.model, one.dataset, one.split): one for one in predicted},
        )

    def add(self, other: Material) -> None:
        """Take in what another one keeps, also in place of what is here."""
        self.measured |= other.measured
        self.predicted |= other.predicted

    @classmethod
    def merged(cls, parts: Iterable[Material]) -> Material:
        """Return all of several runs; where two have the same, the later one."""
        whole = cls()
        for part in parts:
            whole.add(part)
        return whole


def _drawn(n_cells: int) -> IntArray:
    """Return the rows of the cells that are drawn, the same for every model."""
    return np.sort(np.random.default_rng(0).permutation(n_cells)[:MOST_CELLS])


def _means(X: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):  # a model may predict anything
        return np.asarray(X.mean(axis=0, dtype=np.float64), dtype=np.float32)


def _cells(pair: Pair, rows: IntArray) -> FloatArray:
    """Return some predicted cells in two components of the truth; none without components."""
    from reconeval.metrics._shared import projected

    try:
        with np.errstate(all="ignore"):
            return _two(projected(pair)[1][rows])
    except Undefined:  # no training cells, or all are equal
        return np.empty((0, 2), np.float32)


def _measured_cells(truth: Truth, cells: FloatArray | None) -> FloatArray:
    """Return some measured cells in two components of the truth."""
    from reconeval.metrics.pair import Pair

    if cells is None or not len(cells):
        return np.empty((0, 2), np.float32)
    drawn = cells[_drawn(len(cells))]
    return _cells(Pair(truth, drawn), np.arange(len(drawn)))


def _two(cells: FloatArray) -> FloatArray:
    """Return the first two columns; a single one beside zeros."""
    both = np.zeros((len(cells), 2), np.float32)
    both[:, : cells.shape[1]] = cells[:, :2]
    return both


def _text(values: FloatArray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def _array(text: str) -> FloatArray:
    content = base64.b64decode(text, validate=True)
    return np.frombuffer(content, dtype="<f4").astype(np.float32)
