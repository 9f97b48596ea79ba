"""Rank percentiles: the published formula, ties, gaps, directions and families."""

import doctest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from reconeval.errors import UsageError
from reconeval.metrics import METRICS, aggregate
from reconeval.metrics.aggregate import HIGHER_IS_BETTER, aggregate_rank_percentile
from reconeval.report.heatmap import funky_heatmap


def frame(**columns):
    return pd.DataFrame(columns, index=list("ABCDEFGH")[: len(next(iter(columns.values())))])


UP = {"x": True, "y": True, "z": True}


def test_published_formula():
    result = aggregate_rank_percentile(frame(r2=[0.7, 0.9, 0.8, 0.1], mse=[4.0, 3.0, 1.0, 2.0]))
    assert result["r2"].tolist() == pytest.approx([1 / 3, 1, 2 / 3, 0])
    assert result["mse"].tolist() == pytest.approx([0, 1 / 3, 1, 2 / 3])
    assert result["overall"].tolist() == pytest.approx([1 / 6, 2 / 3, 5 / 6, 1 / 3])
    assert result["missing"].tolist() == [0] * 4
    assert list(result) == ["overall", "statistical", "r2", "mse", "missing"]


def test_ties_are_averaged():
    result = aggregate_rank_percentile(frame(x=[1.0, 2, 2, 3]), UP)
    assert result["x"].tolist() == [0, 0.5, 0.5, 1]


def test_a_metric_without_spread_or_with_one_value_is_nan_and_not_in_the_mean():
    scores = frame(x=[1.0, 2, 3], y=[5.0, 5, 5], z=[1.0, np.nan, np.nan])
    result = aggregate_rank_percentile(scores, UP)
    assert result[["y", "z"]].isna().all(axis=None)
    assert result["overall"].tolist() == [0, 0.5, 1]
    assert result["missing"].tolist() == [0, 0, 0]


def test_a_missing_value_stays_missing():
    """The others are ranked among themselves; the mean is over what there is, and says so."""
    result = aggregate_rank_percentile(frame(x=[1.0, np.nan, 3], y=[3.0, 2, 1]), UP)
    assert result["x"].tolist() == pytest.approx([0, np.nan, 1], nan_ok=True)
    assert result["overall"].tolist() == [0.5, 0.5, 0.5]
    assert result["missing"].tolist() == [0, 1, 0]


def test_one_method_alone_has_no_rank():
    result = aggregate_rank_percentile(frame(x=[1.0]), UP)
    assert result[["overall", "x"]].isna().all(axis=None)


def test_best_inside_the_range_is_ranked_by_distance():
    result = aggregate_rank_percentile(
        frame(c2st_auc=[0.3, 0.55, 0.9], variance_log2_ratio=[-20.0, 0.5, -0.1])
    )
    assert result["c2st_auc"].tolist() == [0.5, 1, 0]
    assert result["variance_log2_ratio"].tolist() == [0, 0.5, 1]
    same = aggregate_rank_percentile(frame(c2st_auc=[0.3, 0.55, 0.9]), HIGHER_IS_BETTER)
    assert same["c2st_auc"].tolist() == [0.5, 1, 0]


def test_given_directions_come_before_the_table():
    up = aggregate_rank_percentile(frame(mse=[1.0, 2]), {"mse": True})
    assert up["mse"].tolist() == [0, 1]


def test_families_and_costs():
    scores = frame(r2=[1.0, 2], mse=[2.0, 1], x=[1.0, 2], train_seconds=[1.0, 9])
    result = aggregate_rank_percentile(
        scores, UP | {"train_seconds": False}, families={"train_seconds": "cost"}
    )
    assert list(result)[:4] == ["overall", "statistical", "other", "cost"]
    assert result["statistical"].tolist() == [0, 1]
    assert result["cost"].tolist() == [1, 0]
    assert result["overall"].tolist() == [0, 1], "costs must stay out"


def test_costs_need_no_directions():
    result = aggregate_rank_percentile(
        frame(r2=[1.0, 2], train_seconds=[1.0, 9], predict_cells_per_second=[5.0, 7])
    )
    assert list(result)[:3] == ["overall", "statistical", "cost"]
    assert result["train_seconds"].tolist() == [1, 0]
    assert result["predict_cells_per_second"].tolist() == [0, 1]
    assert result["overall"].tolist() == [0, 1]


def test_numbers_of_significant_genes_are_no_scores():
    scores = frame(de_pr_auc=[0.2, 0.4], de_n_significant_true=[9, 9], de_n_significant_pred=[3, 9])
    result = aggregate_rank_percentile(scores)
    assert list(result) == ["overall", "perturbational", "de_pr_auc", "missing"]
    assert len(funky_heatmap(scores).axes) > 0


def test_directions_are_those_of_the_table():
    assert dict(HIGHER_IS_BETTER) == {n: m.higher_is_better for n, m in METRICS.items()}
    assert HIGHER_IS_BETTER["r2"] is True
    assert HIGHER_IS_BETTER["mse"] is False
    assert HIGHER_IS_BETTER["c2st_auc"] is None
    assert "nonsense" not in HIGHER_IS_BETTER
    assert repr(HIGHER_IS_BETTER).startswith("{'r2': True")


matrices = st.integers(2, 7).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(0, 5).map(float) | st.just(float("nan")), min_size=n, max_size=n),
        min_size=1,
        max_size=3,
    )
)


@given(columns=matrices, seed=st.integers(0, 100))
def test_properties(columns, seed):
    scores = frame(**dict(zip("xyz", columns, strict=False)))
    result = aggregate_rank_percentile(scores, UP)
    assert result["overall"].dropna().between(0, 1).all()
    for name in scores:
        values = scores[name].dropna()
        if values.nunique() < 2:
            assert result[name].isna().all()
            continue
        n = len(values)
        expected = (n - rankdata(-values)) / (n - 1)
        assert result.loc[values.index, name].to_numpy() == pytest.approx(expected)
        assert result[name].mean() == pytest.approx(0.5)
    order = np.random.default_rng(seed).permutation(len(scores))
    pd.testing.assert_frame_equal(
        aggregate_rank_percentile(scores.iloc[order], UP), result.iloc[order]
    )
    monotone = aggregate_rank_percentile(np.exp(scores), UP)
    pd.testing.assert_frame_equal(monotone, result)
    down = aggregate_rank_percentile(scores, dict.fromkeys(scores, False))
    pd.testing.assert_frame_equal(1 - down[list(scores)], result[list(scores)])


@pytest.mark.parametrize(
    ("scores", "directions", "message"),
    [
        (frame(what=[1.0, 2]), None, "direction of metric 'what' is unknown"),
        (frame(what=[1.0, 2]), {"what": None}, "'what' has no direction"),
        (frame(x=["a", "b"]), UP, "must be numbers"),
        (frame(missing=[1.0, 2]), {"missing": True}, "a metric is called 'missing'"),
        (frame(other=[1.0, 2]), {"other": True}, "a metric is called 'other'"),
        (pd.DataFrame({"x": [1, 2]}, index=["A", "A"]), UP, "method 'A' .* more than once"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), UP, "metric 'x' .* more than once"),
    ],
)
def test_bad_use(scores, directions, message):
    with pytest.raises(UsageError, match=message):
        aggregate_rank_percentile(scores, directions)


def test_docstring_examples():
    result = doctest.testmod(aggregate)
    assert result.attempted > 0
    assert result.failed == 0
