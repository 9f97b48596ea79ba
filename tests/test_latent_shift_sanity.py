"""What the scores of known predictions say, on the places that a predictor runs on by default."""

import tomllib

import numpy as np
import pytest

from reconeval.cases import LatentShiftCase
from reconeval.cases._base import nothing_to_ask
from reconeval.cases._populations import Populations
from reconeval.costs import find
from reconeval.datasets import load_perturbation_dataset, make_perturbation_split
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.perturbational.truth import Group
from reconeval.models import AdditiveShift
from reconeval.runs import metric_names, train
from reconeval.spec import parse_models
from tests.conftest import ROOT

# They say little here, as docs/tasks.md explains, and have no floors.
SAY_LITTLE = {"zero_fraction_error", "mmd_rbf", "relative_distance"}
# Sinkhorn divergence has no floor, and takes longer than all others together.
NAMES = [
    name
    for name in metric_names("latent_shift")
    if "sinkhorn" not in name and name not in SAY_LITTLE
]
FLOORS = tomllib.loads((ROOT / "benchmarks" / "thresholds.toml").read_text(encoding="utf-8"))
# A cell beyond the perturbed ones has more of them around it than a perturbed cell has.
OVERSHOT = {name for name in NAMES if name.startswith("knn_purity")}
# They see how far cells are spread, which that of control cells tells as well.
SPREAD = {name for name in NAMES if name.endswith("variance_log2_ratio")}


class HalfShift(AdditiveShift):
    """Half the effect that `AdditiveShift` predicts."""

    def predict(self, ctrl_emb, pert_cov):
        return (ctrl_emb + super().predict(ctrl_emb, pert_cov)) / 2


MODELS = {
    "NoShift": "reconeval.models:NoShift",
    "MeanShift": "reconeval.models:MeanShift",
    "AdditiveShift": "reconeval.models:AdditiveShift",
    "half": "tests.test_latent_shift_sanity:HalfShift",
    "MLP": "reconeval.models:MLPPerturbationPredictor",
}
CONTROLS = ("NoShift", "MeanShift")


def case_of(name, split):
    dataset = load_perturbation_dataset(name)
    found = make_perturbation_split(dataset, split)
    return LatentShiftCase(dataset.for_split(found), found)


def badness(case, model, names=NAMES):
    """Return how bad each score of a model is, for metrics that have one."""
    (spec,) = parse_models([MODELS[model]], folder=ROOT)
    run = train(spec, case, (0,))
    values = {name: run.row(find(name)).value for name in names if not case.unserved(find(name))}
    assert np.isfinite(list(values.values())).all()
    return {name: find(name).badness(value) for name, value in values.items()}


@pytest.fixture(scope="module", params=[("immune_shift", "iid"), ("immune_shift", "perturbation")])
def place(request):
    """A place, its case, and how bad the scores of all models are there."""
    case = case_of(*request.param)
    return request.param, case, {model: badness(case, model) for model in MODELS}


@pytest.fixture(scope="module")
def synthetic():
    """The same of the drawn cells."""
    case = case_of("latent_synthetic", "iid")
    return ("latent_synthetic", "iid"), case, {model: badness(case, model) for model in MODELS}


def test_the_truth_is_best_and_doing_nothing_never(place):
    _, case, found = place
    names = set(found["NoShift"])
    assert len(names) > 33
    truth = {name: find(name).badness(case.positive(find(name))) for name in names}
    better = {
        (name, model)
        for name in names - OVERSHOT
        for model in MODELS
        if found[model][name] < truth[name]
    }
    assert better == set()
    good = {name: min(found[model][name] for model in ("AdditiveShift", "half")) for name in names}
    beaten = {
        (name, model)
        for name in names - SPREAD
        for model in CONTROLS
        if found[model][name] <= good[name]
    }
    assert beaten == set()


def test_controls_miss_every_floor_and_predictors_reach_every_one(place):
    check_floors(place)


def test_floors_of_the_drawn_cells(synthetic):
    check_floors(synthetic)


@pytest.mark.parametrize("split", ["cell_type", "condition"])
def test_floors_where_whole_groups_are_held_out(split):
    case = case_of("immune_shift", split)
    names = FLOORS["immune_shift"][split]["floor"]
    found = {model: badness(case, model, names) for model in MODELS if model != "half"}
    check_floors((("immune_shift", split), case, found))


@pytest.mark.parametrize(
    ("dataset", "split"),
    [("myoblast", "iid"), ("myoblast", "perturbation"), ("latent_synthetic", "perturbation")],
)
def test_places_that_cannot_tell_a_predictor_from_the_mean_shift_have_no_floors(dataset, split):
    assert "floor" not in FLOORS.get(dataset, {}).get(split, {})
    case = case_of(dataset, split)
    name = "latent_energy_distance"
    found = {model: badness(case, model, [name])[name] for model in (*CONTROLS, "MLP")}
    assert min(found[model] for model in CONTROLS) < found["MLP"]


def check_floors(place):
    (dataset, split), case, found = place
    floors = FLOORS[dataset][split]["floor"]
    assert len(floors) > 15
    limits = {name: find(name).badness(floor) for name, floor in floors.items()}
    for name, limit in limits.items():
        assert find(name).badness(case.positive(find(name))) <= limit, name
    wrong = {
        (name, model)
        for model in found
        if model != "half"
        for name, limit in limits.items()
        if (found[model][name] <= limit) == (model in CONTROLS)
    }
    assert wrong == set()


def test_cells_under_the_wrong_perturbation_are_found_out():
    case = case_of("immune_shift", "perturbation")
    embedding = case.dataset.embedding[case.split.test]
    wrong = np.random.default_rng(0).permutation(len(embedding))
    pair = case.pair(embedding[wrong])
    populations = [
        name
        for name in set(NAMES) - SPREAD
        if find(name).family == "statistical" and not find(name).paired
    ]
    assert {"r2", "energy_distance", "latent_r2", "latent_energy_distance"} <= set(populations)
    for name in populations:
        metric = find(name)
        value = metric.badness(case.score(metric, pair, nothing_to_ask).value)
        truth = metric.badness(case.positive(metric))
        assert value > truth, name
    latent = find("latent_energy_distance")
    assert case.score(latent, pair, nothing_to_ask).value > 5


def test_a_group_without_a_value_is_left_out_only_where_the_truth_has_none():
    rng = np.random.default_rng(0)
    truth = Truth(rng.normal(size=(12, 3)), ("a", "b", "c"), train=rng.normal(size=(9, 3)))
    groups = {Group("x", ""): np.arange(10), Group("y", ""): np.arange(10, 12)}
    populations = Populations(truth, groups)
    moved = Pair(truth, truth.X + 1.0)
    alone = Populations(truth, {Group("x", ""): np.arange(10)})
    auc = find("c2st_auc")  # which needs three cells
    assert populations.score(auc, moved) == alone.score(auc, Pair(truth, truth.X + 1.0))
    broken = truth.X.copy()
    broken[11] = np.nan
    assert populations.score(find("r2"), Pair(truth, broken)).reason.startswith("y: the predic")
    few = Populations(truth, {Group("y", ""): np.arange(10, 12)}).score(auc, moved)
    assert few.reason.startswith("y: 3 folds need 3 cells")
    expected = [
        np.square(truth.X[rows] - moved.prediction[rows]).mean() for rows in groups.values()
    ]
    assert populations.score(find("mse"), moved).value == pytest.approx(np.mean(expected))
