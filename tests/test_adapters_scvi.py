"""Model classes of scvi-tools: the split they train on, and the scale they predict on."""

from __future__ import annotations

import importlib.util
import random

import numpy as np
import pandas as pd
import pytest

from reconeval.adapters.scvi import (
    find_scvi,
    latent_mean,
    per_molecule,
    posterior_log1p,
    posterior_mean,
    setup,
)
from reconeval.cases import EndToEndCase
from reconeval.datasets import load_dataset, make_split
from reconeval.errors import UsageError
from reconeval.metrics.registry import METRICS
from reconeval.models import ReconSCVI
from reconeval.offers import cells_of, train_offers, training_data
from reconeval.runs import train
from reconeval.spec import parse_models
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("scvi") is None,
    reason="needs scvi-tools: pip install 'reconeval[scvi]'",
)

QUICK = {"max_epochs": 2}
SMALL = {"n_latent": 4, "n_hidden": 16}
N_TRAIN, N_GENES = 129, 60  # with batches of 128 a single cell is left over


@pytest.fixture(scope="module")
def cells():
    """Training, validation and test cells of pbmc68k, in two batches, with 6 proteins."""
    dataset = load_dataset("pbmc68k")
    split, genes = make_split(dataset, "iid"), np.argsort(-dataset.X.var(axis=0))[:N_GENES]
    rng = np.random.default_rng(0)

    def take(rows):
        obs = pd.DataFrame(
            {
                "batch": rng.choice(["a", "b"], len(rows)),
                "cell_type": np.asarray(dataset.adata.obs["cell_type"].astype(str))[rows],
            },
            index=[f"cell{row}" for row in rows],
        )
        proteins = rng.poisson(5, size=(len(rows), 6)).astype(np.float32)
        return cells_of(
            dataset.X[np.ix_(rows, genes)],
            [dataset.genes[gene] for gene in genes],
            dataset.counts[np.ix_(rows, genes)],
            obs,
            pd.DataFrame(proteins, index=obs.index, columns=[f"p{i}" for i in range(6)]),
        )

    return take(split.train[:N_TRAIN]), take(split.val[:30]), take(split.test[:40])


def arguments(cells):
    """Return what the harness asks `predict` with."""
    return {
        "X": np.asarray(cells.X),
        "counts": np.asarray(cells.layers["counts"]),
        "obs": cells.obs[["batch"]],
        "proteins": cells.obsm["proteins"],
    }


def made(target, cells, *, options=None, **settings):
    model = find_scvi(target, where="here")(**settings)
    keys = {"batch_key": "batch", "cell_type_key": "cell_type"}
    model.train(cells[0], cells[1], **keys, **{**QUICK, **(options or {})})
    return model


@pytest.fixture(scope="module")
def scvi_model(cells):
    return made("scvi.model:SCVI", cells, **SMALL)


def test_trains_and_validates_on_the_split_of_the_harness(cells, scvi_model):
    training, val, _ = cells
    model = scvi_model.model
    assert model.train_indices.tolist() == list(range(N_TRAIN))
    assert model.validation_indices.tolist() == list(range(N_TRAIN, N_TRAIN + 30))
    assert len(model.test_indices) == 0
    registered = model.adata_manager.get_from_registry("X")
    np.testing.assert_array_equal(registered[:N_TRAIN], training.layers["counts"])
    np.testing.assert_array_equal(registered[N_TRAIN:], val.layers["counts"])
    assert model.adata_manager.get_state_registry("batch").original_key == "batch"
    assert model.adata_manager.get_state_registry("labels").original_key == "cell_type"
    assert len(model.history["elbo_validation"]) == QUICK["max_epochs"]


def test_the_harness_offers_the_cells_of_the_split():
    dataset = load_dataset("pbmc68k")
    split = make_split(dataset, "iid")
    offers = train_offers(training_data(dataset, split), seed=0)
    for name, rows in (("adata", split.train), ("val_adata", split.val)):
        np.testing.assert_array_equal(offers[name].make().layers["counts"], dataset.counts[rows])


def test_cells_are_left_as_they_are(cells, scvi_model):
    before = [part.copy() for part in cells]
    made("scvi.model:SCVI", cells, **SMALL)
    scvi_model.predict(cells[2])
    for part, copy in zip(cells, before, strict=True):
        pd.testing.assert_frame_equal(part.obs, copy.obs)
        np.testing.assert_array_equal(part.X, copy.X)
        assert list(part.uns) == []


def test_global_random_state_is_left_as_it_was(cells):
    import torch

    def states():
        drawn = np.random.get_state()[1]  # noqa: NPY002  (the state that others may draw from)
        return random.getstate(), drawn.tolist(), torch.get_rng_state().tolist()

    before = states()
    made("scvi.model:SCVI", cells, **SMALL, seed=7)
    assert states() == before


def test_a_count_is_worth_what_it_is_in_X():
    dataset = load_dataset("immune")  # 2296 of 6397 measured genes
    worth = per_molecule(dataset.X[:50], dataset.counts[:50])
    np.testing.assert_allclose(worth, 1e4 / dataset.library[:50], rtol=1e-5)
    assert per_molecule(np.zeros((1, 3)), np.zeros((1, 3))).tolist() == [0]


@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson"])
def test_predicts_the_expected_log_of_counts(cells, likelihood):
    """Against draws of counts from the decoded distribution, as scvi-tools makes them."""
    import torch

    model = made("scvi.model:SCVI", cells, **SMALL, gene_likelihood=likelihood)
    test = cells[2]
    got = model.predict(**arguments(test))
    assert got.dtype == np.float32
    assert got.shape == test.shape
    module = model.module.eval()
    counts = torch.tensor(np.asarray(test.layers["counts"]))
    batch = torch.tensor((test.obs["batch"] == "b").to_numpy().astype(int))[:, None]
    worth = torch.tensor(per_molecule(test.X, test.layers["counts"]))[:, None]
    with torch.inference_mode():
        qz, _ = module.z_encoder(torch.log1p(counts), batch)
        library = counts.sum(1, keepdim=True).log()
        px = module.generative(qz.loc, library, batch, y=torch.zeros_like(batch))["px"]
        draws = torch.log1p(px.sample((2000,)) * worth)
    spread = 5 * draws.std(0).numpy() / np.sqrt(2000) + 2e-3
    assert (np.abs(got - draws.mean(0).numpy()) < spread).mean() > 0.999
    model.rule = "log_of_mean"
    high = model.predict(**arguments(test))
    np.testing.assert_allclose(high, np.log1p((px.mean * worth).numpy()), atol=1e-4)
    assert (got <= high + 1e-4).all()


def test_log_of_mean_is_the_normalised_expression_of_scvi_tools(cells):
    model = made("scvi.model:SCVI", cells, **SMALL, gene_likelihood="nb", rule="log_of_mean")
    test = cells[2]
    draws = model.model.get_normalized_expression(
        test.copy(), library_size=1, n_samples=200, return_mean=True, return_numpy=True
    )
    per_ten_thousand = np.expm1(test.X).sum(axis=1, keepdims=True)
    model.n_samples = 200
    np.testing.assert_allclose(model.predict(test), np.log1p(draws * per_ten_thousand), atol=0.15)


def test_a_normal_likelihood_models_X_as_it_is(cells):
    model = made("scvi.model:SCVI", cells, **SMALL, gene_likelihood="normal")
    assert model.layer == "X"
    registered = model.model.adata_manager.get_from_registry("X")
    np.testing.assert_array_equal(registered[:N_TRAIN], cells[0].X)
    np.testing.assert_array_equal(model.predict(cells[2]), posterior_mean(model.model, cells[2]))
    alone = model.predict(cells[2].X, obs=cells[2].obs)
    np.testing.assert_array_equal(alone, model.predict(cells[2]))
    counted = made("scvi.model:SCVI", cells, **SMALL, gene_likelihood="normal", layer="counts")
    assert (counted.predict(cells[2]) >= 0).all()


def test_draws_are_averaged_and_the_same_every_time(cells, scvi_model):
    test = cells[2]
    scvi_model.n_samples = 3
    try:
        first = scvi_model.predict(**arguments(test))
        np.testing.assert_array_equal(scvi_model.predict(**arguments(test)), first)
        half = {name: value[:20] for name, value in arguments(test).items()}
        np.testing.assert_allclose(scvi_model.predict(**half), first[:20], atol=1e-5)
    finally:
        scvi_model.n_samples = 0
    assert np.abs(first - scvi_model.predict(test)).max() > 1e-3
    many = posterior_mean(scvi_model.model, test.copy(), n_samples=400)
    other = posterior_mean(scvi_model.model, test.copy(), n_samples=400, seed=1)
    np.testing.assert_allclose(many, other, rtol=0.2, atol=0.2)


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        ("scvi.model:LinearSCVI", {"n_latent": 4}),
        ("scvi.model:SCANVI", SMALL),
        ("scvi.external:TOTALANVI", SMALL),
        ("scvi.model:TOTALVI", SMALL),
        ("scvi.model:TOTALVI", {**SMALL, "gene_likelihood": "zinb"}),
        ("scvi.model:SCVI", {**SMALL, "use_observed_lib_size": False, "n_samples": 2}),
        ("scvi.model:SCVI", {**SMALL, "latent_distribution": "ln"}),
        ("drvi.model:DRVI", {"n_latent": 4, "encoder_dims": [16], "decoder_dims": [16]}),
    ],
)
def test_other_classes_train_predict_and_come_back_from_a_file(
    cells, target, settings, tmp_path, capfd
):
    package = target.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}: pip install 'reconeval[{package}]'")
    model = made(target, cells, **settings)
    given = arguments(cells[2])
    got = model.predict(**given)
    assert got.shape == cells[2].shape
    assert np.isfinite(got).all()
    assert (got >= 0).all()
    assert model.get_latent_representation(**given).shape == (40, 4)
    np.testing.assert_allclose(model.predict(cells[2]), got, atol=1e-6)
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    np.testing.assert_allclose(again.predict(**given), got, atol=1e-6)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("target", ["scvi.model:SCVI", "scvi.model:TOTALVI"])
def test_a_logistic_normal_latent_is_the_one_that_is_decoded(cells, target):
    import torch

    model = made(target, cells, **SMALL, latent_distribution="ln")
    Z = model.get_latent_representation(cells[2])
    np.testing.assert_array_equal(model.get_latent_representation(cells[2]), Z)
    half = model.get_latent_representation(cells[2][:20], batch_size=7)
    np.testing.assert_allclose(half, Z[:20], atol=1e-6)
    np.testing.assert_allclose(Z.sum(axis=1), 1, atol=1e-5)
    means, _ = model.model.get_latent_representation(
        model._cells(cells[2]), return_dist=True
    )  # of the normal distribution
    np.testing.assert_allclose(Z, torch.tensor(means).softmax(dim=-1).numpy(), atol=1e-6)


def test_a_model_of_one_batch_without_some_protein_comes_back_from_a_file(cells, tmp_path):
    parts = [part.copy() for part in cells]
    for part in parts:
        part.obsm["proteins"]["p2"] = 0.0
    for target in ("scvi.model:TOTALVI", "scvi.model:LinearSCVI"):
        model = find_scvi(target, where="here")(n_latent=4)
        model.train(parts[0], parts[1], **QUICK)
        model.save(tmp_path / "model")
        again = type(model).load(tmp_path / "model")
        np.testing.assert_allclose(again.predict(parts[2]), model.predict(parts[2]), atol=1e-6)
        if target.endswith("TOTALVI"):
            assert model.module.protein_batch_mask["0"].tolist().count(False) == 1
            assert again.get_elbo(parts[2]) == pytest.approx(model.get_elbo(parts[2]), rel=0.05)
            masks = [one.module.protein_batch_mask["0"].tolist() for one in (model, again)]
            assert masks[0] == masks[1]


def test_a_cell_without_counts_is_predicted_to_have_none(cells, scvi_model):
    empty = cells[2][:2].copy()
    empty.X[0] = 0
    empty.layers["counts"][0] = 0
    got = scvi_model.predict(empty)
    assert (got[0] == 0).all()
    np.testing.assert_allclose(got[1], scvi_model.predict(cells[2])[1], atol=1e-5)


def test_scores_have_the_signs_of_scvi_tools(cells, scvi_model):
    elbo = scvi_model.get_elbo(cells[2])
    logged = float(scvi_model.model.history["elbo_validation"].to_numpy().ravel()[-1])
    assert elbo < 0 < logged
    assert scvi_model.get_marginal_ll(cells[2], n_mc_samples=20) > elbo
    error = scvi_model.get_reconstruction_error(cells[2])
    assert 0 < error["reconstruction_loss"] < -elbo * 1.05
    assert scvi_model.get_marginal_ll(cells[2]) == scvi_model.get_marginal_ll(cells[2])


def test_trains_without_validation_cells(cells):
    for target in ("scvi.model:SCVI", "scvi.model:TOTALVI"):
        model = find_scvi(target, where="here")(**SMALL)
        model.train(cells[0], max_epochs=1)
        assert len(model.model.validation_indices) == 0
    with pytest.raises(UsageError, match="early_stopping needs validation cells"):
        model.train(cells[0], max_epochs=1, early_stopping=True)


def test_stops_early_and_says_nothing(cells, capfd):
    options = {"max_epochs": 50, "early_stopping_patience": 1, "plan_kwargs": {"lr": 0.5}}
    model = made("scvi.model:SCVI", cells, **SMALL, options=options)
    assert len(model.model.history["elbo_validation"]) < 50
    assert capfd.readouterr() == ("", "")


def test_an_unknown_batch_is_refused(cells, scvi_model):
    new = cells[2].copy()
    new.obs["batch"] = "c"
    with pytest.raises(UsageError, match=r"batch c was not in training \(knew a, b\)"):
        scvi_model.predict(new)
    with pytest.raises(UsageError, match="needs obs with batch of the cells beside X"):
        scvi_model.predict(new.X, counts=new.layers["counts"])
    with pytest.raises(UsageError, match="needs counts of the cells beside X"):
        scvi_model.predict(new.X)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"n_latnt": 3}, {}, r"SCVI\(\) takes no 'n_latnt'; did you mean n_latent\?"),
        ({"n_latent": 0}, {}, "n_latent must be at least 1, got 0"),
        ({"n_latent": 2.5}, {}, "n_latent must be a whole number of at least 1, got 2.5"),
        ({"n_latent": N_GENES + 1}, {}, "n_latent=61 is more than the 60 genes"),
        ({"gene_likelihood": "nbb"}, {}, "gene_likelihood is 'nbb', expected one of zinb, nb"),
        ({"layer": "raw"}, {}, "layer is 'raw', expected counts or X"),
        ({"rule": "mean"}, {}, "rule is 'mean', expected mean_of_log or log_of_mean"),
        ({"n_samples": -1}, {}, "n_samples must be at least 0, got -1"),
        ({}, {"max_epochs": -1}, "SCVI.train: max_epochs must be at least 1, got -1"),
        ({}, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({}, {"logger": True}, "takes no logger"),
    ],
)
def test_what_cannot_be_is_refused(cells, settings, options, message):
    with pytest.raises(UsageError, match=message):
        made("scvi.model:SCVI", cells, options=options, **settings)


def test_none_of_the_command_line_is_a_choice_of_scvi_tools():
    assert ReconSCVI(use_batch_norm=None).settings["use_batch_norm"] == "none"


def test_what_the_data_lack_is_said(cells):
    plain = cells_of(np.asarray(cells[0].X), list(cells[0].var_names))
    with pytest.raises(UsageError, match="SCVI models raw counts, which the dataset does not have"):
        find_scvi("scvi.model:SCVI", where="")().train(plain, max_epochs=1)
    counted = cells_of(np.asarray(cells[0].X), list(cells[0].var_names), np.asarray(cells[0].X))
    with pytest.raises(UsageError, match="TOTALVI models proteins, which the dataset does not"):
        find_scvi("scvi.model:TOTALVI", where="")().train(counted, max_epochs=1)
    with pytest.raises(UsageError, match="SCANVI learns from labels, which the dataset does not"):
        find_scvi("scvi.model:SCANVI", where="")().train(counted, max_epochs=1)


def test_not_trained_and_not_that_class(cells, scvi_model, tmp_path):
    model = ReconSCVI(**SMALL)
    with pytest.raises(RuntimeError, match="ReconSCVI is not trained"):
        model.predict(cells[2])
    scvi_model.save(tmp_path / "model")
    with pytest.raises(UsageError, match="holds SCVI, expected ReconSCVI"):
        ReconSCVI.load(tmp_path / "model")
    (tmp_path / "text").write_text("no model")
    with pytest.raises(UsageError, match="cannot read"):
        ReconSCVI.load(tmp_path / "text")


def test_the_steps_work_on_a_model_of_scvi_tools_itself(cells, scvi_model):
    from scvi.model import SCVI

    adata = cells[0].copy()
    setup(SCVI, adata, batch_key="batch")
    own = SCVI(adata, n_latent=3)
    own.is_trained_ = True
    worth = per_molecule(np.asarray(adata.X), np.asarray(adata.layers["counts"]))
    assert posterior_log1p(own, adata, worth).shape == adata.shape
    assert latent_mean(own, adata, batch_size=7).shape == (N_TRAIN, 3)
    np.testing.assert_allclose(
        posterior_mean(own, adata, batch_size=7), posterior_mean(own, adata), rtol=1e-3
    )


def test_verbose_brings_the_messages_back(cells, capfd):
    options = {"max_epochs": 1, "enable_progress_bar": True}
    model = made("scvi.model:SCVI", cells, **SMALL, options=options)
    model.predict(cells[2])
    shown = "".join(capfd.readouterr())
    assert "Epoch 1/1" in shown
    assert "transfer" in shown


class Witness:
    """Keeps what it is asked with."""

    def train(self, X):
        self.asked = []

    def predict(self, X, counts, obs):
        self.asked.append((X, counts, obs))
        return X


def test_predict_gets_counts_and_batches_of_the_cells_it_is_asked_about_and_no_more():
    dataset = load_dataset("immune_batches")
    case = EndToEndCase(dataset, make_split(dataset, "iid"))
    (spec,) = parse_models(["tests.test_adapters_scvi:Witness"], folder=ROOT)
    run = train(spec, case, [0])
    run.scores(METRICS["poisson_deviance"])
    (X, counts, obs), (thin_X, kept, _) = run.fits[0].model.asked
    test = case.split.test
    np.testing.assert_array_equal(counts, dataset.counts[test])
    np.testing.assert_array_equal(X, dataset.X[test])
    assert list(obs) == ["batch"]
    assert obs.index.tolist() == [str(row) for row in range(len(test))]
    assert (obs["batch"].to_numpy() == dataset.adata.obs["batch"].to_numpy()[test]).all()
    assert (kept <= counts).all()
    assert kept.sum() == pytest.approx(0.9 * counts.sum(), rel=0.01)
    np.testing.assert_array_equal(kept > 0, thin_X > 0)
