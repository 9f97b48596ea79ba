"""Frozen datasets, splits and the user's own files."""

from __future__ import annotations

from reconeval.datasets._perturbations import PerturbationDataset, PerturbationSplit
from reconeval.datasets._types import Dataset, Split
from reconeval.datasets.catalogue import catalogue_names
from reconeval.datasets.fetching import fetch, fetched_path, load_fetched
from reconeval.datasets.loading import dataset_id, dataset_names, load_dataset
from reconeval.datasets.perturbation_loading import (
    load_perturbation_dataset,
    perturbation_dataset_names,
)
from reconeval.datasets.perturbation_splits import (
    make_perturbation_split,
    perturbation_split_names,
)
from reconeval.datasets.splits import default_splits, make_split, split_names

__all__ = [
    "Dataset",
    "PerturbationDataset",
    "PerturbationSplit",
    "Split",
    "catalogue_names",
    "dataset_id",
    "dataset_names",
    "default_splits",
    "fetch",
    "fetched_path",
    "load_dataset",
    "load_fetched",
    "load_perturbation_dataset",
    "make_perturbation_split",
    "make_split",
    "perturbation_dataset_names",
    "perturbation_split_names",
    "split_names",
]
