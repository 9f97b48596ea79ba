"""A perceptron from an embedding to genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from reconeval._ranges import check_least, check_share

from ._decoding import TrainedDecoder
from .likelihoods import perceptron

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from .likelihoods import Distribution, OutputActivation

__all__ = ["MLPDecoder"]


class MLPDecoder(TrainedDecoder):
    """Perceptron with batch normalisation from an embedding to genes, trained with Lightning.

    Linear layers with batch normalisation, ReLU and dropout between them. The embedding is
    centred and scaled first; covariates are joined to it as one-hot columns. Adam's rate is
    halved when the validation loss stalls, training stops when it has not fallen for a while,
    and the best epoch's weights are kept.

    Parameters
    ----------
    embed_dim
        Width of the embedding.
    n_genes
        Number of genes.
    n_hidden
        Widths of the hidden layers; none makes it a linear model.
    dropout
        Share of the hidden units dropped in training, in [0, 1).
    covariates
        Columns of `obs` that the expression depends on beside the embedding, such as a batch.
    distribution
        What is minimised: `normal` (squared error), `huber`, `l1`, `normal_mle_fixed` (normal
        likelihood, one learnt variance), `normal_mle_gene` (one variance per gene), `nb_gene`
        (negative binomial likelihood of raw counts, one dispersion per gene; from Python alone,
        since benchmarks train on log-normalised cells).
    output_activation
        Last step: `identity`, `relu`, `softplus` or `sigmoid`. Default and only choice
        `softplus` for `nb_gene`, else `identity`.
    learning_rate
        Of Adam, at the start.
    seed
        Seeds weights, dropout and the order of the cells.

    Attributes
    ----------
    module
        The trained Lightning module; None before training.
    one_hot
        The categories of the covariates in training.
    losses
        The watched loss after each epoch of the last training: of the validation cells, or of
        the training cells where none validate.

    Raises
    ------
    UsageError
        An option has a value that does not exist or does not go with the others.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> embedding, X = rng.normal(size=(100, 4)), rng.normal(size=(100, 20))
    >>> decoder = MLPDecoder(embed_dim=4, n_genes=20, n_hidden=[16])
    >>> decoder.train(embedding, X, max_epochs=2, accelerator="cpu")
    >>> decoder.predict(embedding).shape
    (100, 20)
    """

    least_batch: ClassVar[int] = 2  # of which batch normalisation takes the variance

    def __init__(
        self,
        embed_dim: int,
        n_genes: int,
        *,
        n_hidden: Sequence[int] = (256, 256),
        dropout: float = 0.1,
        covariates: Sequence[str] = (),
        distribution: Distribution = "normal",
        output_activation: OutputActivation | None = None,
        learning_rate: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(
            embed_dim,
            n_genes,
            covariates=covariates,
            distribution=distribution,
            output_activation=output_activation,
            learning_rate=learning_rate,
            seed=seed,
        )
        check_share(self.name, dropout=dropout)
        for width in n_hidden:
            check_least(self.name, 1, n_hidden=width)
        self.n_hidden = tuple(n_hidden)
        self.dropout = dropout

    def _network(self, n_inputs: int) -> nn.Module:
        return perceptron([n_inputs, *self.n_hidden, self.n_genes], dropout=self.dropout)

    def _options(self) -> dict[str, Any]:
        own = {"n_hidden": list(self.n_hidden), "dropout": self.dropout}
        return super()._options() | own
