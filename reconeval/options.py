"""What the user asked for, whichever way it was said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["N_RESAMPLES", "Options", "names_in"]

N_RESAMPLES = 1000


def names_in(text: str) -> tuple[str, ...]:
    """Return the names that an option lists, separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


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
    resamples
        In how many resamples of the test cells metrics are computed for intervals; 0 for none.
    tolerances
        Texts of `--metric-compare-fail`.
    baseline
        File of the earlier run, or None.
    fail_on_regression
        Whether any metric that is worse than in the baseline fails its test.
    results
        Files of the tidy table.
    reports
        Files of the HTML report.
    material
        Keep what a report draws of predictions, for this report or a later one.
    thresholds
        Thresholds file instead of the suite's own, or None.
    update_thresholds
        Write bands, then fail.
    accelerator
        `cpu` or `gpu`, offered to `train`.
    cache
        Take what an earlier run has finished, and keep what this one finishes.
    cache_dir
        Where that is kept instead of the user's cache folder, or None.
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
    resamples: int = N_RESAMPLES
    tolerances: tuple[str, ...] = ()
    baseline: Path | None = None
    fail_on_regression: bool = False
    results: tuple[Path, ...] = ()
    reports: tuple[Path, ...] = ()
    material: bool = False
    thresholds: Path | None = None
    update_thresholds: bool = False
    accelerator: str = "cpu"
    cache: bool = True
    cache_dir: Path | None = None
    verbose: bool = False

    @property
    def arguments(self) -> list[str]:
        """The words of the command line that every row of a run depends on.

        Seeds, device, thresholds, and what is read of the user's own data; the models, datasets,
        splits and metrics are named by the rows themselves.
        """
        given: dict[str, object] = {
            "--cell-type-key": self.cell_type_key,
            "--counts-layer": self.counts_layer,
            "--batch-key": self.batch_key,
            "--protein-key": self.protein_key,
            "--embedding": self.embedding,
            "--embedder": self.embedder,
            "--perturbation-key": self.perturbation_key,
            "--control": self.control,
            "--descriptor-key": self.descriptor_key,
            "--thresholds": self.thresholds,
            "--query-batches": ",".join(self.query_batches),
        }
        words = [word for option, value in given.items() if value for word in (option, str(value))]
        words += [word for column in self.covariates for word in ("--covariate", column)]
        if len(self.seeds) > 1:
            words += ["--seeds", str(len(self.seeds))]
        if self.seeds[0]:
            words += ["--seed", str(self.seeds[0])]
        if self.resamples != N_RESAMPLES:
            words += ["--resamples", str(self.resamples)] if self.resamples else ["--no-intervals"]
        if self.accelerator != "cpu":
            words += ["--accelerator", self.accelerator]
        return words
