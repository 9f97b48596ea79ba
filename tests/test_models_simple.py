from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from sklearn.decomposition import PCA

from reconeval.errors import UsageError
from reconeval.models import Mean, ReconPCA, Shuffle

MATRICES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(4, 12), st.integers(4, 6)),
    elements=st.floats(0, 8, width=32),
)


def pca() -> ReconPCA:
    return ReconPCA(n_components=3)


ALL = pytest.mark.parametrize("make", [Mean, Shuffle, pca])


@pytest.fixture
def X() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 4)) @ rng.normal(size=(4, 12)) + rng.normal(size=(60, 12))


@ALL
@given(M=MATRICES)
def test_a_cell_is_predicted_whatever_the_order_and_the_others(make, M):
    model = make()
    model.train(M)
    whole = model.predict(M)
    order = np.random.default_rng(0).permutation(len(M))
    np.testing.assert_allclose(model.predict(M[order]), whole[order], rtol=1e-5, atol=1e-5)
    alone = np.concatenate([model.predict(row[None]) for row in M])
    np.testing.assert_allclose(alone, whole, rtol=1e-5, atol=1e-5)


@ALL
def test_prediction_is_float32_of_the_inputs_shape_and_leaves_it_alone(make, X):
    model = make()
    X.setflags(write=False)
    before = X.copy()
    model.train(X)
    out = model.predict(X)
    assert out.dtype == np.float32
    assert out.shape == X.shape
    assert out.flags.writeable
    assert np.array_equal(X, before)
    assert model.predict(X[:0]).shape == (0, 12)


@ALL
def test_sparse_and_float32_input_equal_dense_float64(make, X):
    model = make()
    model.train(sparse.csr_matrix(X))
    np.testing.assert_allclose(model.predict(sparse.csr_matrix(X)), model.predict(X))
    np.testing.assert_allclose(model.predict(X.astype(np.float32)), model.predict(X))


@ALL
def test_training_again_starts_afresh(make, X):
    twice, once = make(), make()
    twice.train(X[:30] + 5)
    twice.train(X[30:])
    once.train(X[30:])
    assert np.array_equal(twice.predict(X), once.predict(X))


@ALL
def test_save_and_load_give_the_same_predictions(make, X, tmp_path):
    model = make()
    model.train(X)
    model.save(tmp_path / "model")
    model.save(tmp_path / "model")  # replaces the file
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert np.array_equal(type(model).load(tmp_path / "model").predict(X), model.predict(X))


@ALL
def test_use_before_training_fails_clearly(make, X, tmp_path):
    with pytest.raises(RuntimeError, match=r"is not trained: call train\(X\) first"):
        make().predict(X)
    with pytest.raises(RuntimeError, match="is not trained"):
        make().save(tmp_path / "model")


@ALL
def test_other_genes_and_bad_values_are_refused(make, X):
    model = make()
    model.train(X)
    with pytest.raises(UsageError, match="has 11 columns, expected 12"):
        model.predict(X[:, 1:])
    X[3, 4] = np.inf
    with pytest.raises(UsageError, match="NaN, infinite"):
        model.predict(X)


def test_load_refuses_what_is_not_its_own(X, tmp_path):
    model = Mean()
    model.train(X)
    model.save(tmp_path / "mean")
    (tmp_path / "broken").write_bytes(b"not a model")
    with pytest.raises(UsageError, match="holds Mean, expected ReconPCA"):
        ReconPCA.load(tmp_path / "mean")
    with pytest.raises(UsageError, match="cannot read"):
        Mean.load(tmp_path / "broken")
    with pytest.raises(UsageError, match="cannot read"):
        Mean.load(tmp_path / "missing")


def test_mean_is_the_training_mean(X):
    model = Mean()
    model.train(X)
    np.testing.assert_allclose(
        model.predict(X[:3] * 100), np.stack([X.mean(axis=0)] * 3), rtol=1e-5, atol=1e-6
    )


def test_pca_agrees_with_scikit_learn(X):
    model = ReconPCA(n_components=5)
    model.train(X[:40])
    other = PCA(5, svd_solver="full").fit(X[:40])
    expected = other.inverse_transform(other.transform(X))
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-5)
    latent = model.get_latent_representation(X)
    np.testing.assert_allclose(latent, other.transform(X), rtol=1e-4, atol=1e-5)
    assert np.array_equal(model.decode(latent), model.predict(X))


def test_pca_projects_on_the_leading_singular_vectors(X):
    model = ReconPCA(n_components=2)
    model.train(X)
    centred = X - X.mean(axis=0)
    _, _, V = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ V[:2].T @ V[:2] + X.mean(axis=0)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-5)


def test_pca_with_all_components_is_the_identity(X):
    model = ReconPCA(n_components=12)
    model.train(X)
    np.testing.assert_allclose(model.predict(X), X, rtol=1e-4, atol=1e-5)


def test_pca_refuses_more_components_than_there_are():
    with pytest.raises(UsageError, match="n_components=9 is more than 8 cells x 20 genes allow"):
        ReconPCA(n_components=9).train(np.ones((8, 20)))
    with pytest.raises(UsageError, match="at least 1, got 0"):
        ReconPCA(n_components=0)


@given(M=MATRICES)
def test_shuffle_gives_training_cells_that_differ_from_the_input(M):
    model = Shuffle()
    model.train(M)
    distinct = len(np.unique(M + 0.0, axis=0)) > 1
    for cell, drawn in zip(M, model.predict(M), strict=True):
        assert (drawn == M).all(axis=1).any()
        assert not distinct or (cell != drawn).any()


def test_shuffle_uses_all_cells_about_equally():
    X = np.arange(2000, dtype=np.float32)[:, None]
    model = Shuffle(seed=3)
    model.train(X[:10])
    drawn, counts = np.unique(model.predict(X[10:]), return_counts=True)
    assert len(drawn) == 10
    assert counts.min() > 140  # 199 expected, standard deviation 13
    assert counts.max() < 260


def test_shuffle_draws_differ_between_seeds(X):
    models = [Shuffle(seed=0), Shuffle(seed=1)]
    for model in models:
        model.train(X)
    assert not np.array_equal(models[0].predict(X), models[1].predict(X))


def test_shuffle_remembers_cells_of_its_own(X):
    cells = X.astype(np.float32)
    model = Shuffle()
    model.train(cells)
    before = model.predict(X)
    cells[:] = 0
    assert np.array_equal(model.predict(X), before)


def test_shuffle_needs_a_cell():
    with pytest.raises(UsageError, match="X has no cells"):
        Shuffle().train(np.empty((0, 3)))


def test_the_package_loads_models_on_first_use():
    code = (
        "import sys, reconeval.models as m; heavy = {'torch', 'lightning', 'sklearn', 'scipy'}; "
        "assert not heavy & set(sys.modules); assert m.__all__ == sorted(m.__all__); "
        "m.Mean, m.Shuffle, m.ReconPCA; assert not heavy & set(sys.modules); "
        "assert set(m.__all__) <= set(dir(m)); import models; assert models.ReconAE is m.ReconAE"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name",
    [
        *("models.mean", "models.shuffle", "models.reconae", "datamodule"),
        *("models.mlp_decoder", "models.transformer_decoder", "models.knn_decoder"),
    ],
)
def test_the_examples_in_the_docstrings_hold(name):
    outcome = doctest.testmod(importlib.import_module(f"reconeval.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_an_unknown_model_is_an_attribute_error():
    import reconeval.models

    with pytest.raises(AttributeError, match="has no attribute 'Medain'"):
        reconeval.models.Medain
