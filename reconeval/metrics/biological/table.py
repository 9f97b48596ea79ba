"""The biological metrics as entries of the table, on what truth and pair keep.

They use the gene sets of the truth and the settings that are the defaults of the pure functions.
What depends on the truth alone is computed once for all models and seeds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from reconeval.errors import Undefined
from reconeval.metrics._checks import as_matrix
from reconeval.metrics.biological import cell_cycle, co_expression, cytokines, deg, pathways
from reconeval.metrics.biological._genes import columns_of_sets, expressed, gene_columns
from reconeval.metrics.biological.contrast import contrast_reference, contrast_types, type_groups
from reconeval.metrics.biological.scores import gene_means
from reconeval.metrics.registry import Metric, require_finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import BoolArray, FloatArray, IntArray, StrArray
    from reconeval.metrics.biological.association import Method
    from reconeval.metrics.biological.contrast import Contrast
    from reconeval.metrics.biological.scores import SetMasks
    from reconeval.metrics.pair import Pair, Truth

__all__ = [
    "BIOLOGICAL",
    "activities",
    "contrasts",
    "correlations",
    "gene_sets",
    "phases",
    "signatures",
]


def _columns(truth: Truth) -> dict[str, int]:
    return truth.cached(
        ("biological", "columns"), lambda: gene_columns(truth.genes, truth.X.shape[1])
    )


def _expressed(truth: Truth) -> BoolArray:
    return truth.cached(("biological", "expressed"), lambda: expressed(truth.X))


def phases(pair: Pair) -> tuple[StrArray, StrArray]:
    """Return phases of the cell cycle, in the truth and in the prediction."""
    truth = pair.truth
    markers = truth.cached(
        ("biological", "markers"),
        lambda: cell_cycle.cell_cycle_columns(
            _columns(truth), _expressed(truth), *truth.gene_sets.markers()
        ),
    )
    key = ("biological", "phases")
    return (
        truth.cached(
            key, lambda: cell_cycle.cell_cycle_phases(truth.X, *markers, device=truth.device)
        ),
        pair.cached(
            key,
            lambda: cell_cycle.cell_cycle_phases(pair.prediction, *markers, device=truth.device),
        ),
    )


def _on_phases(function: Callable[[StrArray, StrArray], float]) -> Callable[[Pair], float]:
    return lambda pair: function(*phases(pair))


def gene_sets(truth: Truth) -> dict[str, IntArray]:
    """Return the columns of the sets of co-expression."""
    return truth.cached(
        ("biological", "gene sets"),
        lambda: columns_of_sets(truth.gene_sets.sets(), _columns(truth), keep=_expressed(truth)),
    )


def correlations(pair: Pair) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Return correlations within gene sets, of the truth and of the prediction."""
    truth, key = pair.truth, ("biological", "correlations")
    sets = gene_sets(truth)

    def correlate(X: FloatArray) -> dict[str, FloatArray]:
        return co_expression.set_correlations(X, sets, device=truth.device)

    true = truth.cached(key, lambda: correlate(truth.X))
    return true, pair.cached(key, lambda: correlate(pair.prediction))


def _coexpression(pair: Pair) -> float:
    return co_expression.mean_agreement(*correlations(pair))


def activities(pair: Pair) -> tuple[FloatArray, FloatArray]:
    """Return activities of pathways, (n_cells, n_pathways), in the truth and in the prediction."""
    truth, keep, key = pair.truth, _expressed(pair.truth), ("biological", "activities")
    weights = truth.cached(
        ("biological", "network"),
        lambda: pathways.network_weights(truth.gene_sets.network(), truth.genes, keep),
    )

    def score(X: FloatArray) -> FloatArray:
        return pathways.ulm_scores(X, weights, keep, device=truth.device)

    return truth.cached(key, lambda: score(truth.X)), pair.cached(
        key, lambda: score(pair.prediction)
    )


def _pathway(pair: Pair) -> float:
    return pathways.mean_correlation(*activities(pair))


def signatures(pair: Pair) -> tuple[SetMasks, SetMasks]:
    """Return genes and control genes of the signatures, for the truth and for the prediction."""
    truth, key = pair.truth, ("biological", "controls")
    sets = truth.cached(
        ("biological", "signatures"),
        lambda: list(columns_of_sets(truth.gene_sets.signatures(), _columns(truth)).values()),
    )
    return truth.cached(key, lambda: cytokines.signature_masks(truth.X, sets)), pair.cached(
        key, lambda: cytokines.signature_masks(pair.prediction, sets)
    )


def _cytokine(pair: Pair) -> float:
    sides = zip(signatures(pair), (pair.truth.X, pair.prediction), strict=True)
    means = (masks.score(gene_means(cells)[None])[0] for masks, cells in sides)
    return cytokines.score_correlation(*means)


def _true_contrast(truth: Truth) -> Contrast:
    if truth.reference is not None:
        return contrast_reference(truth.X, truth.reference)
    if truth.cell_types is not None:
        return contrast_types(truth.X, type_groups(truth.cell_types))
    msg = "needs reference or cell_types, which the data do not have"
    raise Undefined(msg)


def contrasts(pair: Pair) -> tuple[Contrast, Contrast]:
    """Return groups of cells beside their references, in the truth and in the prediction."""
    key = ("biological", "contrast")
    truth = pair.truth.cached(key, lambda: _true_contrast(pair.truth))

    def predicted() -> Contrast:
        if pair.truth.reference is None:
            if len(pair.prediction) != len(pair.truth.X):
                msg = (
                    "markers of cell types need the same cells on both sides "
                    f"({len(pair.prediction)} predicted, {len(pair.truth.X)} measured)"
                )
                raise Undefined(msg)
            return contrast_types(pair.prediction, truth.groups)
        if pair.reference_prediction is None:
            return contrast_reference(pair.prediction, pair.truth.reference)
        require_finite(pair.reference_prediction, "the predicted reference")
        reference = as_matrix(pair.reference_prediction, "the predicted reference")
        return contrast_reference(pair.prediction, reference)

    return truth, pair.cached(key, predicted)


def _deg_dice(k: int) -> Callable[[Pair], float]:
    def compute(pair: Pair) -> float:
        truth, prediction = contrasts(pair)
        key = ("biological", "top genes")
        return deg.dice(
            pair.truth.cached(key, lambda: deg.top_genes_of_groups(truth)),
            pair.cached(key, lambda: deg.top_genes_of_groups(prediction)),
            k=k,
        )

    return compute


def _deg_logfc(method: Method) -> Callable[[Pair], float]:
    def compute(pair: Pair) -> float:
        truth, prediction = contrasts(pair)
        return deg.shift_correlation(truth.shifts(), prediction.shifts(), method=method)

    return compute


_PUBLISHED = "doi:10.64898/2026.06.15.731445"
_biological = partial(Metric, family="biological", higher_is_better=True, best=1.0)
_share = partial(_biological, range=(0.0, 1.0))
_correlation = partial(_biological, range=(-1.0, 1.0))
_cell_cycle = partial(_share, paired=True, source="doi:10.1126/science.aad0501")

BIOLOGICAL: tuple[Metric, ...] = (
    _cell_cycle(
        name="cellcycle_proportion_same_phase",
        summary="share of cells in the same phase of the cell cycle",
        compute=_on_phases(cell_cycle.proportion_same_phase),
    ),
    *(
        _cell_cycle(
            name=f"cellcycle_{phase}",
            summary=f"share of the cells in phase {phase} that are predicted in it",
            compute=_on_phases(partial(cell_cycle.phase_recall, phase=phase)),
        )
        for phase in cell_cycle.PHASES
    ),
    _cell_cycle(
        name="cellcycle_proportion_mean_diff",
        higher_is_better=False,
        best=0.0,
        range=(0.0, 2 / 3),
        paired=False,
        summary="mean absolute difference of the phases' proportions",
        compute=_on_phases(cell_cycle.proportion_mean_diff),
    ),
    _share(
        name="coexpression",
        paired=False,
        source=_PUBLISHED,
        summary="agreement of Spearman correlations within Hallmark sets",
        compute=_coexpression,
    ),
    _correlation(
        name="pathway",
        paired=True,
        source="doi:10.1038/s41467-017-02391-6",
        summary="Spearman over cells of PROGENy activities, mean over pathways",
        compute=_pathway,
    ),
    *(
        _share(
            name=f"deg_dice_at_{k}",
            paired=False,
            source=_PUBLISHED,
            summary=f"overlap of the {k} genes that differ most from the reference",
            compute=_deg_dice(k),
        )
        for k in (50, 100, 200)
    ),
    _correlation(
        name="deg_logfc_spearman",
        paired=False,
        source=_PUBLISHED,
        summary="Spearman over genes of the mean difference to the reference",
        compute=_deg_logfc("spearman"),
    ),
    _correlation(
        name="deg_logfc_pearson",
        paired=False,
        source=_PUBLISHED,
        summary="Pearson over genes of the mean difference to the reference",
        compute=_deg_logfc("pearson"),
    ),
    _correlation(
        name="cytokine",
        paired=False,
        source=_PUBLISHED,
        summary="Spearman over cytokine programmes of their mean scores",
        compute=_cytokine,
    ),
)
