"""A run that is killed at any moment goes on where it stopped."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from reconeval.costs import find
from reconeval.options import Options
from reconeval.reference import Reference
from reconeval.session import Session
from tests.conftest import ROOT

MODELS = """
import numpy as np
from pathlib import Path

class First:
    shift = 0.0
    def train(self, X, seed):
        with Path("trainings.log").open("a") as log:
            log.write(f"{type(self).__name__}-{seed}\\n")
        rng = np.random.default_rng(seed)
        self.mean = X.mean(axis=0) + 0.01 * rng.random(X.shape[1]) + self.shift
    def predict(self, X):
        return (0.5 * X + 0.5 * self.mean).astype(np.float32)

class Second(First):
    shift = 0.1
"""


@pytest.fixture(scope="module", params=[1, 2, 3])
def killed(request, tmp_path_factory):
    """A folder in which a run was killed up to six times, and then left to finish."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "killed.py").write_text(MODELS)
    command = [sys.executable, str(ROOT / "tests" / "cache_worker.py"), str(request.param)]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def told(killed):
    return json.loads((killed / "history.json").read_text())


def test_the_result_is_that_of_a_run_that_was_let_alone(killed):
    whole = json.loads((killed / "whole.json").read_text())
    assert json.loads((killed / "resumed.json").read_text()) == whole
    assert len(whole) == 12


def test_some_were_killed_in_the_middle(told):
    assert sum(not one["done"] for one in told["history"]) >= 4
    assert {len(one["trained"]) for one in told["history"]} > {6}


def test_nothing_that_was_finished_is_lost_or_changed(told):
    for before, after in itertools.pairwise(told["history"]):
        assert before["trained"].items() <= after["trained"].items()
        assert before["scored"].items() <= after["scored"].items()


def test_what_was_finished_is_not_trained_again(told):
    for before, after in itertools.pairwise(told["history"]):
        known = {name.replace(" ", "-") for name in before["trained"]}
        assert not known & set(after["begun"])


def test_all_is_trained_and_scored_in_the_end(told):
    last = told["history"][-1]
    assert {name.replace(" ", "-") for name in last["trained"]} == set(told["expected"])
    assert len(told["expected"]) == 6
    assert len(last["scored"]) == 30


def test_the_process_was_killed_in_the_middle_of_a_write(killed):
    assert [path for path in (killed / "cache").rglob(".*") if path.is_file()]


@pytest.mark.parametrize("name", ["fit", "predictions", "score r2"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_made_anew(tmp_path, monkeypatch, name, left):
    (tmp_path / "cut.py").write_text(MODELS)
    sys.modules.pop("cut", None)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Reference, "measure", lambda self: self.note(0.02))
    log = Path("trainings.log")

    def run():
        """Return the score with the prediction, and the number of trainings."""
        log.write_text("")
        options = Options(
            models=("cut:First",),
            datasets=("pbmc68k",),
            splits=("iid",),
            seeds=(0,),
            metrics=("r2",),
            cache_dir=tmp_path / "cache",
        )
        session = Session(options)
        trained = session.train("First", "pbmc68k", "iid", lambda _: None)
        values = trained.row(find("r2")).value, trained.fits[0].prediction.tobytes()
        return values, len(log.read_text().splitlines())

    first = run()
    assert first[1] == 1
    assert run() == (first[0], 0)
    (path,) = (tmp_path / "cache").rglob(quote(name, safe=" "))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole))])
    assert run() == (first[0], 0 if name.startswith("score") else 1)
    if name == "predictions":  # the damaged entry is forgotten, and the next run makes it anew
        assert run() == (first[0], 1)
    assert run() == (first[0], 0)
    (path,) = (tmp_path / "cache").rglob(quote(name, safe=" "))
    assert len(path.read_bytes()) >= 0.9 * len(whole)
