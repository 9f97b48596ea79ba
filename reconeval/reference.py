"""A fixed piece of work that tells how fast a machine is, so that timings can be compared."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from reconeval._typing import FloatArray

__all__ = ["Place", "Reference", "reference_seconds"]

Place = tuple[str, ...]  # a model, a dataset and a split

_CELLS, _GENES, _HIDDEN, _SORTED = 256, 2000, 64, 100_000


@dataclass
class Reference:
    """How fast the machine of a run is, and that of earlier runs whose trainings it found.

    Attributes
    ----------
    on_cpu
        Whether models run on the CPU. The work does: it tells nothing of a GPU, and is not done.
    seconds
        What the fixed work took at best in this run, None before it was done.
    kept
        What it took in the earlier run, by model, dataset and split, of trainings that were found.
    """

    on_cpu: bool = True
    seconds: float | None = None
    kept: dict[Place, float] = field(default_factory=dict)

    def measure(self) -> None:
        """Do the work, thrice at first for what the first round loads."""
        if self.on_cpu:
            self.note(reference_seconds(rounds=3 if self.seconds is None else 1))

    def note(self, seconds: float | None) -> None:
        """Take in what was measured here or in another process of the run."""
        known = [one for one in (self.seconds, seconds) if one is not None]
        self.seconds = min(known, default=None)

    def note_kept(self, place: Place, seconds: float | None) -> None:
        """Take in what was measured when a training of that place was done.

        Of several seeds that were trained at several times the quickest machine counts, as the
        quickest seed does.
        """
        if seconds is not None:
            self.kept[place] = min(self.kept.get(place, seconds), seconds)

    def of(self, place: Place) -> float | None:
        """Return what the work took where the timings of a place were taken, None if unknown."""
        return self.kept.get(place, self.seconds)


def reference_seconds(*, rounds: int = 3) -> float:
    """Time a fixed mixture of what models do.

    A product of matrices, a sort, then forward and backward passes of a small network, all in
    NumPy, so that a run whose models do without torch does not load it for this. It draws from no
    global generator and leaves no state behind.

    Parameters
    ----------
    rounds
        How often the work is done; the quickest counts.

    Returns
    -------
    Seconds, about 0.01 on two current cores; lower is faster.
    """
    rng = np.random.default_rng(0)
    cells = rng.random((_CELLS, _GENES), dtype=np.float32)
    weights = rng.random((_GENES, _HIDDEN), dtype=np.float32) / _GENES
    numbers = rng.random(_SORTED)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        _ = cells @ cells.T
        np.sort(numbers)
        _train(cells, weights)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _train(X: FloatArray, encoder: FloatArray) -> None:
    """Take two steps of an autoencoder with one hidden layer, rectified, on its squared error."""
    decoder = encoder.T
    for _ in range(2):
        hidden = np.maximum(X @ encoder, 0)
        error = hidden @ decoder - X
        to_hidden = (error @ decoder.T) * (hidden > 0)
        encoder, decoder = encoder - X.T @ to_hidden, decoder - hidden.T @ error
