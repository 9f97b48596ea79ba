"""Sums of distances and of RBF kernels over all pairs of cells, block by block.

The squared distances of a block of pairs come from one float32 matrix product and serve the
distance and every kernel; no matrix of all pairs is ever held. Sums run in float64. All but the
product is NumPy, and each core works on blocks of its own: threads that meet at every short
step cost far more on a machine that does other work, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reconeval.errors import UsageError
from reconeval.metrics._threads import in_threads
from reconeval.metrics.device import on_torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconeval._typing import FloatArray

__all__ = ["Centred", "PairSums", "block_distances", "pair_sums", "squared_distances"]

# ‖a‖² + ‖b‖² - 2ab in float32 is off by at most ERROR · (‖a‖² + ‖b‖²): 8 half-ulps is the
# largest error seen over 2000 genes. Where that is more than TOLERANCE of a squared distance, or
# of the exponent of a kernel above exp(-REACH), the block is computed again in float64.
ERROR = 4 * float(np.finfo(np.float32).eps)
TOLERANCE = 1e-4
REACH = 25.0
FEW = 0.002  # up to this share of a block's pairs are cheaper one by one than the whole block
VANISHED = 110.0  # exp(-110) is 0 in float32
PAIRS = 256  # of those at a time
HELD_ENTRIES = 1 << 24  # of centred values that are kept at most, 64 MB


@dataclass(frozen=True, slots=True)
class PairSums:
    """Sums over all pairs of a row of A with a row of B.

    Attributes
    ----------
    pairs
        Number of ordered pairs, those of a cell with itself included.
    selves
        Number of pairs of a cell with itself: n_cells within one matrix, 0 between two. They
        add 0 to the distance and 1 each to a kernel.
    distance
        Sum of the Euclidean distances.
    rbf
        For each gamma, sum of exp(-gamma · squared distance).
    """

    pairs: int
    selves: int
    distance: float
    rbf: tuple[float, ...]

    def mean_distance(self, *, unbiased: bool = False) -> float:
        """Mean distance over all pairs, or over the pairs of different cells alone."""
        return self.distance / (self.pairs - unbiased * self.selves)

    def mean_rbf(self, *, unbiased: bool = False) -> float:
        """Mean kernel over all pairs and gammas, or over the pairs of different cells alone."""
        selves = unbiased * self.selves
        return float(np.mean([(total - selves) / (self.pairs - selves) for total in self.rbf]))


def pair_sums(
    A: FloatArray,
    B: FloatArray | None = None,
    *,
    gammas: Sequence[float] = (),
    exact: bool = False,
    block: int = 512,
    keep: FloatArray | None = None,
    device: str | None = None,
) -> PairSums:
    """Sum distances and RBF kernels over all pairs of cells.

    Parameters
    ----------
    A
        Array of shape (n_cells, n_genes), finite.
    B
        Array of shape (m_cells, n_genes), finite; by default the pairs are those within `A`,
        of which each is computed once and a cell is at distance exactly 0 from itself.
    gammas
        Factors of the squared distance in exp(-gamma · ‖a - b‖²), at least 0.
    exact
        Use float64 for all blocks: several times slower where there are many genes.
    block
        Cells per block. Beside the input, about 8 · block · n_genes + 8 · block² bytes are held,
        twice to three times that in blocks that need float64. No other effect than rounding.
    keep
        Float32 array of shape (n_cells, m_cells) to be filled with the squared distances between
        `A` and `B`, for who needs them one by one; default none. NumPy alone keeps them.
    device
        Where to compute, as for `reconeval.metrics.device.on_torch`; default NumPy.

    Returns
    -------
    The sums. Without `exact` the distances of real cells came out within 1e-8 of float64,
    relative, and the worst case is 1e-4.

    Raises
    ------
    UsageError
        If `A` and `B` have different numbers of genes, one is empty, or a gamma is negative.

    Examples
    --------
    >>> import numpy as np
    >>> sums = pair_sums(np.array([[0.0, 0.0], [3.0, 4.0]]), gammas=[0.0])
    >>> sums.distance, sums.mean_distance(), sums.mean_distance(unbiased=True)
    (10.0, 2.5, 5.0)
    >>> sums.rbf
    (4.0,)
    """
    if B is not None and A.shape[1] != B.shape[1]:
        msg = f"cells have {A.shape[1]} genes in one array and {B.shape[1]} in the other"
        raise UsageError(msg)
    if len(A) == 0 or (B is not None and len(B) == 0):
        msg = "distances need at least 1 cell on both sides, got none on one; predict some cells"
        raise UsageError(msg)
    if any(gamma < 0 for gamma in gammas):
        msg = f"gammas must be at least 0, got {list(gammas)}"
        raise UsageError(msg)
    n, m = len(A), len(A if B is None else B)
    place = on_torch(device)
    if place is not None:
        distance, *rbf = place.sum_pairs(A, B, gammas)
        return PairSums(n * m, n if B is None else 0, distance, tuple(rbf))
    centre = (A if B is None else B).mean(axis=0, dtype=np.float64)
    first = Centred(A, centre, block)
    second = first if B is None else Centred(B, centre, block)
    sharpest = max(gammas, default=0.0)

    def sum_up(i: int) -> FloatArray:
        totals = np.zeros(1 + len(gammas))
        blocks = squared_distances(first, second, i, gamma=sharpest, exact=exact)
        for j, (squared, weight) in enumerate(blocks):
            if keep is not None:
                rows = keep[i * block : (i + 1) * block]
                rows[:, j * block : (j + 1) * block] = squared
            nearest = float(squared.min()) if gammas else 0.0
            for number, gamma in enumerate(gammas, start=1):
                if nearest * gamma > VANISHED:
                    continue
                kernel = np.multiply(squared, -gamma, dtype=squared.dtype)
                totals[number] += weight * np.exp(kernel, out=kernel).sum(dtype=np.float64)
            totals[0] += weight * np.sqrt(squared, out=squared).sum(dtype=np.float64)
        return totals

    distance, *rbf = np.sum(in_threads(sum_up, range(first.blocks)), axis=0).tolist()
    return PairSums(n * m, n if B is None else 0, distance, tuple(rbf))


class Block(NamedTuple):
    """Rows of a matrix, less a centre, and their squared norms in float64."""

    rows: FloatArray
    norms: FloatArray


class Centred:
    """Reads a matrix in blocks of rows, less a centre.

    Without the centre, the mean expression would be most of the norms and cost digits. Each
    block is read once for every block it meets. Norms are computed once; whether the centred
    rows are kept, too, is a matter of time against memory, as large as the matrix.
    """

    def __init__(
        self, matrix: FloatArray, centre: FloatArray, block: int, *, hold: bool = False
    ) -> None:
        self.matrix = matrix
        self.centre = centre
        self.block = block
        self.blocks = -(-len(matrix) // block)
        self._hold = hold and matrix.size <= HELD_ENTRIES
        self._rows: dict[int, FloatArray] = {}
        self._norms: dict[tuple[int, type], FloatArray] = {}

    def raw(self, i: int) -> FloatArray:
        """Return a block as it is."""
        return self.matrix[i * self.block : (i + 1) * self.block]

    def read(self, i: int, dtype: type[np.floating[Any]]) -> Block:
        """Return a block less the centre."""
        rows = self._rows.get(i) if dtype is np.float32 else None
        if rows is None:
            rows = self.raw(i)
            rows = rows - self.centre.astype(np.result_type(rows, dtype))
            rows = rows.astype(dtype, copy=False)
            if self._hold and dtype is np.float32:
                self._rows[i] = rows
        if (i, dtype) not in self._norms:
            self._norms[i, dtype] = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        return Block(rows, self._norms[i, dtype])

    def mean_norm(self) -> float:
        """Return the mean squared norm of a row less the centre."""
        norms = [self.read(i, np.float32).norms for i in range(self.blocks)]
        return float(np.concatenate(norms).mean())

    def largest_norm(self) -> float:
        """Return the largest squared norm of a row less the centre."""
        return max(float(self.read(i, np.float32).norms.max()) for i in range(self.blocks))


def squared_distances(
    first: Centred, second: Centred, i: int, *, gamma: float = 0.0, exact: bool = False
) -> Iterator[tuple[FloatArray, int]]:
    """Go through the squared distances of a block of rows to all others.

    Within one matrix, the blocks before the i-th are left out and those after it count twice.

    Parameters
    ----------
    first, second
        The rows and the others, of one centre; one object for pairs within a matrix.
    i
        Number of the block in `first`.
    gamma
        The largest factor of the squared distance in a kernel that will be taken of it.
    exact
        Use float64 for all blocks.

    Yields
    ------
    Array of shape (n_rows_of_block, n_rows_of_other_block), and how often it counts.
    """
    within = first is second
    a = first.read(i, np.float64 if exact else np.float32)
    for j in range(i if within else 0, second.blocks):
        itself = within and i == j
        b = a if itself else second.read(j, a.rows.dtype.type)
        squared = block_distances(a, b)
        if not exact:
            reach = _coarse_reach(float(a.norms.max() + b.norms.max()), gamma)
            squared = _refined(squared, first, second, (i, j), reach=reach)
        yield squared, 2 if within and not itself else 1


def block_distances(a: Block, b: Block) -> FloatArray:
    """Squared distances of all rows, at least 0."""
    # Two norms are rounded as their sum, from exact squares: the rounding of one norm would be
    # shared by a whole row of pairs, and not average out.
    squared: FloatArray = np.empty((len(a.rows), len(b.rows)), dtype=a.rows.dtype)
    np.add(a.norms[:, None], b.norms[None, :], out=squared, casting="same_kind")
    products = a.rows @ b.rows.T
    products *= 2
    squared -= products
    np.maximum(squared, 0, out=squared)
    if a is b:
        np.fill_diagonal(squared, 0)
    return squared


def _coarse_reach(norms: float, gamma: float) -> float:
    """Squared distance below which rounding in float32 may matter, from the sum of two norms."""
    error = ERROR * norms
    reach = error / TOLERANCE
    return max(reach, REACH / gamma) if error * gamma > TOLERANCE else reach


def _refined(
    squared: FloatArray, first: Centred, second: Centred, place: tuple[int, int], *, reach: float
) -> FloatArray:
    """Compute the pairs nearer than `reach` again in float64: alone, or with their block."""
    i, j = place
    itself = first is second and i == j
    n_diagonal = len(squared) if itself else 0  # a cell and itself are exactly 0 apart
    n_near = np.count_nonzero(squared < reach) - n_diagonal
    if n_near <= 0:
        return squared
    if n_near > FEW * squared.size:
        a = first.read(i, np.float64)
        return block_distances(a, a if itself else second.read(j, np.float64))
    rows, columns = np.nonzero(squared < reach)
    A, B = first.raw(i), second.raw(j)
    for start in range(0, len(rows), PAIRS):
        r, c = rows[start : start + PAIRS], columns[start : start + PAIRS]
        difference = np.subtract(A[r], B[c], dtype=np.float64)
        squared[r, c] = np.einsum("ij,ij->i", difference, difference)
    return squared
