"""Trivial models beside every score: what anchors it, and where it lies between them."""

from __future__ import annotations

import importlib
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from anndata import AnnData
from hypothesis import assume, given
from hypothesis import strategies as st

from reconeval.cache import _sources
from reconeval.cache._store import Store
from reconeval.cases import EndToEndCase, LatentShiftCase
from reconeval.cases.making import Cases
from reconeval.controls import Controls, ControlScores, negative_of, skill
from reconeval.controls import _annotating as annotating
from reconeval.controls._reconstruction import alternate, halves_of_types
from reconeval.controls._store import KeptScores, frozen_scores, place_of, read_frozen
from reconeval.datasets import (
    dataset_names,
    load_dataset,
    load_perturbation_dataset,
    make_perturbation_split,
    make_split,
    perturbation_dataset_names,
    split_names,
)
from reconeval.datasets.perturbation_splits import perturbation_split_names
from reconeval.metrics.registry import METRICS, get_metric
from reconeval.options import Options
from reconeval.runs import metric_names

SCORES = st.floats(-1e3, 1e3)
MSE, R2, C2ST = (get_metric(name) for name in ("mse", "r2", "c2st_auc"))


def scores(metric=MSE, negatives=None, **values):
    """Scores of controls in their order, with some changed."""
    return ControlScores(
        metric=metric.name,
        version=metric.version,
        negatives={"Mean": 1.0, "Shuffle": 2.0} if negatives is None else negatives,
        **{"half": 0.7, "positive": 0.4, "collapsed": 1.0, "positive_is": "x", **values},
    )


@pytest.fixture(scope="module")
def pbmc():
    return Cases("end_to_end", Options(), {"pbmc68k": "pbmc68k"}).get("pbmc68k", "iid")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A user's file of real cells, with two columns of labels."""
    path = tmp_path_factory.mktemp("mine") / "mine.h5ad"
    few = load_dataset("pbmc68k").adata[::4, :120].copy()
    kinds = few.obs["cell_type"].astype(str)
    coarse = np.where(kinds.str.contains("T|NK"), "lymphoid", "other")
    obs = few.obs[[]].assign(kind=kinds.to_numpy(), coarse=coarse)
    AnnData(few.X.copy(), obs=obs, var=few.var[[]], layers={"n": few.layers["counts"]}).write_h5ad(
        path
    )
    return path


def case_of(path, **keys):
    return Cases("end_to_end", Options(datasets=(str(path),), **keys), {"mine": str(path)}).get(
        "mine", "iid"
    )


class TestSkill:
    @given(SCORES, SCORES, SCORES)
    def test_is_the_share_of_the_way_and_never_clipped(self, value, negative, positive):
        assume(abs(negative - positive) > 1e-3)
        share = (value - negative) / (positive - negative)
        for metric in (MSE, R2):
            found = skill(metric, value, negative=negative, positive=positive)
            if metric.badness(positive) < metric.badness(negative):
                assert found == pytest.approx(share, rel=1e-9, abs=1e-9)
            else:
                assert found is None

    def test_of_a_metric_best_inside_its_range_goes_by_distance(self):
        assert skill(C2ST, 0.6, negative=0.9, positive=0.5) == pytest.approx(0.75)
        assert skill(C2ST, 0.4, negative=0.9, positive=0.5) == pytest.approx(0.75)
        assert skill(C2ST, 0.5, negative=0.1, positive=0.55) == pytest.approx(0.4 / 0.35)

    @pytest.mark.parametrize("name", ["value", "negative", "positive"])
    def test_there_is_none_where_a_score_is_not_finite(self, name):
        values = {"value": 0.5, "negative": 1.0, "positive": 0.0, name: math.nan}
        assert skill(MSE, values.pop("value"), **values) is None


class TestNegative:
    def test_of_paired_cells_is_the_better_one(self):
        assert negative_of(MSE, scores()) == ("Mean", 1.0)
        assert negative_of(MSE, scores(negatives={"Mean": 1.0, "Shuffle": 0.9})) == ("Shuffle", 0.9)

    def test_of_populations_is_the_mean_although_the_shuffle_is_perfect(self):
        distance = get_metric("energy_distance")
        found = negative_of(distance, scores(distance, negatives={"Mean": 26.0, "Shuffle": 0.0}))
        assert found == ("Mean", 26.0)

    def test_of_populations_is_the_shuffle_where_a_constant_has_no_value(self):
        metric = get_metric("coexpression")
        found = negative_of(metric, scores(metric, negatives={"Mean": math.nan, "Shuffle": 0.9}))
        assert found == ("Shuffle", 0.9)

    def test_of_perturbations_is_the_better_one_also_for_populations(self):
        metric = get_metric("energy_distance")
        found = negative_of(metric, scores(metric, negatives={"NoShift": 3.0, "MeanShift": 2.0}))
        assert found == ("MeanShift", 2.0)

    def test_there_may_be_none(self):
        name, value = negative_of(MSE, scores(negatives={"Mean": math.nan, "Shuffle": math.nan}))
        assert name == "Mean"
        assert math.isnan(value)


@given(
    st.dictionaries(st.sampled_from(["Mean", "Shuffle"]), SCORES | st.just(math.nan), min_size=1),
    SCORES | st.just(math.nan),
    st.dictionaries(st.text(), st.text()),
)
def test_scores_come_back_from_what_they_are_kept_as(negatives, positive, reasons):
    one = scores(negatives=negatives, positive=positive, copied=math.nan, reasons=reasons)
    kept = one.to_dict()
    back = ControlScores.from_dict("mse", kept)
    assert back.to_dict() == kept
    assert back.positive == pytest.approx(positive, rel=1e-8, nan_ok=True)
    assert back.reasons == reasons


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(0, 5))
def test_halves_have_the_same_types_and_no_cell_in_common(labels, seed):
    types = np.array(labels, dtype=str)
    one, other = halves_of_types(types, seed=seed)
    assert not set(one) & set(other)
    assert len(set(one)) == len(one)
    np.testing.assert_array_equal(types[one], types[other])
    assert len(one) == sum(labels.count(name) // 2 for name in "abc")
    again, _ = halves_of_types(types, seed=seed)
    np.testing.assert_array_equal(one, again)


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(0, 5))
def test_every_second_cell_of_a_group_is_marked(labels, seed):
    types = np.array(labels, dtype=str)
    marked = alternate(types, seed=seed)
    for name in set(labels):
        assert marked[types == name].sum() == (labels.count(name) + 1) // 2


class TestOnRealCells:
    """Against figures that are computed here, of the data alone."""

    def test_the_mean_of_the_training_cells_is_the_negative_control(self, pbmc):
        X, split = pbmc.dataset.X, pbmc.split
        error = np.mean((X[split.test] - X[split.train].mean(axis=0)) ** 2)
        found = Controls().scores(MSE, pbmc)
        assert found.negatives["Mean"] == pytest.approx(error, rel=1e-4)
        assert found.collapsed == found.negatives["Mean"]
        assert negative_of(MSE, found)[0] == "Mean"

    def test_half_of_the_molecules_is_the_positive_control_of_paired_cells(self, pbmc):
        counts, library = (a[pbmc.split.test] for a in (pbmc.dataset.counts, pbmc.dataset.library))
        rng = np.random.default_rng(99)
        half = rng.binomial(counts.astype(int), 0.5)
        total = half.sum(axis=1) + rng.binomial((library - counts.sum(axis=1)).astype(int), 0.5)
        error = np.mean(
            (np.log1p(half * (1e4 / total)[:, None]) - pbmc.dataset.X[pbmc.split.test]) ** 2
        )
        found = Controls().scores(MSE, pbmc)
        assert found.positive == pytest.approx(error, rel=0.02)  # another draw
        mean = found.negatives["Mean"]
        assert found.half == pytest.approx((found.positive + mean) / 2, rel=0.05)

    def test_a_copy_of_the_input_is_perfect_but_for_held_out_molecules(self, pbmc):
        controls = Controls()
        assert controls.scores(MSE, pbmc).copied == 0
        guarded = controls.scores(get_metric("poisson_deviance"), pbmc)
        assert guarded.copied > guarded.negatives["Mean"] > guarded.positive

    @pytest.mark.parametrize("name", ["mse", "energy_distance_pca", "deg_dice_at_100", "r2"])
    def test_the_shipped_table_is_what_the_controls_score_now(self, pbmc, name):
        same_as_shipped(pbmc, name)

    @pytest.mark.parametrize("name", ["knn_purity_k10", "latent_r2", "energy_distance", "mse"])
    def test_also_of_perturbations(self, name):
        case = Cases("latent_shift", Options(), {"myoblast": "myoblast"}).get("myoblast", "iid")
        same_as_shipped(case, name)


def same_as_shipped(case, name):
    metric = get_metric(name)
    shipped = frozen_scores(place_of(case))[name]
    now = annotating.score_controls(case).scores(metric)
    assert shipped.negatives.keys() == now.negatives.keys()
    for mine, theirs in (
        *((shipped.negatives[one], now.negatives[one]) for one in now.negatives),
        *((getattr(shipped, one), getattr(now, one)) for one in ("half", "positive", "collapsed")),
        (shipped.copied, now.copied),
    ):
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-6, nan_ok=True)
    assert shipped.positive_is == now.positive_is


class TestRows:
    def test_a_row_gets_its_anchors(self, pbmc, make_row):
        known = frozen_scores(place_of(pbmc))["mse"]
        mean, duplicate = known.negatives["Mean"], known.positive
        row = make_row(dataset="pbmc68k", value=duplicate - (mean - duplicate))
        found = Controls().annotate(row, pbmc)
        assert (found.negative, found.positive) == (mean, duplicate)
        assert found.skill == pytest.approx(2)
        assert found.informative is True
        assert found.reason == ""
        assert found.value == row.value

    def test_a_metric_that_a_constant_wins_says_so(self, pbmc, make_row):
        found = Controls().annotate(make_row(metric="r2", value=0.99), pbmc)
        assert found.informative is False
        assert found.skill is None
        assert found.reason.startswith("not informative: Mean scores 0.98")

    def test_the_reason_why_there_is_no_value_stays(self, pbmc, make_row):
        row = make_row(metric="r2", value=math.nan, reason="it broke")
        found = Controls().annotate(row, pbmc)
        assert found.reason == "it broke"
        assert found.skill is None

    def test_a_cost_has_no_controls(self, pbmc, make_row):
        row = make_row(metric="train_seconds", family="cost", value=3.0)
        assert Controls().annotate(row, pbmc) is row


class TestKeeping:
    def test_scores_of_a_users_file_are_made_once(self, mine, tmp_path, monkeypatch):
        case = case_of(mine, cell_type_key="kind", counts_layer="n")
        store = Store(tmp_path)
        first = Controls(store).scores(MSE, case)
        assert first.positive < first.half < first.negatives["Mean"] < first.negatives["Shuffle"]

        def none(_):
            msg = "scored again"
            raise AssertionError(msg)

        monkeypatch.setattr(annotating, "score_controls", none)
        again = Controls(Store(tmp_path)).scores(MSE, case)
        assert again.to_dict() == first.to_dict()
        with pytest.raises(AssertionError, match="scored again"):
            Controls(None).scores(MSE, case)

    def test_a_damaged_file_is_scored_anew(self, mine, tmp_path):
        case = case_of(mine, cell_type_key="kind", counts_layer="n")
        first = Controls(Store(tmp_path)).scores(MSE, case)
        (path,) = tmp_path.rglob("controls*")
        for broken in (b"", path.read_bytes()[:-5]):
            path.write_bytes(broken)
            assert Controls(Store(tmp_path)).scores(MSE, case).to_dict() == first.to_dict()
        kept = KeptScores(Store(tmp_path), place_of(case), case)
        name = path.name.replace("%20", " ")
        damaged = {**kept._store.read_json(kept._key, name), "version": "none"}
        assert kept.read(MSE) is not None
        kept._store.write_json(kept._key, name, damaged)
        assert kept.read(MSE) is None

    def test_scores_of_another_version_of_the_metric_are_made_anew(self, mine, tmp_path):
        case = case_of(mine, cell_type_key="kind", counts_layer="n")
        Controls(Store(tmp_path)).scores(MSE, case)
        newer = replace(MSE, version=99)
        assert KeptScores(Store(tmp_path), place_of(case), case).read(newer) is None
        assert Controls(Store(tmp_path)).scores(newer, case).version == 99

    @pytest.mark.parametrize("changed", ["harness_digest", "environment_digest"])
    def test_scores_of_other_code_of_the_harness_are_made_anew(
        self, mine, tmp_path, monkeypatch, changed
    ):
        case = case_of(mine, cell_type_key="kind", counts_layer="n")
        Controls(Store(tmp_path)).scores(MSE, case)
        assert KeptScores(Store(tmp_path), place_of(case), case).read(MSE) is not None
        monkeypatch.setattr(_sources, changed, lambda: "another")
        assert KeptScores(Store(tmp_path), place_of(case), case).read(MSE) is None

    def test_scores_of_a_metric_are_kept_by_its_code(self, mine, tmp_path, monkeypatch):
        case = case_of(mine, cell_type_key="kind", counts_layer="n")
        kept, code = KeptScores(Store(tmp_path), place_of(case), case), tmp_path / "my_metric.py"
        monkeypatch.syspath_prepend(tmp_path)
        for number in (1, 2):
            code.write_text(f"def compute(pair):\n    return {number}.0\n")
            own = replace(MSE, compute=importlib.import_module("my_metric").compute)
            assert kept.read(own) is None
            kept.write(own, scores(positive=float(number)))
            assert kept.read(own).positive == number
            del sys.modules["my_metric"]
            importlib.invalidate_caches()

    def test_scores_of_a_metric_whose_code_nobody_can_read_are_not_kept(self, mine, tmp_path):
        case = case_of(mine, cell_type_key="kind", counts_layer="n")
        kept = KeptScores(Store(tmp_path), place_of(case), case)

        def compute(pair):
            return 0.0

        compute.__module__ = "__main__"
        own = replace(MSE, compute=compute)
        kept.write(own, scores())
        assert kept.read(own) is None
        assert not list(tmp_path.rglob("controls*"))

    def test_another_column_of_cell_types_is_another_place_in_the_cache(self, mine, tmp_path):
        metric = get_metric("deg_logfc_pearson")
        controls = [
            Controls(Store(tmp_path)).scores(
                metric, case_of(mine, cell_type_key=key, counts_layer="n")
            )
            for key in ("kind", "coarse")
        ]
        assert controls[0].positive != controls[1].positive

    def test_without_counts_nothing_stands_for_a_good_paired_score(self, mine, make_row):
        case = case_of(mine, cell_type_key="kind")
        found = Controls().annotate(make_row(dataset="mine"), case)
        assert found.negative is not None
        assert (found.positive, found.skill, found.informative) == (None, None, None)
        health = Controls().health(MSE, case)
        assert health.reason == "no positive control: the data have no counts to split"
        assert Controls().health(get_metric("energy_distance"), case).informative is True


def test_the_shipped_table_has_every_metric_of_every_embedded_split():
    """After a change of data, splits, versions or controls: tools/make_control_scores.py."""
    places = {}
    for name in dataset_names():
        dataset = load_dataset(name)
        for split in split_names():
            places[place_of(EndToEndCase(dataset, make_split(dataset, split)))] = "end_to_end"
    for name in perturbation_dataset_names():
        shifts = load_perturbation_dataset(name)
        for split in perturbation_split_names(shifts):
            case = LatentShiftCase(shifts, make_perturbation_split(shifts, split))
            places[place_of(case)] = "latent_shift"
    table = read_frozen()
    assert table.keys() == places.keys()
    for place, task in places.items():
        versions = {name: METRICS[name].version for name in metric_names(task)}
        assert {name: one.version for name, one in table[place].items()} == versions
