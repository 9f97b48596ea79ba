"""The contracts of decoders and predictors: every check is seen to pass and to fail."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from reconeval.contract import (
    SUBJECTS,
    check_names,
    checks,
    few_cells,
    predictor_contract_data,
    run_check,
)
from reconeval.errors import UsageError
from reconeval.inputs import Inputs
from reconeval.offers_embedded import DecodingData
from reconeval.spec import parse_models
from tests import broken_by_task
from tests.conftest import ROOT

TASKS = {"decode": "Decoder", "latent_shift": "Predictor"}
SOUND = {"decode": ["SoundDecoder"], "latent_shift": ["SoundPredictor", "SoundPredictorOfTypes"]}
BROKEN = {
    task: {
        name: cls
        for name, cls in vars(broken_by_task).items()
        if name.startswith(prefix) and getattr(cls, "breaks", None)
    }
    for task, prefix in TASKS.items()
}
FAULTY = [(task, name) for task, broken in BROKEN.items() for name in broken]
# Faults that break most checks.
WIDE = {"signatures", "training", "prediction"}
MATRIX_DRIVEN = {
    "training_untouched",
    "prediction",
    "input_untouched",
    "read_only_input",
    "repeated_prediction",
    "batch_composition",
    "cell_order",
    "other_cells",
    "one_cell",
    "float_types",
    "descriptor_matters",
    "unseen_descriptor",
}


def spec_of(name):
    return parse_models([f"tests.broken_by_task:{name}"], folder=ROOT)[0]


def subject_of(name, cells):
    spec = spec_of(name)
    return SUBJECTS[spec.task](spec, *cells)


def failures(name, cells):
    subject = subject_of(name, cells)
    return {
        check.name for check in checks(subject.task) if run_check(check, subject).status == "failed"
    }


def decoder_cells(embedding, X, n_test):
    """Training and test cells of a decoder from arrays of all cells."""
    obs = pd.DataFrame(
        {"marked": np.arange(len(X)) % 3 == 0}, index=[f"c{i}" for i in range(len(X))]
    )
    data = DecodingData(
        X=X[n_test:],
        embedding=embedding[n_test:],
        obs=obs[n_test:],
        genes=tuple(f"g{j}" for j in range(X.shape[1])),
    )
    return data, Inputs({"embedding": embedding[:n_test]}, {"obs": obs[:n_test]})


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(32, 5)).astype(np.float32)
    X = np.maximum(embedding @ rng.normal(size=(5, 7)), 0).astype(np.float32)
    return {
        "decode": decoder_cells(embedding, X, 8),
        "latent_shift": predictor_contract_data(),
    }


class TestEveryCheck:
    """Checks against the models written to break them."""

    @pytest.mark.parametrize("task", TASKS)
    def test_has_a_model_that_breaks_it(self, task):
        assert {cls.breaks for cls in BROKEN[task].values()} == set(check_names(task))

    @pytest.mark.parametrize("task", TASKS)
    def test_says_its_rule(self, task):
        assert all(check.rule.endswith(".") and "\n" not in check.rule for check in checks(task))

    @pytest.mark.parametrize(("task", "name"), [(t, name) for t in TASKS for name in SOUND[t]])
    def test_passes_on_a_sound_model(self, task, name, cells):
        assert failures(name, cells[task]) == set()

    @pytest.mark.parametrize(("task", "name"), FAULTY)
    def test_fails_on_the_model_that_breaks_it(self, task, name, cells):
        cls, failed = BROKEN[task][name], failures(name, cells[task])
        assert cls.breaks in failed
        if cls.breaks not in WIDE:
            assert failed == {cls.breaks} | cls.also

    @pytest.mark.parametrize(("task", "name"), FAULTY)
    def test_is_told_in_one_line(self, task, name, cells):
        subject = subject_of(name, cells[task])
        message = run_check(BROKEN[task][name].breaks, subject).message
        assert message.startswith(f"{name}: ")
        assert "\n" not in message

    def test_stands_in_the_documentation(self):
        text = (ROOT / "docs" / "models-bring-your-own.md").read_text()
        table = text.partition("| check | the model must |")[2].partition("\n\n")[0]
        listed = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
        assert sorted(listed) == sorted({name for task in SUBJECTS for name in check_names(task)})

    def test_query_mapping_has_none(self):
        assert check_names("query_mapping") == ()

    def test_absent_files_are_not_offered(self, cells):
        subject = subject_of("SoundPredictorOfTypes", cells["latent_shift"])
        assert run_check("save_load", subject).status == "not offered"


@st.composite
def embedded_cells(draw):
    """Embedding and expression of a few cells, no two alike and no array without a sum."""
    n, d, genes = draw(st.integers(12, 20)), draw(st.integers(2, 6)), draw(st.integers(2, 6))
    values = st.floats(-9, 9, width=32)
    embedding = draw(hnp.arrays(np.float32, (n, d), elements=values))
    embedding[:, 0] = 1 + np.arange(n)
    embedding[:, 1:] = np.clip(embedding[:, 1:], 0, None)
    X = draw(hnp.arrays(np.float32, (n, genes), elements=st.floats(0, 9, width=32)))
    X[:, 0] = 1 + np.arange(n)
    return decoder_cells(embedding, X, draw(st.integers(4, 6)))


@st.composite
def perturbed_cells(draw):
    """Cells as they are drawn for the contract, of other sizes and types of numbers."""
    sizes = {"n_each": (4, 8), "embed_dim": (2, 6), "cov_dim": (2, 5), "n_genes": (2, 5)}
    drawn = {name: draw(st.integers(*bounds)) for name, bounds in sizes.items()}
    data, inputs = predictor_contract_data(**drawn, seed=draw(st.integers(0, 2**16)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    values = st.floats(-9, 9, width=32)
    extra = draw(hnp.arrays(np.float32, inputs.first.shape, elements=values))
    extra[:, 0] = 1 + np.arange(len(extra))

    def change(name, array):
        return (array if name == "pert_cov" else extra).astype(dtype)

    return data, inputs.change(change)


GENERATED = {"decode": embedded_cells(), "latent_shift": perturbed_cells()}


class TestGeneratedMatrices:
    """Shapes, values and types drive the checks."""

    @pytest.mark.parametrize("task", TASKS)
    @given(drawn=st.data())
    def test_sound_models_pass(self, task, drawn):
        name, cells = drawn.draw(st.sampled_from(SOUND[task])), drawn.draw(GENERATED[task])
        assert failures(name, cells) == set()

    @pytest.mark.parametrize("task", TASKS)
    @given(drawn=st.data())
    def test_broken_models_fail(self, task, drawn):
        broken = [name for name, cls in BROKEN[task].items() if cls.breaks in MATRIX_DRIVEN]
        name, cells = drawn.draw(st.sampled_from(broken)), drawn.draw(GENERATED[task])
        subject = subject_of(name, cells)
        assert run_check(BROKEN[task][name].breaks, subject).status == "failed"


class TestMessages:
    """A failure says what, where and what was expected, in the words of the task."""

    @pytest.mark.parametrize(
        ("name", "parts"),
        [
            ("PredictorPredictsNaN", ["1 NaN or infinite of 240 values", "cell 29, dimension 7"]),
            ("PredictorPredictsOneColumnLess", ["(30, 7)", "(30, 8)", "a column per dimension"]),
            ("DecoderPredictsOneColumnLess", ["(8, 6)", "(8, 7)", "a column per gene"]),
            ("PredictorNeedsMore", ["cannot be called with ctrl_emb and pert_cov", "'dose'"]),
            ("DecoderNeedsMore", ["cannot be called with the embedding", "'library_size'"]),
            ("PredictorScalesDescriptors", ["changed 120 of 120 values of its pert_cov"]),
            ("PredictorCentresTraining", ["train changed 480 of 480 values of its pert_emb"]),
            ("PredictorLocksTraining", ["train changed (shape, dtype, writeable) of its pert_cov"]),
            ("PredictorChangesDecoder", ["train changed its decode", "by up to 1 in"]),
            ("PredictorIgnoresDescriptor", ["30 control cells get the same prediction"]),
            ("PredictorKnowsByHeart", ["KeyError", "a descriptor that no training cell has"]),
            ("DecoderWorksInPlace", ["changed 40 of 40 values of its input"]),
            ("DecoderChangesObs", ["changed its obs"]),
        ],
    )
    def test_says_what_where_and_expected(self, name, parts, cells):
        spec = spec_of(name)
        check = vars(broken_by_task)[name].breaks
        message = run_check(check, subject_of(name, cells[spec.task])).message
        assert all(part in message for part in parts), message

    def test_a_decoder_is_no_reconstruction_model(self, cells):
        with pytest.raises(UsageError, match="is a decode model; these cells are for latent_shift"):
            SUBJECTS["latent_shift"](spec_of("SoundDecoder"), *cells["latent_shift"])

    @pytest.mark.parametrize("check", ["descriptor_matters", "unseen_descriptor"])
    def test_one_descriptor_alone_checks_nothing(self, check, cells):
        data, inputs = cells["latent_shift"]
        alone = replace(data, pert_cov=np.ones_like(data.pert_cov))
        outcome = run_check(check, subject_of("SoundPredictor", (alone, inputs)))
        assert outcome.status == "not offered"
        assert "one descriptor alone" in outcome.message

    def test_exceptions_are_those_of_the_task(self, tmp_path):
        (tmp_path / "models.toml").write_text(
            '[still]\ntarget = "tests.broken_by_task:PredictorIgnoresDescriptor"\n'
            'exceptions = {descriptor_matters = "moves every cell alike"}\n'
            '[odd]\ntarget = "tests.broken_by_task:SoundDecoder"\n'
            'exceptions = {descriptor_matters = "has none"}\n'
        )
        path = tmp_path / "models.toml"
        (still,) = parse_models([f"{path}:still"], folder=ROOT)
        subject = SUBJECTS["latent_shift"](still, *predictor_contract_data())
        outcome = run_check("descriptor_matters", subject)
        assert outcome.status == "excepted"
        assert outcome.message.startswith("moves every cell alike [still: ")
        with pytest.raises(UsageError, match="unknown check 'descriptor_matters'"):
            parse_models([f"{path}:odd"], folder=ROOT)


class TestCells:
    """The few cells on which the contract is checked."""

    def test_predictors_see_three_perturbations_with_an_effect(self):
        data, inputs = predictor_contract_data()
        assert sorted(set(data.perturbation)) == ["A", "A+B", "B"]
        assert data.ctrl_emb.shape == data.pert_emb.shape == (60, 8)
        assert data.pert_cov.shape == (60, 4)
        assert len(inputs) == 30
        seen = {row.tobytes() for row in data.ctrl_emb}
        assert not any(row.tobytes() in seen for row in inputs.first)
        shift = data.pert_emb - data.ctrl_emb
        means = {name: shift[data.perturbation == name].mean(axis=0) for name in ("A", "B", "A+B")}
        np.testing.assert_allclose(means["A+B"], means["A"] + means["B"], atol=0.2)
        assert np.linalg.norm(means["A"]) > 0.5

    def test_of_a_run_are_the_first_of_each_perturbation(self):
        data, inputs = few_cells(*predictor_contract_data(n_each=50, seed=1))
        labels, counts = np.unique(data.perturbation, return_counts=True)
        assert dict(zip(labels, counts, strict=True)) == {"A": 20, "A+B": 20, "B": 20}
        assert len(data.cell_type) == len(data.ctrl_cov) == len(data.pert_emb) == 60
        assert len(data.val_pert_cov) == len(inputs) == len(inputs.labels["cell_type"]) == 60

    def test_of_a_run_of_a_decoder_are_the_first(self):
        rng = np.random.default_rng(0)
        X = rng.random((400, 3), dtype=np.float32)
        data, inputs = few_cells(*decoder_cells(X[:, :2], X, 100))
        np.testing.assert_array_equal(data.X, X[100:356])
        np.testing.assert_array_equal(data.embedding, X[100:356, :2])
        assert list(data.obs.index) == [f"c{i}" for i in range(100, 356)]
        assert len(inputs) == len(inputs.labels["obs"]) == 64
