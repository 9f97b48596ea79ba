"""What the harness offers to models of embeddings: decoders and perturbation predictors."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconeval.filling import Offer
from reconeval.offers import TrainingData, copies, run_offers, sized

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconeval._typing import FloatArray, StrArray

__all__ = [
    "DecodingData",
    "ShiftData",
    "decoder_constructor_offers",
    "decoder_train_offers",
    "predictor_constructor_offers",
    "predictor_train_offers",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class DecodingData(TrainingData):
    """All that a decoder may see in training: never a test cell.

    Attributes
    ----------
    embedding, val_embedding
        Float32 arrays of shape (n_cells, d): the cells of `X` and `val_X`, on whatever scale the
        embedding has. The second is None without validation cells.
    X, val_X, genes, counts, val_counts, obs, val_obs
        As for `TrainingData`.
    """

    embedding: FloatArray
    val_embedding: FloatArray | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ShiftData:
    """All that a perturbation predictor may see in training: rows of training cells alone.

    Attributes
    ----------
    ctrl_emb, pert_emb
        Float32 arrays of shape (n_cells, d): perturbed training cells, each beside the control
        cell it is paired with.
    pert_cov
        Float32 array of shape (n_cells, c): the descriptor of each row's perturbation.
    perturbation
        Array of shape (n_cells,): its label.
    n_genes
        Number of genes that `decode` leads to.
    val_ctrl_emb, val_pert_emb, val_pert_cov
        The same of the validation cells, or None.
    ctrl_cov
        Float32 array of shape (n_cells, c): the descriptor of the controls, zeros by default.
    parts
        For a combination of perturbations, the names of the single ones.
    cell_type, condition
        Arrays of shape (n_cells,) of labels that a row's two cells share, or None.
    decode
        The frozen decoder, (n, d) to (n, n_genes), or None. `train` gets a deep copy; Python does
        not copy a plain function, so give an object where a model might write to its arrays.
    """

    ctrl_emb: FloatArray
    pert_emb: FloatArray
    pert_cov: FloatArray
    perturbation: StrArray
    n_genes: int
    val_ctrl_emb: FloatArray | None = None
    val_pert_emb: FloatArray | None = None
    val_pert_cov: FloatArray | None = None
    ctrl_cov: FloatArray | None = None
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cell_type: StrArray | None = None
    condition: StrArray | None = None
    decode: Callable[[FloatArray], FloatArray] | None = None


def decoder_constructor_offers(*, embed_dim: int, n_genes: int, seed: int) -> dict[str, Offer]:
    """Return what a decoder's constructor can ask for by name.

    Parameters
    ----------
    embed_dim
        Number of dimensions, for `embed_dim` and `input_dim`.
    n_genes
        Number of genes, for `n_genes`.
    seed
        For `seed` and `random_state`.

    Returns
    -------
    Offers by name.
    """
    return sized(seed, embed_dim=embed_dim, input_dim=embed_dim, n_genes=n_genes)


def decoder_train_offers(
    data: DecodingData, *, seed: int, accelerator: str = "cpu", progress: bool = False
) -> dict[str, Offer]:
    """Return what a decoder's `train` can ask for by name.

    Parameters
    ----------
    data
        The training cells.
    seed, accelerator, progress
        As for `reconeval.offers.train_offers`.

    Returns
    -------
    Offers by name, those that the data have, each made afresh for the call that takes it.
    """
    tables = {
        "embedding": data.embedding,
        "X": data.X,
        "val_embedding": data.val_embedding,
        "val_X": data.val_X,
        "counts": data.counts,
        "obs": data.obs,
        "val_obs": data.val_obs,
    }
    run = run_offers(seed=seed, accelerator=accelerator, progress=progress)
    return {**copies(tables), "adata": Offer(data.adata), **run}


def predictor_constructor_offers(
    *, embed_dim: int, cov_dim: int, n_genes: int, seed: int
) -> dict[str, Offer]:
    """Return what a predictor's constructor can ask for by name.

    Parameters
    ----------
    embed_dim, cov_dim
        Number of dimensions of the embedding and of the descriptors.
    n_genes
        Number of genes that embeddings are decoded to.
    seed
        For `seed` and `random_state`.

    Returns
    -------
    Offers by name.
    """
    return sized(seed, embed_dim=embed_dim, cov_dim=cov_dim, n_genes=n_genes)


def predictor_train_offers(
    data: ShiftData, *, seed: int, accelerator: str = "cpu", progress: bool = False
) -> dict[str, Offer]:
    """Return what a predictor's `train` can ask for by name.

    Parameters
    ----------
    data
        The training rows.
    seed, accelerator, progress
        As for `reconeval.offers.train_offers`.

    Returns
    -------
    Offers by name, those that the data have, each made afresh for the call that takes it.
    """
    tables = {
        "ctrl_emb": data.ctrl_emb,
        "pert_emb": data.pert_emb,
        "pert_cov": data.pert_cov,
        "val_ctrl_emb": data.val_ctrl_emb,
        "val_pert_emb": data.val_pert_emb,
        "val_pert_cov": data.val_pert_cov,
        "ctrl_cov": data.ctrl_cov,
        "perturbation": data.perturbation,
        "cell_type": data.cell_type,
        "condition": data.condition,
    }
    offers = copies(tables) | {"parts": Offer(lambda: dict(data.parts))}
    if data.decode is not None:
        # The one that predictions are scored through stays out of reach.
        offers["decode"] = Offer(lambda: deepcopy(data.decode))
    return offers | run_offers(seed=seed, accelerator=accelerator, progress=progress)
