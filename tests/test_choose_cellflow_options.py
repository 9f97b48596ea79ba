"""The choice of CellFlow's defaults sees validation cells, and no test cell."""

from __future__ import annotations

import inspect
import re
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from reconeval.datasets import load_perturbation_dataset, make_perturbation_split
from reconeval.models import CellFlowPredictor

ROOT = Path(__file__).parents[1]
CELL = r"([-\d.]+)"
ROW = re.compile(rf"^\| {CELL} \| (\d+) \| {CELL} \| {CELL} \| (\d) \+ (\d) \|$", re.MULTILINE)


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import choose_cellflow_options

    yield choose_cellflow_options
    del sys.modules["choose_cellflow_options"]


@cache
def whole():
    dataset = load_perturbation_dataset("immune_shift")
    return dataset, make_perturbation_split(dataset, "iid")


def test_nothing_of_the_test_cells_is_left(tool):
    dataset, split = whole()
    case = tool.validation_case()
    hidden = np.concatenate([split.test, split.test_controls])
    shown = np.setdiff1d(np.arange(len(dataset.X)), hidden)
    for name in ("X", "embedding"):
        values, measured = getattr(case.dataset, name), getattr(dataset, name)
        assert np.isnan(values[hidden]).all()
        np.testing.assert_array_equal(values[shown], measured[shown])
    assert case.dataset.counts is None
    np.testing.assert_array_equal(case.split.test, split.val)
    np.testing.assert_array_equal(case.data.val_ctrl_emb, dataset.embedding[split.val_partner])
    for rows in vars(case.split).values():
        if isinstance(rows, np.ndarray):
            assert not np.isin(rows, hidden).any()


def test_the_scores_are_those_of_validation_cells(tool):
    dataset, split = whole()
    case = tool.validation_case()
    truth = dataset.embedding[split.val].astype(np.float64)
    assert tool.scores_of(dataset.embedding[split.val], case) == pytest.approx([0, 1], abs=1e-6)
    still = dataset.embedding[split.val_partner].astype(np.float64)

    def mean(A, B):
        return np.sqrt(np.square(A[:, None] - B[None]).sum(axis=2)).mean()

    energy = 2 * mean(truth, still) - mean(truth, truth) - mean(still, still)
    got = tool.scores_of(case.data.val_ctrl_emb, case)
    assert got[0] == pytest.approx(energy, rel=1e-4)
    assert got[1] < 0


def test_of_equal_sums_the_shorter_training_and_then_the_smaller_noise(tool):
    means = np.array([[0.5, 0.6], [0.6, 0.7], [0.9, 0.1]])
    places = tool.ranks(means)
    np.testing.assert_array_equal(places, [[1, 2], [2, 1], [3, 3]])
    assert tool.best([(0.5, 2000), (1.0, 1000), (0.1, 500)], places) == (1.0, 1000)
    assert tool.best([(1.0, 500), (0.5, 500), (0.1, 500)], places) == (0.5, 500)


def test_the_defaults_are_the_choice_of_the_documented_table(tool):
    rows = ROW.findall((ROOT / "docs" / "latent-shift.md").read_text(encoding="utf-8"))
    options = [(float(noise), int(iterations)) for noise, iterations, *_ in rows]
    grid = [(noise, length) for noise in tool.FLOW_NOISE for length in tool.ITERATIONS]
    assert options == grid
    places = tool.ranks(np.array([row[2:4] for row in rows], dtype=float))
    np.testing.assert_array_equal(places, [[int(place) for place in row[4:]] for row in rows])
    noise = inspect.signature(CellFlowPredictor).parameters["flow_noise"].default
    length = inspect.signature(CellFlowPredictor.train).parameters["iterations"].default
    assert tool.best(options, places) == (noise, length)
