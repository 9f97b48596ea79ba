"""What a model of scvi-tools decodes, in counts and on the scale of the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData
    from torch import Tensor

    from reconeval._typing import FloatArray

__all__ = ["BATCH_SIZE", "Decoded", "latent_mean", "posterior_log1p", "posterior_mean"]

BATCH_SIZE = 1024

# Trapezoids over the logarithm of t; the integrand is smooth, and below the first node linear.
_STEP = 0.75
_NODES = tuple(-14 + _STEP * node for node in range(24))


@dataclass(frozen=True, eq=False)
class Decoded:
    """The distribution of each entry of some cells, given a latent state.

    Attributes
    ----------
    rate
        Tensor of shape (n_cells, n_genes): mean of the counts that are not made 0.
    theta
        Inverse dispersion of a negative binomial; None for Poisson counts.
    absent
        Probability that a count is made 0; None without zero inflation.
    normal
        Whether the distribution is normal, of mean `rate`.
    """

    rate: Tensor
    theta: Tensor | None = None
    absent: Tensor | None = None
    normal: bool = False

    @classmethod
    def of(cls, module: Any, decoded: dict[str, Any]) -> Decoded:
        """Read what the module of a model of scvi-tools or DRVI decoded.

        Raises
        ------
        ModelError
            If it is none of the distributions that are read here.
        """
        from torch import distributions

        px: Any = decoded.get("px")
        if px is None and "px_" in decoded:  # TOTALVI hands out the parameters
            px = decoded["px_"]
            absent = px["dropout"].sigmoid() if module.gene_likelihood == "zinb" else None
            return cls(px["rate"], px["r"], absent)
        if isinstance(px, distributions.Normal):
            return cls(px.loc, normal=True)
        if isinstance(px, distributions.Poisson):
            return cls(px.rate)
        if hasattr(px, "log_m"):  # DRVI's negative binomial
            return cls(px.log_m.exp(), px.log_r.exp())
        if hasattr(px, "mu") and hasattr(px, "theta"):
            return cls(px.mu, px.theta, px.zi_probs if hasattr(px, "zi_logits") else None)
        got = f"a {type(px).__name__}" if px is not None else "no px"
        msg = (
            f"{type(module).__name__} decodes {got}, expected a normal, Poisson or (zero-inflated)"
        )
        msg += " negative binomial distribution: give the class a predict of its own"
        raise ModelError(msg)

    @property
    def mean(self) -> Tensor:
        """The expected value of each entry."""
        return self.rate if self.absent is None else self.rate * (1 - self.absent)

    def log1p(self, factor: Tensor) -> Tensor:
        """Return the expected log1p(factor · count).

        Parameters
        ----------
        factor
            Tensor of shape (n_cells, 1), from 0.

        Returns
        -------
        Tensor of shape (n_cells, n_genes). By log(1 + x) = ∫ exp(-t) (1 - exp(-x t)) / t dt it
        is an integral over the probability generating function, which has a closed form; the
        error is below 1e-4. For a normal distribution, whose values may be below 0, it is
        log1p of the mean instead.
        """
        import torch

        if self.normal:
            return torch.log1p(factor * self.rate.clamp(min=0))
        ratio = None if self.theta is None else self.rate / self.theta
        tail = np.exp(_NODES[0]) / np.expm1(_STEP)  # of all nodes further down
        total = factor * self.rate * tail
        for node in _NODES:
            t = np.exp(node)
            fewer = -torch.expm1(-factor * t)  # 1 - exp(-factor t)
            if self.theta is None or ratio is None:
                gone = torch.expm1(-self.rate * fewer)
            else:
                gone = torch.expm1(-self.theta * torch.log1p(ratio * fewer))
            total = total - float(np.exp(-t)) * gone
        out: Tensor = _STEP * total if self.absent is None else _STEP * total * (1 - self.absent)
        return out


def posterior_mean(
    model: Any,
    adata: AnnData,
    *,
    n_samples: int = 0,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> FloatArray:
    """Return the mean of each entry under a trained model of scvi-tools.

    Parameters
    ----------
    model
        The model: it has a module with an encoder and a decoder.
    adata
        Cells with the fields of the model's own.
    n_samples
        0: the decoder is asked about the mean of each cell's latent posterior. Otherwise so many
        draws from the posterior are decoded, and averaged. A draw is the same number of standard
        deviations from the mean in every cell, so that no cell depends on another.
    seed
        Seeds the draws.
    batch_size
        Cells at once.

    Returns
    -------
    Array of shape (n_cells, n_genes), float32, the unit of the registered layer: for counts the
    expected counts of a cell of that library size, zero inflation included.
    """
    return _posterior(
        model, adata, lambda decoded, _: decoded.mean, n_samples, seed=seed, batch_size=batch_size
    )


def posterior_log1p(
    model: Any,
    adata: AnnData,
    factor: FloatArray,
    *,
    n_samples: int = 0,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> FloatArray:
    """Return the expected log1p(factor · count) of each entry.

    Parameters
    ----------
    model, adata, n_samples, seed, batch_size
        As for `posterior_mean`.
    factor
        Array of shape (n_cells,), as `per_molecule` returns it.

    Returns
    -------
    Array of shape (n_cells, n_genes), float32.
    """
    import torch

    factors = torch.from_numpy(factor.astype(np.float32))[:, None]

    def of(decoded: Decoded, rows: slice) -> Tensor:
        return decoded.log1p(factors[rows].to(decoded.rate.device))

    return _posterior(model, adata, of, n_samples, seed=seed, batch_size=batch_size)


def latent_mean(model: Any, adata: AnnData, *, batch_size: int = BATCH_SIZE) -> FloatArray:
    """Return the mean of each cell's latent posterior, (n_cells, n_latent), float32.

    Of a logistic normal posterior, whose mean has no closed form, it is the softmax of the mean of
    the normal one, which is what predictions decode; scvi-tools would draw at random.
    """
    if getattr(model.module, "latent_distribution", "normal") == "ln":
        return _latent_decoded(model, adata, batch_size=batch_size)
    Z = model.get_latent_representation(adata, give_mean=True, batch_size=batch_size)
    return np.asarray(Z, dtype=np.float32)


def _latent_decoded(model: Any, adata: AnnData, *, batch_size: int) -> FloatArray:
    """Return the latent state that predictions without draws decode."""
    import torch

    adata = model._validate_anndata(adata)  # noqa: SLF001  (what methods of models begin with)
    module = model.module.eval()
    (draw,) = _draws(module.n_latent, 0, 0)
    parts: list[FloatArray] = []
    with torch.inference_mode():
        for tensors in model._make_data_loader(adata=adata, batch_size=batch_size):  # noqa: SLF001  (likewise)
            outputs = module.inference(**module._get_inference_input(tensors))  # noqa: SLF001  (likewise)
            parts.append(_placed(module, outputs, draw)["z"].cpu().numpy())
    return np.concatenate(parts)


def _posterior(
    model: Any,
    adata: AnnData,
    of: Callable[[Decoded, slice], Tensor],
    n_samples: int,
    *,
    seed: int,
    batch_size: int,
) -> FloatArray:
    """Return what `of` makes of decoded cells and their rows, averaged over draws."""
    import torch

    adata = model._validate_anndata(adata)  # noqa: SLF001  (what methods of models begin with)
    module = model.module.eval()
    draws = _draws(module.n_latent, n_samples, seed)
    parts: list[FloatArray] = []
    with torch.inference_mode():
        loader = model._make_data_loader(adata=adata, batch_size=batch_size)  # noqa: SLF001  (likewise)
        for number, tensors in enumerate(loader):
            rows = slice(number * batch_size, (number + 1) * batch_size)
            outputs = module.inference(**module._get_inference_input(tensors))  # noqa: SLF001  (likewise)
            total: Any = 0.0
            for draw in draws:
                placed = _placed(module, outputs, draw)
                given = module._get_generative_input(tensors, placed)  # noqa: SLF001  (likewise)
                total = total + of(Decoded.of(module, module.generative(**given)), rows)
            parts.append((total / len(draws)).cpu().numpy())
    return np.concatenate(parts)


def _draws(n_latent: int, n_samples: int, seed: int) -> list[Any]:
    """Return pairs of standard normal draws, of the latent state and of the log library size."""
    import torch

    if not n_samples:
        return [(torch.zeros(n_latent), torch.zeros(1))]
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(n_samples, n_latent + 1, generator=generator)
    return [(row[:-1], row[-1:]) for row in both]


def _placed(module: Any, outputs: dict[str, Any], draw: tuple[Any, Any]) -> dict[str, Any]:
    """Return what inference gave, with the latent variables at a place of their posteriors."""
    qz, ql = outputs.get("qz"), outputs.get("ql")
    loc, scale = (qz.loc, qz.scale) if qz is not None else (outputs["qzm"], outputs["qzv"].sqrt())
    encoder = getattr(module, "z_encoder", None) or module.encoder
    transform = getattr(encoder, "z_transformation", lambda z: z)
    placed = outputs | {"z": transform(loc + scale * draw[0].to(loc.device))}
    if ql is not None and not module.use_observed_lib_size:
        library = ql.loc + ql.scale * draw[1].to(loc.device)
        if "library_gene" in outputs:  # of TOTALVI, which decodes with totals, not their logarithm
            placed["library_gene"] = encoder.l_transformation(library)
        else:
            placed["library"] = library
    return placed
