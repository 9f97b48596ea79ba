"""95 % intervals contain the truth about 95 times in 100, and resamples pair across runs."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from reconeval.costs import find
from reconeval.intervals import Replicates, averaged, interval_of
from reconeval.intervals._of_case import _of_groups
from reconeval.intervals._resampling import deal, digest, draw
from reconeval.intervals._table import BOOTSTRAP
from reconeval.metrics import Pair, Truth
from reconeval.metrics.perturbational import Group, per_perturbation
from reconeval.metrics.registry import Score
from reconeval.options import Options
from reconeval.session import Session
from tests.conftest import ROOT

N_DATASETS = 600


def bootstrap(values, *, over="cells", units=10**9, **changes):
    values = np.asarray(values, dtype=np.float32)
    return Replicates(over=over, resampling="x", values=values, units=units, **changes)


def coverage(intervals, truth):
    return np.mean([low <= truth <= high for low, high, _ in intervals])


class TestCoverage:
    """Simulated data sets; the standard error of a share of 0.95 of 600 is 0.009."""

    @pytest.mark.parametrize("n", [5, 60])
    def test_of_a_mean(self, n):
        rng = np.random.default_rng(n)
        data = rng.normal(3.0, 2.0, size=(N_DATASETS, n))
        counts = draw(n, 1000, over="cells", content="x").counts
        found = [interval_of(row.mean(), bootstrap(row @ counts / n, units=n)) for row in data]
        # Of five units the percentile interval alone would contain it in 0.83.
        assert 0.92 < coverage(found, 3.0) < 0.98

    def test_with_the_noise_of_seeds(self):
        rng = np.random.default_rng(0)
        n, k, found = 60, 4, []
        counts = draw(n, 400, over="cells", content="x").counts
        for _ in range(N_DATASETS):
            cells, seeds = rng.normal(3.0, 1.0, n), rng.normal(0, 0.2, k)
            values = cells @ counts / n + seeds.mean()
            kept = bootstrap(values, units=n, seeds=tuple(cells.mean() + seeds))
            found.append(interval_of(np.mean(kept.seeds), kept))
        assert 0.90 < coverage(found, 3.0) < 0.98

    def test_of_a_distance_that_copies_shift(self):
        # Copies of a cell are 0 apart, so that the distance is larger in nearly every resample.
        rng = np.random.default_rng(0)
        n, d, found, raw = 30, 10, [], []
        drawn = draw(n, 400, over="cells", content="x").of()
        for _ in range(120):
            X, Y = rng.normal(size=(n, d)), rng.normal(0.5, 1.0, size=(n, d))
            pair = Pair(Truth(X, [f"G{i}" for i in range(d)]), Y)
            values = BOOTSTRAP["energy_distance"](pair, drawn)
            value = find("energy_distance").compute(pair)
            found.append(interval_of(value, bootstrap(values, units=n)))
            raw.append((*np.quantile(values, [0.025, 0.975]), ""))
        # The mean over data sets: of normal distributions, 0.5 apart in each dimension.
        within = math.sqrt(2) * stats.chi.mean(d)
        between = math.sqrt(2) * stats.ncx2(d, d * 0.5**2 / 2).expect(np.sqrt)
        expected = 2 * between - 2 * within * (1 - 1 / n)
        assert coverage(found, expected) > 0.88
        assert coverage(raw, expected) < 0.7


class TestInterval:
    def test_a_jackknife_of_a_mean_is_students(self):
        cells = np.random.default_rng(0).normal(size=10)
        left_out = (cells.sum() - cells) / 9
        kept = bootstrap(left_out, kind="jackknife", units=10)
        low, high, method = interval_of(cells.mean(), kept)
        expected = stats.t.interval(0.95, 9, cells.mean(), stats.sem(cells))
        assert (low, high) == pytest.approx(expected, rel=1e-5)
        assert method == "jackknife over cells (10 groups)"

    def test_of_seeds_alone_is_students(self):
        seeds = (0.5, 0.7, 0.9)
        kept = bootstrap([], kind="none", over="", units=0, seeds=seeds)
        low, high, method = interval_of(0.7, kept)
        expected = stats.t.interval(0.95, 2, 0.7, stats.sem(seeds))
        assert (low, high) == pytest.approx(expected)
        assert method == "over seeds (t, 3)"

    def test_of_equal_values_is_the_value(self):
        assert interval_of(1.0, bootstrap(np.ones(200)))[:2] == (1.0, 1.0)

    def test_it_stays_within_the_range(self):
        values = np.random.default_rng(0).normal(0.98, 0.02, 1000)
        low, high, _ = interval_of(0.98, bootstrap(values), bounds=(0.0, 1.0))
        assert low < 0.95
        assert high == 1.0

    def test_it_keeps_the_shape_of_the_resamples(self):
        values = np.random.default_rng(0).exponential(size=1000)
        low, high, _ = interval_of(1.0, bootstrap(values))
        ends = np.quantile(values, [0.025, 0.975])
        assert (low, high) == pytest.approx(ends - values.mean() + 1.0, rel=1e-3)

    @pytest.mark.parametrize(("share", "defined"), [(0.04, True), (0.06, False)])
    def test_few_resamples_may_be_undefined(self, share, defined):
        values = np.random.default_rng(0).normal(size=1000)
        values[: int(1000 * share)] = np.nan
        low, high, method = interval_of(0.0, bootstrap(values))
        assert math.isfinite(low) is math.isfinite(high) is defined
        assert ("undefined in 6% of the resamples" in method) is not defined

    @pytest.mark.parametrize("seeds", [(), (0.5,)])
    def test_nothing_is_made_of_nothing(self, seeds):
        assert interval_of(0.5, bootstrap([], kind="none", seeds=seeds)) is None

    def test_undefined_seeds_are_not_averaged_away(self):
        parts = [bootstrap([1.0, np.nan]), bootstrap([2.0, 3.0])]
        np.testing.assert_array_equal(averaged(parts, [1.0, 2.0]).values, [1.5, np.nan])


class TestResamples:
    def test_are_those_of_the_data_alone(self):
        first, again = (draw(50, 300, over="cells", content="a") for _ in range(2))
        assert first.key == again.key
        np.testing.assert_array_equal(first.counts, again.counts)
        assert (first.counts.sum(axis=0) == 50).all()
        # Each cell is left out of a resample with the chance (1 - 1/n)^n.
        assert np.mean(first.counts == 0) == pytest.approx((1 - 1 / 50) ** 50, abs=0.02)

    @pytest.mark.parametrize(
        "changes", [{"content": "b"}, {"over": "perturbations"}, {"n_resamples": 301}]
    )
    def test_differ_where_anything_does(self, changes):
        given = {"n_units": 50, "n_resamples": 300, "over": "cells", "content": "a"}
        assert draw(**given).key != draw(**{**given, **changes}).key

    def test_names_tell_parts_apart(self):
        assert digest("a", "b") != digest("ab") != digest("a", np.array([1]))

    def test_are_fewer_of_very_many_cells(self, monkeypatch):
        monkeypatch.setattr("reconeval.intervals._resampling.HELD_COUNTS", 30_000)
        numbers = {n: draw(n, 1000, over="cells", content="a").resamples for n in (30, 60, 500)}
        assert numbers == {30: 1000, 60: 500, 500: 200}

    def test_groups_share_every_label(self):
        labels = np.repeat(["a", "b"], [40, 21])
        dealt = deal(61, 10, labels=labels, content="a")
        assert set(np.bincount(dealt)) == {6, 7}
        assert set(np.bincount(dealt[labels == "a"])) == {4}


def session_of(*models, dataset="pbmc68k", **options):
    return Session(
        Options(models=models, datasets=(dataset,), splits=("iid",), cache=False, **options)
    )


def quiet(_):
    return None


@pytest.fixture(scope="module")
def runs():
    session = session_of("models:ReconPCA", "models:Shuffle", resamples=300)
    return [session.train(model, "pbmc68k", "iid", quiet) for model in session.specs]


@pytest.fixture(scope="module")
def run():
    session = session_of("models:MeanShift", dataset="latent_synthetic", resamples=300)
    return session.train("MeanShift", "latent_synthetic", "iid", quiet)


class TestOfARun:
    @pytest.mark.parametrize("name", ["r2", "coexpression", "deg_dice_at_100"])
    def test_resamples_of_two_models_pair(self, runs, name):
        first, second = (run.replicates(find(name)) for run in runs)
        assert first.paired(second)
        assert first.seeds != second.seeds

    @pytest.mark.parametrize("name", ["mse", "pearson_gene", "zero_fraction_error", "pathway"])
    def test_the_row_says_how_far(self, runs, name):
        for row in (run.row(find(name)) for run in runs):
            assert row.ci_low <= row.value <= row.ci_high
            assert row.ci_method == "bootstrap over cells (percentile, 300)"

    def test_a_metric_without_a_value_has_no_interval(self, runs):
        row = runs[0].row(find("cellcycle_S"))
        assert math.isnan(row.value)
        assert (row.ci_low, row.ci_high, row.ci_method) == (None, None, "")

    def test_nothing_is_resampled_where_nobody_asks(self):
        session = session_of("models:Mean", resamples=0)
        run = session.train("Mean", "pbmc68k", "iid", quiet)
        assert run.row(find("mse")).ci_low is None
        assert run.replicates(find("mse")) is None

    def test_seeds_are_averaged(self):
        session = session_of("models:Shuffle", seeds=(0, 1), resamples=200)
        run = session.train("Shuffle", "pbmc68k", "iid", quiet)
        one_by_one = [run._resampled(find("mse"), fit).values for fit in run.fits]
        kept = run.replicates(find("mse"))
        assert kept.values == pytest.approx(np.mean(one_by_one, axis=0))
        assert list(kept.seeds) == [score.value for score in run.scores(find("mse"))]
        assert run.row(find("mse")).ci_method.endswith("and seeds (2)")


class TestOverPerturbations:
    def counts(self, run):
        """Of each resample, how often it has each perturbation, from the draws themselves."""
        names = sorted(set(run.case.dataset.perturbation[run.case.split.test]))
        truth = run.case.truth
        key = ("intervals", "draws", "perturbations", len(names), 300)
        return names, truth.cached(key, lambda: pytest.fail("never drawn")).counts

    @pytest.mark.parametrize("name", ["pearson_delta", "latent_discrimination_l2"])
    def test_scores_of_perturbations_are_averaged(self, run, name):
        kept = run.replicates(find(name))
        pair = run.fits[0].pair
        inner = name.removeprefix("latent_")
        scores = per_perturbation(inner, pair if inner == name else pair.latent)
        names, counts = self.counts(run)
        values = {group.perturbation: score.value for group, score in scores.items()}
        copies = [
            values[one] for one, n in zip(names, counts[:, 7], strict=True) for _ in range(int(n))
        ]
        assert kept.values[7] == pytest.approx(np.mean(copies))
        assert kept.units == len(names) == 5
        assert kept.over == "perturbations"

    def test_distances_of_populations_too(self, run):
        kept = run.replicates(find("r2"))
        _, counts = self.counts(run)
        pair = run.case.completed(find("r2"), run.fits[0].pair, None)
        scores = run.case.populations.scores(find("r2"), pair)
        values = np.array([scores[one].value for one in sorted(scores)])
        assert kept.values == pytest.approx(values @ counts / 5, rel=1e-5)
        assert run.row(find("r2")).ci_method == "bootstrap over 5 perturbations (percentile, 300)"

    def test_cells_go_with_their_perturbation(self, run):
        kept = run.replicates(find("mse"))
        names, counts = self.counts(run)
        pair = run.case.completed(find("mse"), run.fits[0].pair, None)
        labels = run.case.dataset.perturbation[run.case.split.test]
        rows = np.concatenate(
            [
                np.tile(np.flatnonzero(labels == one), int(n))
                for one, n in zip(names, counts[:, 3], strict=True)
            ]
        )
        expected = np.mean((pair.truth.X[rows] - pair.prediction[rows]) ** 2, dtype=float)
        assert kept.values[3] == pytest.approx(expected, rel=1e-5)


class TestFewPerturbations:
    """Of one or two perturbations each in each cell type is drawn, if there are three of those."""

    @pytest.fixture
    def case(self):
        split = SimpleNamespace(name="iid", test=np.arange(4))
        truth = Truth(np.eye(4), list("abcd"))
        return SimpleNamespace(truth=truth, split=split, dataset=SimpleNamespace(sha256="a" * 64))

    def resampled(self, case, scores):
        names = np.unique([group.perturbation for group in scores])
        return _of_groups(case, scores, names, 200)

    def test_cell_types_are_units(self, case):
        scores = {Group("P", name): Score(float(i)) for i, name in enumerate("abc")}
        kept = self.resampled(case, {**scores, Group("P", "d"): Score(math.nan, "too few")})
        assert (kept.units, kept.over) == (3, "perturbations in cell types")
        # Means of three draws among 0, 1 and 2.
        assert set((kept.values * 3).round(3)) <= set(range(7))
        assert kept.values.mean() == pytest.approx(1.0, abs=0.2)
        words = interval_of(1.0, kept).method
        assert words == "bootstrap over 3 perturbations in cell types (percentile, 200)"

    def test_of_two_there_is_nothing(self, case):
        scores = {Group("P", name): Score(1.0) for name in "ab"}
        assert self.resampled(case, scores).kind == "none"

    def test_a_perturbation_takes_its_cell_types_along(self, case):
        scores = {Group(one, name): Score(float(i)) for i, one in enumerate("PQR") for name in "ab"}
        kept = self.resampled(case, scores)
        assert kept.units == 3
        assert set((kept.values * 3).round(3)) <= set(range(7))


def test_too_few_resamples_are_refused(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest("--model", "models:Mean", "--resamples", "5")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--resamples 5: expected at least 200, or --no-intervals"])


def test_results_hold_the_resamples(pytester):
    given = [
        "--dataset",
        "pbmc68k",
        "--split",
        "iid",
        "--metrics",
        "r2,mse",
        "--results",
        "out.json",
    ]
    path = ROOT / "benchmarks" / "test_metrics.py"
    pytester.runpytest(path, "--model", "models:Mean", "--resamples", "200", *given)
    document = json.loads((pytester.path / "out.json").read_text())
    assert [one["metric"] for one in document["replicates"]] == ["r2", "mse"]
    for row, kept in zip(document["rows"], document["replicates"], strict=True):
        back = Replicates.from_dict(kept)
        low, high, method = interval_of(row["value"], back)
        assert (row["ci_low"], row["ci_high"], row["ci_method"]) == (low, high, method)
        assert back.values.shape == (200,)
