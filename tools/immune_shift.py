"""Make perturbed cells out of measured ones, by thinning their counts.

Binomial thinning keeps each molecule with a probability, so it lowers counts and never raises
them, and what is left of a real cell is as real as before (Gerard 2020,
doi 10.1186/s12859-020-3450-9). A gene that a perturbation induces is therefore thinned in all
cells, the controls too, to what leaves room for its strongest induction; cells that are induced
lose less of it. A gene that nothing induces keeps all its counts in the controls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from reconeval import resources
from reconeval.datasets import load_dataset
from reconeval.datasets.immune_shift import CONTROL, PARTS, true_effects_of

if TYPE_CHECKING:
    from reconeval._typing import FloatArray, IntArray, StrArray

# Programme -> the cell types of the table that answer it are looked up; these are its names here.
PROGRAMMES = (
    "CE-02 CellActive",
    "CE-03 Cytotoxic-2",
    "IT-02 IonChannel",
    "MD-01 AdhesionECM-1",
    "II-05 ViralResponse",
    "PD-03 BcellDiff-1",
)
TYPES = {
    "CD4_T": {"CD4_T_cell"},
    "CD8_T": {"CD8_T_cell"},
    "MDC": {"CD14_Mono", "CD16_Mono", "cDC"},
    "Treg": {"Treg"},
    "NK": {"NK_CD56low", "NK_CD56hi"},
    "B_memory": {"B_cell"},
    "plasma": set(),  # answers nothing
}
SINGLES = {
    "L1": (1, 0, 0, 0, 0, 0),
    "L2": (0.3, 1, 0, 0, 0, 0),
    "L3": (0, 0, 1, 0, 0, 0),
    "L4": (0, -0.8, 0, 1, 0, 0),
    "L5": (0, 0, 0.6, 0, 1, 0),
    "L6": (0, 0, 0, 0.8, 0, 1),
    "L7": (-1, 0, 0, 0, 0.8, 0),
    "L8": (0, 0.8, -1, 0, 0, 0),
    "L9": (0.7, 0, 0, -0.8, 0.7, 0),
}
HELD_OUT = {
    "perturbation": ("L8", "L9", "L1+L4", "L2+L3"),
    "cell_type": ("CD4_T", "NK"),
    "condition": ("donor2",),
}
DONORS = {"donor1": 1.0, "donor2": 0.7}  # how strongly each answers

N_GENES, N_TOP = 1000, 150
LEAST_EXPRESSED = 0.1  # of the cells that answer, for a gene to be in a programme
LEAST_EFFECT, MOST_EFFECT = 2.5, 4.0  # log2 fold changes of a programme's genes
DONOR_SD = 0.25  # of the log2 fold changes between the donors
CONTROL_SHARE, HELD_OUT_SHARE = 0.4, 0.18  # of the measured cells of a type and donor
N_PER_PERTURBATION = 150
EMBED_DIM, AXIS_WEIGHT = 50, 4.0


@dataclass(frozen=True, eq=False)
class Programmes:
    """What each programme does, over all genes of `immune`.

    Attributes
    ----------
    effects
        Array of shape (n_genes, n_programmes): log2 fold changes at a dose of 1.
    answers
        Array of shape (n_types, n_programmes) of 0 and 1: which cell types answer.
    """

    effects: FloatArray
    answers: FloatArray


def read_programmes(
    genes: StrArray, counts: FloatArray, log1p: FloatArray, types: StrArray
) -> Programmes:
    """Take each programme's 150 genes with the greatest expected difference, or fewer."""
    table = pd.read_csv(Path(resources.__file__).parent / "cytokine_programmes.csv.gz")
    effects = np.zeros((len(genes), len(PROGRAMMES)))
    answers = np.zeros((len(TYPES), len(PROGRAMMES)))
    for k, programme in enumerate(PROGRAMMES):
        rows = table[table["CIP"] == programme]
        answers[:, k] = [bool(names & set(rows["celltype"])) for names in TYPES.values()]
        strength = rows.groupby("gene")["effect_size"].median().reindex(genes).fillna(0).to_numpy()
        effect = np.where(strength > 0, np.minimum(LEAST_EFFECT + strength, MOST_EFFECT), 0)
        answering = np.isin(types, np.asarray(list(TYPES))[answers[:, k] > 0])
        expressed = (counts[answering] > 0).mean(axis=0) >= LEAST_EXPRESSED
        difference = effect * log1p[answering].mean(axis=0) * expressed
        top = np.argsort(-difference, kind="stable")[:N_TOP]
        top = top[difference[top] > 0]
        effects[top, k] = effect[top]
    return Programmes(effects, answers)


def doses() -> dict[str, FloatArray]:
    """Return the doses of each perturbation: of a combination, the sum of its parts'."""
    known = {name: np.asarray(dose, dtype=np.float64) for name, dose in SINGLES.items()}
    return known | {
        name: np.sum([known[part] for part in parts], axis=0) for name, parts in PARTS.items()
    }


@dataclass(eq=False)
class Assignment:
    """Which measured cell becomes what: one entry per cell of the dataset."""

    source: list[int] = field(default_factory=list)
    perturbation: list[str] = field(default_factory=list)
    cell_type: list[str] = field(default_factory=list)
    condition: list[str] = field(default_factory=list)

    def add(self, sources: IntArray, perturbation: str, cell_type: str, condition: str) -> None:
        """Let these measured cells be treated with a perturbation."""
        self.source += sources.tolist()
        self.perturbation += [perturbation] * len(sources)
        self.cell_type += [cell_type] * len(sources)
        self.condition += [condition] * len(sources)


def assign(types: StrArray, rng: np.random.Generator) -> Assignment:
    """Divide the measured cells of each type between donors, then by what becomes of them.

    A measured cell is a control, or is treated with perturbations of the training, or with
    perturbations that the split holds out: never two of these. Cells are taken in turn, so that
    each is treated with about four perturbations and never twice with the same.
    """
    cells = Assignment()
    pools: dict[tuple[str, str], tuple[IntArray, IntArray]] = {}
    for cell_type in TYPES:
        rows = rng.permutation(np.flatnonzero(types == cell_type))
        for donor, mine in zip(DONORS, np.array_split(rows, 2), strict=True):
            n_control, n_held_out = (
                round(len(mine) * share) for share in (CONTROL_SHARE, HELD_OUT_SHARE)
            )
            cells.add(mine[:n_control], CONTROL, cell_type, donor)
            held_out, seen = np.split(mine[n_control:], [n_held_out])
            pools[cell_type, donor] = (seen, held_out)
    taken: dict[tuple[str, str, int], int] = {}
    for perturbation in doses():
        group = int(perturbation in HELD_OUT["perturbation"])
        n_pool = sum(len(pool[group]) for pool in pools.values())
        for (cell_type, donor), pool in pools.items():
            mine = pool[group]
            n = min(len(mine), round(N_PER_PERTURBATION * len(mine) / n_pool))
            start = taken.get((cell_type, donor, group), 0)
            taken[cell_type, donor, group] = start + n
            cells.add(mine[(start + np.arange(n)) % len(mine)], perturbation, cell_type, donor)
    return cells


def fit_axes(log1p: FloatArray, effects: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return orthonormal axes, shape (n_genes, 50), and their mean over cells.

    The first are the programmes' genes, weighted by their mean, made orthogonal in their order;
    the others are principal components of what the cells vary in beside these.
    """
    center = log1p.mean(axis=0)
    axes = np.linalg.qr((effects > 0) * center[:, None])[0]
    rest = log1p - center
    rest -= rest @ axes @ axes.T
    components = np.linalg.svd(rest, full_matrices=False)[2][: EMBED_DIM - axes.shape[1]]
    return np.hstack([axes, components.T]), center


def build() -> anndata.AnnData:
    """Return the cells as they are stored: counts, labels, library size, and how they were made."""
    immune = load_dataset("immune")
    types = immune.cell_types
    all_genes = np.asarray(immune.genes)
    counts, library = immune.counts.astype(np.int64), immune.library
    log1p = immune.X.astype(np.float64)
    programmes = read_programmes(all_genes, counts, log1p, types)
    used = np.isin(types, list(TYPES))
    variance = np.where((programmes.effects > 0).any(axis=1), np.inf, log1p[used].var(axis=0))
    columns = np.sort(np.argsort(-variance, kind="stable")[:N_GENES])
    other = library - counts[:, columns].sum(axis=1)  # molecules of genes that are left out
    counts = counts[:, columns]

    adata = anndata.AnnData(var=pd.DataFrame(index=all_genes[columns]))
    adata.varm["programmes"] = programmes.effects[columns].astype(np.float32)
    adata.uns = {
        "programmes": list(PROGRAMMES),
        "types": list(TYPES),
        "answers": programmes.answers,
        "donors": list(DONORS),
        "amplitudes": np.asarray(list(DONORS.values())),
        "perturbations": list(doses()),
        "doses": np.stack(list(doses().values())).astype(np.float32),
    }
    rng = np.random.default_rng(0)
    cells = assign(types, rng)
    kept = retentions(adata, rng)
    effects = true_effects_of(adata)
    none = np.zeros(N_GENES)
    share = np.stack(
        [
            kept[donor] * 2.0 ** effects.get((name, cell_type, donor), none)
            for name, cell_type, donor in zip(
                cells.perturbation, cells.cell_type, cells.condition, strict=True
            )
        ]
    )
    # Rounding may leave the strongest induction a hair above 1.
    made = rng.binomial(counts[cells.source], np.minimum(share, 1))
    n_made = made.sum(axis=1) + other[cells.source]

    # The embedding is fitted on copies of its own of all measured cells, none of them perturbed.
    donor_of = dict(zip(cells.source, cells.condition, strict=True))
    rows = np.asarray(sorted(donor_of))
    plain = rng.binomial(counts[rows], np.stack([kept[donor_of[row]] for row in rows]))
    depth = plain.sum(axis=1) + other[rows]
    axes, center = fit_axes(np.log1p(plain / depth[:, None] * 1e4), adata.varm["programmes"])
    return stored(adata, cells, made=made, library=n_made, axes=axes, center=center, kept=kept)


def retentions(adata: anndata.AnnData, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Return for each donor the share of each gene's molecules that a control cell keeps."""
    strongest = np.max([*true_effects_of(adata).values(), np.zeros(adata.n_vars)], axis=0)
    between = rng.normal(0, DONOR_SD, size=(len(DONORS), adata.n_vars))
    between -= between.max(axis=0)
    return {donor: 2.0 ** (row - strongest) for donor, row in zip(DONORS, between, strict=True)}


def stored(
    adata: anndata.AnnData,
    cells: Assignment,
    *,
    made: IntArray,
    library: FloatArray,
    axes: FloatArray,
    center: FloatArray,
    kept: dict[str, FloatArray],
) -> anndata.AnnData:
    """Put the parts together; `X` is computed when the file is read."""
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical(cells.perturbation, [CONTROL, *doses()]),
            "cell_type": pd.Categorical(cells.cell_type, list(TYPES)),
            "donor": pd.Categorical(cells.condition, list(DONORS)),
            "source": np.asarray(cells.source, dtype=np.int16),
            "total_counts": np.rint(library).astype(np.int32),
        },
        index=[f"cell{i:04d}" for i in range(len(made))],
    )
    weights = np.ones(EMBED_DIM, dtype=np.float32)
    weights[: len(PROGRAMMES)] = AXIS_WEIGHT
    return anndata.AnnData(
        obs=obs,
        var=adata.var,
        varm={
            **adata.varm,
            "axes": axes.astype(np.float32),
            "center": center.astype(np.float32)[:, None],
            "kept": np.stack(list(kept.values()), axis=1).astype(np.float32),
        },
        uns={**adata.uns, "weights": weights},
        layers={"counts": sparse.csr_matrix(made.astype(np.uint16))},
    )
