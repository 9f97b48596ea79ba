"""What the decoders that are trained with Lightning share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

import numpy as np
import torch

from reconeval._arrays import as_matrix
from reconeval._ranges import check_least, check_positive
from reconeval.errors import UsageError
from reconeval.quiet import quiet

from ._covariates import OneHot
from ._decoder_checks import as_training_cells, check_choice, check_counts
from ._decoder_module import Decoder, DecoderModule, PairedCells, WithCovariates
from ._files import load_arrays, save_arrays
from ._training import fit, in_batches
from .likelihoods import Distribution, activations_for

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd
    from torch import nn

    from .likelihoods import OutputActivation

    F32 = npt.NDArray[np.float32]

__all__ = ["TrainedDecoder"]


class TrainedDecoder:
    """Base of the decoders that are networks; a subclass says which network.

    Parameters
    ----------
    embed_dim, n_genes
        Widths of the embedding and of the expression.
    covariates, distribution, output_activation, learning_rate, seed
        As for `MLPDecoder`.

    Attributes
    ----------
    module
        The trained Lightning module; None before training.
    one_hot
        The categories of the covariates in training.
    losses
        The watched loss after each epoch of the last training.
    """

    task: ClassVar[str] = "decode"
    # Cells that a batch of training needs, and cells per batch of prediction.
    least_batch: ClassVar[int] = 1
    rows_at_once: int = 1024

    def __init__(
        self,
        embed_dim: int,
        n_genes: int,
        *,
        covariates: Sequence[str],
        distribution: Distribution,
        output_activation: OutputActivation | None,
        learning_rate: float,
        seed: int,
    ) -> None:
        self.name = type(self).__name__
        check_least(self.name, 1, embed_dim=embed_dim, n_genes=n_genes)
        check_positive(self.name, learning_rate=learning_rate)
        if isinstance(covariates, str):
            msg = f"{self.name}: covariates is {covariates!r}, expected a list: [{covariates!r}]"
            raise UsageError(msg)
        check_choice(self.name, "distribution", distribution, get_args(Distribution))
        activations = activations_for(distribution)
        if output_activation is not None:
            option = f"output_activation with {distribution!r}"
            check_choice(self.name, option, output_activation, activations)
        self.embed_dim = embed_dim
        self.n_genes = n_genes
        self.covariates = tuple(covariates)
        self.distribution = distribution
        self.output_activation = output_activation or activations[0]
        self.learning_rate = learning_rate
        self.seed = seed
        self.module: DecoderModule | None = None
        self.one_hot = OneHot({})
        self.losses: list[float] = []

    def train(
        self,
        embedding: Any,
        X: Any,
        *,
        val_embedding: Any = None,
        val_X: Any = None,
        obs: pd.DataFrame | None = None,
        val_obs: pd.DataFrame | None = None,
        batch_size: int = 64,
        max_epochs: int = 200,
        accelerator: str = "auto",
        enable_progress_bar: bool = False,
        logger: Any = False,
        early_stopping_patience: int | None = 10,
        seed: int | None = None,
    ) -> None:
        """Fit to cells of which embedding and expression are known, from fresh weights.

        Parameters
        ----------
        embedding
            Array of shape (n_cells, embed_dim), any scale.
        X
            Array or sparse matrix of shape (n_cells, n_genes): log1p of counts per 10 000, or raw
            counts for `nb_gene`.
        val_embedding, val_X, val_obs
            The same of validation cells: their loss decides on the learning rate, the end of
            training and the epoch that is kept. Without them the training loss does.
        obs
            Annotations of the cells, one row each; needed with `covariates`.
        batch_size
            Cells per step.
        max_epochs
            Upper limit of passes over the cells.
        accelerator
            As for Lightning's Trainer: `auto`, `cpu`, `gpu`, ... The model stays on that device.
        enable_progress_bar
            Show progress, and what Lightning has to say; otherwise nothing is printed.
        logger
            As for Lightning's Trainer; with False no file is written.
        early_stopping_patience
            Stop after that many epochs without a fall of the watched loss by 1e-4; None: never.
        seed
            Seeds weights, dropout and the order of the cells; default the constructor's. The
            global state of torch is left as it was.

        Raises
        ------
        UsageError
            What is given does not fit the model or one another, before anything is trained.
        RuntimeError
            No loss was finite.
        """
        where = f"{self.name}.train"
        check_least(where, 1, max_epochs=max_epochs)
        one_hot = OneHot.fit(obs, self.covariates, name=where)
        cells = self._checked(embedding, X, obs, one_hot, name=where)
        val = self._validation(val_embedding, val_X, val_obs, one_hot)
        check_least(where, self.least_batch, batch_size=batch_size, n_cells=len(cells[0]))
        seed = self.seed if seed is None else seed
        data = PairedCells(cells, val, batch_size=batch_size, seed=seed)
        with quiet(enable_progress_bar), torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            module = self._module(one_hot)
            module.decoder.begin(*cells, embed_dim=self.embed_dim)
            self.losses = fit(
                module,
                data,
                max_epochs=max_epochs,
                accelerator=accelerator,
                enable_progress_bar=enable_progress_bar,
                logger=logger,
                early_stopping_patience=early_stopping_patience,
            )
        self.module, self.one_hot = module, one_hot

    def predict(self, embedding: Any, obs: pd.DataFrame | None = None) -> F32:
        """Decode cells.

        Parameters
        ----------
        embedding
            Array of shape (n_cells, embed_dim), the scale of training.
        obs
            Annotations of the cells, one row each; needed with `covariates`. A category that
            training did not have counts as the average of those it had, with a warning.

        Returns
        -------
        Array of shape (n_cells, n_genes), float32: the predicted mean, the scale of training.

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            The embedding or `obs` does not fit the model.
        """
        module = self._trained()
        where = f"{self.name}.predict"
        cells = as_matrix(embedding, name=f"{where}: embedding", n_genes=self.embed_dim)
        inputs = np.hstack([cells, self.one_hot.encode(obs, len(cells), name=where)])
        return in_batches(module, module, inputs, width=self.n_genes, rows=self.rows_at_once)

    def decoder_network(self, covariates: Mapping[str, str] | None = None) -> nn.Module:
        """Return the trained network, as `reconeval.adapters.frozen.freeze_decoder` asks for it.

        Parameters
        ----------
        covariates
            The category of each covariate, the same for all cells; needed with `covariates`.

        Returns
        -------
        Module from (n_cells, embed_dim) to (n_cells, n_genes).

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            A covariate has no category, or one that training did not have.
        """
        decoder = self._trained().decoder
        row = self.one_hot.row(covariates or {}, name=f"{self.name}.decoder_network")
        return WithCovariates(decoder, row) if self.covariates else decoder

    def to(self, device: str | torch.device) -> Self:
        """Move the trained model to a device such as `cpu` or `cuda`, and return it."""
        self._trained().to(device)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file."""
        weights = self._trained().state_dict()
        arrays = {name: value.cpu().numpy() for name, value in weights.items()}
        config = {"options": self._options(), "shares": self.one_hot.shares}
        save_arrays(path, arrays, model=self.name, config=config)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote, on the CPU."""
        arrays, config = load_arrays(path, model=cls.__name__)
        model = cls(**config["options"])
        one_hot = OneHot(config["shares"])
        module = model._module(one_hot)
        module.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
        model.module, model.one_hot = module.eval(), one_hot
        return model

    def _network(self, n_inputs: int) -> nn.Module:
        """Return a fresh network from (n_cells, n_inputs) to (n_cells, n_genes)."""
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            "embed_dim": self.embed_dim,
            "n_genes": self.n_genes,
            "covariates": list(self.covariates),
            "distribution": self.distribution,
            "output_activation": self.output_activation,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
        }

    def _module(self, one_hot: OneHot) -> DecoderModule:
        n_inputs = self.embed_dim + one_hot.width
        network = self._network(n_inputs)
        return DecoderModule(
            Decoder(network, n_inputs, self.n_genes, activation=self.output_activation),
            self.n_genes,
            distribution=self.distribution,
            learning_rate=self.learning_rate,
        )

    def _checked(
        self, embedding: Any, X: Any, obs: pd.DataFrame | None, one_hot: OneHot, *, name: str
    ) -> tuple[F32, F32]:
        cells, target = as_training_cells(
            embedding, X, name=name, embed_dim=self.embed_dim, n_genes=self.n_genes
        )
        if self.distribution == "nb_gene":
            check_counts(target, name=name)
        return np.hstack([cells, one_hot.encode(obs, len(cells), name=name)]), target

    def _validation(
        self, embedding: Any, X: Any, obs: pd.DataFrame | None, one_hot: OneHot
    ) -> tuple[F32, F32] | None:
        if (embedding is None) != (X is None):
            missing = "val_embedding" if embedding is None else "val_X"
            msg = f"{self.name}.train: {missing} is missing; pass both or none of the two"
            raise UsageError(msg)
        if embedding is None or len(embedding) == 0:
            return None
        return self._checked(embedding, X, obs, one_hot, name=f"{self.name}.train (validation)")

    def _trained(self) -> DecoderModule:
        if self.module is None:
            msg = f"{self.name} is not trained: call train(embedding, X) first"
            raise RuntimeError(msg)
        return self.module
