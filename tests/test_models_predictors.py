from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import Ridge

from reconeval.errors import UsageError
from reconeval.models import AdditiveShift, MeanShift, MLPPerturbationPredictor, NoShift
from reconeval.protocols import PerturbationPredictor, task_of
from reconeval.spec import parse_models

D, C = 4, 6


def mlp():
    return MLPPerturbationPredictor(D, C, n_hidden=16)


ALL = pytest.mark.parametrize("make", [NoShift, MeanShift, AdditiveShift, mlp])
SAVED = pytest.mark.parametrize("make", [MeanShift, AdditiveShift, mlp])
FEW = {mlp: {"epochs": 3, "accelerator": "cpu"}}


class Experiment:
    """Noise-free shifts of single perturbations a, b, c, d and of their combinations."""

    def __init__(self, seed=0, n=8, combine=np.sum):
        rng = np.random.default_rng(seed)
        self.effect = {name: rng.normal(size=D) for name in "abcd"}
        self.descriptor = {name: rng.normal(size=C) for name in "abcd"}
        self.parts = {"a+b": ("a", "b"), "b+c": ("b", "c"), "a+c+d": ("a", "c", "d")}
        for name, singles in self.parts.items():
            self.effect[name] = np.sum([self.effect[one] for one in singles], axis=0)
            self.descriptor[name] = combine([self.descriptor[one] for one in singles], axis=0)
        self.n, self.rng = n, rng

    def rows(self, names):
        """Return control, perturbed, descriptors and names of n cells of each perturbation."""
        labels = np.repeat(list(names), self.n)
        ctrl = self.rng.normal(size=(len(labels), D)).astype(np.float32)
        pert = ctrl + np.stack([self.effect[label] for label in labels])
        return ctrl, pert, np.stack([self.descriptor[label] for label in labels]), labels


@pytest.fixture
def data():
    return Experiment().rows(["a", "b", "c", "d"])


def trained(make, data):
    model = make()
    model.train(*data[:3], **FEW.get(make, {}))
    return model


@ALL
def test_is_a_predictor_of_perturbations(make):
    model = make()
    assert isinstance(model, PerturbationPredictor)
    assert task_of(model) == "latent_shift"
    assert task_of(type(model)) == "latent_shift"


def test_each_can_be_asked_for_by_name_with_its_known_exceptions():
    names = ("NoShift", "MeanShift", "AdditiveShift", "MLPPerturbationPredictor")
    found = parse_models([f"models:{name}" for name in names])
    assert [spec.task for spec in found] == ["latent_shift"] * 4
    alike = [spec.id for spec in found if "descriptor_matters" in spec.exceptions]
    assert alike == ["NoShift", "MeanShift"]


@ALL
def test_a_cell_is_predicted_whatever_the_order_and_the_others(make, data):
    model = trained(make, data)
    ctrl, _, cov, _ = data
    whole = model.predict(ctrl, cov)
    order = np.random.default_rng(0).permutation(len(ctrl))
    np.testing.assert_allclose(model.predict(ctrl[order], cov[order]), whole[order], atol=1e-5)
    alone = np.concatenate([model.predict(ctrl[[i]], cov[[i]]) for i in range(len(ctrl))])
    np.testing.assert_allclose(alone, whole, atol=1e-5)


@ALL
def test_prediction_is_float32_and_the_input_is_left_alone(make, data):
    for array in data:
        array.setflags(write=False)
    before = [array.copy() for array in data]
    model = trained(make, data)
    out = model.predict(data[0], data[2])
    assert out.dtype == np.float32
    assert out.shape == data[0].shape
    assert out.flags.writeable
    assert not np.shares_memory(out, data[0])
    assert all(np.array_equal(a, b) for a, b in zip(before, data, strict=True))
    assert model.predict(np.empty((0, D)), np.empty((0, C))).shape == (0, D)


@ALL
def test_training_again_starts_afresh(make, data):
    once = trained(make, data)
    twice = trained(make, Experiment(seed=5).rows(["a", "b"]))
    twice.train(*data[:3], **FEW.get(make, {}))
    assert np.array_equal(twice.predict(data[0], data[2]), once.predict(data[0], data[2]))


@SAVED
def test_save_and_load_give_the_same_predictions(make, data, tmp_path):
    model = trained(make, data)
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    cov = np.concatenate([data[2], data[2][::-1] / 3])
    ctrl = np.concatenate([data[0], data[0]])
    assert np.array_equal(again.predict(ctrl, cov), model.predict(ctrl, cov))
    with pytest.raises(UsageError, match="has 5 columns, expected 6"):
        again.predict(data[0], data[2][:, 1:])


@ALL
def test_wrong_input_is_refused(make, data):
    ctrl, pert, cov, _ = data
    with pytest.raises(RuntimeError, match="is not trained"):
        make().predict(ctrl, cov)
    with pytest.raises(UsageError, match=r"pert_emb has 31 rows and ctrl_emb 32; pair them"):
        trained(make, (ctrl, pert[1:], cov))
    with pytest.raises(UsageError, match=r"pert_cov has 31 rows and ctrl_emb 32"):
        trained(make, (ctrl, pert, cov[1:]))
    with pytest.raises(UsageError, match="pert_emb has 3 columns, expected 4"):
        trained(make, (ctrl, pert[:, 1:], cov))
    with pytest.raises(UsageError, match="there are no cells"):
        trained(make, (ctrl[:0], pert[:0], cov[:0]))
    pert = pert.copy()
    pert[3, 1] = np.nan
    with pytest.raises(UsageError, match="pert_emb has NaN"):
        trained(make, (ctrl, pert, cov))
    model = trained(make, data)
    with pytest.raises(UsageError, match="ctrl_emb has 3 columns, expected 4"):
        model.predict(ctrl[:, 1:], cov)
    with pytest.raises(UsageError, match=r"pert_cov has 31 rows"):
        model.predict(ctrl, cov[1:])


@SAVED
def test_saving_needs_training(make, tmp_path):
    with pytest.raises(RuntimeError, match="is not trained"):
        make().save(tmp_path / "model")


def test_no_shift_returns_the_control(data):
    model = trained(NoShift, data)
    assert np.array_equal(model.predict(data[0], data[2]), data[0])


@given(
    shifts=hnp.arrays(np.float64, (3, D), elements=st.floats(-10, 10)),
    sizes=st.tuples(*[st.integers(1, 9)] * 3),
)
def test_mean_shift_gives_each_perturbation_one_vote(shifts, sizes):
    which = np.repeat([0, 1, 2], sizes)
    ctrl = np.random.default_rng(0).normal(size=(len(which), D))
    model = MeanShift()
    model.train(ctrl, ctrl + shifts[which], np.eye(3)[which])
    moved = model.predict(ctrl, np.eye(3)[which]) - ctrl
    np.testing.assert_allclose(moved, np.tile(shifts.mean(axis=0), (len(ctrl), 1)), atol=1e-4)


@pytest.mark.parametrize("combine", [np.sum, np.mean])
@given(seed=st.integers(0, 10**6))
def test_additive_shift_is_exact_where_effects_add_up(combine, seed):
    """Known perturbations, and combinations never seen, whichever way descriptors are joined."""
    experiment = Experiment(seed, combine=combine)
    ctrl, pert, cov, labels = experiment.rows(["a", "b", "c", "d", "b+c"])
    model = AdditiveShift()
    model.train(ctrl, pert, cov, perturbation=labels, parts=experiment.parts)
    for names in (["c", "a", "b+c"], ["a+b", "a+c+d"]):
        ctrl, pert, cov, _ = experiment.rows(names)
        np.testing.assert_allclose(model.predict(ctrl, cov), pert, atol=1e-4)


def test_additive_shift_of_a_combination_seen_in_training_is_its_own():
    experiment = Experiment()
    experiment.effect["a+b"] = np.full(D, 7.0)  # an interaction
    ctrl, pert, cov, labels = experiment.rows(["a", "b", "a+b"])
    model = AdditiveShift()
    model.train(ctrl, pert, cov, perturbation=labels, parts=experiment.parts)
    np.testing.assert_allclose(model.predict(ctrl, cov), pert, atol=1e-5)


@given(seed=st.integers(0, 10**6), ridge=st.sampled_from([1e-4, 1e-2, 1.0]))
def test_additive_shift_of_an_unseen_perturbation_is_ridge_regression(seed, ridge):
    """As scikit-learn computes it from the mean shifts, with the penalty that is documented."""
    rng = np.random.default_rng(seed)
    known, effects = rng.normal(size=(9, C)).astype(np.float32), rng.normal(size=(9, D))
    which = np.repeat(np.arange(9), rng.integers(1, 5, 9))
    ctrl = rng.normal(size=(len(which), D))
    model = AdditiveShift(ridge=ridge)
    model.train(ctrl, ctrl + effects[which], known[which])
    centred = known - known.mean(axis=0, dtype=np.float64)
    reference = Ridge(alpha=ridge * np.linalg.norm(centred, 2) ** 2, solver="svd")
    new = rng.normal(size=(20, C)).astype(np.float32)
    expected = reference.fit(known, effects).predict(new)
    got = model.predict(np.zeros((20, D)), new)
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_additive_shift_without_anything_to_go_by_is_the_mean_shift(data):
    ctrl, pert, _, _ = data
    same = np.ones((len(ctrl), C))
    additive, mean = AdditiveShift(), MeanShift()
    for model in (additive, mean):
        model.train(ctrl, pert, same)
    np.testing.assert_allclose(
        additive.predict(ctrl, 5 * same), mean.predict(ctrl, 5 * same), atol=1e-5
    )


def test_additive_shift_needs_names_for_combinations():
    experiment = Experiment()
    ctrl, pert, cov, labels = experiment.rows(["a", "b", "c", "d"])
    new = experiment.rows(["a+b"])
    models = {name: AdditiveShift() for name in ("names", "no names", "no parts")}
    models["names"].train(ctrl, pert, cov, perturbation=labels, parts=experiment.parts)
    models["no names"].train(ctrl, pert, cov, parts=experiment.parts)
    models["no parts"].train(ctrl, pert, cov, perturbation=labels)
    wrong = {name: np.abs(m.predict(new[0], new[2]) - new[1]).max() for name, m in models.items()}
    assert wrong["names"] < 1e-4
    assert wrong["no names"] == wrong["no parts"] > 0.01


def test_additive_shift_refuses_a_name_with_two_descriptors(data):
    ctrl, pert, cov, _ = data
    with pytest.raises(UsageError, match="'x' has rows of different pert_cov"):
        AdditiveShift().train(ctrl, pert, cov, perturbation=["x"] * len(ctrl), parts={})
    with pytest.raises(UsageError, match=r"perturbation has shape \(2,\), expected \(32,\)"):
        AdditiveShift().train(ctrl, pert, cov, perturbation=["x", "y"], parts={})
    with pytest.raises(UsageError, match="ridge must be at least 0, got -1"):
        AdditiveShift(ridge=-1)


def test_the_perceptron_learns_what_the_descriptor_says():
    ctrl, pert, cov, _ = Experiment(n=64).rows(["a", "b", "c", "d"])
    model = MLPPerturbationPredictor(embed_dim=D, cov_dim=C, n_hidden=64, lr=3e-3)
    model.train(ctrl, pert, cov, epochs=60, batch_size=32, accelerator="cpu")
    assert len(model.losses) == 60
    assert np.square(model.predict(ctrl, cov) - pert).mean() < 0.1 * np.square(ctrl - pert).mean()
    assert np.square(model.predict(ctrl, cov[::-1]) - pert).mean() > np.square(ctrl - pert).mean()


def test_the_perceptrons_seed_decides_and_the_global_state_does_not(data):
    import torch

    torch.manual_seed(1)
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    first = trained(mlp, data).predict(data[0], data[2])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    torch.manual_seed(2)
    assert np.array_equal(trained(mlp, data).predict(data[0], data[2]), first)
    other = mlp()
    other.train(*data[:3], **FEW[mlp], seed=1)
    assert not np.array_equal(other.predict(data[0], data[2]), first)
    assert other.to("cpu") is other


def test_the_perceptron_refuses_what_cannot_be(data):
    with pytest.raises(UsageError, match="n_hidden must be at least 1, got 0"):
        MLPPerturbationPredictor(D, C, n_hidden=0)
    for number in ("epochs", "batch_size"):
        with pytest.raises(
            UsageError, match=rf"Predictor\.train: {number} must be at least 1, got 0"
        ):
            mlp().train(*data[:3], **{number: 0})
    with pytest.raises(UsageError, match="accelerator is 'tpu', expected auto, cpu or gpu"):
        mlp().train(*data[:3], accelerator="tpu")
    ctrl, pert, cov, _ = data
    with pytest.raises(RuntimeError, match=r"the loss was .*; lower lr"):
        MLPPerturbationPredictor(D, C, lr=1e30).train(ctrl, pert, cov, epochs=3, accelerator="cpu")


@pytest.mark.parametrize("name", ["shifts", "mlp_predictor"])
def test_the_examples_in_the_docstrings_hold(name):
    outcome = doctest.testmod(importlib.import_module(f"reconeval.models.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
