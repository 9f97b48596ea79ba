"""Load datasets and make cases of them, each once in a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconeval.cases._base import Case
    from reconeval.datasets import Dataset, PerturbationDataset
    from reconeval.embedding import Embedding
    from reconeval.options import Options

__all__ = ["Cases"]


@dataclass(eq=False)
class Cases:
    """The cases of a run.

    Attributes
    ----------
    task
        The task of the run.
    options
        What the user asked for.
    sources
        For each dataset id the name or path.
    embedding
        What decoders see of the cells; None for other tasks.
    """

    task: str
    options: Options
    sources: Mapping[str, str]
    embedding: Embedding | None = None
    _made: dict[tuple[str, str], Case] = field(default_factory=dict, init=False, repr=False)
    _datasets: dict[str, Dataset] = field(default_factory=dict, init=False, repr=False)
    _shifts: dict[str, PerturbationDataset] = field(default_factory=dict, init=False, repr=False)

    def get(self, dataset: str, split: str) -> Case:
        """Return a case, made on first use.

        Parameters
        ----------
        dataset
            Id of a dataset.
        split
            Name of a split.

        Raises
        ------
        UsageError
            If the dataset is damaged, unfit, or has too few groups for the split, or if it has
            not the embedding that was named.
        """
        if (dataset, split) not in self._made:
            self._made[dataset, split] = self._make(dataset, split)
        return self._made[dataset, split]

    def _make(self, name: str, split: str) -> Case:
        from reconeval.cases import DecodeCase, EndToEndCase, LatentShiftCase
        from reconeval.cases.query_mapping import QueryMappingCase, make_query_split
        from reconeval.datasets import make_perturbation_split, make_split
        from reconeval.embedding import StoredEmbedding
        from reconeval.query_mapping.places import query_batches_of

        if self.task == "latent_shift":
            shifts = self._load_shifts(name)
            sides = make_perturbation_split(shifts, split)
            return LatentShiftCase(shifts.for_split(sides), sides)
        dataset = self._load(name)
        if self.task == "query_mapping":
            batches = query_batches_of(self.sources[name], self.options)
            return QueryMappingCase(dataset, make_query_split(dataset, batches, split))
        cells = make_split(dataset, split)
        if self.embedding is None:
            return EndToEndCase(dataset, cells)
        case = DecodeCase(
            dataset,
            cells,
            embedding=self.embedding,
            seed=self.options.seeds[0],
            file=Path(self.sources[name]) if self._own(name) else None,
            covariates=self.options.covariates,
        )
        if isinstance(self.embedding, StoredEmbedding):
            _ = case.embedded  # what is not there is refused before anything is trained
        return case

    def _own(self, name: str) -> bool:
        return self.sources[name] != name

    def _load(self, name: str) -> Dataset:
        from reconeval.datasets import load_dataset

        if name not in self._datasets:
            keys = self._keys() if self._own(name) else {}
            if keys:
                keys["protein_key"] = self.options.protein_key
            self._datasets[name] = load_dataset(self.sources[name], **keys)
        return self._datasets[name]

    def _load_shifts(self, name: str) -> PerturbationDataset:
        from reconeval.datasets import load_perturbation_dataset

        if name not in self._shifts:
            keys = self._shift_keys() if self._own(name) else {}
            self._shifts[name] = load_perturbation_dataset(self.sources[name], **keys)
        return self._shifts[name]

    def _keys(self) -> dict[str, str | None]:
        options = self.options
        return {
            "cell_type_key": options.cell_type_key,
            "counts_layer": options.counts_layer,
            "batch_key": options.batch_key,
        }

    def _shift_keys(self) -> dict[str, str | None]:
        options = self.options
        return self._keys() | {
            "perturbation_key": options.perturbation_key,
            "control": options.control,
            "descriptor_key": options.descriptor_key,
            "embedding": options.embedding,
        }
