"""Trivial models that anchor every metric: how bad nothing is, and how good the data can be.

A score alone says little: 0.98 may be what a constant reaches. Beside each row stand the scores of
a negative and of a positive control on the same cells, and where the row lies between them. What
the controls are is told in docs/controls.md.
"""

from reconeval.controls._annotating import Controls
from reconeval.controls._scores import CONTROLS_VERSION, SEED, ControlScores, negative_of, skill
from reconeval.controls._verdict import LEAST_RANGE, Health, health_of

__all__ = [
    "CONTROLS_VERSION",
    "LEAST_RANGE",
    "SEED",
    "ControlScores",
    "Controls",
    "Health",
    "health_of",
    "negative_of",
    "skill",
]
