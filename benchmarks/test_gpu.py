"""The same model on a CUDA device: it trains, it agrees with the CPU, and what it costs there."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reconeval import runs
from reconeval.costs import COSTS, find
from reconeval.errors import ReconevalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval.cases import Case
    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row
    from reconeval.runs import Run
    from reconeval.session import Session
    from reconeval.spec import ModelSpec

pytestmark = pytest.mark.gpu

# Two trainings differ by the order of float32 sums, which training amplifies; a prediction by
# the same weights differs by one pass only.
SCORE_RTOL = 0.05
PREDICTION_RTOL = 1e-3
PREDICTION_ATOL = 1e-3


@pytest.fixture(scope="session")
def on_gpu(model: ModelSpec, case: Case, session: Session) -> Run:
    """The model trained with `accelerator="gpu"`, for the first seed."""
    seed = session.options.seeds[0]
    try:
        fit = runs.fit(model, case, seed, accelerator="gpu", verbose=session.options.verbose)
    except ReconevalError as error:
        pytest.fail(str(error), pytrace=False)
    if "accelerator" not in inspect.signature(fit.model.train).parameters:
        pytest.skip(f"{model.id}.train takes no accelerator: it cannot be asked to use the GPU")
    return runs.Run(model, case, [fit])


def test_gpu_training(on_gpu: Run) -> None:
    """Trained on the GPU, the model is as good as trained on the CPU."""
    metric = find(on_gpu.case.compared)
    try:
        fit = runs.fit(on_gpu.spec, on_gpu.case, on_gpu.fits[0].seed, accelerator="cpu")
    except ReconevalError as error:
        pytest.fail(str(error), pytrace=False)
    on_cpu = runs.Run(on_gpu.spec, on_gpu.case, [fit])
    gpu, cpu = on_gpu.row(metric).value, on_cpu.row(metric).value
    if not abs(gpu - cpu) <= SCORE_RTOL * abs(cpu):
        pytest.fail(
            f"{metric.name} on {on_gpu.case.name}: {cpu:.4g} trained on the CPU, {gpu:.4g} on "
            f"the GPU, expected within {SCORE_RTOL:.0%}",
            pytrace=False,
        )


def test_gpu_prediction(on_gpu: Run) -> None:
    """The same weights predict the same on both devices."""
    fit = on_gpu.fits[0]
    if not callable(getattr(fit.model, "to", None)):
        pytest.skip(f"{on_gpu.spec.id} offers no to(device)")
    inputs = on_gpu.case.test_input()
    predictions = {}
    for device in ("cuda", "cpu"):
        fit.model.to(device)
        predictions[device] = on_gpu.predict(fit, inputs.copy())
    gap = np.abs(predictions["cuda"] - predictions["cpu"])
    allowed = PREDICTION_ATOL + PREDICTION_RTOL * np.abs(predictions["cpu"])
    if not (gap <= allowed).all():
        pytest.fail(
            f"predictions of {on_gpu.spec.id} on {on_gpu.case.name} differ by up to "
            f"{gap.max():.3g} between CUDA and CPU, expected at most {PREDICTION_ATOL:g} + "
            f"{PREDICTION_RTOL:g} x |prediction|",
            pytrace=False,
        )


def test_gpu_memory(on_gpu: Run, record: Callable[[Row, Metric], str]) -> None:
    """Peak GPU memory of training, recorded; none at all means that the GPU was not used."""
    peak = on_gpu.fits[0].training.peak_gpu_mb
    if not peak:
        pytest.fail(f"{on_gpu.spec.id} used no GPU memory with accelerator='gpu'", pytrace=False)
    cost = COSTS["peak_gpu_mb"]
    failure = record(on_gpu.cost_row(cost, [peak]), cost)
    if failure:
        pytest.fail(failure, pytrace=False)
