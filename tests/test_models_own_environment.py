"""CellFlow and STATE, really trained: a tiny model on the CPU that must beat doing nothing.

The packages need environments of their own: `tools/test-in-own-environment cellflow`, `... state`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

import reconeval.models
from reconeval.errors import UsageError
from reconeval.models import NoShift

N, D = 480, 6
PACKAGES = {"CellFlowPredictor": ("cellflow", "cellflow"), "STATEPredictor": ("state", "state")}


def absent(module):
    return importlib.util.find_spec(module) is None


def needs(name):
    module, environment = PACKAGES[name]
    reason = f"needs {module}; run tools/test-in-own-environment {environment}"
    return pytest.mark.skipif(absent(module), reason=reason)


cellflow, state = needs("CellFlowPredictor"), needs("STATEPredictor")
BOTH = pytest.mark.parametrize(
    "name",
    [
        pytest.param("CellFlowPredictor", marks=cellflow),
        pytest.param("STATEPredictor", marks=state),
    ],
)
SMALL = {
    "CellFlowPredictor": ({"n_hidden": 48}, {"iterations": 250, "batch_size": 64}),
    "STATEPredictor": (
        {"n_hidden": 32, "n_layers": 2, "set_size": 16, "lr": 3e-3},
        {"max_steps": 150},
    ),
}


class Cells:
    """Signed embeddings of two cell types; three perturbations that shift them far."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.types = np.tile(["T", "B"], N // 2)
        self.ctrl = rng.normal(size=(N, D)) + np.where(self.types == "B", 2.0, -2.0)[:, None]
        self.effects = rng.normal(scale=2.5, size=(3, D))
        which = rng.integers(0, 3, N)
        self.cov = np.eye(3)[which]
        self.pert = self.ctrl + self.effects[which] + 0.1 * rng.normal(size=(N, D))
        self.train = np.arange(N) % 4 > 0
        self.test = ~self.train

    def training(self):
        rows = self.train
        return (self.ctrl[rows], self.pert[rows], self.cov[rows]), {"cell_type": self.types[rows]}

    def query(self):
        rows = self.test
        return (self.ctrl[rows], self.cov[rows]), {"cell_type": self.types[rows]}


CELLS = Cells()


def make(name, **changes):
    options, training = SMALL[name]
    model = getattr(reconeval.models, name)(D, 3, **options)
    arrays, labels = CELLS.training()
    model.train(*arrays, **labels, **training, accelerator="cpu", **changes)
    return model


@cache
def trained(name):
    return make(name)


@pytest.fixture
def model(name):
    return trained(name)


def predict(model, rows=slice(None)):
    (ctrl, cov), labels = CELLS.query()
    return model.predict(ctrl[rows], cov[rows], **{k: v[rows] for k, v in labels.items()})


def energy(X, Y):
    def mean(A, B):
        return np.sqrt(np.square(A[:, None] - B[None]).sum(axis=2)).mean()

    return 2 * mean(X, Y) - mean(X, X) - mean(Y, Y)


@BOTH
def test_beats_doing_nothing_on_every_perturbation(model):
    """Also where the truth is negative, which a ReLU at the end would forbid."""
    (ctrl, cov), _ = CELLS.query()
    truth, moved = CELLS.pert[CELLS.test], predict(model)
    assert moved.dtype == np.float32
    assert moved.min() < -2
    still = NoShift()
    still.train(ctrl, truth, cov)
    for which in range(3):
        rows = cov[:, which] == 1
        nothing = energy(still.predict(ctrl[rows], cov[rows]), truth[rows])
        assert energy(moved[rows], truth[rows]) < 0.25 * nothing


@BOTH
def test_reloaded_it_predicts_the_same(name, model, tmp_path):
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    np.testing.assert_array_equal(predict(again), predict(model))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@BOTH
def test_the_same_seed_gives_the_same_model_and_another_another(name, model):
    np.testing.assert_array_equal(predict(make(name)), predict(model))
    assert np.abs(predict(make(name, seed=1)) - predict(model)).max() > 1e-3


@BOTH
def test_the_order_of_the_rows_makes_no_difference(model):
    order = np.random.default_rng(1).permutation(CELLS.test.sum())
    np.testing.assert_allclose(predict(model, order), predict(model)[order], rtol=1e-5, atol=1e-5)


@BOTH
def test_descriptor_and_single_rows(model):
    (ctrl, cov), labels = CELLS.query()
    one = predict(model, slice(0, 1))
    assert one.shape == (1, D)
    assert np.isfinite(one).all()
    assert model.predict(ctrl[:0], cov[:0]).shape == (0, D)
    other = model.predict(ctrl, np.roll(cov, 1, axis=1), **labels)
    assert np.abs(other - predict(model)).mean() > 0.5
    unseen = model.predict(ctrl, cov / 2, cell_type=np.full(len(ctrl), "NK"))
    assert np.isfinite(unseen).all()


@BOTH
def test_nothing_is_printed(name, capfd, recwarn):
    options, training = SMALL[name]
    few = {
        key: 3 if key in {"iterations", "max_steps"} else value for key, value in training.items()
    }
    model = getattr(reconeval.models, name)(D, 3, **options)
    model.train(*CELLS.training()[0], **few, accelerator="cpu")
    model.predict(*CELLS.query()[0])
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    assert not recwarn.list


@BOTH
def test_wrong_input_is_one_line(name, model, tmp_path):
    (ctrl, cov), _ = CELLS.query()
    with pytest.raises(UsageError, match="has 5 columns, expected 6"):
        model.predict(ctrl[:, 1:], cov)
    with pytest.raises(UsageError, match=r"pert_cov has 119 rows and ctrl_emb 120"):
        model.predict(ctrl, cov[1:])
    with pytest.raises(UsageError, match=r"cell_type has shape \(2,\)"):
        model.predict(ctrl, cov, cell_type=["T", "B"])
    fresh = type(model)(D, 3)
    with pytest.raises(RuntimeError, match="is not trained"):
        fresh.predict(ctrl, cov)
    with pytest.raises(RuntimeError, match="is not trained"):
        fresh.save(tmp_path / "model")


@cellflow
def test_cellflow_predicts_a_cell_whatever_the_others():
    model = trained("CellFlowPredictor")
    whole = predict(model)
    np.testing.assert_allclose(predict(model, slice(7, 8)), whole[7:8], rtol=1e-5, atol=1e-5)


@cellflow
def test_cellflow_moves_cells_as_its_own_predict_does():
    """By the package's way over AnnData and a table of conditions, with a trained condition."""
    import pandas as pd
    from anndata import AnnData

    model = trained("CellFlowPredictor")
    rows = CELLS.test & (CELLS.types == "T") & (CELLS.cov[:, 1] == 1)
    names = {tuple(value): key for key, value in model._flow.adata.uns["perturbation"].items()}
    wanted = names[tuple(np.eye(3, dtype=np.float32)[1])]
    obs = pd.DataFrame(
        {"perturbation": "control", "cell_type": "T", "is_control": True},
        index=[str(i) for i in range(rows.sum())],
    )
    controls = AnnData(obs=obs, obsm={"X_emb": (CELLS.ctrl[rows] / model._scale).astype("f4")})
    controls.uns = model._flow.adata.uns
    table = pd.DataFrame(
        {"perturbation": [wanted], "cell_type": ["T"], "is_control": [False], "id": ["q"]}
    )
    theirs = model._flow.predict(controls, table, sample_rep="X_emb", condition_id_key="id")["q"]
    theirs = theirs * model._scale
    ours = model.predict(CELLS.ctrl[rows], CELLS.cov[rows], cell_type=CELLS.types[rows])
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)  # of the ODE's solver


@state
def test_state_depends_on_the_set_and_says_so():
    model = trained("STATEPredictor")
    whole = predict(model)
    assert np.abs(predict(model, slice(7, 8)) - whole[7:8]).max() > 1e-4
    assert set(model.contract_exceptions) <= {"batch_composition", "other_cells"}
    # Cells of another descriptor and type are in other sets: they make no difference.
    (_, cov), labels = CELLS.query()
    mine = (cov[:, 0] == 1) & (labels["cell_type"] == "B")
    np.testing.assert_allclose(predict(model, mine), whole[mine], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PACKAGES)
def test_without_the_package_the_error_names_the_extra(name):
    module, extra = PACKAGES[name]
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "import reconeval.models, reconeval.errors\n"
        f"try: reconeval.models.{name}(2, 2)\n"
        "except reconeval.errors.UsageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"{name} needs" in done.stdout
    assert f"pip install 'reconeval[{extra}]'" in done.stdout
    assert done.stdout.count("\n") == 1
