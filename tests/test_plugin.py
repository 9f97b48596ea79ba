"""The suite as a user runs it: `pytest benchmarks --model mymodel:Good`, in the user's folder."""

import gc
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

# pytester restores sys.modules after each run in this process; what cannot be imported twice
# has to be there before.
import anndata
import numpy as np
import pandas as pd
import pandas.core.arrays.arrow.extension_types
import pyarrow.parquet  # noqa: F401
import pytest
import torch
from sklearn.linear_model import LogisticRegression  # noqa: F401

from reconeval.errors import Undefined
from reconeval.metrics import METRICS as REGISTRY
from tests.conftest import ROOT
from tests.example_models import BROKEN, GOOD, MEAN

BENCHMARKS = str(ROOT / "benchmarks")
METRICS = str(ROOT / "benchmarks" / "test_metrics.py")
SMALL = ("--dataset", "pbmc68k", "--split", "iid")
QUICK = (*SMALL, "--metrics", "r2,mse")


@pytest.fixture(autouse=True)
def user_folder(pytester, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(mymodel=GOOD, mean=MEAN, broken=BROKEN)
    return pytester


def bench(pytester, *args, models=("mymodel:Good",), path=METRICS):
    flags = [flag for model in models for flag in ("--model", model)]
    return pytester.runpytest(path, *flags, *args)


def rows_of(path):
    return json.loads(Path(path).read_text())["reconeval"]["rows"]


class TestMainJob:
    def test_the_whole_suite_passes_for_a_sound_model(self, pytester):
        result = bench(pytester, *SMALL, "--benchmark-json=out.json", path=BENCHMARKS)
        assert result.ret == 0
        outcomes = result.parseoutcomes()
        assert outcomes["passed"] > len(REGISTRY) / 2
        assert set(outcomes) <= {"passed", "skipped", "deselected", "warnings"}
        document = json.loads(Path("out.json").read_text())
        rows = {row["metric"]: row for row in document["reconeval"]["rows"]}
        assert rows["mse"]["value"] > 0
        assert rows["mse"]["verdict"] == "pass"
        assert rows["mse"]["threshold"] > rows["mse"]["value"]
        assert rows["train_seconds"]["value"] > 0
        assert document["reconeval"]["schema"] == 1
        benches = {one["group"]: one for one in document["benchmarks"]}
        assert benches["train"]["stats"]["min"] == rows["train_seconds"]["value"]
        assert benches["train"]["extra_info"]["peak_rss_mb"] > 0
        assert benches["predict"]["stats"]["rounds"] == 5
        assert benches["predict"]["extra_info"]["predict_cells_per_second"] > 0

    def test_trains_once_per_seed_however_many_tests_read_it(self, pytester):
        bench(pytester, *SMALL, "--seeds", "2", "-k", "not contract", path=BENCHMARKS)
        assert Path("trainings.log").read_text() == "420 0\n420 1\n"

    def test_the_table_has_all_models_and_marks_the_best(self, pytester):
        result = bench(pytester, *QUICK, models=("mymodel:Good", "mean:Constant"))
        result.stdout.fnmatch_lines(
            [
                "Good *",
                "Constant *",
                "*pbmc68k / iid*(210 test cells, 1 seed)*",
                "mse ↓ *Good *[*]*",
            ]
        )

    def test_verbosity_chooses_between_a_line_per_model_and_all_of_it(self, pytester):
        timings, meaning = "benchmark 'train'", "mse: mean squared error of paired cells"
        expected = {
            ("-q",): (False, False, False),
            (): (True, False, False),
            ("-v",): (True, True, True),
        }
        for flags, parts in expected.items():
            chosen = ("-k", "mse or train_time", *flags)
            result = bench(pytester, *QUICK, *chosen, path=BENCHMARKS)
            text = result.stdout.str()
            result.stdout.fnmatch_lines(["model *pass*fail*", "Good *"])
            assert ("pbmc68k / iid" in text, meaning in text, timings in text) == parts, flags

    def test_seeds_give_mean_and_spread(self, pytester):
        pytester.makepyfile(
            noisy="""
            import numpy as np
            class Noisy:
                def train(self, X, seed):
                    self.seed = seed
                def predict(self, X):
                    return X + 1 + self.seed
            """
        )
        bench(pytester, *QUICK, "--seeds=3", "--results=out.json", models=("noisy:Noisy",))
        rows = json.loads(Path("out.json").read_text())["rows"]
        mse = next(row for row in rows if row["metric"] == "mse")
        assert mse["seeds"] == 3
        assert [mse[k] for k in ("low", "value", "high")] == pytest.approx([1, 14 / 3, 9], 1e-4)

    @pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
    def test_results_are_written_also_when_a_test_fails(self, pytester, ending):
        result = bench(
            pytester, *QUICK, f"--results=out.{ending}", models=("mymodel:Good", "broken:Nan")
        )
        assert result.ret == 1
        table = {
            "csv": pd.read_csv,
            "json": lambda path: pd.DataFrame(json.loads(Path(path).read_text())["rows"]),
            "parquet": pd.read_parquet,
        }[ending](f"out.{ending}")
        assert sorted(set(table["model"])) == ["Good", "Nan"]
        assert len(table) == 4

    def test_the_same_command_twice_gives_the_same_values(self, pytester):
        values = []
        for name in ("a.json", "b.json"):
            bench(pytester, *SMALL, "--no-cache", f"--results={name}")
            rows = json.loads(Path(name).read_text())["rows"]
            values.append({row["metric"]: row["value"] for row in rows})
        assert values[0] == values[1]
        assert len(values[0]) > 10

    def test_a_score_that_one_seed_lacks_is_undefined_not_a_crash(self, pytester, monkeypatch):
        def sometimes(pair):
            if pair.prediction[0, 0] == 1:
                raise Undefined("not this one")
            return 0.0

        monkeypatch.setitem(REGISTRY, "mse", replace(REGISTRY["mse"], compute=sometimes))
        pytester.makepyfile(
            odd="""
            class Odd:
                def train(self, X, seed):
                    self.seed = seed
                def predict(self, X):
                    return X * 0 + self.seed
            """
        )
        result = bench(pytester, *QUICK, "--seeds=3", "-k=mse", models=("odd:Odd",))
        result.assert_outcomes(failed=1, deselected=1)
        result.stdout.fnmatch_lines(["mse on pbmc68k/iid: undefined, not this one"])

    def test_ids_can_be_selected_by_k(self, pytester):
        result = bench(
            pytester,
            *QUICK,
            *("-k", "n_components:5 and r2"),
            models=("mymodel:Good?n_components=5", "mymodel:Good"),
        )
        result.assert_outcomes(passed=1, deselected=3)

    def test_an_alias_names_rows(self, pytester):
        bench(pytester, *QUICK, "--results=out.csv", models=("ours=mymodel:Good",))
        assert set(pd.read_csv("out.csv")["model"]) == {"ours"}

    def test_a_toml_file_brings_several_models(self, pytester):
        pytester.path.joinpath("models.toml").write_text(
            '[five]\ntarget = "mymodel:Good"\nkwargs = {n_components = 5}\n'
            '[ten]\ntarget = "mymodel:Good"\nkwargs = {n_components = 10}\n'
        )
        bench(pytester, *QUICK, "--results=out.csv", models=("models.toml",))
        table = pd.read_csv("out.csv")
        mse = table[table["metric"] == "mse"].set_index("model")["value"]
        assert mse["ten"] < mse["five"]

    @pytest.mark.parametrize("name", ["PCA", "NMF", "TruncatedSVD"])
    def test_scikit_learn_transformers_run_as_they_are(self, pytester, name):
        model = f"sklearn.decomposition:{name}?n_components=8"
        result = bench(pytester, *QUICK, "--results=out.csv", models=(model,))
        assert result.ret == 0
        assert set(pd.read_csv("out.csv")["model"]) == {f"{name}+n_components:8"}

    def test_rows_travel_through_xdist(self, pytester):
        pytest.importorskip("xdist")
        result = pytester.runpytest_subprocess(
            METRICS, "--model", "mymodel:Good", *QUICK, "-n1", "--results=out.csv"
        )
        assert result.ret == 0
        assert len(pd.read_csv("out.csv")) == 2

    def test_junit_carries_the_rows(self, pytester):
        bench(pytester, *QUICK, "--junitxml=junit.xml")
        assert "&quot;metric&quot;: &quot;mse&quot;" in Path("junit.xml").read_text()


class TestGate:
    @pytest.fixture
    def baseline(self, pytester):
        bench(pytester, *QUICK, "--benchmark-json=old.json", "-k", "not contract", path=BENCHMARKS)
        return Path("old.json")

    def change(self, baseline, metric, /, **changes):
        document = json.loads(baseline.read_text())
        for row in document["reconeval"]["rows"]:
            if row["metric"] == metric:
                row.update(changes)
        baseline.write_text(json.dumps(document))

    def gated(self, pytester, *args, tolerance="mse:0.001", path=METRICS):
        compare = ("--benchmark-compare=old.json", "--metric-compare-fail", tolerance)
        return bench(pytester, *SMALL, *compare, *args, path=path)

    def test_the_same_run_passes(self, pytester, baseline):
        result = self.gated(pytester, "--metrics", "r2,mse", "-k", "not contract", path=BENCHMARKS)
        assert result.ret == 0

    def test_a_worse_score_fails_the_named_test_in_one_line(self, pytester, baseline):
        self.change(baseline, "mse", value=0.1, low=0.1, high=0.1)
        result = self.gated(pytester, "--metrics", "mse,r2")
        assert result.ret == 1
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["mse on pbmc68k/iid: 0.1 -> *, worse by *"])
        result.stdout.fnmatch_lines(["FAILED *test_metric*Good-pbmc68k-iid-mse*"])

    def test_a_worse_score_within_tolerance_passes(self, pytester, baseline):
        self.change(baseline, "mse", value=0.1, low=0.1, high=0.1)
        assert self.gated(pytester, "--metrics", "mse", tolerance="mse:9").ret == 0

    def test_without_the_option_a_worse_score_is_shown_only(self, pytester, baseline):
        self.change(baseline, "mse", value=0.1, low=0.1, high=0.1)
        result = bench(pytester, *QUICK, "--benchmark-compare=old.json", "--results=new.csv")
        assert result.ret == 0
        table = pd.read_csv("new.csv").set_index("metric")
        assert table.loc["mse", "verdict"] == "pass: worse"
        assert table.loc["mse", "baseline"] == 0.1
        assert table.loc["r2", "verdict"] == "pass: same"

    def test_another_dataset_version_is_incomparable(self, pytester, baseline):
        self.change(baseline, "mse", dataset_sha256="0" * 64)
        result = self.gated(pytester, "--metrics", "mse")
        assert result.ret == 1
        result.stdout.fnmatch_lines(["*cannot be compared, the dataset changed*"])

    def test_a_lost_row_fails_a_full_run_but_not_a_selection(self, pytester, baseline):
        document = json.loads(baseline.read_text())
        lost = dict(document["reconeval"]["rows"][0], metric="retired", value=0.5)
        document["reconeval"]["rows"].append(lost)
        baseline.write_text(json.dumps(document))
        result = self.gated(pytester, path=BENCHMARKS)
        assert result.ret == 1
        result.stdout.fnmatch_lines(["lost since the baseline (1):", "*retired on pbmc68k/iid*"])
        assert self.gated(pytester, "-k", "mse", path=BENCHMARKS).ret == 0
        assert self.gated(pytester, path=METRICS).ret == 0
        # Where nothing is gated it is shown and fails nothing.
        shown = (*SMALL, "--model=mymodel:Good", "--benchmark-compare=old.json")
        result = pytester.runpytest_subprocess(BENCHMARKS, *shown)
        assert result.ret == 0
        result.stdout.fnmatch_lines(["lost since the baseline (1):", "*retired on pbmc68k/iid*"])

    @pytest.mark.parametrize(
        ("changes", "has"),
        [
            ({"split": "cell_type"}, "has Good on pbmc68k/cell_type"),
            ({"model": "Other"}, "has Other on pbmc68k/iid"),
            ({"metric": "mae"}, "has none at all"),
        ],
    )
    def test_a_gate_with_nothing_to_compare_is_refused(self, pytester, baseline, changes, has):
        self.change(baseline, "mse", **changes)
        result = self.gated(pytester, "--metrics", "mse")
        assert result.ret == 4
        result.stderr.fnmatch_lines(
            ["*--metric-compare-fail mse: the baseline has no mse of Good*"]
        )
        assert has in result.stderr.str()

    def test_a_baseline_of_timings_alone_is_for_timings(self, pytester, baseline):
        document = json.loads(baseline.read_text())
        del document["reconeval"]
        baseline.write_text(json.dumps(document))
        assert bench(pytester, *QUICK, "--benchmark-compare=old.json").ret == 0
        assert self.gated(pytester, "--metrics", "mse").ret == 4

    def test_pytest_benchmark_is_asked_to_compare_only_what_has_timings(self, pytester, baseline):
        bench(pytester, *QUICK, "--results=rows.json")
        for name in ("rows.json", "old.json"):
            compare = ("--model=mymodel:Good", f"--benchmark-compare={name}", "-k=train_time")
            result = pytester.runpytest_subprocess(BENCHMARKS, *QUICK, *compare)
            result.stdout.fnmatch_lines([f"baseline {name}"])
            text = result.stdout.str() + result.stderr.str()
            assert "PytestBenchmarkWarning" not in text
            heard = "Comparing against benchmarks from: old.json" in text
            assert heard == (name == "old.json")

    def test_costs_can_be_gated(self, pytester, baseline):
        self.change(baseline, "train_seconds", value=1e-9, low=1e-9, high=1e-9)
        result = self.gated(
            pytester, "-k", "train_time", tolerance="train_seconds:50%", path=BENCHMARKS
        )
        assert result.ret == 1
        result.stdout.fnmatch_lines(["*train_seconds on pbmc68k/iid: 1e-09 -> *"])


class TestThresholds:
    def test_a_model_below_the_floor_fails_in_one_line(self, pytester):
        result = bench(pytester, *QUICK, models=("mean:Constant",))
        assert result.ret == 1
        result.stdout.fnmatch_lines(["mse on pbmc68k/iid: *, expected at most *"])

    def test_update_writes_then_fails_then_passes(self, pytester):
        Path("mine.toml").write_text("# mine\n[pbmc68k.iid.floor]\nmse = 1.0\n")
        options = (*QUICK, "--thresholds=mine.toml")
        result = bench(pytester, *options, "--update-thresholds")
        assert result.ret == 1
        result.stdout.fnmatch_lines(["bands written to mine.toml: review and commit them"])
        text = Path("mine.toml").read_text()
        assert "# mine" in text
        assert '"mymodel:Good"' in text
        assert bench(pytester, *options).ret == 0
        worse = bench(pytester, *options, models=("mymodel:Good?n_components=1",))
        assert worse.ret == 0  # another configuration is another model
        Path("mymodel.py").write_text(GOOD.replace("n_components=20", "n_components=1"))
        assert bench(pytester, *options).ret == 1

    def test_a_misspelt_table_is_named_and_a_typed_one_holds(self, pytester):
        good = "mymodel:Good?n_components=1"
        Path("mine.toml").write_text(
            f"[pbmc68k.iid.'{good}']\nmse = [0, 1e-9]\n"
            "[pbmc68k.iid.'mean:Constnat']\nmse = [0, 1e-9]\n"
        )
        result = bench(pytester, *QUICK, "--thresholds=mine.toml", models=(good, "mean:Constant"))
        result.assert_outcomes(passed=3, failed=1)
        result.stdout.fnmatch_lines(
            [
                "mse on pbmc68k/iid: *, expected at most 1e-09",
                '--thresholds mine.toml: [[]pbmc68k.iid."mean:Constnat"] is for no model of this *',
            ]
        )

    def test_bands_are_for_metrics_not_for_costs(self, pytester):
        bench(
            pytester,
            *(*QUICK, "--thresholds=mine.toml", "--update-thresholds", "-k", "not contract"),
            path=BENCHMARKS,
        )
        assert "mse" in Path("mine.toml").read_text()
        assert "train_seconds" not in Path("mine.toml").read_text()

    def test_update_is_refused_in_ci(self, pytester, monkeypatch):
        Path("mine.toml").write_text("")
        monkeypatch.setenv("CI", "true")
        result = bench(pytester, *QUICK, "--thresholds=mine.toml", "--update-thresholds")
        assert result.ret == 4
        result.stderr.fnmatch_lines(["ERROR: --update-thresholds is refused in CI*"])


class TestMarks:
    def test_gpu_tests_are_skipped_with_the_reason(self, pytester):
        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
        result = bench(pytester, *SMALL, path=str(ROOT / "benchmarks" / "test_gpu.py"))
        result.assert_outcomes(skipped=3)
        result.stdout.fnmatch_lines(["SKIPPED * needs CUDA: *"])
        assert not Path("trainings.log").exists()

    def test_require_gpu_fails_them_before_anything_is_trained(self, pytester):
        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
        path = str(ROOT / "benchmarks" / "test_gpu.py")
        result = bench(pytester, *SMALL, "--require-gpu", path=path)
        assert result.ret == 1
        result.stdout.fnmatch_lines(["--require-gpu: needs CUDA: *"])
        assert not Path("trainings.log").exists()

    @pytest.mark.parametrize(
        ("mark", "file"), [("speed", "test_kernel_speed"), ("published", "test_latent_shift")]
    )
    def test_some_tests_wait_to_be_asked(self, pytester, mark, file):
        result = bench(pytester, *QUICK, "--collect-only", "-q", path=BENCHMARKS)
        assert file not in result.stdout.str()
        result = pytester.runpytest(BENCHMARKS, "-m", mark, "--collect-only", "-q")
        assert file in result.stdout.str()
        assert result.ret == 0


class TestBadUse:
    """Exit code 4 and one line before anything is trained; or exit 1 and the others' results."""

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ("nowhere:Model", "--model nowhere:Model: no module 'nowhere' installed nor in *"),
            ("mymodel:Godo", "*Godo*did you mean Good*"),
            ("mymodel:Good?n_component=3", "*takes no 'n_component'*did you mean n_components*"),
            ("mymodel", "--model mymodel: expected MODULE:CLASS*"),
            ("mymodel:np", "*mymodel:np is a module; name a class in it*"),
            ("instance:READY", "*an instance of Good; name its class, mymodel:Good*"),
            ("syntax:Model", "*syntax.py:1 is no valid Python*"),
            ("missing.toml", "*missing.toml cannot be read*"),
        ],
    )
    def test_models(self, pytester, model, message):
        pytester.makepyfile(instance="from mymodel import Good\nREADY = Good()", syntax="class")
        self.refused(bench(pytester, *QUICK, models=("mymodel:Good", model)), message)

    def refused(self, result, message):
        assert result.ret == 4
        lines = [line for line in result.errlines if line.strip()]
        assert len(lines) == 1, lines
        result.stderr.fnmatch_lines([f"ERROR: {message}"])
        assert not Path("trainings.log").exists()

    def test_no_model(self, pytester):
        self.refused(bench(pytester, models=()), "benchmarks need a model: add --model*")

    def test_one_name_for_two_models(self, pytester):
        models = ("mymodel:Good", "mymodel:Good")
        self.refused(
            bench(pytester, *QUICK, models=models), "*has the id 'Good' of *; name one of them: *"
        )

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (("--dataset", "imune"), "--dataset imune: no such dataset*"),
            (("--dataset", "missing.h5ad"), "--dataset missing.h5ad: no such*"),
            (("--split", "random"), "--split random: unknown, expected one of iid, cell_type"),
            (("--seeds", "0"), "--seeds 0: expected at least 1"),
            (("--seed", "-1"), "--seed -1: expected a number from 0 to 4294967295,*"),
            (("--seed", "4294967296"), "--seed 4294967296: expected a number from 0 *"),
            (
                ("--seed", "4294967295", "--seeds", "2"),
                "--seed 4294967295 with --seeds 2: the last seed would be 4294967296, *",
            ),
            (("--dataset", "pbmc68k", "--dataset=pbmc68k"), "--dataset pbmc68k: given twice; *"),
            (
                ("--dataset", "a.h5ad", "--dataset", "b/a.h5ad"),
                "--dataset b/a.h5ad: is called 'a' in results, as a.h5ad is; rename one *",
            ),
            (("--metrics", ""), "--metrics '': holds no name; *"),
            (("--metric-family", " , "), "--metric-family ' , ': holds no name; *"),
            (("--metrics", "train_seconds"), "--metrics train_seconds: a cost metric, *"),
            (
                ("--metrics", "r2", "--metric-family", "biological"),
                "--metrics and --metric-family leave no metric*",
            ),
            (("--counts-layer", "X"), "--counts-layer is for a file of your own*"),
            (("--results", "."), "--results .: unknown ending*"),
            (("--results", "folder.csv"), "--results folder.csv: cannot be written there*"),
            (
                ("--metric-compare-fail", "r2:0.1", "--metric-compare-fail", "r2:5%"),
                "--metric-compare-fail r2:5%: r2 is given twice*",
            ),
            (
                ("--metric-compare-fail=r2:0.1", "--metrics=mse", "--benchmark-compare=bad.json"),
                "--metric-compare-fail r2: not among the metrics that this run scores",
            ),
            (("--benchmark-compare=bad.json",), "baseline bad.json: not a JSON file*"),
            (("--benchmark-compare=empty.json",), "baseline empty.json: *"),
            (("--metrics", "r2,mze"), "--metrics mze: unknown metric; did you mean mse[?] (exp*"),
            (("--metrics", "zzz"), "--metrics zzz: unknown metric (expected one of r2, *"),
            (
                ("--metric-compare-fail", "train_second:10%"),
                "--metric-compare-fail train_second: unknown metric; did you mean train_seconds*",
            ),
            (("--metrics", "knn_purity"), "--metrics knn_purity: a perturbational metric, *"),
            (("--metric-family", "bio"), "--metric-family bio: unknown, expected one of stat*"),
            (("--results", "out.xlsx"), "--results out.xlsx: unknown ending*"),
            (("--results", "no/out.csv"), "--results no/out.csv: folder*does not exist*"),
            (("--thresholds", "no.toml"), "--thresholds no.toml: cannot be read*"),
            (("--metric-compare-fail", "r2:0.1"), "--metric-compare-fail needs a baseline*"),
            (
                ("--metric-compare-fail", "r2", "--benchmark-compare=bad.json"),
                "--metric-compare-fail r2: expected METRIC:TOLERANCE*",
            ),
            (("--benchmark-compare=missing.json",), "baseline missing.json: cannot be read*"),
            (
                ("--benchmark-compare=bad.json", "--metric-compare-fail=r2:0.1"),
                "baseline bad.json: not a JSON file*",
            ),
        ],
    )
    def test_options(self, pytester, args, message):
        Path("bad.json").write_text("{")
        Path("empty.json").write_text("{}")
        Path("a.h5ad").touch()
        Path("b").mkdir()
        Path("b/a.h5ad").touch()
        Path("folder.csv").mkdir()
        self.refused(bench(pytester, *args), message)

    @pytest.mark.parametrize("flags", [("-p", "no:benchmark"), ("-p", "no:benchmark", "-q")])
    def test_without_pytest_benchmark(self, pytester, flags):
        # In a process of its own: in this one the plugin is loaded.
        command = ("-m", "pytest", METRICS, "--model=mymodel:Good", *QUICK, *flags)
        result = pytester.run(sys.executable, *command)
        self.refused(result, "benchmarks need the plugin pytest-benchmark: drop -p no:benchmark*")

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ("truncated", "*cannot be read as .h5ad, so it is truncated, damaged*"),
            ("nan", "*NaN*"),
            ("negative", "*negative*"),
            ("duplicate genes", "*gene*"),
            ("no cell types", "*cell_type*"),
        ],
    )
    def test_a_users_file(self, pytester, damage, message):
        rng = np.random.default_rng(0)
        X = np.log1p(rng.poisson(1.0, (60, 30))).astype("float32")
        if damage in ("nan", "negative"):
            X[3, 4] = np.nan if damage == "nan" else -1
        data = anndata.AnnData(X, obs=pd.DataFrame({"kind": ["a", "b"] * 30}).set_index(_cells()))
        data.var_names = [f"g{i}" for i in range(30)]
        if damage == "duplicate genes":
            data.var_names = ["g"] * 30
        data.write_h5ad("mine.h5ad")
        if damage == "truncated":
            content = Path("mine.h5ad").read_bytes()
            Path("mine.h5ad").write_bytes(content[: len(content) // 2])
        key = "cell_type" if damage == "no cell types" else "kind"
        result = bench(pytester, "--dataset", "mine.h5ad", "--cell-type-key", key)
        self.refused(result, f"*mine.h5ad*{message}")

    def test_a_metric_that_the_data_cannot_serve_is_skipped_with_the_reason(self, pytester):
        rng = np.random.default_rng(0)
        X = np.log1p(1.5 * rng.poisson(1.0, (60, 30))).astype("float32")
        obs = pd.DataFrame(index=_cells())
        var = pd.DataFrame(index=[f"g{i}" for i in range(30)])
        anndata.AnnData(X, obs=obs, var=var).write_h5ad("mine.h5ad")
        options = ("--dataset", "mine.h5ad", "--metrics", "mse,poisson_deviance")
        result = bench(pytester, *options, "--results", "out.csv")
        assert result.ret == 0
        result.assert_outcomes(passed=1, skipped=1)
        result.stdout.fnmatch_lines(["SKIPPED * poisson_deviance on mine/iid: needs counts, *"])
        row = pd.read_csv("out.csv").set_index("metric").loc["poisson_deviance"]
        assert row["verdict"] == "skip"
        assert np.isnan(row["value"])
        assert row["reason"].startswith("needs counts")

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ("Raises", "*raised ValueError: no good*"),
            ("RaisesLate", "*raised RuntimeError: lost my weights*"),
            ("Exits", "*SystemExit*"),
            ("Nan", "*NaN*"),
            ("Narrow", "*(210, 764)*(210, 765)*"),
            ("Generator", "*generator*"),
        ],
    )
    def test_a_broken_model_does_not_take_others_along(self, pytester, model, message):
        models = (f"broken:{model}", "mymodel:Good")
        result = bench(pytester, *QUICK, "--results=out.csv", models=models)
        assert result.ret == 1
        result.assert_outcomes(passed=2, failed=2)
        result.stdout.fnmatch_lines([f"mse on pbmc68k/iid: undefined, {message}"])
        no_source_lines(result)
        table = pd.read_csv("out.csv")
        assert table[table["model"] == "Good"]["value"].notna().all()
        assert table[table["model"] == model]["value"].isna().all()

    def test_broken_models_leave_every_other_test_its_result(self, pytester):
        names = ("Raises", "RaisesLate", "Exits", "Nan", "Narrow", "Generator")
        models = (*(f"broken:{name}" for name in names), "mymodel:Good")
        result = bench(pytester, *QUICK, "--results=out.csv", models=models, path=BENCHMARKS)
        assert result.ret == 1
        no_source_lines(result)
        table = pd.read_csv("out.csv")
        good = table[table["model"] == "Good"]
        assert set(good["verdict"]) == {"pass"}
        assert set(good["metric"]) >= {"mse", "train_seconds", "predict_cells_per_second"}
        for name in names:
            # What a timing needs could not be made, which pytest calls an error.
            result.stdout.fnmatch_lines([f"ERROR *test_train_time?{name}-pbmc68k-iid?"])
            result.stdout.fnmatch_lines([f"FAILED *test_metric?{name}-pbmc68k-iid-mse?"])

    def test_an_interrupted_run_loses_no_rows_of_the_baseline(self, pytester):
        bench(pytester, *QUICK, "--benchmark-json=old.json", path=BENCHMARKS)
        pytester.makepyfile(
            impatient=GOOD.replace(
                "def predict(self, X):", "def predict(self, X):\n        raise KeyboardInterrupt"
            )
        )
        compare = ("--benchmark-compare=old.json", "--metric-compare-fail=mse:1")
        models = ("Good=impatient:Good",)
        flags = ("--model", *models)
        result = pytester.runpytest_subprocess(BENCHMARKS, *flags, *QUICK, *compare)
        assert result.ret == pytest.ExitCode.INTERRUPTED
        assert "lost since the baseline" not in result.stdout.str()

    @pytest.mark.parametrize(
        ("habit", "code"),
        [
            ("raises on numerics", "np.seterr(all='raise')"),
            ("changes folder", "import os; os.chdir('/')"),
            ("hides warnings", "import warnings; warnings.simplefilter('error')"),
        ],
    )
    def test_a_models_habits_stay_with_the_model(self, pytester, habit, code):
        pytester.makepyfile(rude=GOOD.replace("return (X", f"{code}\n        return (X"))
        results = []
        for model in ("Good=mymodel:Good", "Good=rude:Good"):
            result = bench(pytester, *SMALL, "--results=out.csv", models=(model,))
            assert result.ret == 0, habit
            results.append(pd.read_csv("out.csv")["value"])
        pd.testing.assert_series_equal(*results)

    def test_a_model_that_hands_out_one_buffer_is_scored_as_it_predicted(self, pytester):
        pytester.makepyfile(
            buffered=GOOD.replace(
                "return (X - self.mean) @ self.axes.T @ self.axes + self.mean",
                "buffer = self.__dict__.setdefault('buffer', np.empty((1000, X.shape[1]), X.dtype))"
                "\n        buffer[:len(X)] = (X - self.mean) @ self.axes.T @ self.axes + self.mean"
                "\n        return buffer[:len(X)]",
            )
        )
        tables = []
        for model in ("Good=mymodel:Good", "Good=buffered:Good"):
            bench(pytester, *SMALL, "--results=out.csv", models=(model,))
            tables.append(pd.read_csv("out.csv").set_index("metric")["value"])
        pd.testing.assert_series_equal(*tables)

    def test_predictions_beyond_all_sense_have_no_score(self, pytester):
        pytester.makepyfile(
            huge="""
            class Huge:
                def train(self, X):
                    pass
                def predict(self, X):
                    return X + 1e30
            """
        )
        result = bench(pytester, *QUICK, models=("huge:Huge",))
        result.assert_outcomes(failed=2)
        result.stdout.fnmatch_lines(["mse on pbmc68k/iid: undefined, *beyond 1e+15*"])

    def test_long_ids_are_told_apart_in_the_table(self, pytester):
        same = "a" * 60
        models = (f"{same}-first=mymodel:Good", f"{same}-second=mymodel:Good?n_components=5")
        result = bench(pytester, *QUICK, models=models)
        for ending in ("first", "second"):
            result.stdout.fnmatch_lines([f"*-{ending} *[0-9]*"])


def no_source_lines(result):
    """No test failed by an exception that nobody foresaw, which pytest shows as `E   ...`."""
    lines = [*result.outlines, *result.errlines]
    assert not [line for line in lines if line.startswith(("E  ", "INTERNALERROR", "Traceback"))]


def _cells():
    return pd.Index([f"c{i}" for i in range(60)])


class TestNeighbours:
    def test_a_strangers_own_suite_is_left_alone(self, pytester):
        pytester.makepyfile(
            test_theirs="""
            import pytest

            @pytest.fixture
            def model():
                return 1

            @pytest.fixture
            def metric():
                return "r2"

            def test_x(model, metric):
                assert model == 1
            """
        )
        result = pytester.runpytest("test_theirs.py")
        result.assert_outcomes(passed=1)
        result.stdout.no_fnmatch_line("*reconeval 0*")

    def test_collecting_loads_nothing_heavy(self, pytester):
        code = (
            "import sys, pytest; "
            f"code = pytest.main([{BENCHMARKS!r}, '--collect-only', '-q', "
            "'--model', 'models:ReconPCA']); "
            "heavy = {'torch', 'anndata', 'scanpy', 'lightning', 'pandas', 'scipy', 'sklearn'}; "
            "print('code', int(code), 'heavy', sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "code 0 heavy []" in done.stdout, done.stdout + done.stderr

    def test_a_run_of_a_numpy_model_leaves_torch_to_the_metrics_that_want_it(self, pytester):
        code = (
            "import sys, pytest; "
            f"code = pytest.main([{BENCHMARKS!r}, '--model', 'mymodel:Good', '--metrics', 'r2', "
            "'--dataset', 'pbmc68k', '--split', 'iid', '--no-cache', '--no-intervals', '-k', "
            "'metric or timing']); "
            "print('code', int(code), 'torch' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "code 0 False" in done.stdout, done.stdout + done.stderr

    def test_a_notebook_that_runs_several_keeps_none_of_them(self, pytester):
        assert bench(pytester, *QUICK).ret == 0
        assert gc.get_freeze_count() == 0

    def test_importing_the_package_loads_nothing_but_the_standard_library(self):
        code = "import sys, reconeval; print(sorted({'numpy', 'torch'} & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == "[]"

    def test_the_suite_runs_by_package_name(self, pytester):
        result = pytester.runpytest(
            "--pyargs", "reconeval.benchmarks", "--model", "mymodel:Good", *QUICK, "-k", "metric"
        )
        assert result.ret == 0
        result.assert_outcomes(passed=2, deselected=result.parseoutcomes()["deselected"])

    def test_a_damaged_frozen_file_is_refused(self, pytester, tmp_path):
        copy = tmp_path / "copy"
        shutil.copytree(
            ROOT / "reconeval", copy / "reconeval", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copytree(ROOT / "benchmarks", copy / "benchmarks")
        shutil.copy(ROOT / "conftest.py", copy)
        frozen = next((copy / "reconeval" / "datasets" / "frozen").glob("pbmc68k*.h5ad"))
        content = bytearray(frozen.read_bytes())
        content[len(content) // 2] ^= 1
        frozen.write_bytes(content)
        Path(copy, "mymodel.py").write_text(GOOD)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
                *("benchmarks/test_metrics.py", "--model", "mymodel:Good", *QUICK),
            ],
            cwd=copy,
            env={"PYTHONPATH": str(copy), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 4, done.stdout + done.stderr
        assert "pbmc68k" in done.stderr
        assert "sha256" in done.stderr or "checksum" in done.stderr
