"""The models of a run, the one task that they share, and what decoders see of the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconeval.errors import UsageError
from reconeval.offers import OFFERED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconeval.embedding import Embedding
    from reconeval.options import Options
    from reconeval.spec import ModelSpec

__all__ = ["asked_models"]


def asked_models(options: Options) -> tuple[str, list[ModelSpec], Embedding | None]:
    """Read the options of models and embeddings; no model is built.

    Parameters
    ----------
    options
        What the user asked for.

    Returns
    -------
    The task of the run, its models, and the embedding that decoders see, None for other tasks.

    Raises
    ------
    UsageError
        If a model cannot be used, two have different tasks or the task has no benchmark, or an
        embedding or embedder is missing, unfit or given where there is nothing to decode.
    """
    from reconeval.spec import parse_models

    specs = parse_models(options.models, sweeps=options.sweeps)
    task = options.task or _shared_task(specs)
    if task == "query_mapping":
        from reconeval.query_mapping.models import mapping_specs

        specs = mapping_specs(specs, options)
    embedding = _embedding_of(options, task)
    if embedding is not None:
        specs = [spec.decoding(*_decoded_name(embedding, options)) for spec in specs]
    return task, specs, embedding


def _shared_task(specs: Sequence[ModelSpec]) -> str:
    """Return the one task that all models of a run share; refuse what has no benchmark."""
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


def _embedding_of(options: Options, task: str) -> Embedding | None:
    """Return the embedding that decoders of a run see; None for other tasks."""
    if options.covariates and task != "decode":
        msg = f"--covariate {options.covariates[0]}: is for decoders; these are {task} models: "
        msg += "drop it"
        raise UsageError(msg)
    given = {"--embedding": options.embedding, "--embedder": options.embedder}
    named = [option for option, value in given.items() if value is not None]
    if task == "latent_shift" and named == ["--embedding"]:
        return None  # of a file of the user's own, see reconeval.places
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


def _decoded_name(embedding: Embedding, options: Options) -> tuple[str, str]:
    """Name what decoders see of a cell: as their ids say it after the slash, and as it was typed.

    Labels of test cells can stand for the cells, so no result is without a word of them: an id is
    `KNNDecoder/X_fm+obs:donor`.
    """
    from reconeval._settings import shown

    flags = [f"--covariate {column}" for column in options.covariates]
    if options.batch_key is not None:
        flags = [f"--batch-key {options.batch_key}", *flags]
    columns = dict.fromkeys([*filter(None, [options.batch_key]), *options.covariates])
    name = embedding.name + "".join(f"+obs:{shown(column)}" for column in columns)
    return name, " ".join([embedding.option, *flags])
