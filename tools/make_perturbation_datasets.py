"""Write the frozen datasets of perturbed cells and their manifest.

    python tools/make_perturbation_datasets.py --source ../shared/data

Write elsewhere with ``--out`` to compare. A decoder that is trained again has other last digits
with another version of torch or another processor.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import immune_shift as recipe
import numpy as np
import pandas as pd
from make_datasets import core_genes, most_variable
from scipy import sparse

from reconeval import resources
from reconeval.datasets.latent_synthetic import EMBED_DIM, N_GENES, draw
from reconeval.datasets.manifest import FROZEN, read_manifest, sha256_of
from reconeval.datasets.normalise import log1p_cp10k
from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconeval._typing import FloatArray

SHIPPED = Path(resources.__file__).parent
N_VARIABLE = 1000
LEAST_CELLS = 67  # of 271, so that 20 test cells of 30 % express the gene
N_HIDDEN, EPOCHS, BATCH_SIZE = 256, 100, 256


def latent_synthetic(path: Path) -> dict[str, Any]:
    """Train the decoder of `latent_synthetic` and write it; returns its part of the manifest."""
    draws = draw()
    train = draws.order[:, 100:]
    embedding = np.concatenate(
        [
            cells[k][rows]
            for cells in (draws.control, draws.perturbed)
            for k, rows in enumerate(train)
        ]
    )
    weights = draws.rng.normal(0, 1 / np.sqrt(EMBED_DIM), size=(EMBED_DIM, N_GENES))
    noise = draws.rng.normal(0, 0.1, size=(len(embedding), N_GENES))
    genes = np.maximum(0, embedding @ weights.astype(np.float32) + noise).astype(np.float32)
    train_decoder(embedding, genes, path)
    return {
        "version": "1",
        "file": path.name,
        "sha256": sha256_of(path),
        "cells_sha256": draws.sha256,
        "source_sha256": "",
        "cells": 2 * draws.control.shape[0] * draws.control.shape[1],
        "genes": N_GENES,
        "perturbations": draws.control.shape[0],
        "cell_types": 0,
        "conditions": 0,
        "held_out": {"perturbation": ["P4"]},
        "source": "drawn when it is loaded, with NumPy's generator of seed 0, by the recipe of the "
        "published tutorial on latent shifts",
        "doi": "10.64898/2026.06.15.731445",
        "licence": "MIT",
        "rule": "5 perturbations of 500 cells, each with its control cell: standard normal "
        "embeddings, shifts linear in the descriptors, noise of 0.1; a decoder of one hidden layer "
        "trained on the training cells of iid",
    }


def immune_shift(path: Path) -> dict[str, Any]:
    """Make the cells of `immune_shift` and write them; returns its part of the manifest."""
    adata = recipe.build()
    write_h5ad(adata, path)
    return {
        "version": "1",
        "file": path.name,
        "sha256": sha256_of(path),
        "cells_sha256": "",
        "source_sha256": read_manifest()["immune"].sha256,
        "cells": adata.n_obs,
        "genes": adata.n_vars,
        "perturbations": len(recipe.doses()),
        "cell_types": len(recipe.TYPES),
        "conditions": len(recipe.DONORS),
        "held_out": recipe.HELD_OUT,
        "source": "the cells of immune, with perturbations made by binomial thinning of their "
        "counts on six cytokine programmes of human blood cells",
        "doi": "10.1186/s12859-020-3450-9",
        "licence": "MIT",
        "rule": f"of 2296 genes, those of the programmes and the most variable, "
        f"{recipe.N_GENES} in all; cell types of 30 measured cells or more; embedding of one "
        "axis for each programme and principal components of unperturbed copies of the cells",
    }


def myoblast(source: Path, path: Path) -> dict[str, Any]:
    """Choose the genes of `myoblast` and write its cells; returns its part of the manifest."""
    file = anndata.read_h5ad(source)
    fpkm = sparse.csr_matrix(file.X)
    total = np.asarray(fpkm.sum(axis=1, dtype=np.float64)).ravel()
    genes = file.var_names.to_numpy()
    always, where_expressed = core_genes(SHIPPED)
    keep = np.isin(genes, list(always))
    expressed = fpkm.getnnz(axis=0) >= LEAST_CELLS
    keep |= np.isin(genes, list(where_expressed)) & expressed
    keep[most_variable(log1p_cp10k(fpkm, total))[:N_VARIABLE]] = True
    adata = anndata.AnnData(
        obs=pd.DataFrame(
            {"condition": file.obs["condition"].astype("category"), "total_fpkm": total},
            index=file.obs_names,
        ),
        var=pd.DataFrame(index=genes[keep]),
        layers={"fpkm": fpkm[:, np.flatnonzero(keep)].astype(np.float32)},
    )
    write_h5ad(adata, path)
    return {
        "version": "1",
        "file": path.name,
        "sha256": sha256_of(path),
        "cells_sha256": "",
        "source_sha256": sha256_of(source),
        "cells": adata.n_obs,
        "genes": adata.n_vars,
        "perturbations": 3,
        "cell_types": 0,
        "conditions": 0,
        "held_out": {"perturbation": ["T48h"]},
        "source": "human skeletal muscle myoblasts 0, 24, 48 and 72 hours after the change of "
        "medium, Trapnell et al. 2014; Bioconductor's HSMMSingleCell 1.18.0",
        "doi": "10.1038/nbt.2859",
        "licence": "Artistic-2.0",
        "rule": f"of 4000 genes, the {N_VARIABLE} of highest variance of log1p FPKM per 10 000 "
        "over all cells; all S and G2M genes of Tirosh et al. 2016; and, where at least "
        f"{LEAST_CELLS} cells express them, the genes of two or more MSigDB Hallmark sets and the "
        "100 most significant genes of each PROGENy pathway; embedding of principal components of "
        "a split's training cells",
    }


def write_h5ad(adata: anndata.AnnData, path: Path) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    adata.write_h5ad(temporary, compression="gzip", compression_opts=9)
    temporary.replace(path)
    print(f"{path}: {adata.n_obs} cells x {adata.n_vars} genes, {path.stat().st_size} bytes")


def train_decoder(embedding: FloatArray, genes: FloatArray, path: Path) -> None:
    """Train one hidden layer by Adam on the squared error, and write the weights."""
    import torch
    from safetensors.torch import save_file
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)  # the sums of more threads come out in another order
    decoder = nn.Sequential(
        nn.Linear(EMBED_DIM, N_HIDDEN), nn.GELU(), nn.Linear(N_HIDDEN, N_GENES), nn.ReLU()
    )
    optimiser = torch.optim.Adam(decoder.parameters(), lr=1e-3)
    x, y = torch.from_numpy(embedding), torch.from_numpy(genes)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH_SIZE):
            optimiser.zero_grad()
            loss = nn.functional.mse_loss(decoder(x[rows]), y[rows])
            loss.backward()
            optimiser.step()
    temporary = path.with_name(path.name + ".tmp")
    save_file(decoder.state_dict(), temporary)
    temporary.chmod(0o644)  # safetensors writes files that their owner alone can read
    temporary.replace(path)


def toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the manifest as text."""
    lines = ["# Written by tools/make_perturbation_datasets.py."]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        # JSON's strings, integers and lists of strings are TOML's too.
        lines += [
            f"{key} = {json.dumps(value)}" for key, value in table.items() if key != "held_out"
        ]
        lines += [
            f"held_out.{split} = {json.dumps(groups)}"
            for split, groups in table["held_out"].items()
        ]
    return "\n".join([*lines, ""])


def main(argv: Sequence[str] | None = None) -> int:
    """Write every dataset and the manifest; returns 0, or 1 with a line on what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of the source files")
    parser.add_argument("--out", type=Path, default=FROZEN, help="where to write (%(default)s)")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        tables = {
            "latent_synthetic": latent_synthetic(args.out / "latent_synthetic.safetensors"),
            "immune_shift": immune_shift(args.out / "immune_shift.h5ad"),
            "myoblast": myoblast(
                args.source / "myoblast_timecourse_fpkm.h5ad", args.out / "myoblast.h5ad"
            ),
        }
    except (OSError, UsageError) as error:
        print(error, file=sys.stderr)
        return 1
    temporary = args.out / "PERTURBATIONS.toml.tmp"
    temporary.write_text(toml(tables), encoding="utf-8")
    temporary.replace(args.out / "PERTURBATIONS.toml")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
