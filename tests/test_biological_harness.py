"""The biological metrics in the harness: values, reasons, seconds, and a truth prepared once."""

import json
from pathlib import Path

# Before pytester restores sys.modules: what cannot be imported twice.
import anndata
import numpy as np
import pandas as pd
import pytest

import reconeval.cases.end_to_end
from reconeval.metrics import METRICS, _shared, thinning
from reconeval.metrics.biological import co_expression, table
from reconeval.runs import metric_names
from tests.conftest import ROOT
from tests.example_models import GOOD, MEAN

BIOLOGICAL = [name for name, metric in METRICS.items() if metric.family == "biological"]
CELL_CYCLE = [name for name in BIOLOGICAL if name.startswith("cellcycle")]
TOO_FEW = "* markers of phase S are expressed in enough cells of the truth, 5 are needed"
SMALL = ("--dataset", "pbmc68k", "--split", "iid")


@pytest.fixture(autouse=True)
def user_folder(pytester):
    pytester.makepyfile(mymodel=GOOD, mean=MEAN)
    Path("none.toml").write_text("")


def bench(pytester, *args, models=("mymodel:Good",), file="test_metrics.py"):
    flags = [flag for model in models for flag in ("--model", model)]
    return pytester.runpytest(str(ROOT / "benchmarks" / file), *flags, *args)


def bench_with_json(pytester, *args):
    """Run the timings, too: pytest-benchmark writes no file without any."""
    return bench(pytester, *args, "-k", "test_metric or train_time", file="")


def deselected(result):
    return result.parseoutcomes().get("deselected", 0)


def rows(path="out.json"):
    return pd.DataFrame(json.loads(Path(path).read_text())["rows"]).set_index("metric")


def test_each_task_has_its_metrics():
    end_to_end, latent_shift = metric_names("end_to_end"), metric_names("latent_shift")
    assert metric_names("decode") == end_to_end
    assert list(end_to_end[-len(BIOLOGICAL) :]) == BIOLOGICAL
    assert {"r2", "mse", "poisson_deviance"} <= set(end_to_end)
    assert not any(name.startswith("latent_") for name in end_to_end)
    assert {"r2", "knn_purity", "pearson_delta", "latent_pearson_delta"} <= set(latent_shift)
    assert not {"poisson_deviance", *BIOLOGICAL} & set(latent_shift)
    assert set(end_to_end) | set(latent_shift) == set(METRICS)


@pytest.mark.parametrize("split", ["iid", "cell_type"])
def test_every_gene_set_metric_has_a_value_on_immune(pytester, split):
    place = ("--dataset", "immune", "--split", split)
    files = ("--results=out.json", "--benchmark-json=run.json")
    result = bench_with_json(pytester, *place, "--metric-family=biological", *files)
    result.assert_outcomes(passed=len(BIOLOGICAL) + 1, deselected=deselected(result))
    found = rows()
    found = found[found["family"] != "cost"]
    assert list(found.index) == BIOLOGICAL
    assert found["value"].notna().all()
    assert (found["verdict"] == "pass").all()
    # A metric may be told not to be informative; it has its value nevertheless.
    assert (found["reason"].eq("") | found["reason"].str.startswith("not informative")).all()
    # A value that says nothing would be one of a phase that all cells share.
    assert 0 < found.loc["cellcycle_S", "value"] < 1
    assert 0 < found.loc["cellcycle_G2M", "value"] < 1
    seconds = json.loads(Path("run.json").read_text())["reconeval"]["metric_seconds"]
    assert set(seconds) == {f"Good immune {split} {name}" for name in BIOLOGICAL}
    assert all(value > 0 for value in seconds.values())


def test_what_the_data_cannot_serve_is_skipped_with_the_reason(pytester):
    result = bench(pytester, *SMALL, "--metric-family=biological", "--results=out.json")
    assert result.ret == 0
    n_skipped = len(CELL_CYCLE)
    result.assert_outcomes(passed=len(BIOLOGICAL) - n_skipped, skipped=n_skipped)
    result.stdout.fnmatch_lines([f"SKIPPED * cellcycle_S on pbmc68k/iid: {TOO_FEW}"])
    text = " ".join(result.stdout.str().split())
    assert f"cannot serve them: {', '.join(CELL_CYCLE)} on pbmc68k/iid: 1 markers" in text
    found = rows()
    assert (found.loc[CELL_CYCLE, "verdict"] == "skip").all()
    assert found.loc[CELL_CYCLE, "value"].isna().all()
    assert found.loc[CELL_CYCLE, "reason"].str.contains("markers of phase S").all()
    assert found.drop(CELL_CYCLE)["value"].notna().all()


def test_a_value_that_the_prediction_lacks_fails(pytester):
    options = (*SMALL, "--metrics=coexpression,cellcycle_S", "--thresholds=none.toml")
    result = bench(pytester, *options, "--results=out.json", models=("mean:Constant",))
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["coexpression on pbmc68k/iid: undefined, no two genes of any *"])
    assert list(rows()["verdict"]) == ["skip", "fail"]


def test_a_model_that_breaks_is_not_blamed_for_the_data(pytester):
    pytester.makepyfile(bad="class Bad:\n def train(self, X): 1 / 0\n def predict(self, X): ...")
    options = (*SMALL, "--metrics=mse,cellcycle_S", "--results=out.json")
    bench(pytester, *options, models=("bad:Bad",)).assert_outcomes(failed=1, skipped=1)
    assert "ZeroDivisionError" in rows().loc["mse", "reason"]
    assert "markers of phase S" in rows().loc["cellcycle_S", "reason"]


def test_a_threshold_on_what_the_data_cannot_serve_fails(pytester):
    Path("mine.toml").write_text("[pbmc68k.iid.floor]\ncellcycle_S = 0.1\n")
    result = bench(pytester, *SMALL, "--metrics=cellcycle_S", "--thresholds=mine.toml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"cellcycle_S on pbmc68k/iid: undefined, {TOO_FEW}"])


def test_a_value_that_the_baseline_had_fails_the_gate(pytester):
    options = (*SMALL, "--metrics=cellcycle_S")
    assert bench_with_json(pytester, *options, "--benchmark-json=old.json").ret == 0
    compare = ("--benchmark-compare=old.json", "--results=out.json")
    gate = (*compare, "--metric-compare-fail=cellcycle_S:0.1")
    assert bench(pytester, *options, *gate).ret == 0
    assert list(rows()["verdict"]) == ["skip: same"]
    document = json.loads(Path("old.json").read_text())
    row = next(r for r in document["reconeval"]["rows"] if r["metric"] == "cellcycle_S")
    row.update(value=0.5, low=0.5, high=0.5)
    Path("old.json").write_text(json.dumps(document))
    bench(pytester, *options, *compare).assert_outcomes(skipped=1)
    assert list(rows()["verdict"]) == ["skip: worse"]
    result = bench(pytester, *options, *gate)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"cellcycle_S on pbmc68k/iid: 0.5 -> undefined ({TOO_FEW})"])


def test_the_truth_is_prepared_once_for_all_models_and_seeds(pytester, monkeypatch):
    calls = {}

    def count(module, name):
        plain = getattr(module, name)

        def counted(*args, **options):
            calls[name] = calls.get(name, 0) + 1
            return plain(*args, **options)

        monkeypatch.setattr(module, name, counted)

    count(reconeval.cases.end_to_end, "Truth")
    count(thinning, "thin")
    count(_shared, "fit_components")
    count(table, "type_groups")
    count(table, "contrast_types")
    count(co_expression, "set_correlations")
    metrics = "energy_distance_pca,poisson_deviance,coexpression,deg_dice_at_50,deg_dice_at_100"
    models = ("mymodel:Good", "mymodel:Good?n_components=5")
    options = ("--dataset=pbmc68k", f"--metrics={metrics}", "--thresholds=none.toml", "--seeds=2")
    result = bench(pytester, *options, models=models)
    result.assert_outcomes(passed=2 * 2 * 5)
    n_places, n_predictions = 2, 2 * 2 * 2
    once = ("Truth", "thin", "fit_components", "type_groups")
    assert {name: calls[name] for name in once} == dict.fromkeys(once, n_places)
    assert calls["contrast_types"] == n_places + n_predictions
    assert calls["set_correlations"] == n_places + n_predictions


def test_a_users_file_without_labels_has_no_markers_to_recover(pytester):
    rng = np.random.default_rng(0)
    X = np.log1p(1.5 * rng.poisson(1.0, (60, 30))).astype(np.float32)
    anndata.AnnData(X).write_h5ad("mine.h5ad")
    options = ("--dataset=mine.h5ad", "--metrics=mse,deg_dice_at_100", "--results=out.json")
    bench(pytester, *options).assert_outcomes(passed=1, skipped=1)
    assert "needs reference or cell_types" in rows().loc["deg_dice_at_100", "reason"]
