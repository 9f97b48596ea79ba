"""What a decoder's output stands for: losses, output activations, and the layers before them."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributions import NegativeBinomial, Normal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "ACTIVATIONS",
    "INVERSES",
    "LOSSES",
    "MIN_MEAN",
    "Distribution",
    "OutputActivation",
    "activations_for",
    "log_scale_for",
    "perceptron",
]

Distribution: TypeAlias = Literal[
    "normal", "huber", "l1", "normal_mle_fixed", "normal_mle_gene", "nb_gene"
]
OutputActivation: TypeAlias = Literal["identity", "relu", "softplus", "sigmoid", "softmax"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "softmax": partial(nn.Softmax, dim=1),
}


def _inverse_softplus(mean: Tensor) -> Tensor:
    return mean + (-(-mean).expm1()).log()  # log(exp(mean) - 1) without overflow


# What each maps to a mean, for means that it can give; others are moved to where it has a slope.
INVERSES: dict[OutputActivation, Callable[[Tensor], Tensor]] = {
    "identity": lambda mean: mean,
    "relu": lambda mean: mean.clamp_min(_MIN_START),
    "softplus": lambda mean: _inverse_softplus(mean.clamp_min(_MIN_START)),
    "sigmoid": lambda mean: mean.clamp(_MIN_START, 1 - _MIN_START).logit(),
}
_MIN_START = 0.01

# A gene that is constant in the training cells would otherwise pull its scale, and with it the
# loss, towards minus infinity.
_MIN_SCALE = 0.01
MIN_MEAN = 1e-8


def _normal(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    scale = log_scale.exp() + _MIN_SCALE
    log_prob: Tensor = Normal(mean, scale, validate_args=False).log_prob(x)  # type: ignore[no-untyped-call]
    return -log_prob.mean()


def _negative_binomial(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    logits = (mean + MIN_MEAN).log() - log_scale
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


def perceptron(sizes: Sequence[int], *, dropout: float = 0.0) -> nn.Sequential:
    """Stack linear layers with batch normalisation, ReLU and dropout between them.

    Parameters
    ----------
    sizes
        Widths: of the input, of the hidden layers, of the output.
    dropout
        Share of the hidden units dropped in training.
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def activations_for(distribution: Distribution) -> tuple[OutputActivation, ...]:
    """Return the output activations that go with a distribution, the default first."""
    if distribution == "nb_gene":
        return ("softplus",)  # a mean of 0 or below has no likelihood
    return ("identity", "relu", "softplus", "sigmoid")


def log_scale_for(distribution: Distribution, n_genes: int) -> nn.Parameter:
    """Return the log scale of a distribution at the start, to be learnt where it has one.

    Parameters
    ----------
    distribution
        A key of `LOSSES`.
    n_genes
        Number of genes.

    Returns
    -------
    Parameter of shape (1,) or (n_genes,), zeros.
    """
    n_scales = {"normal_mle_fixed": 1, "normal_mle_gene": n_genes, "nb_gene": n_genes}
    learnt = distribution in n_scales
    return nn.Parameter(torch.zeros(n_scales.get(distribution, 1)), requires_grad=learnt)
