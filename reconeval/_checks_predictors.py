"""The checks that only predictors of perturbations have; the others are in `_checks`."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from reconeval._checks import NotOffered, Violation, largest_excess, same, untouched
from reconeval.errors import ModelError

if TYPE_CHECKING:
    from reconeval._subjects import PredictorSubject
    from reconeval._typing import FloatArray

__all__ = ["check_descriptor_matters", "check_training_untouched", "check_unseen_descriptor"]


def check_training_untouched(subject: PredictorSubject) -> None:
    """Leave the arrays and the decoder that train gets as they were."""
    _ = subject.trained
    for name, (array, before, writeable) in subject.handed.items():
        untouched(f"train changed {{}} of its {name}", array, before, writeable=writeable)
    if subject.handed_decoder is not None:
        decode, expected = subject.handed_decoder
        got = subject.call("decode (after train)", decode, subject.data.ctrl_emb.copy())
        same(got, expected, "train changed its decode: what it gives for ctrl_emb differs")


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
