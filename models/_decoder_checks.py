"""Checks of what decoders are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconeval._arrays import as_matrix
from reconeval.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["as_training_cells", "check_choice", "check_counts"]


def check_choice(model: str, option: str, got: str, choices: tuple[str, ...]) -> None:
    """Raise `UsageError` if an option of a model's constructor has a value that is no choice."""
    if got not in choices:
        msg = f"{model}: {option} is {got!r}, expected {' or '.join(choices)}"
        raise UsageError(msg)


def as_training_cells(
    embedding: Any, X: Any, *, name: str, embed_dim: int, n_genes: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return embeddings and expression of the same cells as float32 arrays.

    Parameters
    ----------
    embedding, X
        Matrices of shape (n_cells, embed_dim) and (n_cells, n_genes).
    name
        Begins the message of an error.
    embed_dim, n_genes
        Widths that they must have.

    Raises
    ------
    UsageError
        One is no finite matrix of that width, or they have not the same number of rows.
    """
    cells = as_matrix(embedding, name=f"{name}: embedding", n_genes=embed_dim)
    target = as_matrix(X, name=f"{name}: X", n_genes=n_genes)
    if len(cells) != len(target):
        msg = f"{name}: embedding has {len(cells)} rows and X {len(target)}; pass the same cells"
        raise UsageError(msg)
    return cells, target


def check_counts(X: npt.NDArray[np.float32], *, name: str) -> None:
    """Raise `UsageError` if a matrix is not of counts; `name` begins the message."""
    if not ((X >= 0) & (X.round() == X)).all():
        msg = (
            f"{name}: distribution='nb_gene' got values that are not counts; pass raw counts "
            "from Python, or take distribution='normal' for the log-normalised data of benchmarks"
        )
        raise UsageError(msg)
