"""The training mean for every cell: what a model must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reconeval._arrays import as_matrix

from ._files import load_arrays, save_arrays

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

__all__ = ["Mean"]


class Mean:
    """Predict the mean training cell, whatever the input: the negative control of `mse`.

    Examples
    --------
    >>> model = Mean()
    >>> model.train(np.array([[0.0, 1.0], [2.0, 3.0]]))
    >>> model.predict(np.zeros((1, 2)))
    array([[1., 2.]], dtype=float32)
    """

    def __init__(self) -> None:
        self.mean: npt.NDArray[np.float32] | None = None

    def train(self, X: Any) -> None:
        """Take the mean of each gene.

        Parameters
        ----------
        X
            Array or sparse matrix of shape (n_cells, n_genes), any scale.
        """
        self.mean = as_matrix(X, name="Mean.train: X").mean(axis=0, dtype=np.float64).astype("f4")

    def predict(self, X: Any) -> npt.NDArray[np.float32]:
        """Return the mean training cell once per cell.

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
        mean = self._trained()
        return np.tile(mean, (len(as_matrix(X, name="Mean.predict: X", n_genes=len(mean))), 1))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file."""
        save_arrays(path, {"mean": self._trained()}, model="Mean", config={})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote."""
        arrays, config = load_arrays(path, model="Mean")
        model = cls(**config)
        model.mean = arrays["mean"].astype(np.float32)
        return model

    def _trained(self) -> npt.NDArray[np.float32]:
        if self.mean is None:
            msg = "Mean is not trained: call train(X) first"
            raise RuntimeError(msg)
        return self.mean
