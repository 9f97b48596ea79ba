"""Frozen maps between cells in genes and cells in an embedding, evaluated in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from reconeval._arrays import as_matrix, read_only

if TYPE_CHECKING:
    from pathlib import Path

    from reconeval._typing import FloatArray

__all__ = ["AffineDecoder", "LinearEmbedding", "PerceptronDecoder"]


class _ReadOnly:
    """Attributes that are arrays, none of which can be written to.

    A decoder is shared by all models that are scored through it. A deep copy can be written to.
    """

    def __post_init__(self) -> None:
        for name, array in vars(self).items():
            object.__setattr__(self, name, read_only(array))


@dataclass(frozen=True, eq=False)
class PerceptronDecoder(_ReadOnly):
    """Linear, GELU, linear, ReLU: one hidden layer, expression that is never negative.

    Attributes
    ----------
    weight_in, bias_in
        Float32 arrays of shape (n_hidden, d) and (n_hidden,).
    weight_out, bias_out
        Float32 arrays of shape (n_genes, n_hidden) and (n_genes,).
    """

    weight_in: FloatArray = field(repr=False)
    bias_in: FloatArray = field(repr=False)
    weight_out: FloatArray = field(repr=False)
    bias_out: FloatArray = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> PerceptronDecoder:
        """Read the weights that torch keeps of `Sequential(Linear, GELU, Linear, ReLU)`."""
        from safetensors.numpy import load_file

        tensors = load_file(path)
        names = ("0.weight", "0.bias", "2.weight", "2.bias")
        return cls(*(tensors[name] for name in names))

    def __call__(self, embedding: FloatArray) -> FloatArray:
        """Decode.

        Parameters
        ----------
        embedding
            Array of shape (n_cells, d).

        Returns
        -------
        Float32 array of shape (n_cells, n_genes), 0 or above.
        """
        from scipy.special import erf

        cells = as_matrix(embedding, name="embedding", n_genes=self.weight_in.shape[1])
        hidden = cells @ self.weight_in.T + self.bias_in
        hidden *= 0.5 * (1 + erf(hidden * np.float32(np.sqrt(0.5))))
        genes: FloatArray = np.maximum(hidden @ self.weight_out.T + self.bias_out, 0)
        return genes


@dataclass(frozen=True, eq=False)
class LinearEmbedding(_ReadOnly):
    """Coordinates of cells on orthonormal axes, and the way back; callable as the decoder.

    Attributes
    ----------
    axes
        Array of shape (n_genes, d), orthonormal columns.
    center
        Array of shape (n_genes,), the expression that lies at 0.
    weights
        Array of shape (d,), above 0: what each coordinate is multiplied by.
    """

    axes: FloatArray = field(repr=False)
    center: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)

    def encode(self, X: FloatArray) -> FloatArray:
        """Return the coordinates of cells, float32 of shape (n_cells, d)."""
        # The centre is taken off afterwards, so that no second matrix of all genes is needed.
        return np.asarray((X @ self.axes - self.center @ self.axes) * self.weights, np.float32)

    def __call__(self, embedding: FloatArray) -> FloatArray:
        """Decode.

        Parameters
        ----------
        embedding
            Array of shape (n_cells, d).

        Returns
        -------
        Float32 array of shape (n_cells, n_genes), 0 or above as log1p is.
        """
        cells = as_matrix(embedding, name="embedding", n_genes=len(self.weights))
        genes = (cells / self.weights) @ self.axes.T + self.center
        return np.maximum(genes, 0, dtype=np.float32, casting="same_kind")


@dataclass(frozen=True, eq=False)
class AffineDecoder(_ReadOnly):
    """Expression as a linear function of the embedding.

    Attributes
    ----------
    slope
        Array of shape (d, n_genes).
    intercept
        Array of shape (n_genes,).
    """

    slope: FloatArray = field(repr=False)
    intercept: FloatArray = field(repr=False)

    def __call__(self, embedding: FloatArray) -> FloatArray:
        """Decode.

        Parameters
        ----------
        embedding
            Array of shape (n_cells, d).

        Returns
        -------
        Float32 array of shape (n_cells, n_genes), 0 or above as log1p is.
        """
        cells = as_matrix(embedding, name="embedding", n_genes=len(self.slope))
        genes = cells @ self.slope + self.intercept
        return np.maximum(genes, 0, dtype=np.float32, casting="same_kind")
