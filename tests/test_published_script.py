"""A script for the published package runs here after its import line is changed."""

from __future__ import annotations

import importlib.util
import math

import pandas as pd
import pytest

from reconeval import metrics
from reconeval.datasets import load_dataset
from reconeval.resources import load_cell_cycle_genes, load_cytokine_programmes

THEIRS = "from sc_reconstruction.metrics import ("
OURS = "from reconeval.metrics import ("

SCRIPT = """
from sc_reconstruction.metrics import (
    HIGHER_IS_BETTER,
    aggregate_rank_percentile,
    compute_all_metrics,
    compute_biological_metrics,
    compute_perturbational_metrics,
    compute_statistical_metrics,
    funky_heatmap,
    load_cell_cycle_genes,
    load_cytokine_dict_from_csv,
    load_progeny,
    metric_cellcycle,
    metric_coexpression,
    metric_cytokine,
    metric_deg,
    metric_energy_distance,
    metric_knn_purity,
    metric_mse,
    metric_pathway,
    metric_r2,
)

import numpy as np
import pandas as pd
from anndata import AnnData
from sklearn.decomposition import PCA

# Two models of different size reconstruct all cells; CD8 T cells are compared with CD4 T cells.
X = np.asarray(adata.X.todense()) if hasattr(adata.X, "todense") else np.asarray(adata.X)
is_ctrl = (adata.obs["cell_type"] == "CD4_T").to_numpy()
is_pert = (adata.obs["cell_type"] == "CD8_T").to_numpy()
ctrl, true = adata[is_ctrl].copy(), adata[is_pert].copy()

s_genes, g2m_genes = load_cell_cycle_genes("regev_lab_cell_cycle_genes.txt")
cytokines = load_cytokine_dict_from_csv("cytokines.csv")
progeny = load_progeny()
hallmark = {"G2M": g2m_genes, "S": s_genes}

scores, single = {}, {}
for method, n_components in (("ReconPCA-4", 4), ("ReconPCA-32", 32)):
    pca = PCA(n_components, random_state=0).fit(X)
    latent = pca.transform(X)
    recon = pca.inverse_transform(latent).astype(np.float32)
    pred = AnnData(recon[is_pert], obs=true.obs, var=adata.var)
    ctrl_pred = AnnData(recon[is_ctrl], obs=ctrl.obs, var=adata.var)
    for cells, mask in ((true, is_pert), (pred, is_pert), (ctrl, is_ctrl)):
        cells.obsm["X_fm"] = latent[mask]

    row = dict(compute_statistical_metrics(true, pred))
    row.update(
        compute_biological_metrics(
            true,
            pred,
            ctrl,
            ctrl_pred,
            s_genes=s_genes,
            g2m_genes=g2m_genes,
            net=progeny,
            cytokine_dict=cytokines,
        )
    )
    row.update(
        compute_perturbational_metrics(
            adata_pred=pred, adata_pert_true=true, adata_ctrl=ctrl, use_rep="X_fm"
        )
    )
    scores[method] = row
    single[method] = {
        "r2": metric_r2(true, pred),
        "mse": metric_mse(true, pred),
        "energy_distance": metric_energy_distance(true, pred),
        **metric_cellcycle(true, pred, s_genes=s_genes, g2m_genes=g2m_genes),
        "coexpression_of_phases": metric_coexpression(true, pred, gene_sets=hallmark),
        "pathway": metric_pathway(true, pred, net=progeny),
        **metric_deg(true, pred, ctrl, ctrl_pred, k=100),
        "cytokine": metric_cytokine(true, pred, cytokine_dict=cytokines),
        "knn_purity": metric_knn_purity(
            adata_pred=pred, adata_pert_true=true, adata_ctrl=ctrl, k=20, use_rep="X_fm"
        ),
    }
everything = compute_all_metrics(true, pred, ctrl)

table = pd.DataFrame.from_dict(scores, orient="index")
directions = {name: HIGHER_IS_BETTER[name] for name in table.columns}
ranking = aggregate_rank_percentile(table)
figure = funky_heatmap(table)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the two files that such a script brings along."""
    s, g2m = load_cell_cycle_genes()
    (tmp_path / "regev_lab_cell_cycle_genes.txt").write_text("\n".join([*s, *g2m]))
    pairs = [(name, gene) for name, genes in load_cytokine_programmes().items() for gene in genes]
    immune = pd.DataFrame(pairs, columns=["Cytokine_Str", "Gene"])
    immune.assign(Celltype_Str="T_cell", FDR=0.01, Avg_log2FC=1.0).to_csv(
        tmp_path / "cytokines.csv", index=False
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_script_is_one_for_another_package():
    assert importlib.util.find_spec("sc_reconstruction") is None
    assert SCRIPT.count("sc_reconstruction") == SCRIPT.count(THEIRS) == 1


@pytest.mark.filterwarnings("ignore:discrimination_")  # there is one perturbation
def test_the_script_runs_with_one_line_changed(folder):
    space = {"adata": load_dataset("immune").adata.copy()}
    exec(compile(SCRIPT.replace(THEIRS, OURS), "script", "exec"), space)
    for method, row in space["scores"].items():
        assert all(math.isfinite(value) for value in row.values()), row
        shared = {name: v for name, v in space["single"][method].items() if name in row}
        assert len(shared) > 10
        assert shared == pytest.approx({name: row[name] for name in shared}, rel=1e-6)
    small, large = (space["scores"][name] for name in ("ReconPCA-4", "ReconPCA-32"))
    assert large["mse"] < small["mse"]
    assert large["pathway"] > small["pathway"]
    shared = {name: v for name, v in space["everything"].items() if name in ("r2", "mse")}
    assert shared == pytest.approx({name: large[name] for name in shared}, rel=1e-6)
    assert len(space["everything"]) > 20
    assert space["directions"]["r2"] is True
    assert space["directions"]["mse"] is False
    assert space["ranking"]["overall"].between(0, 1).all()
    assert len(space["figure"].axes) > 0


def test_every_published_name_is_public():
    names = SCRIPT.split(THEIRS)[1].split(")", maxsplit=1)[0].replace(",", " ").split()
    assert len(names) == 19
    assert set(names) <= set(metrics.__all__)
