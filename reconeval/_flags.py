"""The options of the command line, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from reconeval.options import Options

__all__ = ["add_options", "read_options"]


def add_options(parser: pytest.Parser) -> None:
    """Declare the options of the benchmarks."""
    group = parser.getgroup("reconeval", "benchmarks of reconstruction models (reconeval)")
    _add_what(group.addoption)
    _add_data(group.addoption)
    _add_how(group.addoption)


def _add_what(add: Callable[..., None]) -> None:
    add(
        "--model",
        action="append",
        default=[],
        metavar="[ALIAS=]MODULE:CLASS[?k=v&train.k=v]",
        help="model to benchmark, or a TOML file of aliases; repeatable",
    )
    add(
        "--sweep",
        action="append",
        default=[],
        metavar="KEYWORD=V,V,...",
        help="make each model one model per value, e.g. n_latent=10,32,128; several are crossed",
    )
    add(
        "--task",
        choices=("query_mapping",),
        help="map query batches onto models that offer it; naming test_query_mapping.py does too",
    )
    add(
        "--dataset",
        action="append",
        default=[],
        metavar="NAME|FILE.h5ad",
        help="frozen dataset or your own file; repeatable (default: by the models' task)",
    )
    add(
        "--split",
        action="append",
        default=[],
        metavar="NAME",
        help="iid, cell_type, and for perturbation predictors perturbation or condition; "
        "repeatable (default: by the dataset)",
    )


def _add_data(add: Callable[..., None]) -> None:
    add("--cell-type-key", metavar="COLUMN", help="obs column of cell types in your file")
    add("--counts-layer", metavar="LAYER", help="layer of raw counts in your file, or X")
    add("--batch-key", metavar="COLUMN", help="obs column of batches in your file")
    add("--protein-key", metavar="KEY", help="obsm of raw protein counts in your file")
    add(
        "--embedding",
        metavar="KEY|FILE",
        help="what decoders decode: a key of obsm, or a .npy, .zarr or .h5ad file with cell names",
    )
    add(
        "--embedder",
        metavar="[ALIAS=]MODULE:CLASS[?k=v]",
        help="instead of --embedding, a class with embed(adata) that returns an array",
    )
    add(
        "--covariate",
        action="append",
        default=[],
        metavar="COLUMN",
        help="obs column that decoders get beside the embedding, as they get --batch-key, also of "
        "test cells; repeatable, stands in the model's id (default: none)",
    )
    add(
        "--query-batches",
        metavar="NAMES",
        help="comma-separated batches to map onto all others, in query mapping",
    )
    add(
        "--surgery",
        metavar="K=V&K=V",
        help="settings of query mapping, e.g. max_epochs=50&weight_decay=0; stand in the id",
    )
    add("--perturbation-key", metavar="COLUMN", help="obs column of perturbations in your file")
    add("--control", metavar="LABEL", help="label of the control cells in that column")
    add("--descriptor-key", metavar="KEY", help="descriptors of perturbations in your file")


def _add_how(add: Callable[..., None]) -> None:
    add("--seeds", type=int, default=1, metavar="N", help="train with N seeds (default: 1)")
    add("--seed", type=int, default=0, metavar="S", help="first seed (default: 0)")
    add("--metrics", metavar="NAMES", help="comma-separated metrics (default: all)")
    add("--metric-family", metavar="NAMES", help="comma-separated metric families")
    _add_intervals(add)
    _add_gate(add)
    add(
        "--results",
        action="append",
        default=[],
        metavar="FILE",
        help="write all rows to FILE.csv, .json or .parquet; repeatable",
    )
    text = "write a report to look at to FILE.html; repeatable"
    add("--report", action="append", default=[], metavar="FILE", help=text)
    add("--thresholds", metavar="FILE", help="thresholds to assert instead of the suite's own")
    add(
        "--update-thresholds",
        action="store_true",
        help="write the measured bands into the thresholds file, then fail",
    )
    add("--require-gpu", action="store_true", help="fail gpu-marked tests that cannot run")
    add(
        "--accelerator",
        choices=("cpu", "gpu"),
        default="cpu",
        help="offered to the model's train (default: cpu)",
    )
    add(
        "--no-cache",
        action="store_true",
        help="train and score anew, whatever earlier runs have finished, and keep nothing",
    )
    add(
        "--cache-dir",
        metavar="DIR",
        help="keep finished trainings and scores here (default: $RECONEVAL_CACHE/results, or in "
        "the user's cache folder)",
    )


def _add_intervals(add: Callable[..., None]) -> None:
    from reconeval.options import N_RESAMPLES

    add(
        "--resamples",
        type=int,
        default=N_RESAMPLES,
        metavar="N",
        help="find intervals of metrics from N resamples of the test cells "
        f"(default: {N_RESAMPLES})",
    )
    add("--no-intervals", action="store_true", help="score without intervals")


def _add_gate(add: Callable[..., None]) -> None:
    add(
        "--baseline",
        metavar="FILE",
        help="earlier run to compare with: JSON of --results or of pytest-benchmark "
        "(default: the file of --benchmark-compare)",
    )
    add(
        "--fail-on-regression",
        action="store_true",
        help="fail where a metric is worse than in the baseline beyond chance, or a cost by ratio",
    )
    add(
        "--metric-compare-fail",
        action="append",
        default=[],
        metavar="METRIC:TOL",
        help="fail where a metric is worse than in the baseline by more than TOL, "
        "e.g. r2:0.01 or mse:5%%; repeatable",
    )


def read_options(config: pytest.Config) -> Options:
    """Return what the user asked for; `UsageError` where a number is out of range."""
    from reconeval.options import Options

    get = config.getoption
    _check_numbers(config)
    return Options(
        models=tuple(get("model")),
        sweeps=tuple(get("sweep")),
        task=get("task") or _task_of_files(config.args),
        datasets=tuple(get("dataset")),
        splits=tuple(get("split")),
        cell_type_key=get("cell_type_key"),
        counts_layer=get("counts_layer"),
        batch_key=get("batch_key"),
        protein_key=get("protein_key"),
        embedding=get("embedding"),
        embedder=get("embedder"),
        covariates=tuple(dict.fromkeys(get("covariate"))),
        perturbation_key=get("perturbation_key"),
        control=get("control"),
        descriptor_key=get("descriptor_key"),
        query_batches=_names(config, "--query-batches"),
        surgery=get("surgery"),
        seeds=tuple(range(get("seed"), get("seed") + get("seeds"))),
        metrics=_names(config, "--metrics"),
        families=_names(config, "--metric-family"),
        resamples=0 if get("no_intervals") else get("resamples"),
        tolerances=tuple(get("metric_compare_fail")),
        baseline=_path(get("baseline")) or _baseline(config),
        fail_on_regression=get("fail_on_regression"),
        results=_paths(get("results")),
        reports=_paths(get("report")),
        material=_draws(config),
        thresholds=_path(get("thresholds")),
        update_thresholds=get("update_thresholds"),
        accelerator=get("accelerator"),
        cache=not get("no_cache"),
        cache_dir=_path(get("cache_dir")),
        verbose=config.get_verbosity() > 0,
    )


def _names(config: pytest.Config, option: str) -> tuple[str, ...]:
    """Return the names that an option lists, none where it is not given."""
    from reconeval.options import names_in

    text = config.getoption(option)
    if text is None:
        return ()
    names = names_in(text)
    if not names:
        msg = f"{option} {text!r}: holds no name; write names separated by commas, or drop it"
        raise UsageError(msg)
    return names


def _check_numbers(config: pytest.Config) -> None:
    from reconeval.intervals import FEWEST

    seed, n_seeds, n_resamples = map(config.getoption, ("seed", "seeds", "resamples"))
    if n_seeds < 1:
        msg = f"--seeds {n_seeds}: expected at least 1"
        raise UsageError(msg)
    if n_resamples < FEWEST:
        msg = f"--resamples {n_resamples}: expected at least {FEWEST}, or --no-intervals"
        raise UsageError(msg)
    if not 0 <= seed < 2**32:
        msg = f"--seed {seed}: expected a number from 0 to {2**32 - 1}, as NumPy takes"
        raise UsageError(msg)
    last = seed + n_seeds - 1
    if last >= 2**32:
        msg = f"--seed {seed} with --seeds {n_seeds}: the last seed would be {last}, NumPy takes "
        msg += f"none above {2**32 - 1}; begin at {2**32 - n_seeds} or below"
        raise UsageError(msg)


def _draws(config: pytest.Config) -> bool:
    """Return whether a file is asked for from which a report is drawn, now or later."""
    as_json = any(path.suffix == ".json" for path in _paths(config.getoption("results")))
    return bool(config.getoption("report") or as_json or config.getoption("benchmark_json", None))


def _task_of_files(arguments: Sequence[str]) -> str | None:
    """Return the task of a file that the user names and that is for one task alone."""
    files = [argument.partition("::")[0].removesuffix(".py") for argument in arguments]
    return "query_mapping" if any(file.endswith("test_query_mapping") for file in files) else None


def _paths(texts: Sequence[str]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(map(Path, texts)))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def keep_saved_run(config: pytest.Config) -> None:
    """Keep a saved run without timings from pytest-benchmark, which would miss them aloud.

    Asked once the options are read: `--benchmark-compare` is forgotten where its file is such a
    run, as `--results` writes it, and serves as the baseline.
    """
    from reconeval.gate import has_timings

    path = None if config.getoption("baseline") else _baseline(config)
    if path is not None and not has_timings(path):
        config.option.benchmark_compare = None


def _baseline(config: pytest.Config) -> Path | None:
    """Return the file of `--benchmark-compare=FILE`; a saved run's number is left to its owner."""
    given = config.getoption("benchmark_compare", None)
    if not isinstance(given, str) or not (given.endswith(".json") or Path(given).is_file()):
        return None
    return Path(given)
