"""Where a model computes, in the words of Lightning."""

from __future__ import annotations

import torch

from reconeval.errors import UsageError

__all__ = ["device_for"]


def device_for(accelerator: str) -> torch.device:
    """Return the device that an accelerator means.

    Parameters
    ----------
    accelerator
        `cpu`, `gpu`, or `auto` for a GPU where there is one.

    Raises
    ------
    UsageError
        The word is another, or there is no GPU.
    """
    if accelerator not in {"auto", "cpu", "gpu"}:
        msg = f"accelerator is {accelerator!r}, expected auto, cpu or gpu"
        raise UsageError(msg)
    found = torch.cuda.is_available()
    if accelerator == "gpu" and not found:
        msg = "accelerator='gpu', but torch finds no CUDA device; take 'cpu'"
        raise UsageError(msg)
    return torch.device("cuda" if found and accelerator != "cpu" else "cpu")
