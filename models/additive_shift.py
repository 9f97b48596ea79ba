"""Single effects, summed for combinations: the linear baseline of perturbation prediction."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reconeval.errors import UsageError

from ._files import load_arrays, save_arrays
from ._pairs import as_labels, as_pairs, as_queries, by_descriptor, mean_shifts

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    F32 = npt.NDArray[np.float32]

__all__ = ["AdditiveShift"]


class AdditiveShift:
    """Move cells by the effect of their perturbation; a combination by the sum of its parts.

    What a descriptor gets, in this order:

    1. of a training perturbation: its mean shift;
    2. of a combination of training perturbations that `parts` names: the sum of their mean
       shifts. Its descriptor is recognised as the sum or the mean of those of its parts;
    3. any other: ridge regression, with an intercept, of the mean shifts on the descriptors, one
       vote per perturbation. A descriptor that says nothing gets the mean shift.

    This is the linear baseline that deep models of perturbations did not beat
    (doi 10.1038/s41592-025-02772-6).

    Parameters
    ----------
    ridge
        Penalty of the regression, relative to the largest squared singular value of the centred
        descriptors; at least 0.

    Attributes
    ----------
    descriptors, shifts
        Arrays of shapes (n_known, cov_dim) and (n_known, embed_dim): the descriptors that are
        recognised and where they move a cell, training perturbations first; empty before training.

    Raises
    ------
    UsageError
        `ridge` is negative.
    """

    def __init__(self, *, ridge: float = 1e-3) -> None:
        if not ridge >= 0:
            msg = f"AdditiveShift: ridge must be at least 0, got {ridge}"
            raise UsageError(msg)
        self.ridge = ridge
        self.descriptors = np.empty((0, 0), dtype=np.float32)
        self.shifts = np.empty((0, 0), dtype=np.float32)
        self._slope = np.empty((0, 0))
        self._intercept = np.empty(0)

    def train(
        self,
        ctrl_emb: Any,
        pert_emb: Any,
        pert_cov: Any,
        *,
        perturbation: Any = None,
        parts: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Average the shift of each perturbation, and fit the regression.

        Parameters
        ----------
        ctrl_emb, pert_emb, pert_cov
            As for `MeanShift.train`.
        perturbation
            Array of shape (n_cells,): the name of each row's perturbation, for `parts`.
        parts
            For a combination, seen in training or not, the names of its single perturbations.

        Raises
        ------
        UsageError
            The arrays are not finite, do not match, or are empty; or a perturbation has two
            descriptors.
        """
        ctrl, pert, cov = as_pairs(ctrl_emb, pert_emb, pert_cov, name="AdditiveShift.train")
        descriptors, shifts, group = mean_shifts(ctrl, pert, cov)
        singles: dict[str, int] = {}
        if perturbation is not None:
            labels = as_labels(perturbation, len(ctrl), name="AdditiveShift.train: perturbation")
            singles = _numbered(labels, group)
        sums = list(_combinations(parts or {}, singles, descriptors, shifts))
        known = np.stack([*descriptors, *(descriptor for descriptor, _ in sums)])
        effects = np.stack([*shifts, *(shift for _, shift in sums)])
        self.descriptors, self.shifts = known.astype(np.float32), effects.astype(np.float32)
        self._slope, self._intercept = _regression(descriptors, shifts, self.ridge)

    def predict(self, ctrl_emb: Any, pert_cov: Any) -> F32:
        """Return each control cell, moved by the effect of its descriptor.

        Parameters, errors and what is returned as `MeanShift.predict`, but that `pert_cov`
        decides.
        """
        self._check_trained()
        widths = {"embed_dim": self.shifts.shape[1], "cov_dim": self.descriptors.shape[1]}
        ctrl, cov = as_queries(ctrl_emb, pert_cov, name="AdditiveShift.predict", **widths)
        distinct, group = by_descriptor(cov)
        shifts = np.array([self._shift(one) for one in distinct], dtype=np.float32)
        return ctrl + shifts.reshape(-1, ctrl.shape[1])[group]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file."""
        self._check_trained()
        arrays = {
            "descriptors": self.descriptors,
            "shifts": self.shifts,
            "slope": self._slope,
            "intercept": self._intercept,
        }
        save_arrays(path, arrays, model="AdditiveShift", config={"ridge": self.ridge})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote."""
        arrays, config = load_arrays(path, model="AdditiveShift")
        model = cls(**config)
        model.descriptors = arrays["descriptors"].astype(np.float32)
        model.shifts = arrays["shifts"].astype(np.float32)
        model._slope = arrays["slope"].astype(np.float64)
        model._intercept = arrays["intercept"].astype(np.float64)
        return model

    def _shift(self, descriptor: F32) -> npt.NDArray[np.floating[Any]]:
        gaps = np.abs(self.descriptors - descriptor).max(axis=1)
        # Sums of float32 descriptors differ by the order in which they were taken.
        if gaps.min() <= 1e-5 * max(1.0, float(np.abs(descriptor).max())):
            return self.shifts[gaps.argmin()]
        return descriptor.astype(np.float64) @ self._slope + self._intercept

    def _check_trained(self) -> None:
        if len(self.shifts) == 0:
            msg = "AdditiveShift is not trained: call train(ctrl_emb, pert_emb, pert_cov) first"
            raise RuntimeError(msg)


def _numbered(labels: npt.NDArray[Any], group: npt.NDArray[np.int64]) -> dict[str, int]:
    """Return the group of each label."""
    pairs = sorted(set(zip(labels.tolist(), group.tolist(), strict=True)))
    numbered = dict(pairs)
    if len(numbered) < len(pairs):
        twice = next(a for (a, _), (b, _) in pairwise(pairs) if a == b)
        msg = f"AdditiveShift.train: {twice!r} has rows of different pert_cov; give it one"
        raise UsageError(msg)
    return numbered


def _combinations(
    parts: Mapping[str, Sequence[str]],
    singles: Mapping[str, int],
    descriptors: F32,
    shifts: npt.NDArray[np.float64],
) -> chain[tuple[F32, npt.NDArray[np.float64]]]:
    """Return descriptors by which an unseen combination is known, with the sum of its parts."""
    rows = [
        [singles[one] for one in names]
        for combination, names in parts.items()
        if combination not in singles and all(one in singles for one in names)
    ]
    rules = (np.sum, np.mean)
    return chain.from_iterable(
        ((rule(descriptors[row], axis=0), shifts[row].sum(axis=0)) for rule in rules)
        for row in rows
        if row
    )


def _regression(
    descriptors: F32, shifts: npt.NDArray[np.float64], ridge: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return slope (cov_dim, embed_dim) and intercept (embed_dim,) of a ridge regression."""
    centre = descriptors.mean(axis=0, dtype=np.float64)
    U, s, V = np.linalg.svd(descriptors - centre, full_matrices=False)
    largest = s.max(initial=0.0)
    keep = s > largest * 1e-6  # below is rounding of float32, not information
    filtered = np.divide(s, s**2 + ridge * largest**2, out=np.zeros_like(s), where=keep)
    mean = shifts.mean(axis=0)
    slope = (V.T * filtered) @ (U.T @ (shifts - mean))
    return slope, mean - centre @ slope
