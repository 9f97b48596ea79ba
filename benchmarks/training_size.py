"""How the error of a reconstruction falls with the number of training cells.

Each model is trained by the harness on nested parts of the training cells of `iid`: for one seed
the smaller part lies in the larger. Validation and test cells are always the same.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.cases import EndToEndCase
from reconeval.cases.end_to_end import cell_inputs
from reconeval.datasets import Dataset, fetched_path, load_dataset, load_fetched, make_split
from reconeval.datasets.catalogue import find_source
from reconeval.datasets.layouts import load_source
from reconeval.datasets.manifest import sha256_of
from reconeval.errors import UsageError
from reconeval.filling import hint
from reconeval.metrics.registry import METRICS
from reconeval.runs import Run, train
from reconeval.spec import parse_models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anndata import AnnData

    from reconeval._typing import FloatArray, IntArray
    from reconeval.spec import ModelSpec

__all__ = [
    "MODELS",
    "PCA",
    "SEEDS",
    "SIZES",
    "Result",
    "difference",
    "load",
    "measure",
    "part_of",
    "read",
    "study",
]

PCA = "PCA-10"
MODELS = (
    f"{PCA}=reconeval.models:ReconPCA?n_components=10",
    "AE-10=reconeval.models:ReconAE?n_latent=10",
    "nlscVI-10=reconeval.models:ReconNLSCVI?n_latent=10",
    "Mean=reconeval.models:Mean",
)
SIZES = {
    "immune": (150, 300, 600),
    "kang_ifnb": (300, 600, 1200),
    "kang_2018": (600, 2000, 8000),
}
SEEDS = (0, 1, 2)
_FILE = "kang_ifnb_counts.h5ad"
_GENES = 2000
_DRAWS = 4000


@dataclass(frozen=True, kw_only=True)
class Result:
    """One training and its errors: mean squared, log1p of counts per 10 000, lower is better.

    Attributes
    ----------
    dataset, model, n_train, seed
        What was trained on how many cells, and from which seed.
    mse
        The metric `mse`.
    of_cells
        The error of each test cell; its mean is `mse`.
    train_mse
        The error of the training cells.
    epochs
        Passes over the training cells before training stopped; 0 where there are none.
    best_epoch
        That with the least loss of the validation cells, from 1; 0 where there are no epochs.
    losses
        The loss of the validation cells after each epoch, on the model's own scale.
    """

    dataset: str
    model: str
    n_train: int
    seed: int
    mse: float
    of_cells: tuple[float, ...]
    train_mse: float
    epochs: int
    best_epoch: int
    losses: tuple[float, ...]

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What was trained: dataset, model, number of cells and seed."""
        return self.dataset, self.model, self.n_train, self.seed


def load(name: str) -> Dataset:
    """Load a dataset of the study.

    Parameters
    ----------
    name
        `immune`; `kang_2018`, where `reconeval datasets fetch` has fetched it; or `kang_ifnb`, 2000
        of its cells in `kang_ifnb_counts.h5ad` of the folder `$RECONEVAL_DATA_DIR`. Of the last
        two the 2000 genes of highest variance.

    Raises
    ------
    UsageError
        If there is no such dataset, or its data are not there.
    """
    if name not in SIZES:
        msg = f"dataset {name}: not part of the study{hint(name, SIZES, 'datasets:')}"
        raise UsageError(msg)
    if name == "immune":
        return load_dataset(name)
    if name == "kang_2018":
        adata, path = load_fetched(name, genes=_GENES), fetched_path(name)
    else:
        folder = os.environ.get("RECONEVAL_DATA_DIR", "")
        path = Path(folder) / _FILE
        if not folder or not path.is_file():
            msg = f"dataset {name}: needs {_FILE} in the folder $RECONEVAL_DATA_DIR"
            raise UsageError(msg)
        adata = _cells_of_kang(path)
    return Dataset(name, "user", sha256_of(path), adata, cell_type_key="cell_type")


def _cells_of_kang(path: Path) -> AnnData:
    source = find_source("kang_2018")
    layout = replace(
        source.layout,
        perturbation="condition",
        cell_type="cell_type_transferred",
        condition="donor",
    )
    return load_source(replace(source, layout=layout), path, genes=_GENES)


def part_of(train: IntArray, n_train: int, seed: int) -> IntArray:
    """Draw `n_train` of the training cells; of one seed, fewer cells are a part of more."""
    return np.random.default_rng(seed).permutation(train)[:n_train]


def measure(spec: ModelSpec, dataset: Dataset, n_train: int, seed: int) -> Result:
    """Train a model on some of the training cells of `iid`, and ask it for the test cells."""
    split = make_split(dataset, "iid")
    split = replace(split, train=part_of(split.train, n_train, seed))
    case = EndToEndCase(dataset, split)
    run = train(spec, case, [seed])
    if run.error:
        raise RuntimeError(run.error)
    (fit,) = run.fits
    losses = _losses(fit.model)
    return Result(
        dataset=dataset.name,
        model=spec.id,
        n_train=n_train,
        seed=seed,
        mse=run.row(METRICS["mse"]).value,
        of_cells=tuple(_errors(dataset.X[split.test], fit.pair.prediction).tolist()),
        train_mse=float(_errors(dataset.X[split.train], _of_training(run, dataset)).mean()),
        epochs=len(losses),
        best_epoch=int(np.argmin(losses)) + 1 if losses else 0,
        losses=losses,
    )


def study(
    dataset: Dataset,
    sizes: Sequence[int],
    seeds: Sequence[int],
    *,
    models: Sequence[str] = MODELS,
    keep: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """Train every model on every number of cells, once per seed.

    Parameters
    ----------
    dataset
        The cells.
    sizes
        Numbers of training cells.
    seeds
        Each seeds one draw of the cells and the training on them.
    models
        As `--model` takes them.
    keep
        A file that each result is added to as it comes, a line of JSON; what is in it already is
        not trained again.
    progress
        Called with one line after each training.

    Returns
    -------
    The results, by size, seed and model.
    """
    known = {} if keep is None else {result.key: result for result in read(keep)}
    results = []
    for n_train in sizes:
        for seed in seeds:
            for spec in parse_models(models):
                result = known.get((dataset.name, spec.id, n_train, seed))
                if result is None:
                    result = measure(spec, dataset, n_train, seed)
                    if keep is not None:
                        with keep.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(asdict(result)) + "\n")
                results.append(result)
                progress(f"{result.key}: mse {result.mse:.4f}, {result.epochs} epochs")
    return results


def read(path: Path) -> list[Result]:
    """Return the results of a file that `study` has written, none if there is no such file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Result(**json.loads(line)) for line in lines]


def difference(
    results: Sequence[Result], model: str, other: str = PCA
) -> tuple[float, float, float]:
    """Compare two models of one dataset and number of training cells.

    Parameters
    ----------
    results
        Results of that dataset and number alone, with both models for each seed.
    model, other
        Ids of the models.

    Returns
    -------
    The mean difference of `mse`, below 0 where `model` is better, and the bounds of its 95 %
    interval: a percentile bootstrap that draws seeds and, paired, test cells.
    """
    first, second = (
        np.array([one.of_cells for one in sorted(results, key=_seed) if one.model == name])
        for name in (model, other)
    )
    gaps = first - second
    rng = np.random.default_rng(0)
    n_seeds, n_cells = gaps.shape
    # How often each seed and each cell is drawn, as shares.
    seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=_DRAWS) / n_seeds
    cells = rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), size=_DRAWS) / n_cells
    means = ((seeds @ gaps) * cells).sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(gaps.mean()), float(low), float(high)


def _seed(result: Result) -> int:
    return result.seed


def _errors(truth: FloatArray, prediction: FloatArray) -> FloatArray:
    errors: FloatArray = np.square(truth.astype(np.float64) - prediction).mean(axis=1)
    return errors


def _of_training(run: Run, dataset: Dataset) -> FloatArray:
    rows = run.case.split.train
    counts = None if dataset.counts is None else dataset.counts[rows]
    return run.predict(run.fits[0], cell_inputs(dataset, rows, dataset.X[rows], counts))


def _losses(model: Any) -> tuple[float, ...]:
    """Return the loss of the validation cells after each epoch, as the model kept it."""
    history = getattr(getattr(model, "model", None), "history", None)
    if history is not None:
        return tuple(float(loss) for loss in history["elbo_validation"]["elbo_validation"])
    return tuple(getattr(model, "losses", ()))
