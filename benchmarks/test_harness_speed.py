"""What the harness adds to a run: everything but training, prediction and metric kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from reconeval.datasets import load_dataset, make_split

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.speed

TRAINING_SECONDS = 30
SHARE = 0.05

MODEL = """
import time
import numpy as np

class Slow:
    def train(self, X, seconds):
        time.sleep(seconds)
        self.mean = X.mean(axis=0)
        _, _, axes = np.linalg.svd(X - self.mean, full_matrices=False)
        self.axes = axes[:20]

    def predict(self, X):
        return (X - self.mean) @ self.axes.T @ self.axes + self.mean
"""

OTHERS = ("hypothesispytest", "platformdirs", "xdist", "zarr")

# What a report draws of a run asks first for the components that the metrics share, so that its
# seconds are theirs. Libraries are not freed in the end.
RUN = """
import json, os, sys, time
start, shared = time.perf_counter(), []
import pytest
from reconeval.session import Session

def observe(session, run, plain=Session.observe):
    begin = time.perf_counter()
    plain(session, run)
    shared.append(time.perf_counter() - begin)

Session.observe = observe
code = pytest.main(sys.argv[1:])
with open("seconds.json", "w") as file:
    json.dump([time.perf_counter() - start, sum(shared)], file)
os._exit(code)
"""

PREDICTOR_SECONDS = 60
PREDICTOR = """
import numpy as np


class Linear:
    effect = None

    def train(self, ctrl_emb, pert_emb, pert_cov):
        self.effect = np.linalg.lstsq(pert_cov, pert_emb - ctrl_emb, rcond=None)[0]

    def predict(self, ctrl_emb, pert_cov):
        if self.effect is None:
            raise RuntimeError("train the model first")
        return (ctrl_emb + pert_cov @ self.effect).astype(np.float32)
"""


def test_default_run_of_a_predictor(tmp_path: Path) -> None:
    """All that a predictor is run on by default takes under a minute beyond its training."""
    (tmp_path / "linear.py").write_text(PREDICTOR)
    arguments = ["-m", "pytest", "--pyargs", "reconeval.benchmarks", "--model", "linear:Linear"]
    arguments += ["--results=out.json", "--no-cache", "-p", "no:cacheprovider"]
    command = [sys.executable, *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    training = sum(row["value"] for row in rows if row["metric"] == "train_seconds")
    places = {f"{row['dataset']}/{row['split']}" for row in rows}
    print(f"{wall - training:.1f} s beyond {training:.1f} s of training, on {', '.join(places)}")
    assert places == {"latent_synthetic/iid", "immune_shift/iid", "immune_shift/perturbation"}
    assert 0 < wall - training < PREDICTOR_SECONDS


def test_harness_overhead(tmp_path: Path) -> None:
    """A whole run, from the start of pytest to the last line, on one dataset and split.

    Without intervals, which are metrics of resamples and have a benchmark of their own.
    """
    (tmp_path / "slow.py").write_text(MODEL)
    run_slow(tmp_path, 0)  # so that Python's compiled files are there, as after a user's first run
    run_slow(tmp_path, TRAINING_SECONDS)
    wall, shared = json.loads((tmp_path / "seconds.json").read_text())
    document = json.loads((tmp_path / "out.json").read_text())
    rows = {row["metric"]: row["value"] for row in document["reconeval"]["rows"]}
    cells = len(make_split(load_dataset("immune"), "iid").test)
    predictions = 8  # warm-up and rounds of the timing, the scored one, the thinned one
    model = rows["train_seconds"] + predictions * cells / rows["predict_cells_per_second"]
    metrics = sum(document["reconeval"]["metric_seconds"].values()) + shared
    overhead = wall - model - metrics
    print(
        f"wall {wall:.2f} s: model {model:.2f}, metrics {metrics:.2f}, harness {overhead:.2f} "
        f"({overhead / wall:.1%})"
    )
    assert rows["train_seconds"] >= TRAINING_SECONDS
    assert 0 < overhead < SHARE * wall  # a replayed run would have taken less than its training


def run_slow(folder: Path, seconds: int) -> None:
    arguments = [
        *("--pyargs", "reconeval.benchmarks"),
        *("--model", f"slow:Slow?train.seconds={seconds}"),
        *("--dataset", "immune", "--split", "iid"),
        *("-k", "not contract", "--benchmark-json=out.json", "--no-cache", "--no-intervals"),
        *("-p", "no:cacheprovider"),
        # What other libraries bring to every pytest run.
        *(word for name in OTHERS for word in ("-p", f"no:{name}")),
    ]
    command = [sys.executable, "-c", RUN, *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
