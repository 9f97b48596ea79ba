"""Cells as models of scvi-tools read them, and what they decode as the metrics read it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import UsageError
from reconeval.filling import listed
from reconeval.offers import PROTEINS

if TYPE_CHECKING:
    from anndata import AnnData

    from reconeval._typing import FloatArray

__all__ = [
    "BATCH_SIZE",
    "latent_mean",
    "log_cp10k",
    "posterior_mean",
    "setup",
    "unlabel",
    "with_fields_of",
]

BATCH_SIZE = 1024


def setup(
    cls: type[Any],
    adata: AnnData,
    *,
    layer: str | None = "counts",
    batch_key: str | None = None,
    labels_key: str | None = None,
    unlabeled: str = "unknown",
) -> None:
    """Register cells with a class of scvi-tools, each field that the class knows.

    Parameters
    ----------
    cls
        The class, such as `scvi.model.SCVI`.
    adata
        Cells, registered in place; a class of proteins reads them from `obsm["proteins"]`.
    layer
        The layer to model, None for `X`.
    batch_key, labels_key
        Columns of `obs`, or None.
    unlabeled
        The label of cells without one, for a class that asks for it.

    Raises
    ------
    UsageError
        If the cells lack the layer, the proteins or the labels that the class needs.
    """
    takes = inspect.signature(cls.setup_anndata).parameters
    if layer is not None and layer not in adata.layers:
        msg = f"{cls.__name__} models raw counts, which the dataset does not have; name them by "
        msg += "--counts-layer, or take gene_likelihood=normal, which models X"
        raise UsageError(msg)
    fields = {"layer": layer, "batch_key": batch_key, "labels_key": labels_key}
    if "protein_expression_obsm_key" in takes:
        if PROTEINS not in adata.obsm:
            msg = f"{cls.__name__} models proteins, which the dataset does not have; name the "
            msg += "obsm of your own file with their raw counts by --protein-key"
            raise UsageError(msg)
        fields["protein_expression_obsm_key"] = PROTEINS
    if "unlabeled_category" in takes:
        if labels_key is None:
            msg = f"{cls.__name__} learns from labels, which the dataset does not have; name "
            msg += "their column by --cell-type-key"
            raise UsageError(msg)
        fields["unlabeled_category"] = unlabeled
    cls.setup_anndata(adata, **{name: value for name, value in fields.items() if name in takes})


def posterior_mean(
    model: Any,
    adata: AnnData,
    *,
    n_samples: int = 0,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> FloatArray:
    """Return the mean of each entry under a trained model of scvi-tools.

    Parameters
    ----------
    model
        The model: it has a module with an encoder and a decoder.
    adata
        Cells with the fields of the model's own.
    n_samples
        0: the decoder is asked about the mean of each cell's latent posterior. Otherwise so many
        draws from the posterior are decoded, and averaged. A draw is the same number of standard
        deviations from the mean in every cell, so that no cell depends on another.
    seed
        Seeds the draws.
    batch_size
        Cells at once.

    Returns
    -------
    Array of shape (n_cells, n_genes), float32, the unit of the registered layer: for counts the
    expected counts of a cell of that library size, zero inflation included.
    """
    import torch

    adata = model._validate_anndata(adata)  # noqa: SLF001  (what methods of models begin with)
    module = model.module.eval()
    draws = _draws(module.n_latent, n_samples, seed)
    parts: list[FloatArray] = []
    with torch.inference_mode():
        loader = model._make_data_loader(adata=adata, batch_size=batch_size)  # noqa: SLF001  (likewise)
        for tensors in loader:
            outputs = module.inference(**module._get_inference_input(tensors))  # noqa: SLF001  (likewise)
            total: Any = 0.0
            for draw in draws:
                given = module._get_generative_input(tensors, _placed(module, outputs, draw))  # noqa: SLF001  (likewise)
                total = total + _expected(module, module.generative(**given))
            parts.append((total / len(draws)).cpu().numpy())
    return np.concatenate(parts)


def latent_mean(model: Any, adata: AnnData, *, batch_size: int = BATCH_SIZE) -> FloatArray:
    """Return the mean of each cell's latent posterior, (n_cells, n_latent), float32."""
    Z = model.get_latent_representation(adata, give_mean=True, batch_size=batch_size)
    return np.asarray(Z, dtype=np.float32)


def log_cp10k(mean: FloatArray, X: FloatArray, counts: FloatArray) -> FloatArray:
    """Bring expected counts to the scale of the metrics.

    Parameters
    ----------
    mean
        Array of shape (n_cells, n_genes): expected counts of each cell.
    X
        Array of the same shape: the cell itself, log1p of counts per 10 000 molecules of all that
        were measured, be they of these genes or not.
    counts
        Array of the same shape: its raw counts.

    Returns
    -------
    log1p(mean · 10 000 / molecules of the cell), float32, at least 0. The factor is
    Σ expm1(X) / Σ counts of the cell, so that the genes that are not there count as in `X`; it
    is 0 for a cell without counts.
    """
    totals = counts.sum(axis=1, dtype=np.float64)
    per_ten_thousand = np.expm1(X, dtype=np.float64).sum(axis=1)
    factor = np.divide(per_ten_thousand, totals, out=np.zeros_like(totals), where=totals > 0)
    scaled: FloatArray = np.log1p(mean * factor[:, None], dtype=np.float64)
    return scaled.astype(np.float32)


def _draws(n_latent: int, n_samples: int, seed: int) -> list[Any]:
    """Return pairs of standard normal draws, of the latent state and of the log library size."""
    import torch

    if not n_samples:
        return [(torch.zeros(n_latent), torch.zeros(1))]
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(n_samples, n_latent + 1, generator=generator)
    return [(row[:-1], row[-1:]) for row in both]


def _placed(module: Any, outputs: dict[str, Any], draw: tuple[Any, Any]) -> dict[str, Any]:
    """Return what inference gave, with the latent variables at a place of their posteriors."""
    qz, ql = outputs.get("qz"), outputs.get("ql")
    loc, scale = (qz.loc, qz.scale) if qz is not None else (outputs["qzm"], outputs["qzv"].sqrt())
    encoder = getattr(module, "z_encoder", None) or module.encoder
    transform = getattr(encoder, "z_transformation", lambda z: z)
    placed = outputs | {"z": transform(loc + scale * draw[0].to(loc.device))}
    if ql is not None and not module.use_observed_lib_size:
        library = ql.loc + ql.scale * draw[1].to(loc.device)
        if "library_gene" in outputs:  # of TOTALVI, which decodes with totals, not their logarithm
            placed["library_gene"] = encoder.l_transformation(library)
        else:
            placed["library"] = library
    return placed


def _expected(module: Any, decoded: dict[str, Any]) -> Any:
    """Return the mean of what a module decoded."""
    if "px" in decoded:
        return decoded["px"].mean
    px = decoded["px_"]  # of TOTALVI, which hands out the parameters
    present = 1 - px["dropout"].sigmoid() if module.gene_likelihood == "zinb" else 1
    return px["rate"] * present


def with_fields_of(
    model: Any,
    cells: AnnData,
    *,
    layer: str | None,
    batch_key: str | None,
    labels_key: str | None,
) -> AnnData:
    """Complete and check cells that a trained model is to be asked about.

    Parameters
    ----------
    model
        The trained model of scvi-tools.
    cells
        The cells, changed in place.
    layer, batch_key, labels_key
        As the model's own cells were registered.

    Returns
    -------
    The cells. Their labels are set to one and the same, which no posterior and no mean depends on.

    Raises
    ------
    UsageError
        If the layer, the proteins or the batches are missing, or a batch was not in training.
    """
    name, manager = type(model).__name__, model.adata_manager
    for what, missing in (
        ("counts", layer is not None and layer not in cells.layers),
        ("proteins", PROTEINS in model.adata.obsm and PROTEINS not in cells.obsm),
        (f"obs with {batch_key}", batch_key is not None and batch_key not in cells.obs),
    ):
        if missing:
            msg = f"{name}.predict needs {what} of the cells beside X"
            raise UsageError(msg)
    if batch_key is not None:
        known = [str(one) for one in manager.get_state_registry("batch").categorical_mapping]
        new = sorted(set(cells.obs[batch_key].astype(str)) - set(known))
        if new:
            msg = f"{name}.predict: {batch_key} {listed(new)} was not in training (knew "
            msg += f"{listed(known)}); such cells need query mapping"
            raise UsageError(msg)
    unlabel(model, cells, labels_key)
    return cells


def unlabel(model: Any, cells: AnnData, labels_key: str | None) -> None:
    """Give all cells, in place, one and the same label that a model knows: none, if it can."""
    if labels_key is not None:
        labels = model.adata_manager.get_state_registry("labels")
        mapping = [str(one) for one in labels.categorical_mapping]
        cells.obs[labels_key] = str(labels.get("unlabeled_category", mapping[0]))
