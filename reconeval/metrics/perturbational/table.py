"""The perturbational metrics as entries of the table of metrics."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics.perturbational.groups import per_perturbation
from reconeval.metrics.perturbational.pair import PerturbationPair
from reconeval.metrics.perturbational.recovery import n_significant
from reconeval.metrics.registry import Metric, require_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reconeval.metrics.pair import Pair
    from reconeval.metrics.perturbational.recovery import DETable
    from reconeval.metrics.perturbational.truth import Group

__all__ = ["COUNTS", "PERTURBATIONAL", "significant_genes"]

COUNTS = ("de_n_significant_true", "de_n_significant_pred")
"""What stands beside the metrics that start with `de_`; no scores, for neither way is better."""

_RECON = "doi:10.64898/2026.06.15.731445"
_CHALLENGE = "doi:10.1016/j.cell.2025.06.008"
_WEIGHTED = "doi:10.48550/arXiv.2506.22641"


def _average(name: str, pair: Pair) -> float:
    """Mean over the perturbations that have a value; undefined where none has."""
    if not isinstance(pair, PerturbationPair):
        msg = "the prediction has no perturbation labels; make it a PerturbationPair"
        raise Undefined(msg)
    scores = per_perturbation(name, pair)
    values = [score.value for score in scores.values() if not score.reason]
    if not values:
        group, score = next(iter(scores.items()))
        others = f" (and {len(scores) - 1} more without a value)" if len(scores) > 1 else ""
        where = f"{group}: " if str(group) else ""
        msg = f"{where}{score.reason}{others}"
        raise Undefined(msg)
    return float(np.mean(values))


def significant_genes(pair: Pair, names: Iterable[str]) -> dict[str, float]:
    """Count the significant genes of both sides, for metrics that are read beside them.

    Parameters
    ----------
    pair
        Truth and prediction.
    names
        The metrics.

    Returns
    -------
    By the names of `COUNTS` the mean number over the perturbations that could be tested, NaN
    where none could; nothing where no metric starts with `de_`.
    """
    wanted = any(name.startswith("de_") for name in names)
    if not wanted or not isinstance(pair, PerturbationPair):
        return {}
    truth = pair.perturbation_truth
    try:
        require_finite(pair.prediction)
        predicted = _mean_n_significant(pair.de_table, truth.groups)
    except Undefined:  # the metrics beside these numbers have told why
        predicted = math.nan
    values = (_mean_n_significant(truth.de_table, truth.groups), predicted)
    return dict(zip(COUNTS, values, strict=True))


def _mean_n_significant(tables: Callable[[Group], DETable], groups: Sequence[Group]) -> float:
    numbers = []
    for group in groups:
        with suppress(Undefined):  # likewise
            numbers.append(n_significant(tables(group)))
    return float(np.mean(numbers)) if numbers else math.nan


def _metric(
    name: str,
    summary: str,
    source: str,
    *,
    best: float = 1.0,
    range: tuple[float, float] = (0.0, 1.0),  # noqa: A002  (the field's name)
    unit: str = "",
    needs: tuple[str, ...] = (),
) -> Metric:
    return Metric(
        name=name,
        family="perturbational",
        higher_is_better=best == 1.0,
        best=best,
        range=range,
        unit=unit,
        paired=False,
        needs=frozenset({"perturbations", "reference", *needs}),
        source=source,
        summary=summary,
        compute=partial(_average, name),
    )


PERTURBATIONAL: tuple[Metric, ...] = (
    _metric("knn_purity", "perturbed cells among the 20 nearest measured ones", _RECON),
    _metric("knn_purity_k10", "perturbed cells among the 10 nearest measured ones", _RECON),
    _metric("knn_purity_k50", "perturbed cells among the 50 nearest measured ones", _RECON),
    _metric(
        "pearson_delta",
        "Pearson over genes of the mean shift against control",
        "doi:10.1038/s41592-025-02772-6",
        range=(-1.0, 1.0),
    ),
    _metric(
        "pearson_delta_pert",
        "Pearson over genes of the mean shift against other perturbations",
        "doi:10.1038/s41587-025-02777-8",
        range=(-1.0, 1.0),
        needs=("train", "train_perturbations"),
    ),
    _metric(
        "weighted_r2_delta_pert",
        "R2 of the mean shift against other perturbations, genes weighted by response",
        _WEIGHTED,
        range=(-math.inf, 1.0),
        needs=("train", "train_perturbations"),
    ),
    _metric(
        "weighted_mse",
        "squared error of the mean profile, genes weighted by response",
        _WEIGHTED,
        best=0.0,
        range=(0.0, math.inf),
        unit="(log1p CP10k)²",
    ),
    _metric("discrimination_l1", "rank of the true perturbation, l1 distance", _CHALLENGE),
    _metric(
        "discrimination_l2",
        "rank of the true perturbation, Euclidean distance",
        "doi:10.48550/arXiv.2408.10609",
    ),
    _metric(
        "discrimination_cosine",
        "rank of the true perturbation, cosine of the shifts",
        "doi:10.48550/arXiv.2408.10609",
    ),
    _metric("de_overlap_at_100", "common genes of the two top 100 lists", _CHALLENGE),
    _metric("de_precision_at_100", "significant genes in the predicted top 100", _CHALLENGE),
    _metric("de_direction_match", "significant genes predicted to change the same way", _CHALLENGE),
    _metric(
        "de_lfc_spearman",
        "Spearman of the fold changes of significant genes",
        _CHALLENGE,
        range=(-1.0, 1.0),
    ),
    _metric(
        "de_pr_auc", "average precision in finding significant genes", "doi:10.1145/1143844.1143874"
    ),
    _metric(
        "relative_distance",
        "energy distance to the truth over that of the controls",
        "doi:10.1016/j.jspi.2013.03.018",
        best=0.0,
        range=(-math.inf, math.inf),
    ),
)
