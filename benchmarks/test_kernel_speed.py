"""Are energy distance and MMD faster and smaller than the matrices that they stand for?

Needs no model: `pytest benchmarks -m speed`. Both sides run in turns within one process, so that
whatever else the machine does meets both; the best of five rounds counts.
"""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reconeval.metrics.two_sample import two_sample

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.speed

N_CELLS, N_GENES, GAMMA, ROUNDS = 5000, 2000, 1.0, 5
MATRIX_MB = N_CELLS**2 * 8 / 1e6

PEAK = """
import sys
import numpy as np
from reconeval.metrics.two_sample import two_sample
from reconeval.timing import Usage
X, Y = (np.load(f"{sys.argv[1]}/{name}.npy") for name in "XY")
two_sample(X[:8], Y[:8], gammas=[1.0])  # loads the libraries
with Usage(interval=0.0) as nothing:
    pass
with Usage(interval=0.001) as usage:
    two_sample(X, Y, gammas=[1.0])
print(usage.peak_rss_mb - nothing.peak_rss_mb)
"""


def cells() -> tuple[np.ndarray, np.ndarray]:
    """Return log1p counts of 20 cell types and a smoothed prediction of them, float32."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.3, 2.0, (20, N_GENES))[rng.integers(0, 20, N_CELLS)]
    X = np.log1p(rng.poisson(rates)).astype(np.float32)
    Y = 0.8 * np.log1p(rates) + rng.normal(0, 0.2, rates.shape)
    return X, Y.astype(np.float32)


def by_scikit_learn(X: np.ndarray, Y: np.ndarray) -> tuple[float, float]:
    from sklearn.metrics import pairwise_distances
    from sklearn.metrics.pairwise import rbf_kernel

    def mean(matrix: np.ndarray) -> float:
        return float(matrix.mean(dtype=np.float64))

    energy = 2 * mean(pairwise_distances(X, Y))
    energy -= mean(pairwise_distances(X)) + mean(pairwise_distances(Y))
    mmd = mean(rbf_kernel(X, gamma=GAMMA)) + mean(rbf_kernel(Y, gamma=GAMMA))
    return energy, mmd - 2 * mean(rbf_kernel(X, Y, gamma=GAMMA))


def by_reconeval(X: np.ndarray, Y: np.ndarray) -> tuple[float, float]:
    sample = two_sample(X, Y, gammas=[GAMMA])
    return sample.energy(), sample.mmd()


def test_energy_distance_and_mmd_are_faster_than_scikit_learn(
    record_property: pytest.RecordProperty,
) -> None:
    X, Y = cells()
    for contender in (by_scikit_learn, by_reconeval):
        contender(X[:200], Y[:200])
    seconds: dict[str, list[float]] = {"scikit_learn": [], "reconeval": []}
    for _ in range(ROUNDS):
        start = perf_counter()
        expected = by_scikit_learn(X, Y)
        seconds["scikit_learn"].append(perf_counter() - start)
        start = perf_counter()
        got = by_reconeval(X, Y)
        seconds["reconeval"].append(perf_counter() - start)
    assert got == pytest.approx(expected, rel=1e-4)
    slow, fast = min(seconds["scikit_learn"]), min(seconds["reconeval"])
    record_property("kernel_seconds", f"scikit-learn {slow:.2f}, reconeval {fast:.2f}")
    print(f"scikit-learn {slow:.2f} s, reconeval {fast:.2f} s: {slow / fast:.1f} times faster")
    assert slow >= 2.5 * fast


def test_memory_stays_below_a_quarter_of_one_matrix_of_pairs(
    tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    """In a process of its own, where no earlier peak hides this one.

    A quarter of one float64 matrix of 5000 x 5000 pairs, a twelfth of the three that are needed.
    """
    for name, matrix in zip("XY", cells(), strict=True):
        np.save(tmp_path / f"{name}.npy", matrix)
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    extra = float(done.stdout)
    record_property("kernel_extra_mb", f"{extra:.0f}")
    print(f"{extra:.0f} MB beside the input; one float64 matrix of pairs has {MATRIX_MB:.0f} MB")
    assert 0 < extra < MATRIX_MB / 4
