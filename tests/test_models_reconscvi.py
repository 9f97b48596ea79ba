"""scVI and its relatives as reference models."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from reconeval.adapters.frozen import freeze_decoder
from reconeval.adapters.scvi import find_scvi
from reconeval.cases import EndToEndCase
from reconeval.cli import main
from reconeval.datasets import load_dataset, make_split
from reconeval.errors import UsageError
from reconeval.models import ReconMLSCVI, ReconNLSCVI, ReconSCVI
from reconeval.offers import cells_of
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("scvi") is None,
    reason="needs scvi-tools: pip install 'reconeval[scvi]'",
)

SMALL = {"n_latent": 4, "n_hidden": 16}
N_GENES = 80


@pytest.fixture(scope="module")
def case():
    dataset = load_dataset("pbmc68k")
    return EndToEndCase(dataset, make_split(dataset, "iid"))


@pytest.fixture(scope="module")
def cells(case):
    """Training, validation and test cells of a few genes, and the error of their mean."""
    genes = np.argsort(-case.dataset.X.var(axis=0))[:N_GENES]
    names = [case.dataset.genes[gene] for gene in genes]
    split = case.split

    def take(rows):
        at = np.ix_(rows, genes)
        return cells_of(case.dataset.X[at], names, case.dataset.counts[at])

    return take(split.train), take(split.val), take(split.test)


def trained(cls, cells, *, max_epochs=3, **settings):
    model = cls(**{**SMALL, **settings})
    model.train(cells[0], cells[1], max_epochs=max_epochs)
    return model


def mse(model, cells):
    return float(np.mean((model.predict(cells) - cells.X) ** 2))


@pytest.mark.parametrize("name", ["ReconSCVI", "ReconNLSCVI", "ReconMLSCVI"])
def test_holds_to_the_contract(name, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["check", f"models:{name}?n_hidden=32&train.max_epochs=1"]) == 0
    marks = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:-2]]
    assert marks == ["✓"] * len(marks), "nothing is excepted, and nothing not offered"


@pytest.mark.parametrize(
    ("cls", "setting", "message"),
    [
        (ReconSCVI, {"layer": "X"}, "takes no 'layer': it models raw counts; take ReconNLSCVI"),
        (ReconMLSCVI, {"layer": "X"}, "takes no 'layer': it models raw counts"),
        (ReconMLSCVI, {"use_observed_lib_size": True}, "it models the library size; take Recon"),
        (ReconNLSCVI, {"layer": "counts"}, "takes no 'layer': it models X; take ReconSCVI"),
        (ReconNLSCVI, {"gene_likelihood": "zinb"}, "its likelihood is normal; take ReconSCVI"),
        (ReconNLSCVI, {"rule": "log_of_mean"}, "takes no 'rule': it predicts X as it is"),
    ],
)
def test_what_makes_a_model_cannot_be_set(cls, setting, message):
    with pytest.raises(UsageError, match=message) as caught:
        cls(**SMALL, **setting)
    assert str(caught.value).startswith(f"{cls.__name__}() ")
    assert "\n" not in str(caught.value)


def test_reconscvi_is_the_scvi_of_scvi_tools(cells):
    own, theirs = trained(ReconSCVI, cells), trained(find_scvi("scvi.model:SCVI", where=""), cells)
    np.testing.assert_array_equal(own.predict(cells[2]), theirs.predict(cells[2]))


def test_nlscvi_encodes_X_as_it_is_and_decodes_without_the_library_size(cells):
    import torch

    model = trained(ReconNLSCVI, cells)
    module, X = model.module.eval(), torch.tensor(cells[2].X)
    with torch.inference_mode():
        qz, _ = module.z_encoder(X, torch.zeros(len(X), 1))
        hidden = module.decoder.px_decoder(qz.loc, torch.zeros(len(X), 1))
        linear = module.decoder.px_scale_decoder[0]
        expected = hidden @ linear.weight.T + linear.bias
    got = model.predict(cells[2])
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)
    assert got.min() < 0, "nothing keeps a normal mean above 0"


def test_nlscvi_has_a_decoder_that_can_be_frozen(cells):
    import torch

    model = trained(ReconNLSCVI, cells)
    frozen = freeze_decoder(model)
    Z = torch.tensor(model.get_latent_representation(cells[2]))
    np.testing.assert_allclose(frozen(Z).numpy(), model.predict(cells[2]), atol=1e-5)
    assert (frozen.embed_dim, frozen.n_genes) == (4, N_GENES)
    with pytest.raises(UsageError, match="ReconSCVI multiplies by the library size"):
        freeze_decoder(trained(ReconSCVI, cells))
    with pytest.raises(RuntimeError, match="ReconNLSCVI is not trained"):
        freeze_decoder(ReconNLSCVI())


def test_mlscvi_takes_priors_of_the_library_size(cells):
    counted = np.log(cells[0].layers["counts"].sum(axis=1))
    default = trained(ReconMLSCVI, cells).module
    given = trained(
        ReconMLSCVI, cells, prior_library_log_mean=5.0, prior_library_log_var=[0.25]
    ).module
    assert given.library_log_means.tolist() == [[5.0]]
    assert given.library_log_vars.tolist() == [[0.25]]
    assert default.library_log_means.item() == pytest.approx(counted.mean(), abs=0.05)
    with pytest.raises(UsageError, match="has 2 values for 1 batches"):
        trained(ReconMLSCVI, cells, prior_library_log_mean=[5.0, 6.0])


def test_priors_are_for_all_batches_of_the_reference(cells):
    train = cells[0].copy()
    train.obs["batch"] = np.resize(["a", "b", "c"], train.n_obs)
    for word in ("prior_library_log_mean", "prior_library_log_var"):
        model = ReconMLSCVI(**SMALL, **{word: [5.0, 6.0]})
        with pytest.raises(UsageError, match=rf"{word} has 2 values for 3 batches, expected one"):
            model.train(train, batch_key="batch", max_epochs=1)
    model = ReconMLSCVI(**SMALL, prior_library_log_mean=[5.0, 6.0, 7.0])
    model.train(train, batch_key="batch", max_epochs=1)
    assert model.module.library_log_means.tolist() == [[5.0, 6.0, 7.0]]


def test_mlscvi_beats_the_mean_only_since_its_library_size_starts_at_the_prior(cells, monkeypatch):
    """With scvi-tools' start at 0 batch normalisation leaves it far off on held-out cells."""
    from reconeval.models import _scvi_classes

    of_mean = float(np.mean((cells[0].X.mean(axis=0) - cells[2].X) ** 2))
    started = trained(ReconMLSCVI, cells, max_epochs=40, n_hidden=64)
    monkeypatch.setattr(_scvi_classes._MLVAE, "_start_at_prior", lambda self: None)
    from_zero = trained(ReconMLSCVI, cells, max_epochs=40, n_hidden=64)
    assert mse(started, cells[2]) < 0.95 * of_mean
    assert mse(from_zero, cells[2]) > 1.1 * mse(started, cells[2])


def test_surgery_extends_the_priors_and_leaves_the_reference_as_it_is(cells, tmp_path):
    train, val, test = (part.copy() for part in cells)
    for part, names in ((train, ["a", "b"]), (val, ["a", "b"]), (test, ["c"])):
        part.obs["batch"] = np.resize(names, part.n_obs)
    for cls in (ReconSCVI, ReconNLSCVI, ReconMLSCVI):
        priors = {"prior_library_log_mean": [5.0, 6.0]} if cls is ReconMLSCVI else {}
        model = cls(**SMALL, **priors)
        model.train(train, val, batch_key="batch", max_epochs=2)
        before = model.get_latent_representation(val)
        query = cls.load_query_data(test, model)
        assert isinstance(query, cls)
        assert query.module.n_batch == 3
        if priors:
            assert query.module.library_log_means[0, :2].tolist() == [5.0, 6.0]
            query.save(tmp_path / "query")
            again = cls.load(tmp_path / "query")
            np.testing.assert_allclose(again.predict(test), query.predict(test), atol=1e-6)
        np.testing.assert_allclose(query.get_latent_representation(val), before, atol=1e-5)
        assert np.isfinite(query.predict(test)).all()
        np.testing.assert_array_equal(model.get_latent_representation(val), before)
