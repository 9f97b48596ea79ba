"""What is asked of a mapping: one function for each question, and its answer in numbers.

Differences are the largest absolute ones over cells and latent dimensions, or genes, in float64.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import ModelError, Undefined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconeval._typing import FloatArray
    from reconeval.inputs import Inputs
    from reconeval.query_mapping.trainings import Mapped, Trainings

__all__ = ["CHECKS", "MINIBATCHES", "Finding"]

MINIBATCHES = (1, 7, 64, None)  # None: all query cells at once


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question.

    Attributes
    ----------
    value
        The number; its unit is that of the metric.
    cause
        What a value beyond the metric's limit comes from and what to do about it, in a sentence.
    """

    value: float
    cause: str = ""


def reference_drift(trainings: Trainings) -> Finding:
    """Measure how far query training moved the reference in the latent representation.

    Both recipes count: the joint training and that of each batch.
    """
    cells, reference = trainings.cells, trainings.cells.reference
    before = trainings.mapper.latent(reference.copy())
    drifts = {
        recipe: _largest(before, mapped.latent(reference.copy()))
        for recipe, mapped in _recipes(trainings).items()
    }
    worst = max(drifts, key=lambda recipe: drifts[recipe])
    cause = (
        f"mapping {worst} changed weights that all {cells.reference.n_obs} reference cells are "
        "encoded with; train the query with weight_decay=0 and the reference's weights frozen"
    )
    return Finding(drifts[worst], cause)


def reference_reconstruction_drift(trainings: Trainings) -> Finding:
    """Measure how far query training moved the reconstruction of the reference, by any recipe.

    Weights that all batches share, of the decoder or of the library size, may move though the
    latent representation stays.
    """
    inputs = trainings.cells.reference_inputs
    before = _reconstruct(trainings.mapper.model, inputs)
    drifts = (
        _largest(before, _reconstruct(mapped.model, inputs))
        for mapped in _recipes(trainings).values()
    )
    return Finding(max(drifts))


def query_batch_dependence(trainings: Trainings) -> Finding:
    """Measure whether a cell's latent representation depends on which batches it is asked with."""
    cells, mapped = trainings.cells, trainings.joint
    together = mapped.latent(cells.query.copy())
    alone = cells.gathered([mapped.latent(cells.of(batch)) for batch in cells.batches])
    cause = (
        "the same model gives a query cell another place when its batch is encoded alone; cells "
        "must not depend on each other: encode in evaluation mode, with running statistics"
    )
    return Finding(_largest(together, alone), cause)


def query_minibatch_dependence(trainings: Trainings) -> Finding:
    """Measure whether the latent representation depends on how many cells are encoded at once."""
    cells, mapped = trainings.cells, trainings.joint
    expected = mapped.latent(cells.query.copy())
    moved = {
        size: _largest(expected, mapped.latent(cells.query.copy(), batch_size=size))
        for size in (size or cells.query.n_obs for size in MINIBATCHES)
    }
    worst = max(moved, key=lambda size: moved[size])
    cause = (
        f"the latent representation changes when {worst} cells are encoded at once; encode in "
        "evaluation mode, and in float32 or better"
    )
    return Finding(moved[worst], cause)


def query_separate_vs_joint_epochs(trainings: Trainings) -> Finding:
    """Compare batches mapped one by one with all at once, for as many epochs each."""
    return Finding(float(np.abs(_apart(trainings, by="epochs")).max()))


def query_separate_vs_joint_steps(trainings: Trainings) -> Finding:
    """Compare them again, each batch with as many optimiser steps as all at once took."""
    return Finding(float(np.abs(_apart(trainings, by="steps")).max()))


def query_steps_share(trainings: Trainings) -> Finding:
    """Say which share of the difference goes when the number of optimiser steps is the same.

    1 - (mean squared difference at equal steps) / (the same at equal epochs): 1 if equal steps
    take all of it away, 0 if none, negative if they take the recipes further apart. Equal steps
    are reached by more epochs, so a weight of the KL term that rises with epochs differs, too.

    Raises
    ------
    Undefined
        If there is no difference to explain.
    """
    epochs, steps = (np.square(_apart(trainings, by=by)).mean() for by in ("epochs", "steps"))
    if epochs == 0:
        msg = "separate and joint training give the same latent representation: the encoder has "
        msg += "no weights that query training changes"
        raise Undefined(msg)
    return Finding(float(1 - steps / epochs))


def query_other_seed(trainings: Trainings) -> Finding:
    """Measure what chance does: joint training against itself with another seed."""
    return Finding(_largest(*_query_latents(trainings, trainings.joint, trainings.other_seed)))


def query_latent_sd(trainings: Trainings) -> Finding:
    """Measure the spread of the query in the latent representation, to read differences by."""
    latent = trainings.joint.latent(trainings.cells.query.copy())
    return Finding(float(latent.astype(np.float64).std(axis=0).mean()))


def query_reload_difference(trainings: Trainings) -> Finding:
    """Measure whether a mapped model that is saved and loaded is the same, decoder included."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = trainings.joint.reloaded(Path(folder))
        difference = _query_difference(trainings, trainings.joint, loaded)
    cause = "the file does not hold all that the mapped model consists of; save every weight, the "
    cause += "running statistics and the list of batches"
    return Finding(difference, cause)


def query_same_seed_difference(trainings: Trainings) -> Finding:
    """Measure whether the same query training with the same seed gives the same model."""
    difference = _query_difference(trainings, trainings.joint, trainings.repeated)
    cause = "a draw does not follow from the seed: new weights, the order of the cells or dropout; "
    cause += "seed them all"
    return Finding(difference, cause)


CHECKS: dict[str, Callable[[Trainings], Finding]] = {
    check.__name__: check
    for check in (
        reference_drift,
        reference_reconstruction_drift,
        query_batch_dependence,
        query_minibatch_dependence,
        query_separate_vs_joint_epochs,
        query_separate_vs_joint_steps,
        query_steps_share,
        query_other_seed,
        query_latent_sd,
        query_reload_difference,
        query_same_seed_difference,
    )
}


def _recipes(trainings: Trainings) -> dict[str, Mapped]:
    batches = trainings.cells.batches
    if len(batches) == 1:
        return {batches[0]: trainings.joint}
    everything = ", ".join(batches)
    alone = {f"{batch} alone": mapped for batch, mapped in trainings.separate.items()}
    return {f"{everything} jointly": trainings.joint, **alone}


def _apart(trainings: Trainings, *, by: str) -> FloatArray:
    """Return separate minus joint training for all query cells.

    Raises
    ------
    Undefined
        If there is one query batch, which is always alone.
    """
    cells = trainings.cells
    if len(cells.batches) < 2:
        msg = f"{cells.batches[0]} is the only query batch, so separate training is joint training"
        raise Undefined(msg)
    separate: Mapping[str, Mapped]
    separate = trainings.separate if by == "epochs" else trainings.separate_by_steps
    parts = [separate[batch].latent(cells.of(batch)) for batch in cells.batches]
    return _difference(cells.gathered(parts), trainings.joint.latent(cells.query.copy()))


def _reconstruct(model: Any, inputs: Inputs) -> FloatArray:
    args, labels = inputs.copy().arguments(model)
    return np.asarray(model.predict(*args, **labels))


def _query_latents(
    trainings: Trainings, first: Mapped, second: Mapped
) -> tuple[FloatArray, FloatArray]:
    query = trainings.cells.query
    return first.latent(query.copy()), second.latent(query.copy())


def _query_difference(trainings: Trainings, first: Mapped, second: Mapped) -> float:
    """Return the largest difference of two models of the query, in what they encode and decode.

    The latent representation alone does not tell: an encoder that surgery freezes whole gives the
    same one whatever became of the decoder.
    """
    inputs = trainings.cells.query_inputs
    decoded = (_reconstruct(mapped.model, inputs) for mapped in (first, second))
    return max(_largest(*_query_latents(trainings, first, second)), _largest(*decoded))


def _difference(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the difference of two arrays of the same cells.

    Raises
    ------
    ModelError
        If they do not have one shape, or values that are not finite.
    """
    for array in (a, b):
        if array.shape != a.shape or not np.isfinite(array).all():
            msg = f"the model returned shape {array.shape} or values that are not finite, "
            msg += f"expected finite values of shape {a.shape}"
            raise ModelError(msg)
    return a.astype(np.float64) - b.astype(np.float64)


def _largest(a: FloatArray, b: FloatArray) -> float:
    return float(np.abs(_difference(a, b)).max())
