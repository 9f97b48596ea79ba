"""Every metric in a resample is the plain metric of the cells that the resample draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from reconeval.datasets import load_dataset, make_split
from reconeval.errors import Undefined
from reconeval.intervals import _linear
from reconeval.intervals._resampling import Drawn, deal, draw
from reconeval.intervals._scores import weight_below
from reconeval.intervals._table import BOOTSTRAP, CONDITIONAL, JACKKNIFE, LINEAR
from reconeval.metrics import METRICS, Pair, Truth
from reconeval.metrics._shared import bandwidth_gammas, decisions, projected
from reconeval.metrics.biological import cell_cycle
from reconeval.metrics.biological.co_expression import set_correlations
from reconeval.metrics.biological.contrast import contrast_types
from reconeval.metrics.biological.cytokines import score_correlation
from reconeval.metrics.biological.deg import shift_correlation
from reconeval.metrics.biological.pathways import mean_correlation
from reconeval.metrics.biological.table import activities, contrasts, phases, signatures
from reconeval.metrics.registry import score
from reconeval.metrics.thinning import poisson_deviance, thinned
from reconeval.metrics.transport import sinkhorn_divergence
from reconeval.metrics.two_sample import two_sample
from reconeval.runs import metric_names

CHECKED = 4  # resamples of each metric
ARRAYS = (
    "r2",
    "mse",
    "mae",
    "pearson_cell",
    "pearson_gene",
    "energy_distance",
    "mmd_rbf",
    "variance_log2_ratio",
    "zero_fraction_error",
)


@pytest.fixture(scope="module")
def pair():
    """Real cells, and what components of the training cells keep of them."""
    dataset = load_dataset("immune")
    split = make_split(dataset, "iid")
    test, train = split.test, dataset.X[split.train]
    pca = PCA(16, svd_solver="arpack", random_state=0).fit(train)
    truth = Truth(
        dataset.X[test],
        dataset.genes,
        train=train,
        counts=dataset.counts[test],
        library=dataset.library[test],
        cell_types=dataset.cell_types[test],
    )

    def predict(X):
        Y = pca.inverse_transform(pca.transform(X)).astype(np.float32)
        return np.where(Y > 0.1, Y, 0)  # some zeros, as of a model with a rectifier

    return Pair(truth, predict(truth.X), thinned_prediction=predict(thinned(truth).X))


@pytest.fixture(scope="module")
def drawn(pair):
    return draw(len(pair.truth.X), 200, over="cells", content="tests").of()


def rows_of(drawn, b):
    return np.repeat(np.arange(len(drawn.counts)), drawn.counts[:, b].astype(int))


def in_components(pair, rows):
    X, Y = (side[rows] for side in projected(pair))
    return two_sample(X, Y, gammas=bandwidth_gammas(pair.truth), exact=True)


def of_phases(function):
    return lambda pair, rows: function(*(side[rows] for side in phases(pair)))


def plain_poisson(pair, rows):
    parts = thinned(pair.truth)
    mu = parts.expected(pair.thinned_prediction)
    return poisson_deviance(parts.held_out[rows], mu[rows])


def plain_logfc(pair, rows):
    groups = contrasts(pair)[0].groups[:, rows]
    sides = (contrast_types(cells[rows], groups) for cells in (pair.truth.X, pair.prediction))
    return shift_correlation(*(side.shifts() for side in sides), method="pearson")


def plain_c2st(pair, rows):
    found = decisions(pair)
    n = len(pair.truth.X)
    cells = np.concatenate([rows, rows + n])
    aucs = []
    for fold in range(3):
        test = cells[found.folds[cells] == fold]
        aucs.append(roc_auc_score(found.predicted[test], found.values[test]))
    return np.mean(aucs)


def plain_cytokine(pair, rows):
    sides = zip(signatures(pair), (pair.truth.X, pair.prediction), strict=True)
    means = (masks.score(cells[rows].mean(axis=0, dtype=float)[None])[0] for masks, cells in sides)
    return score_correlation(*means)


PLAIN = {
    "energy_distance_pca": lambda pair, rows: in_components(pair, rows).energy(unbiased=True),
    "mmd_rbf_median": lambda pair, rows: in_components(pair, rows).mmd(unbiased=True),
    "poisson_deviance": plain_poisson,
    "deg_logfc_pearson": plain_logfc,
    "c2st_auc": plain_c2st,
    "cytokine": plain_cytokine,
    "pathway": lambda pair, rows: mean_correlation(*(side[rows] for side in activities(pair))),
    "cellcycle_proportion_same_phase": of_phases(cell_cycle.proportion_same_phase),
    "cellcycle_proportion_mean_diff": of_phases(cell_cycle.proportion_mean_diff),
    **{
        f"cellcycle_{phase}": of_phases(
            lambda true, predicted, phase=phase: cell_cycle.phase_recall(true, predicted, phase)
        )
        for phase in cell_cycle.PHASES
    },
}


def plain(name, pair, rows):
    if name in PLAIN:
        return PLAIN[name](pair, rows)
    return METRICS[name].compute(
        Pair(Truth(pair.truth.X[rows], pair.truth.genes), pair.prediction[rows])
    )


@pytest.mark.parametrize("name", [*BOOTSTRAP, *CONDITIONAL])
def test_a_resample_scores_as_its_cells_do(pair, drawn, name):
    values = {**BOOTSTRAP, **CONDITIONAL}[name](pair, drawn)
    assert values.shape == (200,)
    expected = [plain(name, pair, rows_of(drawn, b)) for b in range(CHECKED)]
    assert values[:CHECKED] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert np.ptp(expected) > 0


@pytest.mark.parametrize("name", [*BOOTSTRAP, *CONDITIONAL, "coexpression"])
def test_all_cells_once_give_the_score_itself(pair, drawn, name):
    once = drawn._replace(key="once", counts=np.ones((len(drawn.counts), 2), dtype=np.float32))
    value = score(METRICS[name], pair).value
    found = {**BOOTSTRAP, **CONDITIONAL, **LINEAR}[name](pair, once)
    assert found == pytest.approx([value, value], rel=1e-5, abs=1e-6)


def test_every_metric_of_cells_has_a_way_to_an_interval():
    names = [*BOOTSTRAP, *CONDITIONAL, *LINEAR, *JACKKNIFE]
    assert sorted(names) == sorted(metric_names("end_to_end"))


def odd_cells(seed, n, n_genes):
    """Sparse cells; of both sides some genes are constant, and some cells."""
    rng = np.random.default_rng(seed)
    X = rng.gamma(1.0, size=(n, n_genes)) * (rng.random((n, n_genes)) < rng.random(n_genes))
    Y = np.where(rng.random((n, n_genes)) < 0.3, 0, X + rng.normal(0, 0.5, (n, n_genes)))
    X[:, rng.integers(n_genes)] = rng.integers(2)
    Y[:, rng.integers(n_genes)] = rng.normal()
    X[rng.integers(n)] = 0
    Y[rng.integers(n)] = 1
    genes = [f"G{i}" for i in range(n_genes)]
    return Pair(Truth(X.astype(np.float32), genes), Y.astype(np.float32))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(12, 40), st.integers(2, 15))
def test_odd_cells_score_alike_too(seed, n, n_genes):
    pair = odd_cells(seed, n, n_genes)
    drawn = draw(n, 200, over="cells", content=str(seed)).of()
    for name in ARRAYS:
        values = BOOTSTRAP[name](pair, drawn)
        for b in range(3):
            try:
                expected = plain(name, pair, rows_of(drawn, b))
            except Undefined:
                expected = np.nan
            assert values[b] == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True), name


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=20),
)
def test_weights_below_are_ranks_of_the_copies(cells):
    from scipy.stats import rankdata

    values, counts = np.array(cells, dtype=float).T
    below = weight_below(values, counts[:, None])[:, 0]
    copies = np.repeat(np.arange(len(values)), counts.astype(int))
    if len(copies):
        assert below[copies] + 0.5 == pytest.approx(rankdata(values[copies]))


def test_a_vanished_phase_has_no_value(pair, drawn):
    true, _ = phases(pair)
    without = (true != "S").astype(np.float32)
    counts = np.stack([without, np.ones_like(without)], axis=1)
    values = CONDITIONAL["cellcycle_S"](pair, drawn._replace(key="without", counts=counts))
    assert np.isnan(values).tolist() == [True, False]


class TestFirstOrder:
    """What leaving a cell out changes is what its influence says."""

    def test_correlations(self):
        rng = np.random.default_rng(1)
        n, n_genes = 150, 8
        X = rng.poisson(1.5, (n, n_genes)) + 0.5 * rng.normal(size=(n, 1)) * (
            rng.random(n_genes) < 0.6
        )
        X = X.round(1).astype(np.float32)  # many ties
        sets = {"one": np.arange(5), "two": np.arange(3, 8)}
        slopes = {name: rng.normal(size=10) for name in sets}

        def total(cells):
            found = 0.0
            for name, columns in sets.items():
                r = spearmanr(cells[:, columns]).statistic
                found += slopes[name] @ r[np.triu_indices(5, k=1)]
            return found

        left_out = [total(np.delete(X, i, axis=0)) for i in range(n)]
        influence = _linear.correlation_influence(X, sets, slopes, set_correlations(X, sets))
        expected = (total(X) - np.array(left_out)) * (n - 1)
        assert np.corrcoef(influence, expected)[0, 1] > 0.999
        assert np.std(influence) == pytest.approx(np.std(expected), rel=0.03)

    def test_transport(self):
        rng = np.random.default_rng(2)
        n, some = 30, range(10)
        X = rng.gamma(1.0, size=(n, 10)).astype(np.float32)
        Y = (X + rng.normal(0, 0.6, X.shape)).astype(np.float32)
        pair = Pair(Truth(X, [f"G{i}" for i in range(10)]), Y)
        counts = np.stack([np.arange(n) != i for i in (*some, -1)], axis=1).astype(np.float32)
        *values, value = LINEAR["sinkhorn_divergence"](pair, Drawn("without", counts))
        left_out = [
            sinkhorn_divergence(np.delete(X, i, axis=0), np.delete(Y, i, axis=0)) for i in some
        ]
        assert value == pytest.approx(METRICS["sinkhorn_divergence"].compute(pair))
        assert np.corrcoef(values, left_out)[0, 1] > 0.99
        assert np.std(values) == pytest.approx(np.std(left_out), rel=0.1)


@pytest.mark.parametrize("name", JACKKNIFE)
def test_without_a_group_the_other_cells_are_scored(pair, name):
    X, types = pair.truth.X, pair.truth.cell_types
    dealt = deal(len(X), 10, labels=types, content="tests")
    values = JACKKNIFE[name](pair, dealt)
    assert values.shape == (10,)
    for number in (0, 7):
        kept = dealt != number
        truth = Truth(X[kept], pair.truth.genes, cell_types=types[kept])
        expected = METRICS[name].compute(Pair(truth, pair.prediction[kept]))
        assert values[number] == pytest.approx(expected)
