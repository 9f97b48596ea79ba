"""What a model of scvi-tools is made with, and how it is lent out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

from reconeval._arrays import as_matrix
from reconeval.adapters._scvi_cells import with_fields_of
from reconeval.adapters._scvi_settings import check_own_settings, checked_settings, default_of
from reconeval.offers import cells_of
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from anndata import AnnData

    from reconeval._typing import FloatArray

__all__ = ["OWN_SETTINGS", "ScviBase"]

OWN_SETTINGS = ("layer", "n_samples", "rule", "seed")  # of the adapter, not of scvi-tools


class ScviBase:
    """The settings and the state of a model; see `ScviModel`."""

    task: ClassVar[str] = "end_to_end"
    contract_exceptions: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        *,
        layer: str | None = None,
        n_samples: int = 0,
        rule: str = "mean_of_log",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        self._cls = self.scvi_class()
        check_own_settings(self._name, layer=layer, n_samples=n_samples, rule=rule)
        self.settings = checked_settings(self._cls, settings, name=self._name)
        self.n_samples, self.rule, self.seed = n_samples, rule, seed
        if layer is None:
            likelihood = settings.get("gene_likelihood", default_of(self._cls, "gene_likelihood"))
            layer = "X" if str(likelihood).startswith("normal") else "counts"
        self.layer = layer
        self.model: Any = None
        self.verbose = False
        self.keys: dict[str, str | None] = {"batch_key": None, "labels_key": None}

    @classmethod
    def scvi_class(cls) -> type[Any]:
        """Return the class of scvi-tools, imported on first use."""
        raise NotImplementedError

    @classmethod
    def _made(cls, own: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:
        """Return an untrained model, whatever arguments a subclass takes."""
        made = cls.__new__(cls)
        ScviBase.__init__(made, **own, **settings)
        return made

    @property
    def module(self) -> Any:
        """The torch module of the trained model."""
        return self._trained().module

    @property
    def n_parameters(self) -> int:
        """Number of weights of the trained model."""
        return sum(weight.numel() for weight in self.module.parameters())

    def to(self, device: str) -> Self:
        """Move the trained model to a device such as `cpu` or `cuda`, and return it."""
        self._trained().to_device(device)
        return self

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def _layer(self) -> str | None:
        return None if self.layer == "X" else self.layer

    def _check_built(self, model: Any) -> None:
        """Refuse a model of scvi-tools that is about to be trained; a subclass says when."""

    def _trained(self) -> Any:
        if self.model is None:
            msg = f"{self._name} is not trained: call train(adata) first"
            raise RuntimeError(msg)
        return self.model

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """Lend the trained model out; it forgets the cells that it was asked about afterwards."""
        model = self._trained()
        with quiet(self.verbose):
            try:
                yield model
            finally:
                model.deregister_manager()

    def _cells(
        self,
        X: Any,
        counts: FloatArray | None = None,
        obs: pd.DataFrame | None = None,
        proteins: pd.DataFrame | None = None,
    ) -> AnnData:
        """Return cells with the fields of those that the model was trained on."""
        model, name = self._trained(), self._name
        if hasattr(X, "obs"):
            cells: AnnData = X.copy()
        else:
            genes = model.adata.var_names
            matrix = as_matrix(X, name=f"{name}.predict: X", n_genes=len(genes))
            if counts is not None:
                counts = as_matrix(counts, name=f"{name}.predict: counts", n_genes=len(genes))
            cells = cells_of(matrix, genes, counts, obs, proteins)
        return with_fields_of(model, cells, layer=self._layer, **self.keys)
