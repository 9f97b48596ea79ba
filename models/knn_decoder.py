"""The mean expression of the nearest training cells: a decoder without parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch

from reconeval._arrays import as_matrix
from reconeval._ranges import check_least
from reconeval.errors import UsageError

from ._decoder_checks import as_training_cells
from ._devices import device_for
from ._files import load_arrays, save_arrays

if TYPE_CHECKING:
    import os

    import numpy.typing as npt
    from torch import Tensor

__all__ = ["KNNDecoder"]

_BLOCK_ENTRIES = 1 << 22  # cells x training cells whose distances are held at once, 32 MB
# What rounding adds to |t|^2 - 2qt in float64, as a share of |q|^2 + |t|^2, with room to spare.
_ROUNDING = 1e-12


class KNNDecoder:
    """Predict the mean expression of the training cells nearest in the embedding.

    Distances are Euclidean. The search is exact: distances that a matrix product leaves in doubt
    are computed again one by one in float64. Of cells equally far, those that come first in
    training are taken, so the prediction depends on nothing but the cells.

    Parameters
    ----------
    embed_dim
        Width of the embedding.
    n_genes
        Number of genes.
    k
        Number of neighbours, at most the number of training cells.

    Attributes
    ----------
    embedding, X
        Tensors of shape (n_cells, embed_dim) and (n_cells, n_genes), float32, of the training
        cells, on the device of the model; None before training.

    Raises
    ------
    UsageError
        A number is below 1 or not whole.

    Examples
    --------
    >>> import numpy as np
    >>> decoder = KNNDecoder(embed_dim=1, n_genes=1, k=2)
    >>> decoder.train([[0.0], [1.0], [5.0]], [[2.0], [4.0], [9.0]], accelerator="cpu")
    >>> decoder.predict([[0.2]])
    array([[3.]], dtype=float32)
    """

    task: ClassVar[str] = "decode"

    def __init__(self, embed_dim: int, n_genes: int, *, k: int = 30) -> None:
        check_least("KNNDecoder", 1, embed_dim=embed_dim, n_genes=n_genes, k=k)
        self.embed_dim = embed_dim
        self.n_genes = n_genes
        self.k = k
        self.embedding: Tensor | None = None
        self.X: Tensor | None = None

    def train(self, embedding: Any, X: Any, *, accelerator: str = "auto") -> None:
        """Remember the training cells.

        Parameters
        ----------
        embedding
            Array of shape (n_cells, embed_dim), any scale.
        X
            Array or sparse matrix of shape (n_cells, n_genes), any scale that may be averaged.
        accelerator
            `cpu`, `gpu`, or `auto` for a GPU where there is one. The cells are kept there.

        Raises
        ------
        UsageError
            The matrices do not fit the model or one another, or have fewer than `k` cells.
        """
        cells, target = as_training_cells(
            embedding, X, name="KNNDecoder.train", embed_dim=self.embed_dim, n_genes=self.n_genes
        )
        if self.k > len(cells):
            msg = f"KNNDecoder.train: k={self.k} is more than the {len(cells)} training cells; "
            msg += f"take k={len(cells)} or less"
            raise UsageError(msg)
        device = device_for(accelerator)
        self.embedding = torch.tensor(cells, device=device)
        self.X = torch.tensor(target, device=device)

    def predict(self, embedding: Any) -> npt.NDArray[np.float32]:
        """Decode cells.

        Parameters
        ----------
        embedding
            Array of shape (n_cells, embed_dim), the scale of training.

        Returns
        -------
        Array of shape (n_cells, n_genes), float32, the scale of training.

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            The embedding does not fit the model.
        """
        known, X = self._trained()
        name = "KNNDecoder.predict: embedding"
        cells = as_matrix(embedding, name=name, n_genes=self.embed_dim)
        # Distances do not see the origin, but rounding does.
        centre = known.mean(dim=0, dtype=torch.float64)
        train = known - centre
        out = np.empty((len(cells), self.n_genes), dtype=np.float32)
        block = max(1, _BLOCK_ENTRIES // len(train))
        with torch.inference_mode():
            for start in range(0, len(out), block):
                queries = torch.tensor(cells[start : start + block], device=known.device) - centre
                total = torch.zeros(len(queries), self.n_genes, device=known.device)
                for rows in _nearest(queries, train, k=self.k).unbind(dim=1):
                    total += X[rows]
                out[start : start + block] = (total / self.k).cpu().numpy()
        return out

    def to(self, device: str | torch.device) -> Self:
        """Move the trained model to a device such as `cpu` or `cuda`, and return it."""
        embedding, X = self._trained()
        self.embedding, self.X = embedding.to(device), X.to(device)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model, with its training cells, to one safetensors file."""
        embedding, X = self._trained()
        arrays = {"embedding": embedding.cpu().numpy(), "X": X.cpu().numpy()}
        config = {"embed_dim": self.embed_dim, "n_genes": self.n_genes, "k": self.k}
        save_arrays(path, arrays, model="KNNDecoder", config=config)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote, on the CPU."""
        arrays, config = load_arrays(path, model="KNNDecoder")
        model = cls(**config)
        model.train(arrays["embedding"], arrays["X"], accelerator="cpu")
        return model

    def _trained(self) -> tuple[Tensor, Tensor]:
        if self.embedding is None or self.X is None:
            msg = "KNNDecoder is not trained: call train(embedding, X) first"
            raise RuntimeError(msg)
        return self.embedding, self.X


def _nearest(queries: Tensor, train: Tensor, *, k: int) -> Tensor:
    """Find the rows of the k nearest training cells, nearest first, of equal ones the first.

    Parameters
    ----------
    queries, train
        Float64 tensors of shape (n_queries, d) and (n_train, d).
    k
        Number of neighbours.

    Returns
    -------
    Int64 tensor of shape (n_queries, k).
    """
    norms = train.square().sum(dim=1)
    # Squared distances, less what all of a query have in common.
    near = norms - 2 * queries @ train.T
    farthest = near.kthvalue(k, dim=1, keepdim=True).values
    error = _ROUNDING * (queries.square().sum(dim=1, keepdim=True) + norms.max())
    query, row = (near <= farthest + 2 * error).nonzero(as_tuple=True)
    # One term after the other, each pair for itself: equal cells get equal distances, which a
    # matrix product does not promise.
    distance = torch.zeros(len(query), dtype=torch.float64, device=train.device)
    for a, b in zip(queries.T, train.T, strict=True):
        distance += (a[query] - b[row]).square()
    # Rows ascend within a query, and stable sorting keeps that among equal distances.
    order = distance.argsort(stable=True)
    order = order[query[order].argsort(stable=True)]
    sizes = query.bincount(minlength=len(queries))
    first = sizes.cumsum(dim=0) - sizes
    return row[order[first[:, None] + torch.arange(k, device=train.device)]]
