"""Fit a Lightning module without leaving anything behind: no file, no output, no random state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from torch import Tensor

__all__ = ["fit", "in_batches"]

_PREDICT_BATCH = 1024


class _KeepBest(Callback):
    """Watch the loss, and put the weights of its best epoch back when training ends.

    The watched loss, logged as `loss`, is that of the validation cells where there are any, else
    that of the training cells.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.best = math.inf
        self._weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics
        loss = metrics.get("val_loss", metrics["train_loss"])
        pl_module.log("loss", loss)
        self.losses.append(float(loss))
        if self.losses[-1] < self.best:
            self.best = self.losses[-1]
            weights = pl_module.state_dict()
            self._weights = {name: value.clone() for name, value in weights.items()}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if self._weights:
            pl_module.load_state_dict(self._weights)


def fit(
    module: LightningModule,
    datamodule: LightningDataModule,
    *,
    max_epochs: int,
    accelerator: str,
    enable_progress_bar: bool,
    logger: Any,
    early_stopping_patience: int | None,
) -> list[float]:
    """Train a module that logs `train_loss`, and `val_loss` where there is validation.

    Parameters
    ----------
    module
        What to train; afterwards it has the weights of the best epoch, is in evaluation mode, and
        is on the device that it was trained on.
    datamodule
        Its data.
    max_epochs, accelerator, enable_progress_bar, logger
        As for Lightning's Trainer.
    early_stopping_patience
        Stop after that many epochs in which the loss did not fall by 1e-4; None: never.

    Returns
    -------
    The watched loss after each epoch.

    Raises
    ------
    UsageError
        There was nothing to train on.
    RuntimeError
        No loss was finite.
    """
    best = _KeepBest()
    callbacks: list[Callback] = [best]
    if early_stopping_patience is not None:
        stop = EarlyStopping(
            "loss", 1e-4, patience=early_stopping_patience, check_on_train_epoch_end=True
        )
        callbacks.append(stop)
    trainer = Trainer(
        max_epochs=max_epochs,
        accelerator=accelerator,
        devices=1,
        logger=logger,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=enable_progress_bar,
        enable_model_summary=enable_progress_bar,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=datamodule)
    if not best.losses:
        msg = "there was no training batch; check the datamodule"
        raise UsageError(msg)
    if not math.isfinite(best.best):
        msg = f"the loss was {best.losses[0]}; lower learning_rate, or scale the cells"
        raise RuntimeError(msg)
    module.trainer = None  # it holds on to the data
    module.to(trainer.strategy.root_device).eval()
    return best.losses


def in_batches(
    module: LightningModule,
    function: Callable[..., Tensor],
    *arrays: npt.NDArray[np.float32],
    width: int,
    rows: int = _PREDICT_BATCH,
) -> npt.NDArray[np.float32]:
    """Call a function on batches of rows, on the module's device, without gradients.

    Parameters
    ----------
    module
        Says the device.
    function
        Takes a batch of each array, of shape (n, ...), and returns one of shape (n, width).
    *arrays
        Arrays with n_rows rows each.
    width
        Columns of the result.
    rows
        Rows per batch.

    Returns
    -------
    Array of shape (n_rows, width), float32.
    """
    out = np.empty((len(arrays[0]), width), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(out), rows):
            batch = [torch.tensor(a[start : start + rows], device=module.device) for a in arrays]
            out[start : start + rows] = function(*batch).cpu().numpy()
    return out
