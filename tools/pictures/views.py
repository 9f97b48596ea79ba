"""What a picture of a metric is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from svg import Layer

__all__ = ["View"]


@dataclass(frozen=True, slots=True)
class View:
    """How to draw what a metric sees of one prediction.

    Attributes
    ----------
    layers
        Returns the layers of a panel for a pair.
    labels
        Names of the horizontal and vertical axis.
    ticks
        As for `svg.draw`.
    """

    layers: Callable[[Any], Sequence[Layer]]
    labels: tuple[str, str]
    ticks: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
