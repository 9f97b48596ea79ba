"""What the scores of known predictions say, on the places that a predictor runs on by default."""

import numpy as np
import pytest

from reconeval.cases import LatentShiftCase
from reconeval.costs import find
from reconeval.datasets import load_perturbation_dataset, make_perturbation_split
from reconeval.models import AdditiveShift
from reconeval.runs import metric_names, train
from reconeval.spec import parse_models
from tests.conftest import ROOT

NAMES = metric_names("latent_shift")
# A cell beyond the perturbed ones has more of them around it than a perturbed cell has.
OVERSHOT = {name for name in NAMES if name.startswith("knn_purity")}


class HalfShift(AdditiveShift):
    """Half the effect that `AdditiveShift` predicts."""

    def predict(self, ctrl_emb, pert_cov):
        return (ctrl_emb + super().predict(ctrl_emb, pert_cov)) / 2


MODELS = {
    "NoShift": "reconeval.models:NoShift",
    "MeanShift": "reconeval.models:MeanShift",
    "AdditiveShift": "reconeval.models:AdditiveShift",
    "half": "tests.test_latent_shift_sanity:HalfShift",
}


def case_of(name, split):
    dataset = load_perturbation_dataset(name)
    return LatentShiftCase(dataset, make_perturbation_split(dataset, split))


def badness(case, model):
    """How bad each score of a model is, for metrics that have one."""
    (spec,) = parse_models([MODELS[model]], folder=ROOT)
    run = train(spec, case, (0,))
    values = {name: run.row(find(name)).value for name in NAMES if not case.unserved(find(name))}
    assert np.isfinite(list(values.values())).all()
    return {name: find(name).badness(value) for name, value in values.items()}


@pytest.mark.parametrize("split", ["iid", "perturbation"])
def test_the_truth_is_best_and_doing_nothing_never(split):
    case = case_of("immune_shift", split)
    found = {model: badness(case, model) for model in MODELS}
    names = list(found["NoShift"])
    assert len(names) > 35
    truth = {name: find(name).badness(case.positive(find(name))) for name in names}
    better = {
        (name, model)
        for name in set(names) - OVERSHOT
        for model in MODELS
        if found[model][name] < truth[name]
    }
    assert better == set()
    good = {name: min(found[model][name] for model in ("AdditiveShift", "half")) for name in names}
    beaten = {
        (name, model)
        for name in names
        for model in ("NoShift", "MeanShift")
        if found[model][name] <= good[name]
    }
    assert beaten == set()
