"""What a predictor must beat: no effect, and the mean effect of all perturbations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ._files import load_arrays, save_arrays
from ._pairs import as_pairs, as_queries, mean_shifts

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

    F32 = npt.NDArray[np.float32]

__all__ = ["MeanShift", "NoShift"]

_SAME = "moves every cell alike by design, whatever the descriptor"


class NoShift:
    """Predict that nothing happens: what every predictor must beat.

    Examples
    --------
    >>> model = NoShift()
    >>> model.train(np.zeros((1, 2)), np.ones((1, 2)), np.ones((1, 3)))
    >>> model.predict(np.array([[1.0, 2.0]]), np.ones((1, 3)))
    array([[1., 2.]], dtype=float32)
    """

    contract_exceptions: ClassVar[dict[str, str]] = {"descriptor_matters": _SAME}

    def __init__(self) -> None:
        self.embed_dim: int | None = None
        self.cov_dim: int | None = None

    def train(self, ctrl_emb: Any, pert_emb: Any, pert_cov: Any) -> None:
        """Learn how wide the arrays are; parameters and errors as `MeanShift.train`."""
        ctrl, _, cov = as_pairs(ctrl_emb, pert_emb, pert_cov, name="NoShift.train")
        self.embed_dim, self.cov_dim = ctrl.shape[1], cov.shape[1]

    def predict(self, ctrl_emb: Any, pert_cov: Any) -> F32:
        """Return a copy of the control cells; parameters and errors as `MeanShift.predict`."""
        if self.embed_dim is None:
            msg = "NoShift is not trained: call train(ctrl_emb, pert_emb, pert_cov) first"
            raise RuntimeError(msg)
        widths = {"embed_dim": self.embed_dim, "cov_dim": self.cov_dim}
        ctrl, _ = as_queries(ctrl_emb, pert_cov, name="NoShift.predict", **widths)
        return ctrl.copy()


class MeanShift:
    """Move every cell by the mean effect of the training perturbations, whatever it is given.

    The mean is over perturbations, not over cells: one with many cells has no more say than one
    with few. Perturbations are told apart by their descriptors.

    Attributes
    ----------
    shift
        Array of shape (embed_dim,): the mean shift; None before training.

    Examples
    --------
    >>> model = MeanShift()
    >>> model.train(np.zeros((3, 1)), np.array([[2.0], [2.0], [4.0]]), np.array([[0], [0], [1]]))
    >>> model.predict(np.array([[10.0]]), np.array([[5]]))
    array([[13.]], dtype=float32)
    """

    contract_exceptions: ClassVar[dict[str, str]] = {"descriptor_matters": _SAME}

    def __init__(self) -> None:
        self.shift: F32 | None = None
        self.cov_dim = 0

    def train(self, ctrl_emb: Any, pert_emb: Any, pert_cov: Any) -> None:
        """Average the shifts.

        Parameters
        ----------
        ctrl_emb, pert_emb
            Arrays of shape (n_cells, embed_dim): a control cell and the perturbed cell beside it.
        pert_cov
            Array of shape (n_cells, cov_dim): the descriptor of each row's perturbation.

        Raises
        ------
        UsageError
            The arrays are not finite, do not match, or are empty.
        """
        ctrl, pert, cov = as_pairs(ctrl_emb, pert_emb, pert_cov, name="MeanShift.train")
        _, shifts, _ = mean_shifts(ctrl, pert, cov)
        self.shift, self.cov_dim = shifts.mean(axis=0).astype(np.float32), cov.shape[1]

    def predict(self, ctrl_emb: Any, pert_cov: Any) -> F32:
        """Return each control cell, moved by the mean shift.

        Parameters
        ----------
        ctrl_emb
            Array of shape (n_cells, embed_dim).
        pert_cov
            Array of shape (n_cells, cov_dim); makes no difference.

        Returns
        -------
        Array of shape (n_cells, embed_dim), float32.

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            The arrays do not fit the training data or one another.
        """
        shift = self._trained()
        widths = {"embed_dim": len(shift), "cov_dim": self.cov_dim}
        ctrl, _ = as_queries(ctrl_emb, pert_cov, name="MeanShift.predict", **widths)
        return ctrl + shift

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file."""
        arrays = {"shift": self._trained(), "cov_dim": np.array(self.cov_dim)}
        save_arrays(path, arrays, model="MeanShift", config={})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote."""
        arrays, config = load_arrays(path, model="MeanShift")
        model = cls(**config)
        model.shift = arrays["shift"].astype(np.float32)
        model.cov_dim = int(arrays["cov_dim"])
        return model

    def _trained(self) -> F32:
        if self.shift is None:
            msg = "MeanShift is not trained: call train(ctrl_emb, pert_emb, pert_cov) first"
            raise RuntimeError(msg)
        return self.shift
