"""Do the published figures of latent-shift reconstruction come out?

Needs no model: `pytest benchmarks -m published -k latent_shift -s`. The conditional perceptron is
trained on `latent_synthetic` as the published tutorial trains it, its held-out predictions are
decoded by the frozen decoder of the dataset, and all perturbations are scored together under the
published names of the metrics. `docs/latent-shift.md` keeps the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from reconeval.datasets import load_perturbation_dataset, make_perturbation_split
from reconeval.metrics import (
    metric_energy_distance,
    metric_knn_purity,
    metric_mse,
    metric_r2,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.published


class Figure(NamedTuple):
    """A published figure, and the bound that ours has to keep."""

    published: float
    bound: float
    higher_is_better: bool


FIGURES = {
    "knn_purity_k10": Figure(0.933, 0.90, higher_is_better=True),
    "knn_purity_k20": Figure(0.962, 0.94, higher_is_better=True),
    "knn_purity_k50": Figure(0.973, 0.96, higher_is_better=True),
    "r2": Figure(0.980, 0.97, higher_is_better=True),
    "mse": Figure(0.0126, 0.015, higher_is_better=False),
    "energy_distance": Figure(0.0384, 0.06, higher_is_better=False),
}


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    """Our figures, by name."""
    from anndata import AnnData

    from reconeval.models import MLPPerturbationPredictor

    dataset = load_perturbation_dataset("latent_synthetic")
    split = make_perturbation_split(dataset, "iid")
    Z, labels = dataset.embedding, dataset.perturbation

    def descriptors(rows: np.ndarray) -> np.ndarray:
        return np.stack([dataset.descriptors[label] for label in labels[rows]])

    train, test = np.concatenate([split.train, split.val]), split.test
    partners = np.concatenate([split.train_partner, split.val_partner])
    model = MLPPerturbationPredictor(embed_dim=Z.shape[1], cov_dim=descriptors(test).shape[1])
    model.train(Z[partners], Z[train], descriptors(train), epochs=300, batch_size=128)
    cells = {
        "adata_pred": model.predict(Z[split.test_partner], descriptors(test)),
        "adata_pert_true": Z[test],
        "adata_ctrl": Z[split.test_partner],
    }
    pools = {
        name: AnnData(dataset.decode(embedding), obsm={"X_fm": embedding})
        for name, embedding in cells.items()
    }
    pair = pools["adata_pert_true"], pools["adata_pred"]
    values = {
        f"knn_purity_k{k}": metric_knn_purity(**pools, k=k, use_rep="X_fm") for k in (10, 20, 50)
    }
    values |= {"r2": metric_r2(*pair), "mse": metric_mse(*pair)}
    values["energy_distance"] = metric_energy_distance(*pair)
    print(f"\n{'metric':18}{'ours':>9}{'published':>11}{'bound':>9}")
    for name, (published, bound, _) in FIGURES.items():
        print(f"{name:18}{values[name]:9.4f}{published:11.4f}{bound:9.4f}")
    return values


@pytest.mark.parametrize("name", FIGURES)
def test_reaches_the_published_figure(
    found: dict[str, float], record_property: Callable[[str, object], None], name: str
) -> None:
    value, (published, bound, higher_is_better) = found[name], FIGURES[name]
    record_property("ours", f"{value:.4f}")
    record_property("published", published)
    assert value >= bound if higher_is_better else value <= bound
