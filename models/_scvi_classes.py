"""Subclasses of scvi-tools' SCVI with another decoder or library size; imports scvi-tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scvi.model import SCVI
from scvi.module import VAE
from torch import Tensor, nn

from reconeval.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt
    from anndata import AnnData
    from scvi.nn import DecoderSCVI

__all__ = ["MLSCVI", "NLSCVI"]


class _IdentityDecoder(nn.Module):
    """scVI's decoder without softmax and library size: what it decodes is the mean.

    The names of the layers are those of scvi-tools: surgery freezes and extends layers by name.
    """

    def __init__(self, decoder: DecoderSCVI) -> None:
        super().__init__()
        self.px_decoder = decoder.px_decoder
        self.px_scale_decoder = nn.Sequential(decoder.px_scale_decoder[0], nn.Identity())
        self.px_r_decoder = decoder.px_r_decoder
        self.px_dropout_decoder = decoder.px_dropout_decoder

    def forward(
        self,
        dispersion: str,
        z: Tensor,
        library: Tensor,  # noqa: ARG002  (what scvi-tools passes)
        *categories: Tensor,
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        hidden = self.px_decoder(z, *categories)
        mean = self.px_scale_decoder(hidden)
        scale = self.px_r_decoder(hidden) if dispersion == "gene-cell" else None
        return mean, scale, mean, self.px_dropout_decoder(hidden)


class _NLVAE(VAE):  # type: ignore[misc]  # scvi-tools is not typed
    decoder: nn.Module

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.decoder = _IdentityDecoder(self.decoder)


class NLSCVI(SCVI):  # type: ignore[misc]  # scvi-tools is not typed
    """scVI with a normal likelihood of log-normalised cells and an unscaled decoder."""

    _module_cls = _NLVAE

    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        gene_likelihood: str = "normal",
        log_variational: bool = False,  # noqa: FBT001, FBT002  (scvi-tools')
        **kwargs: Any,
    ) -> None:
        super().__init__(
            adata,
            registry,
            gene_likelihood=gene_likelihood,
            log_variational=log_variational,
            **kwargs,
        )
        self.init_params_ = self._get_init_params(locals())  # surgery builds the model from them


class _MLVAE(VAE):  # type: ignore[misc]  # scvi-tools is not typed
    def __init__(
        self,
        *args: Any,
        prior_library_log_mean: npt.ArrayLike | None = None,
        prior_library_log_var: npt.ArrayLike | None = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "library_log_means": prior_library_log_mean,
            "library_log_vars": prior_library_log_var,
        }
        for name, prior in given.items():
            if prior is not None:
                kwargs[name] = _per_batch(prior, kwargs[name])
        super().__init__(*args, **kwargs)
        if not self.use_observed_lib_size:
            self._start_at_prior()

    def _start_at_prior(self) -> None:
        """Let the encoder of the library size begin at the mean of the prior.

        From 0, where it begins in scvi-tools, all hidden units learn to add up to that mean, and
        whatever they do in a cell that was not trained on is multiplied with it.
        """
        mean = self.library_log_means.mean()
        with torch.no_grad():
            self.l_encoder.mean_encoder.bias.copy_(mean)


class MLSCVI(SCVI):  # type: ignore[misc]  # scvi-tools is not typed
    """scVI that models the library size of a cell, with priors per batch that may be given."""

    _module_cls = _MLVAE

    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        use_observed_lib_size: bool = False,  # noqa: FBT001, FBT002  (scvi-tools')
        **kwargs: Any,
    ) -> None:
        super().__init__(adata, registry, use_observed_lib_size=use_observed_lib_size, **kwargs)
        self.init_params_ = self._get_init_params(locals())  # surgery builds the model from them


def _per_batch(
    prior: npt.ArrayLike, measured: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float32]:
    """Return a prior for each batch: the given ones, measured ones for batches of a query."""
    given = np.atleast_1d(np.asarray(prior, dtype=np.float32)).ravel()
    out = np.asarray(measured, dtype=np.float32).reshape(1, -1).copy()
    if len(given) > out.shape[1]:
        msg = f"a prior of the library size has {len(given)} values for {out.shape[1]} batches"
        raise UsageError(msg)
    out[0, : len(given)] = given
    if len(given) == 1:
        out[:] = given
    return out
