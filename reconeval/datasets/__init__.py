"""Frozen datasets, splits and the user's own files."""

from __future__ import annotations

from reconeval.datasets._types import Dataset, Split
from reconeval.datasets.loading import dataset_id, dataset_names, load_dataset
from reconeval.datasets.splits import default_splits, make_split, split_names

__all__ = [
    "Dataset",
    "Split",
    "dataset_id",
    "dataset_names",
    "default_splits",
    "load_dataset",
    "make_split",
    "split_names",
]
