"""An autoencoder for expression profiles: the reference implementation of a trained model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from reconeval._arrays import as_matrix
from reconeval._ranges import check_least
from reconeval.errors import UsageError
from reconeval.quiet import quiet

from ._files import load_arrays, save_arrays
from ._training import fit, in_batches
from .autoencoder import Autoencoder, Options

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from lightning import LightningDataModule
    from torch import Tensor

    from .autoencoder import LibrarySizeMode
    from .likelihoods import Distribution, OutputActivation

__all__ = ["ReconAE"]


class ReconAE:
    """Autoencoder with batch normalisation, trained with Lightning.

    Encoder and decoder are perceptrons with batch normalisation and ReLU; the encoder drops
    hidden units in training. Adam's rate is halved when the validation loss stalls, training
    stops when it has not fallen for a while, and the best epoch's weights are kept.

    Parameters
    ----------
    input_dim
        Number of genes.
    n_hidden
        Widths of the encoder's hidden layers; the decoder has them in reverse.
    n_latent
        Width of the latent space.
    distribution
        What is minimised: `normal` (squared error), `huber`, `l1`, `normal_mle_fixed` (normal
        likelihood, one learnt variance), `normal_mle_gene` (one variance per gene), `nb_gene`
        (negative binomial likelihood of raw counts, one dispersion per gene; the encoder sees
        log1p of the counts).
    learning_rate
        Of Adam, at the start.
    library_size_mode
        `none`: the decoder's output is the prediction. `observed`: its softmax times the cell's
        total. `modeled`: its softmax times a total that a second encoder predicts.
    dropout
        Share of the encoder's hidden units dropped in training, in [0, 1).
    output_activation
        Last step of the decoder with `library_size_mode="none"`: `identity`, `relu`, `softplus`
        or `sigmoid`. Default and only choice `softplus` for `nb_gene`, else `identity`.
    seed
        Seeds weights and dropout.

    Attributes
    ----------
    module
        The trained Lightning module; None before training.
    losses
        The watched loss after each epoch of the last training: of the validation cells, or of
        the training cells where none validate.

    Raises
    ------
    UsageError
        An option has a value that does not exist or does not go with the others.

    Examples
    --------
    >>> from reconeval import InMemoryDataModule
    >>> X = np.random.default_rng(0).normal(size=(100, 20))
    >>> ae = ReconAE(input_dim=20, n_hidden=[16], n_latent=4)
    >>> ae.train(InMemoryDataModule(X), max_epochs=2, accelerator="cpu")
    >>> ae.predict(X).shape
    (100, 20)
    """

    def __init__(
        self,
        input_dim: int,
        *,
        n_hidden: Sequence[int] = (128, 64),
        n_latent: int = 16,
        distribution: Distribution = "normal",
        learning_rate: float = 1e-3,
        library_size_mode: LibrarySizeMode = "none",
        dropout: float = 0.1,
        output_activation: OutputActivation | None = None,
        seed: int = 0,
    ) -> None:
        self.seed = seed
        self.module: Autoencoder | None = None
        self.losses: list[float] = []
        self.options = Options(
            input_dim=input_dim,
            n_hidden=tuple(n_hidden),
            n_latent=n_latent,
            distribution=distribution,
            learning_rate=learning_rate,
            library_size_mode=library_size_mode,
            dropout=dropout,
            output_activation=output_activation,
        )

    def train(
        self,
        datamodule: LightningDataModule,
        *,
        max_epochs: int = 200,
        accelerator: str = "auto",
        enable_progress_bar: bool = False,
        logger: Any = False,
        early_stopping_patience: int | None = 10,
        seed: int | None = None,
    ) -> None:
        """Fit to the cells of a data module, from fresh weights.

        Parameters
        ----------
        datamodule
            Its batches are `{"X": tensor}` of shape (n_cells, input_dim), float32: log-normalised
            expression, or raw counts for `nb_gene`.
        max_epochs
            Upper limit of passes over the training cells.
        accelerator
            As for Lightning's Trainer: `auto`, `cpu`, `gpu`, ... The model stays on that device.
        enable_progress_bar
            Show progress, and what Lightning has to say; otherwise nothing is printed.
        logger
            As for Lightning's Trainer; with False no file is written.
        early_stopping_patience
            Stop after that many epochs without a fall of the watched loss by 1e-4; None: never.
        seed
            Seeds weights and dropout; default the constructor's. The global state of torch is
            left as it was.

        Raises
        ------
        UsageError
            `max_epochs` is below 1, there is no training batch, or the cells do not fit the model.
        RuntimeError
            No loss was finite.
        """
        check_least("ReconAE.train", 1, max_epochs=max_epochs)
        if not hasattr(datamodule, "train_dataloader"):
            got = type(datamodule).__name__
            msg = f"ReconAE.train: datamodule is of type {got}; pass InMemoryDataModule(X)"
            raise UsageError(msg)
        gpus = range(torch.cuda.device_count())
        with quiet(enable_progress_bar), torch.random.fork_rng(gpus):
            torch.manual_seed(self.seed if seed is None else seed)
            module = Autoencoder(self.options)
            self.losses = fit(
                module,
                datamodule,
                max_epochs=max_epochs,
                accelerator=accelerator,
                enable_progress_bar=enable_progress_bar,
                logger=logger,
                early_stopping_patience=early_stopping_patience,
            )
        self.module = module

    def predict(self, X: Any) -> npt.NDArray[np.float32]:
        """Reconstruct cells.

        Parameters
        ----------
        X
            Array or sparse matrix of shape (n_cells, input_dim), the scale of training.

        Returns
        -------
        Array of shape (n_cells, input_dim), float32: the predicted mean, the scale of training.

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            `X` does not fit the model.
        """
        return self._apply(Autoencoder.__call__, X, self.options.input_dim)

    def get_latent_representation(self, X: Any) -> npt.NDArray[np.float32]:
        """Encode cells; parameters and errors as `predict`.

        Returns
        -------
        Array of shape (n_cells, n_latent), float32.
        """
        return self._apply(Autoencoder.encode, X, self.options.n_latent)

    def decode(self, Z: Any, library: Any = None) -> npt.NDArray[np.float32]:
        """Decode latent representations.

        Parameters
        ----------
        Z
            Array of shape (n_cells, n_latent).
        library
            Array of shape (n_cells,): the total of each predicted cell, on the scale of training.
            Required unless `library_size_mode` is `none`, and refused there.

        Returns
        -------
        Array of shape (n_cells, input_dim), float32, the scale of training.

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            `Z` does not fit the model, or `library` is missing, not wanted or of other length.
        """
        module = self._trained()
        latent = as_matrix(Z, name="ReconAE.decode: Z", n_genes=self.options.n_latent)
        if (library is None) != (self.options.library_size_mode == "none"):
            verb = "needs" if library is None else "takes no"
            mode = self.options.library_size_mode
            msg = f"ReconAE.decode {verb} library with library_size_mode={mode!r}"
            raise UsageError(msg)
        if library is None:
            return in_batches(
                module, lambda z: module.decode(z, None), latent, width=self.options.input_dim
            )
        totals = np.asarray(library, dtype=np.float32)
        if totals.shape != (len(latent),):
            msg = f"ReconAE.decode: library has shape {totals.shape}, expected ({len(latent)},)"
            raise UsageError(msg)
        width = self.options.input_dim
        return in_batches(module, module.decode, latent, totals, width=width)

    @property
    def embed_dim(self) -> int:
        """Width of the latent space."""
        return self.options.n_latent

    def decoder_network(self) -> torch.nn.Module:
        """Return the trained decoder, for `reconeval.adapters.frozen.freeze_decoder`."""
        module = self._trained()
        if self.options.library_size_mode != "none":
            mode = self.options.library_size_mode
            msg = f"ReconAE with library_size_mode={mode!r} decodes with the total of each cell, "
            raise UsageError(msg + "which an embedding does not have; take 'none'")
        return torch.nn.Sequential(module.decoder, module.activation)

    def to(self, device: str | torch.device) -> Self:
        """Move the trained model to a device such as `cpu` or `cuda`, and return it."""
        self._trained().to(device)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file."""
        weights = self._trained().state_dict()
        arrays = {name: value.cpu().numpy() for name, value in weights.items()}
        config = {**asdict(self.options), "seed": self.seed}
        save_arrays(path, arrays, model="ReconAE", config=config)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote, on the CPU."""
        arrays, config = load_arrays(path, model="ReconAE")
        model = cls(**config)
        module = Autoencoder(model.options)
        module.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
        model.module = module.eval()
        return model

    def _apply(
        self, function: Callable[[Autoencoder, Tensor], Tensor], X: Any, width: int
    ) -> npt.NDArray[np.float32]:
        module = self._trained()
        cells = as_matrix(X, name="ReconAE: X", n_genes=self.options.input_dim)

        def checked(x: Tensor) -> Tensor:
            module.check(x)
            return function(module, x)

        return in_batches(module, checked, cells, width=width)

    def _trained(self) -> Autoencoder:
        if self.module is None:
            msg = "ReconAE is not trained: call train(datamodule) first"
            raise RuntimeError(msg)
        return self.module
