"""Figures that plain calls of SciPy, scanpy and decoupler gave for real data."""

import doctest
import importlib
import pkgutil

import pytest

from reconeval.metrics import biological
from reconeval.metrics.biological.table import BIOLOGICAL
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.registry import score
from tests.golden_cells import golden


@pytest.mark.parametrize("name", ["immune_pca32", "kang_pca32", "immune_allgenes_pca32"])
def test_golden_figures_come_out(name):
    case = golden(name)
    truth = Truth(case.X[case.truth], case.genes, reference=case.X[case.reference])
    prediction, reference = case.prediction[case.truth], case.prediction[case.reference]
    pair = Pair(truth, prediction, reference_prediction=reference)
    figures = case.figures
    metrics = [metric for metric in BIOLOGICAL if metric.name in figures]
    assert len(metrics) == (8 if "allgenes" in name else 6)
    got = {metric.name: score(metric, pair).value for metric in metrics}
    assert got == pytest.approx({name: figures[name] for name in got}, rel=1e-6, abs=1e-12)


def test_examples_in_the_docstrings_hold():
    n_examples = 0
    for module in pkgutil.iter_modules(biological.__path__, f"{biological.__name__}."):
        result = doctest.testmod(importlib.import_module(module.name))
        assert not result.failed, module.name
        n_examples += result.attempted
    assert n_examples >= 20
