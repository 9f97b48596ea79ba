"""What the user asked for, whichever way it was said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for on the command line.

    Attributes
    ----------
    models
        Texts of `--model`.
    sweeps
        Texts of `--sweep`.
    task
        The task where the models do not say it, or None.
    datasets, splits
        Names or paths, and split names; empty means the defaults.
    cell_type_key, counts_layer, batch_key, protein_key
        Columns, layer and key of `obsm` of the user's own file.
    embedding
        Key of `obsm` or file of an embedding, or None.
    embedder
        Text of `--embedder`, or None.
    covariates
        Columns of `obs` that decoders get beside the embedding, with `batch_key`.
    perturbation_key, control, descriptor_key
        Column of the perturbations, label of the controls and key of the descriptors in the
        user's own file.
    query_batches
        Batches that are mapped onto all others; empty means those of the dataset.
    surgery
        Text of `--surgery`, or None.
    seeds
        Seeds of the run, one training each.
    metrics, families
        Metrics to score; empty means all.
    tolerances
        Texts of `--metric-compare-fail`.
    baseline
        File of the earlier run, or None.
    results
        Where the tidy table goes, or None.
    thresholds
        Thresholds file instead of the suite's own, or None.
    update_thresholds
        Write bands, then fail.
    accelerator
        `cpu` or `gpu`, offered to `train`.
    verbose
        Let third-party libraries write to the terminal.
    """

    models: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    task: str | None = None
    datasets: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    cell_type_key: str | None = None
    counts_layer: str | None = None
    batch_key: str | None = None
    protein_key: str | None = None
    embedding: str | None = None
    embedder: str | None = None
    covariates: tuple[str, ...] = ()
    perturbation_key: str | None = None
    control: str | None = None
    descriptor_key: str | None = None
    query_batches: tuple[str, ...] = ()
    surgery: str | None = None
    seeds: tuple[int, ...] = (0,)
    metrics: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    tolerances: tuple[str, ...] = ()
    baseline: Path | None = None
    results: Path | None = None
    thresholds: Path | None = None
    update_thresholds: bool = False
    accelerator: str = "cpu"
    verbose: bool = False
