"""Reference and query cells, in fresh copies: models register what they are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reconeval.cases.end_to_end import cell_inputs
from reconeval.offers import cells_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from reconeval._typing import BoolArray, FloatArray, IntArray, StrArray
    from reconeval.cases.query_mapping import QuerySplit
    from reconeval.datasets import Dataset
    from reconeval.inputs import Inputs

__all__ = ["QueryCells", "query_cells"]


@dataclass(frozen=True, eq=False)
class QueryCells:
    """The cells that a mapping is about; take copies of them.

    Attributes
    ----------
    reference, reference_inputs
        All cells of the reference batches, and what `predict` is asked with about them.
    query, query_inputs
        All cells of the query batches, and the same.
    batch
        Array of shape (n_query_cells,), the batch of each query cell.
    in_training
        Array of shape (n_query_cells,), whether query training sees the cell.
    batches
        The query batches.
    """

    reference: AnnData
    reference_inputs: Inputs
    query: AnnData
    query_inputs: Inputs
    batch: StrArray
    in_training: BoolArray
    batches: tuple[str, ...]

    def mapped(self, batch: str | None = None) -> AnnData:
        """Return a copy of the query cells that are trained on, of one batch or of all."""
        here = self.in_training if batch is None else self.in_training & (self.batch == batch)
        return self.query[here].copy()

    def of(self, batch: str) -> AnnData:
        """Return a copy of all cells of a query batch."""
        return self.query[self.batch == batch].copy()

    def gathered(self, parts: Sequence[FloatArray]) -> FloatArray:
        """Put the rows of each query batch, in the order of `batches`, in the order of `query`."""
        out = np.empty((len(self.batch), parts[0].shape[1]), dtype=parts[0].dtype)
        for batch, part in zip(self.batches, parts, strict=True):
            out[self.batch == batch] = part
        return out


def query_cells(dataset: Dataset, split: QuerySplit) -> QueryCells:
    """Take the cells of reference and query batches.

    Parameters
    ----------
    dataset
        The cells, with batches.
    split
        Which of them are in the reference, in the query, and in query training.

    Returns
    -------
    Cells that carry their batch and no other label, in the order of the dataset.
    """
    reference = np.sort(np.concatenate([split.train, split.val]))
    query = np.sort(split.query)
    return QueryCells(
        reference=_cells(dataset, _inputs(dataset, reference)),
        reference_inputs=_inputs(dataset, reference),
        query=_cells(dataset, _inputs(dataset, query)),
        query_inputs=_inputs(dataset, query),
        batch=np.asarray(dataset.adata.obs[dataset.batch_key].astype(str))[query],
        in_training=np.isin(query, split.mapped),
        batches=split.batches,
    )


def _inputs(dataset: Dataset, rows: IntArray) -> Inputs:
    counts = dataset.counts
    return cell_inputs(dataset, rows, dataset.X[rows], None if counts is None else counts[rows])


def _cells(dataset: Dataset, inputs: Inputs) -> AnnData:
    labels = inputs.labels
    return cells_of(
        inputs.first,
        dataset.genes,
        labels.get("counts"),
        labels["obs"],
        labels.get("proteins"),
    )
