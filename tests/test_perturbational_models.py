"""What the metrics say of known predictions: a replicate, half of it, the mean, nothing, collapse.

The predictions that win elsewhere without having learnt anything must not win here.
"""

import numpy as np
import pytest

from reconeval.errors import Undefined, UsageError
from reconeval.metrics.pair import Pair
from reconeval.metrics.perturbational import (
    PERTURBATIONAL,
    Group,
    PerturbationPair,
    PerturbationTruth,
    control_halves,
    pearson_delta,
    per_perturbation,
    response_weights,
    weighted_mse,
)
from reconeval.metrics.perturbational.shifts import pearson_of_shifts
from reconeval.metrics.registry import score
from tests.conftest import data_file

N_CELLS, N_GENES, N_PERTURBATIONS = 30, 300, 8
METRICS = {metric.name: metric for metric in PERTURBATIONAL}
LEARNT = [name for name in METRICS if not name.endswith(("_k10", "_k50"))]


class Experiment:
    """Counts of perturbations with a common and a sparse specific effect; some never trained on."""

    def __init__(self, seed=0):
        rng = self.rng = np.random.default_rng(seed)
        self.base = rng.lognormal(-0.5, 1.2, N_GENES)
        common = np.where(rng.random(N_GENES) < 0.1, rng.normal(0.8, 0.3, N_GENES), 0)
        specific = np.where(
            rng.random((2 * N_PERTURBATIONS, N_GENES)) < 0.06,
            rng.normal(0, 1.5, (2 * N_PERTURBATIONS, N_GENES)),
            0,
        )
        self.rates = self.base * np.exp(common + specific[:N_PERTURBATIONS])
        self.half_rates = self.base * np.exp(common + specific[:N_PERTURBATIONS] / 2)
        trained = self.base * np.exp(common + specific[N_PERTURBATIONS:])
        self.labels = np.repeat([f"p{p}" for p in range(N_PERTURBATIONS)], N_CELLS)
        self.train = np.concatenate([self.cells(rate) for rate in trained])
        self.truth = PerturbationTruth(
            np.concatenate([self.cells(rate) for rate in self.rates]),
            [f"g{j}" for j in range(N_GENES)],
            perturbations=self.labels,
            reference=self.cells(self.base, 160),
            train=np.concatenate([self.train, self.cells(self.base)]),
            train_perturbations=[
                *np.repeat([f"q{p}" for p in range(N_PERTURBATIONS)], N_CELLS),
                *["control"] * N_CELLS,
            ],
        )

    def cells(self, rate, n=N_CELLS):
        counts = self.rng.poisson(self.rng.gamma(3, rate / 3, (n, N_GENES)))
        return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e3).astype(np.float32)

    def predictions(self):
        means = [
            self.truth.X[self.labels == label].mean(axis=0) for label in np.unique(self.labels)
        ]
        average = self.train.mean(axis=0)
        drawn = self.train[self.rng.permutation(len(self.train))]
        return {
            "replicate": np.concatenate([self.cells(rate) for rate in self.rates]),
            "half": np.concatenate([self.cells(rate) for rate in self.half_rates]),
            "mean": drawn,
            "nothing": self.cells(self.base, len(self.labels)),
            "collapsed": np.repeat(means, N_CELLS, axis=0),
            "mean_collapsed": np.tile(average, (len(self.labels), 1)),
        }


@pytest.fixture(scope="module")
def scores():
    experiment = Experiment()
    table = {}
    for name, prediction in experiment.predictions().items():
        pair = PerturbationPair(experiment.truth, prediction)
        table[name] = {metric: score(METRICS[metric], pair).value for metric in LEARNT}
    return table


@pytest.mark.parametrize("name", LEARNT)
def test_orders_replicate_half_and_nothing(scores, name):
    """A metric that does not is not worth having."""
    worse = METRICS[name].badness
    ranked = [worse(scores[model][name]) for model in ("replicate", "half", "nothing")]
    assert ranked == sorted(ranked)
    assert ranked[0] < ranked[2]


@pytest.mark.parametrize("name", LEARNT)
def test_a_replicate_beats_the_average_effect(scores, name):
    worse = METRICS[name].badness
    for average in ("mean", "mean_collapsed"):
        assert worse(scores["replicate"][name]) < worse(scores[average][name])


def test_plain_mse_prefers_a_constant_to_a_replicate_and_the_weighted_one_does_not():
    """Why there are weights: few genes respond, and a constant has no sampling noise."""
    rng = np.random.default_rng(0)
    effect = np.r_[np.full(4, 2.0), np.zeros(196)]
    plain, weighted = {}, {}
    for _ in range(10):
        X, rest = rng.normal(effect, 1, (6, 200)), rng.normal(0, 1, (300, 200))
        weights = response_weights(X, rest)
        predictions = {"replicate": rng.normal(effect, 1, (6, 200)), "constant": np.zeros((6, 200))}
        for name, Y in predictions.items():
            error = np.square(X.mean(axis=0) - Y.mean(axis=0)).mean()
            plain[name] = plain.get(name, 0) + error
            weighted[name] = weighted.get(name, 0) + weighted_mse(X, Y, weights)
    assert plain["constant"] < plain["replicate"]
    assert weighted["constant"] > 2 * weighted["replicate"]


def test_the_average_effect_has_no_weighted_r2(scores):
    assert scores["mean_collapsed"]["weighted_r2_delta_pert"] < 0.1
    assert scores["nothing"]["weighted_r2_delta_pert"] < 0.1
    assert scores["mean_collapsed"]["discrimination_l1"] == pytest.approx(0.5)
    assert scores["mean_collapsed"]["pearson_delta_pert"] == 0


def test_the_right_mean_without_spread_is_found_out(scores):
    """It leads in all that sees the mean alone, by definition, and fails in the rest."""
    assert scores["collapsed"]["weighted_r2_delta_pert"] == pytest.approx(1)
    assert scores["collapsed"]["relative_distance"] > 1 > scores["half"]["relative_distance"]
    for name in ("de_precision_at_100", "de_overlap_at_100", "de_pr_auc"):
        assert scores["collapsed"][name] < scores["half"][name]


def test_controls_of_both_sides_must_be_apart():
    """A model without any effect correlates with the truth where both share their controls."""
    rng = np.random.default_rng(0)
    base = rng.lognormal(-0.5, 1.2, N_GENES)

    def cells(rate, n):
        return np.log1p(rng.poisson(rate, (n, N_GENES))).astype(np.float32)

    shared, disjoint = [], []
    for seed in range(20):
        effect = np.where(rng.random(N_GENES) < 0.02, 2.0, 1.0)
        controls = cells(base, 60)
        X, Y = cells(base * effect, 60), cells(base, 60)
        zero = controls.mean(axis=0, dtype=np.float64)
        shared.append(pearson_of_shifts(X.mean(axis=0) - zero, Y.mean(axis=0) - zero))
        disjoint.append(pearson_delta(X, Y, controls, seed=seed))
    assert np.mean(shared) > 0.1
    assert abs(np.mean(disjoint)) < 0.05


class TestTruth:
    genes = ("a", "b", "c")

    def truth(self, **options):
        rng = np.random.default_rng(0)
        defaults = {
            "perturbations": ["x", "x", "y", "y", "x", "x"],
            "covariates": ["T", "T", "T", "T", "B", "B"],
            "reference": rng.normal(size=(9, 3)),
            "reference_covariates": ["T"] * 5 + ["B"] * 4,
        }
        return PerturbationTruth(rng.normal(size=(6, 3)), self.genes, **(defaults | options))

    def test_groups_and_halves_stay_within_covariates(self):
        truth = self.truth()
        assert truth.groups == (Group("x", "B"), Group("x", "T"), Group("y", "T"))
        assert truth.rows(Group("x", "B")).tolist() == [4, 5]
        first, second = truth.halves("B")
        assert sorted([*first, *second]) == [5, 6, 7, 8]
        expected = [5 + row for row in control_halves(4)[1]]
        assert (truth.prediction_controls("B") == truth.controls[expected]).all()

    def test_background_leaves_out_control_and_the_scored_perturbation(self):
        train = np.arange(24.0).reshape(8, 3)
        truth = self.truth(
            train=train,
            train_perturbations=["x", "y", "y", "z", "control", "x", "z", "control"],
            train_covariates=["T"] * 5 + ["B"] * 3,
        )
        expected = np.mean([train[[1, 2]].mean(axis=0), train[3]], axis=0)
        assert truth.background(Group("x", "T")) == pytest.approx(expected)
        assert truth.background(Group("x", "B")) == pytest.approx(train[6])
        assert truth.background(Group("z", "B")) == pytest.approx(train[5])

    def test_background_of_an_unseen_covariate_is_that_of_all(self):
        train = np.arange(6.0).reshape(2, 3)
        truth = self.truth(
            train=train,
            train_perturbations=["y", "z"],
            train_covariates=["NK", "NK"],
            control=None,
        )
        assert truth.background(Group("x", "T")) == pytest.approx(train.mean(axis=0))

    def test_a_control_label_that_no_training_cell_has_is_refused(self):
        with pytest.raises(UsageError, match=r"labelled 'ctrl' \(labels: dmso, y\)"):
            self.truth(train=np.ones((2, 3)), train_perturbations=["y", "dmso"], control="ctrl")

    def test_a_group_without_a_name_leaves_no_gap_in_the_reason(self):
        truth = self.truth(perturbations=[""] * 6, covariates=None, reference_covariates=None)
        metric = {one.name: one for one in PERTURBATIONAL}["discrimination_l1"]
        reason = score(metric, PerturbationPair(truth, truth.X)).reason
        assert reason == "the only perturbation there is, so there is none to tell it from"
        assert str(Group("", "T")) == "T"

    def test_values_are_the_mean_over_groups_that_have_one(self):
        truth = self.truth()
        pair = PerturbationPair(truth, np.random.default_rng(1).normal(size=(6, 3)))
        found = per_perturbation("discrimination_l1", pair)
        assert found[Group("x", "B")].reason.startswith("the only perturbation")
        value = score(METRICS["discrimination_l1"], pair).value
        assert value == np.mean([found[Group(p, "T")].value for p in "xy"])

    def test_reasons_reach_the_score(self):
        pair = PerturbationPair(self.truth(), np.zeros((6, 3)))
        assert "k = 20" in score(METRICS["knn_purity"], pair).reason
        assert "train" in score(METRICS["pearson_delta_pert"], pair).reason
        few = PerturbationPair(
            self.truth(), np.zeros((3, 3)), perturbations=list("xxy"), covariates=list("TBT")
        )
        assert "2 predicted cells" in score(METRICS["relative_distance"], few).reason
        plain = Pair(self.truth(), np.zeros((6, 3)))
        assert "PerturbationPair" in score(METRICS["pearson_delta"], plain).reason

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"perturbations": ["x"] * 5}, r"perturbations has shape \(5,\), expected \(6,\)"),
            ({"perturbations": ["control"] * 6}, "has cells of 'control'"),
            ({"reference_covariates": ["T"] * 9}, "no control cells for B"),
            ({"train_perturbations": ["x"]}, "without train"),
            ({"embedding": np.ones((6, 2))}, "truth and reference both"),
        ],
    )
    def test_refuses(self, options, message):
        with pytest.raises(UsageError, match=message):
            self.truth(**options)

    def test_no_perturbation_may_be_left_out_of_a_prediction(self):
        with pytest.raises(UsageError, match=r"1 perturbations measured but not predicted \(y in"):
            PerturbationPair(
                self.truth(), np.zeros((2, 3)), perturbations=["x", "x"], covariates=["T", "B"]
            )
        with pytest.raises(UsageError, match=r"predicted but not measured \(y in B"):
            PerturbationPair(
                self.truth(), np.zeros((4, 3)), perturbations=list("xxyy"), covariates=list("TBTB")
            )
        with pytest.raises(UsageError, match="only the prediction has an embedding"):
            PerturbationPair(self.truth(), np.zeros((6, 3)), embedding=np.zeros((6, 2)))

    def test_neighbours_are_sought_in_the_embedding_where_there_is_one(self):
        rng = np.random.default_rng(0)
        truth = PerturbationTruth(
            rng.normal(size=(30, 3)),
            self.genes,
            perturbations=["x"] * 30,
            reference=rng.normal(size=(30, 3)),
            embedding=np.ones((30, 2)),
            reference_embedding=-np.ones((30, 2)),
        )
        pair = PerturbationPair(truth, truth.X, embedding=np.ones((30, 2)))
        assert score(METRICS["knn_purity"], pair).value == 1

    def test_one_background_perturbation_alone_is_undefined(self):
        truth = self.truth(train=np.ones((2, 3)), train_perturbations=["x", "control"])
        with pytest.raises(Undefined, match="no perturbation other than x"):
            truth.background(Group("x", "T"))


def test_interferon_response_of_real_cells():
    """A replicate is told from the controls by every metric that one perturbation allows."""
    import anndata

    adata = anndata.read_h5ad(data_file("kang_ifnb_counts.h5ad"))
    counts = adata.X.toarray().astype(np.float64)
    X = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
    X = np.ascontiguousarray(X[:, np.argsort(-X.var(axis=0))[:400]])
    stimulated, control = (
        np.flatnonzero((adata.obs["condition"] == one).to_numpy()) for one in ("stim", "ctrl")
    )
    rng = np.random.default_rng(0)
    stimulated, control = rng.permutation(stimulated)[:400], rng.permutation(control)[:400]
    truth = PerturbationTruth(
        X[stimulated[:200]],
        [f"g{j}" for j in range(400)],
        perturbations=["IFNB"] * 200,
        reference=X[control[:200]],
    )
    pairs = [PerturbationPair(truth, X[cells[200:]]) for cells in (stimulated, control)]
    needs_one = [
        m for m in PERTURBATIONAL if not m.name.startswith("discrim") and "train" not in m.needs
    ]
    assert len(needs_one) == 11
    for metric in needs_one:
        replicate, nothing = (metric.badness(score(metric, pair).value) for pair in pairs)
        assert replicate < nothing, metric.name
    assert score(METRICS["pearson_delta"], pairs[0]).value > 0.9
    assert abs(score(METRICS["relative_distance"], pairs[0]).value) < 0.05
