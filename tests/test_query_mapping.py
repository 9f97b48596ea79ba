"""What is asked of a mapping, on a linear model whose answers are known, and in the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval.cases.query_mapping import (
    QueryMappingCase,
    make_query_split,
    query_split_names,
)
from reconeval.datasets import load_dataset
from reconeval.datasets._types import Dataset
from reconeval.errors import ModelError, Undefined, UsageError
from reconeval.query_mapping.cells import QueryCells, query_cells
from reconeval.query_mapping.checks import CHECKS
from reconeval.query_mapping.entries import MAPPING, MOST_DIFFERENCE
from reconeval.query_mapping.models import check_offers
from reconeval.query_mapping.places import n_trainings
from reconeval.query_mapping.runs import Mappings
from reconeval.query_mapping.trainings import Trainings
from reconeval.spec import parse_models
from tests import query_models
from tests.conftest import ROOT
from tests.query_models import Mapper, QueryModel

BATCHES = ("b3", "b4")


def dataset_of(n_cells=120, n_genes=12, labels=("r1", "r2", "b3", "b4"), seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3, size=(n_cells, n_genes)).astype(np.float32) + 1
    library = counts.sum(axis=1)
    adata = anndata.AnnData(
        np.log1p(counts / library[:, None] * 1e4).astype(np.float32),
        obs=pd.DataFrame(
            {
                "batch": np.resize(labels, n_cells),
                "cell_type": np.resize(["A", "B", "C"], n_cells),
                "total_counts": library,
            },
            index=[f"cell{i}" for i in range(n_cells)],
        ),
        var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]),
        layers={"counts": counts},
    )
    return Dataset("made", "1", "0" * 64, adata, "cell_type", "batch")


def trainings_of(*, batches=BATCHES, seed=0, **faults):
    dataset = dataset_of()
    case = QueryMappingCase(dataset, make_query_split(dataset, batches))
    model = QueryModel()
    model.train(case.data.adata(), batch_key="batch")
    return Trainings(model.query_mapper(**faults), query_cells(dataset, case.split), seed=seed)


def answer(name, trainings):
    return CHECKS[name](trainings)


class TestSplit:
    def test_sides_are_disjoint_and_complete(self):
        dataset = load_dataset("immune_batches")
        labels = np.asarray(dataset.adata.obs["batch"].astype(str))
        whole = make_query_split(dataset, BATCHES)
        assert set(labels[np.concatenate([whole.train, whole.val])]) == {"b1", "b2"}
        assert (len(whole.train), len(whole.val), len(whole.test)) == (450, 50, 500)
        assert sorted([*whole.train, *whole.val, *whole.query]) == list(range(1000))
        assert len(whole.mapped) == 250
        scored = []
        for name in query_split_names(BATCHES)[1:]:
            split = make_query_split(dataset, BATCHES, name)
            assert set(labels[split.test]) == {split.batch}
            assert not set(split.test) & set(split.mapped)
            assert np.array_equal(split.train, whole.train)
            assert split.name == f"query:{split.batch}:{split.stage}"
            scored += list(split.test)
        assert sorted(set(scored)) == sorted(set(whole.query) - set(whole.mapped))

    def test_before_and_after_are_asked_about_the_same_cells(self):
        dataset = dataset_of()
        before, after = (
            make_query_split(dataset, BATCHES, f"query:b3:{stage}") for stage in ("before", "after")
        )
        assert np.array_equal(before.test, after.test)

    @given(st.permutations(["x", "y y", "z:1"]), st.integers(1, 2))
    def test_any_batches_of_any_name(self, labels, n_query):
        dataset = dataset_of(labels=labels, n_cells=90)
        batches = tuple(labels[:n_query])
        names = query_split_names(batches)
        assert len(set(names)) == 1 + 2 * n_query
        for name in names:
            assert make_query_split(dataset, batches, name).name == name

    @pytest.mark.parametrize(
        ("batches", "message"),
        [
            (("b5",), r"no batch 'b5' \(batches: b3, b4, r1, r2\)"),
            (("r1", "r2", "b3", "b4"), "leave 0 cells for the reference"),
        ],
    )
    def test_batches_that_cannot_be(self, batches, message):
        with pytest.raises(UsageError, match=message) as caught:
            make_query_split(dataset_of(), batches)
        assert "\n" not in str(caught.value)

    def test_small_batches_and_batches_of_one_name_are_refused(self):
        with pytest.raises(UsageError, match="'b4' has 10 cells, expected at least 20"):
            make_query_split(dataset_of(n_cells=40), ("b4",))
        with pytest.raises(UsageError, match="rename the batches"):
            query_split_names(("a b", "a-b"))
        with pytest.raises(UsageError, match="has no batches to map"):
            make_query_split(load_dataset("immune"), ("b1",))


class TestChecks:
    def test_a_sound_mapping_has_nothing_to_hide(self):
        trainings = trainings_of()
        for name, entry in MAPPING.items():
            if entry.limit is not None:
                assert answer(name, trainings).value <= entry.limit

    @pytest.mark.parametrize(
        ("fault", "name", "least"),
        [
            ({"drift": 1e-3}, "reference_drift", 1e-3),
            ({"neighbours": True}, "query_batch_dependence", 1e-5),
            ({"rounding": True}, "query_minibatch_dependence", 1e-4),
            ({"forgets": True}, "query_reload_difference", 1e-2),
            ({"unseeded": True}, "query_same_seed_difference", 1e-6),
        ],
    )
    def test_each_fault_is_found_by_its_check_with_a_cause(self, fault, name, least):
        found = answer(name, trainings_of(**fault))
        assert found.value > max(least, MAPPING[name].limit)
        assert len(found.cause) > 40
        assert "\n" not in found.cause
        others = {"reference_drift", "query_batch_dependence", "query_minibatch_dependence"}
        for other in others - {name}:
            assert answer(other, trainings_of(**fault)).value <= MOST_DIFFERENCE

    def test_a_fault_of_the_decoder_alone_is_found(self):
        trainings = trainings_of(loose_decoder=True)
        joint, repeated, query = trainings.joint, trainings.repeated, trainings.cells.query
        assert np.array_equal(joint.latent(query), repeated.latent(query))
        expected = {
            "query_reload_difference": abs(joint.shift),
            "query_same_seed_difference": abs(joint.shift - repeated.shift),
        }
        for name, shift in expected.items():
            found = answer(name, trainings)
            assert found.value == pytest.approx(shift, abs=1e-5)
            assert found.value > MAPPING[name].limit
            assert len(found.cause) > 40

    def test_the_drift_is_the_largest_change_of_a_reference_cell(self):
        trainings = trainings_of(drift=1e-3)
        cells, axes = trainings.cells.reference, trainings.mapper.axes
        steps = max(one.n_steps for one in [trainings.joint, *trainings.separate.values()])
        Z = np.asarray(cells.X, dtype=np.float64) @ axes
        expected = np.abs(Z * (1 - (1 - 1e-3) ** steps)).max()
        found = answer("reference_drift", trainings)
        assert found.value == pytest.approx(expected, rel=1e-4)
        assert "b3, b4 jointly" in found.cause

    def test_the_reconstruction_of_the_reference_is_measured_too(self):
        trainings = trainings_of(drift=1e-3)
        X, axes = np.asarray(trainings.cells.reference.X), trainings.mapper.axes
        share = 1 - (1 - 1e-3) ** (2 * trainings.joint.n_steps)
        expected = np.abs(X @ axes @ axes.T).max() * share
        found = answer("reference_reconstruction_drift", trainings).value
        assert found == pytest.approx(expected, rel=1e-3)
        assert answer("reference_reconstruction_drift", trainings_of()).value == 0

    def test_a_reconstruction_that_separate_training_alone_moves_is_found(self):
        trainings = trainings_of()
        mapped = trainings.separate["b4"]
        mapped.axes = mapped.axes * 1.1
        X, axes = np.asarray(trainings.cells.reference.X), trainings.mapper.axes
        found = answer("reference_reconstruction_drift", trainings).value
        assert found == pytest.approx(np.abs(X @ axes @ axes.T).max() * 0.21, rel=1e-3)

    def test_separate_and_joint_training_differ_by_what_the_offsets_do(self):
        trainings = trainings_of(rate=0.02)
        joint = trainings.joint.offsets
        by_hand = max(
            np.abs(trainings.separate[batch].offsets[batch] - joint[batch]).max()
            for batch in BATCHES
        )
        found = answer("query_separate_vs_joint_epochs", trainings).value
        assert found == pytest.approx(by_hand, rel=1e-3)
        assert {one.n_steps for one in trainings.separate.values()} == {5}
        assert {one.n_steps for one in trainings.separate_by_steps.values()} == {10}
        assert trainings.joint.n_steps == 10

    def test_a_difference_of_steps_alone_is_told_as_such(self):
        # The start is drawn anew for b4 in the joint training, and matters by 1e-2 at most.
        share = answer("query_steps_share", trainings_of(rate=0.02)).value
        assert 0.99 < share <= 1
        assert (
            answer("query_separate_vs_joint_steps", trainings_of(rate=0.02)).value
            < 0.1 * answer("query_separate_vs_joint_epochs", trainings_of(rate=0.02)).value
        )

    def test_a_difference_that_steps_do_not_explain_has_no_such_share(self):
        # At rate 0 nothing is learned: what differs are the first draws, whatever the steps.
        assert answer("query_steps_share", trainings_of(rate=0.0)).value == pytest.approx(0)

    def test_equal_steps_may_take_the_recipes_further_apart(self):
        trainings = trainings_of(rate=0.02)
        for batch in BATCHES:  # as a warm-up by epochs might do
            mapped = trainings.separate_by_steps[batch]
            mapped.offsets[batch] = mapped.offsets[batch] + 100
        assert answer("query_steps_share", trainings).value < 0
        assert "KL weight" in MAPPING["query_steps_share"].summary

    def test_other_seeds_and_the_spread_are_measured(self):
        trainings = trainings_of(rate=0.0)
        joint, other = trainings.joint.offsets, trainings.other_seed.offsets
        by_hand = max(np.abs(joint[batch] - other[batch]).max() for batch in BATCHES)
        assert answer("query_other_seed", trainings).value == pytest.approx(by_hand, rel=1e-3)
        latent = trainings.joint.latent(trainings.cells.query)
        spread = np.std(latent, axis=0).mean()
        assert answer("query_latent_sd", trainings).value == pytest.approx(spread, rel=1e-5)

    def test_one_query_batch_is_always_alone(self):
        trainings = trainings_of(batches=("b4",))
        for name in ("query_separate_vs_joint_epochs", "query_steps_share"):
            with pytest.raises(Undefined, match="b4 is the only query batch"):
                answer(name, trainings)
        assert answer("reference_drift", trainings).value == 0

    def test_a_frozen_encoder_leaves_nothing_to_explain(self):
        trainings = trainings_of()
        trainings.__dict__["separate"] = dict.fromkeys(BATCHES, trainings.joint)
        with pytest.raises(Undefined, match="no weights that query training changes"):
            answer("query_steps_share", trainings)

    def test_values_that_are_not_finite_are_the_models_fault(self):
        trainings = trainings_of()
        trainings.joint.axes[:] = np.nan
        with pytest.raises(ModelError, match="values that are not finite"):
            answer("query_batch_dependence", trainings)

    def test_trainings_are_made_once_and_only_where_asked_for(self):
        made = []

        class Counting(Mapper):
            def map(self, cells, *, seed, max_epochs=None, max_steps=None):
                made.append((len(cells), seed, max_epochs, max_steps))
                return super().map(cells, seed=seed, max_epochs=max_epochs, max_steps=max_steps)

        plain = trainings_of(seed=3)
        mapper = Counting(plain.mapper.axes, plain.mapper.offsets)
        trainings = Trainings(mapper, plain.cells, seed=3)
        answer("query_batch_dependence", trainings)
        answer("query_minibatch_dependence", trainings)
        assert made == [(30, 3, None, None)]
        for check in CHECKS.values():
            check(trainings)
        assert len(made) == 1 + 2 + 2 + 2
        assert (30, 4, None, None) in made  # with another seed

    def test_models_get_cells_that_they_may_spoil_and_no_labels(self):
        cells = trainings_of().cells
        assert list(cells.query.obs) == ["batch"]
        assert list(cells.query.obs_names) == [str(i) for i in range(len(cells.query))]
        cells.mapped().X[:] = 0
        cells.of("b3").obs["batch"] = "spoilt"
        assert (cells.query.X > 0).all()
        assert set(cells.query.obs["batch"]) == {"b3", "b4"}

    def test_parts_are_put_back_in_the_order_of_the_query(self):
        cells = trainings_of().cells
        assert isinstance(cells, QueryCells)
        parts = [cells.of(batch).X for batch in cells.batches]
        assert np.array_equal(cells.gathered(parts), cells.query.X)


class TestRuns:
    def spec(self, target="tests.query_models:QueryModel", **surgery):
        (spec,) = parse_models([target])
        return spec.mapping(surgery)

    def case(self, name="query"):
        dataset = dataset_of()
        return QueryMappingCase(dataset, make_query_split(dataset, BATCHES, name))

    def test_rows_carry_the_answer_and_the_cause_of_a_miss(self):
        run = Mappings((0, 1)).run(self.spec(drift=0.01), self.case(), lambda _: None)
        row = run.row(MAPPING["reference_drift"])
        assert (row.task, row.split, row.family) == ("query_mapping", "query", "query_mapping")
        assert (row.seeds, row.n) == (2, 60)
        assert "weight_decay=0" in row.reason
        sound = run.row(MAPPING["query_batch_dependence"])
        assert (sound.value, sound.reason) == (0, "")

    def test_a_model_is_trained_once_for_all_splits(self):
        QueryModel.n_trained = 0
        mappings, texts = Mappings((0,)), []
        for name in query_split_names(BATCHES):
            run = mappings.run(self.spec(), self.case(name), texts.append)
            assert not run.error
        assert QueryModel.n_trained == 1
        assert texts[0] == "training QueryModel on made, seed 0"

    def test_before_and_after_are_scored_on_the_models_of_then(self):
        mappings = Mappings((0,))
        runs = {
            stage: mappings.run(self.spec(), self.case(f"query:b3:{stage}"), lambda _: None)
            for stage in ("before", "after")
        }
        assert runs["before"].fits[0].model.n_steps == 0
        assert runs["after"].fits[0].model.n_steps == 10
        from reconeval.metrics import get_metric

        row = runs["after"].row(get_metric("mse"))
        case = self.case("query:b3:after")
        X = case.dataset.X[case.split.test]
        axes = runs["after"].fits[0].model.axes
        assert row.value == pytest.approx(np.square(X - X @ axes @ axes.T).mean(), rel=1e-4)
        assert row.n == len(X) == 15

    def test_a_model_that_breaks_says_so_in_every_row(self):
        run = Mappings((0,)).run(self.spec(nonsense=1), self.case(), lambda _: None)
        row = run.row(MAPPING["reference_drift"])
        assert math.isnan(row.value)
        assert "nonsense" in row.reason
        assert "\n" not in row.reason

    def test_what_the_data_do_not_serve_is_not_the_models_fault(self):
        dataset = dataset_of()
        case = QueryMappingCase(dataset, make_query_split(dataset, ("b4",)))
        run = Mappings((0,)).run(self.spec(), case, lambda _: None)
        assert "only query batch" in run.unserved(MAPPING["query_steps_share"])
        assert run.unserved(MAPPING["reference_drift"]) == ""

    def test_the_number_of_trainings(self):
        places = [("made", name) for name in query_split_names(BATCHES)]
        assert n_trainings(places) == 1 + 3 + 4


def test_a_setting_that_a_models_mapper_does_not_take_is_refused():
    class Strict(QueryModel):
        def query_mapper(self, *, max_epochs=5):
            return super().query_mapper(max_epochs=max_epochs)

    (spec,) = parse_models(["tests.query_models:QueryModel"])
    strict = replace(spec, factory=Strict)
    check_offers([strict.mapping({"max_epochs": 3}), spec.mapping({"bogus": 1})])
    with pytest.raises(UsageError, match=r"^--surgery bogus=1: .* takes no 'bogus'") as caught:
        check_offers([strict.mapping({"bogus": 1})])
    assert "\n" not in str(caught.value)


BENCHMARKS = ROOT / "benchmarks"
FILE = BENCHMARKS / "test_query_mapping.py"
ASK = ("--task", "query_mapping")


def bench(pytester, path, *args, model="querymodel:QueryModel"):
    pytester.makepyfile(querymodel=Path(query_models.__file__).read_text())
    return pytester.runpytest(path, "--model", model, *args)


class TestCommand:
    def test_a_whole_run(self, pytester):
        metrics = "reference_drift,query_steps_share,mse,poisson_deviance"
        result = bench(
            pytester,
            BENCHMARKS,
            *ASK,
            "--metrics",
            metrics,
            "--results",
            "out.json",
            "--benchmark-json=b.json",
        )
        assert result.ret == 0, result.stdout.str()
        result.assert_outcomes(passed=11)
        rows = json.loads(Path("out.json").read_text())["rows"]
        assert {row["split"] for row in rows} == set(query_split_names(BATCHES))
        assert {row["task"] for row in rows} == {"query_mapping"}
        drift = next(row for row in rows if row["metric"] == "reference_drift")
        assert (drift["threshold"], drift["verdict"]) == (1e-5, "pass")
        saved = json.loads(Path("b.json").read_text())
        assert saved["reconeval"]["rows"] == rows
        assert [one["group"] for one in saved["benchmarks"]] == ["map"]
        seconds = next(row for row in rows if row["metric"] == "train_seconds")
        assert (seconds["split"], seconds["seeds"]) == ("query", 1)
        assert seconds["value"] == saved["benchmarks"][0]["stats"]["median"] > 0
        result.stdout.fnmatch_lines(["*immune_batches / query *"])

    def test_the_gate_sees_a_recipe_that_got_further_apart(self, pytester):
        metric = "query_separate_vs_joint_epochs"
        bench(pytester, FILE, "--metrics", metric, "--benchmark-json=old.json")
        old = json.loads(Path("old.json").read_text())
        for row in old["reconeval"]["rows"]:
            row["value"] = row["low"] = row["high"] = row["value"] / 2
        Path("old.json").write_text(json.dumps(old))
        gate = ("--benchmark-compare=old.json", "--metric-compare-fail", f"{metric}:1%")
        result = bench(pytester, FILE, "--metrics", metric, *gate)
        assert result.ret == 1
        result.stdout.fnmatch_lines([f"*{metric} on immune_batches/query: *, worse by *"])

    def test_a_miss_fails_in_one_line_with_its_cause(self, pytester):
        result = bench(pytester, FILE, "--surgery", "drift=0.001", "-k", "reference_drift")
        assert result.ret == 1
        where = "reference_drift on immune_batches/query"
        result.stdout.fnmatch_lines([f"*{where}: *, expected at most 1e-05: mapping *"])
        result.stdout.fnmatch_lines(["QueryModel+surgery.drift:0.001 *"])

    def test_a_plain_run_leaves_it_out(self, pytester):
        result = bench(pytester, BENCHMARKS, "--collect-only", "-q")
        assert "test_metric" in result.stdout.str()
        assert "test_query_mapping" not in result.stdout.str()

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--split", "iid"], "name the ones to map by --query-batches"),
            (["--dataset", "immune"], "has no batches to map"),
            (["--dataset", "nothing.h5ad"], "no such dataset and no such file"),
            (["--query-batches", "b9"], "no batch 'b9'"),
            (["--surgery", "train.lr=1"], "without train."),
            (["--batch-key", "batch"], "is for a file of your own"),
            ([str(BENCHMARKS / "test_metrics.py")], "test_metrics.py is not part of query mapping"),
        ],
    )
    def test_bad_usage_is_one_line(self, pytester, args, message):
        result = bench(pytester, FILE, *args)
        assert result.ret == 4
        (line,) = [line for line in result.stderr.lines if line.startswith("ERROR")]
        assert message in line

    def test_a_model_that_maps_nothing_is_refused(self, pytester):
        result = bench(pytester, FILE, model="querymodel:NoMapper")
        assert result.ret == 4
        result.stderr.fnmatch_lines(["*querymodel:NoMapper: offers no query mapping; it takes *"])

    def test_options_of_query_mapping_are_refused_elsewhere(self, pytester):
        result = bench(pytester, BENCHMARKS, "--query-batches", "b3")
        assert result.ret == 4
        result.stderr.fnmatch_lines(["*--query-batches is for query mapping: add --task*"])

    def test_a_file_of_the_users_own(self, pytester):
        dataset_of().adata.write_h5ad("mine.h5ad")
        asked = ("--dataset", "mine.h5ad", "--batch-key", "batch", "--counts-layer", "counts")
        result = bench(pytester, FILE, *asked)
        assert result.ret == 4
        result.stderr.fnmatch_lines(["*mine.h5ad: query mapping of your own file needs --query-*"])
        asked += ("--query-batches", "b3,r1", "--metric-family", "query_mapping")
        result = bench(pytester, FILE, *asked)
        assert result.ret == 0, result.stdout.str()
        result.assert_outcomes(passed=12)
