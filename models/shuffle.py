"""A random training cell for each cell: right marginals, no information."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reconeval._arrays import as_matrix
from reconeval.errors import UsageError

from ._files import load_arrays, save_arrays

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

__all__ = ["Shuffle"]


class Shuffle:
    """Predict a random other training cell: the negative control of distribution metrics.

    The draw is a seeded hash of the cell's own values. So a cell gets the same answer in any
    order and company, and equal cells get equal answers. Training cells equal to the input are
    never drawn, unless there is no other.

    Parameters
    ----------
    seed
        Seeds the draw.

    Examples
    --------
    >>> model = Shuffle()
    >>> model.train(np.array([[0.0, 1.0], [2.0, 3.0]]))
    >>> model.predict(np.array([[0.0, 1.0]]))
    array([[2., 3.]], dtype=float32)
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self.cells: npt.NDArray[np.float32] | None = None
        self._digests = np.empty(0, dtype=np.uint64)

    def train(self, X: Any) -> None:
        """Remember the cells.

        Parameters
        ----------
        X
            Array or sparse matrix of shape (n_cells, n_genes), any scale.

        Raises
        ------
        UsageError
            `X` has no cells or is not a finite matrix.
        """
        cells = as_matrix(X, name="Shuffle.train: X", copy=True)
        if len(cells) == 0:
            msg = "Shuffle.train: X has no cells, expected at least one"
            raise UsageError(msg)
        self.cells = cells
        self._digests = self._digest(cells)

    def predict(self, X: Any) -> npt.NDArray[np.float32]:
        """Return a training cell drawn for each cell.

        Parameters
        ----------
        X
            Array or sparse matrix of shape (n_cells, n_genes).

        Returns
        -------
        Array of shape (n_cells, n_genes), float32, on the scale of training.

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            `X` does not fit the training data.
        """
        cells = self._trained()
        draws = self._digest(as_matrix(X, name="Shuffle.predict: X", n_genes=cells.shape[1]))
        return cells[[self._pick(int(draw)) for draw in draws]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file."""
        save_arrays(path, {"cells": self._trained()}, model="Shuffle", config={"seed": self.seed})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote."""
        arrays, config = load_arrays(path, model="Shuffle")
        model = cls(**config)
        model.train(arrays["cells"])
        return model

    def _pick(self, draw: int) -> int:
        others = np.flatnonzero(self._digests != draw)
        return int(others[draw % len(others)]) if len(others) else draw % len(self._digests)

    def _digest(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
        """Hash each row to 64 bits, under the seed; -0.0 and 0.0 count as equal."""
        key = str(self.seed).encode()
        hashes = (hashlib.blake2b(row.tobytes(), digest_size=8, key=key) for row in X + 0.0)
        return np.array([int.from_bytes(h.digest(), "little") for h in hashes], dtype=np.uint64)

    def _trained(self) -> npt.NDArray[np.float32]:
        if self.cells is None:
            msg = "Shuffle is not trained: call train(X) first"
            raise RuntimeError(msg)
        return self.cells
