"""A metric's values over resamples, as they are kept for a comparison with another run."""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconeval._typing import FloatArray

__all__ = ["Kind", "Replicates"]

Kind = Literal["bootstrap", "jackknife", "none"]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Replicates:
    """A metric's values in resamples of the test cells, and of each seed on all of them.

    The resamples of a case are drawn from its data and split alone, so that replicate b of one
    run and replicate b of another were computed of the same cells, whatever the model: their
    difference is free of what both share.

    Attributes
    ----------
    over
        What was resampled: `cells`, `perturbations`, or empty for nothing.
    resampling
        Names the resamples; equal names mean equal resamples.
    values
        Array of shape (n_resamples,), float32: the metric's mean over seeds in each resample, NaN
        where it is undefined.
    kind
        `bootstrap`: each resample is drawn with replacement. `jackknife`: each leaves one group
        of cells out. `none`: there are no resamples.
    seeds
        The metric of each seed on all cells, in the order of the seeds; NaN where undefined.
    units
        How many cells or perturbations there were to draw from, 0 where none were drawn.
    linear
        Whether the values are first-order estimates.
    """

    over: str
    resampling: str
    values: FloatArray
    kind: Kind = "bootstrap"
    seeds: tuple[float, ...] = ()
    units: int = 0
    linear: bool = False

    def paired(self, other: Replicates) -> bool:
        """Return whether replicate b of both was computed of the same cells, for every b."""
        return (
            self.kind == other.kind != "none"
            and self.resampling == other.resampling
            and self.values.shape == other.values.shape
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON; the array as base64 of little-endian float32."""
        content = self.values.astype("<f4").tobytes()
        return {
            "over": self.over,
            "resampling": self.resampling,
            "kind": self.kind,
            "units": self.units,
            "linear": self.linear,
            "seeds": [value if math.isfinite(value) else None for value in self.seeds],
            "values": base64.b64encode(content).decode("ascii"),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Replicates:
        """Read what `to_dict` wrote; other keys are left aside.

        Raises
        ------
        UsageError
            If a key is missing or its value is not what it should be.
        """
        try:
            content = base64.b64decode(values["values"], validate=True)
            return cls(
                over=str(values["over"]),
                resampling=str(values["resampling"]),
                values=np.frombuffer(content, dtype="<f4").astype(np.float32),
                kind=_kind(values.get("kind", "bootstrap")),
                units=int(values.get("units", 0)),
                linear=bool(values.get("linear", False)),
                seeds=tuple(
                    math.nan if value is None else float(value) for value in values.get("seeds", ())
                ),
            )
        except (binascii.Error, KeyError, TypeError, ValueError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            msg = f"not the replicates of a reconeval result: {what}; run the benchmarks again"
            raise UsageError(msg) from None


def _kind(given: Any) -> Kind:
    for kind in get_args(Kind):
        if kind == given:
            return cast("Kind", kind)
    msg = f"kind is {given!r}, expected one of {', '.join(get_args(Kind))}"
    raise ValueError(msg)
