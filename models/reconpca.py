"""Principal component analysis: the linear reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reconeval._arrays import as_matrix
from reconeval._ranges import check_least
from reconeval.errors import UsageError

from ._files import load_arrays, save_arrays

if TYPE_CHECKING:
    import os

    import numpy.typing as npt
    from torch import nn

__all__ = ["ReconPCA"]


class ReconPCA:
    """Project cells on the principal components of the training cells, and back.

    The components come from a full singular value decomposition in float64, so there is no
    randomness; they are kept in float32.

    Parameters
    ----------
    n_components
        Number of components, at most min(n_cells, n_genes) of the training data.

    Attributes
    ----------
    mean
        Array of shape (n_genes,): the mean training cell; None before training.
    components
        Array of shape (n_components, n_genes) of orthonormal rows, by falling variance.

    Raises
    ------
    UsageError
        `n_components` is below 1 or not whole.
    """

    def __init__(self, n_components: int = 32) -> None:
        check_least("ReconPCA", 1, n_components=n_components)
        self.n_components = n_components
        self.mean: npt.NDArray[np.float32] | None = None
        self.components = np.empty((0, 0), dtype=np.float32)

    def train(self, X: Any) -> None:
        """Fit the mean and the components.

        Parameters
        ----------
        X
            Array or sparse matrix of shape (n_cells, n_genes), log1p scale by habit.

        Raises
        ------
        UsageError
            `X` is not a finite matrix or has fewer cells or genes than components.
        """
        from sklearn.decomposition import PCA

        cells = as_matrix(X, name="ReconPCA.train: X")
        if self.n_components > min(cells.shape):
            msg = (
                f"ReconPCA.train: n_components={self.n_components} is more than {cells.shape[0]} "
                f"cells x {cells.shape[1]} genes allow; take at most {min(cells.shape)}"
            )
            raise UsageError(msg)
        with np.errstate(invalid="ignore"):  # shares of no variance, if all cells are equal
            pca = PCA(self.n_components, svd_solver="full").fit(cells.astype(np.float64))
        self.mean = pca.mean_.astype(np.float32)
        self.components = pca.components_.astype(np.float32)

    def predict(self, X: Any) -> npt.NDArray[np.float32]:
        """Reconstruct cells from their components.

        Parameters
        ----------
        X
            Array or sparse matrix of shape (n_cells, n_genes), the scale of training.

        Returns
        -------
        Array of shape (n_cells, n_genes), float32, the scale of training; may be negative.

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            `X` does not fit the training data.
        """
        return self.decode(self.get_latent_representation(X))

    def get_latent_representation(self, X: Any) -> npt.NDArray[np.float32]:
        """Return the coordinates of cells, array of shape (n_cells, n_components)."""
        mean = self._trained()
        cells = as_matrix(X, name="ReconPCA: X", n_genes=len(mean))
        centred: npt.NDArray[np.float32] = cells - mean
        return centred @ self.components.T

    def decode(self, Z: Any) -> npt.NDArray[np.float32]:
        """Return cells of shape (n_cells, n_genes) for coordinates (n_cells, n_components)."""
        mean = self._trained()
        latent = as_matrix(Z, name="ReconPCA.decode: Z", n_genes=self.n_components)
        return latent @ self.components + mean

    @property
    def n_parameters(self) -> int:
        """Number of values in `mean` and `components`, 0 before training."""
        return self.components.size + (0 if self.mean is None else self.mean.size)

    @property
    def embed_dim(self) -> int:
        """Width of the coordinates."""
        return self.n_components

    def decoder_network(self) -> nn.Linear:
        """Return `decode` as a module of torch, for `reconeval.adapters.frozen.freeze_decoder`."""
        import torch

        mean = self._trained()
        linear = torch.nn.Linear(*self.components.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(self.components.T))
            linear.bias.copy_(torch.tensor(mean))
        return linear

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file."""
        arrays = {"mean": self._trained(), "components": self.components}
        save_arrays(path, arrays, model="ReconPCA", config={"n_components": self.n_components})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote."""
        arrays, config = load_arrays(path, model="ReconPCA")
        model = cls(**config)
        model.mean = arrays["mean"].astype(np.float32)
        model.components = arrays["components"].astype(np.float32)
        return model

    def _trained(self) -> npt.NDArray[np.float32]:
        if self.mean is None:
            msg = "ReconPCA is not trained: call train(X) first"
            raise RuntimeError(msg)
        return self.mean
