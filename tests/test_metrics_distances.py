"""Distances between distributions, against slow references."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist, pdist
from sklearn.decomposition import PCA

from reconeval.errors import Undefined, UsageError
from reconeval.metrics import (
    c2st_auc,
    energy_distance,
    energy_distance_pca,
    mmd_rbf,
    mmd_rbf_median,
    sinkhorn_divergence,
)
from reconeval.metrics import kernels as kernels_module
from reconeval.metrics.components import fit_components, median_squared_distance
from reconeval.metrics.kernels import pair_sums
from reconeval.metrics.transport import subsample
from reconeval.metrics.two_sample import two_sample


def cells(n=90, g=40, seed=0, shift=0.0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (np.log1p(rng.poisson(rng.gamma(0.5, 2.0, g), (n, g))) + shift).astype(dtype)


def reference_energy(X, Y, *, unbiased=False):
    X, Y = X.astype(float), Y.astype(float)
    xx, yy = cdist(X, X).sum(), cdist(Y, Y).sum()
    n, m = len(X), len(Y)
    return 2 * cdist(X, Y).mean() - xx / (n * (n - unbiased)) - yy / (m * (m - unbiased))


def reference_mmd(X, Y, gammas, *, unbiased=False):
    X, Y = X.astype(float), Y.astype(float)
    n, m = len(X), len(Y)
    total = 0.0
    for gamma in gammas:
        xx, yy, xy = (np.exp(-gamma * cdist(a, b) ** 2) for a, b in ((X, X), (Y, Y), (X, Y)))
        if unbiased:
            total += (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1))
        else:
            total += xx.mean() + yy.mean()
        total -= 2 * xy.mean()
    return total / len(gammas)


PREDICTIONS = {
    "other cells": lambda X: cells(70, X.shape[1], seed=1, shift=0.2),
    "tiny noise": lambda X: X + np.random.default_rng(1).normal(0, 1e-3, X.shape),
    "noise": lambda X: X + np.random.default_rng(1).normal(0, 0.3, X.shape),
    "collapse": lambda X: np.repeat(X.mean(0)[None], len(X), axis=0),
    "near collapse": lambda X: X.mean(0) + np.random.default_rng(1).normal(0, 1e-4, X.shape),
    "repeats": lambda X: X[np.random.default_rng(1).integers(0, 30, len(X))],
    "far": lambda X: X + 1000.0,
    "one cell": lambda X: X[:1] + 0.5,
}


class TestGeneSpace:
    @pytest.mark.parametrize("kind", PREDICTIONS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_agrees_with_float64_pair_by_pair(self, kind, dtype):
        X = cells(dtype=dtype)
        Y = PREDICTIONS[kind](X).astype(dtype)
        assert energy_distance(X, Y) == pytest.approx(reference_energy(X, Y), rel=1e-5)
        for gamma in (1.0, 0.01):
            expected = reference_mmd(X, Y, [gamma])
            assert mmd_rbf(X, Y, gamma=gamma) == pytest.approx(expected, rel=1e-5)

    def test_copies_are_at_zero(self):
        X = cells(dtype=np.float32)
        mixed = np.random.default_rng(0).permutation(X)
        for Y in (X, X.copy(), mixed):
            assert energy_distance(X, Y) == pytest.approx(0, abs=1e-9)
            assert mmd_rbf(X, Y) == pytest.approx(0, abs=1e-12)
            assert mmd_rbf(X, Y, gamma=1e-3) == pytest.approx(0, abs=1e-12)

    def test_gamma_must_be_positive(self):
        for gamma in (0, -1, float("nan")):
            with pytest.raises(UsageError, match="gamma must be above 0"):
                mmd_rbf(cells(), cells(), gamma=gamma)

    def test_a_large_offset_costs_no_digits(self):
        X = cells(dtype=np.float64)
        Y = cells(70, seed=1, shift=0.2)
        assert energy_distance(X + 1e4, Y + 1e4) == pytest.approx(energy_distance(X, Y), rel=1e-6)


@given(
    arrays(np.float64, (7, 4), elements=st.floats(-5, 5, width=32)),
    arrays(np.float64, (5, 4), elements=st.floats(-5, 5, width=32)),
    st.permutations(range(5)),
    st.integers(0, 1000),
)
@settings(max_examples=20)
def test_distances_hold_their_invariances(X, Y, order, seed):
    rng = np.random.default_rng(seed)
    rotation, shift = np.linalg.qr(rng.normal(size=(4, 4))).Q, rng.normal(size=4)
    for metric, limits in ((energy_distance, (0, np.inf)), (mmd_rbf, (0, 2))):
        got = metric(X, Y)
        close = pytest.approx(got, rel=1e-4, abs=1e-5)
        assert limits[0] - 1e-6 <= got <= limits[1] + 1e-6
        assert metric(Y, X) == close
        assert metric(X, Y[order]) == close
        assert metric(X[:, ::-1], Y[:, ::-1]) == close
        assert metric(X @ rotation + shift, Y @ rotation + shift) == close
        assert metric(X.astype(np.float32), Y.astype(np.float32)) == close
        assert metric(X, X) == pytest.approx(0, abs=1e-7)
    assert energy_distance(3 * X, 3 * Y) == pytest.approx(
        3 * energy_distance(X, Y), rel=1e-4, abs=1e-5
    )


class TestKernels:
    @given(st.integers(1, 40), st.booleans())
    @settings(max_examples=15)
    def test_block_size_changes_rounding_alone(self, block, within):
        X, Y = cells(33, dtype=np.float32), None if within else cells(29, seed=1)
        whole = pair_sums(X, Y, gammas=[0.1, 1.0])
        parts = pair_sums(X, Y, gammas=[0.1, 1.0], block=block)
        assert (parts.pairs, parts.selves) == (whole.pairs, whole.selves)
        assert parts.distance == pytest.approx(whole.distance, rel=1e-6)
        assert parts.rbf == pytest.approx(whole.rbf, rel=1e-5)

    def test_sums_agree_with_scipy(self):
        X, Y = cells(), cells(70, seed=1)
        squared = cdist(X, Y, "sqeuclidean")
        sums = pair_sums(X, Y, gammas=[0.05], block=32)
        assert sums.distance == pytest.approx(np.sqrt(squared).sum(), rel=1e-7)
        assert sums.rbf[0] == pytest.approx(np.exp(-0.05 * squared).sum(), rel=1e-5)
        assert sums.mean_distance() == pytest.approx(np.sqrt(squared).mean(), rel=1e-7)
        within = pair_sums(X, block=32)
        assert within.mean_distance(unbiased=True) == pytest.approx(pdist(X).mean(), rel=1e-7)

    def test_a_cell_is_at_distance_zero_from_itself(self):
        X = np.repeat(cells(1, 2000, dtype=np.float32) * 1e3, 1, axis=0)
        sums = pair_sums(X, gammas=[1.0])
        assert (sums.distance, sums.rbf) == (0.0, (1.0,))

    @pytest.mark.parametrize("few", [0.0, 0.1], ids=["their block", "alone"])
    def test_near_pairs_and_only_those_are_computed_again(self, few, monkeypatch):
        refine, seen = kernels_module._refined, {}

        def spy(squared, first, second, place, *, reach):
            before = squared.copy()
            after = refine(squared, first, second, place, reach=reach)
            seen[place] = np.count_nonzero(after != before), after.dtype.type
            return after

        monkeypatch.setattr(kernels_module, "_refined", spy)
        monkeypatch.setattr(kernels_module, "FEW", few)
        X = cells(64, 500, dtype=np.float32)
        pair_sums(X, block=16)
        assert len(seen) == 10
        assert set(seen.values()) == {(0, np.float32)}
        seen.clear()
        Y = X + np.float32(1e-3)  # each predicted cell is too near to one measured cell
        sums = pair_sums(X, Y, block=16)
        for (i, j), (changed, dtype) in seen.items():
            assert (changed > 0) == (i == j)
            assert changed <= 16 or few == 0
            assert dtype == (np.float64 if i == j and few == 0 else np.float32)
        assert sums.distance == pytest.approx(cdist(X, Y).sum(), rel=1e-7)

    def test_squared_distances_are_kept_where_asked_for(self):
        X, Y = cells(40, 30), cells(25, 30, seed=1)
        kept = np.empty((40, 25), dtype=np.float32)
        pair_sums(X, Y, gammas=[1.0], block=16, keep=kept)
        np.testing.assert_allclose(kept, cdist(X, Y, "sqeuclidean"), rtol=1e-4)

    def test_kernels_that_vanish_are_left_out_without_a_difference(self):
        X = cells(40, 30) * 100
        assert pair_sums(X, gammas=[1.0]).rbf == (40.0,)
        expected = np.exp(-0.001 * cdist(X, X, "sqeuclidean")).sum()
        assert pair_sums(X, gammas=[0.001, 1.0]).rbf[0] == pytest.approx(expected, rel=1e-4)

    def test_float32_products_err_by_no_more_than_is_allowed_for(self):
        for X in (cells(200, 3000), np.random.default_rng(0).normal(3, 1, (200, 3000))):
            reader = kernels_module.Centred(X, X.mean(axis=0), 100)
            a, b = reader.read(0, np.float32), reader.read(1, np.float32)
            coarse = kernels_module.block_distances(a, b)
            off = np.abs(coarse - cdist(X[:100], X[100:], "sqeuclidean")).max()
            assert off < kernels_module.ERROR * (a.norms.max() + b.norms.max())

    def test_float64_is_used_where_two_sides_nearly_agree(self):
        X = cells(64, 500, dtype=np.float32)
        Y = X + np.random.default_rng(0).normal(0, 0.01, X.shape).astype(np.float32)
        near = two_sample(X, Y)
        assert near.energy() < 1e-3 * near.between.mean_distance()
        assert near.energy() == pytest.approx(reference_energy(X, Y), rel=1e-9)

    def test_read_only_and_strided_arrays_are_read_silently(self):
        X = cells(dtype=np.float32)
        X.setflags(write=False)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert pair_sums(X[::-1, ::2]).distance == pytest.approx(pair_sums(X[:, ::2]).distance)

    def test_bad_use_is_refused(self):
        for arguments, text in [
            ({"B": cells(3, 5)}, "40 genes in one array and 5"),
            ({"B": cells(3)[:0]}, "at least 1 cell"),
            ({"gammas": [1.0, -1.0]}, "gammas must be at least 0"),
        ]:
            with pytest.raises(UsageError, match=text):
                pair_sums(cells(), **arguments)


class TestComponents:
    def test_axes_span_what_scikit_learn_finds(self):
        for shape in ((80, 120), (600, 520)):  # full and truncated decomposition
            train = cells(*shape, seed=3)
            components = fit_components(train, n_components=10)
            pca = PCA(10, svd_solver="full").fit(train)
            X = cells(20, shape[1], seed=4)
            overlap = np.linalg.svd(components.axes.T @ pca.components_.T, compute_uv=False)
            assert overlap == pytest.approx(np.ones(10), abs=1e-6)
            assert pdist(components.project(X)) == pytest.approx(pdist(pca.transform(X)), rel=1e-6)

    def test_fewer_directions_give_fewer_components(self):
        assert fit_components(cells(5)).axes.shape == (40, 4)
        line = np.outer(np.arange(9.0), np.ones(30))
        assert fit_components(line).axes.shape == (30, 1)

    def test_only_training_cells_shape_them(self):
        train, X = cells(seed=3), cells(seed=4)
        one = energy_distance_pca(X, X + 1.0, train=train)
        other = energy_distance_pca(X, X + 1.0, train=cells(seed=5))
        assert one != pytest.approx(other, rel=1e-3)

    def test_the_median_is_over_different_cells(self):
        X = cells(60)
        assert median_squared_distance(X) == pytest.approx(np.median(pdist(X) ** 2))
        many = np.random.default_rng(0).normal(size=(3000, 3))
        assert median_squared_distance(many) == pytest.approx(np.median(pdist(many) ** 2), rel=0.05)
        assert median_squared_distance(many, seed=1) == median_squared_distance(many, seed=1)

    def test_bad_training_cells_are_refused(self):
        X = cells()
        for train, kind, text in [
            (X[:1], Undefined, "all 1 training cells are equal"),
            (np.ones((5, 40)), Undefined, "all 5 training cells are equal"),
            (X[:, :7], UsageError, "40 genes, expected the 7"),
        ]:
            for metric in (energy_distance_pca, mmd_rbf_median, c2st_auc):
                with pytest.raises(kind, match=text):
                    metric(X, X, train=train)
        with pytest.raises(UsageError, match="n_components must be at least 1, got 0"):
            fit_components(X, n_components=0)


class TestComponentSpace:
    @pytest.mark.parametrize("kind", PREDICTIONS)
    def test_agrees_with_scipy_in_scikit_learns_components(self, kind):
        X, train = cells(g=60), cells(120, 60, seed=2)
        Y = PREDICTIONS[kind](X)
        if len(Y) == 1:
            for metric in (energy_distance_pca, mmd_rbf_median):
                with pytest.raises(Undefined, match="90 measured, 1 predicted"):
                    metric(X, Y, train=train)
            return
        pca = PCA(50, svd_solver="full").fit(train)
        A, B, T = pca.transform(X), pca.transform(Y), pca.transform(train)
        expected = reference_energy(A, B, unbiased=True)
        assert energy_distance_pca(X, Y, train=train) == pytest.approx(expected, rel=1e-6)
        median = np.median(pdist(T) ** 2)
        gammas = [1 / (width * median) for width in (0.25, 0.5, 1, 2, 4)]
        expected = reference_mmd(A, B, gammas, unbiased=True)
        assert mmd_rbf_median(X, Y, train=train) == pytest.approx(expected, rel=1e-6)

    def test_unbiased_means_zero_on_average_at_any_number_of_cells(self):
        train = cells(200, 20, seed=99)
        for n, m in ((5, 5), (5, 40)):
            draws = [
                (
                    energy_distance_pca(cells_of(i, n), cells_of(1000 + i, m), train=train),
                    mmd_rbf_median(cells_of(i, n), cells_of(1000 + i, m), train=train),
                )
                for i in range(40)
            ]
            mean, error = np.mean(draws, axis=0), np.std(draws, axis=0) / np.sqrt(40)
            assert (np.abs(mean) < 4 * error).all()


def cells_of(seed, n):
    """Cells of the one distribution that `cells(g=20, seed=99)` draws its genes' means from."""
    rates = np.random.default_rng(99).gamma(0.5, 2.0, 20)
    return np.log1p(np.random.default_rng(seed).poisson(rates, (n, 20)))


class TestSinkhorn:
    def test_is_near_the_exact_assignment_where_distances_are_large(self):
        from scipy.optimize import linear_sum_assignment

        X = cells(60, 40)
        Y = X[::-1] + np.random.default_rng(0).normal(0, 0.4, X.shape)
        cost = cdist(X, Y)
        exact = cost[linear_sum_assignment(cost)].mean()
        assert sinkhorn_divergence(X, Y) == pytest.approx(2 * exact, rel=1e-3)

    def test_is_the_plain_iteration_in_log_space(self):
        from scipy.special import logsumexp

        def transport(A, B, reg):
            cost = cdist(A, B)
            f = np.zeros(len(A))
            for _ in range(3000):
                g = -logsumexp(f[:, None] - cost / reg, axis=0) - np.log(len(B))
                f = -logsumexp(g[None, :] - cost / reg, axis=1) - np.log(len(A))
            return np.sum(np.exp(f[:, None] + g[None, :] - cost / reg) * cost)

        X, Y = cells(12, 3), cells(9, 3, seed=1)
        expected = 2 * transport(X, Y, 0.1) - transport(X, X, 0.1) - transport(Y, Y, 0.1)
        assert sinkhorn_divergence(X, Y) == pytest.approx(expected, rel=1e-4)

    def test_copies_are_at_zero_and_noise_moves_away_from_it(self):
        X = cells(50)
        noise = np.random.default_rng(0).normal(0, 1, X.shape)
        found = [sinkhorn_divergence(X, X + size * noise) for size in (0, 0.1, 0.3, 1.0)]
        assert found[0] == pytest.approx(0, abs=1e-9)
        assert found == sorted(found)
        assert sinkhorn_divergence(X, np.random.default_rng(1).permutation(X)) == pytest.approx(
            0, abs=1e-6
        )

    def test_symmetric_and_blind_to_the_order_of_cells(self):
        X, Y = cells(40, 10), cells(30, 10, seed=1)
        got = sinkhorn_divergence(X, Y)
        assert sinkhorn_divergence(Y, X) == pytest.approx(got, rel=1e-4)
        assert sinkhorn_divergence(X[::-1], Y) == pytest.approx(got, rel=1e-4)
        assert sinkhorn_divergence(X, Y[:, ::-1]) != pytest.approx(got, rel=1e-4)

    def test_many_cells_are_represented_by_the_same_rows_on_both_sides(self):
        X = cells(70)
        kept = subsample(X, 30, seed=5)
        assert kept.shape == (30, 40)
        assert np.array_equal(kept, subsample(X.copy(), 30, seed=5))
        assert not np.array_equal(kept, subsample(X, 30, seed=6))
        assert sinkhorn_divergence(X, X, max_cells=30) == pytest.approx(0, abs=1e-9)
        capped = sinkhorn_divergence(X, X + 0.5, max_cells=30, seed=5)
        assert capped == sinkhorn_divergence(kept, kept + 0.5)

    def test_identical_cells_cost_nothing(self):
        assert sinkhorn_divergence(np.ones((4, 3)), np.ones((6, 3))) == 0
        assert sinkhorn_divergence(np.ones((1, 3)), np.zeros((1, 3))) == pytest.approx(2 * 3**0.5)

    def test_no_convergence_is_no_value(self, monkeypatch):
        monkeypatch.setattr("reconeval.metrics.transport.STEPS", 3)
        with pytest.raises(Undefined, match="did not converge in 3 iterations"):
            sinkhorn_divergence(cells(60, 5), cells(50, 5, seed=1))

    def test_bad_use_is_refused(self):
        with pytest.raises(UsageError, match="reg must be above 0, got 0"):
            sinkhorn_divergence(cells(), cells(), reg=0)


class TestClassifier:
    def test_copies_cannot_be_told_apart_and_shifts_can(self):
        X = cells()
        assert c2st_auc(X, X, train=X) == 0.5
        assert c2st_auc(X, X + 3.0, train=X) == 1.0
        assert 0.5 < c2st_auc(X, X + 0.05, train=X) < 1.0

    def test_near_copies_do_not_fall_below_chance(self):
        """With twins in different folds the classifier would call each by its twin's side."""
        X = cells(150, 60)
        Y = X + np.random.default_rng(1).normal(0, 0.01, X.shape)
        values = [c2st_auc(X, Y, train=X, seed=seed) for seed in range(3)]
        assert np.mean(values) > 0.45
        split = [c2st_auc(X, Y[::-1], train=X, seed=seed) for seed in range(3)]
        assert np.mean(split) < 0.35

    def test_independent_cells_of_one_distribution_are_near_chance(self):
        X, Y, train = (cells_of(seed, 600) for seed in (0, 1, 2))
        assert c2st_auc(X, Y, train=train) == pytest.approx(0.5, abs=0.06)
        assert c2st_auc(X, Y[:400], train=train) == pytest.approx(0.5, abs=0.06)

    def test_agrees_with_scikit_learn_fold_by_fold(self):
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score
        from sklearn.model_selection import PredefinedSplit, cross_val_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        X, Y, train = cells(), cells(seed=1, shift=0.1), cells(120, seed=2)
        pca = PCA(40, svd_solver="full").fit(train)
        fold = np.random.default_rng(0).permutation(np.arange(90) % 3)
        expected = cross_val_score(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
            pca.transform(np.concatenate([X, Y])),
            np.repeat([0, 1], 90),
            cv=PredefinedSplit(np.concatenate([fold, fold])),
            scoring=lambda model, A, y: roc_auc_score(y, model.predict_proba(A)[:, 1]),
        ).mean()
        assert c2st_auc(X, Y, train=train) == pytest.approx(expected, abs=2e-3)

    def test_the_seed_decides(self):
        X, Y = cells_of(0, 60), cells_of(1, 60)
        assert c2st_auc(X, Y, train=X, seed=3) == c2st_auc(X, Y, train=X, seed=3)
        assert len({c2st_auc(X, Y, train=X, seed=seed) for seed in range(4)}) > 1
