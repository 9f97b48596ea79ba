"""Score models that reconstruct single-cell gene expression, from pytest.

``pytest benchmarks --model mypkg:MyModel`` is the main job; this package holds what it
stands on. Importing it loads nothing heavy: torch, lightning, anndata and scanpy are
imported by the functions that need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconeval.datamodule import InMemoryDataModule as InMemoryDataModule
    from reconeval.protocols import PerturbationPredictor as PerturbationPredictor
    from reconeval.protocols import ReconstructionModel as ReconstructionModel

__version__ = "0.1.0"
__all__ = ["InMemoryDataModule", "PerturbationPredictor", "ReconstructionModel", "__version__"]

_LAZY = {
    "InMemoryDataModule": "reconeval.datamodule",
    "PerturbationPredictor": "reconeval.protocols",
    "ReconstructionModel": "reconeval.protocols",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        msg = f"module 'reconeval' has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
