"""Do a thousand resamples cost less than twice the metrics themselves?

Needs no model: `pytest benchmarks -m speed -s`. Both are timed in turns within one process, on a
further prediction, for which the truth is prepared, and the best round counts. Seconds are those
of the processor: what else the machine does stretches those of the clock, and not both alike.
"""

from __future__ import annotations

from time import process_time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from reconeval.benchmarks.test_metric_speed import GENES, draw_cells, gene_sets
from reconeval.intervals._resampling import deal, draw
from reconeval.intervals._table import BOOTSTRAP, CONDITIONAL, JACKKNIFE, LINEAR
from reconeval.metrics import METRICS, Pair, Truth
from reconeval.metrics.gene_sets import GeneSets
from reconeval.metrics.registry import score
from reconeval.options import N_RESAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.speed

N_CELLS, N_TYPES, ROUNDS = 1000, 5, 3
MOST = 2.0
COUNTS = ("poisson_deviance",)  # the drawn cells have none
RESAMPLED = tuple(name for name in (*BOOTSTRAP, *CONDITIONAL, *LINEAR) if name not in COUNTS)


class Seconds(NamedTuple):
    """Least seconds of each metric, and of its values in all resamples."""

    metric: dict[str, float]
    resamples: dict[str, float]


def prepare(X: np.ndarray, train: np.ndarray) -> Truth:
    sets = gene_sets()
    s_genes, g2m_genes = sets["_cell_cycle_genes"]
    drawn = GeneSets(
        s_genes=s_genes,
        g2m_genes=g2m_genes,
        gene_sets=sets["_hallmark"],
        net=network(),
        cytokine_dict=sets["_cytokine_programmes"],
    )
    types = np.array([f"type {i % N_TYPES}" for i in range(len(X))])
    return Truth(X, GENES, train=train, cell_types=types, gene_sets=drawn)


def network() -> object:
    """Draw weights of 14 pathways."""
    import pandas as pd

    rng = np.random.default_rng(2)
    rows = [
        (f"pathway {i}", gene, rng.normal())
        for i in range(14)
        for gene in rng.choice(GENES, 100, replace=False)
    ]
    return pd.DataFrame(rows, columns=["source", "target", "weight"])


@pytest.fixture(scope="module")
def seconds() -> Seconds:
    found = Seconds({}, {})
    cells = draw_cells(N_CELLS)
    truth = prepare(cells.truth, cells.reference)
    drawn = draw(N_CELLS, N_RESAMPLES, over="cells", content="speed").of()
    dealt = deal(N_CELLS, 10, labels=truth.cell_types, content="speed")

    def clock(best: dict[str, float], name: str, compute: Callable[[], object]) -> None:
        start = process_time()
        compute()
        best[name] = min(best.get(name, np.inf), process_time() - start)

    for number in range(ROUNDS + 1):
        pair = Pair(truth, cells.prediction + np.float32(number / 100))
        for name in (*RESAMPLED, *JACKKNIFE):
            clock(found.metric, name, lambda: score(METRICS[name], pair))  # noqa: B023
            function, units = (
                (JACKKNIFE[name], dealt)
                if name in JACKKNIFE
                else ({**BOOTSTRAP, **CONDITIONAL, **LINEAR}[name], drawn)
            )
            clock(found.resamples, name, lambda: function(pair, units))  # noqa: B023
        if not number:  # the first prepares the truth
            found.metric.clear()
            found.resamples.clear()
    print(f"\n{'metric':34}{'metric':>8}{'resamples':>11}  seconds")
    for name in found.metric:
        print(f"{name:34}{found.metric[name]:8.3f}{found.resamples[name]:11.3f}")
    return found


def test_resamples_cost_less_than_twice_the_metrics(
    seconds: Seconds, record_property: Callable[[str, object], None]
) -> None:
    """Of all metrics together that are computed in a thousand resamples."""
    metrics = sum(seconds.metric[name] for name in RESAMPLED)
    resamples = sum(seconds.resamples[name] for name in RESAMPLED)
    record_property("times_the_metrics", f"{resamples / metrics:.2f}")
    print(f"{resamples:.2f} s of {metrics:.2f} s: {resamples / metrics:.2f} times, at most {MOST}")
    assert resamples <= MOST * metrics
