"""What the harness adds to a run: everything but training, prediction and metric kernels."""

from __future__ import annotations

import json
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

MODEL = f"""
import time
import numpy as np

class Slow:
    def train(self, X):
        time.sleep({TRAINING_SECONDS})
        self.mean = X.mean(axis=0)
        _, _, axes = np.linalg.svd(X - self.mean, full_matrices=False)
        self.axes = axes[:20]

    def predict(self, X):
        return (X - self.mean) @ self.axes.T @ self.axes + self.mean
"""


def test_harness_overhead(tmp_path: Path) -> None:
    """A whole process, from the start of Python to the last line, on one dataset and split."""
    (tmp_path / "slow.py").write_text(MODEL)
    arguments = [
        *("--pyargs", "reconeval.benchmarks"),
        *("--model", "slow:Slow", "--dataset", "immune", "--split", "iid"),
        *("-k", "not contract", "--benchmark-json=out.json"),
        *("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist"),
    ]
    # Without the interpreter's shutdown, which frees the libraries of the kernels (torch, which
    # POT imports): they are part of the metrics.
    code = f"import os, pytest; code = pytest.main({arguments!r}); os._exit(code)"
    command = [sys.executable, "-c", code]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    rows = {row["metric"]: row["value"] for row in document["reconeval"]["rows"]}
    cells = len(make_split(load_dataset("immune"), "iid").test)
    predictions = 8  # warm-up and rounds of the timing, the scored one, the thinned one
    model = rows["train_seconds"] + predictions * cells / rows["predict_cells_per_second"]
    metrics = sum(document["reconeval"]["metric_seconds"].values())
    overhead = wall - model - metrics
    print(
        f"wall {wall:.2f} s: model {model:.2f}, metrics {metrics:.2f}, harness {overhead:.2f} "
        f"({overhead / wall:.1%})"
    )
    assert rows["train_seconds"] >= TRAINING_SECONDS
    assert overhead < SHARE * wall
