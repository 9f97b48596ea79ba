"""The gene sets that metrics are computed on: the shipped ones, or the user's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from reconeval.errors import UsageError
from reconeval.resources import (
    load_cell_cycle_genes,
    load_cytokine_programmes,
    load_progeny,
    read_gmt,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

__all__ = ["GeneSets"]

# Read once in a process, not once for each truth.
_cell_cycle_genes = cache(load_cell_cycle_genes)
_hallmark = cache(read_gmt)
_progeny = cache(load_progeny)
_cytokine_programmes = cache(load_cytokine_programmes)


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneSets:
    """Gene sets of a truth; what is None is taken from those that ship with the package.

    Attributes
    ----------
    s_genes, g2m_genes
        Marker genes of the phases S and G2M, both or neither.
    gene_sets
        Gene names by the name of their set, for co-expression.
    net
        Table with columns source, target and weight, for pathways.
    cytokine_dict
        Gene names by the name of their signature.

    Raises
    ------
    UsageError
        If one list of markers comes without the other.
    """

    s_genes: Sequence[str] | None = None
    g2m_genes: Sequence[str] | None = None
    gene_sets: Mapping[str, Sequence[str]] | None = None
    net: pd.DataFrame | None = None
    cytokine_dict: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        if (self.s_genes is None) != (self.g2m_genes is None):
            msg = "got one list of cell cycle markers; give s_genes and g2m_genes, or neither"
            raise UsageError(msg)

    def markers(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the markers of S and of G2M."""
        if self.s_genes is None or self.g2m_genes is None:
            return _cell_cycle_genes()
        return self.s_genes, self.g2m_genes

    def sets(self) -> Mapping[str, Sequence[str]]:
        """Return the sets of co-expression."""
        return _hallmark() if self.gene_sets is None else self.gene_sets

    def network(self) -> pd.DataFrame:
        """Return the weights of the pathways."""
        return _progeny() if self.net is None else self.net

    def signatures(self) -> Mapping[str, Sequence[str]]:
        """Return the signatures of cytokines."""
        return _cytokine_programmes() if self.cytokine_dict is None else self.cytokine_dict
