"""The network behind `TransformerDecoder`: genes that ask a cell for their expression."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["GeneQueries"]


class _Layer(nn.Module):
    """Genes look at the cell, and each thinks on its own; normalised before each step."""

    def __init__(self, dim_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim_model)
        self.attention = nn.MultiheadAttention(
            dim_model, n_heads, dropout=dropout, batch_first=True
        )
        self.norm_feedforward = nn.LayerNorm(dim_model)
        self.feedforward = nn.Sequential(
            nn.Linear(dim_model, 4 * dim_model),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * dim_model, dim_model),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, genes: Tensor, memory: Tensor) -> Tensor:
        query = self.norm_attention(genes)
        seen, _ = self.attention(query, memory, memory, need_weights=False)
        genes = genes + self.dropout(seen)
        out: Tensor = genes + self.dropout(self.feedforward(self.norm_feedforward(genes)))
        return out


class GeneQueries(nn.Module):
    """A learnt query per gene attends to tokens made of the cell.

    Genes do not attend to one another: that would cost the square of their number, and the
    expression of a gene, given the cell, would depend on which genes are computed together.
    So they can be taken in chunks, and the result is the same up to rounding.

    Parameters
    ----------
    n_inputs
        Width of the cell's inputs.
    n_genes
        Number of genes.
    dim_model, n_heads, n_layers
        Width of the tokens, attention heads (a divisor of the width), layers.
    n_tokens
        Tokens that a cell is laid out in; to one token alone attention would be no choice.
    gene_chunk
        Genes computed at once.
    dropout
        Share of units dropped in training.
    """

    def __init__(
        self,
        n_inputs: int,
        n_genes: int,
        *,
        dim_model: int,
        n_heads: int,
        n_layers: int,
        n_tokens: int,
        gene_chunk: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.gene_chunk = gene_chunk
        self.tokens = nn.Linear(n_inputs, n_tokens * dim_model)
        self.split = nn.Unflatten(1, (n_tokens, dim_model))
        self.norm_tokens = nn.LayerNorm(dim_model)
        self.queries = nn.Parameter(torch.randn(n_genes, dim_model))
        self.layers = nn.ModuleList(_Layer(dim_model, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(dim_model)
        self.weight = nn.Parameter(torch.zeros(n_genes, dim_model))  # to begin with the mean cell
        self.bias = nn.Parameter(torch.zeros(n_genes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n_cells, n_genes) for inputs (n_cells, n_inputs)."""
        memory = self.norm_tokens(self.split(self.tokens(inputs)))
        chunks = [torch.split(p, self.gene_chunk) for p in (self.queries, self.weight, self.bias)]
        # Activations of one chunk at a time: those of the others are computed again on the way
        # back. With one chunk that would save nothing.
        again = torch.is_grad_enabled() and len(chunks[0]) > 1
        parts = [
            checkpoint(self._expression, memory, *chunk, use_reentrant=False)
            if again
            else self._expression(memory, *chunk)
            for chunk in zip(*chunks, strict=True)
        ]
        return torch.cat(parts, dim=1)

    def _expression(self, memory: Tensor, queries: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        genes = queries.expand(len(memory), -1, -1)
        for layer in self.layers:
            genes = layer(genes, memory)
        out: Tensor = (self.norm(genes) * weight).sum(dim=2) + bias
        return out
