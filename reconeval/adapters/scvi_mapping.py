"""Query mapping by architecture surgery, with the models of scvi-tools that offer it."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconeval._ranges import check_least, check_positive
from reconeval.adapters._scvi_settings import check_plan
from reconeval.adapters.scvi import fit, seeded
from reconeval.errors import UsageError
from reconeval.filling import check_keywords
from reconeval.protocols import method_parameters
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anndata import AnnData

    from reconeval._typing import FloatArray
    from reconeval.adapters.scvi import ScviModel

__all__ = ["ScviMapped", "ScviMapper", "check_surgery"]

MAX_EPOCHS = 30
# What the task sets itself, or what has no meaning where all cells are trained on.
_RESERVED = (
    *("adata", "reference_model", "registry", "datamodule", "seed", "logger"),
    *("accelerator", "device", "devices", "max_steps", "early_stopping", "n_train"),
    *("train_size", "validation_size", "shuffle_set_split", "external_indexing"),
)


@dataclass(frozen=True, eq=False)
class ScviMapped:
    """A model of scvi-tools after surgery; see `reconeval.query_mapping.Mapped`.

    Attributes
    ----------
    model
        The adapter around it.
    n_steps
        Optimiser steps of the query training.
    """

    model: ScviModel
    n_steps: int

    def latent(self, cells: AnnData, *, batch_size: int | None = None) -> FloatArray:
        """Return the latent representation of cells, (n_cells, n_latent), float32."""
        if batch_size is None:
            return self.model.get_latent_representation(cells)
        return self.model.get_latent_representation(cells, batch_size=batch_size)

    def reloaded(self, folder: Path) -> ScviMapped:
        """Save the model into an empty folder, and return what is loaded from there."""
        path = folder / "mapped.safetensors"
        self.model.save(path)
        return ScviMapped(type(self.model).load(path), self.n_steps)


class ScviMapper:
    """A trained model of scvi-tools that takes up query batches.

    Parameters
    ----------
    reference
        The adapter around the trained model; it stays as it is.
    max_epochs
        Passes over the query cells in a training.
    weight_decay
        Of the optimiser. Anything but 0 shrinks the weights of the reference too: gradients are
        kept away from them, weight decay is not. scvi-tools' own default is 1e-6.
    accelerator
        As for Lightning's Trainer.
    **options
        Arguments of scvi-tools' `load_query_data`, such as `freeze_dropout`, and of the model's
        `train`, such as `batch_size`.
    """

    def __init__(
        self,
        reference: ScviModel,
        *,
        max_epochs: int = MAX_EPOCHS,
        weight_decay: float = 0.0,
        accelerator: str = "cpu",
        **options: Any,
    ) -> None:
        cls = reference.scvi_class()
        self.max_epochs = max_epochs
        self._reference = reference
        surgery = inspect.signature(cls.load_query_data).parameters
        self._surgery = {name: value for name, value in options.items() if name in surgery}
        self._options = {name: value for name, value in options.items() if name not in surgery}
        plan = dict(self._options.pop("plan_kwargs", {}))
        self._options |= {
            "accelerator": accelerator,
            "plan_kwargs": {"weight_decay": weight_decay, **plan},
        }
        self._surgery["accelerator"] = accelerator

    @property
    def model(self) -> ScviModel:
        """The reference."""
        return self._reference

    def latent(self, cells: AnnData) -> FloatArray:
        """Return the reference's latent representation of cells, (n_cells, n_latent), float32."""
        return self._reference.get_latent_representation(cells)

    def map(
        self,
        cells: AnnData,
        *,
        seed: int,
        max_epochs: int | None = None,
        max_steps: int | None = None,
    ) -> ScviMapped:
        """Map query cells; see `reconeval.query_mapping.QueryMapper`."""
        reference = copy.copy(self._reference)
        reference.seed = seed  # of the weights that surgery adds
        mapped = type(reference).load_query_data(cells, reference, **self._surgery)
        epochs = self.max_epochs if max_epochs is None else max_epochs
        if epochs == 0:
            return ScviMapped(mapped, 0)
        options = dict(self._options)
        if max_steps is not None:  # an epoch has a step at least
            options["max_steps"], epochs = max_steps, max_steps
        with quiet(), seeded(seed):
            fit(mapped.model, max_epochs=epochs, **options)
        return ScviMapped(mapped, int(mapped.model.trainer.global_step))


def check_surgery(cls: type[Any], surgery: Mapping[str, Any], *, where: str) -> None:
    """Refuse settings of a mapping that would fail once the reference is trained.

    Parameters
    ----------
    cls
        The class of scvi-tools.
    surgery
        What `ScviMapper` would get, but for the accelerator.
    where
        Begins the message of an error.

    Raises
    ------
    UsageError
        If a setting does not exist, is not the user's to set, or is out of range.
    """
    for name in surgery:
        if name in _RESERVED:
            msg = f"{where}: {name!r} is set by query mapping itself; leave it out"
            raise UsageError(msg)
    takes = [one for one in _parameters(cls) if one.name not in _RESERVED]
    check_keywords(takes, surgery, where=f"{where}: mapping with {cls.__name__}")
    numbers = {name: surgery[name] for name in ("max_epochs", "batch_size") if name in surgery}
    check_least(where, 1, **numbers)
    check_positive(where, zero=True, weight_decay=surgery.get("weight_decay", 0.0))
    check_plan(cls, surgery, where=where)


def _parameters(cls: type[Any]) -> list[inspect.Parameter]:
    """Return what a mapping takes: own settings, those of surgery, training and its Trainer."""
    with quiet():
        import lightning.pytorch as lightning
        from scvi.train import Trainer
    own = inspect.signature(ScviMapper.__init__).parameters.values()
    training = method_parameters(cls, "train") or []
    found = [one for one in own if one.name in ("max_epochs", "weight_decay")]
    found += [*(method_parameters(cls, "load_query_data") or []), *training]
    if any(one.kind is one.VAR_KEYWORD for one in training):  # they are the Trainer's
        found += method_parameters(Trainer, "__init__") or []
        found += method_parameters(lightning.Trainer, "__init__") or []
    named = {one.name: one for one in found if one.kind is not one.VAR_KEYWORD}
    return list(named.values())
