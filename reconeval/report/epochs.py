"""Tell which epoch a Lightning training has reached, whoever made its Trainer.

Lightning asks the entry points of `lightning.pytorch.callbacks_factory` for callbacks when a
Trainer is made; reconeval's gives one only while somebody listens, so a training outside of a
benchmark with a progress line is none of its business. Imported in every such process: nothing
but the standard library stands at the top.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["epochs_told_to", "lightning_callbacks", "pytorch_lightning_callbacks"]

_listeners: list[Callable[[int, int | None], None]] = []


@contextmanager
def epochs_told_to(listener: Callable[[int, int | None], None]) -> Iterator[None]:
    """Tell a listener of every epoch that a Trainer made inside the block begins.

    Parameters
    ----------
    listener
        Called with the number of the epoch, from 1, and how many there are at most, None if
        that is not known.

    Yields
    ------
    Nothing.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def lightning_callbacks() -> list[Any]:
    """Return the callbacks that a Trainer of `lightning` gets: one if anybody listens."""
    return [_callback("lightning.pytorch")] if _listeners else []


def pytorch_lightning_callbacks() -> list[Any]:
    """Return the callbacks that a Trainer of `pytorch_lightning` gets: one if anybody listens."""
    return [_callback("pytorch_lightning")] if _listeners else []


def _callback(package: str) -> Any:
    base = import_module(package).Callback
    members = {
        "on_train_epoch_start": _on_train_epoch_start,
        # A model may copy or pickle its Trainer. The listener, which holds the terminal, stays.
        "__reduce__": lambda _: (_callback, (package,)),
    }
    return type("Epochs", (base,), members)()


def _on_train_epoch_start(_: Any, trainer: Any, pl_module: Any) -> None:  # noqa: ARG001  (its signature)
    last = trainer.max_epochs
    for listener in _listeners:
        listener(trainer.current_epoch + 1, last if last is not None and last > 0 else None)
