"""Gene sets that ship with reconeval, and readers for other files of the same kinds."""

from __future__ import annotations

from reconeval.resources.loaders import (
    load_cell_cycle_genes,
    load_cytokine_dict_from_csv,
    load_cytokine_programmes,
    load_progeny,
    read_gmt,
)
from reconeval.resources.omnipath import fetch_progeny

__all__ = [
    "fetch_progeny",
    "load_cell_cycle_genes",
    "load_cytokine_dict_from_csv",
    "load_cytokine_programmes",
    "load_progeny",
    "read_gmt",
]
