"""A model class of scvi-tools as a reconstruction model."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reconeval.adapters._scvi_base import OWN_SETTINGS, ScviBase
from reconeval.adapters._scvi_cells import per_molecule, setup, unlabel
from reconeval.adapters._scvi_decoding import (
    BATCH_SIZE,
    latent_mean,
    posterior_log1p,
    posterior_mean,
)
from reconeval.adapters._scvi_files import read_model, rebuilt, write_model
from reconeval.adapters._scvi_training import fit, seeded
from reconeval.errors import UsageError
from reconeval.quiet import quiet

if TYPE_CHECKING:
    import os

    import pandas as pd
    from anndata import AnnData

    from reconeval._typing import FloatArray

__all__ = ["ScviModel"]


class ScviModel(ScviBase):
    """A model class of scvi-tools as a reconstruction model.

    Parameters
    ----------
    layer
        What is modelled: `counts`, or `X`, log1p of counts per 10 000. Default `X` for
        `gene_likelihood="normal"`, else `counts`.
    n_samples
        Draws from each cell's posterior that are decoded and averaged; 0 decodes its mean.
    rule
        What a model of counts predicts: `mean_of_log`, the expected log1p of counts per 10 000,
        which is what metrics compare with; or `log_of_mean`, log1p of the expected counts per
        10 000, scvi-tools' normalised expression, which is always higher.
    seed
        Seeds weights, batches and draws.
    **settings
        Arguments of the class of scvi-tools and of its module.

    Attributes
    ----------
    model
        The trained model of scvi-tools; None before training.
    layer, n_samples, rule, seed, settings
        As above, `layer` with its default filled in.

    Raises
    ------
    UsageError
        If the class takes no such setting, or one is out of range.
    """

    def train(
        self,
        adata: AnnData,
        val_adata: AnnData | None = None,
        *,
        batch_key: str | None = None,
        cell_type_key: str | None = None,
        max_epochs: int = 100,
        early_stopping: bool | None = None,
        accelerator: str = "cpu",
        enable_progress_bar: bool = False,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        """Build the model anew and train it.

        Parameters
        ----------
        adata, val_adata
            Training and validation cells: `X` as log1p of counts per 10 000, `layers["counts"]`,
            `obs`, and raw protein counts in `obsm["proteins"]` for a class of proteins. These are
            the indices that scvi-tools trains and validates on; it never draws any.
        batch_key, cell_type_key
            Columns of `obs`, or None.
        max_epochs
            Upper limit of passes over the training cells.
        early_stopping
            Stop when the validation loss has not fallen for `early_stopping_patience` epochs
            (20 unless given); default wherever there are validation cells.
        accelerator
            `cpu`, `gpu`, ... as for Lightning's Trainer.
        enable_progress_bar
            Show progress, and what scvi-tools has to say.
        seed
            Default the constructor's.
        **options
            Further arguments of the class's own `train`.

        Raises
        ------
        UsageError
            If the cells lack what the class needs, or do not fit its settings.
        """
        seed = self.seed if seed is None else seed
        self.model, self.verbose = None, enable_progress_bar
        cells = _joined(adata, val_adata)
        n_latent = self.settings.get("n_latent", 1)
        if n_latent > cells.n_vars:
            msg = f"{self._name}: n_latent={n_latent} is more than the {cells.n_vars} genes"
            raise UsageError(msg)
        with quiet(enable_progress_bar), seeded(seed):
            cls = _own(self._cls)
            setup(cls, cells, layer=self._layer, batch_key=batch_key, labels_key=cell_type_key)
            model = cls(cells, **self.settings)
            self._check_built(model)
            fit(
                model,
                n_train=adata.n_obs,
                max_epochs=max_epochs,
                early_stopping=early_stopping,
                accelerator=accelerator,
                enable_progress_bar=enable_progress_bar,
                **options,
            )
        self.model = model
        self.keys = {"batch_key": batch_key, "labels_key": cell_type_key}

    def predict(
        self,
        X: Any,
        counts: FloatArray | None = None,
        obs: pd.DataFrame | None = None,
        proteins: pd.DataFrame | None = None,
    ) -> FloatArray:
        """Reconstruct cells.

        Parameters
        ----------
        X
            Array of shape (n_cells, n_genes), log1p of counts per 10 000; or an AnnData as for
            `train`, which then has all the rest.
        counts
            Raw counts of the same cells, unless the model is one of `X`.
        obs
            The batch of each cell, where there were batches in training.
        proteins
            Raw protein counts, for a class of proteins.

        Returns
        -------
        Array of shape (n_cells, n_genes), float32, log1p of counts per 10 000, by `rule`; of a
        model of `X` the expected `X` as it is.

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            The cells lack what the model needs.
        """
        cells = self._cells(X, counts, obs, proteins)
        draws = {"n_samples": self.n_samples, "seed": self.seed}
        with self._asked() as model:
            if self._layer is None:
                return posterior_mean(model, cells, **draws)
            factor = per_molecule(np.asarray(cells.X), np.asarray(cells.layers[self._layer]))
            if self.rule == "mean_of_log":
                return posterior_log1p(model, cells, factor, **draws)
            mean = posterior_mean(model, cells, **draws)
        scaled: FloatArray = np.log1p(mean * factor[:, None], dtype=np.float64)
        return scaled.astype(np.float32)

    def get_latent_representation(
        self,
        X: Any,
        counts: FloatArray | None = None,
        obs: pd.DataFrame | None = None,
        proteins: pd.DataFrame | None = None,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> FloatArray:
        """Return the mean of each cell's posterior, (n_cells, n_latent); as for `predict`."""
        cells = self._cells(X, counts, obs, proteins)
        with self._asked() as model:
            return latent_mean(model, cells, batch_size=batch_size)

    def get_elbo(self, adata: AnnData, **options: Any) -> float:
        """Return the evidence lower bound of cells, mean over them; higher is better.

        The losses that scvi-tools logs in training have the opposite sign.
        """
        cells = self._cells(adata)
        with self._asked() as model:
            return float(model.get_elbo(cells, **options))

    def get_marginal_ll(self, adata: AnnData, *, n_mc_samples: int = 100, **options: Any) -> float:
        """Return the log-likelihood of cells by importance sampling, mean over cells.

        Higher is better. It is random, from the model's seed; the more draws, the steadier and,
        on average, the higher.
        """
        cells = self._cells(adata)
        with self._asked() as model, seeded(self.seed):
            return float(model.get_marginal_ll(cells, n_mc_samples=n_mc_samples, **options))

    def get_reconstruction_error(self, adata: AnnData, **options: Any) -> dict[str, float]:
        """Return the negative log-likelihood given the latent state, by modality.

        Lower is better. It is random, from the model's seed.
        """
        cells = self._cells(adata)
        with self._asked() as model, seeded(self.seed):
            errors = model.get_reconstruction_error(cells, **options)
        return {name: float(value) for name, value in errors.items()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file."""
        config = {
            **{name: getattr(self, name) for name in ("settings", *OWN_SETTINGS)},
            **self.keys,
        }
        write_model(path, self._trained(), config, name=self._name)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote, on the CPU."""
        weights, config = read_model(path, name=cls.__name__)
        own = {name: config[name] for name in OWN_SETTINGS}
        loaded = cls._made(own, config["settings"])
        loaded.keys = {name: config[name] for name in ("batch_key", "labels_key")}
        with quiet():
            loaded.model = rebuilt(_own(cls.scvi_class()), weights, config)
        return loaded

    @classmethod
    def load_query_data(cls, adata: AnnData, reference_model: Self, **options: Any) -> Self:
        """Return an untrained extension of a trained model to new batches, by surgery.

        Parameters
        ----------
        adata
            Query cells as for `train`, with the genes of the reference in their order.
        reference_model
            The trained model; it stays as it is.
        **options
            As scvi-tools' `load_query_data` takes them, such as `freeze_dropout`.

        Returns
        -------
        A model of the reference's settings. `fit(query.model, ...)` trains the weights that are
        not frozen; it predicts before that, too.
        """
        reference = reference_model._trained()
        cells, labels_key = adata.copy(), reference_model.keys["labels_key"]
        if labels_key not in cells.obs:
            unlabel(reference, cells, labels_key)
        own = {name: getattr(reference_model, name) for name in OWN_SETTINGS}
        query = cls._made(own, reference_model.settings)
        with quiet(), seeded(reference_model.seed):
            query.model = type(reference).load_query_data(cells, reference, **options)
        query.model.is_trained_ = True
        query.keys = dict(reference_model.keys)
        return query


def _own(cls: type[Any]) -> type[Any]:
    """Return a subclass of the same name: a class of scvi-tools keeps the cells of all models."""
    return types.new_class(
        cls.__name__, (cls,), exec_body=lambda body: body.update(__module__=cls.__module__)
    )


def _joined(adata: AnnData, val_adata: AnnData | None) -> AnnData:
    """Return a copy of training cells with the validation cells after them."""
    if val_adata is None:
        return adata.copy()
    from anndata import concat

    joined: AnnData = concat([adata, val_adata], index_unique="-", keys=["train", "val"])
    return joined
