"""The gate as a user meets it: a saved run, then `pytest benchmarks --baseline FILE`."""

import json
from pathlib import Path

import pytest

from reconeval.cli import main
from tests.test_plugin import BENCHMARKS, METRICS, SMALL, bench

NOISY = """
import time
import numpy as np

class Noisy:
    def __init__(self, noise=0.5):
        self.noise = noise

    def train(self, X, seed):
        self.rng = np.random.default_rng(seed)
        self.mean = X.mean(axis=0)
        _, _, axes = np.linalg.svd(X - self.mean, full_matrices=False)
        self.axes = axes[:10]
        time.sleep(0.15)  # less than 0.1 s beyond the baseline never counts

    def predict(self, X):
        smooth = (X - self.mean) @ self.axes.T @ self.axes + self.mean
        return smooth + self.rng.normal(0, self.noise, X.shape).astype(np.float32)
"""
SCORED = (*SMALL, "--metrics", "mse,mae,pearson_cell,energy_distance", "--seeds", "3")
TESTS = "Noisy-pbmc68k-iid"


def model(noise):
    return (f"Noisy=noisy:Noisy?noise={noise}",)


@pytest.fixture
def folder(pytester, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(noisy=NOISY)
    thresholds = pytester.path / "none.toml"
    thresholds.write_text("")
    return pytester


def run(folder, *args, noise=0.5, path=METRICS):
    flags = ("--thresholds=none.toml", *SCORED, *args)
    return bench(folder, *flags, models=model(noise), path=path)


def test_other_seeds_pass_more_noise_fails_in_the_named_tests(folder):
    assert run(folder, "--results=old.json").ret == 0
    same = run(folder, "--baseline=old.json", "--fail-on-regression", "--seed=3")
    assert same.ret == 0
    worse = run(
        folder, "--baseline=old.json", "--fail-on-regression", "--results=new.json", noise=0.55
    )
    assert worse.ret == 1
    noise = "95 % interval * to *, paired over cells, 3 and 3 seeds; counts from *"
    worse.stdout.fnmatch_lines([f"mse on pbmc68k/iid: * -> *, worse by * ({noise})"])
    worse.stdout.fnmatch_lines([f"FAILED *test_metric*{TESTS}-mse*"])
    rows = json.loads(Path("new.json").read_text())["rows"]
    verdicts = {row["metric"]: row["verdict"] for row in rows}
    assert verdicts["mse"] == "fail: worse"
    # The same verdicts of the two files, and of a test that is run alone.
    assert main(["compare", "old.json", "new.json", "--format", "json", "-o", "found.json"]) == 1
    (found,) = json.loads(Path("found.json").read_text())["compared"]
    assert {row["metric"]: row["verdict"] for row in found["rows"]} == {
        metric: verdict.partition(": ")[2] for metric, verdict in verdicts.items()
    }
    alone = run(folder, "--baseline=old.json", "--fail-on-regression", "-k=mse", noise=0.55)
    alone.assert_outcomes(failed=1, deselected=3)
    # Without the option a regression is shown only.
    shown = run(folder, "--baseline=old.json", "--results=new.json", noise=0.55)
    assert shown.ret == 0
    rows = json.loads(Path("new.json").read_text())["rows"]
    assert "pass: worse" in {row["verdict"] for row in rows}


def test_both_forms_of_a_saved_run_serve_and_say_how_fast_the_machine_was(folder):
    args = ("-k=not contract", "--results=old.json", "--benchmark-json=bench.json")
    run(folder, *args, path=BENCHMARKS)
    runs = [json.loads(Path(name).read_text()) for name in ("old.json", "bench.json")]
    runs[1] = runs[1]["reconeval"]
    assert runs[0]["run"]["reference_seconds"] == runs[1]["run"]["reference_seconds"] > 0
    assert runs[0]["replicates"] == runs[1]["replicates"] != []
    for row in runs[0]["rows"]:
        if row["metric"] in ("train_seconds", "predict_cells_per_second"):
            # As if the old release had been a thousand times faster.
            factor = 1e-3 if row["metric"] == "train_seconds" else 1e3
            row.update({name: row[name] * factor for name in ("value", "low", "high")})
    Path("fast.json").write_text(json.dumps(runs[0]))
    for name in ("bench.json", "fast.json"):
        gate = (f"--baseline={name}", "--fail-on-regression", "-k=train_time")
        result = run(folder, *gate, path=BENCHMARKS)
        assert result.ret == (name == "fast.json")
    result.stdout.fnmatch_lines(
        ["*train_seconds on pbmc68k/iid: * times the cost (allowed *, scaled by reference*"]
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--fail-on-regression",), "--fail-on-regression needs a baseline: add --baseline FILE*"),
        (
            ("--baseline=other.json", "--fail-on-regression"),
            "--fail-on-regression: the baseline has nothing of Noisy on pbmc68k/iid (has Other on*",
        ),
        (("--baseline=missing.json",), "baseline missing.json: cannot be read*"),
    ],
)
def test_a_gate_that_could_not_fail_is_refused(folder, make_row, args, message):
    rows = [make_row(model="Other").to_dict()]
    Path("other.json").write_text(json.dumps({"schema": 1, "rows": rows}))
    result = run(folder, *args)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*{message}"])


def test_one_seed_is_said_to_tell_nothing_of_another(folder, make_row):
    rows = [make_row(model="Noisy", dataset="pbmc68k").to_dict()]
    Path("old.json").write_text(json.dumps({"schema": 1, "rows": rows}))
    args = ("--baseline=old.json", "--fail-on-regression", "--seeds=1", "--collect-only")
    result = run(folder, *args)
    result.stdout.fnmatch_lines(["baseline old.json (one seed: *; say --seeds 3)"])
