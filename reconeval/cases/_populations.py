"""Cells of several perturbations, compared within each: metrics of populations, averaged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.registry import Score, score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconeval._typing import IntArray
    from reconeval.metrics.perturbational.truth import Group
    from reconeval.metrics.registry import Metric

__all__ = ["Populations"]


class Populations:
    """Groups of the cells of a truth, each compared with its own prediction alone.

    Of all perturbations together a metric of populations cannot tell which cell was predicted for
    which perturbation.

    Parameters
    ----------
    truth
        All cells.
    rows
        For each group the rows of its cells in `truth.X`.
    """

    def __init__(self, truth: Truth, rows: Mapping[Group, IntArray]) -> None:
        self._rows = rows
        self._truths = {group: _part(truth, cells) for group, cells in rows.items()}
        self._perfect = Pair(truth, truth.X)
        if truth.latent is not None:
            self._perfect.latent = Pair(truth.latent, truth.latent.X)

    def score(self, metric: Metric, cells: Pair) -> Score:
        """Return the mean of a metric over the groups.

        Parameters
        ----------
        metric
            A metric that compares populations.
        cells
            A prediction of all cells, in the order of the truth.

        Returns
        -------
        The mean, or NaN with the reason. A group whose truth beside itself has no value is left
        out; one that has none through the prediction takes the mean's value.
        """
        perfect, predicted = self.scores(metric, self._perfect), self.scores(metric, cells)
        served = [group for group, one in perfect.items() if not one.reason]
        for group in served or list(perfect)[:1]:  # without any, one of them tells why
            if predicted[group].reason:
                return Score(math.nan, f"{group}: {predicted[group].reason}")
        return Score(float(np.mean([predicted[group].value for group in served])))

    def scores(self, metric: Metric, cells: Pair) -> dict[Group, Score]:
        """Return the score of each group, computed once for a prediction.

        Parameters
        ----------
        metric, cells
            As for `score`.
        """

        def build() -> dict[Group, Score]:
            pairs = cells.cached("populations", lambda: self._pairs(cells))
            return {group: score(metric, pair) for group, pair in pairs.items()}

        return cells.cached(("populations", metric.name), build)

    def _pairs(self, cells: Pair) -> dict[Group, Pair]:
        pairs = {}
        for group, rows in self._rows.items():
            pairs[group] = Pair(self._truths[group], cells.prediction[rows])
            latent = self._truths[group].latent
            if latent is not None and cells.latent is not None:
                pairs[group].latent = Pair(latent, cells.latent.prediction[rows])
        return pairs


def _part(truth: Truth, rows: IntArray) -> Truth:
    """Return some cells of a truth, which keeps for them what the training cells determine."""
    part = Truth(truth.X[rows], truth.genes, train=truth.train, seed=truth.seed)
    part.whole = truth
    if truth.latent is not None:
        part.latent = _part(truth.latent, rows)
    return part
