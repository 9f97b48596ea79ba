"""The metrics of the suite as plain calls of scikit-learn, SciPy and scanpy.

What one would write without reconeval, to time it against.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

N_GENES = 2000
GENES = [f"G{number}" for number in range(N_GENES)]


class Cells(NamedTuple):
    """Arrays of shape (n_cells, n_genes), float32, log1p of counts per 10 000."""

    truth: np.ndarray
    prediction: np.ndarray
    reference: np.ndarray


def plain_r2(cells: Cells, _: dict[str, Any]) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(cells.truth.mean(axis=0), cells.prediction.mean(axis=0)))


def plain_mse(cells: Cells, _: dict[str, Any]) -> float:
    from sklearn.metrics import mean_squared_error

    return float(mean_squared_error(cells.truth, cells.prediction))


def plain_energy(cells: Cells, _: dict[str, Any]) -> float:
    from sklearn.metrics import pairwise_distances

    X, Y = cells.truth, cells.prediction
    between, *within = (
        float(pairwise_distances(*pair).mean(dtype=np.float64)) for pair in ((X, Y), (X,), (Y,))
    )
    return 2 * between - sum(within)


def plain_mmd(cells: Cells, _: dict[str, Any]) -> float:
    from sklearn.metrics.pairwise import rbf_kernel

    X, Y = cells.truth, cells.prediction
    between, *within = (
        float(rbf_kernel(*pair, gamma=1.0).mean(dtype=np.float64)) for pair in ((X, Y), (X,), (Y,))
    )
    return sum(within) - 2 * between


def plain_knn(cells: Cells, _: dict[str, Any]) -> float:
    from sklearn.neighbors import NearestNeighbors

    pool = np.concatenate([cells.truth, cells.reference])
    nearest = NearestNeighbors(n_neighbors=20).fit(pool)
    found = nearest.kneighbors(cells.prediction, return_distance=False)
    return float((found < len(cells.truth)).mean())


def plain_cell_cycle(cells: Cells, sets: dict[str, Any]) -> float:
    import scanpy as sc

    s, g2m = sets["_cell_cycle_genes"]
    enough = (cells.truth > 0).sum(axis=0) >= 20
    kept = {gene for gene, keep in zip(GENES, enough, strict=True) if keep}
    s, g2m = ([gene for gene in markers if gene in kept] for markers in (s, g2m))
    phases = []
    for side in (cells.truth, cells.prediction):
        adata = as_adata(side)
        sc.tl.score_genes_cell_cycle(adata, s_genes=s, g2m_genes=g2m)
        phases.append(adata.obs["phase"].to_numpy().astype(str))
    return float(np.mean(phases[0] == phases[1]))


def plain_coexpression(cells: Cells, sets: dict[str, Any]) -> float:
    from scipy.stats import spearmanr

    enough = (cells.truth > 0).sum(axis=0) >= 20
    position = {gene: i for i, gene in enumerate(GENES)}
    values = []
    for genes in sets["_hallmark"].values():
        columns = [position[gene] for gene in genes if enough[position[gene]]]
        upper = np.triu_indices(len(columns), k=1)
        true, predicted = (
            spearmanr(side[:, columns]).statistic[upper] for side in (cells.truth, cells.prediction)
        )
        values.append(np.nanmean(1 - np.abs(true - predicted) / 2))
    return float(np.nanmean(values))


def plain_deg(cells: Cells, _: dict[str, Any]) -> float:
    import scanpy as sc

    tops = []
    for side in (cells.truth, cells.prediction):
        adata = as_adata(np.concatenate([side, cells.reference]))
        adata.obs["group"] = np.repeat(["cell", "reference"], [len(side), len(cells.reference)])
        adata.obs["group"] = adata.obs["group"].astype("category")
        sc.tl.rank_genes_groups(
            adata, "group", groups=["cell"], reference="reference", method="wilcoxon"
        )
        found = sc.get.rank_genes_groups_df(adata, "cell")
        significant = found[found["pvals_adj"] <= 0.05]
        order = np.argsort(-significant["logfoldchanges"].abs().to_numpy(), kind="stable")[:100]
        tops.append(set(significant["names"].to_numpy()[order]))
    return 2 * len(tops[0] & tops[1]) / (len(tops[0]) + len(tops[1]))


def plain_cytokine(cells: Cells, sets: dict[str, Any]) -> float:
    import scanpy as sc
    from scipy.stats import spearmanr

    means = []
    for side in (cells.truth, cells.prediction):
        adata = as_adata(side)
        for name, genes in sets["_cytokine_programmes"].items():
            sc.tl.score_genes(adata, genes, score_name=name)
        means.append(adata.obs[list(sets["_cytokine_programmes"])].mean().to_numpy())
    return float(spearmanr(*means).statistic)


def as_adata(X: np.ndarray) -> Any:
    import anndata
    import pandas as pd

    return anndata.AnnData(
        X, obs=pd.DataFrame(index=np.arange(len(X)).astype(str)), var=pd.DataFrame(index=GENES)
    )


PLAIN: dict[str, Callable[[Cells, dict[str, Any]], float]] = {
    "r2": plain_r2,
    "mse": plain_mse,
    "energy_distance": plain_energy,
    "mmd_rbf": plain_mmd,
    "knn_purity": plain_knn,
    "cellcycle_proportion_same_phase": plain_cell_cycle,
    "coexpression": plain_coexpression,
    "deg_dice_at_100": plain_deg,
    "cytokine": plain_cytokine,
}
