"""What the harness offers to a model's constructor and to its `train`, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from reconeval.filling import Offer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from reconeval._typing import FloatArray
    from reconeval.datasets import Dataset, Split

__all__ = [
    "CONSTRUCTOR_OFFERS",
    "OFFERED",
    "PROTEINS",
    "TRAIN_OFFERS",
    "Offered",
    "TrainingData",
    "cells_of",
    "constructor_offers",
    "copies",
    "fixed",
    "run_offers",
    "sized",
    "train_offers",
    "training_data",
]

CONSTRUCTOR_OFFERS = ("input_dim", "n_input", "n_genes", "seed", "random_state")
_RUN_OFFERS = (
    "seed",
    "random_state",
    "max_epochs",
    "accelerator",
    "enable_progress_bar",
    "logger",
)
TRAIN_OFFERS = (
    *("X", "val_X", "adata", "val_adata", "counts", "obs", "datamodule"),
    *("batch_key", "cell_type_key", *_RUN_OFFERS),
)


class Offered(NamedTuple):
    """Names that a task offers, before any data are there.

    Attributes
    ----------
    constructor, train
        To the constructor and to `train`.
    lone
        The offer for `train` that goes to a lone positional argument whatever its name, or None.
    """

    constructor: tuple[str, ...]
    train: tuple[str, ...]
    lone: str | None = None


OFFERED = {
    "end_to_end": Offered(CONSTRUCTOR_OFFERS, TRAIN_OFFERS, lone="X"),
    "decode": Offered(
        ("embed_dim", "input_dim", "n_genes", "seed", "random_state"),
        (
            *("embedding", "X", "val_embedding", "val_X", "obs", "val_obs", "adata", "counts"),
            *_RUN_OFFERS,
        ),
    ),
    "latent_shift": Offered(
        ("embed_dim", "cov_dim", "n_genes", "seed", "random_state"),
        (
            *("ctrl_emb", "pert_emb", "pert_cov", "val_ctrl_emb", "val_pert_emb", "val_pert_cov"),
            *("ctrl_cov", "perturbation", "parts", "cell_type", "condition", "decode"),
            *_RUN_OFFERS,
        ),
    ),
}

OFFERED["query_mapping"] = OFFERED["end_to_end"]  # a model of the reference, at first

BATCH_SIZE = 64
PROTEINS = "proteins"  # where the protein counts of cells are, in `obsm`
MAX_EPOCHS = 100


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingData:
    """All that a model may see in training: never a test cell.

    Attributes
    ----------
    X, val_X
        Arrays of shape (n_cells, n_genes), log1p of counts per 10 000. Training and validation
        cells; None without validation cells.
    genes
        n_genes gene names, in column order.
    counts, val_counts
        Raw counts of the same cells, or None.
    obs, val_obs
        Annotations of the same cells, or None.
    proteins, val_proteins
        Protein counts of the same cells, a column per protein, or None.
    batch_key, cell_type_key
        Columns of `obs`, or None.
    """

    X: FloatArray
    genes: tuple[str, ...]
    val_X: FloatArray | None = None
    counts: FloatArray | None = None
    val_counts: FloatArray | None = None
    obs: pd.DataFrame | None = None
    val_obs: pd.DataFrame | None = None
    proteins: pd.DataFrame | None = None
    val_proteins: pd.DataFrame | None = None
    batch_key: str | None = None
    cell_type_key: str | None = None

    def adata(self) -> AnnData:
        """Return a fresh AnnData of the training cells alone, as `cells_of` makes it."""
        return cells_of(self.X, self.genes, self.counts, self.obs, self.proteins)

    def val_adata(self) -> AnnData | None:
        """Return the same of the validation cells, or None where there are none."""
        if self.val_X is None:
            return None
        return cells_of(self.val_X, self.genes, self.val_counts, self.val_obs, self.val_proteins)


def cells_of(
    X: FloatArray,
    genes: Sequence[str],
    counts: FloatArray | None = None,
    obs: pd.DataFrame | None = None,
    proteins: pd.DataFrame | None = None,
) -> AnnData:
    """Return a fresh AnnData of some cells.

    It is made from the arrays, not cut out of the dataset: `uns`, `obsm` and `varm` of a user's
    file may have been computed with the test cells.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes), log1p of counts per 10 000.
    genes
        n_genes gene names.
    counts
        Array of shape (n_cells, n_genes), raw; becomes `layers["counts"]`.
    obs
        Annotations, a row per cell.
    proteins
        Raw counts of proteins, a row per cell; becomes `obsm["proteins"]`.

    Returns
    -------
    Copies of all of them.
    """
    import pandas as pd
    from anndata import AnnData

    empty = pd.DataFrame(index=[str(row) for row in range(len(X))])
    adata = AnnData(
        X.copy(),
        obs=empty if obs is None else obs.copy(),
        var=pd.DataFrame(index=list(genes)),
    )
    if counts is not None:
        adata.layers["counts"] = counts.copy()
    if proteins is not None:
        adata.obsm[PROTEINS] = proteins.set_axis(adata.obs_names)
    return adata


def training_data(dataset: Dataset, split: Split) -> TrainingData:
    """Take the training and validation cells of a split.

    Parameters
    ----------
    dataset
        The cells.
    split
        Row numbers into them.

    Returns
    -------
    The cells of the split's `train` and `val`; `val_*` is None where it has no validation cells.
    """
    X, counts, obs, proteins = dataset.X, dataset.counts, dataset.adata.obs, dataset.proteins
    train, val = split.train, split.val
    some = len(val) > 0
    return TrainingData(
        X=X[train],
        genes=dataset.genes,
        val_X=X[val] if some else None,
        counts=None if counts is None else counts[train],
        val_counts=None if counts is None or not some else counts[val],
        obs=obs.iloc[train],
        val_obs=obs.iloc[val] if some else None,
        proteins=None if proteins is None else proteins.iloc[train],
        val_proteins=None if proteins is None or not some else proteins.iloc[val],
        batch_key=dataset.batch_key,
        cell_type_key=dataset.cell_type_key,
    )


def constructor_offers(*, n_genes: int, seed: int) -> dict[str, Offer]:
    """Return what a constructor can ask for by name.

    Parameters
    ----------
    n_genes
        Number of genes, for `input_dim`, `n_input` and `n_genes`.
    seed
        For `seed` and `random_state`.

    Returns
    -------
    Offers by name, those of `CONSTRUCTOR_OFFERS`.
    """
    return sized(seed, input_dim=n_genes, n_input=n_genes, n_genes=n_genes)


def train_offers(
    data: TrainingData, *, seed: int, accelerator: str = "cpu", progress: bool = False
) -> dict[str, Offer]:
    """Return what `train` can ask for by name.

    Parameters
    ----------
    data
        The training cells.
    seed
        For `seed`, `random_state` and the batches of `datamodule`.
    accelerator
        `cpu` or `gpu`, as Lightning names it.
    progress
        For `enable_progress_bar`.

    Returns
    -------
    Offers by name, those of `TRAIN_OFFERS` that the data have. Each is made afresh for the call
    that takes it, so that a model that changes its training data harms nobody else.
    """

    def datamodule() -> Any:
        from reconeval.datamodule import InMemoryDataModule

        val_X = None if data.val_X is None else data.val_X.copy()
        return InMemoryDataModule(data.X.copy(), batch_size=BATCH_SIZE, val_X=val_X, seed=seed)

    offers = {
        "X": Offer(data.X.copy),
        "adata": Offer(data.adata),
        "val_adata": Offer(data.val_adata),
        "datamodule": Offer(datamodule),
        "batch_key": fixed(data.batch_key),
        "cell_type_key": fixed(data.cell_type_key),
        **run_offers(seed=seed, accelerator=accelerator, progress=progress),
    }
    return offers | copies({"val_X": data.val_X, "counts": data.counts, "obs": data.obs})


def run_offers(*, seed: int, accelerator: str = "cpu", progress: bool = False) -> dict[str, Offer]:
    """Return what `train` can ask for of the run itself, whatever the task.

    Parameters and the names are those of `train_offers`.
    """
    return {
        "seed": fixed(seed),
        "random_state": fixed(seed),
        "max_epochs": Offer(lambda: MAX_EPOCHS, only_if_required=True),
        "accelerator": fixed(accelerator),
        "enable_progress_bar": fixed(progress),
        "logger": Offer(lambda: False),
    }


def copies(tables: Mapping[str, Any]) -> dict[str, Offer]:
    """Return offers of arrays and data frames, copied for each call; None is not offered."""
    return {name: Offer(table.copy) for name, table in tables.items() if table is not None}


def sized(seed: int, **sizes: int) -> dict[str, Offer]:
    """Return offers of sizes by name, and of the seed, as constructors take them."""
    values = {**sizes, "seed": seed, "random_state": seed}
    return {name: fixed(value) for name, value in values.items()}


def fixed(value: Any) -> Offer:
    """Return an offer of a number, text or other value that cannot be changed in place."""
    return Offer(lambda: value)
