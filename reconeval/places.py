"""Which datasets and splits a run covers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from reconeval.options import Options

__all__ = ["DEFAULT_DATASETS", "find_places"]

DEFAULT_DATASETS = ("immune", "pbmc68k")


def find_places(options: Options) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Read the options of datasets and splits; nothing is loaded.

    Parameters
    ----------
    options
        What the user asked for.

    Returns
    -------
    Pairs of dataset id and split name in the order asked for, and for each id the name or path.

    Raises
    ------
    UsageError
        If a dataset, file or split does not exist, or an option does not go with them.
    """
    from reconeval.datasets import dataset_id, dataset_names, split_names

    asked = options.datasets or DEFAULT_DATASETS
    _check_file_options(options, own=not set(asked) <= set(dataset_names()))
    places: list[tuple[str, str]] = []
    sources: dict[str, str] = {}
    for source in asked:
        name = dataset_id(source)
        if name in sources:
            msg = f"--dataset {source}: the name {name!r} is taken twice; give each one name"
            raise UsageError(msg)
        sources[name] = source
        frozen = source in dataset_names()
        if not frozen and not Path(source).is_file():
            known = ", ".join(dataset_names())
            msg = f"--dataset {source}: no such dataset and no such file (datasets: {known})"
            raise UsageError(msg)
        labelled = frozen or options.cell_type_key is not None
        default = split_names() if labelled else ("iid",)
        for split in dict.fromkeys(options.splits or default):
            if split not in split_names():
                msg = f"--split {split}: unknown, expected one of {', '.join(split_names())}"
                raise UsageError(msg)
            if split == "cell_type" and not labelled:
                msg = f"--split cell_type on {source} needs --cell-type-key COLUMN"
                raise UsageError(msg)
            places.append((name, split))
    return places, sources


def _check_file_options(options: Options, *, own: bool) -> None:
    given = {
        "--cell-type-key": options.cell_type_key,
        "--counts-layer": options.counts_layer,
        "--batch-key": options.batch_key,
    }
    named = [option for option, value in given.items() if value is not None]
    if named and not own:
        msg = f"{named[0]} is for a file of your own: add --dataset FILE.h5ad"
        raise UsageError(msg)
