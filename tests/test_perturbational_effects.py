"""Mean shifts, weights and discrimination: against SciPy, on invariances and on edge cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.metrics import r2_score

from reconeval.errors import Undefined, UsageError
from reconeval.metrics.perturbational import (
    control_halves,
    discrimination,
    discrimination_cosine,
    discrimination_l1,
    discrimination_l2,
    pearson_delta,
    pearson_delta_pert,
    relative_distance,
    response_weights,
    weighted_mse,
    weighted_r2_delta_pert,
)

SEEDS = st.integers(0, 10_000)


def draw(seed, *, n_genes=12):
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, 1, n_genes)
    X = rng.normal(effect, 1, (9, n_genes))
    Y = rng.normal(0.5 * effect, 1, (7, n_genes))
    return X, Y, rng.normal(0, 1, (11, n_genes))


class TestControlHalves:
    @given(n=st.integers(2, 300), seed=SEEDS)
    def test_are_disjoint_complete_and_even(self, n, seed):
        first, second = control_halves(n, seed)
        assert sorted([*first, *second]) == list(range(n))
        assert len(first) - len(second) in {0, 1}

    def test_follow_the_seed(self):
        assert (control_halves(50, 1)[0] == control_halves(50, 1)[0]).all()
        assert set(control_halves(50, 1)[0]) != set(control_halves(50, 2)[0])

    def test_one_cell_has_no_halves(self):
        with pytest.raises(Undefined, match="at least 2 control cells"):
            control_halves(1)


class TestPearsonDelta:
    @given(seed=SEEDS)
    def test_equals_scipy_on_disjoint_halves(self, seed):
        X, Y, controls = draw(seed)
        first, second = control_halves(len(controls), seed)
        expected = stats.pearsonr(
            X.mean(0) - controls[first].mean(0), Y.mean(0) - controls[second].mean(0)
        ).statistic
        assert pearson_delta(X, Y, controls, seed=seed) == pytest.approx(expected, abs=1e-9)

    @given(seed=SEEDS)
    def test_against_a_background_equals_scipy(self, seed):
        X, Y, background = draw(seed)
        background = background.mean(0)
        expected = stats.pearsonr(X.mean(0) - background, Y.mean(0) - background).statistic
        value = pearson_delta_pert(X, Y, background)
        assert value == pytest.approx(expected, abs=1e-9)
        assert -1 <= value <= 1
        genes = np.random.default_rng(seed).permutation(X.shape[1])
        shuffled = pearson_delta_pert(X[::-1, genes], Y[::-1, genes], background[genes])
        assert shuffled == pytest.approx(value, abs=1e-9)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_returning_the_controls_is_no_shift(self, dtype):
        """Their float sum in another order differs by rounding, which must not be correlated."""
        X, _, controls = draw(0, n_genes=500)
        X, controls = X.astype(dtype), controls.astype(dtype)
        _, second = control_halves(len(controls))
        assert pearson_delta(X, controls[second[::-1]], controls) == 0
        assert pearson_delta_pert(X, controls[second], controls[second].mean(0)) == 0

    def test_truth_without_a_shift(self):
        X = np.full((3, 4), 2.0)
        with pytest.raises(Undefined, match="true shift is the same in all genes"):
            pearson_delta(X, draw(0, n_genes=4)[1], np.zeros((5, 4)))
        with pytest.raises(UsageError, match="background has shape"):
            pearson_delta_pert(X, X, np.zeros(3))


class TestWeights:
    @given(seed=SEEDS)
    def test_equal_scipy_welch(self, seed):
        X, _, rest = draw(seed)
        t = np.abs(stats.ttest_ind(X, rest, equal_var=False).statistic)
        expected = ((t - t.min()) / (t.max() - t.min())) ** 2
        assert response_weights(X, rest) == pytest.approx(expected / expected.sum())

    def test_constant_genes(self):
        """Equal on both sides weighs nothing; apart weighs as much as the clearest gene."""
        X, _, rest = draw(0)
        X[:, 0] = rest[:, 0] = 0.1
        X[:, 1], rest[:, 1] = 3.0, 1.0
        weights = response_weights(X.astype(np.float32), rest.astype(np.float32))
        assert weights[0] == 0
        assert weights[1] == weights[2:].max()

    def test_without_a_response(self):
        cells = draw(0)[0]
        with pytest.raises(Undefined, match="no gene responds more"):
            response_weights(cells, cells)
        with pytest.raises(Undefined, match="2 cells on both sides"):
            response_weights(cells[:1], cells)


class TestWeighted:
    @given(seed=SEEDS)
    def test_equal_scikit_learn(self, seed):
        X, Y, rest = draw(seed)
        weights, background = response_weights(X, rest), rest.mean(0)
        true, predicted = X.mean(0) - background, Y.mean(0) - background
        value = weighted_r2_delta_pert(X, Y, background, weights)
        assert value == pytest.approx(r2_score(true, predicted, sample_weight=weights))
        mse = np.average((X.mean(0) - Y.mean(0)) ** 2, weights=weights)
        assert weighted_mse(X, Y, 7 * weights) == pytest.approx(mse)
        assert weighted_r2_delta_pert(X, X[::-1], background, weights) == pytest.approx(1)
        assert weighted_mse(X, X[::-1], weights) == pytest.approx(0, abs=1e-12)

    def test_unresponsive_genes_do_not_vote(self):
        X, Y, rest = draw(0)
        weights = response_weights(X, rest)
        silent = weights.argmin()
        wrong = Y.copy()
        wrong[:, silent] += 100
        assert weighted_mse(X, wrong, weights) == pytest.approx(weighted_mse(X, Y, weights))

    def test_is_not_clipped(self):
        X, Y, rest = draw(0)
        assert weighted_r2_delta_pert(X, Y + 50, rest.mean(0), np.ones(12)) < -100

    @pytest.mark.parametrize("weights", [np.zeros(12), -np.ones(12), np.ones(3)])
    def test_bad_weights(self, weights):
        X, Y, _ = draw(0)
        with pytest.raises(UsageError, match="weights"):
            weighted_mse(X, Y, weights)

    def test_one_gene_alone_has_no_variance(self):
        X, Y, _ = draw(0)
        with pytest.raises(Undefined, match="same in all genes that have a weight"):
            weighted_r2_delta_pert(X, Y, np.zeros(12), np.eye(12)[0])


def ranked(true, predicted, metric):
    """Score each prediction by sorting SciPy's distances; for data without ties."""
    distances = cdist(predicted, true, metric)
    ranks = stats.rankdata(distances, axis=1).diagonal() - 1
    return 1 - ranks / (len(true) - 1)


class TestDiscrimination:
    @given(seed=SEEDS, n=st.integers(2, 12))
    def test_equals_ranks_of_scipy_distances(self, seed, n):
        rng = np.random.default_rng(seed)
        true = rng.normal(size=(n, 8))
        predicted = true + rng.normal(size=(n, 8))
        for name, metric, mean in (
            ("l1", "cityblock", discrimination_l1),
            ("l2", "euclidean", discrimination_l2),
            ("cosine", "cosine", discrimination_cosine),
        ):
            expected = ranked(true, predicted, metric)
            assert discrimination(true, predicted, name) == pytest.approx(expected)
            assert mean(true, predicted) == pytest.approx(expected.mean())
            assert mean(true, true) == 1

    @given(seed=SEEDS, n=st.integers(2, 12), distance=st.sampled_from(["l1", "l2", "cosine"]))
    def test_one_prediction_for_all_is_chance(self, seed, n, distance):
        rng = np.random.default_rng(seed)
        true, one = rng.normal(size=(n, 8)), rng.normal(size=8)
        assert discrimination(true, np.tile(one, (n, 1)), distance).mean() == pytest.approx(0.5)

    def test_ties_count_a_half(self):
        true = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
        for distance in ("l1", "l2", "cosine"):
            assert discrimination(true, true, distance).tolist() == [0.75, 0.75, 1]

    def test_no_shift_ties_with_all_in_cosine(self):
        true = np.random.default_rng(0).normal(size=(5, 6))
        rounding = 1e-15 * np.random.default_rng(1).normal(size=(5, 6))
        assert discrimination(true, rounding, "cosine").tolist() == [0.5] * 5

    def test_the_target_gene_is_left_out(self):
        """The knocked-down gene alone would give each perturbation away."""
        rng = np.random.default_rng(0)
        true = rng.normal(size=(6, 20))
        true[range(6), range(6)] -= 50
        predicted = rng.normal(size=(6, 20))
        predicted[range(6), range(6)] -= 50
        assert discrimination_l2(true, predicted) == 1
        without = discrimination(true, predicted, "l2", targets=range(6))
        for p in range(6):
            genes = np.delete(np.arange(20), p)
            expected = ranked(true[:, genes], predicted[:, genes], "euclidean")[p]
            assert without[p] == pytest.approx(expected)
        some = discrimination(true, predicted, "l2", targets=[0, None, None, None, None, None])
        assert some.tolist() == [without[0], 1, 1, 1, 1, 1]

    def test_ranks_within_each_covariate(self):
        rng = np.random.default_rng(0)
        true = rng.normal(size=(7, 5))
        predicted = true + rng.normal(size=(7, 5))
        covariates = np.array(["T", "B", "T", "B", "T", "B", "NK"])
        scores = discrimination(true, predicted, "l1", covariates=covariates)
        for value in "TB":
            rows = covariates == value
            assert scores[rows] == pytest.approx(ranked(true[rows], predicted[rows], "cityblock"))
        assert np.isnan(scores[6])
        mean = discrimination_l1(true, predicted, covariates=covariates)
        assert mean == pytest.approx(scores[:6].mean())

    def test_bad_use(self):
        with pytest.raises(Undefined, match="at least 2 perturbations"):
            discrimination_l1(np.ones((1, 3)), np.ones((1, 3)))
        with pytest.raises(UsageError, match="2 targets for 3 perturbations"):
            discrimination_l2(np.ones((3, 3)), np.ones((3, 3)), targets=[0, 1])


class TestRelativeDistance:
    @given(seed=SEEDS)
    def test_equals_scipy(self, seed):
        X, Y, controls = draw(seed)
        X += 1

        def energy(A, B):
            within = [cdist(C, C).sum() / (len(C) * (len(C) - 1)) for C in (A, B)]
            return 2 * cdist(A, B).mean() - sum(within)

        expected = energy(Y, X) / energy(controls, X)
        assert relative_distance(X, Y, controls) == pytest.approx(expected, rel=1e-4, abs=1e-6)

    def test_anchors_do_not_depend_on_the_number_of_cells(self):
        """The truth's law near 0 and the controls' near 1, with 10 predicted cells as with 200."""
        rng = np.random.default_rng(0)
        shift = np.r_[np.full(5, 2.0), np.zeros(45)]
        X, controls = rng.normal(shift, 1, (200, 50)), rng.normal(0, 1, (200, 50))
        for n in (10, 200):
            for mean, expected in ((shift, 0), (0, 1)):
                draws = [rng.normal(mean, 1, (n, 50)) for _ in range(20)]
                values = [relative_distance(X, Y, controls) for Y in draws]
                assert np.mean(values) == pytest.approx(expected, abs=0.08)

    def test_the_right_mean_without_spread_is_worse_than_nothing(self):
        X, _, controls = draw(0, n_genes=50)
        assert relative_distance(X, np.tile(X.mean(0), (9, 1)), controls) > 1

    def test_undefined(self):
        X, Y, controls = draw(0)
        with pytest.raises(Undefined, match="do not differ"):
            relative_distance(controls, Y, controls)
        with pytest.raises(Undefined, match="2 cells"):
            relative_distance(X, Y[:1], controls)
