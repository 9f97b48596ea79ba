"""What two runs say about chance: paired resamples, intervals, seeds."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from reconeval.costs import find
from reconeval.gate._chance import Evidence, Noise
from reconeval.gate._evidence import LEAST_SHARE, SEED_SHARE, evidence, least_effect
from reconeval.intervals import Replicates
from tests.conftest import ROW

MSE, R2, AUC = find("mse"), find("r2"), find("c2st_auc")
NORMAL_95 = stats.norm.isf(0.025)


def scored(values, *, resamples=None, kind="bootstrap", key="k", metric="mse", **changes):
    """A row of some seeds, and what was kept of it."""
    values = np.asarray(values, dtype=float)
    row = replace(
        ROW,
        metric=metric,
        value=float(values.mean()),
        low=float(values.min()),
        high=float(values.max()),
        seeds=len(values),
        **changes,
    )
    if resamples is None:
        return row, None
    kept = Replicates(
        over="cells",
        resampling=key,
        values=np.asarray(resamples, dtype=np.float32),
        kind=kind,
        seeds=tuple(values),
    )
    return row, kept


def weigh(new, old, metric=MSE):
    (row, kept), (base, base_kept) = new, old
    return evidence(row, base, metric, kept, base_kept)


class TestCells:
    def test_what_two_runs_share_cancels(self):
        rng = np.random.default_rng(0)
        shared, own = rng.normal(0, 0.1, 500), rng.normal(0, 0.001, 500)
        old = scored([0.5, 0.5], resamples=0.5 + shared)
        new = scored([0.6, 0.6], resamples=0.6 + shared + own)
        found = weigh(new, old)
        assert found.sampling.error == pytest.approx(own.std(ddof=1), rel=1e-3)
        assert "paired over cells" in found.how

    def test_a_metric_with_its_best_inside_is_weighed_by_its_distance(self):
        old = scored([0.4, 0.4], resamples=[0.4, 0.6, 0.4, 0.6], metric="c2st_auc")
        new = scored([0.6, 0.6], resamples=[0.6, 0.4, 0.6, 0.4], metric="c2st_auc")
        found = weigh(new, old, AUC)
        assert found.loss == pytest.approx(0)
        assert found.sampling.error == pytest.approx(0, abs=1e-7)

    def test_the_jackknife_of_a_mean_is_its_standard_error(self):
        cells = np.random.default_rng(0).normal(size=30)
        left_out = (cells.sum() - cells) / 29
        old = scored([0.0, 0.0], resamples=np.zeros(30), kind="jackknife")
        new = scored([1.0, 1.0], resamples=left_out, kind="jackknife")
        found = weigh(new, old)
        assert found.sampling.error == pytest.approx(stats.sem(cells), rel=1e-4)
        assert found.sampling.freedom == 29

    @pytest.mark.parametrize(
        "other",
        [
            {"key": "another"},
            {"resamples": [0.5, 0.6, 0.7]},
            {"kind": "jackknife"},
            {"resamples": [0.5, 0.6, math.nan, math.nan]},
        ],
    )
    def test_without_pairs_the_intervals_decide_or_the_seeds_do(self, other):
        given_ = {"resamples": [0.5, 0.6, 0.5, 0.6], **other}
        old, new = scored([0.5, 0.5], resamples=[0.5, 0.6, 0.5, 0.6]), scored([0.6, 0.6], **given_)
        alone = weigh(new, old)
        assert alone.sampling.error == 0
        assert "over seeds alone" in alone.how
        bounds = {"ci_low": 0.4, "ci_high": 0.6, "ci_method": "bootstrap over cells and seeds (2)"}
        old, new = (replace(old[0], **bounds), old[1]), (replace(new[0], **bounds), new[1])
        found = weigh(new, old)
        assert found.sampling.error == pytest.approx(math.sqrt(2) * 0.1 / NORMAL_95)
        assert found.seeds.error == 0  # which the intervals hold
        assert "by the two intervals" in found.how

    def test_a_bootstrap_of_few_units_is_widened_as_for_a_mean(self):
        units = np.array([0.1, 0.5, 0.3, 0.9, 0.2])
        drawn = np.random.default_rng(0).choice(units, (20_000, 5)).mean(axis=1)
        old, new = scored([0.0, 0.0], resamples=np.zeros(20_000)), scored([1, 1], resamples=drawn)
        found = weigh(*((row, replace(kept, units=5)) for row, kept in (new, old)))
        assert found.sampling.error == pytest.approx(stats.sem(units), rel=0.02)
        assert found.sampling.freedom == 4

    def test_intervals_over_seeds_alone_are_the_t_test(self):
        old, new = [0.50, 0.52, 0.51], [0.53, 0.55, 0.52]
        bounds = {"ci_low": 0.1, "ci_high": 0.9, "ci_method": "over seeds (t, 3)"}
        pair = [scored(v, resamples=[], kind="none", **bounds) for v in (new, old)]
        expected = stats.ttest_ind(new, old, alternative="greater").pvalue
        assert weigh(*pair).p_worse == pytest.approx(expected, rel=1e-6)

    def test_an_interval_that_became_wide_by_its_seeds_is_no_excuse(self):
        old = scored([0.500, 0.501, 0.502], ci_low=0.49, ci_high=0.51)
        new = scored([0.5, 0.5, 1.43], ci_low=-0.5, ci_high=1.9)
        assert weigh(new, old).p_worse < 1e-6

    def test_few_undefined_resamples_are_left_out(self):
        values = np.linspace(0.4, 0.6, 100)
        old = scored([0.5, 0.5], resamples=np.full(100, 0.5))
        full = weigh(scored([0.5, 0.5], resamples=values), old)
        values[50] = math.nan
        part = weigh(scored([0.5, 0.5], resamples=values), old)
        assert part.sampling.error == pytest.approx(full.sampling.error, rel=0.02)


class TestSeeds:
    def still(self, values, **changes):
        return scored(values, resamples=np.full(50, 0.5), **changes)

    def test_without_noise_of_cells_it_is_the_t_test(self):
        old, new = [0.50, 0.52, 0.51, 0.49], [0.53, 0.55, 0.52]
        found = weigh(self.still(new), self.still(old))
        expected = stats.ttest_ind(new, old, alternative="greater")
        assert found.p_worse == pytest.approx(expected.pvalue, rel=1e-6)
        low, high = stats.ttest_ind(new, old).confidence_interval(0.95)
        assert found.interval == pytest.approx((low, high))

    def test_the_direction_of_the_metric_turns_the_test(self):
        old, new = [0.50, 0.52, 0.51], [0.53, 0.55, 0.52]
        lower, higher = (weigh(self.still(new), self.still(old), metric) for metric in (MSE, R2))
        assert lower.loss == pytest.approx(-higher.loss)
        assert lower.p_worse == pytest.approx(higher.p_better)

    def test_one_run_lends_its_spread_to_another_of_one_seed(self):
        found = weigh(self.still([0.6]), self.still([0.50, 0.52, 0.54]))
        assert found.seeds.error == pytest.approx(0.02 * math.sqrt(1 + 1 / 3))
        assert found.seeds.freedom == 2

    def test_of_one_seed_each_a_spread_is_assumed_and_said(self):
        found = weigh(self.still([0.6], negative=1.0), self.still([0.5], negative=1.0))
        assert found.seeds.error == pytest.approx(SEED_SHARE * math.sqrt(2))
        assert "assumed" in found.how
        phases = find("cellcycle_S")
        pair = [self.still([v], metric=phases.name, negative=0.0) for v in (0.5, 0.6)]
        assert weigh(*pair, phases).seeds.error == pytest.approx(0.15 * math.sqrt(2))

    def test_a_model_that_became_erratic_does_not_excuse_itself(self):
        old = self.still([0.500, 0.501, 0.502])
        calm, erratic = (weigh(self.still(v), old) for v in ([0.8, 0.81, 0.82], [0.5, 0.5, 1.43]))
        assert erratic.loss == pytest.approx(calm.loss)
        assert erratic.seeds.error < 0.002
        assert "baseline's alone" in erratic.how
        assert erratic.p_worse < 0.001

    @given(st.lists(st.floats(-10, 10), min_size=2, max_size=7))
    def test_lowest_and_highest_alone_never_promise_a_smaller_spread(self, values):
        still = scored([0.5, 0.5], resamples=np.full(20, 0.5), ci_low=0.5, ci_high=0.5)
        row, _ = scored(values, ci_low=0.0, ci_high=0.0)
        found = weigh((row, None), (replace(still[0], seeds=1), None))
        n = len(values)
        least = np.std(values, ddof=1) * math.sqrt(1 + 1 / n)
        assert found.seeds.error >= least * (1 - 1e-9) - 1e-12


class TestChance:
    def test_without_noise_of_seeds_it_is_the_normal_test(self):
        found = Evidence(0.3, Noise(0.1, math.inf, ""), Noise(0.0, 4, ""))
        assert found.p_worse == pytest.approx(stats.norm.sf(3), rel=1e-6)
        assert found.interval == pytest.approx((0.3 - 0.1 * NORMAL_95, 0.3 + 0.1 * NORMAL_95))

    @given(
        st.floats(1e-4, 0.49),
        st.floats(1e-3, 1),
        st.floats(1e-3, 1),
        st.sampled_from([2, 4, 30, math.inf]),
    )
    def test_the_chance_of_a_margin_is_its_level(self, p, cells, seeds, freedom):
        noise = Noise(cells, math.inf, ""), Noise(seeds, freedom, "")
        margin = Evidence(0.0, *noise).margin(p)
        assert Evidence(margin, *noise).p_worse == pytest.approx(p, rel=1e-4)
        assert Evidence(-margin, *noise).p_better == pytest.approx(p, rel=1e-4)

    @pytest.mark.parametrize("cells", [0.002, 0.1, 1.0, 5.0])
    @pytest.mark.parametrize("loss", [0.5, 3.0, 8.0])
    def test_the_chance_of_both_together_is_the_integral_of_their_distributions(self, cells, loss):
        found = Evidence(loss, Noise(cells, math.inf, ""), Noise(1.0, 4, ""))
        expected, _ = integrate.quad(
            lambda t: stats.t.pdf(t, 4) * stats.norm.sf((loss - t) / cells),
            -np.inf,
            np.inf,
            limit=500,
        )
        by_hand = stats.norm.expect(
            lambda z: stats.t.sf(loss - cells * z, 4), limit=500, epsabs=1e-13
        )
        assert found.p_worse == pytest.approx(by_hand, rel=1e-4)
        if cells > 0.05:  # narrower than what the other integral can see
            assert found.p_worse == pytest.approx(expected, rel=1e-3)

    @given(st.floats(-1, 1), st.floats(-1, 1))
    def test_a_larger_loss_is_less_likely_chance(self, a, b):
        noise = Noise(0.1, math.inf, ""), Noise(0.05, 4, "")
        low, high = (Evidence(loss, *noise).p_worse for loss in sorted((a, b)))
        assert 0 <= high <= low <= 1

    @pytest.mark.parametrize(("loss", "p"), [(0.1, 1e-12), (0.0, 0.5), (-0.1, 1.0)])
    def test_without_any_noise_every_difference_is_real(self, loss, p):
        found = Evidence(loss, Noise(0.0, math.inf, ""), Noise(0.0, 4, ""))
        assert found.p_worse == pytest.approx(p)

    def test_the_level_is_kept_where_few_seeds_underestimate(self):
        """3 seeds, 5000 pairs of runs, noise of cells and seeds alike."""
        rng = np.random.default_rng(0)
        cells, k, level = 0.1, 3, 0.01
        old, new = rng.normal(0, cells, (2, 5000, k))
        pooled = np.sqrt((old.var(axis=1, ddof=1) + new.var(axis=1, ddof=1)) / 2 * 2 / k)
        loss = (new - old).mean(axis=1) + rng.normal(0, cells, 5000)
        sampling, freedom = Noise(cells, math.inf, ""), 2 * k - 2
        alarms = [
            Evidence(one, sampling, Noise(float(error), freedom, "")).p_worse <= level
            for one, error in zip(loss, pooled)
        ]
        assert 0 < np.mean(alarms) <= level
        # What Welch's degrees of freedom promise is not kept.
        total = np.hypot(cells, pooled)
        welch = stats.t.isf(level, total**4 / (pooled**4 / freedom)) * total
        assert np.mean(loss > welch) > level


class TestWhatCounts:
    def test_one_per_cent_of_the_way_from_the_control_to_the_best(self):
        row, base = replace(ROW, value=0.7, negative=0.9), replace(ROW, value=0.6, negative=0.8)
        assert least_effect(row, base, MSE) == pytest.approx(LEAST_SHARE * 0.9)
        row = replace(row, negative=None)
        assert least_effect(row, base, MSE) == pytest.approx(LEAST_SHARE * 0.8)
        base = replace(base, negative=None)
        assert least_effect(row, base, MSE) == pytest.approx(LEAST_SHARE * 0.7)

    def test_without_a_best_value_it_is_a_share_of_the_value(self):
        rate = find("predict_cells_per_second")
        row = replace(ROW, metric=rate.name, value=100.0)
        assert least_effect(row, replace(row, value=300.0), rate) == pytest.approx(3)
