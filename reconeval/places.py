"""What a run covers: its task, its embedding, and its datasets and splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconeval.errors import UsageError
from reconeval.offers import OFFERED
from reconeval.query_mapping.places import query_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconeval.embedding import Embedding
    from reconeval.options import Options
    from reconeval.spec import ModelSpec

__all__ = [
    "DEFAULT_DATASETS",
    "DEFAULT_SHIFTS",
    "decoded_name",
    "find_embedding",
    "find_places",
    "task_of_run",
]

DEFAULT_DATASETS = ("immune", "pbmc68k")
# Of perturbations, the splits that a first look needs; the others are asked for by --split.
DEFAULT_SHIFTS = {"latent_synthetic": ("iid",), "immune_shift": ("iid", "perturbation")}

_SHIFT_SPLITS = ("iid", "perturbation", "cell_type", "condition")


def task_of_run(specs: Sequence[ModelSpec]) -> str:
    """Return the one task that all models of a run share.

    Raises
    ------
    UsageError
        If two models have different tasks, or the task has no benchmark.
    """
    first = specs[0]
    for spec in specs:
        if spec.task not in OFFERED:
            msg = f"--model {spec.source}: a {spec.task} model; the benchmarks are for models of "
            msg += f"{', '.join(OFFERED)}"
            raise UsageError(msg)
        if spec.task != first.task:
            msg = (
                f"--model {first.source} is for the task {first.task}, --model {spec.source} for "
                f"{spec.task}; a run has one task: run them one after the other"
            )
            raise UsageError(msg)
    return first.task


def find_embedding(options: Options, task: str) -> Embedding | None:
    """Return the embedding that decoders of a run see; None for other tasks.

    Raises
    ------
    UsageError
        If decoders have none or two, other models have one or covariates, or an embedder cannot
        be used.
    """
    if options.covariates and task != "decode":
        msg = f"--covariate {options.covariates[0]}: is for decoders; these are {task} models: "
        msg += "drop it"
        raise UsageError(msg)
    given = {"--embedding": options.embedding, "--embedder": options.embedder}
    named = [option for option, value in given.items() if value is not None]
    if task == "latent_shift" and named == ["--embedding"]:
        return None  # of a file of the user's own, see _check_file_options
    if task != "decode":
        if named:
            what = 'decoders (a class with task = "decode")'
            msg = f"{named[0]} is for {what}; these are {task} models: drop it"
            raise UsageError(msg)
        return None
    if len(named) == 2:
        msg = "--embedding and --embedder are both given; keep one, a run has one embedding"
        raise UsageError(msg)
    if not named:
        msg = (
            "a decoder needs an embedding: add --embedding KEY_OR_FILE (a key of obsm, or .npy, "
            ".zarr or .h5ad) or --embedder MODULE:CLASS"
        )
        raise UsageError(msg)
    from reconeval.embedding import StoredEmbedding, parse_embedder

    if options.embedding is not None:
        return StoredEmbedding(options.embedding)
    return parse_embedder(str(options.embedder))


def decoded_name(embedding: Embedding, options: Options) -> tuple[str, str]:
    """Name what the decoders of a run see of a cell.

    Parameters
    ----------
    embedding
        The embedding.
    options
        What the user asked for.

    Returns
    -------
    What stands in a model's id after the slash, such as `X_fm+obs:donor`, and what was typed:
    labels of test cells can stand for the cells, so no result is without a word of them.
    """
    from reconeval._settings import shown

    flags = [f"--covariate {column}" for column in options.covariates]
    if options.batch_key is not None:
        flags = [f"--batch-key {options.batch_key}", *flags]
    columns = dict.fromkeys([*filter(None, [options.batch_key]), *options.covariates])
    name = embedding.name + "".join(f"+obs:{shown(column)}" for column in columns)
    return name, " ".join([embedding.option, *flags])


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
        places, sources = query_places(options)
        own = any(name != source for name, source in sources.items())
        _check_file_options(options, task, own=own)
        return places, sources
    if options.query_batches or options.surgery:
        option = "--query-batches" if options.query_batches else "--surgery"
        msg = f"{option} is for query mapping: add --task query_mapping, or drop it"
        raise UsageError(msg)
    known, splits = _known(task)
    asked = options.datasets or tuple(
        DEFAULT_SHIFTS if task == "latent_shift" else DEFAULT_DATASETS
    )
    _check_file_options(options, task, own=not set(asked) <= set(known))
    places, sources = [], {}
    for source in asked:
        name = dataset_id(source)
        if name in sources:
            msg = f"--dataset {source}: the name {name!r} is taken twice; give each one name"
            raise UsageError(msg)
        sources[name] = source
        if source not in known and not Path(source).is_file():
            msg = f"--dataset {source}: no such dataset and no such file "
            msg += f"(datasets: {', '.join(known)})"
            raise UsageError(msg)
        if task == "latent_shift" and source not in known and options.perturbation_key is None:
            msg = f"--dataset {source}: a file of your own needs --perturbation-key COLUMN, and "
            msg += "--control LABEL for its control cells"
            raise UsageError(msg)
        labelled = source in known or options.cell_type_key is not None
        if task == "latent_shift":
            default = DEFAULT_SHIFTS.get(source, ("iid",))
        else:
            default = splits if labelled else ("iid",)
        for split in dict.fromkeys(options.splits or default):
            if split not in splits:
                msg = f"--split {split}: unknown, expected one of {', '.join(splits)}"
                raise UsageError(msg)
            if split == "cell_type" and not labelled:
                msg = f"--split cell_type on {source} needs --cell-type-key COLUMN"
                raise UsageError(msg)
            places.append((name, split))
    return places, sources


def _known(task: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the datasets of a task, and the splits that its datasets may have."""
    from reconeval import datasets

    if task == "latent_shift":
        from reconeval.datasets.catalogue import catalogue_names

        return (*datasets.perturbation_dataset_names(), *catalogue_names()), _SHIFT_SPLITS
    return datasets.dataset_names(), datasets.split_names()


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
