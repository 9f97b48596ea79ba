"""The Lightning module behind `ReconAE`: networks, losses, optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.distributions import NegativeBinomial, Normal

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "LOSSES",
    "Autoencoder",
    "Distribution",
    "LibrarySizeMode",
    "Options",
    "OutputActivation",
]

Distribution: TypeAlias = Literal[
    "normal", "huber", "l1", "normal_mle_fixed", "normal_mle_gene", "nb_gene"
]
LibrarySizeMode: TypeAlias = Literal["none", "observed", "modeled"]
OutputActivation: TypeAlias = Literal["identity", "relu", "softplus", "sigmoid", "softmax"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "softmax": partial(nn.Softmax, dim=1),
}

# A gene that is constant in the training cells would otherwise pull its scale, and with it the
# loss, towards minus infinity.
_MIN_SCALE = 0.01
_MIN_MEAN = 1e-8


def _normal(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    scale = log_scale.exp() + _MIN_SCALE
    log_prob: Tensor = Normal(mean, scale, validate_args=False).log_prob(x)  # type: ignore[no-untyped-call]
    return -log_prob.mean()


def _negative_binomial(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    logits = (mean + _MIN_MEAN).log() - log_scale
    counts = NegativeBinomial(log_scale.exp(), logits=logits, validate_args=False)
    log_prob: Tensor = counts.log_prob(x)  # type: ignore[no-untyped-call]
    return -log_prob.mean()


# Each: cells (n_cells, n_genes), their predicted mean, and the log scale (1,) or (n_genes,),
# which is log(sigma - 0.01) of a normal and the log inverse dispersion of a negative binomial.
# Each returns the mean over all entries.
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "normal": lambda x, mean, _: nn.functional.mse_loss(mean, x),
    "huber": lambda x, mean, _: nn.functional.huber_loss(mean, x),
    "l1": lambda x, mean, _: nn.functional.l1_loss(mean, x),
    "normal_mle_fixed": _normal,
    "normal_mle_gene": _normal,
    "nb_gene": _negative_binomial,
}


def _mlp(sizes: Sequence[int], *, dropout: float = 0.0) -> nn.Sequential:
    """Stack linear layers with batch normalisation and ReLU between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


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
        if min(self.input_dim, self.n_latent, *self.n_hidden) < 1:
            sizes = f"{self.input_dim}, {self.n_latent} and {list(self.n_hidden)}"
            msg = f"ReconAE: input_dim, n_latent and n_hidden must be at least 1, got {sizes}"
            raise UsageError(msg)
        if not 0 <= self.dropout < 1:
            msg = f"ReconAE: dropout must be in [0, 1), got {self.dropout}"
            raise UsageError(msg)
        if self.learning_rate <= 0:
            msg = f"ReconAE: learning_rate must be above 0, got {self.learning_rate}"
            raise UsageError(msg)

    @property
    def activation(self) -> OutputActivation:
        """The decoder's last step: the one asked for, else the first that fits."""
        return self.output_activation or self._activations[0]

    @property
    def _activations(self) -> tuple[OutputActivation, ...]:
        if self.library_size_mode != "none":
            return ("softmax",)  # shares of the library
        if self.distribution == "nb_gene":
            return ("softplus",)  # a mean of 0 or below has no likelihood
        return ("identity", "relu", "softplus", "sigmoid")

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
        self.encoder = _mlp([n_genes, *n_hidden, options.n_latent], dropout=options.dropout)
        self.decoder = _mlp([options.n_latent, *reversed(n_hidden), n_genes])
        self.activation = _ACTIVATIONS[options.activation]()
        if options.library_size_mode == "modeled":
            self.library_encoder = _mlp([n_genes, *n_hidden, 1], dropout=options.dropout)
            # The network learns the deviation from the usual log library: 1e-3 steps of Adam
            # would take thousands of batches to get there from 0.
            self.register_buffer("log_library", torch.zeros(()))
        n_scales = {"normal_mle_fixed": 1, "normal_mle_gene": n_genes, "nb_gene": n_genes}
        learnt = options.distribution in n_scales
        n_scale = n_scales.get(options.distribution, 1)
        self.log_scale = nn.Parameter(torch.zeros(n_scale), requires_grad=learnt)

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
            self.log_library.copy_(batch["X"].sum(dim=1).mean().clamp_min(_MIN_MEAN).log())

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
