"""Timings are compared by the speed of the machine that took them."""

import sys
from dataclasses import replace

import pytest

from reconeval import reference
from reconeval.documents import document
from reconeval.gate._saved import saved_of
from reconeval.merge import merge_runs
from reconeval.options import Options
from reconeval.reference import Reference
from reconeval.session import Session
from tests.test_gate_run import cost

MODELS = """
import numpy as np

class First:
    def train(self, X, seed):
        self.mean = X.mean(axis=0)
    def predict(self, X):
        return (0.5 * X + 0.5 * self.mean).astype(np.float32)

class Second(First):
    pass
"""
OLD, NEW = 0.5, 0.1  # seconds of the work on the machine of the earlier run, and on this one


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Return what trains models with a cache on a machine of some speed."""
    (tmp_path / "two_models.py").write_text(MODELS)
    sys.modules.pop("two_models", None)
    monkeypatch.syspath_prepend(tmp_path)

    def session_of(seconds, *models, seeds=(0,)):
        monkeypatch.setattr(Reference, "measure", lambda self: self.note(seconds))
        session = Session(
            Options(
                models=tuple(f"two_models:{model}" for model in models),
                datasets=("pbmc68k",),
                splits=("iid",),
                seeds=seeds,
                metrics=("r2",),
                cache_dir=tmp_path / "cache",
            )
        )
        for model in session.specs:
            session.train(model, "pbmc68k", "iid", lambda _: None)
        return session

    return session_of


def place(model):
    return (model, "pbmc68k", "iid")


def timing(model):
    return replace(cost("train_seconds", 1.0), model=model, dataset="pbmc68k", split="iid")


def test_what_was_found_has_the_machine_of_its_time_and_what_was_trained_this_one(trained):
    trained(OLD, "First")
    session = trained(NEW, "First", "Second")
    assert session.reference.of(place("First")) == OLD
    assert session.reference.of(place("Second")) == NEW
    content = {**document(session), "rows": [timing(m).to_dict() for m in session.specs]}
    run = saved_of(content, "new.json")
    assert [run.reference_seconds(row) for row in run.rows.values()] == [OLD, NEW]
    merged = saved_of(merge_runs([run]), "merged.json")
    assert [merged.reference_seconds(row) for row in merged.rows.values()] == [OLD, NEW]
    assert "kept_references" not in merged.run


@pytest.mark.parametrize(("before", "now"), [(0.5, 0.1), (0.1, 0.5)])
def test_of_seeds_of_several_times_the_quickest_machine_counts(trained, before, now):
    trained(before, "First")
    assert trained(now, "First", seeds=(0, 1)).reference.of(place("First")) == 0.1
    assert trained(9.0, "First", seeds=(1, 0)).reference.of(place("First")) == 0.1


def test_a_machine_of_a_gpu_is_not_measured(monkeypatch):
    def work(**_):
        msg = "worked"
        raise AssertionError(msg)

    monkeypatch.setattr(reference, "reference_seconds", work)
    machine = Reference(on_cpu=False)
    machine.measure()
    assert machine.of(place("First")) is None
    with pytest.raises(AssertionError, match="worked"):
        Reference().measure()
