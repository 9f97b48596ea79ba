"""The checks that only predictors of perturbations have; the others are in `_checks`."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from reconeval._checks import NotOffered, Violation, largest_excess
from reconeval.errors import ModelError

if TYPE_CHECKING:
    from reconeval._subjects import PredictorSubject
    from reconeval._typing import FloatArray

__all__ = ["check_descriptor_matters", "check_unseen_descriptor"]


def check_descriptor_matters(subject: PredictorSubject) -> None:
    """Predict otherwise for another descriptor of the same control cells."""
    descriptors = _distinct(subject)
    predictions = {
        name: subject.predict(subject.described_by(descriptor))
        for name, descriptor in descriptors.items()
    }
    for (one, first), (other, second) in combinations(predictions.items(), 2):
        if not largest_excess(first, second):
            msg = f"{len(first)} control cells get the same prediction with the descriptor of "
            msg += f"{one} as with that of {other}"
            raise Violation(msg)


def check_unseen_descriptor(subject: PredictorSubject) -> None:
    """Predict for a descriptor that no training cell has."""
    one, other, *_ = _distinct(subject).values()
    _ = subject.prediction
    try:
        subject.predict(subject.described_by((one + other) / 2))
    except ModelError as error:
        raise Violation(str(error)) from error


def _distinct(subject: PredictorSubject) -> dict[str, FloatArray]:
    descriptors = subject.descriptors
    if len(descriptors) < 2:
        msg = "the training cells have one descriptor alone"
        raise NotOffered(msg)
    return descriptors
