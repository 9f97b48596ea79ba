"""Views of predicted perturbations: what each perturbational metric looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import precision_recall_curve
from svg import AXIS, BLUE, GREY, ORANGE, Bars, Layer, Line, Points
from views import View

from reconeval.metrics.components import fit_components
from reconeval.metrics.perturbational import PerturbationPair, PerturbationTruth

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["VIEWS", "predictions"]

_CELLS, _GENES, _PERTURBATIONS = 40, 300, 8


def predictions() -> dict[str, PerturbationPair]:
    """Return a good, a half-good and a collapsed prediction of simulated perturbed cells.

    Counts of 8 perturbations with a common and a sparse specific effect each, and of 8 others to
    train on. The good prediction is new cells of the true law, the half-good one cells with half
    of the specific effect, the collapsed one the mean of the training cells for every cell.
    """
    rng = np.random.default_rng(3)
    base = rng.lognormal(-0.5, 1.2, _GENES)
    common = np.where(rng.random(_GENES) < 0.1, rng.normal(0.8, 0.3, _GENES), 0)
    shape = (2 * _PERTURBATIONS, _GENES)
    own = np.where(rng.random(shape) < 0.06, rng.normal(0, 1.5, shape), 0)

    def cells(effect: NDArray[np.float64], n: int = _CELLS) -> NDArray[np.float32]:
        rate = base * np.exp(effect)
        counts = rng.poisson(rng.gamma(3, rate / 3, (n, _GENES)))
        return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e3).astype(np.float32)

    def all_cells(share: float, of: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.concatenate([cells(common + share * effect) for effect in of])

    labels = np.repeat([f"p{number}" for number in range(_PERTURBATIONS)], _CELLS)
    train = all_cells(1.0, own[_PERTURBATIONS:])
    tested = own[:_PERTURBATIONS]
    truth = PerturbationTruth(
        all_cells(1.0, tested),
        [f"g{gene}" for gene in range(_GENES)],
        perturbations=labels,
        reference=cells(np.zeros(_GENES), 160),
        train=train,
        train_perturbations=np.char.replace(labels, "p", "q"),
        control=None,
    )
    made = {
        "good": all_cells(1.0, tested),
        "half": all_cells(0.5, tested),
        "collapsed": np.tile(train.mean(axis=0), (len(labels), 1)),
    }
    return {name: PerturbationPair(truth, made[name], perturbations=labels) for name in made}


def _first(pair: PerturbationPair) -> tuple[PerturbationTruth, object]:
    truth = pair.truth
    return truth, truth.groups[0]


def _line(*values: NDArray[np.float64]) -> Line:
    low, high = min(map(np.min, values)), max(map(np.max, values))
    return Line([low, high], [low, high], AXIS, 1)


def _clouds(pair: PerturbationPair) -> list[Layer]:
    truth, group = _first(pair)
    controls = truth.reference
    measured, predicted = truth.X[truth.rows(group)], pair.prediction[pair.rows(group)]
    one_place = np.ptp(predicted[:, 0]) < 1e-3
    components = fit_components(np.concatenate([controls, measured]), n_components=2)
    return [
        Points(*components.project(cells).T[:2], color, size)
        for cells, color, size in (
            (controls, GREY, 3),
            (measured, ORANGE, 4),
            (predicted, BLUE, 8 if one_place else 5),
        )
    ]


def _shifts(pair: PerturbationPair) -> list[Layer]:
    truth, group = _first(pair)
    x = truth.mean(group) - truth.control_mean(group.covariate, 0)
    y = pair.mean(group) - truth.control_mean(group.covariate, 1)
    return [_line(x), Points(x, y)]


def _own_shifts(pair: PerturbationPair) -> list[Layer]:
    truth, group = _first(pair)
    x, y = (one.mean(group) - truth.background(group) for one in (truth, pair))
    return [_line(x), Points(x, y)]


def _sizes(truth: PerturbationTruth, group: object) -> NDArray[np.float64]:
    weights = truth.weights(group)
    return np.round(1 + 11 * np.sqrt(weights / weights.max()))


def _weighted_shifts(pair: PerturbationPair) -> list[Layer]:
    truth, group = _first(pair)
    x, y = (one.mean(group) - truth.background(group) for one in (truth, pair))
    return [_line(x), Points(x, y, BLUE, _sizes(truth, group))]


def _weighted_means(pair: PerturbationPair) -> list[Layer]:
    truth, group = _first(pair)
    x, y = truth.mean(group), pair.mean(group)
    return [_line(x), Points(x, y, BLUE, _sizes(truth, group))]


def _distances(kind: str) -> Callable[[PerturbationPair], list[Layer]]:
    """Return a view of the distances of one predicted profile to all true ones."""

    def layers(pair: PerturbationPair) -> list[Layer]:
        truth = pair.truth
        covariate = truth.groups[0].covariate
        true = np.array([truth.mean(group) for group in truth.groups])
        predicted = pair.mean(truth.groups[0])
        if kind == "l1":
            far = np.abs(true - predicted).sum(axis=1)
        elif kind == "l2":
            far = np.sqrt(np.square(true - predicted).sum(axis=1))
        else:
            a = true - truth.control_mean(covariate, 0)
            b = predicted - truth.control_mean(covariate, 1)
            far = 1 - a @ b / np.linalg.norm(a, axis=1) / np.linalg.norm(b)
        order = np.argsort(far)
        place = int(np.flatnonzero(order == 0)[0])
        others = np.delete(np.arange(len(far)), place)
        return [
            Bars(others, far[order][others], GREY, 0.7),
            Bars([place], [far[0]], ORANGE, 0.7),
        ]

    return layers


def _statistics(pair: PerturbationPair) -> list[Layer]:
    truth, group = _first(pair)
    true, predicted = truth.de_table(group), pair.de_table(group)
    x, y = np.abs(true.statistic), np.abs(predicted.statistic)
    found = true.p_adjusted <= 0.05
    top = rankdata(-y, method="ordinal") <= found.sum()
    return [
        Points(x[one], y[one], color, size)
        for one, color, size in (
            (~found, GREY, 3),
            (found & ~top, ORANGE, 4.5),
            (found & top, BLUE, 4.5),
        )
        if one.any()
    ]


def _directions(pair: PerturbationPair) -> list[Layer]:
    truth, group = _first(pair)
    table = truth.de_table(group)
    found = np.flatnonzero(table.p_adjusted <= 0.05)
    found = found[np.argsort(table.log2_fold_change[found])]
    true = table.log2_fold_change[found]
    predicted = pair.de_table(group).log2_fold_change[found]
    places, right = np.arange(len(found)), np.sign(predicted) == np.sign(true)
    return [
        Line([0, len(found) - 1], [0, 0], AXIS, 1),
        Points(places, true, GREY, 4),
        *(
            Points(places[one], predicted[one], color, 4)
            for one, color in ((right, BLUE), (~right, ORANGE))
            if one.any()
        ),
    ]


def _fold_changes(pair: PerturbationPair) -> list[Layer]:
    truth, group = _first(pair)
    true, predicted = truth.de_table(group), pair.de_table(group)
    found = true.p_adjusted <= 0.05
    x = true.log2_fold_change[found]
    return [_line(x), Points(x, predicted.log2_fold_change[found], BLUE, 4.5)]


def _recall_curve(pair: PerturbationPair) -> list[Layer]:
    truth, group = _first(pair)
    found = truth.de_table(group).p_adjusted <= 0.05
    values = np.abs(pair.de_table(group).statistic)
    precision, recall, _ = precision_recall_curve(found, values)
    return [
        Line([0, 1], [found.mean()] * 2, AXIS, 1),
        Line(recall[::-1], precision[::-1], BLUE, 2),
    ]


_SHIFT = ("shift of a gene, measured", "predicted")
_OWN = ("shift against others, measured", "predicted")
_STATISTIC = ("|statistic| of a gene, measured", "predicted")
_RANKED = ("true perturbations, nearest first", "distance")
_PLACES = {"x": [(0.0, "1"), (_PERTURBATIONS - 1.0, str(_PERTURBATIONS))]}

VIEWS: dict[str, View] = {
    "knn_purity": View(_clouds, ("component 1", "component 2")),
    "pearson_delta": View(_shifts, _SHIFT),
    "pearson_delta_pert": View(_own_shifts, _OWN),
    "weighted_r2_delta_pert": View(_weighted_shifts, _OWN),
    "weighted_mse": View(_weighted_means, ("mean of a gene, measured", "predicted")),
    "discrimination_l1": View(_distances("l1"), _RANKED, _PLACES),
    "discrimination_l2": View(_distances("l2"), _RANKED, _PLACES),
    "discrimination_cosine": View(_distances("cosine"), _RANKED, _PLACES),
    "de_overlap_at_100": View(_statistics, _STATISTIC),
    "de_precision_at_100": View(_statistics, _STATISTIC),
    "de_direction_match": View(_directions, ("significant genes in order", "log2 fold change")),
    "de_lfc_spearman": View(_fold_changes, ("log2 fold change, measured", "predicted")),
    "de_pr_auc": View(_recall_curve, ("recall", "precision")),
    "relative_distance": View(_clouds, ("component 1", "component 2")),
}
