"""Reference models, written as a user would write them.

Each is a plain class with `train` and `predict`; the module of a model is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .additive_shift import AdditiveShift as AdditiveShift
    from .cellflow_predictor import CellFlowPredictor as CellFlowPredictor
    from .knn_decoder import KNNDecoder as KNNDecoder
    from .mean import Mean as Mean
    from .mlp_decoder import MLPDecoder as MLPDecoder
    from .mlp_predictor import MLPPerturbationPredictor as MLPPerturbationPredictor
    from .reconae import ReconAE as ReconAE
    from .reconpca import ReconPCA as ReconPCA
    from .reconscvi import ReconMLSCVI as ReconMLSCVI
    from .reconscvi import ReconNLSCVI as ReconNLSCVI
    from .reconscvi import ReconSCVI as ReconSCVI
    from .shifts import MeanShift as MeanShift
    from .shifts import NoShift as NoShift
    from .shuffle import Shuffle as Shuffle
    from .state_predictor import STATEPredictor as STATEPredictor
    from .transformer_decoder import TransformerDecoder as TransformerDecoder

_MODULES = {
    "AdditiveShift": "additive_shift",
    "CellFlowPredictor": "cellflow_predictor",
    "KNNDecoder": "knn_decoder",
    "MLPDecoder": "mlp_decoder",
    "MLPPerturbationPredictor": "mlp_predictor",
    "Mean": "mean",
    "MeanShift": "shifts",
    "NoShift": "shifts",
    "ReconAE": "reconae",
    "ReconMLSCVI": "reconscvi",
    "ReconNLSCVI": "reconscvi",
    "ReconPCA": "reconpca",
    "ReconSCVI": "reconscvi",
    "STATEPredictor": "state_predictor",
    "Shuffle": "shuffle",
    "TransformerDecoder": "transformer_decoder",
}

__all__ = sorted(_MODULES)  # noqa: PLE0605  (the names are the keys of the table)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    # By its full name, so that `models.ReconAE` in a checkout is `reconeval.models.ReconAE`.
    return getattr(import_module(f"reconeval.models.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
