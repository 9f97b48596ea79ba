"""The entries of the table on the embedded cells, as the harness calls them."""

import sys
from subprocess import run

import numpy as np
import pytest
from sklearn.decomposition import PCA

from reconeval.datasets import load_dataset, make_split, split_names
from reconeval.metrics import Pair, Truth, gene_sets
from reconeval.metrics.biological import ranks
from reconeval.metrics.biological.table import BIOLOGICAL
from reconeval.metrics.registry import score

NAMES = [metric.name for metric in BIOLOGICAL]
BY_NAME = {metric.name: metric for metric in BIOLOGICAL}
UNPAIRED = [metric.name for metric in BIOLOGICAL if not metric.paired]


def test_the_names_are_those_of_the_design():
    assert NAMES == [
        "cellcycle_proportion_same_phase",
        "cellcycle_S",
        "cellcycle_G2M",
        "cellcycle_G1",
        "cellcycle_proportion_mean_diff",
        "coexpression",
        "pathway",
        "deg_dice_at_50",
        "deg_dice_at_100",
        "deg_dice_at_200",
        "deg_logfc_spearman",
        "deg_logfc_pearson",
        "cytokine",
    ]


class Case:
    """The test cells of a split, and what a real model makes of them."""

    def __init__(self, split):
        dataset = load_dataset("immune")
        parts = make_split(dataset, split)
        self.X, self.labels = dataset.X[parts.test], dataset.cell_types[parts.test]
        self.train, self.genes = dataset.X[parts.train], dataset.genes
        pca = PCA(10, svd_solver="arpack", random_state=0).fit(self.train)
        self.Y = pca.inverse_transform(pca.transform(self.X)).astype(np.float32)

    def truth(self, **parts):
        parts = parts or {"cell_types": self.labels}
        return Truth(self.X, self.genes, **parts)


@pytest.fixture(scope="module", params=split_names())
def case(request):
    return Case(request.param)


@pytest.fixture(scope="module")
def iid():
    return Case("iid")


def test_every_metric_has_a_value_on_the_embedded_cells(case):
    pair = Pair(case.truth(), case.Y)
    for metric in BIOLOGICAL:
        value, reason = score(metric, pair)
        assert not reason, metric.name
        low, high = metric.range
        assert low <= value <= high
        assert metric.badness(value) > metric.badness(metric.best), metric.name


def test_the_truth_itself_scores_best(case):
    pair = Pair(case.truth(), case.X)
    got = {metric.name: score(metric, pair).value for metric in BIOLOGICAL}
    assert got == pytest.approx({metric.name: metric.best for metric in BIOLOGICAL}, abs=1e-6)


def test_a_model_beats_random_other_cells_where_the_metric_can_tell(case):
    rng = np.random.default_rng(0)
    random = case.train[rng.integers(0, len(case.train), len(case.X))]
    truth = case.truth()
    for name in ("pathway", "deg_dice_at_100", "deg_logfc_spearman", "cytokine"):
        model, other = (score(BY_NAME[name], Pair(truth, Y)).value for Y in (case.Y, random))
        assert model > other + 0.05, name


def test_a_reference_takes_the_place_of_cell_types(iid):
    reference = iid.train[:40]
    truth = iid.truth(reference=reference)
    own = score(BY_NAME["deg_logfc_pearson"], Pair(truth, iid.Y)).value
    measured = Pair(iid.truth(reference=reference), iid.Y, reference_prediction=reference)
    assert own == score(BY_NAME["deg_logfc_pearson"], measured).value
    shift = (iid.X.mean(0, dtype=float) - reference.mean(0, dtype=float)).astype(np.float32)
    predicted = Pair(truth, iid.Y, reference_prediction=iid.Y - shift)
    assert score(BY_NAME["deg_logfc_pearson"], predicted).value == pytest.approx(1, abs=1e-3)


def test_metrics_without_pairs_take_other_numbers_of_cells(iid):
    pair = Pair(iid.truth(reference=iid.train[:50]), iid.Y[:-1])
    for metric in BIOLOGICAL:
        value, reason = score(metric, pair)
        if metric.paired:
            assert "needs the same cells on both sides (299 predicted, 300 measured)" in reason
        else:
            assert np.isfinite(value)
    reason = score(BY_NAME["deg_dice_at_50"], Pair(iid.truth(), iid.Y[:-1])).reason
    assert "markers of cell types need the same cells on both sides" in reason


def test_reasons_reach_the_score(iid):
    bare = Pair(Truth(iid.X, iid.genes, seed=0), iid.Y)
    assert "needs reference or cell_types" in score(BY_NAME["deg_dice_at_100"], bare).reason
    foreign = Pair(Truth(iid.X, [f"g{i}" for i in range(len(iid.genes))]), iid.Y)
    for name in ("cellcycle_S", "coexpression", "pathway", "cytokine"):
        value, reason = score(BY_NAME[name], foreign)
        assert np.isnan(value)
        assert "0" in reason
    collapsed = np.repeat(iid.train.mean(axis=0, keepdims=True), len(iid.X), axis=0)
    reason = score(BY_NAME["coexpression"], Pair(iid.truth(), collapsed)).reason
    assert "vary over the cells on both sides" in reason


def test_what_depends_on_the_truth_is_computed_once(iid, monkeypatch):
    ranked = []
    plain = ranks.sorted_ranks

    def counted(rows, labels):
        ranked.append(len(rows))
        return plain(rows, labels)

    for module in ("co_expression", "wilcoxon"):
        monkeypatch.setattr(f"reconeval.metrics.biological.{module}.sorted_ranks", counted)
    truth = iid.truth()
    totals = []
    for _ in range(3):
        before = sum(ranked)
        pair = Pair(truth, iid.Y)
        values = {metric.name: score(metric, pair).value for metric in BIOLOGICAL}
        totals.append(sum(ranked) - before)
    assert totals[0] == 2 * totals[1] == 2 * totals[2] > 0
    fresh = {metric.name: score(metric, Pair(iid.truth(), iid.Y)).value for metric in BIOLOGICAL}
    assert values == fresh


def test_resources_are_read_once_in_a_process(iid, monkeypatch):
    score(BY_NAME["cytokine"], Pair(iid.truth(), iid.Y))
    before = gene_sets._cytokine_programmes.cache_info()
    score(BY_NAME["cytokine"], Pair(iid.truth(), iid.Y))
    after = gene_sets._cytokine_programmes.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 1)


def test_inputs_are_left_alone(iid):
    X, Y = iid.X.copy(), iid.Y.copy()
    for array in (X, Y):
        array.flags.writeable = False
    pair = Pair(Truth(X, iid.genes, cell_types=iid.labels), Y)
    for metric in BIOLOGICAL:
        assert not score(metric, pair).reason
    assert np.array_equal(X, iid.X)
    assert np.array_equal(Y, iid.Y)


def test_the_table_loads_nothing_heavy():
    code = (
        "import sys, reconeval.metrics.biological.table as _\n"
        "print([m for m in ('anndata', 'pandas', 'scanpy', 'scipy', 'sklearn', 'torch')"
        " if m in sys.modules])"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
