"""Load cells of several perturbations by name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reconeval.datasets.manifest import read_perturbation_manifest, verify
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from os import PathLike

    from reconeval.datasets._perturbations import PerturbationDataset

__all__ = ["load_perturbation_dataset", "perturbation_dataset_names"]


def perturbation_dataset_names() -> tuple[str, ...]:
    """Return the names of the frozen datasets of perturbed cells."""
    return tuple(read_perturbation_manifest())


def load_perturbation_dataset(name_or_path: str | PathLike[str]) -> PerturbationDataset:
    """Load a frozen dataset of perturbed cells.

    Parameters
    ----------
    name_or_path
        A name of `perturbation_dataset_names()`. It is loaded once per process: every call
        returns the same object, so copy its arrays before changing them.

    Returns
    -------
    The dataset, with the checksum of its file.

    Raises
    ------
    UsageError
        If there is no such dataset, or its checksum is wrong.
    """
    if name_or_path not in perturbation_dataset_names():
        known = hint(str(name_or_path), perturbation_dataset_names(), "datasets:")
        msg = f"dataset {name_or_path}: not a frozen dataset of perturbed cells{known}"
        raise UsageError(msg)
    return _load_frozen(str(name_or_path))


@cache
def _load_frozen(name: str) -> PerturbationDataset:
    from importlib import import_module

    entry = read_perturbation_manifest()[name]
    verify(entry)
    dataset: PerturbationDataset = import_module(f"reconeval.datasets.{name}").load(entry)
    return dataset
