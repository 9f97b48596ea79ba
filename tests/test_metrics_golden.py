"""Figures that plain calls of scikit-learn, SciPy and scanpy gave for real data."""

import json
import re

import anndata
import numpy as np
import pytest
from sklearn.decomposition import PCA

from reconeval.metrics import Pair, Truth, get_metric, score
from tests.conftest import ROOT, data_file

GOLDEN = ROOT.parent / "shared" / "golden"
NAMES = {"r2": "r2", "mse": "mse", "energy_distance": "energy_distance"}
NAMES |= {"mmd_rbf": "mmd_rbf_gamma_1"}


def pair_of(recipe):
    """Truth and prediction as a recipe says."""
    adata = anndata.read_h5ad(data_file(recipe["data"]))
    counts = adata.X.toarray().astype(np.float64)
    X = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
    n_genes = int(re.search(r"the (\d+) genes of highest variance", recipe["genes"])[1])
    variances = X.astype(np.float64).var(axis=0)
    X = X[:, np.sort(np.argsort(-variances, kind="stable")[:n_genes])].astype(np.float64)
    # The recipe's full decomposition, truncated: the same components, ten times sooner.
    pca = PCA(32, svd_solver="arpack", random_state=0).fit(X)
    prediction = pca.inverse_transform(pca.transform(X)).astype(np.float32)
    key, value = re.fullmatch(r"cells with (\w+) == (\w+)", recipe["truth"]).groups()
    rows = (adata.obs[key] == value).to_numpy()
    assert rows.sum() == recipe["n_truth"]
    truth = Truth(X[rows].astype(np.float32), [f"g{i}" for i in range(n_genes)])
    return Pair(truth, prediction[rows])


@pytest.mark.parametrize("name", ["immune_pca32", "kang_pca32"])
def test_golden_figures_come_out(name):
    path = GOLDEN / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"needs {name}.json in ../shared/golden")
    golden = json.loads(path.read_text())
    pair = pair_of(golden["recipe"])
    got = {figure: score(get_metric(metric), pair).value for metric, figure in NAMES.items()}
    expected = {figure: golden["figures"][figure] for figure in NAMES.values()}
    assert got == pytest.approx(expected, rel=1e-4)
