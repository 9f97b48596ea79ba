"""Cells and conditions as CellFlow reads them, and the device that JAX computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import UsageError

from ._pairs import by_descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    import numpy.typing as npt
    from anndata import AnnData

    from reconeval._typing import IntArray, StrArray

    F32 = npt.NDArray[np.float32]

__all__ = [
    "CONTROL",
    "PERTURBATION",
    "REP",
    "cells_of",
    "conditions",
    "device_of",
    "on",
    "one_hot",
]

PERTURBATION, CONTROL, REP = "perturbation", "is_control", "X_emb"


def cells_of(
    ctrl: F32,
    pert: F32,
    cov: F32,
    labels: Mapping[str, StrArray],
    covariates: Mapping[str, list[str]],
) -> AnnData:
    """Return control cells above perturbed cells, as CellFlow reads them."""
    import pandas as pd
    from anndata import AnnData

    descriptors, group = by_descriptor(cov)
    names = [f"p{number}" for number in range(len(descriptors))]
    perturbation = ["control"] * len(ctrl) + [names[number] for number in group]
    obs = pd.DataFrame({PERTURBATION: pd.Categorical(perturbation)})
    obs.index = obs.index.astype(str)
    for key, value in labels.items():
        obs[key] = pd.Categorical(np.concatenate([value, value]), categories=covariates[key])
    obs[CONTROL] = np.repeat([True, False], [len(ctrl), len(pert)])
    cells = AnnData(obs=obs, obsm={REP: np.concatenate([ctrl, pert])})
    cells.uns[PERTURBATION] = dict(zip(names, descriptors, strict=True))
    for key, categories in covariates.items():
        eye = np.eye(len(categories), dtype=np.float32)
        cells.uns[key] = dict(zip(categories, eye, strict=True))
    return cells


def one_hot(labels: StrArray, categories: list[str]) -> F32:
    """Return array (n_cells, n_categories): zeros where a label is none of the categories."""
    return (labels[:, None] == np.array(categories, dtype=object)).astype(np.float32)


def conditions(cov: F32, known: Mapping[str, F32]) -> Iterator[tuple[dict[str, F32], IntArray]]:
    """Return each condition as CellFlow's networks take it, with the rows that it is for."""
    blocks = {PERTURBATION: cov, **known}
    distinct, group = by_descriptor(np.hstack(list(blocks.values())))
    ends = np.cumsum([block.shape[1] for block in blocks.values()])
    for number, values in enumerate(distinct):
        pieces = np.split(values[None, None], ends[:-1], axis=-1)
        yield dict(zip(blocks, pieces, strict=True)), np.flatnonzero(group == number)


def device_of(accelerator: str) -> Any:
    import jax

    if accelerator == "auto":
        return jax.devices()[0]
    if accelerator not in {"cpu", "gpu"}:
        msg = f"accelerator is {accelerator!r}, expected auto, cpu or gpu"
        raise UsageError(msg)
    try:
        return jax.devices(accelerator)[0]
    except RuntimeError:
        msg = f"accelerator={accelerator!r}, but JAX finds no such device; take 'cpu'"
        raise UsageError(msg) from None


def on(device: Any) -> AbstractContextManager[Any]:
    import jax

    manager: AbstractContextManager[Any] = jax.default_device(device)
    return manager
