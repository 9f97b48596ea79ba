"""The end-to-end script of the published benchmark runs here once its imports are changed."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from reconeval import InMemoryDataModule, ReconstructionModel
from reconeval.metrics import compute_statistical_metrics
from reconeval.models import Mean
from reconeval.models.reconae import ReconAE
from tests.conftest import data_file

N_CELLS, N_GENES = 500, 640


@pytest.fixture(scope="module")
def adata() -> AnnData:
    """A panel of the tutorial's size: real cells, log-normalised, dense."""
    panel = anndata.read_h5ad(data_file("pbmc68k_counts.h5ad"))[:N_CELLS, :N_GENES].copy()
    panel.X = panel.X.toarray().astype(np.float32)
    sc.pp.normalize_total(panel, target_sum=1e4)
    sc.pp.log1p(panel)
    return panel


def test_the_reference_autoencoder(adata, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    n_cells, n_genes = adata.shape
    ae = ReconAE(
        input_dim=n_genes,
        n_hidden=[128, 64],
        n_latent=16,
        distribution="normal",
        learning_rate=1e-3,
    )
    assert isinstance(ae, ReconstructionModel)
    dm = InMemoryDataModule(adata.X, batch_size=64)
    ae.train(
        datamodule=dm, max_epochs=200, accelerator="cpu", enable_progress_bar=False, logger=False
    )
    X_recon = ae.predict(adata.X)
    recon = AnnData(X_recon, var=adata.var)
    scores = compute_statistical_metrics(adata, recon)

    assert X_recon.shape == (n_cells, n_genes)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert {"r2", "mse", "energy_distance"} <= set(scores)
    assert scores["mse"] == pytest.approx(((adata.X - X_recon) ** 2).mean(), rel=1e-4)
    floor = Mean()
    floor.train(adata.X)
    assert scores["mse"] < 0.8 * ((adata.X - floor.predict(adata.X)) ** 2).mean()
    assert scores["r2"] > 0.95


def test_a_sparse_matrix_does_as_well(adata):
    ae = ReconAE(input_dim=adata.n_vars, n_hidden=[32], n_latent=8)
    X = sparse.csr_matrix(adata.X)
    ae.train(datamodule=InMemoryDataModule(X), max_epochs=2, accelerator="cpu")
    assert np.array_equal(ae.predict(X), ae.predict(adata.X))


def test_a_model_of_ones_own(adata):
    class MyModel:
        def train(self, datamodule):
            batches = [batch["X"].numpy() for batch in datamodule.train_dataloader()]
            self.mean = np.concatenate(batches).mean(axis=0)

        def predict(self, X):
            return np.tile(self.mean, (len(X), 1))

    model = MyModel()
    assert isinstance(model, ReconstructionModel)
    model.train(datamodule=InMemoryDataModule(adata.X))
    recon = AnnData(model.predict(adata.X), var=adata.var)
    assert compute_statistical_metrics(adata, recon)["r2"] > 0.99
