"""Which metrics can tell a good model from a constant, and `reconeval health` that says so."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval.cases.making import Cases
from reconeval.cli import main
from reconeval.controls import LEAST_RANGE, ControlScores, health_of
from reconeval.controls._store import frozen_scores, place_of, read_frozen
from reconeval.datasets import load_dataset
from reconeval.datasets.manifest import read_manifest
from reconeval.datasets.manifest import read_perturbation_manifest as shifts
from reconeval.metrics.pair import Pair
from reconeval.metrics.registry import METRICS, get_metric, score
from reconeval.options import Options
from reconeval.runs import metric_names
from tests.conftest import ROOT

SCORES = st.floats(-100, 100) | st.just(math.nan)
FIELDS = ("half", "positive", "collapsed", "copied")


def scores(metric, **values):
    """Scores of an error in the right order, with some changed."""
    known = {
        "negatives": {"Mean": 1.0, "Shuffle": 2.0},
        **dict(zip(FIELDS, (0.7, 0.4, 1.0, 2.0), strict=True)),
        "positive_is": "a duplicate",
        **values,
    }
    return ControlScores(metric=metric.name, version=metric.version, **known)


MSE = get_metric("mse")
FAULTS = {
    "a constant wins": ({"positive": 1.1, "half": 1.05}, "Mean scores 1, no worse than"),
    "too near": ({"positive": 0.95, "half": 0.97}, "covers 5% of the way from Mean, 1, to"),
    "half is more": ({"half": 0.3}, "half a signal scores 0.3, not between Mean, 1, and"),
    "half is nothing": ({"half": 1.0}, "half a signal scores 1, not between Mean, 1, and"),
    "half has none": ({"half": math.nan}, "half a signal has no value"),
    "one cell for all": ({"collapsed": 0.6}, "one cell for all scores 0.6, no worse than half"),
}


@pytest.mark.parametrize(("change", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_metric_fails_for_a_reason(change, reason):
    health = health_of(MSE, scores(MSE, **change))
    assert health.informative is False
    assert reason in health.reason


def test_controls_in_their_order_make_a_metric_informative():
    health = health_of(MSE, scores(MSE))
    assert health.informative is True
    assert health.reason == ""
    assert health.dynamic_range == pytest.approx(0.6)
    assert (health.negative_is, health.negative) == ("Mean", 1.0)


def test_a_copy_of_the_input_matters_where_held_out_counts_guard_against_it():
    guarded = get_metric("poisson_deviance")
    assert health_of(guarded, scores(guarded)).informative is True
    health = health_of(guarded, scores(guarded, copied=0.1))
    assert health.informative is False
    assert "a copy of the input scores 0.1" in health.reason
    assert health_of(MSE, scores(MSE, copied=0.0)).informative is True  # any copy is perfect


def test_half_a_signal_is_compared_with_the_mean_that_is_in_it():
    recall = get_metric("cellcycle_S")
    found = scores(
        recall, negatives={"Mean": 0.0, "Shuffle": 0.4}, half=0.3, positive=0.6, collapsed=0.0
    )
    health = health_of(recall, found)
    assert (health.negative_is, health.informative) == ("Shuffle", True)


@pytest.mark.parametrize(("half", "informative"), [(1.0, True), (0.3, False), (0.2, False)])
def test_half_a_signal_may_reach_the_positive_control_but_not_fall_to_its_mean(half, informative):
    ranks = get_metric("knn_purity")
    negatives = {"NoShift": 0.1, "MeanShift": 0.3}
    found = scores(ranks, negatives=negatives, half=half, positive=1.0, collapsed=0.0)
    assert health_of(ranks, found).informative is informative


@pytest.mark.parametrize("change", [{"positive": math.nan}, {"negatives": {"Mean": math.nan}}])
def test_without_two_controls_it_cannot_be_told(change):
    health = health_of(MSE, scores(MSE, **change))
    assert health.informative is None
    assert health.reason.startswith(("no positive control", "no negative control"))


@given(
    st.sampled_from(sorted(METRICS)),
    st.fixed_dictionaries({"Mean": SCORES, "Shuffle": SCORES}),
    st.fixed_dictionaries(dict.fromkeys(FIELDS, SCORES)),
)
def test_what_is_informative_tells_any_positive_control_from_any_constant(name, negatives, found):
    metric = METRICS[name]
    health = health_of(metric, scores(metric, negatives=negatives, **found))
    assert (health.reason == "") == (health.informative is True)
    if health.informative:
        bad = metric.badness
        assert health.dynamic_range >= LEAST_RANGE
        assert bad(health.negative) > bad(found["positive"])
        assert not bad(found["collapsed"]) <= bad(found["half"])
        assert bad(found["half"]) >= bad(found["positive"])


def test_one_cell_for_all_is_on_top_of_no_informative_metric_of_any_embedded_split():
    table = read_frozen()
    informative = 0
    for place, found in table.items():
        for name, one in found.items():
            metric = METRICS[name]
            if health_of(metric, one).informative:
                informative += 1
                collapsed = metric.badness(one.collapsed)
                better = (one.positive, one.half)
                assert all(not collapsed <= metric.badness(each) for each in better), (place, name)
    # The other way round: most metrics are informative somewhere, so the rule spares the good.
    assert informative > 0.7 * sum(map(len, table.values()))


def test_a_collapsed_prediction_of_real_cells_loses_against_their_positive_control():
    case = Cases("end_to_end", Options(), {"pbmc68k": "pbmc68k"}).get("pbmc68k", "iid")
    found = frozen_scores(place_of(case))
    one_cell = case.dataset.X[case.split.train].mean(axis=0)
    cells = np.tile(one_cell, (case.n_test, 1))
    pair = Pair(case.truth, cells, thinned_prediction=cells)
    lost = []
    for name in metric_names("end_to_end"):
        metric = METRICS[name]
        value = score(metric, pair).value
        if health_of(metric, found[name]).informative:
            assert not metric.badness(value) <= metric.badness(found[name].positive), name
        elif metric.badness(value) <= metric.badness(found[name].positive):
            lost.append(name)
    assert {"r2", "sinkhorn_divergence"} <= set(lost)  # which the constant does win


def test_the_page_names_what_is_not_informative_on_embedded_data():
    text = (ROOT / "docs" / "controls.md").read_text(encoding="utf-8")
    lines = text.partition("| dataset / split | not informative |")[2].splitlines()[2:]
    told = {}
    for line in itertools.takewhile(lambda one: one.startswith("|"), lines):
        where, names = line.strip("|").split("|")
        dataset, _, split = where.strip().partition(" / " if " / " in where else ", ")
        told[dataset.strip("`"), split.strip("`")] = set(names.replace("`", "").split(", "))
    told = {key: {name.strip() for name in names} for key, names in told.items()}
    hashes = {load_dataset(name).sha256: name for name in read_manifest()}
    hashes |= {one.sha256: name for name, one in shifts().items()}
    for place, found in read_frozen().items():
        dataset = hashes[place.dataset_sha256]
        wrong = {n for n, one in found.items() if health_of(METRICS[n], one).informative is False}
        key = (dataset, "all splits" if (dataset, "all splits") in told else place.split)
        assert told[key] == (wrong or {"none"}), key


class TestCommand:
    def test_the_table_of_embedded_data(self, capsys):
        assert main(["health", "immune", "--split", "iid", "--metrics", "r2,mse"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        lines = [line.split() for line in out.splitlines()]
        assert lines[0][0] == "immune/iid"
        (r2,) = (line for line in lines if line[:2] == ["r2", "↑"])
        (mse,) = (line for line in lines if line[:2] == ["mse", "↓"])
        assert (r2[-1], mse[-1]) == ("no", "yes")
        assert "  r2: Mean scores 0.9873, no worse than the positive control" in out

    def test_json_has_what_the_table_has(self, capsys):
        assert main(["health", "pbmc68k", "--format", "json"]) == 0
        records = json.loads(capsys.readouterr().out)
        assert {record["split"] for record in records} == {"iid", "cell_type"}
        names = [record["metric"] for record in records if record["split"] == "iid"]
        assert tuple(names) == metric_names("end_to_end")
        by_name = {record["metric"]: record for record in records if record["split"] == "iid"}
        assert by_name["mse"]["informative"] is True
        assert by_name["cellcycle_S"]["positive"] is None
        assert "markers of phase S" in by_name["cellcycle_S"]["reason"]
        assert by_name["mse"]["negative"] == by_name["mse"]["negatives"]["Mean"]

    def test_of_perturbations(self, capsys):
        assert main(["health", "myoblast", "--metrics", "pearson_delta,mse"]) == 0
        out = capsys.readouterr().out
        assert "MeanShift" in out
        assert "cannot be told:\n  mse: no positive control: nobody knows which" in out

    def test_of_a_users_file(self, tmp_path, capsys, monkeypatch):
        from anndata import AnnData

        from reconeval.datasets import load_dataset

        monkeypatch.setenv("RECONEVAL_CACHE", str(tmp_path / "cache"))
        few = load_dataset("pbmc68k").adata[::3, :100]
        obs = few.obs[[]].assign(kind=few.obs["cell_type"].astype(str).to_numpy())
        mine = tmp_path / "mine.h5ad"
        counts = {"n": few.layers["counts"].copy()}
        AnnData(few.X.copy(), obs=obs, var=few.var[[]], layers=counts).write_h5ad(mine)
        argv = ["health", str(mine), "--split", "iid", "--cell-type-key", "kind"]
        argv += ["--counts-layer", "n", "--metrics", "mse,energy_distance", "--format", "json"]
        assert main(argv) == 0
        records = json.loads(capsys.readouterr().out)
        assert [record["informative"] for record in records] == [True, True]
        assert len(list((tmp_path / "cache").rglob("controls*"))) == 2
        assert main([*argv, "--no-cache"]) == 0
        again = json.loads(capsys.readouterr().out)
        assert [one["positive"] for one in again] == pytest.approx(
            [one["positive"] for one in records]
        )

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["imune"], "no such dataset and no such file"),
            (["immune", "--split", "condition"], "--split condition: unknown"),
            (["immune", "--metrics", "knn_purity"], "--metrics knn_purity: not a metric of end"),
            (["immune", "--counts-layer", "n"], "--counts-layer is for a file of your own"),
        ],
    )
    def test_bad_usage_is_one_line(self, argv, message, capsys):
        assert main(["health", *argv]) == 4
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err
        assert err.count("\n") == 1


def test_a_metric_that_is_not_informative_fails_by_a_bound_of_ones_own_alone(pytester):
    """Of two metrics that got worse by as much, the one that a constant wins has no vote."""
    suite = str(ROOT / "benchmarks" / "test_metrics.py")
    argv = [suite, "--model", "models:Mean", "--dataset", "pbmc68k", "--split", "iid"]
    argv += ["--metrics", "r2,mse", "--no-cache", "-p", "no:cacheprovider"]
    empty = pytester.path / "thresholds.toml"
    empty.write_text("")
    argv += [f"--rootdir={ROOT}", "--thresholds", str(empty)]
    saved = pytester.path / "saved.json"
    assert pytester.runpytest_subprocess(*argv, "--results", str(saved)).ret == 0
    document = json.loads(saved.read_text())
    rows = {row["metric"]: row for row in document["rows"]}
    assert rows["r2"]["informative"] is False
    assert rows["r2"]["skill"] is None
    assert rows["r2"]["reason"].startswith("not informative: Mean scores")
    assert rows["mse"]["informative"] is True
    assert rows["mse"]["skill"] == pytest.approx(0, abs=1e-5)
    for row in document["rows"]:
        better = {"r2": 0.1, "mse": -0.1}[row["metric"]]
        row.update({name: row[name] + better for name in ("value", "low", "high")})
        row.update({"ci_low": None, "ci_high": None})
    document.pop("replicates", None)
    baseline = pytester.path / "baseline.json"
    baseline.write_text(json.dumps(document))
    argv += ["--baseline", str(baseline)]
    result = pytester.runpytest_subprocess(*argv, "--fail-on-regression")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["mse on pbmc68k/iid: *"])
    result = pytester.runpytest_subprocess(*argv, "--metric-compare-fail", "r2:0.01")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["r2 on pbmc68k/iid: *; r2 is not informative there"])
