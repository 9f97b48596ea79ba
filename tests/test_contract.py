"""Every check is seen to pass on sound models and to fail on a model that breaks its rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from reconeval.contract import (
    ATOL,
    RTOL,
    Outcome,
    ReconstructionSubject,
    check_names,
    checks,
    contract_data,
    run_check,
)
from reconeval.errors import ModelError, UsageError
from reconeval.inputs import Inputs
from reconeval.offers import TrainingData
from reconeval.spec import parse_models
from tests import broken_models
from tests.conftest import ROOT

BROKEN = {
    name: cls
    for name, cls in vars(broken_models).items()
    if isinstance(cls, type) and getattr(cls, "breaks", None) and name != "KnownAccident"
}
SOUND = ("Sound", "SoundElsewhere")
MATRIX_DRIVEN = (
    "prediction",
    "input_untouched",
    "read_only_input",
    "repeated_prediction",
    "batch_composition",
    "cell_order",
    "other_cells",
    "one_cell",
    "sparse_input",
    "float_types",
)


def spec_of(name):
    return parse_models([f"tests.broken_models:{name}"], folder=ROOT)[0]


def data_of(X):
    return TrainingData(X=X, genes=tuple(f"g{j}" for j in range(X.shape[1])))


@pytest.fixture(scope="module")
def matrices():
    rng = np.random.default_rng(0)
    X = rng.gamma(1.0, 1.0, (24, 6)) * rng.integers(0, 2, (24, 6))
    return data_of(X[:16].astype(np.float32)), X[16:].astype(np.float32)


def reconstruction(spec, data, X):
    return ReconstructionSubject(spec, data, Inputs({"X": X}))


def subject_of(name, matrices):
    return reconstruction(spec_of(name), *matrices)


def failures(name, matrices):
    subject = subject_of(name, matrices)
    return {check.name for check in checks() if run_check(check, subject).status == "failed"}


class TestEveryCheck:
    """Checks against the models written to break them."""

    def test_has_a_model_that_breaks_it(self):
        assert {cls.breaks for cls in BROKEN.values()} == set(check_names())

    def test_says_its_rule(self):
        assert all(check.rule.endswith(".") and "\n" not in check.rule for check in checks())

    @pytest.mark.parametrize("name", SOUND)
    def test_passes_on_a_sound_model(self, name, matrices):
        assert failures(name, matrices) == set()

    @pytest.mark.parametrize("name", BROKEN)
    def test_fails_on_the_model_that_breaks_it(self, name, matrices):
        cls, failed = BROKEN[name], failures(name, matrices)
        assert cls.breaks in failed
        if cls.breaks not in {"signatures", "training", "prediction"}:  # break most others, too
            assert failed == {cls.breaks} | cls.also

    def test_a_factory_that_returns_a_class_breaks_signatures(self, matrices):
        outcome = run_check("signatures", subject_of("returns_class", matrices))
        assert outcome.status == "failed"
        assert "the class Sound itself" in outcome.message

    def test_abilities_that_are_absent_are_not_offered(self, matrices):
        plain, other = (subject_of(name, matrices) for name in SOUND)
        assert run_check("sparse_input", plain).status == "not offered"
        assert "TypeError" in run_check("sparse_input", plain).message
        assert run_check("sparse_input", other).status == "passed"
        assert run_check("save_load", plain).status == "passed"
        assert run_check("save_load", other).status == "passed"


@st.composite
def expression(draw):
    """Training and test matrices of one number of genes; no two cells and no cell's sum alike."""
    n_genes = draw(st.integers(2, 8))
    values = st.floats(0, 9, width=32)
    tables = []
    for rows in (draw(st.integers(4, 10)), draw(st.integers(4, 10))):
        X = draw(hnp.arrays(np.float32, (rows, n_genes), elements=values))
        X *= draw(hnp.arrays(np.float32, X.shape, elements=st.sampled_from([0, 1])))
        X[:, 0] = 1 + np.arange(rows)
        tables.append(X.astype(draw(st.sampled_from([np.float32, np.float64]))))
    train, X = tables
    return data_of(train.astype(np.float32)), X


class TestGeneratedMatrices:
    """Shapes, values, sparsity and types drive the checks."""

    @given(matrices=expression(), name=st.sampled_from(SOUND))
    def test_sound_models_pass(self, matrices, name):
        assert failures(name, matrices) == set()

    @given(
        matrices=expression(),
        name=st.sampled_from([n for n, cls in BROKEN.items() if cls.breaks in MATRIX_DRIVEN]),
    )
    def test_broken_models_fail(self, matrices, name):
        subject = subject_of(name, matrices)
        assert run_check(BROKEN[name].breaks, subject).status == "failed"


class TestMessages:
    """A failure is one line with the model, the figures and the rule."""

    @pytest.mark.parametrize("name", BROKEN)
    def test_is_one_line(self, name, matrices):
        outcome = run_check(BROKEN[name].breaks, subject_of(name, matrices))
        assert outcome.message.startswith(f"{name}: ")
        assert "\n" not in outcome.message
        assert f"{name}: {name}: " not in outcome.message

    @pytest.mark.parametrize(
        ("name", "parts"),
        [
            ("PredictsNaN", ["1 NaN or infinite of 48 values", "cell 7, gene 5"]),
            ("PredictsOneGeneLess", ["shape (8, 5)", "expected", "(8, 6)"]),
            ("PredictsGenerator", ["a generator", "np.concatenate"]),
            ("PredictsAsynchronously", ["predict (8 cells", "a coroutine", "`def` instead of"]),
            ("PredictsList", ["a list", "np.asarray"]),
            ("PredictsNothing", ["None", "return"]),
            ("PredictsIntegers", ["dtype int64", "astype"]),
            ("PredictsTensor", ["a torch Tensor", ".numpy()"]),
            ("PredictsSparse", ["a scipy csr_matrix", ".toarray()"]),
            ("PredictRaises", ["raised ValueError", "(at broken_models.py:"]),
            ("TrainRaises", ["train raised ValueError: learning rate is negative (at broken_mod"]),
            ("TrainYields", ["train returned a generator, of which nothing has run", "`yield`"]),
            ("TrainIsAsynchronous", ["train returned a coroutine, of which nothing has run"]),
            ("KnowsPlace", ["shuffled", "by up to", "of 48 values", "allowed"]),
            ("AccidentUntrained", ["AttributeError", "call train first"]),
            ("PredictIsNumber", ["predict is no method"]),
        ],
    )
    def test_says_what_where_and_expected(self, name, parts, matrices):
        message = run_check(BROKEN[name].breaks, subject_of(name, matrices)).message
        assert all(part in message for part in parts), message


def test_what_has_not_run_has_refused_nothing_before_training(matrices):
    outcome = run_check("untrained", subject_of("PredictsAsynchronously", matrices))
    assert outcome.status == "failed"
    assert "of which nothing has run" in outcome.message


class TestTolerance:
    """What rounding may change is allowed, more is not."""

    @pytest.mark.parametrize(("factor", "status"), [(0.5, "passed"), (2.0, "failed")])
    def test_is_as_stated(self, factor, status, matrices, monkeypatch):
        data, X = matrices
        subject = reconstruction(spec_of("Sound"), data, X)
        expected = subject.prediction
        allowed = ATOL * max(1.0, np.abs(expected).max()) + RTOL * np.abs(expected)
        monkeypatch.setitem(subject._memo, "twin", expected + factor * allowed)
        assert run_check("same_seed", subject).status == status


class TestDeclaredExceptions:
    """Known exceptions are reported with their reason, not hidden."""

    def test_of_the_class(self, matrices):
        outcome = run_check("untrained", subject_of("KnownAccident", matrices))
        assert outcome.status == "excepted"
        assert outcome.message.startswith("loads weights that are always there [")

    def test_that_is_no_longer_needed(self, matrices):
        outcome = run_check("one_cell", subject_of("KnownAccident", matrices))
        assert outcome.status == "passed"
        assert outcome.message == "declared exception no longer needed, remove it: old"

    def test_of_a_models_file(self, matrices, tmp_path):
        (tmp_path / "models.toml").write_text(
            '[odd]\ntarget = "tests.broken_models:KnowsPlace"\n'
            'exceptions = {cell_order = "reads a time course", save_load = "wrong"}\n'
        )
        (spec,) = parse_models([str(tmp_path / "models.toml")], folder=ROOT)
        subject = reconstruction(spec, *matrices)
        assert run_check("cell_order", subject).message.startswith("reads a time course [odd: ")
        assert "no longer needed" in run_check("save_load", subject).message
        assert run_check("batch_composition", subject).status == "failed"


class TestSubject:
    """Trainings are few and a failing one is not repeated."""

    def trainings(self, monkeypatch, cls):
        log, train = [], cls.train
        monkeypatch.setattr(cls, "train", lambda self, X, seed=0: log.append(1) or train(self, X))
        return log

    def test_trains_four_times_at_most(self, matrices, monkeypatch):
        log = self.trainings(monkeypatch, broken_models.Sound)
        assert failures("Sound", matrices) == set()
        assert len(log) == 4

    def test_does_not_repeat_a_failing_training(self, matrices, monkeypatch):
        log = self.trainings(monkeypatch, broken_models.TrainRaises)
        failures("TrainRaises", matrices)
        assert len(log) == 1

    @pytest.mark.parametrize(
        ("name", "step", "silent"),
        [
            ("TrainRaises", "training", {"signatures", "untrained"}),
            ("BuildRaises", "building", set()),
        ],
    )
    def test_says_a_failing_step_once_and_then_in_short(self, name, step, silent, matrices):
        subject = subject_of(name, matrices)
        outcomes = [run_check(check, subject) for check in checks() if check.name not in silent]
        assert "negative (at broken_models.py:" in outcomes[0].message
        assert {outcome.message for outcome in outcomes[1:]} == {f"as above: {step} failed"}
        assert {outcome.status for outcome in outcomes} == {"failed"}

    def test_refuses_other_tasks(self, matrices, tmp_path):
        (tmp_path / "shift_model.py").write_text(
            "class Shift:\n"
            "    def train(self, ctrl_emb, pert_emb, pert_cov): ...\n"
            "    def predict(self, ctrl_emb, pert_cov): return ctrl_emb\n"
        )
        (spec,) = parse_models([str(tmp_path / "shift_model.py") + ":Shift"])
        with pytest.raises(UsageError, match="latent_shift"):
            reconstruction(spec, *matrices)

    def test_unknown_check_is_refused_with_the_nearest(self, matrices):
        with pytest.raises(UsageError, match="did you mean cell_order"):
            run_check("cell_ordre", subject_of("Sound", matrices))

    def test_outcome_names_its_check(self, matrices):
        outcome = run_check("cell_order", subject_of("Sound", matrices))
        assert outcome == Outcome("cell_order", "passed", "")

    def test_a_bad_prediction_is_a_model_error(self, matrices):
        with pytest.raises(ModelError, match="PredictsNaN"):
            _ = subject_of("PredictsNaN", matrices).prediction


def test_contract_data_are_the_first_cells_of_the_split():
    from reconeval.datasets import load_dataset, make_split

    dataset = load_dataset("pbmc68k")
    split = make_split(dataset, "iid")
    data, inputs = contract_data(dataset, split)
    assert data.X.shape == (256, len(dataset.genes))
    np.testing.assert_array_equal(data.X, dataset.X[split.train[:256]])
    np.testing.assert_array_equal(inputs.first, dataset.X[split.test[:64]])
    assert list(data.obs.index) == list(dataset.adata.obs_names[split.train[:256]])
