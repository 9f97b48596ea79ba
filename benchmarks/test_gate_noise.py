"""Does the gate tell a worse model from another seed? Once for real, with ReconPCA.

`pytest benchmarks/test_gate_noise.py -rP`: one saved run, three with other seeds, one with a
tenth more noise, each as a release would be tested. Hundreds of simulated pairs of runs are
compared in `tests/test_gate_noise.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.gate

NOISE = 0.3  # standard deviation, log1p of counts per 10 000
MORE = 1.1
SEEDS = 3

# Components alone have no randomness; here a seed draws the cells that they are fitted on, as it
# draws the batches of a network, and what the predictions are blurred with.
MODEL = """
import numpy as np
from reconeval.models import ReconPCA


class Blurred(ReconPCA):
    def __init__(self, noise, n_components=32):
        super().__init__(n_components)
        self.noise = noise
        self.rng = np.random.default_rng(0)

    def train(self, X, seed):
        self.rng = np.random.default_rng(seed)
        super().train(X[self.rng.random(len(X)) < 0.9])

    def predict(self, X):
        smooth = super().predict(X)
        return smooth + self.rng.normal(0, self.noise, smooth.shape).astype(np.float32)
"""


def run(folder: Path, name: str, *, noise: float, seed: int, gate: bool = True) -> list[str]:
    """Benchmark the model in a process of its own; returns the metrics that fail."""
    arguments = [
        *("-m", "pytest", "--pyargs", "reconeval.benchmarks", "-k", "test_metric", "--no-cache"),
        *("--model", f"Blurred=blurred:Blurred?noise={noise}", "--dataset", "immune"),
        *("--split", "iid", "--seeds", str(SEEDS), "--seed", str(seed), f"--results={name}.json"),
        *("--thresholds", "none.toml", "-p", "no:cacheprovider", "-q"),
        *(("--baseline", "old.json", "--fail-on-regression") if gate else ()),
    ]
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    rows = json.loads((folder / f"{name}.json").read_text())["rows"]
    failed = [row["metric"] for row in rows if row["verdict"].startswith("fail: worse")]
    print(f"{name}: {len(failed)} of {len(rows)} metrics fail ({', '.join(failed) or 'none'})")
    print(*(row["reason"] for row in rows if row["metric"] in failed), sep="\n")
    return failed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model and a saved run."""
    path = tmp_path_factory.mktemp("gate")
    (path / "blurred.py").write_text(MODEL)
    (path / "none.toml").write_text("")
    run(path, "old", noise=NOISE, seed=0, gate=False)
    return path


@pytest.mark.parametrize("seed", [SEEDS, 2 * SEEDS, 3 * SEEDS])
def test_other_seeds_pass(folder: Path, seed: int) -> None:
    assert run(folder, f"seed-{seed}", noise=NOISE, seed=seed) == []


def test_a_tenth_more_noise_fails(folder: Path) -> None:
    assert run(folder, "noisier", noise=MORE * NOISE, seed=SEEDS)
