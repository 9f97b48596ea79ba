"""The Lightning module behind `ReconAE`: networks, losses, optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from lightning import LightningModule
from torch import Tensor

from reconeval._ranges import check_least, check_positive, check_share
from reconeval.errors import UsageError

from .likelihoods import (
    ACTIVATIONS,
    LOSSES,
    MIN_MEAN,
    Distribution,
    OutputActivation,
    activations_for,
    log_scale_for,
    perceptron,
)

__all__ = ["Autoencoder", "LibrarySizeMode", "Options"]

LibrarySizeMode: TypeAlias = Literal["none", "observed", "modeled"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the networks are built from; `ReconAE` says what each option means."""

    input_dim: int
    n_hidden: tuple[int, ...]
    n_latent: int
    distribution: Distribution
    learning_rate: float
    library_size_mode: LibrarySizeMode
    dropout: float
    output_activation: OutputActivation | None

    def __post_init__(self) -> None:
        self._expect("distribution", get_args(Distribution))
        self._expect("library_size_mode", get_args(LibrarySizeMode))
        if self.output_activation is not None:
            self._expect("output_activation", self._activations)
        check_least("ReconAE", 1, input_dim=self.input_dim, n_latent=self.n_latent)
        for width in self.n_hidden:
            check_least("ReconAE", 1, n_hidden=width)
        check_share("ReconAE", dropout=self.dropout)
        check_positive("ReconAE", learning_rate=self.learning_rate)

    @property
    def activation(self) -> OutputActivation:
        """The decoder's last step: the one asked for, else the first that fits."""
        return self.output_activation or self._activations[0]

    @property
    def _activations(self) -> tuple[OutputActivation, ...]:
        if self.library_size_mode != "none":
            return ("softmax",)  # shares of the library
        return activations_for(self.distribution)

    def _expect(self, name: str, choices: tuple[str, ...]) -> None:
        got = getattr(self, name)
        if got not in choices:
            msg = f"ReconAE: {name} is {got!r}, expected {' or '.join(choices)}"
            if name == "output_activation":
                msg += f" with {self.distribution!r}, library size {self.library_size_mode!r}"
            raise UsageError(msg)


class Autoencoder(LightningModule):
    """Encoder and decoder with batch normalisation, and how to fit them."""

    log_library: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__()
        n_genes, n_hidden = options.input_dim, options.n_hidden
        self.options = options
        self.encoder = perceptron([n_genes, *n_hidden, options.n_latent], dropout=options.dropout)
        self.decoder = perceptron([options.n_latent, *reversed(n_hidden), n_genes])
        self.activation = ACTIVATIONS[options.activation]()
        if options.library_size_mode == "modeled":
            self.library_encoder = perceptron([n_genes, *n_hidden, 1], dropout=options.dropout)
            # The network learns the deviation from the usual log library: 1e-3 steps of Adam
            # would take thousands of batches to get there from 0.
            self.register_buffer("log_library", torch.zeros(()))
        self.log_scale = log_scale_for(options.distribution, n_genes)

    def encode(self, x: Tensor) -> Tensor:
        """Return the latent representation, (n_cells, n_latent), of cells (n_cells, n_genes)."""
        z: Tensor = self.encoder(self._scaled(x))
        return z

    def library(self, x: Tensor) -> Tensor | None:
        """Return the total (n_cells,) that the decoder gets for each cell, if it gets one."""
        if self.options.library_size_mode == "none":
            return None
        if self.options.library_size_mode == "observed":
            return x.sum(dim=1)
        log_library: Tensor = self.log_library + self.library_encoder(self._scaled(x)).squeeze(1)
        return log_library.exp()

    def decode(self, z: Tensor, library: Tensor | None) -> Tensor:
        """Return the predicted mean, (n_cells, n_genes)."""
        out: Tensor = self.activation(self.decoder(z))
        return out if library is None else out * library.unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct cells (n_cells, n_genes)."""
        return self.decode(self.encode(x), self.library(x))

    def check(self, x: Tensor) -> None:
        """Raise `UsageError` for cells that the model cannot take."""
        n_genes, mode = self.options.input_dim, self.options.library_size_mode
        if x.ndim != 2 or x.shape[1] != n_genes:
            msg = f"ReconAE got cells of shape {tuple(x.shape)}, expected (n_cells, {n_genes})"
            raise UsageError(msg)
        if self.options.distribution == "nb_gene" and not ((x >= 0) & (x == x.round())).all():
            msg = (
                "ReconAE with distribution='nb_gene' got values that are not counts; pass raw "
                "counts, or take distribution='normal' for log-normalised data"
            )
            raise UsageError(msg)
        if mode != "none" and (x < 0).any():
            msg = (
                f"ReconAE with library_size_mode={mode!r} got negative values, of which a total "
                "means nothing; take library_size_mode='none' for them"
            )
            raise UsageError(msg)

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Check the cells while they are new, and centre the library on the first batch."""
        if self.current_epoch > 0:
            return
        self.check(batch["X"])
        if len(batch["X"]) < 2:
            msg = "ReconAE got a training batch of one cell, which batch normalisation cannot take"
            raise UsageError(msg + "; choose a batch size that leaves no remainder of one")
        if self.options.library_size_mode == "modeled" and batch_idx == 0:
            self.log_library.copy_(batch["X"].sum(dim=1).mean().clamp_min(MIN_MEAN).log())

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch."""
        return self._loss(batch["X"], "train_loss")

    def validation_step(self, batch: dict[str, Tensor]) -> None:
        """Record the loss of a batch."""
        self._loss(batch["X"], "val_loss")

    def configure_optimizers(self) -> Any:
        """Return Adam, its rate halved after 5 epochs in which the watched loss did not fall."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.options.learning_rate)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "loss"}}

    def _scaled(self, x: Tensor) -> Tensor:
        return x.log1p() if self.options.distribution == "nb_gene" else x

    def _loss(self, x: Tensor, name: str) -> Tensor:
        loss = LOSSES[self.options.distribution](x, self(x), self.log_scale)
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(x))
        return loss
