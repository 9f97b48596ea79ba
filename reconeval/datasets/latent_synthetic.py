"""Cells drawn in an embedding, with perturbations that shift them along straight lines."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from reconeval.datasets._decoders import PerceptronDecoder
from reconeval.datasets._perturbations import PerturbationDataset
from reconeval.errors import UsageError

if TYPE_CHECKING:
    from numpy.random import Generator

    from reconeval._typing import FloatArray, IntArray
    from reconeval.datasets.manifest import PerturbationEntry

__all__ = ["Draws", "draw", "fixed_rows", "load"]

N_PERTURBATIONS, N_CELLS = 5, 500
EMBED_DIM, COV_DIM, N_GENES = 128, 16, 600
_N_TEST = 100
CONTROL = "control"


@dataclass(frozen=True, eq=False)
class Draws:
    """The random draws of the recipe, in its order.

    Attributes
    ----------
    descriptors
        Float32 array of shape (5, 16), one row per perturbation.
    control, perturbed
        Float32 arrays of shape (5, 500, 128). Cell `i` of `perturbed[k]` is `control[k, i]`,
        shifted, plus noise.
    order
        Int64 array of shape (5, 500): a permutation of the cells of each perturbation, of which
        the first 100 are the test cells.
    rng
        The generator after these draws, for what comes after them.
    """

    descriptors: FloatArray
    control: FloatArray
    perturbed: FloatArray
    order: IntArray
    rng: Generator

    @property
    def sha256(self) -> str:
        """Checksum of the arrays, as little-endian bytes, in the order above."""
        digest = hashlib.sha256()
        for array in (self.descriptors, self.control, self.perturbed, self.order):
            digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def draw() -> Draws:
    """Draw the cells with seed 0.

    The shift is a matrix times the descriptor. It is summed in float64 and rounded to float32
    once, since a float32 product has other last digits with another BLAS. All else is one
    rounded operation per value, so that every machine has the same bits.
    """
    rng = np.random.default_rng(0)
    shape = (N_CELLS, EMBED_DIM)
    descriptors = rng.normal(0, 1, size=(N_PERTURBATIONS, COV_DIM)).astype(np.float32)
    effect = rng.normal(0, 0.3, size=(EMBED_DIM, COV_DIM)).astype(np.float32)
    shifts = (descriptors.astype(np.float64) @ effect.astype(np.float64).T).astype(np.float32)
    control, perturbed, order = [], [], []
    for shift in shifts:
        control.append(rng.normal(0, 1, size=shape).astype(np.float32))
        noise = np.float32(0.1) * rng.normal(size=shape).astype(np.float32)
        perturbed.append(control[-1] + shift + noise)
        order.append(rng.permutation(N_CELLS).astype(np.int64))
    return Draws(descriptors, np.stack(control), np.stack(perturbed), np.stack(order), rng)


def fixed_rows() -> tuple[IntArray, IntArray]:
    """Return the rows of the training and of the test cells that the recipe fixes."""
    first = N_PERTURBATIONS * N_CELLS + N_CELLS * np.arange(N_PERTURBATIONS, dtype=np.int64)
    rows = _draws().order + first[:, None]
    return rows[:, _N_TEST:].ravel(), rows[:, :_N_TEST].ravel()


@cache
def _draws() -> Draws:
    return draw()


def load(entry: PerturbationEntry) -> PerturbationDataset:
    """Return the dataset: the control cells first, then the perturbed ones in the same order.

    Parameters
    ----------
    entry
        Its part of the manifest.

    Returns
    -------
    The dataset. `X` is the decoded embedding.

    Raises
    ------
    UsageError
        If this machine draws other numbers than those that the decoder was trained on.
    """
    draws = _draws()
    if draws.sha256 != entry.cells_sha256:
        msg = (
            f"dataset {entry.name}: NumPy {np.__version__} draws cells of sha256 "
            f"{draws.sha256[:12]}..., expected {entry.cells_sha256[:12]}...; "
            "use another version of NumPy"
        )
        raise UsageError(msg)
    n_half = N_PERTURBATIONS * N_CELLS
    embedding = np.concatenate([draws.control, draws.perturbed]).reshape(2 * n_half, EMBED_DIM)
    names = [f"P{k}" for k in range(N_PERTURBATIONS)]
    decode = PerceptronDecoder.read(entry.path)
    return PerturbationDataset(
        name=entry.name,
        version=entry.version,
        sha256=entry.sha256,
        genes=tuple(f"G{i:03d}" for i in range(N_GENES)),
        X=decode(embedding),
        embedding=embedding,
        perturbation=np.repeat([CONTROL] * N_PERTURBATIONS + names, N_CELLS),
        control=CONTROL,
        descriptors=dict(zip(names, draws.descriptors, strict=True)),
        decode=decode,
        partner=np.concatenate([np.full(n_half, -1), np.arange(n_half)]).astype(np.int64),
    )
