"""Transformers of scikit-learn run as they are."""

import numpy as np
import pytest
from sklearn.decomposition import NMF, PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError

from reconeval.adapters import adapt
from reconeval.contract import ReconstructionSubject, checks, run_check
from reconeval.errors import UsageError
from reconeval.inputs import Inputs
from reconeval.offers import TrainingData, constructor_offers, train_offers
from reconeval.protocols import ReconstructionModel
from reconeval.spec import parse_models
from tests.conftest import data_file


@pytest.fixture(scope="module")
def cells():
    """Real cells, log1p of counts per 10 000, in a seeded order."""
    import anndata
    import scanpy as sc

    adata = anndata.read_h5ad(data_file("pbmc68k_counts.h5ad"))
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    X = adata.X.toarray() if hasattr(adata.X, "toarray") else np.asarray(adata.X)
    rows = np.random.default_rng(0).permutation(len(X))[:320]
    X = X[rows].astype(np.float32)
    return TrainingData(X=X[:256], genes=tuple(adata.var_names)), X[256:]


def built(text, n_genes=5):
    (spec,) = parse_models([text])
    return spec, spec.build(constructor_offers(n_genes=n_genes, seed=3))


class TestAdapter:
    """What an adapted class is and does."""

    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    @pytest.mark.parametrize(
        ("cls", "settings"), [(PCA, {}), (NMF, {"max_iter": 20}), (TruncatedSVD, {"n_iter": 3})]
    )
    def test_predicts_the_inverse_transform_of_the_transform(self, cells, cls, settings):
        data, X = cells
        text = "".join(f"&{key}={value}" for key, value in settings.items())
        spec, model = built(f"sklearn.decomposition:{cls.__name__}?n_components=8{text}")
        spec.train(model, train_offers(data, seed=3))
        fitted = cls(n_components=8, random_state=3, **settings).fit(data.X)
        expected = fitted.inverse_transform(fitted.transform(X))
        got = model.predict(X)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        latent = model.get_latent_representation(X)
        assert latent.shape == (len(X), 8)
        np.testing.assert_array_equal(model.decode(latent), got)

    def test_takes_the_settings_of_the_class(self):
        spec, model = built("sklearn.decomposition:PCA?n_components=2&whiten=true")
        assert isinstance(model, ReconstructionModel)
        assert spec.task == "end_to_end"
        settings = model.estimator.get_params()
        assert (settings["n_components"], settings["whiten"]) == (2, True)
        assert settings["random_state"] == 3

    def test_an_explicit_random_state_wins(self):
        _, model = built("sklearn.decomposition:PCA?random_state=11")
        assert model.estimator.random_state == 11

    def test_raises_what_scikit_learn_raises_before_training(self):
        with pytest.raises(NotFittedError):
            built("sklearn.decomposition:PCA")[1].predict(np.ones((2, 5), np.float32))

    def test_a_factory_of_a_transformer_is_adapted_too(self, tmp_path):
        (tmp_path / "scaled_pca.py").write_text(
            "from sklearn.decomposition import PCA\n"
            "from sklearn.pipeline import Pipeline, make_pipeline\n"
            "from sklearn.preprocessing import StandardScaler\n"
            "def scaled(n=2, random_state=0) -> Pipeline:\n"
            "    return make_pipeline(StandardScaler(), PCA(n, random_state=random_state))\n"
        )
        spec, model = built(f"{tmp_path}/scaled_pca.py:scaled?n=3")
        X = np.random.default_rng(0).random((20, 5), dtype=np.float32)
        spec.train(model, train_offers(TrainingData(X=X, genes=tuple("abcde")), seed=0))
        assert spec.id == "scaled+n:3"
        assert model.get_latent_representation(X).shape == (20, 3)
        assert model.estimator[-1].random_state == 3
        assert model.predict(X).shape == X.shape


class TestChoice:
    """What is adapted is seen from the methods."""

    def test_a_model_is_left_alone(self):
        class Model:
            def fit(self, X): ...
            def train(self, X): ...
            def predict(self, X): ...

        assert adapt(Model) is None

    def test_other_classes_are_no_ones(self):
        assert adapt(dict) is None

    @pytest.mark.parametrize(
        ("text", "missing"),
        [
            ("sklearn.manifold:TSNE", "no transform and no inverse_transform"),
            ("sklearn.cluster:KMeans", "no inverse_transform"),
            ("sklearn.linear_model:Ridge", "no transform and no inverse_transform"),
        ],
    )
    def test_no_way_back_is_refused_in_one_line(self, text, missing):
        with pytest.raises(UsageError) as caught:
            parse_models([text])
        assert f"--model {text}: " in str(caught.value)
        assert f"has fit but {missing}; " in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PCA?n_components=8", set()),
        ("TruncatedSVD?n_components=8", set()),
        ("NMF?n_components=8&max_iter=50", {"batch_composition", "other_cells"}),
    ],
)
def test_holds_to_the_contract_on_real_cells(cells, text, expected):
    (spec,) = parse_models([f"sklearn.decomposition:{text}"])
    data, X = cells
    subject = ReconstructionSubject(spec, data, Inputs({"X": X}))
    outcomes = {check.name: run_check(check, subject) for check in checks()}
    excepted = {name for name, outcome in outcomes.items() if outcome.status == "excepted"}
    assert [o for o in outcomes.values() if o.status == "failed"] == []
    assert excepted == expected
    assert outcomes["sparse_input"].status in {"passed", "not offered"}
    assert outcomes["save_load"].status == "not offered"
