"""The variational models of scvi-tools as reference models, and two relatives of scVI.

scvi-tools is imported when a model is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reconeval.adapters.scvi import ScviModel, load_class
from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ReconMLSCVI", "ReconNLSCVI", "ReconSCVI"]

_CLASSES = "reconeval.models._scvi_classes"  # imports scvi-tools

_OF_COUNTS = {"layer": "it models raw counts; take ReconNLSCVI for X"}
_OF_X = {
    "layer": "it models X; take ReconSCVI for raw counts",
    "gene_likelihood": "its likelihood is normal; take ReconSCVI for one of counts",
    "rule": "it predicts X as it is; take ReconSCVI for a rule that brings counts there",
}
_OF_LIBRARY = _OF_COUNTS | {
    "use_observed_lib_size": "it models the library size; take ReconSCVI for the observed one"
}


class ReconSCVI(ScviModel):
    """scVI of scvi-tools: a variational autoencoder of raw counts.

    Parameters
    ----------
    n_latent, n_hidden, n_layers
        Width of the latent space, width and number of hidden layers.
    dropout_rate
        Share of the encoder's hidden units dropped in training, in [0, 1).
    gene_likelihood
        Of the counts: `zinb`, `nb` or `poisson`.
    n_samples
        Draws from each cell's posterior that are decoded and averaged; 0 decodes its mean.
    rule
        `mean_of_log` predicts the expected log1p of counts per 10 000, `log_of_mean` log1p of
        the expected counts per 10 000.
    seed
        Seeds weights, batches and draws.
    **settings
        Further arguments of `scvi.model.SCVI` and its module.

    Attributes
    ----------
    model
        The trained `scvi.model.SCVI`; None before training.

    Raises
    ------
    UsageError
        scvi-tools is not installed, or a setting does not exist, is fixed or is out of range.

    References
    ----------
    doi:10.1038/s41592-018-0229-2
    """

    def __init__(
        self,
        *,
        n_latent: int = 10,
        n_hidden: int = 128,
        n_layers: int = 1,
        dropout_rate: float = 0.1,
        gene_likelihood: Literal["zinb", "nb", "poisson"] = "zinb",
        n_samples: int = 0,
        rule: Literal["mean_of_log", "log_of_mean"] = "mean_of_log",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        _check_free(_OF_COUNTS, settings, name=type(self).__name__)
        super().__init__(
            layer="counts",
            n_samples=n_samples,
            rule=rule,
            seed=seed,
            n_latent=n_latent,
            n_hidden=n_hidden,
            n_layers=n_layers,
            dropout_rate=dropout_rate,
            gene_likelihood=gene_likelihood,
            **settings,
        )

    @classmethod
    def scvi_class(cls) -> type[Any]:
        """Return `scvi.model.SCVI`, imported on first use."""
        return load_class("scvi.model", "SCVI", package="scvi", who=cls.__name__)


class ReconNLSCVI(ScviModel):
    """scVI with a normal likelihood: an unscaled decoder of log-normalised cells.

    The decoder ends without softmax and does without the library size, so what it decodes is on
    the scale of `X` and may be below 0; and the encoder sees `X` as it is, not log1p of it.

    Parameters
    ----------
    n_latent, n_hidden, n_layers
        Width of the latent space, width and number of hidden layers.
    dropout_rate
        Share of the encoder's hidden units dropped in training, in [0, 1).
    n_samples
        Draws from each cell's posterior that are decoded and averaged; 0 decodes its mean.
    seed
        Seeds weights, batches and draws.
    **settings
        Further arguments of `scvi.model.SCVI` and its module.

    Attributes
    ----------
    model
        The trained model of scvi-tools; None before training.

    Raises
    ------
    UsageError
        scvi-tools is not installed, or a setting does not exist, is fixed or is out of range.
    """

    def __init__(
        self,
        *,
        n_latent: int = 10,
        n_hidden: int = 128,
        n_layers: int = 1,
        dropout_rate: float = 0.1,
        n_samples: int = 0,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        _check_free(_OF_X, settings, name=type(self).__name__)
        super().__init__(
            layer="X",
            n_samples=n_samples,
            seed=seed,
            n_latent=n_latent,
            n_hidden=n_hidden,
            n_layers=n_layers,
            dropout_rate=dropout_rate,
            **settings,
        )

    @classmethod
    def scvi_class(cls) -> type[Any]:
        """Return the subclass of `scvi.model.SCVI`, imported on first use."""
        return load_class(_CLASSES, "NLSCVI", package="scvi", who=cls.__name__)


class ReconMLSCVI(ScviModel):
    """scVI that models the library size of a cell instead of taking the observed one.

    The encoder of the library size starts at the mean of its prior. In scvi-tools it starts at 0,
    and with batch normalisation few steps of training leave it far off on held-out cells.

    Parameters
    ----------
    n_latent, n_hidden, n_layers
        Width of the latent space, width and number of hidden layers.
    dropout_rate
        Share of the encoder's hidden units dropped in training, in [0, 1).
    gene_likelihood
        Of the counts: `zinb`, `nb` or `poisson`.
    prior_library_log_mean, prior_library_log_var
        Mean and variance of the log library size over the genes of the data, one number or one
        per batch in the order of their names; default those of the cells of each batch. Batches
        that surgery adds get those of their cells, or the one number.
    n_samples
        Draws from each cell's posterior that are decoded and averaged; 0 decodes its mean.
    rule
        `mean_of_log` predicts the expected log1p of counts per 10 000, `log_of_mean` log1p of
        the expected counts per 10 000.
    seed
        Seeds weights, batches and draws.
    **settings
        Further arguments of `scvi.model.SCVI` and its module.

    Attributes
    ----------
    model
        The trained model of scvi-tools; None before training.

    Raises
    ------
    UsageError
        scvi-tools is not installed, or a setting does not exist, is fixed or is out of range.
    """

    def __init__(
        self,
        *,
        n_latent: int = 10,
        n_hidden: int = 128,
        n_layers: int = 1,
        dropout_rate: float = 0.1,
        gene_likelihood: Literal["zinb", "nb", "poisson"] = "zinb",
        prior_library_log_mean: float | Sequence[float] | None = None,
        prior_library_log_var: float | Sequence[float] | None = None,
        n_samples: int = 0,
        rule: Literal["mean_of_log", "log_of_mean"] = "mean_of_log",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        _check_free(_OF_LIBRARY, settings, name=type(self).__name__)
        super().__init__(
            layer="counts",
            n_samples=n_samples,
            rule=rule,
            seed=seed,
            n_latent=n_latent,
            n_hidden=n_hidden,
            n_layers=n_layers,
            dropout_rate=dropout_rate,
            gene_likelihood=gene_likelihood,
            prior_library_log_mean=prior_library_log_mean,
            prior_library_log_var=prior_library_log_var,
            **settings,
        )

    @classmethod
    def scvi_class(cls) -> type[Any]:
        """Return the subclass of `scvi.model.SCVI`, imported on first use."""
        return load_class(_CLASSES, "MLSCVI", package="scvi", who=cls.__name__)

    def _check_built(self, model: Any) -> None:
        n_batches = model.summary_stats.n_batch  # surgery adds batches, whose priors are measured
        for word in ("prior_library_log_mean", "prior_library_log_var"):
            n_given = np.size(self.settings[word])
            if self.settings[word] is not None and n_given not in {1, n_batches}:
                msg = f"{self._name}: {word} has {n_given} values for {n_batches} batches, "
                msg += "expected one number or one per batch"
                raise UsageError(msg)


def _check_free(fixed: Mapping[str, str], settings: Mapping[str, Any], *, name: str) -> None:
    """Refuse a setting that is part of what a model is; `fixed` says why."""
    for word in settings:
        if word in fixed:
            msg = f"{name}() takes no {word!r}: {fixed[word]}"
            raise UsageError(msg)
