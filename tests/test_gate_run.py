"""The gate on a whole run: which rows fail, and that each verdict stands for itself."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from reconeval.errors import UsageError
from reconeval.gate import (
    Gate,
    SavedRun,
    Scored,
    Tolerance,
    check_overlap,
    discoveries,
    make_gate,
)
from reconeval.intervals import Replicates
from tests.conftest import ROW

METRICS = ["mse", "mae", "poisson_deviance", "zero_fraction_error"]  # all: lower is better


def scored(metric, value, *, noise=0.01, seeds=3, **changes):
    """A score whose resamples differ by some noise, as those of another run do."""
    rng = np.random.default_rng([len(metric), int(value * 1e6)])
    spread = 1e-4 * np.arange(seeds)
    row = replace(
        ROW, metric=metric, value=value, low=value, high=value + 1e-4, seeds=seeds, **changes
    )
    values = (value + rng.normal(0, noise, 300)).astype(np.float32)
    kept = Replicates(
        over="cells", resampling="k", values=values, seeds=tuple(value + spread - spread.mean())
    )
    return Scored(row, kept)


def saved(scores, run=None):
    return SavedRun(
        name="old.json",
        rows={one.row.key: one.row for one in scores},
        replicates={one.row.key: one.replicates for one in scores if one.replicates},
        run=run or {},
    )


def outcomes(old, new, **options):
    gate = Gate(saved(old), **{"fail_on_regression": True, **options})
    return {one.row.metric: gate.outcome(one.row, lambda: new) for one in new}


class TestVerdicts:
    def test_a_loss_beyond_chance_fails_and_says_why(self):
        old = [scored(name, 0.5) for name in METRICS]
        new = [scored(name, 0.6 if name == "mae" else 0.5) for name in METRICS]
        found = outcomes(old, new)
        assert [name for name, one in found.items() if one.fails] == ["mae"]
        assert found["mae"].word == "worse"
        assert found["mae"].message.startswith(
            "mae on immune/iid: 0.5 -> 0.6, worse by 0.1 (95 % interval 0.07"
        )
        assert "paired over cells, 3 and 3 seeds; counts from 0.006" in found["mae"].message
        assert "\n" not in found["mae"].message
        assert found["mse"].word == "same"

    def test_a_gain_beyond_chance_is_better(self):
        found = outcomes([scored("mse", 0.6)], [scored("mse", 0.5)])["mse"]
        assert (found.word, found.fails) == ("better", False)

    def test_a_loss_within_chance_is_the_same(self):
        old, new = scored("mse", 0.5, noise=0.1), scored("mse", 0.6, noise=0.1)
        assert outcomes([old], [new])["mse"].word == "same"

    def test_a_certain_but_tiny_loss_is_the_same(self):
        old, new = scored("mse", 0.500, noise=1e-6), scored("mse", 0.504, noise=1e-6)
        found = outcomes([old], [new])["mse"]
        assert found.p < 1e-3
        assert found.word == "same"

    def test_without_the_option_nothing_fails(self):
        found = outcomes([scored("mse", 0.5)], [scored("mse", 0.9)], fail_on_regression=False)
        assert (found["mse"].word, found["mse"].fails) == ("worse", False)

    @pytest.mark.parametrize("side", ["old", "new"])
    def test_a_metric_that_is_not_informative_has_no_vote(self, side):
        changes = {"old": {}, "new": {}, side: {"informative": False}}
        old = scored("mse", 0.5, **changes["old"])
        new = scored("mse", 0.9, **changes["new"])
        found = outcomes([old], [new])["mse"]
        assert (found.word, found.fails) == ("worse", False)
        lost = replace(new.row, value=math.nan, reason="nothing to work on")
        assert not outcomes([old], [Scored(lost)])["mse"].fails

    @pytest.mark.parametrize("fail_on_regression", [False, True])
    @pytest.mark.parametrize("side", ["old", "new"])
    def test_a_bound_of_ones_own_judges_what_is_not_informative(self, side, fail_on_regression):
        changes = {"old": {}, "new": {}, side: {"informative": False}}
        old = scored("mse", 0.5, **changes["old"])
        gate = {"fail_on_regression": fail_on_regression, "tolerances": {"mse": Tolerance(0.01)}}

        def found(**more):
            new = scored("mse", 0.9, **changes["new"])
            return outcomes([old], [new._replace(row=replace(new.row, **more))], **gate)["mse"]

        assert (found().word, found().fails) == ("worse", True)
        assert found().message == (
            "mse on immune/iid: 0.5 -> 0.9, worse by 0.4 (allowed 0.01); "
            "mse is not informative there"
        )
        assert found(value=math.nan, reason="nothing to work on").fails
        assert found(dataset_sha256="b" * 64).fails
        within = found(value=0.5)
        assert not within.fails
        assert "informative" not in within.message

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"dataset_sha256": "b" * 64}, "incomparable"),
            ({"metric_version": 2}, "incomparable"),
            ({"value": math.nan, "reason": "no two genes vary"}, "worse"),
        ],
    )
    def test_what_cannot_be_compared_and_what_was_lost_fails(self, change, word):
        old, new = scored("mse", 0.5), scored("mse", 0.5)
        new = new._replace(row=replace(new.row, **change))
        found = outcomes([old], [new])["mse"]
        assert (found.word, found.fails) == (word, True)

    def test_a_row_that_the_baseline_lacks_is_new(self):
        found = outcomes([scored("mse", 0.5)], [scored("mse", 0.5), scored("mae", 0.5)])
        assert (found["mae"].word, found["mae"].fails) == ("new", False)

    def test_a_tolerance_replaces_the_test(self):
        old, new = [scored("mse", 0.5)], [scored("mse", 0.6)]
        loose, strict = Tolerance(0.2), Tolerance(0.01)
        assert not outcomes(old, new, tolerances={"mse": loose})["mse"].fails
        found = outcomes(old, new, tolerances={"mse": strict}, fail_on_regression=False)["mse"]
        assert found.fails
        assert "(allowed 0.01)" in found.message

    def test_without_resamples_and_intervals_the_seeds_alone_are_tested(self):
        def bare(value, low, high):
            row = replace(ROW, metric="mse", value=value, low=low, high=high, seeds=3, negative=1.0)
            return [Scored(row)]

        old = bare(0.5, 0.48, 0.53)
        assert not outcomes(old, bare(0.54, 0.52, 0.56))["mse"].fails
        found = outcomes(old, bare(0.60, 0.58, 0.62))["mse"]
        assert found.fails
        assert "over seeds alone, 3 and 3 seeds; counts from 0.01" in found.message

        def one_seed(value):
            return [Scored(replace(bare(value, value, value)[0].row, seeds=1))]

        assert not outcomes(one_seed(0.5), one_seed(0.53))["mse"].fails
        found = outcomes(one_seed(0.5), one_seed(0.6))["mse"]
        assert found.fails
        assert "1 and 1 seeds, whose spread is assumed" in found.message

    def test_a_row_that_was_not_weighed_cannot_be_told(self):
        gate = Gate(saved([scored("mse", 0.5)]), fail_on_regression=True)
        found = gate.outcome(scored("mse", 0.9).row, list)
        assert (found.word, found.fails, found.p) == ("same", False, None)
        assert "nothing tells whether by chance" in found.message


class TestCorrection:
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([0.01, 0.05, 0.5]))
    def test_the_procedure_is_that_of_scipy(self, p_values, level):
        adjusted = false_discovery_control(p_values)
        found = discoveries({str(i): p for i, p in enumerate(p_values)}, level)
        near = np.abs(adjusted - level) < 1e-9
        expected = {str(i) for i, q in enumerate(adjusted) if q <= level}
        assert near.any() or found == expected

    def test_no_metric_at_all_is_no_discovery(self):
        assert discoveries({}, 0.05) == set()

    def test_more_places_share_the_level(self):
        old, new = [scored("mse", 0.5)], [scored("mse", 0.54)]
        few, many = (outcomes(old, new, n_places=n)["mse"] for n in (1, 1000))
        assert few.p == many.p
        assert (few.word, many.word) == ("worse", "same")

    def test_more_metrics_that_stay_the_same_ask_for_more(self):
        old = [scored(name, 0.5) for name in METRICS]
        new = [scored(name, 0.526 if name == "mse" else 0.5) for name in METRICS]
        assert outcomes(old[:1], new[:1])["mse"].word == "worse"
        assert outcomes(old, new)["mse"].word == "same"
        muted = [
            one._replace(row=replace(one.row, informative=one.row.metric == "mse")) for one in new
        ]
        assert outcomes(old, muted)["mse"].word == "worse"

    def test_a_verdict_does_not_depend_on_the_order_and_peers_are_asked_once(self):
        old = [scored(name, 0.5) for name in METRICS]
        new = [scored(name, value) for name, value in zip(METRICS, (0.53, 0.5, 0.6, 0.52))]
        asked = []

        def verdicts(order):
            gate = Gate(saved(old), fail_on_regression=True)

            def peers():
                asked.append(1)
                return new

            return {new[i].row.metric: gate.outcome(new[i].row, peers).word for i in order}

        assert verdicts([0, 1, 2, 3]) == verdicts([3, 1, 0, 2])
        assert len(asked) == 2
        assert verdicts([1])["mae"] == verdicts([0, 1, 2, 3])["mae"]


def cost(metric, value, *, seeds=3, **changes):
    low = changes.pop("low", value)
    return replace(
        ROW, metric=metric, family="cost", value=value, low=low, high=value, seeds=seeds, **changes
    )


def cost_outcome(was, now, references=(None, None), **options):
    run = {} if references[1] is None else {"reference_seconds": references[1]}
    gate = Gate(
        saved([Scored(was)], run),
        **{"fail_on_regression": True, "reference": lambda _: references[0], **options},
    )
    return gate.outcome(now, list)


class TestCosts:
    @pytest.mark.parametrize(
        ("metric", "was", "now", "word"),
        [
            ("train_seconds", 10.0, 14.9, "same"),
            ("train_seconds", 10.0, 15.1, "worse"),
            ("train_seconds", 15.1, 10.0, "better"),
            ("train_seconds", 0.01, 0.09, "same"),  # the clock's noise
            ("predict_cells_per_second", 1500.0, 1100.0, "same"),
            ("predict_cells_per_second", 1500.0, 900.0, "worse"),
            ("predict_cells_per_second", 1e6, 1e5, "same"),
            ("train_rss_mb", 1000.0, 1190.0, "same"),
            ("train_rss_mb", 1000.0, 1210.0, "worse"),
            ("train_rss_mb", 0.0, 99.0, "same"),
            ("train_rss_mb", 0.0, 0.0, "same"),
            ("train_rss_mb", 0.0, 101.0, "worse"),
            ("peak_gpu_mb", 10.0, 40.0, "same"),
            ("n_parameters", 10.0, 11.0, "worse"),
        ],
    )
    def test_by_ratio(self, metric, was, now, word):
        found = cost_outcome(cost(metric, was), cost(metric, now))
        assert found.word == word
        assert found.fails == (word == "worse" and metric != "n_parameters")

    def test_of_a_training_the_quickest_seed_counts(self):
        was = cost("train_seconds", 10.0, low=9.0)
        assert not cost_outcome(was, cost("train_seconds", 40.0, low=13.0)).fails
        found = cost_outcome(was, cost("train_seconds", 40.0, low=18.0))
        assert found.fails
        assert "9 -> 18, 2 times the cost (allowed 1.5" in found.message

    @pytest.mark.parametrize(("references", "fails"), [((0.2, 0.1), False), ((0.1, 0.2), True)])
    def test_another_machine_is_scaled_and_said_so(self, references, fails):
        found = cost_outcome(cost("train_seconds", 10.0), cost("train_seconds", 14.0), references)
        assert found.fails == fails
        ratio = references[0] / references[1]
        assert f"scaled by reference workload {ratio:.2g}x" in found.message
        assert found.ratio == pytest.approx(1.4 / ratio)

    @pytest.mark.parametrize("references", [(0.2, 0.1), (0.1, 0.2)])
    def test_the_more_is_corrected_the_more_is_allowed(self, references):
        scale = references[0] / references[1]
        allowed = 1.5 * 2**0.5
        was = cost("train_seconds", 10.0)
        for factor in (0.99, 1.01):
            now = cost("train_seconds", 10.0 * scale * allowed * factor)
            found = cost_outcome(was, now, references)
            assert found.fails == (factor > 1)
            assert "(allowed 2.12, scaled by" in found.message
        own = {"train_seconds": Tolerance(0.5, relative=True)}
        now = cost("train_seconds", 10.0 * scale * 1.51)
        assert cost_outcome(was, now, references, tolerances=own).fails

    def test_memory_of_the_whole_process_fails_by_a_bound_of_ones_own_alone(self):
        was, now = cost("peak_rss_mb", 186.0), cost("peak_rss_mb", 502.0)
        found = cost_outcome(was, now)
        assert (found.word, found.fails) == ("worse", False)
        assert "not gated, hangs on what ran before" in found.message
        tolerances = {"peak_rss_mb": Tolerance(0.5, relative=True)}
        assert cost_outcome(was, now, tolerances=tolerances).fails

    def test_memory_is_not_scaled(self):
        found = cost_outcome(cost("peak_rss_mb", 1e3), cost("peak_rss_mb", 1.1e3), (0.1, 0.2))
        assert found.ratio == pytest.approx(1.1)
        assert "scaled" not in found.message

    def test_without_a_reference_in_both_it_says_so(self):
        found = cost_outcome(cost("train_seconds", 10.0), cost("train_seconds", 16.0), (0.1, None))
        assert found.fails
        assert "not scaled: no reference workload in both runs" in found.message

    @pytest.mark.parametrize(("old", "new"), [(1, 3), (3, 2)])
    def test_fewer_than_three_rounds_cannot_fail(self, old, new):
        was, now = cost("train_seconds", 1.0, seeds=old), cost("train_seconds", 9.0, seeds=new)
        found = cost_outcome(was, now)
        assert (found.word, found.fails) == ("worse", False)
        assert "not gated, needs 3 rounds: add --seeds 3" in found.message

    def test_a_share_of_ones_own_replaces_the_factor(self):
        was, now = cost("train_seconds", 10.0), cost("train_seconds", 17.0)
        tolerances = {"train_seconds": Tolerance(1.0, relative=True)}
        assert not cost_outcome(was, now, tolerances=tolerances).fails
        tight = {"train_seconds": Tolerance(0.1, relative=True)}
        assert cost_outcome(was, cost("train_seconds", 12.0), tolerances=tight).fails

    def test_without_the_option_a_tolerance_is_a_plain_bound(self):
        was, now = cost("train_seconds", 1.0, seeds=1), cost("train_seconds", 1.2, seeds=1)
        tolerances = {"train_seconds": Tolerance(0.1, relative=True)}
        assert cost_outcome(was, now, tolerances=tolerances, fail_on_regression=False).fails

    def test_other_data_cannot_be_compared(self):
        now = replace(cost("train_seconds", 1.0), dataset_sha256="b" * 64)
        found = cost_outcome(cost("train_seconds", 1.0), now)
        assert (found.word, found.fails) == ("incomparable", True)

    def test_a_part_of_a_merged_run_brings_its_own_reference(self):
        row = cost("train_seconds", 1.0)
        parts = [
            {"reference_seconds": 0.3, "timed": [["Other", "immune", "iid"]]},
            {"reference_seconds": 0.2, "timed": [["Model", "immune", "iid"]]},
        ]
        assert saved([Scored(row)], {"parts": parts}).reference_seconds(row) == 0.2


@pytest.mark.parametrize("options", [{"fail_on_regression": True}, {"tolerances": {"mse": 1}}])
def test_a_gate_needs_a_baseline(options):
    given_ = {"tolerances": {}, "fail_on_regression": False, **options}
    with pytest.raises(UsageError, match="needs a baseline: add --baseline FILE"):
        make_gate(None, models=["Model"], places=[], metrics=[], reference=lambda _: None, **given_)


def test_a_baseline_of_other_metrics_is_refused():
    rows = [scored(name, 0.5).row for name in ("mse", "mae")]
    timing = cost("train_seconds", 1.0)
    check_overlap([*rows, timing], ["Model"], ["immune/iid"], ["mae", "pearson_cell"])
    check_overlap([timing], ["Model"], ["immune/iid"], ["pearson_cell"])
    with pytest.raises(UsageError, match=r"none of the metrics of this run, r2 \(has mae, mse\)"):
        check_overlap([*rows, timing], ["Model"], ["immune/iid"], ["r2"])


def test_no_baseline_and_nothing_gated_is_no_gate():
    options = {"tolerances": {}, "fail_on_regression": False}
    given_ = {"models": [], "places": [], "metrics": [], "reference": lambda _: None}
    assert make_gate(None, **given_, **options) is None
