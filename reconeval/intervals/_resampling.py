"""Which cells, or perturbations, each resample draws: the same for every model and run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from reconeval._typing import FloatArray, IntArray, StrArray

__all__ = ["FEWEST", "Drawn", "Resampling", "deal", "digest", "draw"]

FEWEST = 200
_COLUMNS = 32  # resamples drawn at a time
HELD_COUNTS = 1 << 26  # 256 MB; beyond it there are fewer resamples


class Drawn(NamedTuple):
    """The cells of each resample, as metrics of cells read them.

    Attributes
    ----------
    key
        Names them, for what is computed once for several metrics.
    counts
        Array of shape (n_cells, n_resamples), float32: how often each resample has each cell.
    """

    key: str
    counts: FloatArray


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Resampling:
    """Draws with replacement among equal units.

    Attributes
    ----------
    over
        What is drawn: `cells` or `perturbations`.
    key
        Names the draws; equal only where the data, the split and all draws are.
    counts
        Array of shape (n_units, n_resamples), float32: how often each resample has each unit.
        Its columns sum to n_units.
    """

    over: str
    key: str
    counts: FloatArray

    @property
    def units(self) -> int:
        """How many units there are to draw from."""
        return len(self.counts)

    @property
    def resamples(self) -> int:
        """How many resamples there are."""
        return int(self.counts.shape[1])

    def of(self, units: IntArray | None = None) -> Drawn:
        """Return the cells of each resample.

        Parameters
        ----------
        units
            Array of shape (n_cells,): the unit that each cell belongs to; by default the units
            are the cells.
        """
        return Drawn(self.key, self.counts if units is None else self.counts[units])


def digest(*parts: str | IntArray) -> str:
    """Return a name for some content: equal content alone has equal names.

    Parameters
    ----------
    parts
        Texts, and arrays of whole numbers.

    Returns
    -------
    64 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for part in parts:
        text = isinstance(part, str)
        content = part.encode() if isinstance(part, str) else part.astype("<i8").tobytes()
        sha.update(f"{'text' if text else 'numbers'} {len(content)} ".encode() + content)
    return sha.hexdigest()


def draw(n_units: int, n_resamples: int, *, over: str, content: str) -> Resampling:
    """Draw as many units as there are, with replacement, for each resample.

    Parameters
    ----------
    n_units
        Number of units, at least 1.
    n_resamples
        Number of resamples. With more than 67 000 cells there are fewer, at least 200, so that
        the draws take no more than 256 MB.
    over
        What the units are called.
    content
        Name of what is resampled, of `digest`; seeds the draws with the two numbers.

    Returns
    -------
    The draws.

    Examples
    --------
    >>> first = draw(5, 3, over="cells", content="a")
    >>> first.counts.sum(axis=0).tolist(), first.key == draw(5, 3, over="cells", content="a").key
    ([5.0, 5.0, 5.0], True)
    >>> first.key == draw(5, 3, over="cells", content="b").key
    False
    """
    n_resamples = min(n_resamples, max(FEWEST, HELD_COUNTS // n_units))
    name = digest(over, content, np.array([n_units, n_resamples]))
    rng = np.random.default_rng(int(name[:32], 16))
    counts = np.empty((n_units, n_resamples), dtype=np.float32)
    # Another version of NumPy may draw otherwise, which only the draws themselves tell.
    seen = hashlib.sha256(name.encode())
    for start in range(0, n_resamples, _COLUMNS):
        drawn = [
            rng.integers(0, n_units, n_units) for _ in range(min(_COLUMNS, n_resamples - start))
        ]
        block = np.stack([np.bincount(units, minlength=n_units) for units in drawn])
        seen.update(block.astype("<i4").tobytes())
        counts[:, start : start + len(block)] = block.T
    key = f"{over} {n_units} x {n_resamples} {seen.hexdigest()[:16]}"
    return Resampling(over=over, key=key, counts=counts)


def deal(n_cells: int, n_groups: int, *, labels: StrArray | None, content: str) -> IntArray:
    """Deal cells into groups of equal size, each with the same share of every label.

    Parameters
    ----------
    n_cells
        Number of cells.
    n_groups
        Number of groups.
    labels
        Array of shape (n_cells,), such as cell types; None for one and the same.
    content
        As for `draw`.

    Returns
    -------
    Array of shape (n_cells,): the group of each cell, from 0.

    Examples
    --------
    >>> np.bincount(deal(10, 3, labels=None, content="a")).tolist()
    [4, 3, 3]
    """
    seed = int(digest("groups", content, np.array([n_cells, n_groups]))[:32], 16)
    order = np.random.default_rng(seed).permutation(n_cells)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    groups = np.empty(n_cells, dtype=np.int64)
    groups[order] = np.arange(n_cells) % n_groups
    return groups
