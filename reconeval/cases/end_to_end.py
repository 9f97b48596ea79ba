"""Reconstruction of cells from the cells themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from reconeval.cases._base import Case
from reconeval.errors import Undefined
from reconeval.inputs import Inputs
from reconeval.metrics.pair import Pair, Truth
from reconeval.offers import constructor_offers, train_offers, training_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray, IntArray
    from reconeval.datasets import Dataset
    from reconeval.filling import Offer
    from reconeval.metrics.registry import Metric
    from reconeval.metrics.thinning import Thinned
    from reconeval.offers import TrainingData

__all__ = ["EndToEndCase", "ReconstructionCase", "cell_inputs"]


@dataclass(eq=False)
class ReconstructionCase(Case):
    """Test cells that are to be reconstructed, whatever a model sees of them.

    Attributes
    ----------
    dataset, split
        What the case is made of.
    """

    dataset: Dataset

    @property
    def n_columns(self) -> int:
        """The number of genes."""
        return len(self.dataset.genes)

    @cached_property
    def truth(self) -> Truth:
        """The test cells, with what metrics prepare on them."""
        dataset, test = self.dataset, self.split.test
        counts, library, types = dataset.counts, dataset.library, dataset.cell_types
        return Truth(
            dataset.X[test],
            dataset.genes,
            train=dataset.X[self.split.train],
            counts=None if counts is None else counts[test],
            library=None if library is None else library[test],
            cell_types=None if types is None else types[test],
        )

    def pair(self, prediction: FloatArray) -> Pair:
        """Put reconstructed test cells beside the measured ones."""
        return Pair(self.truth, prediction)

    def perfect(self) -> Pair:
        """Put the measured cells beside themselves."""
        parts = self.thinned()
        return Pair(
            self.truth, self.truth.X, thinned_prediction=None if parts is None else parts.X.copy()
        )

    def thinned(self) -> Thinned | None:
        """Return the test cells without 10 % of their molecules, None where they have no counts."""
        from reconeval.metrics.thinning import thinned

        try:
            return thinned(self.truth)
        except Undefined:  # the metric will say the same
            return None


@dataclass(eq=False)
class EndToEndCase(ReconstructionCase):
    """Test cells that a model sees and is to reconstruct.

    Attributes
    ----------
    dataset, split
        What the case is made of.
    """

    task: ClassVar[str] = "end_to_end"

    @cached_property
    def data(self) -> TrainingData:
        """What training may see: training and validation cells, never test cells."""
        return training_data(self.dataset, self.split)

    def constructor_offers(self, *, seed: int) -> dict[str, Offer]:
        """Return what a constructor can ask for by name."""
        return constructor_offers(n_genes=self.n_columns, seed=seed)

    def train_offers(
        self, *, seed: int, accelerator: str = "cpu", progress: bool = False
    ) -> dict[str, Offer]:
        """Return what `train` can ask for by name."""
        return train_offers(self.data, seed=seed, accelerator=accelerator, progress=progress)

    def test_input(self) -> Inputs:
        """Return a fresh copy of the test cells, (n_test, n_genes), and what goes with them."""
        test, counts = self.split.test, self.dataset.counts
        return self._inputs(self.dataset.X[test], None if counts is None else counts[test])

    def completed(
        self, metric: Metric, pair: Pair, predict: Callable[[Inputs], FloatArray]
    ) -> Pair:
        """Add the prediction for thinned cells where a metric of counts needs it."""
        if "counts" in metric.needs and pair.thinned_prediction is None:
            parts = self.thinned()
            if parts is not None and self.truth.counts is not None:
                kept = self.truth.counts - parts.held_out
                pair.thinned_prediction = predict(self._inputs(parts.X.copy(), kept))
        return pair

    def _inputs(self, X: FloatArray, counts: FloatArray | None) -> Inputs:
        return cell_inputs(self.dataset, self.split.test, X, counts)


def cell_inputs(
    dataset: Dataset, rows: IntArray, X: FloatArray, counts: FloatArray | None
) -> Inputs:
    """Return what a model that reconstructs cells is asked with.

    Parameters
    ----------
    dataset
        Where the cells are from.
    rows
        Their row numbers.
    X
        Array of shape (n_cells, n_genes), log1p of counts per 10 000.
    counts
        Raw counts of the same molecules, or None.

    Returns
    -------
    `X`; for a `predict` that names them `counts`, `proteins` and `obs`, which holds the batch of
    each cell and nothing else: a cell type or library size would say more than the cell does.
    """
    batch = [] if dataset.batch_key is None else [dataset.batch_key]
    obs = dataset.adata.obs[batch].iloc[rows]
    # By number: the names of cells may say of what type or sample they are.
    labels: dict[str, Any] = {"obs": obs.set_axis([str(row) for row in range(len(obs))])}
    if counts is not None:
        labels["counts"] = counts
    if dataset.proteins is not None:
        labels["proteins"] = dataset.proteins.iloc[rows].set_axis(labels["obs"].index)
    return Inputs({"X": X}, labels)
