"""Trained models of scvi-tools as one safetensors file, without the pickles of their own format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.adapters._scvi_cells import setup
from reconeval.errors import UsageError
from reconeval.offers import PROTEINS, cells_of
from reconeval.rows import atomic_write

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from anndata import AnnData

__all__ = ["read_model", "rebuilt", "write_model"]

_FORMAT = "reconeval scvi 1"


def write_model(
    path: str | os.PathLike[str], model: Any, config: Mapping[str, Any], *, name: str
) -> None:
    """Write the weights of a trained model and all that it takes to build it anew.

    Parameters
    ----------
    path
        The file to write; an existing one is replaced in one step.
    model
        The model of scvi-tools.
    config
        How it was made: `settings`, `layer`, `batch_key`, `labels_key` and others, as JSON can
        hold them.
    name
        Name of the class, checked when loading.

    Raises
    ------
    UsageError
        If a setting cannot be written as JSON.
    """
    from safetensors.torch import save

    manager = model.adata_manager
    cells = {
        "genes": list(map(str, model.adata.var_names)),
        "batches": _categories(manager, "batch"),
        "labels": _categories(manager, "labels"),
        "proteins": _protein_names(model),
        "measured": _measured(model),
    }
    weights = {k: v.contiguous().cpu() for k, v in model.module.state_dict().items()}
    try:
        header = json.dumps({**config, "cells": cells})
    except TypeError as error:
        msg = f"{name}.save: a setting cannot be written to a file ({error}); take plain values"
        raise UsageError(msg) from None
    metadata = {"format": _FORMAT, "model": name, "config": header}
    atomic_write(Path(path), save(weights, metadata=metadata))


def read_model(path: str | os.PathLike[str], *, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `write_model` wrote.

    Returns
    -------
    The weights by name, and `config` with the description of the cells under `cells`.

    Raises
    ------
    UsageError
        If the file is missing, is no such file, or holds a model of another class.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no dict)
    except (OSError, SafetensorError) as error:
        msg = f"{name}.load: cannot read {path}: {error}; save one with {name}.save"
        raise UsageError(msg) from None
    if header.get("format") != _FORMAT or header.get("model") != name:
        found = header.get("model", "no model of scvi-tools that was saved here")
        msg = f"{name}.load: {path} holds {found}, expected {name}"
        raise UsageError(msg)
    return weights, json.loads(header["config"])


def rebuilt(cls: type[Any], weights: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Return a trained model of scvi-tools from what `read_model` read.

    It is made with one cell per batch and label that stand for those of training: models of
    scvi-tools take their widths from cells.
    """
    cells = config["cells"]
    batches, labels = cells["batches"], cells["labels"]
    n = max(len(batches), len(labels), 2)  # the library size of a single cell cannot be read
    ones = np.ones((n, len(cells["genes"])), dtype=np.float32)
    adata = cells_of(ones, cells["genes"], counts=ones)
    keys = {"batch_key": config["batch_key"], "labels_key": config["labels_key"]}
    for key, names in ((keys["batch_key"], batches), (keys["labels_key"], labels)):
        if key is not None:
            _fill(adata, key, names)
    settings = dict(config["settings"])
    if cells["proteins"]:
        _fill_proteins(adata, cells["proteins"], cells["measured"])
        settings["empirical_protein_background_prior"] = False  # the weights hold what it became
    layer = None if config["layer"] == "X" else config["layer"]
    setup(cls, adata, layer=layer, **keys)
    model = cls(adata, **settings)
    model.module.load_state_dict(weights)
    model.module.eval()
    model.is_trained_ = True
    return model


def _fill(adata: AnnData, key: str, names: list[str]) -> None:
    import pandas as pd

    values = [names[row % len(names)] for row in range(adata.n_obs)]
    adata.obs[key] = pd.Categorical(values, categories=names)


def _fill_proteins(adata: AnnData, names: list[str], measured: Mapping[str, list[bool]]) -> None:
    import pandas as pd

    counts = np.ones((adata.n_obs, len(names)))
    for batch, mask in measured.items():  # cells stand in the order of the batches, again and again
        counts[int(batch) :: len(measured), ~np.array(mask)] = 0
    adata.obsm[PROTEINS] = pd.DataFrame(counts, index=adata.obs_names, columns=names)


def _measured(model: Any) -> dict[str, list[bool]]:
    """Return for each batch which proteins have counts; empty where all have in all batches."""
    if not _protein_names(model):
        return {}
    registry = model.adata_manager.get_state_registry("proteins")
    masks = registry.get("protein_batch_mask") or {}
    return {str(batch): np.asarray(mask).tolist() for batch, mask in masks.items()}


def _categories(manager: Any, field: str) -> list[str]:
    return [str(name) for name in manager.get_state_registry(field).categorical_mapping]


def _protein_names(model: Any) -> list[str]:
    """Return the proteins of a model; none of one that leaves those of its cells aside."""
    if "proteins" not in model.adata_manager.data_registry:
        return []
    return list(map(str, model.adata.obsm[PROTEINS].columns))
