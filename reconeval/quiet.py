"""Keep third-party chatter out of the user's terminal."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["quiet"]

# The children that emit Lightning's messages are named beside their parents: importing Lightning
# inside the block sets the parents' levels anew, the children's stay as set here.
_LOGGERS = (
    "lightning",
    "lightning.fabric",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.pytorch",
    "lightning.pytorch.utilities.rank_zero",
    "lightning_fabric",
    "lightning_fabric.utilities.rank_zero",
    "lightning_fabric.utilities.seed",
    "lightning_utilities.core.rank_zero",
    "pytorch_lightning",
    "pytorch_lightning.utilities.rank_zero",
    "scvi",
    "drvi",
    "drvi.scvi_tools_based",
    "jax",
    "jax._src.xla_bridge",
    "absl",
)
_MODULES = (
    r"(lightning|pytorch_lightning|lightning_fabric|lightning_utilities|scvi|drvi|jax|absl)(\.|$)"
)
# Their warnings can be attributed to a caller outside those modules, so the text counts too.
_MESSAGES = (
    r".*does not have many workers",
    r".*number of training batches .* is smaller than the logging interval",
    r".*Checkpoint directory .* exists and is not empty",
    r".*(GPU|TPU|HPU|MPS) available but not used",
    r".*Total length of .* across ranks is zero",
    r".*We recommend using setup_mudata",
    r".*Some proteins have all 0 counts in some batches",
    r".*was configured without a .*val_dataloader|.*defined a `validation_step` but have no",
)


@contextmanager
def quiet(verbose: bool = False) -> Iterator[None]:  # noqa: FBT001, FBT002  (reads as quiet(verbose))
    """Silence what Lightning, scvi-tools, JAX and absl say about themselves.

    Their log messages below ERROR and their warnings are dropped inside the block; levels and
    warning filters are as before afterwards. Exceptions, prints, and the messages and warnings of
    other code pass. None of these libraries is imported. Like `warnings.catch_warnings`, it acts
    on the whole process, so do not use it in threads.

    Parameters
    ----------
    verbose
        Let everything through; warning filters are as before afterwards all the same.

    Yields
    ------
    Nothing.
    """
    if verbose:
        with warnings.catch_warnings():  # whatever filters the block sets end with it
            yield
        return
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=_MODULES)
        for message in _MESSAGES:
            warnings.filterwarnings("ignore", message=message)
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                if logger.level == logging.ERROR:  # else an import set it: leave the library's own
                    logger.setLevel(level)
