"""Categorical annotations of cells as one-hot columns."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reconeval.errors import UsageError
from reconeval.filling import hint, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd

__all__ = ["OneHot"]


class OneHot:
    """One-hot columns of categorical covariates, with the categories of the training cells.

    A cell whose category training did not have, or that has none, gets the shares of the
    categories in training instead of ones and zeros: the average cell, as far as anybody knows.

    Parameters
    ----------
    shares
        For each covariate, the share of each category among the training cells, in column order.
    """

    def __init__(self, shares: Mapping[str, Mapping[str, float]]) -> None:
        self.shares = {name: dict(of) for name, of in shares.items()}

    @classmethod
    def fit(cls, obs: pd.DataFrame | None, covariates: Sequence[str], *, name: str) -> Self:
        """Learn categories and their shares.

        Parameters
        ----------
        obs
            Annotations of the training cells; not needed without covariates.
        covariates
            Columns of `obs`.
        name
            Begins the message of an error.

        Raises
        ------
        UsageError
            `obs` is missing, lacks a column, or has cells without a value.
        """
        shares = {}
        for covariate in covariates:
            values = _column(obs, covariate, name)
            missing = int(values.isna().sum())
            if missing:
                msg = f"{name}: {missing} training cells have no {covariate!r}; fill or drop them"
                raise UsageError(msg)
            counts = values.astype(str).value_counts(normalize=True).sort_index()
            shares[covariate] = {str(category): float(of) for category, of in counts.items()}
        return cls(shares)

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(map(len, self.shares.values()))

    def encode(
        self, obs: pd.DataFrame | None, n_cells: int, *, name: str
    ) -> npt.NDArray[np.float32]:
        """Return the columns of cells.

        Parameters
        ----------
        obs
            Annotations of the cells; not needed without covariates.
        n_cells
            Number of cells that there must be.
        name
            Begins the message of an error.

        Returns
        -------
        Array of shape (n_cells, width), float32.

        Raises
        ------
        UsageError
            `obs` is missing, lacks a column, or has another number of rows.
        """
        if self.shares and obs is not None and len(obs) != n_cells:
            msg = f"{name}: obs has {len(obs)} rows, expected {n_cells}: one per cell"
            raise UsageError(msg)
        blocks = [np.empty((n_cells, 0), dtype=np.float32)]
        for covariate, of in self.shares.items():
            values = _column(obs, covariate, name).astype(str).to_numpy(dtype=str)
            block = (values[:, None] == np.array(list(of))).astype(np.float32)
            unknown = ~block.any(axis=1)
            if unknown.any():
                block[unknown] = list(of.values())
                new = listed(sorted(set(values[unknown].tolist()))[:3])
                msg = (
                    f"{name}: {int(unknown.sum())} of {n_cells} cells have a {covariate!r} that "
                    f"training did not have ({new}); they get the average of the training cells"
                )
                warnings.warn(msg, UserWarning, stacklevel=3)
            blocks.append(block)
        return np.hstack(blocks)

    def row(self, categories: Mapping[str, str], *, name: str) -> npt.NDArray[np.float32]:
        """Return the columns of one cell.

        Parameters
        ----------
        categories
            The category of each covariate.
        name
            Begins the message of an error.

        Returns
        -------
        Array of shape (width,), float32.

        Raises
        ------
        UsageError
            The covariates are others, or training did not have the category of one.
        """
        if set(categories) != set(self.shares):
            got, expected = listed(sorted(categories)), listed(self.shares)
            msg = f"{name}: got categories of {got}, expected those of {expected}"
            raise UsageError(msg)
        for covariate, of in self.shares.items():
            if str(categories[covariate]) not in of:
                msg = f"{name}: training had no {covariate} {categories[covariate]!r}"
                raise UsageError(msg + hint(str(categories[covariate]), of, "it had"))
        ones = [k == str(categories[c]) for c, of in self.shares.items() for k in of]
        return np.array(ones, dtype=np.float32)


def _column(obs: pd.DataFrame | None, covariate: str, name: str) -> Any:
    if obs is None:
        msg = f"{name}: covariate {covariate!r} needs the annotations of the cells; pass obs"
        raise UsageError(msg)
    if covariate not in obs:
        msg = f"{name}: obs has no column {covariate!r}; it has {listed(map(str, obs.columns))}"
        msg += f"; in benchmarks, add --covariate {covariate}"
        raise UsageError(msg)
    return obs[covariate]
