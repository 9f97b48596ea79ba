"""kNN purity: against scikit-learn, on ties, on real cells."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from reconeval.errors import Undefined, UsageError
from reconeval.metrics.kernels import pair_sums
from reconeval.metrics.perturbational import (
    PerturbationPair,
    PerturbationTruth,
    groups,
    knn_purity,
    per_perturbation,
)
from tests.golden_cells import golden


def reference(X, Y, controls, k):
    pool = np.concatenate([X, controls])
    neighbours = NearestNeighbors(n_neighbors=k).fit(pool).kneighbors(Y, return_distance=False)
    return (neighbours < len(X)).mean()


def draw(seed, n, m, c, d, *, shift=0.5, offset=0.0):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(shift, 1, (n, d)) + offset, rng.normal(shift, 1, (m, d)) + offset
    return X, Y, rng.normal(0, 1, (c, d)) + offset


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(3, 40),
    c=st.integers(3, 40),
    d=st.integers(1, 30),
    k=st.integers(1, 5),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_equals_scikit_learn(seed, n, c, d, k, dtype):
    X, Y, controls = (cells.astype(dtype) for cells in draw(seed, n, 7, c, d))
    expected = reference(*(cells.astype(np.float64) for cells in (X, Y, controls)), k)
    assert knn_purity(X, Y, controls, k=k) == pytest.approx(expected, abs=1e-12)


def test_distances_far_from_the_origin_are_exact():
    """One cell far off keeps the centre away: ‖a‖² + ‖b‖² - 2ab has no digit left in float32."""
    X, Y, controls = draw(0, 50, 50, 50, 20, offset=1e6)
    controls[0] = -1e7
    order = np.argsort(cdist(Y, np.concatenate([X, controls])), axis=1)
    assert knn_purity(X, Y, controls) == pytest.approx((order[:, :20] < 50).mean(), abs=1e-12)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_ties_share_the_last_place_in_any_order(order):
    X, controls = np.array([[1.0], [-1.0], [0.5]])[list(order)], np.array([[1.0], [9.0]])
    # 0.5 is nearest; two perturbed and one control cell tie for the second place
    assert knn_purity(X, np.array([[0.0]]), controls, k=2) == pytest.approx((1 + 2 / 3) / 2)


def test_a_perturbation_equal_to_its_controls_scores_the_share_of_the_pool():
    cells = np.random.default_rng(0).poisson(0.3, (60, 4)).astype(float)
    assert knn_purity(cells, cells[:9], cells, k=5) == pytest.approx(0.5, abs=1e-12)


@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.25, 1.0, 8.0]))
def test_invariances(seed, scale):
    rng = np.random.default_rng(seed)
    X, Y, controls = draw(seed, 30, 10, 20, 6)
    value = knn_purity(X, Y, controls, k=7)
    assert 0 <= value <= 1
    shuffled = knn_purity(rng.permutation(X), rng.permutation(Y), rng.permutation(controls), k=7)
    assert shuffled == pytest.approx(value, abs=1e-12)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    moved = [scale * (cells @ rotation) + 3 for cells in (X, Y, controls)]
    assert knn_purity(*moved, k=7) == pytest.approx(value, abs=1e-12)
    # every place is taken by one or the other
    assert knn_purity(controls, Y, X, k=7) == pytest.approx(1 - value, abs=1e-12)


def test_bad_use():
    X, Y, controls = draw(0, 5, 5, 5, 3)
    with pytest.raises(Undefined, match="more than k = 10 cells in the pool, found 5 perturbed"):
        knn_purity(X, Y, controls, k=10)
    with pytest.raises(UsageError, match="k is 0"):
        knn_purity(X, Y, controls, k=0)
    with pytest.raises(UsageError, match="controls have 2 columns, expected the 3"):
        knn_purity(X, Y, controls[:, :2])


@given(seed=st.integers(0, 10_000), k=st.integers(1, 5), ties=st.booleans())
def test_distances_that_are_known_change_nothing(seed, k, ties):
    X, Y, controls = draw(seed, 20, 9, 15, 6, offset=3)
    if ties:
        X, Y, controls = (np.round(part) for part in (X, Y, controls))
    known = np.empty((9, 20), dtype=np.float32)
    pair_sums(Y, X, keep=known)
    expected = knn_purity(X, Y, controls, k=k)
    assert knn_purity(X, Y, controls, k=k, known=known) == pytest.approx(expected, abs=1e-12)


def test_energy_distance_and_neighbours_share_their_distances(monkeypatch):
    """Within one pair, and only where there is one group, which spans all cells."""
    X, Y, controls = draw(0, 30, 30, 25, 6)
    genes = [f"G{i}" for i in range(6)]
    asked = []
    purity = groups.knn_purity

    def spy(*args, known=None, **options):
        asked.append(known)
        return purity(*args, known=known, **options)

    monkeypatch.setattr(groups, "knn_purity", spy)
    for labels in (["P"] * 30, ["P"] * 15 + ["Q"] * 15):
        truth = PerturbationTruth(X, genes, perturbations=labels, reference=controls)
        scores = per_perturbation("knn_purity", PerturbationPair(truth, Y))
        rows = np.asarray(labels) == "P"
        one = next(score.value for group, score in scores.items() if group.perturbation == "P")
        assert one == pytest.approx(purity(X[rows], Y[rows], controls), abs=1e-12)
    assert [known is not None for known in asked] == [True, False, False]


@pytest.mark.parametrize("name", ["immune_pca32", "kang_pca32"])
def test_golden_figure(name):
    case = golden(name)
    value = knn_purity(
        case.X[case.truth], case.prediction[case.truth], case.X[case.reference], k=20
    )
    expected = case.figures["knn_purity_k20_pred_in_truth_vs_ref"]
    assert value == pytest.approx(expected, rel=1e-4)
