"""Training of models of scvi-tools on a given split, from a given seed."""

from __future__ import annotations

import contextlib
import inspect
import io
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval._ranges import check_least
from reconeval.adapters._scvi_settings import check_plan
from reconeval.errors import UsageError
from reconeval.seeding import seed_everything

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fit", "seeded"]

_PATIENCE = 20
_BATCH_SIZE = 128


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators inside the block, and leave them as they were.

    Not by `scvi.settings.seed`, which also switches cuDNN and JAX over for good.
    """
    from lightning.pytorch.utilities.seed import isolate_rng

    with isolate_rng():
        seed_everything(seed)
        yield


def fit(
    model: Any,
    *,
    n_train: int | None = None,
    max_epochs: int = 100,
    batch_size: int = _BATCH_SIZE,
    early_stopping: bool | None = None,
    accelerator: str = "cpu",
    enable_progress_bar: bool = False,
    **options: Any,
) -> None:
    """Train a model of scvi-tools on the first cells that it was made with.

    Parameters
    ----------
    model
        The model; its cells are those for training, then those for validation.
    n_train
        Number of the former; default all. The split is handed over as indices, so that none is
        drawn.
    max_epochs
        Upper limit of passes over them.
    batch_size
        Cells in a step.
    early_stopping
        Stop when the validation loss has not fallen for `early_stopping_patience` (20) epochs;
        default where there are validation cells.
    accelerator
        As for Lightning's Trainer; one device.
    enable_progress_bar
        Show progress.
    **options
        Further arguments of the model's `train`, such as `plan_kwargs={"weight_decay": 0.0}`.

    Raises
    ------
    UsageError
        If a number is out of range, the training plan takes no such setting, or there is nothing
        to validate on.
    """
    name = type(model).__name__
    check_least(f"{name}.train", 1, max_epochs=max_epochs, batch_size=batch_size)
    check_plan(type(model), options, where=f"{name}.train")
    if options.pop("logger", None):  # without its own logger the model has no history
        msg = f"{name}.train keeps the losses in the model's history and takes no logger"
        raise UsageError(msg)
    n_cells = model.adata.n_obs
    n_train = n_cells if n_train is None else n_train
    validates = n_train < n_cells
    if early_stopping and not validates:
        msg = f"{name}.train: early_stopping needs validation cells, and the split has none"
        raise UsageError(msg)
    takes = inspect.signature(model.train).parameters
    # New arrays each time: scvi-tools changes the list that it gets.
    indices = [np.arange(n_train), np.arange(n_train, n_cells), np.arange(0)]
    # A batch of a single cell has no variance, and batch normalisation refuses it.
    splitter = {"drop_last": n_train > 1 and n_train % batch_size == 1}
    splitter |= options.pop("datasplitter_kwargs", {})
    (options if "external_indexing" in takes else splitter)["external_indexing"] = indices
    stopping = validates if early_stopping is None else early_stopping
    if stopping:
        options.setdefault("early_stopping_patience", _PATIENCE)
    elif "reduce_lr_on_plateau" in takes and not validates:
        options["reduce_lr_on_plateau"] = False
    if validates:
        options.setdefault("check_val_every_n_epoch", 1)
    # It prints why it stopped.
    with contextlib.nullcontext() if enable_progress_bar else redirect_stdout(io.StringIO()):
        model.train(
            max_epochs=max_epochs,
            batch_size=batch_size,
            early_stopping=stopping,
            accelerator=accelerator,
            devices=1,
            enable_progress_bar=enable_progress_bar,
            datasplitter_kwargs=splitter,
            **options,
        )
