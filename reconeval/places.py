"""What a run covers: its datasets and splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconeval.errors import UsageError
from reconeval.query_mapping.places import check_new, query_places

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconeval.options import Options

__all__ = ["DEFAULT_DATASETS", "DEFAULT_SHIFTS", "find_places", "known_datasets", "split_names"]

DEFAULT_DATASETS = ("immune", "pbmc68k")
# Of perturbations, the splits that a first look needs; the others are asked for by --split.
DEFAULT_SHIFTS = {"latent_synthetic": ("iid",), "immune_shift": ("iid", "perturbation")}

_SHIFT_SPLITS: tuple[str, ...] = ("iid", "perturbation", "cell_type", "condition")


def find_places(
    options: Options, task: str = "end_to_end"
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Read the options of datasets and splits; nothing is loaded.

    Parameters
    ----------
    options
        What the user asked for.
    task
        The task of the run.

    Returns
    -------
    Pairs of dataset id and split name in the order asked for, and for each id the name or path.

    Raises
    ------
    UsageError
        If a dataset, file or split does not exist, or an option does not go with them.
    """
    from reconeval.datasets import dataset_id

    if task == "query_mapping":
        found = query_places(options)
        own = any(name != source for name, source in found[1].items())
        _check_file_options(options, task, own=own)
        return found
    if options.query_batches or options.surgery:
        option = "--query-batches" if options.query_batches else "--surgery"
        msg = f"{option} is for query mapping: add --task query_mapping, or drop it"
        raise UsageError(msg)
    known = _known(task)
    default = DEFAULT_SHIFTS if task == "latent_shift" else DEFAULT_DATASETS
    asked = options.datasets or tuple(default)
    _check_file_options(options, task, own=not set(asked) <= set(known))
    places: list[tuple[str, str]] = []
    sources: dict[str, str] = {}
    for source in asked:
        name = dataset_id(source)
        check_new(source, name, sources)
        sources[name] = source
        own = source not in known
        if own:
            _check_own(source, options, task, known)
        places += [(name, split) for split in _splits_of(source, options, task, own=own)]
    return places, sources


def known_datasets() -> tuple[str, ...]:
    """Return the names of all datasets, whatever the task."""
    return *_known("end_to_end"), *_known("latent_shift")


def split_names() -> tuple[str, ...]:
    """Return the names of all splits but those of query mapping."""
    from reconeval import datasets

    return tuple(dict.fromkeys((*datasets.split_names(), *_SHIFT_SPLITS)))


def _check_own(source: str, options: Options, task: str, known: Iterable[str]) -> None:
    """Refuse a file of the user's own that does not exist or lacks what the task needs."""
    if not Path(source).is_file():
        msg = f"--dataset {source}: no such dataset and no such file "
        msg += f"(datasets: {', '.join(known)})"
        raise UsageError(msg)
    if task == "latent_shift" and options.perturbation_key is None:
        msg = f"--dataset {source}: a file of your own needs --perturbation-key COLUMN, and "
        msg += "--control LABEL for its control cells"
        raise UsageError(msg)


def _splits_of(source: str, options: Options, task: str, *, own: bool) -> list[str]:
    """Return each split asked for once, by default all that the dataset has labels for."""
    labelled = options.cell_type_key is not None or not own
    if task == "latent_shift":
        splits, default = _SHIFT_SPLITS, DEFAULT_SHIFTS.get(source, ("iid",))
    else:
        from reconeval.datasets import split_names

        splits = split_names()
        default = splits if labelled else ("iid",)
    found = list(dict.fromkeys(options.splits or default))
    for split in found:
        if split not in splits:
            msg = f"--split {split}: unknown, expected one of {', '.join(splits)}"
            raise UsageError(msg)
        if split == "cell_type" and not labelled:
            msg = f"--split cell_type on {source} needs --cell-type-key COLUMN"
            raise UsageError(msg)
    return found


def _known(task: str) -> tuple[str, ...]:
    """Return the datasets of a task."""
    from reconeval import datasets

    if task == "latent_shift":
        from reconeval.datasets.catalogue import catalogue_names

        return *datasets.perturbation_dataset_names(), *catalogue_names()
    return datasets.dataset_names()


def _check_file_options(options: Options, task: str, *, own: bool) -> None:
    shifts = {
        "--perturbation-key": options.perturbation_key,
        "--control": options.control,
        "--descriptor-key": options.descriptor_key,
    }
    given = {
        "--cell-type-key": options.cell_type_key,
        "--counts-layer": options.counts_layer,
        "--batch-key": options.batch_key,
        "--protein-key": options.protein_key,
        **shifts,
    }
    if task == "latent_shift":
        given["--embedding"] = options.embedding
    named = [option for option, value in given.items() if value is not None]
    for option in named:
        if option in shifts and task != "latent_shift":
            msg = f"{option} is for perturbation predictors; these are {task} models: drop it"
            raise UsageError(msg)
    if options.protein_key is not None and task in {"decode", "latent_shift"}:
        msg = f"--protein-key is for models of the cells themselves; these are {task} models: "
        raise UsageError(msg + "drop it")
    if named and not own:
        msg = f"{named[0]} is for a file of your own: add --dataset FILE.h5ad"
        raise UsageError(msg)
