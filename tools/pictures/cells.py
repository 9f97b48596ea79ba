"""Views of reconstructed cells: what each statistical and biological metric looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist
from scipy.stats import rankdata
from svg import AXIS, BLUE, GREY, ORANGE, Bars, Layer, Line, Points
from views import View

from reconeval.datasets import load_dataset, make_split
from reconeval.metrics import Pair, Truth
from reconeval.metrics._shared import bandwidth_gammas, decisions, projected
from reconeval.metrics.biological.cell_cycle import phase_proportions, phase_recall
from reconeval.metrics.biological.cytokines import signature_scores
from reconeval.metrics.biological.table import (
    activities,
    contrasts,
    correlations,
    phases,
)
from reconeval.metrics.thinning import thinned
from reconeval.models import ReconPCA

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["VIEWS", "predictions"]

_RNG = 0
_PHASES = ("G1", "S", "G2M")


def predictions() -> dict[str, Pair]:
    """Return a good, a half-good and a collapsed reconstruction of the test cells of `immune`.

    The good one is a reconstruction by 32 principal components of the training cells, the
    collapsed one their mean for every cell, the half-good one the middle of the two.
    """
    dataset = load_dataset("immune")
    split = make_split(dataset, "iid")
    train, test = dataset.X[split.train], split.test
    truth = Truth(
        dataset.X[test],
        dataset.genes,
        train=train,
        counts=dataset.counts[test],
        library=dataset.library[test],
        cell_types=dataset.cell_types[test],
    )
    model = ReconPCA(n_components=32)
    model.train(train)
    mean = train.mean(axis=0)
    thin = thinned(truth).X
    whole, part = model.predict(truth.X) - mean, model.predict(thin) - mean
    return {
        name: Pair(truth, mean + share * whole, thinned_prediction=mean + share * part)
        for name, share in {"good": 1.0, "half": 0.5, "collapsed": 0.0}.items()
    }


def _some(n: int, k: int) -> NDArray[np.int64]:
    return np.random.default_rng(_RNG).permutation(n)[:k]


def _diagonal(*values: NDArray[np.float64]) -> Line:
    low, high = min(map(np.min, values)), max(map(np.max, values))
    return Line([low, high], [low, high], AXIS, 1)


def _against(
    of: Callable[[Pair], tuple[NDArray[np.float64], NDArray[np.float64]]], k: int = 300
) -> Callable[[Pair], list[Layer]]:
    """Return a view of truth (x) against prediction (y) of some quantity."""

    def layers(pair: Pair) -> list[Layer]:
        x, y = map(np.ravel, of(pair))
        chosen = _some(len(x), k)
        return [_diagonal(x[chosen]), Points(x[chosen], y[chosen])]

    return layers


def _histogram(values: NDArray[np.float64], edges: NDArray[np.float64], color: str) -> Line:
    heights = np.histogram(values, edges, density=True)[0]
    return Line(np.repeat(edges, 2)[1:-1], np.repeat(heights, 2), color, 1.6)


def _absolute_errors(pair: Pair) -> list[Layer]:
    errors = np.abs(pair.truth.X - pair.prediction)
    edges = np.linspace(0, 3, 31)
    return [_histogram(errors[errors <= 3], edges, BLUE)]


def _one_cell(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cell = int(np.argsort((pair.truth.X > 0).sum(axis=1))[len(pair.truth.X) // 2])
    return pair.truth.X[cell], pair.prediction[cell]


def _one_gene(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    gene = pair.truth.genes.index("LYZ")
    return pair.truth.X[:, gene], pair.prediction[:, gene]


def _distances(pair: Pair) -> list[Layer]:
    X, Y = pair.truth.X, pair.prediction
    between, measured, predicted = cdist(X, Y).ravel(), pdist(X), pdist(Y)
    edges = np.linspace(0, np.quantile(measured, 0.999), 41)
    return [
        _histogram(one[one <= edges[-1]], edges, color)
        for one, color in ((measured, GREY), (predicted, BLUE), (between, ORANGE))
    ]


def _clouds(pair: Pair) -> list[Layer]:
    X, Y = projected(pair)
    one_place = np.ptp(Y[:, 0]) < 1e-3
    return [Points(X[:, 0], X[:, 1], GREY), Points(Y[:, 0], Y[:, 1], BLUE, 8 if one_place else 3)]


def _kernel(gammas: Callable[[Truth], tuple[float, ...]]) -> Callable[[Pair], list[Layer]]:
    """Return a view of distances in the kernel's space, and of the kernel itself."""

    def layers(pair: Pair) -> list[Layer]:
        inside = gammas(pair.truth)
        X, Y = (pair.truth.X, pair.prediction) if inside == (1.0,) else projected(pair)
        between, measured, predicted = cdist(X, Y).ravel(), pdist(X), pdist(Y)
        edges = np.linspace(0, np.quantile(measured, 0.99), 41)
        kernel = np.mean([np.exp(-gamma * edges**2) for gamma in inside], axis=0)
        found = []
        for one, color in ((measured, GREY), (predicted, BLUE), (between, ORANGE)):
            heights = np.histogram(one, edges)[0] / len(one)
            steps = np.repeat(heights / 0.5, 2)
            found.append(Line(np.repeat(edges, 2)[1:-1], np.minimum(steps, 1), color, 1.6))
        return [Line(edges, kernel, AXIS, 2.5), *found]

    return layers


def _transport(pair: Pair) -> list[Layer]:
    chosen = _some(len(pair.truth.X), 60)
    X, Y = (side[chosen] for side in projected(pair))
    rows, columns = linear_sum_assignment(cdist(X, Y))
    moves = [
        Line([X[i, 0], Y[j, 0]], [X[i, 1], Y[j, 1]], ORANGE, 0.8)
        for i, j in zip(rows, columns, strict=True)
    ]
    return [*moves, Points(X[:, 0], X[:, 1], GREY, 4), Points(Y[:, 0], Y[:, 1], BLUE, 4)]


def _decision_values(pair: Pair) -> list[Layer]:
    found = decisions(pair)
    ranks = rankdata(found.values) / len(found.values)
    edges = np.linspace(0, 1, 16)
    return [
        _histogram(ranks[~found.predicted], edges, GREY),
        _histogram(ranks[found.predicted], edges, BLUE),
    ]


def _log_variances(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x = pair.truth.X.var(axis=0, dtype=np.float64)
    y = pair.prediction.var(axis=0, dtype=np.float64)
    upper = (x > 0) & (x >= np.median(x))
    return np.log2(x[upper]), np.log2(y[upper] + 1e-6 * x[upper])


def _zeros(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (pair.truth.X == 0).mean(axis=0), (pair.prediction == 0).mean(axis=0)


def _held_out(pair: Pair) -> list[Layer]:
    parts = thinned(pair.truth)
    expected = np.ravel(parts.expected(pair.thinned_prediction))
    counts = np.ravel(parts.held_out)
    kept = expected > 1e-3
    expected, counts = expected[kept], counts[kept]
    bins = np.array_split(np.argsort(expected), 25)
    x = np.log10([expected[one].mean() for one in bins])
    y = np.log10([max(counts[one].mean(), 1e-4) for one in bins])
    return [_diagonal(x), Points(x, y, BLUE, 5)]


def _confusion(pair: Pair) -> list[Layer]:
    true, predicted = phases(pair)
    return [
        Points(
            [i],
            [j],
            BLUE if i == j else ORANGE,
            3 + 28 * np.sqrt(np.mean((true == a) & (predicted == b))),
        )
        for i, a in enumerate(_PHASES)
        for j, b in enumerate(_PHASES)
    ]


def _recalls(pair: Pair) -> list[Layer]:
    true, predicted = phases(pair)
    heights = [phase_recall(true, predicted, phase) for phase in _PHASES]
    return [Bars(range(3), [1, 1, 1], GREY, 0.7), Bars(range(3), heights, BLUE, 0.5)]


def _proportions(pair: Pair) -> list[Layer]:
    true, predicted = map(phase_proportions, phases(pair))
    places = np.arange(3)
    return [
        Bars(places - 0.2, [true[phase] for phase in _PHASES], GREY, 0.36),
        Bars(places + 0.2, [predicted[phase] for phase in _PHASES], BLUE, 0.36),
    ]


def _pair_correlations(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, predicted = correlations(pair)
    name = max(true, key=lambda one: len(true[one]))
    columns = np.triu_indices(len(true[name]), 1) if true[name].ndim == 2 else slice(None)
    return np.nan_to_num(true[name][columns]), np.nan_to_num(predicted[name][columns])


def _one_pathway(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, predicted = activities(pair)
    column = int(np.argmax(true.std(axis=0)))
    return true[:, column], predicted[:, column]


def _top_genes(pair: Pair) -> list[Layer]:
    true, predicted = (one.log2_fold_changes()[0] for one in contrasts(pair))
    x, y = np.abs(true), np.abs(predicted)
    tops = [set(np.argsort(-one, kind="stable")[:100]) for one in (x, y)]
    both, one = sorted(tops[0] & tops[1]), sorted(tops[0] ^ tops[1])
    others = _some(len(x), 300)
    return [
        Points(np.minimum(x[index], 12), np.minimum(y[index], 12), color, size)
        for index, color, size in ((others, GREY, 2.5), (one, ORANGE, 3.5), (both, BLUE, 4))
    ]


def _shifts(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, predicted = contrasts(pair)
    return true.shifts()[0], predicted.shifts()[0]


def _shift_ranks(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, predicted = map(rankdata, _shifts(pair))
    return true, predicted


def _programmes(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from reconeval.metrics.biological._genes import columns_of_sets, gene_columns

    truth = pair.truth
    columns = gene_columns(truth.genes, truth.X.shape[1])
    sets = list(columns_of_sets(truth.gene_sets.signatures(), columns).values())
    return signature_scores(truth.X, sets), signature_scores(pair.prediction, sets)


def _means(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return pair.truth.X.mean(axis=0), pair.prediction.mean(axis=0)


_TRUE, _PREDICTED = "measured", "predicted"
_PHASE_TICKS = [(float(place), phase) for place, phase in enumerate(_PHASES)]
_DISTANCE = ("distance of two cells", "share of pairs")
_COMPONENTS = ("component 1", "component 2")

VIEWS: dict[str, View] = {
    "r2": View(_against(_means), ("mean of a gene, measured", "predicted")),
    "mse": View(_against(lambda pair: (pair.truth.X, pair.prediction)), (_TRUE, _PREDICTED)),
    "mae": View(_absolute_errors, ("absolute error of a value", "share of values")),
    "pearson_cell": View(_against(_one_cell, 600), ("genes of one cell, measured", _PREDICTED)),
    "pearson_gene": View(_against(_one_gene), ("LYZ over cells, measured", _PREDICTED)),
    "energy_distance": View(_distances, _DISTANCE),
    "energy_distance_pca": View(_clouds, _COMPONENTS),
    "mmd_rbf": View(_kernel(lambda _: (1.0,)), ("distance of two cells", "kernel, pairs")),
    "mmd_rbf_median": View(_kernel(bandwidth_gammas), ("distance in components", "kernel, pairs")),
    "sinkhorn_divergence": View(_transport, _COMPONENTS),
    "c2st_auc": View(_decision_values, ("classifier's rank of a cell", "share of cells")),
    "variance_log2_ratio": View(_against(_log_variances), ("log2 variance, measured", _PREDICTED)),
    "zero_fraction_error": View(_against(_zeros), ("zeros of a gene, measured", _PREDICTED)),
    "poisson_deviance": View(_held_out, ("log10 count expected", "log10 count held out")),
    "cellcycle_proportion_same_phase": View(
        _confusion, (_TRUE, _PREDICTED), {"x": _PHASE_TICKS, "y": _PHASE_TICKS}
    ),
    "cellcycle_S": View(_recalls, ("phase", "share found again"), {"x": _PHASE_TICKS}),
    "cellcycle_proportion_mean_diff": View(
        _proportions, ("phase", "share of cells"), {"x": _PHASE_TICKS}
    ),
    "coexpression": View(_against(_pair_correlations), ("correlation of two genes", _PREDICTED)),
    "pathway": View(_against(_one_pathway), ("activity of a cell, measured", _PREDICTED)),
    "deg_dice_at_100": View(_top_genes, ("|log2 fold change|, measured", _PREDICTED)),
    "deg_logfc_spearman": View(_against(_shift_ranks), ("rank of a gene's shift", _PREDICTED)),
    "deg_logfc_pearson": View(_against(_shifts), ("shift of a gene, measured", _PREDICTED)),
    "cytokine": View(_against(_programmes), ("score of a programme", _PREDICTED)),
}
