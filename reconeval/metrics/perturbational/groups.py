"""Each perturbational metric for one perturbation, from what truth and pair have prepared."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics._shared import between_in_genes
from reconeval.metrics.kernels import pair_sums
from reconeval.metrics.perturbational.discrimination import discrimination
from reconeval.metrics.perturbational.distance import distance_ratio
from reconeval.metrics.perturbational.neighbours import knn_purity
from reconeval.metrics.perturbational.recovery import (
    de_direction_match,
    de_lfc_spearman,
    de_overlap_at_k,
    de_pr_auc,
    de_precision_at_k,
)
from reconeval.metrics.perturbational.shifts import pearson_of_shifts
from reconeval.metrics.perturbational.weighted import weighted_mse, weighted_r2_delta_pert
from reconeval.metrics.registry import Score, require_finite
from reconeval.metrics.two_sample import two_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray, IntArray
    from reconeval.metrics.kernels import PairSums
    from reconeval.metrics.perturbational.pair import PerturbationPair
    from reconeval.metrics.perturbational.recovery import DETable
    from reconeval.metrics.perturbational.truth import Group

__all__ = ["per_perturbation"]

NEIGHBOURS = 20


def per_perturbation(name: str, pair: PerturbationPair) -> dict[Group, Score]:
    """Return a metric's value for each perturbation of each covariate.

    Parameters
    ----------
    name
        A metric of `PERTURBATIONAL`.
    pair
        Truth and prediction.

    Returns
    -------
    For each group its value, or NaN with the reason. Whether there is a value depends on the
    truth alone, so that all models are averaged over the same perturbations.
    """

    def build() -> dict[Group, Score]:
        scores = {}
        for group in pair.perturbation_truth.groups:
            try:
                scores[group] = Score(_PER_GROUP[name](pair, group))
            except Undefined as reason:
                scores[group] = Score(math.nan, str(reason))
        return scores

    return pair.cached(("per_perturbation", name), build)


def _knn_purity(pair: PerturbationPair, group: Group, *, k: int) -> float:
    truth = pair.perturbation_truth
    rows, predicted = truth.rows(group), pair.rows(group)
    controls = truth.control_rows(group.covariate)
    embedding = pair.embedding
    if truth.embedding is None or truth.reference_embedding is None or embedding is None:
        known = between_in_genes(pair)[1] if len(truth.groups) == 1 else None
        return knn_purity(
            _rows(truth.X, rows),
            _rows(pair.prediction, predicted),
            _rows(truth.controls, controls),
            k=k,
            known=known,
            device=truth.device,
        )
    pair.cached("finite embedding", lambda: require_finite(embedding, "the embedding"))
    return knn_purity(
        truth.embedding[rows],
        embedding[predicted],
        truth.reference_embedding[controls],
        k=k,
        device=truth.device,
    )


def _rows(matrix: FloatArray, rows: IntArray) -> FloatArray:
    """Return some rows, without a copy where they are all."""
    return matrix if len(rows) == len(matrix) else matrix[rows]


def _shifts(pair: PerturbationPair, group: Group) -> tuple[FloatArray, FloatArray]:
    """Return the true and the predicted shift, each against its half of the controls."""
    truth = pair.perturbation_truth
    return (
        truth.mean(group) - truth.control_mean(group.covariate, 0),
        pair.mean(group) - truth.control_mean(group.covariate, 1),
    )


def _pearson_delta(pair: PerturbationPair, group: Group) -> float:
    return pearson_of_shifts(*_shifts(pair, group))


def _pearson_delta_pert(pair: PerturbationPair, group: Group) -> float:
    truth = pair.perturbation_truth
    background = truth.background(group)
    return pearson_of_shifts(truth.mean(group) - background, pair.mean(group) - background)


def _weighted_r2_delta_pert(pair: PerturbationPair, group: Group) -> float:
    truth = pair.perturbation_truth
    return weighted_r2_delta_pert(
        truth.mean(group)[None],
        pair.mean(group)[None],
        truth.background(group),
        truth.weights(group),
    )


def _weighted_mse(pair: PerturbationPair, group: Group) -> float:
    truth = pair.perturbation_truth
    return weighted_mse(truth.mean(group)[None], pair.mean(group)[None], truth.weights(group))


def _discrimination(
    pair: PerturbationPair, group: Group, *, distance: Literal["l1", "l2", "cosine"]
) -> float:
    truth = pair.perturbation_truth

    def build() -> dict[Group, float]:
        # l1 and l2 see the same differences between profiles as between shifts, without the
        # noise of the controls; the cosine needs the origin.
        if distance == "cosine":
            effects = [_shifts(pair, one) for one in truth.groups]
        else:
            effects = [(truth.mean(one), pair.mean(one)) for one in truth.groups]
        column = {gene: j for j, gene in enumerate(truth.genes)}
        true, predicted = (np.array(side) for side in zip(*effects, strict=True))
        scores = discrimination(
            true,
            predicted,
            distance,
            targets=[column.get(truth.targets.get(one.perturbation, "")) for one in truth.groups],
            covariates=np.array([one.covariate for one in truth.groups]),
        )
        return dict(zip(truth.groups, scores.tolist(), strict=True))

    value = pair.cached(("discrimination", distance), build)[group]
    if math.isnan(value):
        msg = "the only perturbation there is, so there is none to tell it from"
        raise Undefined(msg)
    return value


def _de(
    pair: PerturbationPair, group: Group, *, compute: Callable[[DETable, DETable], float]
) -> float:
    return compute(pair.perturbation_truth.de_table(group), pair.de_table(group))


def _relative_distance(pair: PerturbationPair, group: Group) -> float:
    truth = pair.perturbation_truth
    fewest = min(len(pair.rows(one)) for one in truth.groups)
    if fewest < 2:
        # for all of them: what is averaged must not depend on the model
        msg = "needs at least 2 predicted cells of every perturbation"
        raise Undefined(msg)
    X = truth.X[truth.rows(group)]

    def within(exact: bool) -> PairSums:  # noqa: FBT001  (the signature that two_sample calls)
        return truth.cached(
            ("pair_sums", group, exact), lambda: pair_sums(X, exact=exact, device=truth.device)
        )

    controls = truth.controls[truth.control_rows(group.covariate)]
    nothing = truth.cached(
        ("control_distance", group),
        lambda: two_sample(X, controls, truth=within, device=truth.device).energy(unbiased=True),
    )
    predicted = two_sample(X, pair.prediction[pair.rows(group)], truth=within, device=truth.device)
    return distance_ratio(predicted.energy(unbiased=True), nothing)


_PER_GROUP: dict[str, Callable[[PerturbationPair, Group], float]] = {
    "knn_purity": partial(_knn_purity, k=NEIGHBOURS),
    "knn_purity_k10": partial(_knn_purity, k=10),
    "knn_purity_k50": partial(_knn_purity, k=50),
    "pearson_delta": _pearson_delta,
    "pearson_delta_pert": _pearson_delta_pert,
    "weighted_r2_delta_pert": _weighted_r2_delta_pert,
    "weighted_mse": _weighted_mse,
    "discrimination_l1": partial(_discrimination, distance="l1"),
    "discrimination_l2": partial(_discrimination, distance="l2"),
    "discrimination_cosine": partial(_discrimination, distance="cosine"),
    "de_overlap_at_100": partial(_de, compute=de_overlap_at_k),
    "de_precision_at_100": partial(_de, compute=de_precision_at_k),
    "de_direction_match": partial(_de, compute=de_direction_match),
    "de_lfc_spearman": partial(_de, compute=de_lfc_spearman),
    "de_pr_auc": partial(_de, compute=de_pr_auc),
    "relative_distance": _relative_distance,
}
