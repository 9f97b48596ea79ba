"""Seeding the generators that a stranger's model may draw from."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
import wrapt

__all__ = ["seed_everything"]

_latest: dict[str, int] = {}


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch.

    torch is not imported for this: if nobody has yet, it is seeded when somebody does, so that a
    model without torch does not wait for it.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (a model may draw from the global generator)
    waiting = "torch" in _latest
    _latest["torch"] = seed
    if "torch" in sys.modules:
        _seed_torch(sys.modules["torch"])
    elif not waiting:
        wrapt.register_post_import_hook(_seed_torch, "torch")


def _seed_torch(torch: Any) -> None:
    torch.manual_seed(_latest["torch"])
