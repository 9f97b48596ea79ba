"""The Lightning side of a decoder: batches of cells, the module, and how it is fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from .likelihoods import ACTIVATIONS, INVERSES, LOSSES, log_scale_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from .likelihoods import Distribution, OutputActivation

    F32 = npt.NDArray[np.float32]

__all__ = ["Decoder", "DecoderModule", "PairedCells", "WithCovariates"]


class PairedCells(LightningDataModule):
    """Batches of inputs and expression; the order of training depends on the seed alone.

    Parameters
    ----------
    train, val
        Inputs (n_cells, n_inputs) and expression (n_cells, n_genes), float32; None for no
        validation.
    batch_size
        Cells per batch.
    seed
        Seeds the order.
    """

    def __init__(
        self, train: tuple[F32, F32], val: tuple[F32, F32] | None, *, batch_size: int, seed: int
    ) -> None:
        super().__init__()
        self._train = TensorDataset(*map(torch.tensor, train))
        self._val = None if val is None else TensorDataset(*map(torch.tensor, val))
        self._batch_size = batch_size
        self._seed = seed

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled batches, in the same order from every new loader."""
        order = RandomSampler(self._train, generator=torch.Generator().manual_seed(self._seed))
        # Batch normalisation cannot train on a last batch of one cell.
        alone = len(order) > self._batch_size and len(order) % self._batch_size == 1
        return self._loader(self._train, order, drop_last=alone)

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Return batches in order, or an empty list where no cell validates."""
        return [] if self._val is None else self._loader(self._val, range(len(self._val)))

    def _loader(
        self, cells: TensorDataset, order: Iterable[int], *, drop_last: bool = False
    ) -> DataLoader[Any]:
        # Without a batch size of its own, a loader cuts out what the sampler says in one step.
        rows = BatchSampler(order, self._batch_size, drop_last)
        return DataLoader(cells, sampler=rows, batch_size=None)


class Decoder(nn.Module):
    """A network from standardised inputs to genes, and its output activation.

    The embedding is centred and divided by its overall standard deviation, one number, so that
    the dimensions keep their proportions; one-hot columns are centred. The network's output is
    added to a constant that makes the mean training cell, since 1e-3 steps of Adam would take
    thousands of batches to get there from 0.

    Parameters
    ----------
    network
        Maps (n_cells, n_inputs) to (n_cells, n_genes).
    n_inputs
        Width of the embedding and the one-hot columns together.
    n_genes
        Number of genes.
    activation
        A key of `INVERSES`.
    """

    centre: Tensor
    spread: Tensor
    start: Tensor

    def __init__(
        self, network: nn.Module, n_inputs: int, n_genes: int, *, activation: OutputActivation
    ) -> None:
        super().__init__()
        self.network = network
        self.activation = ACTIVATIONS[activation]()
        self.register_buffer("centre", torch.zeros(n_inputs))
        self.register_buffer("spread", torch.ones(n_inputs))
        self.register_buffer("start", torch.zeros(n_genes))
        self._activation_name = activation

    def begin(self, inputs: F32, X: F32, *, embed_dim: int) -> None:
        """Learn the constants of standardisation and of the mean cell.

        Parameters
        ----------
        inputs
            Array of shape (n_cells, n_inputs) of the training cells.
        X
            Array of shape (n_cells, n_genes) of their expression.
        embed_dim
            How many columns of the inputs, the first ones, are the embedding.
        """
        centre = inputs.mean(axis=0, dtype=np.float64)
        embedding = (inputs - centre)[:, :embed_dim]
        self.centre.copy_(torch.tensor(centre))
        self.spread[:embed_dim] = float(np.sqrt(np.square(embedding).mean())) or 1.0
        mean = torch.tensor(X.mean(axis=0, dtype=np.float64))
        self.start.copy_(INVERSES[self._activation_name](mean))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the predicted mean, (n_cells, n_genes), of inputs (n_cells, n_inputs)."""
        change = self.network((inputs - self.centre) / self.spread)
        out: Tensor = self.activation(self.start + change)
        return out


class WithCovariates(nn.Module):
    """A decoder that takes the embedding alone, for cells of the same covariates.

    Parameters
    ----------
    decoder
        Maps (n_cells, embed_dim + width) to (n_cells, n_genes).
    row
        Array of shape (width,), the one-hot columns.
    """

    row: Tensor

    def __init__(self, decoder: Decoder, row: F32) -> None:
        super().__init__()
        self.decoder = decoder
        self.register_buffer("row", torch.tensor(row))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the predicted mean, (n_cells, n_genes), of an embedding (n_cells, embed_dim)."""
        rows = self.row.expand(len(embedding), -1)
        out: Tensor = self.decoder(torch.cat([embedding, rows], dim=1))
        return out


class DecoderModule(LightningModule):
    """A decoder and how to fit it.

    Parameters
    ----------
    decoder
        What to fit.
    n_genes
        Number of genes.
    distribution, learning_rate
        As for `MLPDecoder`.
    """

    def __init__(
        self, decoder: Decoder, n_genes: int, *, distribution: Distribution, learning_rate: float
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.log_scale = log_scale_for(distribution, n_genes)
        self._distribution = distribution
        self._learning_rate = learning_rate

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the predicted mean, (n_cells, n_genes), of inputs (n_cells, n_inputs)."""
        out: Tensor = self.decoder(inputs)
        return out

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """Return the loss of a batch."""
        return self._logged(batch, "train_loss")

    def validation_step(self, batch: list[Tensor]) -> None:
        """Record the loss of a batch."""
        self._logged(batch, "val_loss")

    def configure_optimizers(self) -> Any:
        """Return Adam, its rate halved after 5 epochs in which the watched loss did not fall."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self._learning_rate)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "loss"}}

    def _logged(self, batch: list[Tensor], name: str) -> Tensor:
        inputs, X = batch
        loss = LOSSES[self._distribution](X, self(inputs), self.log_scale)
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(X))
        return loss
