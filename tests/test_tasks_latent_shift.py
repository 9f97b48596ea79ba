"""Perturbation predictors as a user runs them, and what the harness gives them to start from."""

import json
from dataclasses import replace
from pathlib import Path

import anndata  # noqa: F401  (pytester restores sys.modules; these load once)
import numpy as np
import pandas as pd
import pandas.core.arrays.arrow.extension_types
import pyarrow.parquet  # noqa: F401
import pytest
import torch  # noqa: F401
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression  # noqa: F401
from sklearn.metrics import r2_score

from reconeval.cases import LatentShiftCase
from reconeval.costs import find
from reconeval.datasets import (
    PerturbationDataset,
    load_perturbation_dataset,
    make_perturbation_split,
)
from reconeval.metrics.perturbational import knn_purity
from reconeval.offers import OFFERED
from reconeval.runs import metric_names, train
from reconeval.spec import parse_models
from tests.conftest import ROOT
from tests.example_models import GOOD
from tests.task_models import PREDICTORS

BENCHMARKS = str(ROOT / "benchmarks")
METRICS = str(ROOT / "benchmarks" / "test_metrics.py")
SMALL = ("--dataset", "latent_synthetic")
QUICK = (*SMALL, "--metrics", "mse,latent_r2")


@pytest.fixture(autouse=True)
def user_folder(pytester, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(mine=PREDICTORS, whole=GOOD)
    return pytester


def bench(pytester, *args, models=("mine:Linear",), path=METRICS):
    flags = [flag for model in models for flag in ("--model", model)]
    return pytester.runpytest(path, *flags, *args)


def rows(path="out.json"):
    return pd.DataFrame(json.loads(Path(path).read_text())["rows"])


class TestRun:
    def test_the_whole_suite_passes_for_a_sound_predictor(self, pytester):
        result = bench(pytester, *SMALL, "--results=out.json", path=BENCHMARKS)
        assert result.ret == 0, result.stdout.str()
        found = rows().set_index("metric")
        assert set(found["task"]) == {"latent_shift"}
        assert set(found["split"]) == {"iid"}
        assert set(metric_names("latent_shift")) <= set(found.index)
        assert {"train_seconds", "predict_cells_per_second", "peak_rss_mb"} <= set(found.index)
        assert (found["verdict"] == "pass").all()
        assert found["value"].notna().all()

    def test_the_controls_tell_a_predictor_from_one_that_does_nothing(self, pytester):
        models = ("mine:Linear", "mine:Nothing")
        result = bench(pytester, *SMALL, "--results=out.json", models=models)
        assert result.ret == 1  # a floor that doing nothing misses
        found = rows().pivot_table(index="metric", columns="model", values="value")
        for name in metric_names("latent_shift"):
            if name == "latent_variance_log2_ratio":  # a shift of all cells leaves their spread
                continue
            metric = find(name)
            good, nothing = (metric.badness(found.loc[name, m]) for m in ("Linear", "Nothing"))
            assert good < nothing, name
        assert found.loc["latent_relative_distance", "Nothing"] == pytest.approx(1, abs=0.1)
        result.stdout.fnmatch_lines(["model *", "Linear *", "Nothing *"])

    def test_seeds_gate_and_selection_work_as_for_any_task(self, pytester):
        save = ("--benchmark-json=old.json", "--seeds=2", "-k", "not contract")
        assert bench(pytester, *QUICK, *save, path=BENCHMARKS).ret == 0
        gate = ("--benchmark-compare=old.json", "--metric-compare-fail=latent_r2:0.001")
        assert bench(pytester, *QUICK, *gate).ret == 0
        document = json.loads(Path("old.json").read_text())
        for row in document["reconeval"]["rows"]:
            assert row["seeds"] == 2
            if row["metric"] == "latent_r2":
                row.update(value=1.0, low=1.0, high=1.0, model="Nothing")
        Path("old.json").write_text(json.dumps(document))
        result = bench(pytester, *QUICK, *gate, "-k", "latent_r2", models=("mine:Nothing",))
        assert result.ret == 1
        result.stdout.fnmatch_lines(["*latent_r2 on latent_synthetic/iid: 1 -> *, worse by *"])

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ("Raises", "*training Raises on latent_synthetic/iid, seed 0 raised ValueError: no g*"),
            ("Lost", "*Lost.predict on latent_synthetic/iid, seed 0 raised KeyError: *who is*"),
            ("Narrow", "*(500, 127)*(500, 128)*a column per dimension*"),
            ("Nan", "*NaN*dimension 0; expected finite values"),
        ],
    )
    def test_a_broken_one_does_not_take_others_along(self, pytester, model, message):
        models = (f"mine:{model}", "mine:Linear")
        result = bench(pytester, *QUICK, "--results=out.json", models=models)
        result.assert_outcomes(passed=2, failed=2)
        result.stdout.fnmatch_lines([f"mse on latent_synthetic/iid: undefined, {message}"])
        found = rows().set_index("model")["value"]
        assert found["Linear"].notna().all()
        assert found[model].isna().all()

    def test_one_that_spoils_its_arguments_harms_nobody(self, pytester):
        models = ("mine:Spoils", "mine:Linear")
        bench(pytester, *QUICK, "--seeds=2", "--results=out.json", models=models)
        found = rows().set_index(["metric", "model"])["value"]
        for metric in ("mse", "latent_r2"):
            assert found[metric, "Spoils"] == found[metric, "Linear"]

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (("--split", "random"), "--split random: unknown, expected one of iid, perturbation*"),
            (("--split", "cell_type"), "*latent_synthetic*"),
            (("--metrics", "pathway"), "--metrics pathway: a biological metric, *"),
            (("--metrics", "poisson_deviance"), "--metrics poisson_deviance: *"),
            (("--embedder", "mine:Linear"), "--embedder is for decoders*latent_shift*"),
            (("--embedding", "X_pca"), "--embedding is for a file of your own: add --dataset*"),
            (("--perturbation-key", "x"), "--perturbation-key is for a file of your own: add*"),
            (("--model", "whole:Good"), "--model mine:Linear is for the task latent_shift, *"),
            (("--dataset", "immune"), "--dataset immune: no such dataset*latent_synthetic*"),
        ],
    )
    def test_bad_use_is_refused_in_one_line(self, pytester, args, message):
        result = bench(pytester, *SMALL, *args)
        assert result.ret == 4
        lines = [line for line in result.errlines if line.strip()]
        assert len(lines) == 1, lines
        result.stderr.fnmatch_lines([f"ERROR: {message}"])

    def test_a_file_of_ones_own_needs_to_say_what_was_perturbed(self, pytester):
        Path("mine.h5ad").write_bytes(b"")
        result = bench(pytester, "--dataset=mine.h5ad")
        assert result.ret == 4
        result.stderr.fnmatch_lines(
            ["ERROR: --dataset mine.h5ad: a file of your own needs --perturbation-key*"]
        )


class Linear:
    """What `mine:Linear` of the user's folder is."""

    def train(self, ctrl_emb, pert_emb, pert_cov):
        self.weights = np.linalg.lstsq(pert_cov, pert_emb - ctrl_emb, rcond=None)[0]

    def predict(self, ctrl_emb, pert_cov):
        self.asked = [*getattr(self, "asked", []), ctrl_emb.copy()]
        return ctrl_emb + (pert_cov @ self.weights).astype(np.float32)


NAMES = ("A", "B", "C", "A+B")


def drawn(n=400, *, types=2, known=False, seed=0):
    """Cells of four perturbations that shift them along known lines, in 5 dimensions."""
    rng = np.random.default_rng(seed)
    shifts = {name: rng.normal(size=5) for name in NAMES[:3]}
    shifts["A+B"] = shifts["A"] + shifts["B"]
    descriptors = {"A": [1, 0, 0], "B": [0, 1, 0], "C": [0, 0, 1], "A+B": [1, 1, 0]}
    labels = np.repeat(["ctrl", *NAMES], n)
    cell_types = np.array([f"T{i}" for i in rng.integers(0, types, len(labels))])
    conditions = np.array([f"d{i}" for i in rng.integers(0, 2, len(labels))])
    embedding = rng.normal(size=(len(labels), 5)) + 3.0 * (cell_types == "T1")[:, None]
    partner = np.full(len(labels), -1)
    for k, name in enumerate(NAMES, start=1):
        rows = slice(k * n, (k + 1) * n)
        if known:
            partner[rows] = rng.permutation(n)
            embedding[rows] = embedding[partner[rows]]
            cell_types[rows], conditions[rows] = (
                cell_types[partner[rows]],
                conditions[partner[rows]],
            )
        embedding[rows] += shifts[name] + rng.normal(0, 0.1, (n, 5))
    genes = rng.normal(size=(5, 12))
    return PerturbationDataset(
        name="drawn",
        version="user",
        sha256="0" * 64,
        genes=tuple(f"g{j}" for j in range(12)),
        X=(embedding @ genes + rng.normal(0, 0.5, (len(labels), 12))).astype(np.float32),
        embedding=embedding.astype(np.float32),
        perturbation=labels,
        control="ctrl",
        descriptors={name: np.array(v, np.float32) for name, v in descriptors.items()},
        decode=lambda Z: (Z @ genes).astype(np.float32),
        cell_types=cell_types,
        conditions=conditions,
        partner=partner if known else None,
        parts={"A+B": ("A", "B")},
    )


def case_of(dataset, split="iid"):
    return LatentShiftCase(dataset, make_perturbation_split(dataset, split))


def groups_of(case):
    """Positions among the test cells of each perturbation in each cell type."""
    test, effects = case.split.test, case.effects
    labels = case.dataset.perturbation[test], case.dataset.cell_types[test]
    return [
        np.flatnonzero((labels[0] == group.perturbation) & (labels[1] == group.covariate))
        for group in effects.groups
    ]


def run_of(case, cls="Linear", seeds=(0,)):
    (spec,) = parse_models([f"tests.test_tasks_latent_shift:{cls}"], folder=ROOT)
    run = train(spec, case, seeds)
    assert not run.error, run.error
    return run


class TestStart:
    """Which control cells predictions start from."""

    def test_from_the_half_that_the_truth_is_not_taken_against(self):
        case = case_of(drawn())
        dataset, split, effects = case.dataset, case.split, case.effects
        start = case.test_input().first
        assert effects.covariates.tolist() == dataset.cell_types[split.test].tolist()
        for kind in ("T0", "T1"):
            truth, prediction = (
                dataset.embedding[split.test_controls[half]] for half in effects.halves(kind)
            )
            here = start[dataset.cell_types[split.test] == kind]
            assert cdist(here, prediction).min(axis=1).max() == 0
            assert cdist(here, truth).min() > 0

    def test_partners_are_of_the_same_type_and_condition_and_those_of_the_split_if_they_can(self):
        case = case_of(drawn())
        dataset, split = case.dataset, case.split
        partners = case._partners
        for labels in (dataset.cell_types, dataset.conditions):
            assert (labels[partners] == labels[split.test]).all()
        kept = partners == split.test_partner
        assert 0.3 < kept.mean() < 0.7
        halves = [case.effects.halves(kind)[1] for kind in ("T0", "T1")]
        allowed = set(split.test_controls[np.concatenate(halves)])
        assert set(partners) <= allowed
        assert {p in allowed for p in split.test_partner[~kept]} == {False}
        np.testing.assert_array_equal(case_of(dataset)._partners, partners)

    @given(
        n=st.integers(20, 160),
        types=st.integers(1, 4),
        seed=st.integers(0, 5),
        kind=st.sampled_from(["iid", "perturbation", "known"]),
    )
    @settings(max_examples=25)
    def test_no_start_is_a_control_of_the_truths_half(self, n, types, seed, kind):
        known = kind == "known"
        case = case_of(drawn(n, types=types, known=known, seed=seed), "iid" if known else kind)
        effects, partners = case.effects, case._partners
        assert set(partners) <= set(case.split.test_controls)
        for covariate in set(effects.covariates):
            truth = set(case.split.test_controls[effects.halves(covariate)[0]])
            scored = partners[case._kept][effects.covariates == covariate]
            assert len(scored) > 0
            assert not truth & set(scored)
        assert len(case.test_input()) == len(case.split.test)

    def test_labels_come_to_a_predictor_that_names_them(self):
        case = case_of(drawn())
        inputs = case.test_input()
        np.testing.assert_array_equal(
            inputs.labels["cell_type"], case.dataset.cell_types[case.split.test]
        )
        np.testing.assert_array_equal(
            inputs.labels["condition"], case.dataset.conditions[case.split.test]
        )
        assert set(case_of(replace(case.dataset, cell_types=None)).test_input().labels) == {
            "condition"
        }

    def test_known_partners_serve_the_metrics_that_compare_cells(self):
        case = case_of(drawn(known=True))
        dataset, split = case.dataset, case.split
        run = run_of(case)
        got = run.row(find("latent_mse")).value
        model = run.fits[0].model
        assert len(model.asked) == 2
        known = dataset.embedding[dataset.partner[split.test]]
        np.testing.assert_array_equal(model.asked[1], known)
        truth = dataset.embedding[split.test]
        prediction = run.fits[0].model.predict(known, case.test_input().arrays["pert_cov"])
        assert got == pytest.approx(np.square(truth - prediction).mean(), rel=1e-5)
        genes = run.row(find("r2")).value
        X, Y = dataset.decode(truth), dataset.decode(prediction)
        expected = [r2_score(X[rows].mean(0), Y[rows].mean(0)) for rows in groups_of(case)]
        assert genes == pytest.approx(np.mean(expected), rel=1e-4)
        run.row(find("mse"))
        assert len(model.asked) == 3  # this test's own; the second prediction serves them all

    def test_unknown_partners_leave_these_without_a_value(self):
        run = run_of(case_of(drawn()))
        for name in ("mse", "mae", "pearson_cell", "pearson_gene", "latent_mse"):
            row = run.row(find(name))
            assert np.isnan(row.value)
            assert row.reason.startswith(
                "nobody knows which control cell became which perturbed one"
            )
            assert run.unserved(find(name)) == row.reason
        assert run.row(find("latent_r2")).value > 0.8
        assert len(run.fits[0].model.asked) == 1


class TestEffects:
    def test_within_cell_types_where_most_groups_are_large(self):
        few = case_of(drawn(n=60))  # 18 test cells of each perturbation, of two types
        assert set(few.effects.covariates) == {""}
        assert len(few.effects.X) == len(few.split.test)
        many = case_of(drawn())
        assert set(many.effects.covariates) == {"T0", "T1"}

    def test_small_groups_are_left_out_of_effects_but_not_of_other_scores(self):
        dataset = drawn()
        rare = np.flatnonzero(dataset.perturbation == "C")[:30]
        dataset.cell_types[rare] = "T2"
        case = case_of(dataset)
        left = dataset.cell_types[case.split.test] != "T2"
        assert 0 < (~left).sum() < 30
        assert len(case.effects.X) == left.sum()
        assert len(case.truth.X) == len(case.split.test)
        run = run_of(case)
        assert run.row(find("latent_pearson_delta")).value > 0.9
        assert run.row(find("latent_r2")).n == len(case.split.test)

    def test_the_pair_of_a_perfect_model_serves_every_metric(self):
        case = case_of(load_perturbation_dataset("latent_synthetic"))
        assert {name: case.unserved(find(name)) for name in metric_names("latent_shift")} == (
            dict.fromkeys(metric_names("latent_shift"), "")
        )

    def test_the_truths_own_score_stands_beside_each(self):
        case = case_of(drawn(known=True))
        for name in ("mse", "latent_mse", "weighted_mse", "latent_energy_distance"):
            assert case.positive(find(name)) == pytest.approx(0, abs=1e-6), name
        dataset, split = case.dataset, case.split
        purity = []
        for group in case.effects.groups:
            cells, controls = case.effects.rows(group), case.effects.control_rows(group.covariate)
            embedding = dataset.embedding[split.test][case._kept][cells]
            others = dataset.embedding[split.test_controls[controls]]
            purity.append(knn_purity(embedding, embedding, others))
        assert case.positive(find("knn_purity")) == pytest.approx(np.mean(purity))
        assert np.mean(purity) < 0.99
        assert case_of(drawn()).positive(find("mse")) is None

    def test_what_the_decoder_does_to_all_cells_is_nobodys_fault(self):
        case = case_of(replace(drawn(), X=np.zeros((2000, 12), np.float32)))
        run = run_of(case)
        assert run.row(find("r2")).value > 0.9
        assert run.row(find("weighted_r2_delta_pert")).value > 0.9
        assert case.positive(find("weighted_r2_delta_pert")) == pytest.approx(1)

    def test_halves_of_the_controls_have_the_same_cell_types_and_conditions(self):
        case = case_of(drawn(n=60))  # of which effects are taken of all types together
        dataset, controls = case.dataset, case.split.test_controls
        both = [
            np.unique(
                np.stack([dataset.cell_types[rows], dataset.conditions[rows]]),
                axis=1,
                return_counts=True,
            )[1]
            for rows in (controls[half] for half in case.effects.halves(""))
        ]
        assert np.abs(both[0] - both[1]).max() <= 1

    def test_latent_scores_are_those_of_the_embedding(self):
        case = case_of(drawn())
        run = run_of(case)
        embedding = case.dataset.embedding
        predicted = run.fits[0].model.asked[0] + (
            case.test_input().arrays["pert_cov"] @ run.fits[0].model.weights
        )
        truth = embedding[case.split.test]
        pairs = [(truth[rows], predicted[rows]) for rows in groups_of(case)]
        assert len(pairs) == 8  # perturbations in cell types
        expected = np.mean([r2_score(X.mean(0), Y.mean(0)) for X, Y in pairs])
        assert run.row(find("latent_r2")).value == pytest.approx(expected, rel=1e-4)
        distances = [
            2 * cdist(X, Y).mean() - cdist(X, X).mean() - cdist(Y, Y).mean() for X, Y in pairs
        ]
        got = run.row(find("latent_energy_distance")).value
        assert got == pytest.approx(np.mean(distances), abs=1e-4)


class TestTraining:
    def test_all_that_is_declared_is_offered(self):
        case = case_of(drawn())
        offers = case.train_offers(seed=4)
        assert set(offers) == set(OFFERED["latent_shift"].train)
        assert set(case.constructor_offers(seed=4)) == set(OFFERED["latent_shift"].constructor)
        made = {name: offer.make() for name, offer in offers.items()}
        dataset, split = case.dataset, case.split
        np.testing.assert_array_equal(made["pert_emb"], dataset.embedding[split.train])
        np.testing.assert_array_equal(made["ctrl_emb"], dataset.embedding[split.train_partner])
        np.testing.assert_array_equal(made["val_pert_emb"], dataset.embedding[split.val])
        np.testing.assert_array_equal(made["perturbation"], dataset.perturbation[split.train])
        expected = [dataset.descriptors[name] for name in made["perturbation"]]
        np.testing.assert_array_equal(made["pert_cov"], expected)
        assert not made["ctrl_cov"].any()
        assert made["ctrl_cov"].shape == made["pert_cov"].shape
        assert made["parts"] == {"A+B": ("A", "B")}
        assert all(made[name].dtype == np.float32 for name in ("ctrl_emb", "pert_emb", "pert_cov"))
        np.testing.assert_array_equal(made["decode"](made["ctrl_emb"][:2]).shape, (2, 12))

    def test_the_controls_have_the_descriptor_that_the_data_say(self):
        dataset = drawn()
        told = {**dataset.descriptors, "ctrl": np.full(3, 7, np.float32)}
        data = case_of(replace(dataset, descriptors=told)).data
        assert (data.ctrl_cov == 7).all()

    def test_no_validation_cells_no_validation_offers(self):
        case = case_of(load_perturbation_dataset("latent_synthetic"))
        assert not any(name.startswith("val_") for name in case.train_offers(seed=0))
