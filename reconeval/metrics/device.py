"""Dense work of the metrics on a device of torch; without one, NumPy does it.

A device is chosen by name: None or "cpu" is NumPy, "cuda" or "cuda:1" a GPU, and "torch:cpu"
what runs on a GPU, on the processor. There everything is float64: it needs no block computed
twice, and its values agree with those of NumPy within `AGREEMENT`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconeval._typing import FloatArray

__all__ = ["AGREEMENT", "Torch", "matmul", "on_torch"]

AGREEMENT = 1e-5  # largest relative difference of a metric between devices
ROUNDING = 1e-12  # of a squared distance, as a share of the squared norms
BLOCK = 2048


def on_torch(device: str | None) -> Torch | None:
    """Return the arithmetic of a device, None for NumPy's.

    Parameters
    ----------
    device
        None, "cpu", "cuda", "cuda:N" or "torch:cpu".

    Returns
    -------
    The arithmetic; torch is loaded only if the device is one of torch's.

    Raises
    ------
    UsageError
        If the name is another, or there is no such GPU.

    Examples
    --------
    >>> on_torch(None) is on_torch("cpu") is None
    True
    >>> on_torch("tpu")
    Traceback (most recent call last):
    reconeval.errors.UsageError: device 'tpu', expected 'cpu', 'cuda', 'cuda:N' or 'torch:cpu'
    """
    if device is None or device == "cpu":
        return None
    kind, _, number = device.partition(":")
    if device not in {"cuda", "torch:cpu"} and not (kind == "cuda" and number.isdecimal()):
        msg = f"device {device!r}, expected 'cpu', 'cuda', 'cuda:N' or 'torch:cpu'"
        raise UsageError(msg)
    import torch

    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        msg = f"device {device!r}: torch finds {found} GPUs here; use 'cpu' or another number"
        raise UsageError(msg)
    return Torch(device.removeprefix("torch:"))


def matmul(A: FloatArray, B: FloatArray, *, device: str | None = None) -> FloatArray:
    """Multiply two matrices.

    Parameters
    ----------
    A, B
        Arrays of shape (n, k) and (k, m).
    device
        As for `on_torch`.

    Returns
    -------
    Array of shape (n, m), of the type of the two; rounded once from float64 on a device of torch.
    """
    place = on_torch(device)
    if place is None:
        return np.asarray(A @ B)
    product = place.put(A) @ place.put(B)
    return np.asarray(product.cpu().numpy(), dtype=np.result_type(A, B))


class Torch:
    """Arithmetic in float64 on a device of torch.

    Parameters
    ----------
    name
        The device as torch calls it.
    """

    def __init__(self, name: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(name)

    def put(self, values: FloatArray) -> Any:
        """Return a tensor of the values on the device, float64."""
        tensor = self._torch.tensor(values, device=self._device)  # copies: no view of read-only
        return tensor.to(self._torch.float64)

    def sum_pairs(
        self, A: FloatArray, B: FloatArray | None, gammas: Sequence[float]
    ) -> tuple[float, ...]:
        """Sum distances, and each gamma's RBF kernel, over pairs as `pair_sums` does.

        Parameters
        ----------
        A, B
            Arrays of shape (n_cells, n_genes) and (m_cells, n_genes); None for pairs within `A`.
        gammas
            Factors of the squared distance.

        Returns
        -------
        The sum of the distances, and one sum of kernels for each gamma.
        """
        torch = self._torch
        a = self.put(A)
        centre = a.mean(dim=0)
        a = (a - centre).split(BLOCK)
        b = a if B is None else (self.put(B) - centre).split(BLOCK)
        totals = torch.zeros(1 + len(gammas), dtype=torch.float64, device=self._device)
        for i, rows in enumerate(a):
            for j in range(i if B is None else 0, len(b)):
                squared = _squared_distances(rows, b[j])
                itself = B is None and i == j
                if itself:
                    squared.fill_diagonal_(0)
                weight = 2 if B is None and not itself else 1
                sums = [squared.sqrt().sum(), *((squared * -g).exp().sum() for g in gammas)]
                totals += weight * torch.stack(sums)
        return tuple(totals.tolist())

    def count_neighbours(
        self, Y: FloatArray, X: FloatArray, controls: FloatArray, *, k: int
    ) -> float:
        """Count the cells of `X` among the k nearest to each cell of `Y`, ties shared.

        Parameters
        ----------
        Y, X, controls
            Arrays of shape (n_cells_of_each, n_dimensions). The pool is `X` and `controls`.
        k
            Number of neighbours, below the size of the pool.

        Returns
        -------
        The sum over the cells of `Y`. Cells whose distances differ by rounding alone tie.
        """
        pool = self.put(np.concatenate([X, controls]))
        centre = pool.mean(dim=0)
        pool = pool - centre
        largest = pool.square().sum(dim=1).max()
        total = 0.0
        for rows in (self.put(Y) - centre).split(BLOCK):
            squared = _squared_distances(rows, pool)
            farthest = squared.kthvalue(k, dim=1, keepdim=True).values
            error = ROUNDING * (rows.square().sum(dim=1, keepdim=True) + largest)
            nearer = squared < farthest - error
            tied = ~nearer & (squared <= farthest + error)
            places = k - nearer.sum(dim=1)
            share = tied[:, : len(X)].sum(dim=1).to(rows.dtype) / tied.sum(dim=1)
            inside = nearer[:, : len(X)].sum(dim=1)
            total += float((inside + places * share).sum())
        return total


def _squared_distances(a: Any, b: Any) -> Any:
    """Squared distances of all rows of two tensors, at least 0."""
    norms = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)
    return norms.addmm(a, b.T, alpha=-2).clamp_(min=0)
