"""Golden figures, and the cells that their recipes speak of."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import anndata
import numpy as np
import pytest
from sklearn.decomposition import PCA

from reconeval.datasets import load_dataset
from tests.conftest import ROOT, data_file

if TYPE_CHECKING:
    import pandas as pd

# Those whose cells are embedded are kept here, the others beside the checkout.
FOLDERS = (ROOT / "tests" / "golden", ROOT.parent / "shared" / "golden")


class Golden(NamedTuple):
    """Figures, and what they were computed from."""

    figures: dict[str, float]
    genes: list[str]
    X: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray  # rows
    reference: np.ndarray  # rows


def golden(name: str) -> Golden:
    """Read figures and make the matrices of their recipe, or skip the test with the reason."""
    paths = [folder / f"{name}.json" for folder in FOLDERS if (folder / f"{name}.json").is_file()]
    if not paths:
        pytest.skip(f"needs {name}.json in ../shared/golden")
    document = json.loads(paths[0].read_text())
    recipe: dict[str, Any] = document["recipe"]
    n_genes = int(re.search(r"the (\d+) genes of highest variance", recipe["genes"])[1])
    counts, totals, names, obs = cells_of(recipe["data"], n_genes)
    X = np.log1p(counts / totals[:, None] * 1e4).astype(np.float32)
    variances = X.astype(np.float64).var(axis=0)
    kept = np.sort(np.argsort(-variances, kind="stable")[:n_genes])
    X = X[:, kept].astype(np.float64)
    # The recipe's full decomposition, truncated: the same components, ten times sooner. Genes
    # without a count in any cell are predicted as rounding errors, whose order sets the bins of
    # control genes: there only the recipe's own decomposition will do.
    solver = "arpack" if X.any(axis=0).all() else "full"
    pca = PCA(32, svd_solver=solver, random_state=0).fit(X)
    prediction = pca.inverse_transform(pca.transform(X)).astype(np.float32)

    def rows(cells: str) -> np.ndarray:
        key, value = re.match(r"cells with (\w+) == (\w+)", cells).groups()
        return (obs[key] == value).to_numpy()

    truth, reference = rows(recipe["truth"]), rows(recipe["reference"])
    assert (truth.sum(), reference.sum()) == (recipe["n_truth"], recipe["n_reference"])
    genes = list(names[kept])
    return Golden(document["figures"], genes, X.astype(np.float32), prediction, truth, reference)


def cells_of(data: str, n_genes: int) -> tuple[np.ndarray, np.ndarray, pd.Index[str], pd.DataFrame]:
    """Return counts, each cell's counts over all genes, gene names and labels.

    The embedded data set `immune` has all cells of `immune_counts.h5ad`, each with its counts
    over all genes, and among its genes the 2000 of highest variance.
    """
    if data == "immune_counts.h5ad" and n_genes == 2000:
        embedded = load_dataset("immune").adata
        obs = embedded.obs.rename(columns={"cell_type": "cell_type_annotations"})
        counts = embedded.layers["counts"].toarray().astype(np.float64)
        return counts, obs["total_counts"].to_numpy(dtype=np.float64), embedded.var_names, obs
    file = anndata.read_h5ad(data_file(data))
    counts = file.X.toarray().astype(np.float64)
    return counts, counts.sum(axis=1), file.var_names, file.obs
