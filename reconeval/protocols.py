"""What a model is: two Protocols, and the task that a class is read to be for.

Nothing has to be inherited. Whether a class does what its signatures promise is the business
of `reconeval.contract`; `isinstance` sees only that the two names exist.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from reconeval.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

    from reconeval._typing import FloatArray

__all__ = [
    "TASKS",
    "Embedder",
    "PerturbationPredictor",
    "ReconstructionModel",
    "method_parameters",
    "task_of",
]

TASKS = ("end_to_end", "decode", "latent_shift", "query_mapping")

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
# What `predict` also gets where it names it: a predictor the first two, a model of cells the rest.
_LABELS = {"cell_type", "condition", "counts", "obs", "proteins"}
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@runtime_checkable
class ReconstructionModel(Protocol):
    """A model that reconstructs expression profiles; nothing has to be inherited."""

    def train(self, *args: Any, **kwargs: Any) -> None:
        """Fit on training cells; arguments are filled by their names (see `reconeval.offers`)."""

    def predict(self, X: np.ndarray[Any, Any], /) -> np.ndarray[Any, Any]:
        """Reconstruct cells.

        Parameters
        ----------
        X
            Array of shape (n_cells, n_genes), log1p of counts per 10 000.

        Returns
        -------
        Floating array of the same shape, scale and order.
        """
        ...


@runtime_checkable
class PerturbationPredictor(Protocol):
    """A model that moves control embeddings to where a perturbation would take them."""

    def train(
        self, ctrl_emb: FloatArray, pert_emb: FloatArray, pert_cov: FloatArray, **kwargs: Any
    ) -> None:
        """Fit on rows of control and perturbed embeddings.

        Parameters
        ----------
        ctrl_emb, pert_emb
            Arrays of shape (n_cells, n_dimensions).
        pert_cov
            Array of shape (n_cells, n_covariates). Describes the perturbation of each row.
        **kwargs
            The model's own settings.
        """

    def predict(self, ctrl_emb: FloatArray, pert_cov: FloatArray) -> FloatArray:
        """Predict perturbed embeddings.

        Parameters
        ----------
        ctrl_emb
            Array of shape (n_cells, n_dimensions).
        pert_cov
            Array of shape (n_cells, n_covariates).

        Returns
        -------
        Floating array of shape (n_cells, n_dimensions).
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """Something that embeds cells, such as a foundation model; nothing has to be inherited.

    An embedder that also has `fit(adata)` is fitted first, on the training cells alone.
    """

    def embed(self, adata: AnnData) -> FloatArray:
        """Embed cells.

        Parameters
        ----------
        adata
            Cells, log1p of counts per 10 000 in `X`; raw counts in `layers["counts"]` where the
            data set has them.

        Returns
        -------
        Floating array of shape (n_cells, d), a row for each cell in their order.
        """
        ...


def method_parameters(model: object, name: str) -> list[inspect.Parameter] | None:
    """Return the parameters of a method as its caller sees them, without `self`.

    Parameters
    ----------
    model
        A class or an instance.
    name
        The method.

    Returns
    -------
    The parameters, or None where the signature cannot be read (compiled code).
    """
    method = getattr(model, name)
    try:
        parameters = list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return None
    static = inspect.getattr_static(model, name)
    unbound = isinstance(model, type) and hasattr(static, "__get__")
    if unbound and not isinstance(static, (staticmethod, classmethod)):
        return parameters[1:]
    return parameters


def task_of(model: type | object) -> str:
    """Say which task a model is for.

    An attribute `task` wins. Otherwise the number of arguments that `predict` requires decides:
    one (the cells) is `end_to_end`, two (control embeddings and covariates) is `latent_shift`;
    what it gets beside these by name, as `counts` or `cell_type`, does not count. A decoder says
    `task = "decode"`.

    Parameters
    ----------
    model
        A class or an instance.

    Returns
    -------
    One of `TASKS`.

    Raises
    ------
    UsageError
        If `train` or `predict` is missing or no method, if `task` is no known word, or if the
        signature leaves the task open.
    """
    name = model.__name__ if isinstance(model, type) else type(model).__name__
    for method in ("train", "predict"):
        if not callable(getattr(model, method, None)):
            state = "is no method" if hasattr(model, method) else "is missing"
            msg = f"{name}.{method} {state}; a model needs train(...) and predict(X), "
            msg += "a transformer fit, transform and inverse_transform"
            raise UsageError(msg)
    task = getattr(model, "task", None)
    if task is not None:
        if task not in TASKS:
            msg = f"{name}.task is {task!r}, expected one of {', '.join(TASKS)}"
            raise UsageError(msg)
        return str(task)
    parameters = method_parameters(model, "predict") or []
    required = [
        p
        for p in parameters
        if p.default is p.empty and p.kind not in _VARIADIC and p.name not in _LABELS
    ]
    if all(p.kind in _POSITIONAL for p in required) and len(required) in {1, 2}:
        return "end_to_end" if len(required) == 1 else "latent_shift"
    shown = ", ".join(map(str, parameters))
    msg = (
        f"{name}.predict({shown}) requires {len(required)} arguments, expected one (X) or two "
        f'(ctrl_emb, pert_cov); change it or set `task = "end_to_end"` on the class'
    )
    raise UsageError(msg)
