"""Whether cells keep their phase of the cell cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics._checks import check_pair
from reconeval.metrics.biological._genes import (
    MIN_CELLS,
    MIN_GENES,
    expressed,
    find_genes,
    gene_columns,
)
from reconeval.metrics.biological.scores import gene_set_scores

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconeval._typing import BoolArray, FloatArray, IntArray, StrArray

__all__ = [
    "PHASES",
    "cell_cycle_columns",
    "cell_cycle_phases",
    "cellcycle",
    "phase_proportions",
    "phase_recall",
    "proportion_mean_diff",
    "proportion_same_phase",
]

PHASES = ("S", "G2M", "G1")


def cellcycle(
    X: FloatArray,
    Y: FloatArray,
    genes: Sequence[str],
    s_genes: Iterable[str],
    g2m_genes: Iterable[str],
    *,
    min_cells: int = MIN_CELLS,
    min_genes: int = MIN_GENES,
    seed: int = 0,
) -> dict[str, float]:
    """Compare the phases of the cell cycle that truth and prediction put the cells in.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth, log1p of counts per 10 000.
    Y
        Array of shape (n_cells, n_genes). Prediction of the same cells, same scale.
    genes
        The n_genes gene names, unique.
    s_genes, g2m_genes
        Marker genes of the phases S and G2M.
    min_cells
        Markers that fewer cells of the truth express are left out, on both sides.
    min_genes
        Number of markers that either list must have left.
    seed
        Seeds the draw of control genes.

    Returns
    -------
    By name: `proportion_same_phase`, the share of cells with the same phase; `S`, `G2M` and
    `G1`, that share among the cells whose true phase it is, without the phases that no cell has
    (these in [0, 1], higher is better); `proportion_mean_diff`, the mean absolute difference of
    the three proportions, in [0, 2/3], lower is better; and the proportions themselves,
    `true_S` to `predicted_G1`.

    Raises
    ------
    Undefined
        If a list has too few markers left, or there are too few genes to draw controls from.
    UsageError
        If shapes or names do not fit, or a value is not finite.

    References
    ----------
    `scanpy.tl.score_genes_cell_cycle`; doi:10.1126/science.aad0501.
    """
    X, Y = check_pair(X, Y, paired=True)
    columns = gene_columns(genes, X.shape[1])
    keep = expressed(X, min_cells=min_cells)
    markers = cell_cycle_columns(columns, keep, s_genes, g2m_genes, min_genes=min_genes)
    true, predicted = (cell_cycle_phases(side, *markers, seed=seed) for side in (X, Y))
    proportions = phase_proportions(true)
    return {
        "proportion_same_phase": proportion_same_phase(true, predicted),
        **{p: phase_recall(true, predicted, p) for p in PHASES if proportions[p]},
        "proportion_mean_diff": proportion_mean_diff(true, predicted),
        **{f"true_{phase}": value for phase, value in proportions.items()},
        **{f"predicted_{phase}": value for phase, value in phase_proportions(predicted).items()},
    }


def cell_cycle_columns(
    columns: dict[str, int],
    keep: BoolArray,
    s_genes: Iterable[str],
    g2m_genes: Iterable[str],
    *,
    min_genes: int = MIN_GENES,
) -> tuple[IntArray, IntArray]:
    """Return the columns of the S and of the G2M markers that are kept.

    Parameters
    ----------
    columns
        Column numbers by gene name.
    keep
        Array of shape (n_genes,): which columns may be used.
    s_genes, g2m_genes
        Marker genes of the phases.
    min_genes
        Number of markers that either list must have left.

    Returns
    -------
    Column numbers of the S markers and of the G2M markers.

    Raises
    ------
    Undefined
        If a list has fewer.
    """
    s, g2m = find_genes(s_genes, columns, keep), find_genes(g2m_genes, columns, keep)
    for phase, markers in (("S", s), ("G2M", g2m)):
        if len(markers) < min_genes:
            msg = (
                f"{len(markers)} markers of phase {phase} are expressed in enough cells of the "
                f"truth, {min_genes} are needed"
            )
            raise Undefined(msg)
    return s, g2m


def cell_cycle_phases(
    X: FloatArray, s: IntArray, g2m: IntArray, *, seed: int = 0, device: str | None = None
) -> StrArray:
    """Call the phase of each cell as scanpy does.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes), log1p of counts per 10 000.
    s, g2m
        Columns of the S and of the G2M markers.
    seed
        Seeds the draw of control genes.
    device
        Where cells are scored, as for `reconeval.metrics.device.on_torch`; default NumPy.

    Returns
    -------
    Array of shape (n_cells,): "G1" where both scores are below 0, else "G2M" where its score is
    the higher one, else "S".

    Raises
    ------
    Undefined
        If there are too few genes to draw controls from.
    """
    scores = gene_set_scores(X, [s, g2m], ctrl_size=min(len(s), len(g2m)), seed=seed, device=device)
    phases = np.where(scores[:, 1] > scores[:, 0], "G2M", "S")
    phases[(scores < 0).all(axis=1)] = "G1"
    return phases


def phase_proportions(phases: StrArray) -> dict[str, float]:
    """Return the share of cells in each phase, in [0, 1]."""
    return {phase: float(np.mean(phases == phase)) for phase in PHASES}


def proportion_same_phase(true: StrArray, predicted: StrArray) -> float:
    """Return the share of cells with the same phase, in [0, 1], higher is better."""
    return float(np.mean(true == predicted))


def phase_recall(true: StrArray, predicted: StrArray, phase: str) -> float:
    """Return the share of cells of a true phase that are predicted in it.

    Parameters
    ----------
    true, predicted
        Arrays of shape (n_cells,). Phases of the same cells.
    phase
        One of `PHASES`.

    Returns
    -------
    In [0, 1], higher is better.

    Raises
    ------
    Undefined
        If no cell of the truth is in the phase.

    Examples
    --------
    >>> import numpy as np
    >>> true, predicted = np.array(["G1", "G1", "S"]), np.array(["G1", "S", "S"])
    >>> phase_recall(true, predicted, "G1")
    0.5
    >>> phase_recall(true, predicted, "G2M")
    Traceback (most recent call last):
    reconeval.errors.Undefined: none of 3 cells of the truth is in phase G2M
    """
    cells = true == phase
    if not cells.any():
        msg = f"none of {len(true)} cells of the truth is in phase {phase}"
        raise Undefined(msg)
    return float(np.mean(predicted[cells] == phase))


def proportion_mean_diff(true: StrArray, predicted: StrArray) -> float:
    """Return the mean absolute difference of the phases' proportions, lower is better.

    Parameters
    ----------
    true, predicted
        Phases of cells; the numbers of cells may differ.

    Returns
    -------
    In [0, 2/3].
    """
    a, b = phase_proportions(true), phase_proportions(predicted)
    return float(np.mean([abs(a[phase] - b[phase]) for phase in PHASES]))
