"""Sums of distances and of RBF kernels over all pairs of cells, block by block.

The squared distances of a block of pairs come from one float32 matrix product and serve the
distance and every kernel; no matrix of all pairs is ever held. Sums run in float64. All but the
product is NumPy on one core: a hundredth of the time, and threads that meet at each of these
short steps cost far more on a machine that does other work, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconeval._typing import FloatArray

__all__ = ["PairSums", "pair_sums"]

# ‖a‖² + ‖b‖² - 2ab in float32 is off by at most ERROR · (‖a‖² + ‖b‖²): 8 half-ulps is the
# largest error seen over 2000 genes. Where that is more than TOLERANCE of a squared distance, or
# of the exponent of a kernel above exp(-REACH), the block is computed again in float64.
ERROR = 4 * float(np.finfo(np.float32).eps)
TOLERANCE = 1e-4
REACH = 25.0


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
    block: int = 768,
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
    totals = np.zeros(1 + len(gammas))
    sharpest = max(gammas, default=0.0)
    blocks = _squared_distance_blocks(A, B, gamma=sharpest, exact=exact, block=block)
    for squared, weight in blocks:
        for number, gamma in enumerate(gammas, start=1):
            kernel = np.multiply(squared, -gamma, dtype=squared.dtype)
            totals[number] += weight * np.exp(kernel, out=kernel).sum(dtype=np.float64)
        totals[0] += weight * np.sqrt(squared, out=squared).sum(dtype=np.float64)
    n, m = len(A), len(A if B is None else B)
    return PairSums(n * m, n if B is None else 0, float(totals[0]), tuple(totals[1:].tolist()))


def _squared_distance_blocks(
    A: FloatArray, B: FloatArray | None, *, gamma: float, exact: bool, block: int
) -> Iterator[tuple[FloatArray, int]]:
    """Yield squared distances of blocks of pairs, and how often each block counts."""
    first = _Centred(A, A.mean(axis=0, dtype=np.float64), block)
    second = first if B is None else _Centred(B, first.centre, block)
    dtype = np.float64 if exact else np.float32
    for i in range(first.blocks):
        a = first.read(i, dtype)
        for j in range(i if B is None else 0, second.blocks):
            itself = B is None and i == j
            squared, norm = _squared_distances(a, a if itself else second.read(j, dtype))
            if not exact and _is_coarse(squared, norm, gamma, itself=itself):
                a64 = first.read(i, np.float64)
                squared, _ = _squared_distances(a64, a64 if itself else second.read(j, np.float64))
            yield squared, 2 if B is None and not itself else 1


class _Block(NamedTuple):
    """Rows of a matrix, less a centre, and their squared norms in float64."""

    rows: FloatArray
    norms: FloatArray


class _Centred:
    """Reads a matrix in blocks of rows, less a centre.

    Without the centre, the mean expression would be most of the norms and cost digits. Blocks
    are centred anew each time, which costs little beside their products and holds no copy of
    the matrix.
    """

    def __init__(self, matrix: FloatArray, centre: FloatArray, block: int) -> None:
        self.matrix = matrix
        self.centre = centre
        self.block = block
        self.blocks = -(-len(matrix) // block)

    def read(self, i: int, dtype: type[np.floating[Any]]) -> _Block:
        rows = self.matrix[i * self.block : (i + 1) * self.block]
        rows = rows - self.centre.astype(np.result_type(rows, dtype))
        rows = rows.astype(dtype, copy=False)
        return _Block(rows, np.einsum("ij,ij->i", rows, rows, dtype=np.float64))


def _squared_distances(a: _Block, b: _Block) -> tuple[FloatArray, float]:
    """Squared distances of all rows, at least 0, and the largest sum of two squared norms."""
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
    return squared, float(a.norms.max() + b.norms.max())


def _is_coarse(squared: FloatArray, norm: float, gamma: float, *, itself: bool) -> bool:
    """Whether rounding in float32 may matter to a pair of the block."""
    if itself:
        n = len(squared)
        if n == 1:
            return False
        # A cell and itself are exactly 0 apart. Read in rows one longer, without its last entry,
        # the matrix has its diagonal in the first column: look at the others.
        nearest = float(squared.ravel()[:-1].reshape(n - 1, n + 1)[:, 1:].min())
    else:
        nearest = float(squared.min())
    error = ERROR * norm
    return error > TOLERANCE * nearest or (error * gamma > TOLERANCE and nearest * gamma < REACH)
