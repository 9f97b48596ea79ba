from __future__ import annotations

import copy
import inspect
import pickle
import random

import lightning as L
import numpy as np
import pytest
import torch
from scipy import sparse, stats
from torch.utils.data import DataLoader

from reconeval import InMemoryDataModule
from reconeval.errors import UsageError
from reconeval.models import ReconAE
from reconeval.models.autoencoder import Autoencoder
from reconeval.models.likelihoods import LOSSES

N_GENES = 24
DISTRIBUTIONS = ["normal", "huber", "l1", "normal_mle_fixed", "normal_mle_gene", "nb_gene"]
MODES = ["none", "observed", "modeled"]
ONE_OF_EACH = [("normal", "none"), ("normal_mle_gene", "observed"), ("nb_gene", "modeled")]


def simulate(n_cells: int = 200) -> np.ndarray:
    """Counts of cells of four types, with libraries between 50 and 1000."""
    rng = np.random.default_rng(0)
    profiles = rng.gamma(0.5, size=(4, N_GENES)) + 0.01
    profiles /= profiles.sum(axis=1, keepdims=True)
    library = rng.uniform(50, 1000, size=(n_cells, 1))
    mean = profiles[rng.integers(4, size=n_cells)] * library
    return rng.poisson(mean).astype(np.float32)


COUNTS = simulate()
LOGGED = np.log1p(COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e4)


def cells_for(distribution: str) -> np.ndarray:
    return COUNTS if distribution == "nb_gene" else LOGGED


def make(distribution: str = "normal", mode: str = "none", **options) -> ReconAE:
    options = {"n_hidden": [16], "n_latent": 4, "learning_rate": 0.01, **options}
    return ReconAE(input_dim=N_GENES, distribution=distribution, library_size_mode=mode, **options)


def train(ae: ReconAE, X: np.ndarray | None = None, *, val_X=None, **options) -> ReconAE:
    X = cells_for(ae.options.distribution) if X is None else X
    ae.train(
        InMemoryDataModule(X, val_X=val_X),
        **{"max_epochs": 3, "accelerator": "cpu", **options},
    )
    return ae


@pytest.fixture(scope="module", params=ONE_OF_EACH, ids="-".join)
def trained(request) -> tuple[ReconAE, np.ndarray]:
    distribution, mode = request.param
    return train(make(distribution, mode)), cells_for(distribution)


# Likelihoods


def test_normal_likelihood_is_that_of_scipy():
    rng = np.random.default_rng(1)
    x, mean, log_scale = rng.normal(size=(5, 7)), rng.normal(size=(5, 7)), rng.normal(size=7)
    expected = -stats.norm.logpdf(x, mean, np.exp(log_scale) + 0.01).mean()
    tensors = [torch.tensor(a) for a in (x, mean, log_scale)]
    assert float(LOSSES["normal_mle_gene"](*tensors)) == pytest.approx(expected)
    expected = -stats.norm.logpdf(x, mean, np.exp(0.3) + 0.01).mean()
    fixed = LOSSES["normal_mle_fixed"](*tensors[:2], torch.tensor([0.3]))
    assert float(fixed) == pytest.approx(expected)


def test_negative_binomial_likelihood_is_that_of_scipy():
    rng = np.random.default_rng(2)
    x = rng.poisson(3, size=(6, 5)).astype(float)
    mean, theta = rng.gamma(2, size=(6, 5)), rng.gamma(2, size=5)
    expected = -stats.nbinom.logpmf(x, theta, theta / (theta + mean)).mean()
    loss = LOSSES["nb_gene"](*(torch.tensor(a) for a in (x, mean, np.log(theta))))
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_negative_binomial_likelihood_is_finite_where_the_mean_vanishes():
    mean = torch.zeros(2, 3, requires_grad=True)
    loss = LOSSES["nb_gene"](torch.tensor([[0.0, 1, 5000]] * 2), mean, torch.zeros(3))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(mean.grad).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("normal", (0.25 + 9) / 2), ("l1", (0.5 + 3) / 2), ("huber", (0.5 * 0.25 + 2.5) / 2)],
    ids=["normal", "l1", "huber"],
)
def test_plain_losses(name, expected):
    x, mean = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.5, -3.0]])
    assert float(LOSSES[name](x, mean, torch.zeros(1))) == pytest.approx(expected)


@pytest.mark.parametrize("n_scale", [1, 7], ids=["one-variance", "one-per-gene"])
def test_the_best_scale_is_the_spread_of_the_residuals(n_scale):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 7)) * np.linspace(0.2, 2, 7)
    spread = np.sqrt((x**2).mean(axis=None if n_scale == 1 else 0)).reshape(n_scale)
    log_scale = torch.tensor(np.log(spread - 0.01), requires_grad=True)
    LOSSES["normal_mle_gene"](torch.tensor(x), torch.zeros(50, 7), log_scale).backward()
    np.testing.assert_allclose(log_scale.grad, np.zeros(n_scale), atol=1e-9)


@pytest.mark.parametrize(
    ("distribution", "n_scale"),
    [("normal_mle_fixed", 1), ("normal_mle_gene", N_GENES), ("nb_gene", N_GENES)],
)
def test_the_scale_is_learnt(distribution, n_scale):
    scale = train(make(distribution)).module.log_scale
    assert scale.shape == (n_scale,)
    assert (scale != 0).all()


def test_other_losses_have_no_scale_to_learn():
    assert not train(make()).module.log_scale.requires_grad


# Training


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_distribution_learns_in_every_mode(distribution, mode):
    ae, X = make(distribution, mode), cells_for(distribution)
    ae.train(InMemoryDataModule(X, val_frac=0), max_epochs=5, accelerator="cpu")
    assert ae.losses[-1] < 0.98 * ae.losses[0]
    out = ae.predict(X)
    assert np.isfinite(out).all()
    if mode != "none" or distribution == "nb_gene":
        assert (out >= 0).all()


def test_held_out_cells_are_predicted_better_than_by_the_mean():
    ae = train(make(), LOGGED[:140], val_X=LOGGED[140:160], max_epochs=30)
    held_out = LOGGED[160:]
    error = ((ae.predict(held_out) - held_out) ** 2).mean()
    assert error < 0.7 * ((held_out - LOGGED[:140].mean(axis=0)) ** 2).mean()


def test_same_seed_same_prediction_whatever_the_global_state():
    torch.manual_seed(1)
    first = train(make(seed=5)).predict(LOGGED)
    torch.manual_seed(2)
    assert np.array_equal(first, train(make(seed=5)).predict(LOGGED))
    assert np.array_equal(first, train(make(seed=0), seed=5).predict(LOGGED))
    assert not np.array_equal(first, train(make(seed=6)).predict(LOGGED))


def states():
    return torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002


def test_global_random_state_is_left_alone():
    torch_state, numpy_state, python_state = states()
    train(make())
    assert torch.equal(states()[0], torch_state)
    assert np.array_equal(states()[1], numpy_state)
    assert states()[2] == python_state


def test_training_again_starts_afresh():
    twice = train(train(make(), LOGGED + 3))
    assert np.array_equal(twice.predict(LOGGED), train(make()).predict(LOGGED))


def test_the_best_epoch_is_kept():
    val = LOGGED[150:]
    ae = train(make(learning_rate=0.1), LOGGED[:150], val_X=val, max_epochs=25)
    assert min(ae.losses) < ae.losses[-1]
    assert ((ae.predict(val) - val) ** 2).mean() == pytest.approx(min(ae.losses), rel=1e-4)


def test_training_stops_when_the_loss_no_longer_falls():
    still = make(n_hidden=[], learning_rate=1e-12)
    assert len(train(still, max_epochs=50, early_stopping_patience=4).losses) == 5
    assert len(train(still, max_epochs=8, early_stopping_patience=None).losses) == 8


def test_the_learning_rate_is_halved_when_the_loss_no_longer_falls(monkeypatch):
    made = []
    configure = Autoencoder.configure_optimizers

    def spy(self):
        made.append(configure(self))
        return made[-1]

    monkeypatch.setattr(Autoencoder, "configure_optimizers", spy)
    still = make(n_hidden=[], learning_rate=1e-12)
    train(still, max_epochs=9, early_stopping_patience=None)
    assert made[0]["optimizer"].param_groups[0]["lr"] == pytest.approx(5e-13)


def test_without_validation_the_training_loss_is_watched():
    dm = InMemoryDataModule(LOGGED, val_frac=0)
    ae = make()
    ae.train(dm, max_epochs=4, accelerator="cpu")
    assert len(ae.losses) == 4
    assert ae.losses[-1] < ae.losses[0]


def test_a_last_batch_of_one_cell_is_no_trouble():
    ae = train(make(), LOGGED[:65], val_X=LOGGED[:1])
    assert np.isfinite(ae.predict(LOGGED)).all()


def test_a_foreign_batch_of_one_cell_is_refused_with_the_way_out():
    class OneByOne(L.LightningDataModule):
        def train_dataloader(self):
            return DataLoader([{"X": torch.ones(N_GENES)}] * 2, batch_size=1)

    with pytest.raises(UsageError, match=r"batch of one cell, .* choose a batch size"):
        make().train(OneByOne(), max_epochs=1, accelerator="cpu")


def test_training_is_silent_and_writes_no_file(capfd, recwarn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(make())
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert not list(tmp_path.iterdir())


def test_a_failed_training_keeps_the_model_of_before(trained):
    ae, X = trained
    before = ae.predict(X)
    with pytest.raises(UsageError):
        ae.train(InMemoryDataModule(np.full((20, N_GENES + 1), 1)), accelerator="cpu")
    assert np.array_equal(ae.predict(X), before)


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(RuntimeError, match=r"the loss was (inf|nan); lower learning_rate"):
        train(make(n_hidden=[]), LOGGED * 1e30)


def test_no_batch_is_an_error():
    class Empty(InMemoryDataModule):
        def train_dataloader(self):
            return []

    with pytest.raises(UsageError, match="no training batch"):
        make().train(Empty(LOGGED), max_epochs=1, accelerator="cpu")
    with pytest.raises(UsageError, match=r"ReconAE\.train: max_epochs must be at least 1, got 0"):
        train(make(), max_epochs=0)


# Prediction


def test_prediction_is_float32_repeatable_and_leaves_the_input_alone(trained):
    ae, X = trained
    X = X.copy()
    X.setflags(write=False)
    before = X.copy()
    out = ae.predict(X)
    assert out.dtype == np.float32
    assert out.shape == X.shape
    assert np.array_equal(out, ae.predict(X))
    assert np.array_equal(X, before)
    assert ae.predict(X[:0]).shape == (0, N_GENES)


def test_a_cell_is_predicted_whatever_the_order_and_the_others(trained):
    ae, X = trained
    whole = ae.predict(X)
    close = {"rtol": 1e-4, "atol": 1e-4}
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(ae.predict(X[order]), whole[order], **close)
    np.testing.assert_allclose(ae.predict(X[7:8]), whole[7:8], **close)
    many = np.concatenate([X] * 11)  # more than one batch of prediction
    np.testing.assert_allclose(ae.predict(many), np.concatenate([whole] * 11), **close)


def test_sparse_and_float64_input_equal_dense_float32(trained):
    ae, X = trained
    assert np.array_equal(ae.predict(sparse.csr_matrix(X)), ae.predict(X))
    assert np.array_equal(ae.predict(X.astype(np.float64)), ae.predict(X))


def test_prediction_is_the_decoded_latent_representation(trained):
    ae, X = trained
    Z = ae.get_latent_representation(X)
    assert Z.shape == (len(X), 4)
    assert Z.dtype == np.float32
    with torch.inference_mode():
        library = ae.module.library(torch.tensor(X))
    library = None if library is None else library.numpy()
    np.testing.assert_allclose(ae.decode(Z, library), ae.predict(X), rtol=1e-5)


@pytest.mark.parametrize("distribution", ["normal", "nb_gene"])
def test_observed_library_is_the_total_of_each_cell(distribution):
    ae, X = train(make(distribution, "observed")), cells_for(distribution)
    np.testing.assert_allclose(ae.predict(X).sum(axis=1), X.sum(axis=1), rtol=1e-4)
    Z = ae.get_latent_representation(X)
    double = ae.decode(Z, 2 * X.sum(axis=1))
    np.testing.assert_allclose(double, 2 * ae.predict(X), rtol=1e-4)


def test_modeled_library_follows_the_total_of_each_cell():
    ae = train(make("nb_gene", "modeled"), max_epochs=20)
    totals = ae.predict(COUNTS).sum(axis=1)
    assert not np.allclose(totals, COUNTS.sum(axis=1), rtol=1e-3)
    assert stats.spearmanr(totals, COUNTS.sum(axis=1)).statistic > 0.8
    assert 0.5 < np.median(totals / COUNTS.sum(axis=1)) < 2


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [("relu", 0, np.inf), ("softplus", 0, np.inf), ("sigmoid", 0, 1)],
    ids=["relu", "softplus", "sigmoid"],
)
def test_output_activation_bounds_the_prediction(activation, low, high):
    X = LOGGED - LOGGED.mean()
    assert train(make(), X).predict(X).min() < 0
    out = train(make(output_activation=activation), X).predict(X)
    assert low <= out.min()
    assert out.max() <= high


def test_save_and_load_give_the_same_predictions(trained, tmp_path):
    ae, X = trained
    ae.save(tmp_path / "ae")
    loaded = ReconAE.load(tmp_path / "ae")
    assert [path.name for path in tmp_path.iterdir()] == ["ae"]
    assert np.array_equal(loaded.predict(X), ae.predict(X))
    assert np.array_equal(loaded.get_latent_representation(X), ae.get_latent_representation(X))
    assert loaded.options == ae.options


def test_a_trained_model_can_be_copied_without_the_data(trained):
    ae, X = copy.deepcopy(trained[0]), trained[1]
    ae.train(InMemoryDataModule(np.repeat(X, 50, axis=0)), max_epochs=1, accelerator="cpu")
    assert len(pickle.dumps(ae)) < X.nbytes * 10
    assert np.array_equal(copy.deepcopy(ae).predict(X), ae.predict(X))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_and_cpu_agree(trained):
    ae, X = trained
    cpu = ae.predict(X)
    np.testing.assert_allclose(ae.to("cuda").predict(X), cpu, rtol=1e-3, atol=1e-3)
    assert np.array_equal(ae.to("cpu").predict(X), cpu)
    assert train(make(), accelerator="gpu").module.device.type == "cuda"


# Bad use


def test_use_before_training_fails_clearly(tmp_path):
    ae = make()
    for use in (ae.predict, ae.get_latent_representation, ae.decode, ae.save, ae.to):
        with pytest.raises(RuntimeError, match=r"is not trained: call train\(datamodule\) first"):
            use(tmp_path / "x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distribution": "poisson"}, "distribution is 'poisson', expected normal or huber"),
        ({"mode": "learned"}, "library_size_mode is 'learned', expected none or observed"),
        ({"output_activation": "tanh"}, "output_activation is 'tanh', expected identity or"),
        (
            {"mode": "observed", "output_activation": "relu"},
            "output_activation is 'relu', expected softmax",
        ),
        (
            {"distribution": "nb_gene", "output_activation": "identity"},
            "output_activation is 'identity', expected softplus",
        ),
        ({"n_latent": 0}, "ReconAE: n_latent must be at least 1, got 0"),
        ({"n_hidden": [8, 0]}, "ReconAE: n_hidden must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"learning_rate": 0}, "learning_rate must be above 0, got 0"),
    ],
    ids=["distribution", "mode", "activation", "softmax", "nb", "latent", "hidden", "drop", "lr"],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        make(**options)


def test_negative_binomial_refuses_what_is_not_counts():
    with pytest.raises(UsageError, match="values that are not counts; pass raw counts"):
        train(make("nb_gene"), LOGGED)
    with pytest.raises(UsageError, match="values that are not counts; pass raw counts"):
        train(make("nb_gene")).predict(LOGGED)


@pytest.mark.parametrize("mode", ["observed", "modeled"])
def test_a_library_refuses_negative_values(mode):
    with pytest.raises(UsageError, match="got negative values"):
        train(make(mode=mode), LOGGED - 1)


def test_other_genes_are_refused(trained):
    ae, X = trained
    with pytest.raises(UsageError, match="has 23 columns, expected 24"):
        ae.predict(X[:, 1:])
    with pytest.raises(UsageError, match=r"cells of shape \(64, 23\), expected \(n_cells, 24\)"):
        ae.train(InMemoryDataModule(X[:, 1:]), accelerator="cpu")


def test_a_matrix_is_no_datamodule():
    with pytest.raises(UsageError, match=r"is of type ndarray; pass InMemoryDataModule\(X\)"):
        make().train(LOGGED)


def test_decode_asks_for_a_library_where_there_is_one():
    Z = np.zeros((3, 4))
    with pytest.raises(UsageError, match="takes no library with library_size_mode='none'"):
        train(make()).decode(Z, np.ones(3))
    ae = train(make(mode="observed"))
    with pytest.raises(UsageError, match="needs library with library_size_mode='observed'"):
        ae.decode(Z)
    with pytest.raises(UsageError, match=r"library has shape \(2,\), expected \(3,\)"):
        ae.decode(Z, np.ones(2))


def test_train_names_what_the_harness_offers():
    offered = {"datamodule", "seed", "accelerator", "enable_progress_bar", "logger"}
    assert offered <= set(inspect.signature(ReconAE.train).parameters)
