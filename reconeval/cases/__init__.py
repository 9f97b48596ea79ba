"""What a run trains and tests models on: a dataset and split, as the task sees them."""

from reconeval.cases._base import Case
from reconeval.cases.decode import DecodeCase
from reconeval.cases.end_to_end import EndToEndCase
from reconeval.cases.latent_shift import LatentShiftCase

__all__ = ["Case", "DecodeCase", "EndToEndCase", "LatentShiftCase"]
