"""A reference, and all trainings that map the same query onto it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from reconeval.timing import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

    from reconeval._typing import FloatArray
    from reconeval.query_mapping.cells import QueryCells

__all__ = ["Mapped", "QueryMapper", "Trainings"]


class Mapped(Protocol):
    """A model that knows the reference and the query that was mapped onto it."""

    @property
    def model(self) -> Any:
        """What reconstructs cells: its `predict` is called as that of any model."""
        ...

    @property
    def n_steps(self) -> int:
        """Optimiser steps of the query training."""
        ...

    def latent(self, cells: AnnData, *, batch_size: int | None = None) -> FloatArray:
        """Return the latent representation of cells.

        Parameters
        ----------
        cells
            Cells of reference or query batches.
        batch_size
            Cells at once; default the model's own choice.

        Returns
        -------
        Array of shape (n_cells, n_latent).
        """
        ...

    def reloaded(self, folder: Path) -> Mapped:
        """Save the model into an empty folder, and return what is loaded from there."""
        ...


class QueryMapper(Protocol):
    """A trained reference that takes up query batches: what `model.query_mapper()` returns."""

    @property
    def model(self) -> Any:
        """The reference, as `predict` of any model is called."""
        ...

    def latent(self, cells: AnnData) -> FloatArray:
        """Return the latent representation of reference cells, (n_cells, n_latent)."""
        ...

    def map(
        self,
        cells: AnnData,
        *,
        seed: int,
        max_epochs: int | None = None,
        max_steps: int | None = None,
    ) -> Mapped:
        """Map cells of new batches, and leave the reference as it is.

        Parameters
        ----------
        cells
            Query cells, all of which are trained on.
        seed
            Seeds new weights and the order of the cells.
        max_epochs
            Passes over the cells, default the mapper's own number; 0 for none.
        max_steps
            Train for so many optimiser steps instead.

        Returns
        -------
        A new model that knows both.
        """
        ...


class Trainings:
    """All trainings of one query on one reference, each made when it is first asked for.

    Parameters
    ----------
    mapper
        The reference.
    cells
        Reference and query cells.
    seed
        Seed of every training but `other_seed`.
    progress
        Called with one line before each training.
    """

    def __init__(
        self,
        mapper: QueryMapper,
        cells: QueryCells,
        *,
        seed: int = 0,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.mapper = mapper
        self.cells = cells
        self.seed = seed
        self._progress = progress

    @cached_property
    def untrained(self) -> Mapped:
        """All query batches taken up, with new weights as they were drawn."""
        return self.mapper.map(self.cells.mapped(), seed=self.seed, max_epochs=0)

    @property
    def joint(self) -> Mapped:
        """All query batches in one training."""
        return self._joint[0]

    @property
    def joint_usage(self) -> Usage:
        """Seconds and memory of the joint training, surgery included."""
        return self._joint[1]

    @cached_property
    def _joint(self) -> tuple[Mapped, Usage]:
        with Usage() as usage:
            mapped = self._all("jointly", self.seed)
        return mapped, usage

    @cached_property
    def repeated(self) -> Mapped:
        """The same once more."""
        return self._all("jointly once more", self.seed)

    @cached_property
    def other_seed(self) -> Mapped:
        """The same with another seed."""
        return self._all("jointly with another seed", self.seed + 1)

    @cached_property
    def separate(self) -> dict[str, Mapped]:
        """Each query batch in a training of its own, of as many epochs as the joint one."""
        return {batch: self._one(batch, "of as many epochs") for batch in self.cells.batches}

    @cached_property
    def separate_by_steps(self) -> dict[str, Mapped]:
        """Each query batch in a training of its own, of as many steps as the joint one."""
        steps = self.joint.n_steps
        return {
            batch: self._one(batch, "of as many steps", max_steps=steps)
            for batch in self.cells.batches
        }

    def _all(self, how: str, seed: int) -> Mapped:
        self._progress(f"mapping {', '.join(self.cells.batches)} {how}")
        return self.mapper.map(self.cells.mapped(), seed=seed)

    def _one(self, batch: str, how: str, *, max_steps: int | None = None) -> Mapped:
        self._progress(f"mapping {batch} alone, {how}")
        return self.mapper.map(self.cells.mapped(batch), seed=self.seed, max_steps=max_steps)
