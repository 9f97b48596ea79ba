"""Transformers in the manner of scikit-learn: fit, transform, inverse_transform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from reconeval.errors import UsageError
from reconeval.filling import signature_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray

__all__ = ["Transformer", "adapt_transformer"]

_NEEDS = ("fit", "transform", "inverse_transform")

_NMF_COUPLES = (
    "transform iterates over all cells it is given and stops when their joint change is small"
)

# Known behaviour of scikit-learn's own classes, by package and name.
_EXCEPTIONS = {
    ("sklearn", name): dict.fromkeys(("batch_composition", "other_cells"), _NMF_COUPLES)
    for name in ("NMF", "MiniBatchNMF")
}


class Transformer:
    """A transformer as a reconstruction model: the inverse transform of the transform.

    Parameters
    ----------
    **kwargs
        Arguments of the transformer's constructor.
    """

    make: ClassVar[Callable[..., Any]]
    task: ClassVar[str] = "end_to_end"
    contract_exceptions: ClassVar[dict[str, str]] = {}

    def __init__(self, **kwargs: Any) -> None:
        self._kwargs = kwargs
        self.estimator = type(self).make(**kwargs)

    def train(self, X: FloatArray) -> None:
        """Fit a new transformer on an array of shape (n_cells, n_genes)."""
        self.estimator = type(self).make(**self._kwargs)
        self.estimator.fit(X)

    def predict(self, X: FloatArray) -> FloatArray:
        """Reconstruct an array of shape (n_cells, n_genes), as float32 of the same shape."""
        return self.decode(self.get_latent_representation(X))

    def get_latent_representation(self, X: FloatArray) -> FloatArray:
        """Return the transform of the cells, float32 of shape (n_cells, n_components)."""
        # What was fitted on float32 may refuse another type; sparse matrices have astype, too.
        Z = self.estimator.transform(X.astype(np.float32, copy=False))
        return np.asarray(Z, dtype=np.float32)

    def decode(self, Z: FloatArray) -> FloatArray:
        """Return the inverse transform of (n_cells, n_components), float32 (n_cells, n_genes)."""
        return np.asarray(self.estimator.inverse_transform(Z), dtype=np.float32)


def adapt_transformer(cls: type, make: Callable[..., Any], *, where: str) -> type | None:
    """Return a model class for a transformer, or None if `cls` has `train` or no `fit`.

    Parameters
    ----------
    cls
        The class that the user named.
    make
        Makes an instance; its signature becomes that of the model class.
    where
        Begins the message of an error.

    Returns
    -------
    A subclass of `Transformer` of the same name, or None.

    Raises
    ------
    UsageError
        If the class can be fitted but not transform or transform back.
    """
    if not callable(getattr(cls, "fit", None)) or hasattr(cls, "train"):
        return None
    missing = [name for name in _NEEDS if not callable(getattr(cls, name, None))]
    if missing:
        msg = (
            f"{where}: {cls.__name__} has fit but no {' and no '.join(missing)}; a reconstruction "
            "needs the way back to genes, as PCA, NMF and TruncatedSVD have it"
        )
        raise UsageError(msg)
    package = cls.__module__.partition(".")[0]
    body = {
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__signature__": signature_of(make),
        "make": staticmethod(make),
        "contract_exceptions": _EXCEPTIONS.get((package, cls.__name__), {}),
    }
    return type(cls.__name__, (Transformer,), body)
