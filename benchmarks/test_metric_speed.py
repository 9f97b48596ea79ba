"""Is the suite of metrics faster than plain scikit-learn, SciPy and scanpy, and small in memory?

Needs no model: `pytest benchmarks -m speed -s`. Both sides compute the same definitions on the
same cells, in turns within one process, so that whatever else the machine does meets both; the
best round counts. `docs/speed.md` keeps the figures.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from reconeval.benchmarks.plain_metrics import GENES, N_GENES, PLAIN, Cells
from reconeval.metrics import METRICS
from reconeval.metrics.gene_sets import GeneSets
from reconeval.metrics.perturbational import PerturbationPair, PerturbationTruth
from reconeval.metrics.registry import score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.speed

N_CELLS, ROUNDS = 5000, 5
MANY_CELLS = 20_000
N_SETS, SET_SIZE, N_SIGNATURES, SIGNATURE_SIZE, N_MARKERS = 50, 150, 43, 30, 50

PEAK = """
import sys
import numpy as np
from reconeval.benchmarks import test_metric_speed as speed
from reconeval.timing import Usage
cells = speed.Cells(*(np.load(f"{sys.argv[1]}/{name}.npy") for name in speed.Cells._fields))
sets = speed.gene_sets()
with Usage(interval=0.002) as usage:
    pair = speed.PerturbationPair(speed.prepare(cells, sets), cells.prediction)
    for name in speed.SUITE:
        speed.by_reconeval(name, pair)
print(usage.peak_rss_mb)
"""


def draw_cells(n_cells: int) -> Cells:
    """Draw sparse cells of 20 types whose genes move in programmes, and a smooth prediction."""
    rng = np.random.default_rng(0)
    types = rng.gamma(0.15, 2.0, (20, N_GENES))
    loadings = rng.normal(0, 0.6, (8, N_GENES))
    response = np.exp(rng.normal(0, 0.5, N_GENES) * (rng.random(N_GENES) < 0.2))

    def measure(factor: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        rates = types[rng.integers(0, len(types), n_cells)]
        rates *= np.exp(rng.normal(size=(n_cells, len(loadings))) @ loadings) * factor
        rates *= 2000 / rates.sum(axis=1, keepdims=True)
        counts = rng.poisson(rates).astype(np.float32)
        scale = 1e4 / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        return np.log1p(counts * scale), rates

    truth, rates = measure(response)
    prediction = 0.6 * np.log1p(5 * rates) + rng.normal(0, 0.05, rates.shape)
    return Cells(truth, prediction.astype(np.float32), measure(1.0)[0])


def gene_sets() -> dict[str, Any]:
    """Draw the sets of co-expression, the signatures and the markers of the cell cycle."""
    rng = np.random.default_rng(1)

    def draw(size: int) -> list[str]:
        return [GENES[i] for i in rng.choice(N_GENES, size, replace=False)]

    return {
        "_hallmark": {f"set {i}": draw(SET_SIZE) for i in range(N_SETS)},
        "_cytokine_programmes": {f"s {i}": draw(SIGNATURE_SIZE) for i in range(N_SIGNATURES)},
        "_cell_cycle_genes": (draw(N_MARKERS), draw(N_MARKERS)),
    }


SUITE = tuple(PLAIN)


def by_reconeval(name: str, pair: PerturbationPair) -> float:
    return score(METRICS[name], pair).value


def prepare(cells: Cells, sets: dict[str, Any]) -> PerturbationTruth:
    s_genes, g2m_genes = sets["_cell_cycle_genes"]
    drawn = GeneSets(
        s_genes=s_genes,
        g2m_genes=g2m_genes,
        gene_sets=sets["_hallmark"],
        cytokine_dict=sets["_cytokine_programmes"],
    )
    return PerturbationTruth(
        cells.truth,
        GENES,
        perturbations=["perturbed"] * len(cells.truth),
        reference=cells.reference,
        gene_sets=drawn,
    )


class Figures(NamedTuple):
    """Values of both sides, and each metric's least seconds."""

    expected: dict[str, float]
    got: dict[str, float]
    plain: dict[str, float]
    pair: dict[str, float]
    further: dict[str, float]

    def times_faster(self, *names: str, further: bool = False) -> float:
        """Return how many times faster than plain calls some metrics are, together."""
        ours = self.further if further else self.pair
        return sum(self.plain[name] for name in names) / sum(ours[name] for name in names)


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    found = Figures(*(dict.fromkeys(SUITE, np.inf) for _ in Figures._fields))

    def clock(best: dict[str, float], name: str, compute: Callable[[], float]) -> float:
        start = perf_counter()
        value = compute()
        best[name] = min(best[name], perf_counter() - start)
        return value

    def one_round(cells: Cells, sets: dict[str, Any]) -> None:
        truth = prepare(cells, sets)
        pairs = [PerturbationPair(truth, cells.prediction) for _ in range(2)]
        for name, compute in PLAIN.items():
            found.expected[name] = clock(found.plain, name, lambda: compute(cells, sets))  # noqa: B023
            # The second pair finds the truth prepared, as a further model does.
            for best, pair in zip((found.pair, found.further), pairs, strict=True):
                found.got[name] = clock(best, name, lambda: by_reconeval(name, pair))  # noqa: B023

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's, of what it will change one day
        sets = gene_sets()
        cells = draw_cells(N_CELLS)
        one_round(Cells(*(part[:200] for part in cells)), sets)  # loads the libraries
        for seconds in found[2:]:
            seconds.update(dict.fromkeys(SUITE, np.inf))
        for _ in range(ROUNDS):
            one_round(cells, sets)
        report(found)
        yield found


def report(found: Figures) -> None:
    print(f"\n{'metric':34}{'plain':>8}{'pair':>8}{'further':>9}  seconds")
    for name in SUITE:
        print(f"{name:34}{found.plain[name]:8.2f}{found.pair[name]:8.2f}{found.further[name]:9.2f}")
    totals = (sum(seconds.values()) for seconds in found[2:])
    print("{:34}{:8.2f}{:8.2f}{:9.2f}".format("all", *totals))


def test_both_sides_compute_the_same(figures: Figures) -> None:
    assert figures.got == pytest.approx(figures.expected, rel=1e-4)


@pytest.mark.parametrize(
    ("names", "further", "least"),
    [
        pytest.param(SUITE, False, 6, id="suite"),
        pytest.param(SUITE, True, 10, id="suite-further-model"),
        pytest.param(("coexpression",), False, 8, id="coexpression"),
        pytest.param(("cytokine",), False, 20, id="cytokine"),
        pytest.param(("deg_dice_at_100",), False, 6, id="deg"),
    ],
)
def test_times_faster_than_plain_calls(
    figures: Figures,
    record_property: Callable[[str, object], None],
    names: tuple[str, ...],
    further: bool,  # noqa: FBT001  (a parameter of the test)
    least: float,
) -> None:
    factor = figures.times_faster(*names, further=further)
    record_property("times_faster", f"{factor:.1f}")
    print(f"{factor:.1f} times faster, expected {least}")
    assert factor >= least


def test_memory_is_bounded_by_the_input(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """All of a process of its own, Python and its libraries included."""
    cells = draw_cells(MANY_CELLS)
    for name, matrix in cells._asdict().items():
        np.save(tmp_path / f"{name}.npy", matrix)
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    peak, inputs = float(done.stdout), sum(matrix.nbytes for matrix in cells) / 1e6
    record_property("peak_mb", f"{peak:.0f}")
    print(f"peak {peak:.0f} MB, of which the input is {inputs:.0f} MB")
    assert inputs < peak <= 1.5 * inputs + 512
