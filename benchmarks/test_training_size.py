"""Do autoencoders beat principal components at a latent width of 10, and from how many cells on?

Needs no model: `pytest benchmarks -m published -k training_size -s`. What came out, with figures
and reasons, is in `docs/training-size.md`; what is asserted here is what held there, so that a
change of it is noticed. The data of Kang et al. are skipped where they are not at hand.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from reconeval.benchmarks.training_size import (
    MODELS,
    SEEDS,
    SIZES,
    Result,
    difference,
    load,
    study,
)
from reconeval.benchmarks.training_size_report import score_table, training_table
from reconeval.errors import UsageError

pytestmark = [
    pytest.mark.published,
    pytest.mark.skipif(
        importlib.util.find_spec("scvi") is None,
        reason="needs scvi-tools: pip install 'reconeval[scvi]'",
    ),
]

LEARNT = tuple(model.partition("=")[0] for model in MODELS[:-1])


@pytest.fixture(scope="module", params=SIZES)
def results(request: pytest.FixtureRequest) -> list[Result]:
    try:
        dataset = load(request.param)
    except UsageError as error:
        pytest.skip(str(error))
    found = study(dataset, SIZES[request.param], SEEDS)
    print(f"\n{score_table(found)}\n\n{training_table(found)}")
    return found


def of_size(results: list[Result], n_train: int) -> list[Result]:
    return [one for one in results if one.n_train == n_train]


def mean_error(results: list[Result], model: str) -> float:
    return float(np.mean([one.mse for one in results if one.model == model]))


@pytest.mark.parametrize("model", LEARNT)
def test_beats_the_mean_of_all_training_cells(results: list[Result], model: str) -> None:
    _, _, high = difference(of_size(results, results[-1].n_train), model, "Mean")
    assert high < 0


@pytest.mark.parametrize("model", LEARNT)
def test_more_cells_help(results: list[Result], model: str) -> None:
    fewest, most = (of_size(results, results[i].n_train) for i in (0, -1))
    assert mean_error(most, model) < mean_error(fewest, model)
