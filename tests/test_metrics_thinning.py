"""Held-out counts and their deviance."""

import anndata
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.metrics import mean_poisson_deviance

from reconeval.errors import Undefined, UsageError
from reconeval.metrics import Pair, Truth, get_metric, poisson_deviance, score
from reconeval.metrics.thinning import thin, thinned
from tests.conftest import data_file

DEVIANCE = get_metric("poisson_deviance")


def normalised(counts, library):
    return np.log1p(counts / library[:, None] * 1e4)


def poisson_cells(n=400, g=50, seed=0):
    """Rates with three programmes, and counts drawn from them."""
    rng = np.random.default_rng(seed)
    rates = rng.dirichlet(np.ones(3), n) @ rng.gamma(0.6, 4.0, (3, g))
    return rates, rng.poisson(rates).astype(np.float32)


def truth_of(counts, library=None, seed=0):
    library = counts.sum(axis=1) if library is None else library
    genes = [f"g{i}" for i in range(counts.shape[1])]
    X = normalised(counts, np.maximum(library, 1))
    return Truth(X, genes, counts=counts, library=library, seed=seed)


def deviance(truth, prediction):
    return score(DEVIANCE, Pair(truth, truth.X, thinned_prediction=prediction))


def test_every_molecule_lands_in_one_part():
    _, counts = poisson_cells()
    library = counts.sum(axis=1) + np.arange(len(counts))
    parts = thin(counts, library, seed=1)
    kept = np.rint(np.expm1(parts.X.astype(np.float64)) * parts.library[:, None] / 1e4)
    assert np.array_equal(kept + parts.held_out, counts)
    assert (kept >= 0).all()
    assert (parts.held_out >= 0).all()
    unseen = parts.library - kept.sum(axis=1)
    assert (unseen >= 0).all()
    assert (unseen <= np.arange(len(counts))).all()


def test_the_share_held_out_is_a_tenth_and_binomial():
    counts = np.full((200, 200), 20.0, dtype=np.float32)
    parts = thin(counts, counts.sum(axis=1) * 3, seed=0)
    draws = parts.held_out.astype(int).ravel()
    assert draws.mean() == pytest.approx(2.0, abs=5 * np.sqrt(20 * 0.09 / draws.size))
    expected = stats.binom.pmf(np.arange(8), 20, 0.1) * draws.size
    seen = np.bincount(draws, minlength=8)[:8]
    assert stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > 1e-4
    assert parts.library.mean() == pytest.approx(0.9 * 200 * 60, rel=1e-3)


def test_the_two_parts_of_poisson_counts_are_independent():
    counts = np.random.default_rng(0).poisson(20.0, (300, 300)).astype(np.float32)
    parts = thin(counts, counts.sum(axis=1), seed=1)
    kept = counts - parts.held_out
    correlation = np.corrcoef(kept.ravel(), parts.held_out.ravel())[0, 1]
    assert abs(correlation) < 5 / np.sqrt(counts.size)


def test_the_draw_is_seeded_kept_and_read_only():
    _, counts = poisson_cells()
    truth = truth_of(counts, seed=3)
    assert thinned(truth) is thinned(truth)
    assert np.array_equal(thinned(truth).X, thinned(truth_of(counts, seed=3)).X)
    assert not np.array_equal(thinned(truth).X, thinned(truth_of(counts, seed=4)).X)
    with pytest.raises(ValueError, match="read-only"):
        thinned(truth).X[0, 0] = 1


def test_a_cell_without_molecules_is_zero_throughout():
    counts = np.array([[0, 0], [5, 6]], dtype=np.float32)
    parts = thin(counts, counts.sum(axis=1), seed=0)
    assert (parts.X[0] == 0).all()
    assert np.isfinite(parts.expected(parts.X)).all()


def test_counts_that_cannot_be_thinned_have_no_value():
    counts = np.array([[1.0, 2.0], [3.0, 4.0]])
    for bad, library, reason in [
        (counts + 0.5, counts.sum(axis=1) + 1, "not whole numbers"),
        (-counts, counts.sum(axis=1), "not whole numbers from 0"),
        (counts, counts.sum(axis=1) - [0, 1], "1 cells have a library below"),
    ]:
        truth = Truth(counts, ["a", "b"], counts=bad, library=library)
        with pytest.raises(Undefined, match=reason):
            thinned(truth)
        assert reason in deviance(truth, counts).reason
    with pytest.raises(Undefined, match="no counts"):
        thinned(Truth(counts, ["a", "b"]))


def test_deviance_is_scikit_learns():
    rates, counts = poisson_cells()
    expected = mean_poisson_deviance(counts.ravel(), rates.ravel())
    assert poisson_deviance(counts, rates) == pytest.approx(expected, rel=1e-6)
    assert poisson_deviance(counts, rates.astype(np.float32)) == pytest.approx(expected, rel=1e-5)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.floats(0.05, 20))
def test_deviance_is_lowest_at_the_mean(numbers, rate):
    y = np.array([numbers], dtype=float)
    at_mean = poisson_deviance(y, np.full_like(y, max(y.mean(), 1e-6)))
    assert poisson_deviance(y, np.full_like(y, rate)) >= at_mean - 1e-9
    assert poisson_deviance(y, y) < 1e-4


def test_expectations_below_the_floor_are_raised_to_it():
    y = np.array([[0.0, 2.0]])
    for mu in (0.0, -3.0, 1e-9):
        floored = poisson_deviance(y, np.full((1, 2), 1e-6))
        assert poisson_deviance(y, np.full((1, 2), mu)) == floored
    assert floored == pytest.approx(2 * np.log(2e6) - 2, rel=1e-5)


def test_bad_use_is_refused():
    y = np.array([[0.0, 2.0]])
    for counts, mu, options, text in [
        (-y, y, {}, "counts must be at least 0"),
        (y, y, {"floor": 0}, "floor above 0"),
        (y, y[:, :1], {}, "1 genes, expected the 2"),
        (y, np.full_like(y, np.inf), {}, "NaN or infinite"),
    ]:
        with pytest.raises(UsageError, match=text):
            poisson_deviance(counts, mu, **options)


def test_the_true_rates_beat_every_other_model():
    rates, counts = poisson_cells()
    rest = np.random.default_rng(1).poisson(30.0, len(counts))  # genes that are not shown
    truth = truth_of(counts, counts.sum(axis=1) + rest)
    parts = thinned(truth)
    # what the model would say: the rate per 10 000 of the molecules that it sees
    best = np.log1p(rates * 0.9 / parts.library[:, None] * 1e4)
    average = np.repeat(parts.X.mean(axis=0)[None], len(counts), axis=0)
    values = {
        "rates": deviance(truth, best).value,
        "twice": deviance(truth, np.log1p(2 * np.expm1(best))).value,
        "half": deviance(truth, np.log1p(0.5 * np.expm1(best))).value,
        "noisy": deviance(truth, best + 0.3 * np.sin(np.arange(50))).value,
        "copy": deviance(truth, parts.X).value,
        "mean": deviance(truth, average).value,
    }
    assert min(values, key=values.get) == "rates"
    oracle = mean_poisson_deviance(parts.held_out.ravel(), (rates * 0.1).ravel())
    assert values["rates"] == pytest.approx(oracle, rel=1e-5)


def test_copying_the_input_loses_to_smoothing_on_real_cells():
    adata = anndata.read_h5ad(data_file("immune_counts.h5ad"))
    counts = adata.X.toarray()
    library = counts.sum(axis=1)
    genes = np.argsort(-counts.var(axis=0), kind="stable")[:2000]
    rows = np.random.default_rng(0).permutation(len(counts))
    train, test = rows[:700], rows[700:]
    truth = truth_of(counts[test][:, genes], library[test])
    model = PCA(10, svd_solver="full").fit(normalised(counts, library)[train][:, genes])
    X = thinned(truth).X
    copy = deviance(truth, X).value
    smooth = deviance(truth, model.inverse_transform(model.transform(X))).value
    mean = deviance(truth, np.repeat(model.mean_[None], len(X), axis=0)).value
    assert smooth < mean < copy
    # On the cells that the model was given whole, the copy would win.
    assert np.square(truth.X - truth.X).mean() < np.square(truth.X - X).mean()


def test_a_missing_or_broken_prediction_has_a_reason():
    _, counts = poisson_cells()
    truth = truth_of(counts)
    assert "prediction for the thinned cells, which was not given" in deviance(truth, None).reason
    for prediction, reason in [
        (truth.X[:3], "thinned cells has shape (3, 50)"),
        (truth.X * np.nan, "nan to nan, has no finite counts"),
        (np.full_like(truth.X, 1e4), "1e+04 to 1e+04, has no finite counts"),
    ]:
        got = deviance(truth, prediction)
        assert np.isnan(got.value)
        assert reason in got.reason
