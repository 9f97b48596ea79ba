"""The datasets and query batches of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconeval.cases.query_mapping import QUERY, query_split_names
from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconeval.options import Options

__all__ = ["DEFAULT_QUERY", "check_new", "n_trainings", "query_batches_of", "query_places"]

DEFAULT_QUERY = "immune_batches"


def query_places(options: Options) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Read the options of datasets and batches; nothing is loaded.

    Returns
    -------
    Pairs of dataset id and split name, and for each id the name or path.

    Raises
    ------
    UsageError
        If a dataset does not exist or has no batches, or an option does not go with it.
    """
    from reconeval.datasets import dataset_id

    if options.splits:
        msg = f"--split {options.splits[0]}: query mapping splits by batches; name the ones to map "
        raise UsageError(msg + "by --query-batches instead")
    places: list[tuple[str, str]] = []
    sources: dict[str, str] = {}
    for source in options.datasets or (DEFAULT_QUERY,):
        batches = query_batches_of(source, options)
        name = dataset_id(source)
        check_new(source, name, sources)
        sources[name] = source
        places += [(name, split) for split in query_split_names(batches)]
    return places, sources


def check_new(source: str, name: str, sources: Mapping[str, str]) -> None:
    """Refuse a dataset that is given twice, or is called in results like one before it.

    Parameters
    ----------
    source
        Name or path of the dataset.
    name
        Its id.
    sources
        Name or path of those before it, by id.

    Raises
    ------
    UsageError
        Naming both where they are two.
    """
    if name not in sources:
        return
    msg = f"--dataset {source}: given twice; keep one"
    if source != sources[name]:
        msg = f"--dataset {source}: is called {name!r} in results, as {sources[name]} is; "
        msg += "rename one of the two files"
    raise UsageError(msg)


def n_trainings(places: Sequence[tuple[str, str]]) -> int:
    """Return how many trainings the splits of query mapping need, per model and seed."""
    n_datasets = sum(split == QUERY for _, split in places)
    n_batches = (len(places) - n_datasets) // 2
    return 4 * n_datasets + 2 * n_batches  # the reference, three joint ones; each batch twice


def query_batches_of(source: str, options: Options) -> tuple[str, ...]:
    """Return the query batches of a dataset: those asked for, or those that it names itself.

    Raises
    ------
    UsageError
        If there is no such dataset or file, or it names none and none are asked for.
    """
    from reconeval.datasets.manifest import read_manifest

    entry = read_manifest().get(source)
    if entry is None and not Path(source).is_file():
        known = ", ".join(name for name, one in read_manifest().items() if one.query_batches)
        msg = f"--dataset {source}: no such dataset and no such file (with batches: {known})"
        raise UsageError(msg)
    if entry is None:
        needed = {"--batch-key COLUMN": options.batch_key, "--query-batches": options.query_batches}
        missing = [option for option, value in needed.items() if not value]
        if missing:
            msg = f"--dataset {source}: query mapping of your own file needs {missing[0]}"
            raise UsageError(msg)
        return options.query_batches
    if not entry.query_batches:
        msg = f"--dataset {source}: has no batches to map; take {DEFAULT_QUERY}, or your own file"
        raise UsageError(msg)
    return options.query_batches or entry.query_batches
