"""What a model's `predict` is asked about: arrays in their order, and labels by name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconeval.protocols import method_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconeval._typing import FloatArray, IntArray

__all__ = ["Inputs"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What `predict` is asked about, a row per cell.

    Attributes
    ----------
    arrays
        The arguments of `predict` by name, in their order: arrays of shape (n_cells, n_columns).
    labels
        What `predict` gets by name where its signature has the name: arrays of shape (n_cells,),
        or a data frame of n_cells rows.
    """

    arrays: Mapping[str, FloatArray]
    labels: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.first)

    @property
    def first(self) -> FloatArray:
        """The first array."""
        return next(iter(self.arrays.values()))

    def named(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield the arrays with the word for each in messages: `input` where there is one."""
        for name, array in self.arrays.items():
            yield ("input" if len(self.arrays) == 1 else name), array

    def take(self, rows: IntArray | slice) -> Inputs:
        """Return a copy of some rows."""
        arrays = {name: array[rows].copy() for name, array in self.arrays.items()}
        labels = {
            name: (label.iloc[rows] if hasattr(label, "iloc") else label[rows]).copy()
            for name, label in self.labels.items()
        }
        return Inputs(arrays, labels)

    def copy(self) -> Inputs:
        """Return a copy of all rows."""
        return self.take(slice(None))

    def change(self, function: Callable[[str, FloatArray], FloatArray]) -> Inputs:
        """Return a copy with other arrays; the function gets each name and a copy of the array."""
        fresh = self.copy()
        arrays = {name: function(name, array) for name, array in fresh.arrays.items()}
        return replace(fresh, arrays=arrays)

    def arguments(self, model: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a model's `predict`: the arrays, and the labels it names."""
        named = {parameter.name for parameter in method_parameters(model, "predict") or ()}
        labels = {name: label for name, label in self.labels.items() if name in named}
        return tuple(self.arrays.values()), labels
