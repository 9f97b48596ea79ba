"""Controls of models that reconstruct cells."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reconeval.controls._scores import SEED, ControlScores
from reconeval.errors import Undefined
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.registry import Score, score

if TYPE_CHECKING:
    from reconeval._typing import BoolArray, FloatArray, IntArray, StrArray
    from reconeval.cases.end_to_end import ReconstructionCase
    from reconeval.metrics.registry import Metric

__all__ = ["ReconstructionControls", "alternate", "halves_of_types"]

_CELLS = "half of the cells of each type, for the other half"
_MOLECULES = "half of each cell's molecules, for the whole cell"
_RATES = "the whole cell, for its held-out molecules"


class _Positive(NamedTuple):
    """A positive control and half a signal made of it, beside their truth."""

    full: Pair
    half: Pair


class ReconstructionControls:
    """Control predictions of the test cells of a case.

    The truth, and what metrics have prepared on it, is the case's own. Only where populations are
    compared it is half of the cells, since no cell may stand on both sides.

    Parameters
    ----------
    case
        The case; what decoders see of its cells makes no difference.
    """

    def __init__(self, case: ReconstructionCase) -> None:
        self.truth = case.truth
        self._thinned = case.thinned()

    def scores(self, metric: Metric) -> ControlScores:
        """Return the controls' scores by a metric."""
        negatives = {name: score(metric, pair) for name, pair in self._negatives.items()}
        full, half, what = self._positive(metric)
        found = {**negatives, "positive": full, "half": half}
        return ControlScores(
            metric=metric.name,
            version=metric.version,
            negatives={name: one.value for name, one in negatives.items()},
            half=half.value,
            positive=full.value,
            positive_is=what,
            collapsed=negatives["Mean"].value,
            copied=score(metric, self._copy).value,
            reasons={name: one.reason for name, one in found.items() if one.reason},
        )

    def _positive(self, metric: Metric) -> tuple[Score, Score, str]:
        """Return the scores of the positive control and of half a signal, and what it is.

        Metrics of populations take halves of the cells; where these are too few for a metric, the
        molecules, as metrics of paired cells do.
        """
        found = self._try(metric, by_cells=not metric.paired)
        if found[0].reason and not metric.paired:
            other = self._try(metric, by_cells=False)
            found = found if other[0].reason else other
        return found

    def _try(self, metric: Metric, *, by_cells: bool) -> tuple[Score, Score, str]:
        what = _CELLS if by_cells else _RATES if "counts" in metric.needs else _MOLECULES
        try:
            positive = self._by_cells if by_cells else self._by_molecules
        except Undefined as reason:
            none = Score(math.nan, str(reason))
            return none, none, what
        return score(metric, positive.full), score(metric, positive.half), what

    @cached_property
    def _negatives(self) -> dict[str, Pair]:
        from reconeval.models import Mean, Shuffle  # type: ignore[import-not-found]

        train = self.truth.train
        assert train is not None
        pairs = {}
        for model in (Mean(), Shuffle(seed=SEED)):
            model.train(train)
            parts = self._thinned
            thinned = None if parts is None else model.predict(parts.X)
            prediction = model.predict(self.truth.X)
            pairs[type(model).__name__] = Pair(self.truth, prediction, thinned_prediction=thinned)
        return pairs

    @property
    def _mean(self) -> FloatArray:
        mean: FloatArray = self._negatives["Mean"].prediction[0]
        return mean

    @cached_property
    def _copy(self) -> Pair:
        parts = self._thinned
        return Pair(self.truth, self.truth.X, thinned_prediction=None if parts is None else parts.X)

    @cached_property
    def _by_molecules(self) -> _Positive:
        from reconeval.metrics.thinning import thin

        truth = self.truth
        if truth.counts is None or truth.library is None:
            msg = "the data have no counts to split"
            raise Undefined(msg)
        duplicate = thin(truth.counts, truth.library, seed=SEED, kept=0.5).X
        kept = alternate(_types(truth), seed=SEED)
        return _Positive(
            *(
                Pair(truth, one, thinned_prediction=whole)
                for one, whole in (
                    (duplicate, truth.X),
                    (self._halved(duplicate, kept), self._halved(truth.X, kept)),
                )
            )
        )

    @cached_property
    def _by_cells(self) -> _Positive:
        truth = self.truth
        one, other = halves_of_types(_types(truth), seed=SEED)
        if not len(one):
            msg = "no cell type has two test cells"
            raise Undefined(msg)
        types = None if truth.cell_types is None else truth.cell_types[one]
        part = Truth(
            truth.X[one],
            truth.genes,
            train=truth.train,
            cell_types=types,
            gene_sets=truth.gene_sets,
            seed=truth.seed,
            device=truth.device,
        )
        part.whole = truth
        twins = truth.X[other]
        kept = alternate(_types(part), seed=SEED)
        return _Positive(Pair(part, twins), Pair(part, self._halved(twins, kept)))

    def _halved(self, cells: FloatArray, kept: BoolArray) -> FloatArray:
        return np.where(kept[:, None], cells, self._mean)


def _types(truth: Truth) -> StrArray:
    return np.zeros(len(truth.X)) if truth.cell_types is None else truth.cell_types


def halves_of_types(types: StrArray, *, seed: int) -> tuple[IntArray, IntArray]:
    """Divide the cells of each type into two halves.

    Parameters
    ----------
    types
        Array of shape (n_cells,) of labels.
    seed
        Seeds the draw.

    Returns
    -------
    Row numbers of the two halves, disjoint, with the same type at the same place. Of an odd number
    of cells one is left out.
    """
    rng = np.random.default_rng(seed)
    one, other = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for name in np.unique(types):
        rows = rng.permutation(np.flatnonzero(types == name))
        n = len(rows) // 2
        one.append(rows[:n])
        other.append(rows[n : 2 * n])
    return np.concatenate(one), np.concatenate(other)


def alternate(groups: StrArray, *, seed: int) -> BoolArray:
    """Mark every second cell of each group, in a drawn order; of an odd number one more.

    Parameters
    ----------
    groups
        Array of shape (n_cells,) of labels.
    seed
        Seeds the draw.

    Returns
    -------
    Array of shape (n_cells,).
    """
    rng = np.random.default_rng(seed)
    marked = np.zeros(len(groups), dtype=np.bool_)
    for name in np.unique(groups):
        marked[rng.permutation(np.flatnonzero(groups == name))[::2]] = True
    return marked
