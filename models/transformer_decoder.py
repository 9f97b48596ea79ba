"""A transformer from an embedding to genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconeval._ranges import check_least, check_share
from reconeval.errors import UsageError

from ._decoding import TrainedDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from .likelihoods import Distribution, OutputActivation

__all__ = ["TransformerDecoder"]

# Genes x cells whose activations are held at once in prediction.
_QUERIES_AT_ONCE = 1 << 15


class TransformerDecoder(TrainedDecoder):
    """Transformer in which each gene asks the cell's embedding for its expression.

    The embedding is laid out in `n_tokens` tokens. A learnt query per gene attends to them, layer
    by layer, and its last state gives the expression. Genes do not attend to one another, so they
    are computed in chunks, in training as in prediction, and the memory needed does not grow with
    their number; the size of the chunks changes time and memory, never the prediction. It is
    fitted as `MLPDecoder` is.

    Parameters
    ----------
    embed_dim
        Width of the embedding.
    n_genes
        Number of genes.
    dim_model
        Width of the tokens.
    n_heads
        Attention heads, a divisor of `dim_model`.
    n_layers
        Layers, each of attention and a perceptron of four times the width.
    n_tokens
        Tokens that a cell is laid out in.
    gene_chunk
        Genes computed at once.
    dropout
        Share of units dropped in training, in [0, 1).
    covariates, distribution, output_activation, learning_rate, seed
        As for `MLPDecoder`.

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

    References
    ----------
    Attention: doi:10.48550/arXiv.1706.03762

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> embedding, X = rng.normal(size=(100, 4)), rng.normal(size=(100, 20))
    >>> decoder = TransformerDecoder(embed_dim=4, n_genes=20, dim_model=8, n_heads=2, n_layers=1)
    >>> decoder.train(embedding, X, max_epochs=2, accelerator="cpu")
    >>> decoder.predict(embedding).shape
    (100, 20)
    """

    def __init__(
        self,
        embed_dim: int,
        n_genes: int,
        *,
        dim_model: int = 128,
        n_heads: int = 8,
        n_layers: int = 6,
        n_tokens: int = 8,
        gene_chunk: int = 256,
        dropout: float = 0.0,
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
        self._sizes = {
            "dim_model": dim_model,
            "n_heads": n_heads,
            "n_layers": n_layers,
            "n_tokens": n_tokens,
            "gene_chunk": gene_chunk,
        }
        check_least(self.name, 1, **self._sizes)
        if dim_model % n_heads:
            msg = f"{self.name}: dim_model={dim_model} is no multiple of n_heads={n_heads}"
            raise UsageError(msg)
        check_share(self.name, dropout=dropout)
        self.dropout = dropout
        self.rows_at_once = max(1, _QUERIES_AT_ONCE // min(gene_chunk, n_genes))

    def _network(self, n_inputs: int) -> nn.Module:
        from .gene_queries import GeneQueries

        return GeneQueries(n_inputs, self.n_genes, dropout=self.dropout, **self._sizes)

    def _options(self) -> dict[str, Any]:
        return super()._options() | self._sizes | {"dropout": self.dropout}
