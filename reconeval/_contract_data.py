"""The few cells on which a contract is checked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.cases.end_to_end import cell_inputs
from reconeval.datasets._decoders import AffineDecoder
from reconeval.inputs import Inputs
from reconeval.offers import TrainingData, training_data
from reconeval.offers_embedded import DecodingData, ShiftData

if TYPE_CHECKING:
    from reconeval._subject import Data
    from reconeval._typing import FloatArray, IntArray
    from reconeval.datasets import Dataset, Split

__all__ = ["contract_data", "decoder_contract_data", "few_cells", "predictor_contract_data"]

N_TRAIN = 256
N_TEST = 64
N_DIMENSIONS = 16
N_PERTURBATIONS = 3
N_EACH = 20


def contract_data(dataset: Dataset, split: Split) -> tuple[TrainingData, Inputs]:
    """Take the few cells on which the contract of a reconstruction model is checked.

    Parameters
    ----------
    dataset
        The cells.
    split
        Its first 256 training, 64 validation and 64 test cells are taken; a split is shuffled.

    Returns
    -------
    Training cells, and an array of shape (n_test, n_genes) to predict, with what goes with it.
    """
    few = replace(split, train=split.train[:N_TRAIN], val=split.val[:N_TEST])
    rows, counts = split.test[:N_TEST], dataset.counts
    inputs = cell_inputs(dataset, rows, dataset.X[rows], None if counts is None else counts[rows])
    return training_data(dataset, few), inputs


def decoder_contract_data(dataset: Dataset, split: Split) -> tuple[DecodingData, Inputs]:
    """Take the few cells on which the contract of a decoder is checked.

    Parameters
    ----------
    dataset, split
        As for `contract_data`.

    Returns
    -------
    Training cells with their first 16 principal components, fitted on them, as the embedding;
    and the components of the test cells, with their `obs`, to predict from.
    """
    data, inputs = contract_data(dataset, split)
    mean = data.X.mean(axis=0)
    axes = np.linalg.svd(data.X - mean, full_matrices=False)[2][:N_DIMENSIONS].T

    def embed(X: FloatArray) -> FloatArray:
        return np.asarray((X - mean) @ axes, dtype=np.float32)

    val = None if data.val_X is None else embed(data.val_X)
    embedded = DecodingData(**vars(data), embedding=embed(data.X), val_embedding=val)
    obs = dataset.adata.obs.iloc[split.test[:N_TEST]]
    return embedded, Inputs({"embedding": embed(inputs.first)}, {"obs": obs})


def predictor_contract_data(
    *, n_each: int = N_EACH, embed_dim: int = 8, cov_dim: int = 4, n_genes: int = 12, seed: int = 0
) -> tuple[ShiftData, Inputs]:
    """Draw the few cells on which the contract of a predictor is checked.

    Parameters
    ----------
    n_each
        Training cells of each of three perturbations, of which the third combines the others;
        half as many are for validation and half as many to predict.
    embed_dim, cov_dim, n_genes
        Dimensions of the embedding and of the descriptors, and genes of the frozen decoder.
    seed
        Seeds all draws.

    Returns
    -------
    Training cells, two thirds of them of one cell type, each moved along its descriptor; and the
    controls and descriptors of other cells, with their labels, to predict from.
    """
    rng = np.random.default_rng(seed)
    singles = rng.normal(size=(2, cov_dim))
    book = np.vstack([singles, singles.sum(axis=0)]).astype(np.float32)
    names = np.array(["A", "B", "A+B"])
    effect = rng.normal(size=(cov_dim, embed_dim))
    genes = rng.normal(size=(embed_dim, n_genes)).astype(np.float32)

    def draw(n: int) -> dict[str, Any]:
        which = rng.permutation(np.repeat(np.arange(3), n))
        types = rng.choice(["T", "T", "B"], size=3 * n)
        ctrl = rng.normal(size=(3 * n, embed_dim)) + (types == "B")[:, None]
        noise = 0.1 * rng.normal(size=ctrl.shape)
        return {
            "ctrl_emb": ctrl.astype(np.float32),
            "pert_emb": (ctrl + book[which] @ effect + noise).astype(np.float32),
            "pert_cov": book[which],
            "perturbation": names[which],
            "cell_type": types,
            "condition": rng.choice(["donor 1", "donor 2"], size=3 * n),
        }

    train, val, test = draw(n_each), draw(max(1, n_each // 2)), draw(max(1, n_each // 2))
    data = ShiftData(
        **train,
        **{f"val_{name}": val[name] for name in ("ctrl_emb", "pert_emb", "pert_cov")},
        n_genes=n_genes,
        ctrl_cov=np.zeros_like(train["pert_cov"]),
        parts={"A+B": ("A", "B")},
        decode=AffineDecoder(genes, np.zeros(n_genes, dtype=np.float32)),
    )
    arrays = {name: test[name] for name in ("ctrl_emb", "pert_cov")}
    return data, Inputs(arrays, {name: test[name] for name in ("cell_type", "condition")})


def few_cells(data: Data, inputs: Inputs) -> tuple[Data, Inputs]:
    """Cut the cells of a run down to those on which a contract is checked.

    Parameters
    ----------
    data
        Training cells.
    inputs
        What is to be predicted.

    Returns
    -------
    The first 256 training, 64 validation and 64 test cells; of perturbed cells the first 20 of
    each of the first three perturbations in training, and 60 validation and 60 test cells.
    """
    if isinstance(data, ShiftData):
        n_val = n_test = N_PERTURBATIONS * N_EACH
        rows = _of_each(data.perturbation)
    else:
        n_val, n_test = N_TEST, N_TEST
        rows = np.arange(min(N_TRAIN, len(data.X)))
    cut = {
        name: value[:n_val] if name.startswith("val_") else _take(value, rows)
        for name, value in vars(data).items()
        if isinstance(value, np.ndarray) or hasattr(value, "iloc")
    }
    return replace(data, **cut), inputs.take(slice(n_test))


def _of_each(labels: np.ndarray[Any, Any]) -> IntArray:
    """Return, in order, the first rows of each of the labels that come first."""
    chosen = list(dict.fromkeys(labels.tolist()))[:N_PERTURBATIONS]
    return np.sort(np.concatenate([np.flatnonzero(labels == one)[:N_EACH] for one in chosen]))


def _take(values: Any, rows: IntArray) -> Any:
    return values.iloc[rows] if hasattr(values, "iloc") else values[rows]
