"""Figures that plain calls of SciPy, scanpy and decoupler gave for real data."""

import doctest
import importlib
import json
import pkgutil
import re

import anndata
import numpy as np
import pytest
from sklearn.decomposition import PCA

from reconeval.metrics import biological
from reconeval.metrics.biological.table import BIOLOGICAL
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.registry import score
from tests.conftest import ROOT, data_file

GOLDEN = ROOT.parent / "shared" / "golden"


def pair_of(recipe):
    """Truth, prediction and reference as a recipe says."""
    adata = anndata.read_h5ad(data_file(recipe["data"]))
    counts = adata.X.toarray().astype(np.float64)
    X = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
    n_genes = int(re.search(r"the (\d+) genes of highest variance", recipe["genes"])[1])
    variances = X.astype(np.float64).var(axis=0)
    kept = np.sort(np.argsort(-variances, kind="stable")[:n_genes])
    X = X[:, kept].astype(np.float64)
    # Genes without a count in any cell are predicted as rounding errors, whose order sets the
    # bins of control genes: there only the recipe's own decomposition will do.
    solver = "arpack" if X.any(axis=0).all() else "full"
    pca = PCA(32, svd_solver=solver, random_state=0).fit(X)
    Y = pca.inverse_transform(pca.transform(X)).astype(np.float32)

    def rows(cells):
        key, value = re.match(r"cells with (\w+) == (\w+)", cells).groups()
        return (adata.obs[key] == value).to_numpy()

    cells, controls = rows(recipe["truth"]), rows(recipe["reference"])
    assert (cells.sum(), controls.sum()) == (recipe["n_truth"], recipe["n_reference"])
    X = X.astype(np.float32)
    truth = Truth(X[cells], adata.var_names[kept], reference=X[controls])
    return Pair(truth, Y[cells], reference_prediction=Y[controls])


@pytest.mark.parametrize("name", ["immune_pca32", "kang_pca32", "immune_allgenes_pca32"])
def test_golden_figures_come_out(name):
    path = GOLDEN / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"needs {name}.json in ../shared/golden")
    golden = json.loads(path.read_text())
    pair = pair_of(golden["recipe"])
    figures = golden["figures"]
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
