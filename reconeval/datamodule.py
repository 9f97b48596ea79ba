"""A LightningDataModule over a matrix in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from reconeval._arrays import as_matrix
from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import Tensor

__all__ = ["InMemoryDataModule"]

Batch = dict[str, "Tensor"]


class _Cells(Dataset[Batch]):
    """Rows of a matrix; a batch is cut out in one indexing step, not collated row by row."""

    def __init__(self, X: npt.NDArray[np.float32]) -> None:
        self.X = torch.from_numpy(X)

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> Batch:
        return {"X": self.X[index]}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return {"X": self.X[torch.as_tensor(indices)]}


def _as_is(batch: Any) -> Batch:
    cut: Batch = batch
    return cut


class InMemoryDataModule(LightningDataModule):
    """Training and validation batches `{"X": tensor}` of a matrix in memory.

    Without `val_X`, a seeded permutation of the cells is cut: the first
    `int(n_cells * val_frac)` validate, the rest train. The training order is drawn from a
    generator of its own, so it depends on `seed` alone and starts anew with every loader. A last
    training batch of one cell is dropped, since batch normalisation cannot train on it.

    Parameters
    ----------
    X
        Array or sparse matrix of shape (n_cells, n_genes), any scale; copied to dense float32.
    batch_size
        Cells per batch.
    val_frac
        Share of the cells that validates, in [0, 1); not used with `val_X`.
    seed
        Seeds the cut and the order of training.
    val_X
        Array or sparse matrix of shape (n_val_cells, n_genes), same scale: the validation cells.
        All of `X` then trains.

    Raises
    ------
    UsageError
        A matrix is not numeric, finite and two-dimensional, the two have different genes, no
        cell is left to train on, or a number is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> dm = InMemoryDataModule(np.ones((100, 5)), batch_size=64)
    >>> [tuple(batch["X"].shape) for batch in dm.train_dataloader()]
    [(64, 5), (26, 5)]
    """

    def __init__(
        self,
        X: Any,
        batch_size: int = 64,
        val_frac: float = 0.1,
        seed: int = 0,
        *,
        val_X: Any = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            msg = f"InMemoryDataModule: batch_size must be at least 1, got {batch_size}"
            raise UsageError(msg)
        if not 0 <= val_frac < 1:
            msg = f"InMemoryDataModule: val_frac must be in [0, 1), got {val_frac}"
            raise UsageError(msg)
        train = as_matrix(X, name="InMemoryDataModule: X", copy=val_X is not None)
        if len(train) == 0:
            msg = "InMemoryDataModule: X has no cells, expected at least one to train on"
            raise UsageError(msg)
        if val_X is None:
            order = np.random.default_rng(seed).permutation(len(train))
            n_val = int(len(train) * val_frac)
            val, train = train[order[:n_val]], train[order[n_val:]]
        else:
            name = "InMemoryDataModule: val_X"
            val = as_matrix(val_X, name=name, n_genes=train.shape[1], copy=True)
        self.batch_size = batch_size
        self.seed = seed
        self._train = _Cells(train)
        self._val = _Cells(val)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled training batches, in the same order from every new loader."""
        n_train = len(self._train)
        return DataLoader(
            self._train,
            batch_size=self.batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(self.seed),
            drop_last=n_train > self.batch_size and n_train % self.batch_size == 1,
            collate_fn=_as_is,
        )

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Return validation batches in order, or an empty list where no cell validates."""
        if len(self._val) == 0:
            return []
        return DataLoader(self._val, batch_size=self.batch_size, collate_fn=_as_is)
