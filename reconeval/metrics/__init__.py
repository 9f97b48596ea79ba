"""Metrics: pure functions, their table, and the published names on AnnData pairs.

Importing this fills the table and loads NumPy alone; the rest comes with the first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from reconeval.metrics import _statistical_table  # noqa: F401  (fills the table)
from reconeval.metrics.biological.table import BIOLOGICAL
from reconeval.metrics.latent import latent_metrics
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.perturbational.table import PERTURBATIONAL
from reconeval.metrics.registry import METRICS, Metric, Score, get_metric, register, score

if TYPE_CHECKING:
    from reconeval.metrics.aggregate import HIGHER_IS_BETTER as HIGHER_IS_BETTER
    from reconeval.metrics.aggregate import aggregate_rank_percentile as aggregate_rank_percentile
    from reconeval.metrics.alignment import Aligned as Aligned
    from reconeval.metrics.alignment import aligned_matrix as aligned_matrix
    from reconeval.metrics.alignment import aligned_pair as aligned_pair
    from reconeval.metrics.all_metrics import compute_all_metrics as compute_all_metrics
    from reconeval.metrics.anndata_api import (
        compute_statistical_metrics as compute_statistical_metrics,
    )
    from reconeval.metrics.anndata_api import metric_energy_distance as metric_energy_distance
    from reconeval.metrics.anndata_api import metric_mse as metric_mse
    from reconeval.metrics.anndata_api import metric_r2 as metric_r2
    from reconeval.metrics.biological.anndata_api import (
        compute_biological_metrics as compute_biological_metrics,
    )
    from reconeval.metrics.biological.anndata_api import metric_cellcycle as metric_cellcycle
    from reconeval.metrics.biological.anndata_api import metric_coexpression as metric_coexpression
    from reconeval.metrics.biological.anndata_api import metric_cytokine as metric_cytokine
    from reconeval.metrics.biological.anndata_api import metric_deg as metric_deg
    from reconeval.metrics.biological.anndata_api import metric_pathway as metric_pathway
    from reconeval.metrics.classifier import c2st_auc as c2st_auc
    from reconeval.metrics.correlation import pearson_cell as pearson_cell
    from reconeval.metrics.correlation import pearson_gene as pearson_gene
    from reconeval.metrics.distances import energy_distance as energy_distance
    from reconeval.metrics.distances import energy_distance_pca as energy_distance_pca
    from reconeval.metrics.distances import mmd_rbf as mmd_rbf
    from reconeval.metrics.distances import mmd_rbf_median as mmd_rbf_median
    from reconeval.metrics.perturbational.anndata_api import (
        compute_perturbational_metrics as compute_perturbational_metrics,
    )
    from reconeval.metrics.perturbational.anndata_api import metric_knn_purity as metric_knn_purity
    from reconeval.metrics.prepared import prepare as prepare
    from reconeval.metrics.statistical import mae as mae
    from reconeval.metrics.statistical import mse as mse
    from reconeval.metrics.statistical import r2 as r2
    from reconeval.metrics.statistical import variance_log2_ratio as variance_log2_ratio
    from reconeval.metrics.statistical import zero_fraction_error as zero_fraction_error
    from reconeval.metrics.thinning import poisson_deviance as poisson_deviance
    from reconeval.metrics.transport import sinkhorn_divergence as sinkhorn_divergence
    from reconeval.report.heatmap import funky_heatmap as funky_heatmap
    from reconeval.resources import load_cell_cycle_genes as load_cell_cycle_genes
    from reconeval.resources import load_cytokine_dict_from_csv as load_cytokine_dict_from_csv
    from reconeval.resources import load_progeny as load_progeny

_LAZY = {
    "Aligned": "reconeval.metrics.alignment",
    "HIGHER_IS_BETTER": "reconeval.metrics.aggregate",
    "aggregate_rank_percentile": "reconeval.metrics.aggregate",
    "aligned_matrix": "reconeval.metrics.alignment",
    "aligned_pair": "reconeval.metrics.alignment",
    "c2st_auc": "reconeval.metrics.classifier",
    "compute_all_metrics": "reconeval.metrics.all_metrics",
    "compute_biological_metrics": "reconeval.metrics.biological.anndata_api",
    "compute_perturbational_metrics": "reconeval.metrics.perturbational.anndata_api",
    "compute_statistical_metrics": "reconeval.metrics.anndata_api",
    "energy_distance": "reconeval.metrics.distances",
    "energy_distance_pca": "reconeval.metrics.distances",
    "funky_heatmap": "reconeval.report.heatmap",
    "load_cell_cycle_genes": "reconeval.resources",
    "load_cytokine_dict_from_csv": "reconeval.resources",
    "load_progeny": "reconeval.resources",
    "mae": "reconeval.metrics.statistical",
    "metric_cellcycle": "reconeval.metrics.biological.anndata_api",
    "metric_coexpression": "reconeval.metrics.biological.anndata_api",
    "metric_cytokine": "reconeval.metrics.biological.anndata_api",
    "metric_deg": "reconeval.metrics.biological.anndata_api",
    "metric_energy_distance": "reconeval.metrics.anndata_api",
    "metric_knn_purity": "reconeval.metrics.perturbational.anndata_api",
    "metric_mse": "reconeval.metrics.anndata_api",
    "metric_pathway": "reconeval.metrics.biological.anndata_api",
    "metric_r2": "reconeval.metrics.anndata_api",
    "mmd_rbf": "reconeval.metrics.distances",
    "mmd_rbf_median": "reconeval.metrics.distances",
    "mse": "reconeval.metrics.statistical",
    "pearson_cell": "reconeval.metrics.correlation",
    "pearson_gene": "reconeval.metrics.correlation",
    "poisson_deviance": "reconeval.metrics.thinning",
    "prepare": "reconeval.metrics.prepared",
    "r2": "reconeval.metrics.statistical",
    "sinkhorn_divergence": "reconeval.metrics.transport",
    "variance_log2_ratio": "reconeval.metrics.statistical",
    "zero_fraction_error": "reconeval.metrics.statistical",
}

register(BIOLOGICAL)
register(PERTURBATIONAL)
register(latent_metrics())

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
    return getattr(import_module(_LAZY[name]), name)
