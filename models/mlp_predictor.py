"""A conditional perceptron: the smallest network that predicts perturbations."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import nn

from reconeval._ranges import check_least, check_positive

from ._devices import device_for
from ._files import load_arrays, save_arrays
from ._pairs import as_pairs, as_queries

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import numpy.typing as npt

    F32 = npt.NDArray[np.float32]

__all__ = ["MLPPerturbationPredictor"]

_PREDICT_BATCH = 4096


class MLPPerturbationPredictor:
    """Predict the perturbed embedding from the control embedding and the descriptor.

    Both are joined and pass two GELU layers of `n_hidden` and a linear one; Adam minimises the
    squared error of the paired rows.

    Parameters
    ----------
    embed_dim, cov_dim
        Widths of embeddings and descriptors.
    n_hidden
        Width of the two hidden layers.
    lr
        Learning rate of Adam.
    seed
        Seeds weights and the order of the rows.

    Attributes
    ----------
    net
        The trained network; None before training.
    losses
        Mean squared error over the rows of each epoch of the last training.

    Raises
    ------
    UsageError
        A width is below 1, or `lr` is not above 0.

    Examples
    --------
    >>> ctrl = np.random.default_rng(0).normal(size=(64, 3))
    >>> cov = np.tile([[0.0], [1.0]], (32, 1))
    >>> model = MLPPerturbationPredictor(embed_dim=3, cov_dim=1, n_hidden=8)
    >>> model.train(ctrl, ctrl + cov, cov, epochs=2)
    >>> model.predict(ctrl, cov).shape
    (64, 3)
    """

    def __init__(
        self, embed_dim: int, cov_dim: int, n_hidden: int = 256, lr: float = 1e-3, seed: int = 0
    ) -> None:
        check_least(
            "MLPPerturbationPredictor", 1, embed_dim=embed_dim, cov_dim=cov_dim, n_hidden=n_hidden
        )
        check_positive("MLPPerturbationPredictor", lr=lr)
        self.embed_dim = embed_dim
        self.cov_dim = cov_dim
        self.n_hidden = n_hidden
        self.lr = lr
        self.seed = seed
        self.net: nn.Sequential | None = None
        self.losses: list[float] = []

    def train(
        self,
        ctrl_emb: Any,
        pert_emb: Any,
        pert_cov: Any,
        *,
        epochs: int = 300,
        batch_size: int = 128,
        accelerator: str = "auto",
        seed: int | None = None,
    ) -> None:
        """Fit to paired rows, from fresh weights.

        Parameters
        ----------
        ctrl_emb, pert_emb
            Arrays of shape (n_cells, embed_dim): a control cell and the perturbed cell beside it.
        pert_cov
            Array of shape (n_cells, cov_dim): the descriptor of each row's perturbation.
        epochs
            Passes over the rows, at least 1.
        batch_size
            Rows per step, at least 1.
        accelerator
            `cpu`, `gpu`, or `auto` for a GPU where there is one. The model stays there.
        seed
            Seeds weights and order; default the constructor's. The global state of torch is left
            as it was.

        Raises
        ------
        UsageError
            The arrays do not fit the model or one another, or a number is below 1.
        RuntimeError
            The loss is not finite.
        """
        name = "MLPPerturbationPredictor.train"
        check_least(name, 1, epochs=epochs, batch_size=batch_size)
        pairs = as_pairs(ctrl_emb, pert_emb, pert_cov, name=name, **self._widths)
        device = device_for(accelerator)
        with _one_thread(), torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(self.seed if seed is None else seed)
            net = self._fresh().to(device)
            ctrl, y, cov = (torch.tensor(array, device=device) for array in pairs)
            x = torch.cat([ctrl, cov], dim=1)
            self.losses = _fit(net, x, y, lr=self.lr, epochs=epochs, batch_size=batch_size)
        if not np.isfinite(self.losses[-1]):
            msg = f"the loss was {self.losses[-1]}; lower lr, or scale the embedding"
            raise RuntimeError(msg)
        self.net = net.eval()

    def predict(self, ctrl_emb: Any, pert_cov: Any) -> F32:
        """Predict the perturbed embedding of control cells.

        Parameters
        ----------
        ctrl_emb
            Array of shape (n_cells, embed_dim).
        pert_cov
            Array of shape (n_cells, cov_dim).

        Returns
        -------
        Array of shape (n_cells, embed_dim), float32.

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            The arrays do not fit the model or one another.
        """
        net = self._trained()
        device = next(net.parameters()).device
        name = "MLPPerturbationPredictor.predict"
        inputs = np.hstack(as_queries(ctrl_emb, pert_cov, name=name, **self._widths))
        out = np.empty((len(inputs), self.embed_dim), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(out), _PREDICT_BATCH):
                rows = slice(start, start + _PREDICT_BATCH)
                out[rows] = net(torch.tensor(inputs[rows], device=device)).cpu().numpy()
        return out

    def to(self, device: str | torch.device) -> Self:
        """Move the trained model to a device such as `cpu` or `cuda`, and return it."""
        self._trained().to(device)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file."""
        weights = self._trained().state_dict()
        arrays = {name: value.cpu().numpy() for name, value in weights.items()}
        config = {**self._widths, "n_hidden": self.n_hidden, "lr": self.lr, "seed": self.seed}
        save_arrays(path, arrays, model="MLPPerturbationPredictor", config=config)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote, on the CPU."""
        arrays, config = load_arrays(path, model="MLPPerturbationPredictor")
        model = cls(**config)
        net = model._fresh()
        net.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
        model.net = net.eval()
        return model

    @property
    def _widths(self) -> dict[str, int]:
        return {"embed_dim": self.embed_dim, "cov_dim": self.cov_dim}

    def _fresh(self) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(self.embed_dim + self.cov_dim, self.n_hidden),
            nn.GELU(),
            nn.Linear(self.n_hidden, self.n_hidden),
            nn.GELU(),
            nn.Linear(self.n_hidden, self.embed_dim),
        )

    def _trained(self) -> nn.Sequential:
        if self.net is None:
            msg = "MLPPerturbationPredictor is not trained: "
            msg += "call train(ctrl_emb, pert_emb, pert_cov) first"
            raise RuntimeError(msg)
        return self.net


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one core: threads wait for each other longer than such small products take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit(
    net: nn.Sequential,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    lr: float,
    epochs: int,
    batch_size: int,
) -> list[float]:
    """Minimise the squared error; returns its mean over each epoch."""
    optimiser = torch.optim.Adam(net.parameters(), lr=lr)
    losses = []
    for _ in range(epochs):
        total = torch.zeros((), device=x.device)
        for rows in torch.randperm(len(x)).to(x.device).split(batch_size):
            optimiser.zero_grad()
            loss = nn.functional.mse_loss(net(x[rows]), y[rows])
            loss.backward()
            optimiser.step()
            total += loss.detach() * len(rows)
        losses.append(float(total) / len(x))
    return losses
