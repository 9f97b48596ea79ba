"""Figures that plain calls of scikit-learn, SciPy and scanpy gave for real data."""

import pytest

from reconeval.metrics import Pair, Truth, get_metric, score
from tests.golden_cells import FOLDERS, golden

NAMES = {"r2": "r2", "mse": "mse", "energy_distance": "energy_distance"}
NAMES |= {"mmd_rbf": "mmd_rbf_gamma_1"}


def test_figures_of_embedded_cells_need_no_other_files():
    assert (FOLDERS[0] / "immune_pca32.json").is_file()


@pytest.mark.parametrize("name", ["immune_pca32", "kang_pca32"])
def test_golden_figures_come_out(name):
    case = golden(name)
    pair = Pair(Truth(case.X[case.truth], case.genes), case.prediction[case.truth])
    got = {figure: score(get_metric(metric), pair).value for metric, figure in NAMES.items()}
    expected = {figure: case.figures[figure] for figure in NAMES.values()}
    assert got == pytest.approx(expected, rel=1e-4)
