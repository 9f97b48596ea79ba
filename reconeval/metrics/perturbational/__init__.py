"""Metrics of perturbation effects: pure functions, their table, and the published names."""

from __future__ import annotations

from reconeval.metrics.perturbational.discrimination import (
    discrimination,
    discrimination_cosine,
    discrimination_l1,
    discrimination_l2,
)
from reconeval.metrics.perturbational.distance import relative_distance
from reconeval.metrics.perturbational.expression import de_table
from reconeval.metrics.perturbational.groups import per_perturbation
from reconeval.metrics.perturbational.neighbours import knn_purity
from reconeval.metrics.perturbational.pair import PerturbationPair
from reconeval.metrics.perturbational.recovery import (
    DETable,
    de_direction_match,
    de_lfc_spearman,
    de_overlap_at_k,
    de_pr_auc,
    de_precision_at_k,
    n_significant,
)
from reconeval.metrics.perturbational.shifts import (
    control_halves,
    pearson_delta,
    pearson_delta_pert,
)
from reconeval.metrics.perturbational.table import PERTURBATIONAL
from reconeval.metrics.perturbational.truth import Group, PerturbationTruth
from reconeval.metrics.perturbational.weighted import (
    response_weights,
    weighted_mse,
    weighted_r2_delta_pert,
)

__all__ = [
    "PERTURBATIONAL",
    "DETable",
    "Group",
    "PerturbationPair",
    "PerturbationTruth",
    "control_halves",
    "de_direction_match",
    "de_lfc_spearman",
    "de_overlap_at_k",
    "de_pr_auc",
    "de_precision_at_k",
    "de_table",
    "discrimination",
    "discrimination_cosine",
    "discrimination_l1",
    "discrimination_l2",
    "knn_purity",
    "n_significant",
    "pearson_delta",
    "pearson_delta_pert",
    "per_perturbation",
    "relative_distance",
    "response_weights",
    "weighted_mse",
    "weighted_r2_delta_pert",
]
