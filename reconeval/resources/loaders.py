"""Read gene sets from the package or from the user's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconeval.errors import UsageError
from reconeval.filling import hint, listed
from reconeval.resources.tables import read_table, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    import pandas as pd

__all__ = [
    "load_cell_cycle_genes",
    "load_cytokine_dict_from_csv",
    "load_cytokine_programmes",
    "load_progeny",
    "read_gmt",
]

_SHIPPED = Path(__file__).parent
_N_S_GENES, _N_CELL_CYCLE_GENES = 43, 97  # the file of Tirosh et al.: S genes first, then G2M
_PROGENY_NAMES = {"pathway": "source", "gene": "target"}  # of the shipped table, for decoupler's


def load_cell_cycle_genes(
    path: str | PathLike[str] | None = None,
) -> tuple[list[str], list[str]]:
    """Return marker genes of the S and of the G2M phase.

    Parameters
    ----------
    path
        Text file of 97 gene names, one a line, 43 of S followed by 54 of G2M, as the Regev
        laboratory distributes them; default the shipped lists.

    Returns
    -------
    The S genes and the G2M genes, in the order of the file.

    Raises
    ------
    UsageError
        If the file cannot be read, does not have 97 names, or has one of them twice.

    References
    ----------
    Tirosh et al. 2016, doi:10.1126/science.aad0501.
    """
    if path is None:
        return (
            read_text(_SHIPPED / "cell_cycle_s.txt").split(),
            read_text(_SHIPPED / "cell_cycle_g2m.txt").split(),
        )
    genes = read_text(Path(path)).split()
    if len(genes) != _N_CELL_CYCLE_GENES:
        msg = (
            f"{path}: {len(genes)} gene names, expected {_N_CELL_CYCLE_GENES}, one a line, "
            f"the first {_N_S_GENES} of S and the rest of G2M; give the lists as they are published"
        )
        raise UsageError(msg)
    # Twice in a list stands in the place of another gene; in both, it speaks for either phase.
    repeated = [gene for gene in _unique(genes) if genes.count(gene) > 1]
    if repeated:
        msg = (
            f"{path}: {listed(repeated)} more than once, expected {_N_CELL_CYCLE_GENES} different "
            "gene names; give the lists as they are published"
        )
        raise UsageError(msg)
    return genes[:_N_S_GENES], genes[_N_S_GENES:]


def read_gmt(path: str | PathLike[str] | None = None) -> dict[str, list[str]]:
    """Return gene sets of a GMT file: a name, a description and genes, separated by tabs.

    Parameters
    ----------
    path
        The file; default the 50 Hallmark sets of MSigDB 7.5.1.

    Returns
    -------
    Genes by the name of their set, each once, in the order of the file.

    Raises
    ------
    UsageError
        If the file cannot be read, a line has no gene, or two sets have the same name.

    References
    ----------
    Liberzon et al. 2015, doi:10.1016/j.cels.2015.12.004.
    """
    path = _SHIPPED / "hallmark.gmt" if path is None else Path(path)
    sets: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = _unique(gene for gene in rest[1:] if gene)
        if not genes:
            msg = (
                f"{path}, line {number}: {name[:40]!r} has no genes, expected a name, "
                "a description and genes separated by tabs; is this a GMT file?"
            )
            raise UsageError(msg)
        if name in sets:
            msg = f"{path}, line {number}: set {name!r} occurs twice; rename or drop one"
            raise UsageError(msg)
        sets[name] = genes
    if not sets:
        msg = f"{path}: no gene sets, expected one a line; is this a GMT file?"
        raise UsageError(msg)
    return sets


def load_progeny(
    path: str | PathLike[str] | None = None, *, top: int | None = None
) -> pd.DataFrame:
    """Return PROGENy's pathway footprints as a table of targets.

    Parameters
    ----------
    path
        Tab- or comma-separated table with columns source (or pathway), target (or gene),
        weight and p_value; default the 500 most significant human genes of each of 14 pathways.
        "omnipath" is the human table of `fetch_progeny`.
    top
        Keep this many genes of each pathway, the lowest p values first.

    Returns
    -------
    One row per pathway and gene: source, target, weight (signed; above 0 where the pathway
    raises the gene) and p_value.

    Raises
    ------
    UsageError
        If the file cannot be read, lacks a column, a row has other than the header's fields, a
        weight is missing, infinite or text, or `top` is below 1.

    References
    ----------
    Schubert et al. 2018, doi:10.1038/s41467-017-02391-6.
    """
    if top is not None and top < 1:
        msg = f"load_progeny: top={top}, expected a number of genes from 1 up, or None for all"
        raise UsageError(msg)
    if path == "omnipath":
        from reconeval.resources.omnipath import progeny_file

        path = progeny_file()
    path = _SHIPPED / "progeny_human_top500.tsv" if path is None else Path(path)
    columns = ("source", "target", "weight", "p_value")
    table = read_table(path, columns, rename=_PROGENY_NAMES, complete=("weight",))
    if top is None:
        return table
    best = table.sort_values("p_value", kind="stable").groupby("source").head(top)
    return best.sort_index().reset_index(drop=True)


def load_cytokine_programmes(*, celltype: str | None = None) -> dict[str, list[str]]:
    """Return the shipped cytokine-induced programmes of human blood cells.

    Parameters
    ----------
    celltype
        Keep what this cell type contributes; default the union over its 12 cell types.

    Returns
    -------
    Genes by programme (82 of them over all cell types), each once, in the order of the file.

    Raises
    ------
    UsageError
        If no programme is known for the cell type.
    """
    path = _SHIPPED / "cytokine_programmes.csv.gz"
    table = read_table(path, ("gene", "CIP", "celltype"))
    return _gene_sets(_of_celltype(table, "celltype", celltype, path), "CIP", "gene")


def load_cytokine_dict_from_csv(
    path: str | PathLike[str],
    *,
    celltype: str | None = None,
    fdr: float = 0.05,
    min_log2fc: float = 0.0,
) -> dict[str, list[str]]:
    """Return cytokine signatures from the table of the Immune Dictionary.

    Parameters
    ----------
    path
        CSV with columns Celltype_Str, Cytokine_Str, Gene, FDR and Avg_log2FC.
    celltype
        Keep the signatures of this cell type; default the union over all.
    fdr
        Keep genes with a false discovery rate of at most this.
    min_log2fc
        Keep genes whose average log2 fold change is above this; the default keeps those that
        the cytokine raises.

    Returns
    -------
    Genes by cytokine, each once, in the order of the file. Cytokines without a gene are left out.

    Raises
    ------
    UsageError
        If the file cannot be read, lacks a column, a row has other than the header's fields, there
        is no such cell type, or no gene passes.

    References
    ----------
    Cui et al. 2024, doi:10.1038/s41586-023-06816-9.
    """
    path = Path(path)
    columns = ("Celltype_Str", "Cytokine_Str", "Gene", "FDR", "Avg_log2FC")
    table = _of_celltype(read_table(path, columns), "Celltype_Str", celltype, path)
    kept = table[(table["FDR"] <= fdr) & (table["Avg_log2FC"] > min_log2fc)]
    if kept.empty:
        msg = (
            f"{path}: none of {len(table)} rows has FDR <= {fdr:g} and Avg_log2FC > "
            f"{min_log2fc:g}; loosen fdr or min_log2fc"
        )
        raise UsageError(msg)
    return _gene_sets(kept, "Cytokine_Str", "Gene")


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _gene_sets(table: pd.DataFrame, by: str, gene: str) -> dict[str, list[str]]:
    groups = table.groupby(by, sort=False)[gene]
    return {str(name): _unique(genes.astype(str)) for name, genes in groups}


def _of_celltype(
    table: pd.DataFrame, column: str, celltype: str | None, path: Path
) -> pd.DataFrame:
    if celltype is None:
        return table
    known = table[column].astype(str)
    if celltype not in set(known):
        msg = f"{path}: no cell type {celltype!r}{hint(celltype, sorted(set(known)))}"
        raise UsageError(msg)
    return table[known == celltype]
