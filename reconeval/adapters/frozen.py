"""Trained decoders as frozen modules of torch: from an embedding to genes, never trained again."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FrozenDecoder", "freeze_decoder"]


class FrozenDecoder(nn.Module):
    """A decoder that stays as it is, inside any other module.

    It is in evaluation mode whatever its parents are set to. Its weights are buffers: they move
    and are saved with a parent, but no optimiser finds them and `requires_grad_` does not reach
    them. Gradients flow through it to its input, which may be of any type of number.

    Parameters
    ----------
    network
        Maps (n, embed_dim) to (n, n_genes); copied.
    embed_dim
        Width of the embedding.

    Attributes
    ----------
    embed_dim, n_genes
        Widths of the embedding and of the output.

    Raises
    ------
    UsageError
        If the network does not map (n, embed_dim) to a matrix of n rows.
    """

    def __init__(self, network: nn.Module, embed_dim: int) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.network = copy.deepcopy(network)
        for module in self.network.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach())
        self.eval()
        self.n_genes = self._tried(embed_dim)

    def train(self, mode: bool = True) -> FrozenDecoder:  # noqa: ARG002, FBT001, FBT002  (torch's)
        """Stay in evaluation mode."""
        return super().train(mode=False)

    def forward(self, embedding: Tensor) -> Tensor:
        """Decode embeddings.

        Parameters
        ----------
        embedding
            Tensor of shape (..., embed_dim), the scale of the decoder's training; cast to the type
            of the decoder's weights.

        Returns
        -------
        Tensor of shape (..., n_genes), the scale that the decoder was trained on and the type of
        its weights.

        Raises
        ------
        UsageError
            If the last dimension is not `embed_dim`.
        """
        if embedding.ndim == 0 or embedding.shape[-1] != self.embed_dim:
            got = tuple(embedding.shape)
            msg = f"frozen decoder: embedding has shape {got}, expected (..., {self.embed_dim})"
            raise UsageError(msg)
        cells = embedding.reshape(-1, self.embed_dim)
        weight = self._weight()
        rows = self.network(cells if weight is None else cells.to(weight.dtype))
        out: Tensor = rows.reshape(*embedding.shape[:-1], rows.shape[-1])
        return out

    def _weight(self) -> Tensor | None:
        """Return a weight, which tells device and type of the network; None if it has none."""
        return next((one for one in self.network.buffers() if one.is_floating_point()), None)

    def _tried(self, embed_dim: int) -> int:
        weight = self._weight()
        zeros = torch.zeros if weight is None else weight.new_zeros
        with torch.no_grad():
            try:
                rows = self.network(zeros((2, embed_dim)))
            except (IndexError, RuntimeError, TypeError, ValueError) as error:
                msg = f"the decoder cannot decode an embedding of width {embed_dim}: {error}"
                raise UsageError(msg) from error
        if not isinstance(rows, Tensor) or rows.ndim != 2 or len(rows) != 2:
            got = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            msg = f"the decoder made {got} of 2 embeddings, expected a tensor (2, n_genes)"
            raise UsageError(msg)
        return rows.shape[1]


def freeze_decoder(
    model: Any,
    *,
    covariates: Mapping[str, str] | None = None,
    categories: Sequence[int] | None = None,
) -> FrozenDecoder:
    """Turn the decoder of a trained model into a module that stays as it is.

    Parameters
    ----------
    model
        A trained model of one of two kinds:

        - with `embed_dim` and `decoder_network()`, which returns a module from (n, embed_dim) to
          (n, n_genes): `ReconPCA`, `ReconAE`, `MLPDecoder`, `TransformerDecoder`, or your own;
        - a model of scvi-tools whose decoder does without the library size, as that of nlscVI.
    covariates
        For a decoder with covariates, the category of each: all cells are decoded with them.
    categories
        For a model of scvi-tools with several batches or categorical covariates, the code of the
        batch, then of each covariate, with which all cells are decoded.

    Returns
    -------
    Module from (..., embed_dim) to (..., n_genes), a copy on the device of the model.

    Raises
    ------
    RuntimeError
        If the model is not trained.
    UsageError
        If the model is of another kind, has no such decoder, or needs or lacks a covariate.

    Examples
    --------
    >>> import numpy as np
    >>> from reconeval.models import ReconPCA
    >>> pca = ReconPCA(n_components=2)
    >>> pca.train(np.random.default_rng(0).normal(size=(20, 5)))
    >>> freeze_decoder(pca)(torch.zeros(3, 4, 2)).shape
    torch.Size([3, 4, 5])
    """
    name = type(model).__name__
    own = callable(getattr(model, "decoder_network", None))
    refused = "categories" if own else "covariates"
    if (categories if own else covariates) is not None:
        msg = f"freeze_decoder: {name} takes no {refused}; see which models do"
        raise UsageError(msg)
    if own:
        given = {} if covariates is None else {"covariates": covariates}
        return FrozenDecoder(model.decoder_network(**given), model.embed_dim)
    module = getattr(model, "module", None)
    if isinstance(getattr(module, "decoder", None), nn.Module) and hasattr(module, "dispersion"):
        return _freeze_scvi(model, categories, name=name)
    msg = (
        f"freeze_decoder: {name} has neither decoder_network() nor a module of scvi-tools with a "
        "decoder; a decoder of nearest neighbours, for one, cannot be a module"
    )
    raise UsageError(msg)


class _ScviDecoder(nn.Module):
    """A decoder of scvi-tools for cells of one batch, without a library size."""

    def __init__(self, decoder: nn.Module, dispersion: str, categories: Sequence[int]) -> None:
        super().__init__()
        self.decoder = decoder
        self.dispersion = dispersion
        self.categories = tuple(categories)

    def forward(self, z: Tensor, log_library: float = 0.0) -> Tensor:
        library = z.new_full((len(z), 1), log_library)
        codes = [torch.full((len(z), 1), c, device=z.device) for c in self.categories]
        _, _, mean, _ = self.decoder(self.dispersion, z, library, *codes)
        out: Tensor = mean
        return out


def _freeze_scvi(model: Any, categories: Sequence[int] | None, *, name: str) -> FrozenDecoder:
    if not getattr(model, "is_trained", True):
        msg = f"{name} is not trained: call train() first"
        raise RuntimeError(msg)
    module = model.module
    sizes = getattr(getattr(module.decoder, "px_decoder", None), "n_cat_list", [module.n_batch])
    sizes = [max(size, 1) for size in sizes]  # 0 stands for a single one there
    if categories is None and max(sizes, default=1) > 1:
        msg = f"freeze_decoder: {name} was trained with {max(sizes)} batches or categories; "
        msg += f"pass categories, a code below each of {sizes}"
        raise UsageError(msg)
    chosen = [0] * len(sizes) if categories is None else list(categories)
    if len(chosen) != len(sizes) or any(not 0 <= c < n for c, n in zip(chosen, sizes, strict=True)):
        msg = f"freeze_decoder: categories is {chosen}, expected a code below each of {sizes}"
        raise UsageError(msg)
    network = _ScviDecoder(module.decoder, module.dispersion, chosen)
    frozen = FrozenDecoder(network, module.n_latent)
    z = torch.randn(4, module.n_latent, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = z.to(next(frozen.buffers()).device)
        small, large = frozen.network(z, 0.0), frozen.network(z, 1.0)
    if not torch.allclose(small, large):
        msg = f"freeze_decoder: the decoder of {name} multiplies by the library size, which an "
        raise UsageError(msg + "embedding does not have; take a model that ignores it, as nlscVI")
    return frozen
