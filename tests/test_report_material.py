"""What a run keeps for its report, of real cells and of predictions of every kind."""

import json

import numpy as np
import pytest

from reconeval.errors import UsageError
from reconeval.fits import Fit
from reconeval.metrics._shared import projected
from reconeval.metrics.pair import Pair, Truth
from reconeval.options import Options
from reconeval.report.html.material import MOST_CELLS, Material
from reconeval.runs import Run
from reconeval.session import Session


@pytest.fixture(scope="module")
def session():
    return Session(Options(models=("models:Mean",), datasets=("pbmc68k",), splits=("iid",)))


@pytest.fixture(scope="module")
def case(session):
    return session.case("pbmc68k", "iid")


def run_of(session, case, prediction):
    return Run(session.specs["Mean"], case, [fit_of(case, prediction)])


def fit_of(case, prediction):
    return Fit(0, None, None, None, case, lambda: prediction)


def observed(session, case, prediction):
    material = Material()
    material.observe(run_of(session, case, prediction))
    return material


def through_json(material):
    return Material.from_dict(json.loads(json.dumps(material.to_dict(), allow_nan=False)))


def test_keeps_gene_means_and_cells_in_components(session, case):
    truth = case.truth.X
    material = through_json(observed(session, case, truth * np.float32(0.5)))
    measured = material.measured["pbmc68k", "iid"]
    predicted = material.predicted["Mean", "pbmc68k", "iid"]
    assert measured.genes == tuple(case.truth.genes)
    assert measured.means == pytest.approx(truth.mean(axis=0), abs=1e-6)
    assert predicted.means == pytest.approx(truth.mean(axis=0) / 2, abs=1e-6)
    both = projected(Pair(case.truth, truth * np.float32(0.5)))
    assert len(truth) <= MOST_CELLS  # so that all cells are drawn, in their order
    assert measured.cells == pytest.approx(both[0][:, :2], abs=1e-4)
    assert predicted.cells == pytest.approx(both[1][:, :2], abs=1e-4)
    assert measured.controls.shape == (0, 2)


def test_the_truth_stands_once_whatever_the_number_of_models(session, case):
    material = observed(session, case, case.truth.X)
    size = len(json.dumps(material.to_dict()))
    for name in ("B", "C"):
        material.predicted[name, "pbmc68k", "iid"] = material.predicted["Mean", "pbmc68k", "iid"]
    assert len(json.dumps(material.to_dict())) < 2 * size


def test_draws_the_same_few_cells_of_truth_and_prediction():
    rng = np.random.default_rng(0)
    X = rng.random((900, 4)).astype(np.float32)
    truth = Truth(X, list("abcd"), train=X[:100])

    class Place:
        name, sha256 = "many", "a" * 64

    class Many:
        dataset = split = Place

        def pair(self, prediction):
            return Pair(truth, prediction)

    class Spec:
        id = "M"

    material = Material()
    material.observe(Run(Spec, Many(), [fit_of(Many(), X)]))
    measured, predicted = material.measured["many", "many"], material.predicted["M", "many", "many"]
    assert measured.cells.shape == (MOST_CELLS, 2)
    assert (measured.cells == predicted.cells).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_keeps_what_cannot_be_drawn_without_a_word(session, case, value):
    prediction = np.full_like(case.truth.X, value)
    predicted = through_json(observed(session, case, prediction)).predicted
    means = predicted["Mean", "pbmc68k", "iid"].means
    assert np.array_equal(means, np.full_like(means, value), equal_nan=True)


def test_controls_of_perturbed_cells_are_drawn_too():
    session = Session(Options(models=("models:NoShift",), datasets=("immune_shift",)))
    case = session.case("immune_shift", "iid")
    fit = fit_of(case, case.dataset.embedding[case.split.test])  # the truth, as a prediction
    material = Material()
    material.observe(Run(session.specs["NoShift"], case, [fit]))
    measured = material.measured["immune_shift", "iid"]
    assert len(measured.controls) == min(MOST_CELLS, len(fit.pair.truth.reference)) > 0
    assert measured.cells == pytest.approx(
        material.predicted["NoShift", "immune_shift", "iid"].cells, abs=1e-4
    )


def test_a_run_that_failed_has_nothing_to_draw(session, case):
    material = Material()
    material.observe(Run(session.specs["Mean"], case, [], "it raised"))
    assert material.to_dict() == {"measured": [], "predicted": []}


def test_of_two_runs_the_later_is_kept(session, case):
    first, second = (observed(session, case, case.truth.X * np.float32(f)) for f in (1, 2))
    key = ("Mean", "pbmc68k", "iid")
    assert Material.merged([first, second]).predicted[key] is second.predicted[key]


@pytest.mark.parametrize(
    "broken",
    [
        {"measured": [{}]},
        {"predicted": [{"model": "M", "dataset": "d", "split": "s", "means": "?", "cells": ""}]},
        {"predicted": [{"model": "M", "dataset": "d", "split": "s", "means": "AAAA", "cells": ""}]},
        {"predicted": [7]},
    ],
)
def test_refuses_broken_material_in_one_line(broken):
    with pytest.raises(UsageError, match=r"not the material of a reconeval report: .*again$"):
        Material.from_dict(broken)
