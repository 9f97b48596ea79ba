#!/usr/bin/env python
"""Score CellFlow's noise and length of training on the validation cells of `immune_shift`.

The defaults of `CellFlowPredictor` and the table in docs/latent-shift.md come from here. Run it
where CellFlow is installed, see tools/own-environment:

    .environments/cellflow/bin/python tools/choose_cellflow_options.py [SEED ...]

Test cells and their controls play no part: their values are missing from the start.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from reconeval.cases.latent_shift import LatentShiftCase
from reconeval.datasets import load_perturbation_dataset, make_perturbation_split
from reconeval.metrics import METRICS, score
from reconeval.models import CellFlowPredictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconeval._typing import FloatArray, IntArray

FLOW_NOISE = (0.1, 0.5, 1.0)
ITERATIONS = (500, 1000, 2000)
SCORES = ("latent_energy_distance", "latent_weighted_r2_delta_pert")  # lower, and higher is better


def validation_case() -> LatentShiftCase:
    """Return `immune_shift`/`iid` with its validation cells in the place of the test cells."""
    dataset = load_perturbation_dataset("immune_shift")
    split = make_perturbation_split(dataset, "iid")
    hidden = np.concatenate([split.test, split.test_controls])
    X, embedding = dataset.X.copy(), dataset.embedding.copy()
    X[hidden], embedding[hidden] = np.nan, np.nan
    nested = replace(
        split,
        test=split.val,
        test_partner=split.val_partner,
        test_controls=split.train_controls,
    )
    return LatentShiftCase(replace(dataset, X=X, embedding=embedding, counts=None), nested)


def scores_of(prediction: FloatArray, case: LatentShiftCase) -> list[float]:
    """Return the two scores of predicted validation cells."""
    pair = case.pair(prediction)
    return [score(METRICS[name], pair).value for name in SCORES]


def fit_and_score(
    case: LatentShiftCase, *, flow_noise: float, iterations: int, seed: int
) -> list[float]:
    """Train on the training cells, move each validation cell's own control, and score."""
    data = case.data
    width = data.pert_cov.shape[1]
    model = CellFlowPredictor(case.n_columns, width, flow_noise=flow_noise, seed=seed)
    model.train(
        data.ctrl_emb,
        data.pert_emb,
        data.pert_cov,
        cell_type=data.cell_type,
        condition=data.condition,
        iterations=iterations,
        accelerator="cpu",
    )
    types, conditions = case.dataset.cell_types, case.dataset.conditions
    prediction = model.predict(
        data.val_ctrl_emb,
        data.val_pert_cov,
        cell_type=None if types is None else types[case.split.val],
        condition=None if conditions is None else conditions[case.split.val],
    )
    return scores_of(prediction, case)


def ranks(means: FloatArray) -> IntArray:
    """Return the place of each row (energy distance, weighted R²) in both columns, 1 the best."""
    first = np.column_stack([means[:, 0], -means[:, 1]]).argsort(axis=0, kind="stable")
    return np.asarray(first.argsort(axis=0) + 1)


def best(options: Sequence[tuple[float, int]], places: IntArray) -> tuple[float, int]:
    """Return the noise and iterations with the least sum of ranks.

    Of equal sums the shorter training, and then the smaller noise.
    """
    sums = dict(zip(options, places.sum(axis=1).tolist(), strict=True))
    return min(options, key=lambda option: (sums[option], option[1], option[0]))


def main(seeds: list[int]) -> None:
    """Print a table with the means over seeds, and the choice."""
    case = validation_case()
    options = list(product(FLOW_NOISE, ITERATIONS))
    found = np.empty((len(seeds), len(options), len(SCORES)))
    for (i, seed), (j, (noise, iterations)) in product(enumerate(seeds), enumerate(options)):
        found[i, j] = fit_and_score(case, flow_noise=noise, iterations=iterations, seed=seed)
        print(f"seed {seed}, {noise}, {iterations}: {found[i, j]}", file=sys.stderr, flush=True)
    means = found.mean(axis=0)
    places = ranks(means)
    print("| `flow_noise` | `iterations` | energy distance | weighted R² of the shift | ranks |")
    print("|---|---|---|---|---|")
    for (noise, iterations), (energy, r2), (one, other) in zip(options, means, places, strict=True):
        print(f"| {noise} | {iterations} | {energy:.3f} | {r2:.3f} | {one} + {other} |")
    print(f"chosen flow_noise, iterations: {best(options, places)}")


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [0, 1])
