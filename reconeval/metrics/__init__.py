"""Metrics: pure functions, their table, and the published names on AnnData pairs.

Importing this fills the table and loads NumPy alone; the rest comes with the first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from reconeval.metrics import _statistical_table  # noqa: F401  (fills the table)
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.registry import METRICS, Metric, Score, get_metric, register, score

if TYPE_CHECKING:
    from reconeval.metrics.alignment import Aligned as Aligned
    from reconeval.metrics.alignment import aligned_matrix as aligned_matrix
    from reconeval.metrics.alignment import aligned_pair as aligned_pair
    from reconeval.metrics.anndata_api import (
        compute_statistical_metrics as compute_statistical_metrics,
    )
    from reconeval.metrics.anndata_api import metric_energy_distance as metric_energy_distance
    from reconeval.metrics.anndata_api import metric_mse as metric_mse
    from reconeval.metrics.anndata_api import metric_r2 as metric_r2
    from reconeval.metrics.classifier import c2st_auc as c2st_auc
    from reconeval.metrics.correlation import pearson_cell as pearson_cell
    from reconeval.metrics.correlation import pearson_gene as pearson_gene
    from reconeval.metrics.distances import energy_distance as energy_distance
    from reconeval.metrics.distances import energy_distance_pca as energy_distance_pca
    from reconeval.metrics.distances import mmd_rbf as mmd_rbf
    from reconeval.metrics.distances import mmd_rbf_median as mmd_rbf_median
    from reconeval.metrics.statistical import mae as mae
    from reconeval.metrics.statistical import mse as mse
    from reconeval.metrics.statistical import r2 as r2
    from reconeval.metrics.statistical import variance_log2_ratio as variance_log2_ratio
    from reconeval.metrics.statistical import zero_fraction_error as zero_fraction_error
    from reconeval.metrics.thinning import poisson_deviance as poisson_deviance
    from reconeval.metrics.transport import sinkhorn_divergence as sinkhorn_divergence

_LAZY = {
    "Aligned": "alignment",
    "aligned_matrix": "alignment",
    "aligned_pair": "alignment",
    "c2st_auc": "classifier",
    "compute_statistical_metrics": "anndata_api",
    "energy_distance": "distances",
    "energy_distance_pca": "distances",
    "mae": "statistical",
    "metric_energy_distance": "anndata_api",
    "metric_mse": "anndata_api",
    "metric_r2": "anndata_api",
    "mmd_rbf": "distances",
    "mmd_rbf_median": "distances",
    "mse": "statistical",
    "pearson_cell": "correlation",
    "pearson_gene": "correlation",
    "poisson_deviance": "thinning",
    "r2": "statistical",
    "sinkhorn_divergence": "transport",
    "variance_log2_ratio": "statistical",
    "zero_fraction_error": "statistical",
}

__all__ = [  # noqa: PLE0604  (the lazy names are strings)
    "METRICS",
    "Metric",
    "Pair",
    "Score",
    "Truth",
    "get_metric",
    "register",
    "score",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        msg = f"module 'reconeval.metrics' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"reconeval.metrics.{_LAZY[name]}"), name)
