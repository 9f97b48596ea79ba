"""Write the frozen datasets and their manifest.

    python tools/make_datasets.py --source ../shared/data --resources ../shared/resources

The same input gives the same cells, genes and counts everywhere, and the same bytes where the
versions of anndata, h5py and HDF5 are the same. Write elsewhere with ``--out`` to compare.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd

from reconeval.datasets.immune_batches import DEPTHS, QUERY_BATCHES, checksum, derive
from reconeval.datasets.manifest import FROZEN, sha256_of
from reconeval.datasets.normalise import log1p_cp10k
from reconeval.errors import UsageError
from reconeval.resources import load_progeny, read_gmt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scipy.sparse import csr_matrix

    from reconeval._typing import FloatArray, IntArray, StrArray

N_VARIABLE = 2000
N_PROGENY = 100
# The gene-set metrics keep genes that 20 test cells express; 30 % of the cells are test cells.
LEAST_CELLS = 67


BATCHES_VERSION = "1"  # of immune_batches; raise it whenever `derive` makes other cells


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What makes one dataset out of one file; the texts go into the manifest."""

    version: str
    file: str
    labels: str
    library: str | None
    core: bool
    held_out: tuple[str, ...]
    source: str
    doi: str
    licence: str
    rule: str


RECIPES = {
    "immune": Recipe(
        version="1",
        file="immune_counts.h5ad",
        labels="cell_type_annotations",
        library=None,
        core=True,
        held_out=("B_memory", "MDC", "NK", "Treg"),
        source="tumour-infiltrating immune cells of breast cancer, Bassez et al. 2021; "
        "example data of scSpectra 0.2.1, counts recovered from its scran log2 values",
        doi="10.1038/s41591-021-01323-8",
        licence="MIT",
        rule=f"of 6397 genes, the {N_VARIABLE} of highest variance of log1p CP10k over all cells; "
        "all S and G2M genes of Tirosh et al. 2016; and, where at least "
        f"{LEAST_CELLS} cells express them, the genes of two or more MSigDB Hallmark sets and the "
        f"{N_PROGENY} most significant genes of each PROGENy pathway",
    ),
    "pbmc68k": Recipe(
        version="1",
        file="pbmc68k_counts.h5ad",
        labels="bulk_labels",
        library="n_counts",
        core=False,
        held_out=("CD14+ Monocyte", "CD56+ NK", "CD8+ Cytotoxic T"),
        source="peripheral blood mononuclear cells, Zheng et al. 2017 (10x Genomics); "
        "pbmc68k_reduced of scanpy 1.11.5, counts recovered from its log1p CP10k values",
        doi="10.1038/ncomms14049",
        licence="BSD-3-Clause / CC BY 4.0",
        rule="all 765 genes of the source, which are its highly variable ones",
    ),
}


def most_variable(log1p: csr_matrix) -> IntArray:
    """Return the columns of highest variance over cells, in float64 and by a stable sort."""
    variance: FloatArray = log1p.toarray().astype(np.float64).var(axis=0)
    return np.argsort(-variance, kind="stable")[:N_VARIABLE]


def core_genes(resources: Path) -> tuple[set[str], set[str]]:
    """Return the genes to keep always, and those to keep where enough cells express them."""
    s_genes, g2m_genes = (
        (resources / f"cell_cycle_{phase}.txt").read_text(encoding="utf-8").split()
        for phase in ("s", "g2m")
    )
    memberships = Counter(
        gene for genes in read_gmt(resources / "hallmark.gmt").values() for gene in genes
    )
    shared = {gene for gene, n_sets in memberships.items() if n_sets >= 2}
    progeny = load_progeny(resources / "progeny_human_top500.tsv", top=N_PROGENY)
    return {*s_genes, *g2m_genes}, shared | set(progeny["target"])


def choose_genes(counts: csr_matrix, log1p: csr_matrix, genes: StrArray, core: Path) -> IntArray:
    """Return the columns to keep, in the order of the file."""
    always, where_expressed = core_genes(core)
    keep = np.isin(genes, list(always))
    expressed = counts.getnnz(axis=0) >= LEAST_CELLS
    keep |= np.isin(genes, list(where_expressed)) & expressed
    keep[most_variable(log1p)] = True
    return np.flatnonzero(keep).astype(np.int64)


def build(recipe: Recipe, source: Path, resources: Path) -> anndata.AnnData:
    """Return the cells as they are stored: counts, labels and library size, without `X`."""
    file = anndata.read_h5ad(source)
    counts = file.X
    counts.sort_indices()
    counts.eliminate_zeros()
    if recipe.library is None:
        library = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    else:
        library = file.obs[recipe.library].to_numpy(dtype=np.float64)
    genes = file.var_names.to_numpy()
    columns = np.arange(len(genes))
    if recipe.core:
        columns = choose_genes(counts, log1p_cp10k(counts, library), genes, resources)
    kept = counts[:, columns]
    if kept.data.max() > np.iinfo(np.uint16).max or (kept.data != np.rint(kept.data)).any():
        msg = f"{source}: counts are not whole numbers below 65536"
        raise UsageError(msg)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(file.obs[recipe.labels].astype(str)),
            "total_counts": np.rint(library).astype(np.int64),
        },
        index=file.obs_names.astype(str).rename(None),
    )
    return anndata.AnnData(
        obs=obs,
        var=pd.DataFrame(index=genes[columns]),
        layers={"counts": kept.astype(np.uint16)},
    )


def manifest_table(name: str, recipe: Recipe, adata: anndata.AnnData, **checksums: str) -> str:
    """Return a dataset's part of the manifest, as TOML."""
    values = {
        "version": recipe.version,
        **checksums,
        "cells": adata.n_obs,
        "genes": adata.n_vars,
        "cell_types": int(adata.obs["cell_type"].nunique()),
        "held_out": list(recipe.held_out),
        "source": recipe.source,
        "doi": recipe.doi,
        "licence": recipe.licence,
        "rule": recipe.rule,
    }
    return toml_table(name, values)


def toml_table(name: str, values: Mapping[str, Any]) -> str:
    """Return a table of TOML: JSON's strings, integers and lists of strings are TOML's too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def main(argv: Sequence[str] | None = None) -> int:
    """Write every dataset and the manifest; returns 0, or 1 with a line on what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of the source files")
    parser.add_argument("--resources", type=Path, required=True, help="folder of the gene sets")
    parser.add_argument("--out", type=Path, default=FROZEN, help="where to write (%(default)s)")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        tables = [write(name, RECIPES[name], args) for name in RECIPES]
        tables.append(batches_table(args.out, tomllib.loads("\n".join(tables))["immune"]))
    except (OSError, UsageError) as error:
        print(error, file=sys.stderr)
        return 1
    manifest = "# Written by tools/make_datasets.py.\n\n" + "\n".join(tables)
    temporary = args.out / "MANIFEST.toml.tmp"
    temporary.write_text(manifest, encoding="utf-8")
    temporary.replace(args.out / "MANIFEST.toml")
    return 0


def write(name: str, recipe: Recipe, args: argparse.Namespace) -> str:
    """Write one dataset and return its part of the manifest."""
    source = args.source / recipe.file
    adata = build(recipe, source, args.resources)
    path, temporary = args.out / f"{name}.h5ad", args.out / f"{name}.h5ad.tmp"
    adata.write_h5ad(temporary, compression="gzip", compression_opts=9)
    temporary.replace(path)
    print(f"{path}: {adata.n_obs} cells x {adata.n_vars} genes, {path.stat().st_size} bytes")
    return manifest_table(
        name, recipe, adata, sha256=sha256_of(path), source_sha256=sha256_of(source)
    )


def batches_table(out: Path, immune: Mapping[str, Any]) -> str:
    """Return the part of the manifest on the batches that are made of `immune` at load."""
    cells = derive(anndata.read_h5ad(out / "immune.h5ad"))
    changed = {
        "version": BATCHES_VERSION,
        "file": "immune.h5ad",
        "cells_sha256": checksum(cells),
        "query_batches": list(QUERY_BATCHES),
        "source": "the cells of immune, dealt out to four batches of 300, 200, 300 and 200 cells "
        "with the same cell types, and thinned when they are loaded",
        "rule": f"the {immune['genes']} genes of immune; a molecule stays with the chance "
        f"{', '.join(map(str, DEPTHS))} of its batch, times a number from 0.5 to 1 for each gene "
        "in each batch but the first",
    }
    return toml_table("immune_batches", {**immune, **changed})


if __name__ == "__main__":
    raise SystemExit(main())
