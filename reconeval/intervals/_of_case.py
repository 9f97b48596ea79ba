"""The resamples of a case, and a metric's values in them for one prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from reconeval.cases.latent_shift import LatentShiftCase
from reconeval.errors import Undefined
from reconeval.intervals._jackknife import N_GROUPS
from reconeval.intervals._replicates import Replicates
from reconeval.intervals._resampling import deal, digest, draw
from reconeval.intervals._table import BOOTSTRAP, CONDITIONAL, JACKKNIFE, LINEAR
from reconeval.metrics.latent import PREFIX
from reconeval.metrics.perturbational.groups import per_perturbation
from reconeval.metrics.perturbational.pair import PerturbationPair

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reconeval._typing import FloatArray, StrArray
    from reconeval.cases import Case
    from reconeval.inputs import Inputs
    from reconeval.intervals._resampling import Resampling
    from reconeval.metrics.pair import Pair, Truth
    from reconeval.metrics.perturbational.truth import Group
    from reconeval.metrics.registry import Metric, Score

__all__ = ["averaged", "resample"]

FEWEST_UNITS = 3  # perturbations; the spread of two says nothing
_NOTHING = Replicates(
    over="", resampling="", values=np.empty(0, dtype=np.float32), kind="none", units=0
)


def resample(
    case: Case,
    metric: Metric,
    pair: Pair,
    predict: Callable[[Inputs], FloatArray],
    *,
    n_resamples: int,
) -> Replicates:
    """Return a metric's values in the resamples of a case.

    Parameters
    ----------
    case
        Where the model was tested.
    metric
        A metric that has a value there.
    pair
        The model's prediction, as of `case.pair`.
    predict
        As for `case.completed`; nothing is asked that the metric has not asked before.
    n_resamples
        How many resamples to draw.

    Returns
    -------
    The values, without seeds; of kind `none` where there is no way to them.
    """
    try:
        if isinstance(case, LatentShiftCase):
            return _over_perturbations(case, metric, pair, predict, n_resamples)
        pair = case.completed(metric, pair, predict)
        return _over_cells(case, metric.name, pair, n_resamples)
    except Undefined:
        return _NOTHING


def averaged(parts: Sequence[Replicates], seeds: Sequence[float]) -> Replicates | None:
    """Average a metric's values in resamples over seeds.

    Parameters
    ----------
    parts
        Of each seed, the values in the same resamples.
    seeds
        Of each seed, the value on all cells.

    Returns
    -------
    The mean of each resample, NaN where one seed has no value; None where neither resamples nor
    several seeds tell anything.
    """
    if any(part.kind == "none" for part in parts):
        if len(seeds) < 2:
            return None
        return replace(_NOTHING, seeds=tuple(seeds))
    values: FloatArray = np.mean([part.values for part in parts], axis=0, dtype=np.float64)
    return replace(parts[0], values=values.astype(np.float32), seeds=tuple(seeds))


def _over_cells(case: Case, name: str, pair: Pair, n_resamples: int) -> Replicates:
    if name in JACKKNIFE:
        content = _content(case)
        n, types = len(pair.truth.X), pair.truth.cell_types
        groups = min(N_GROUPS, n)
        dealt = deal(n, groups, labels=types, content=content)
        return Replicates(
            over="cells",
            resampling=f"groups of cells {n} / {groups} {digest(content, dealt)[:16]}",
            values=JACKKNIFE[name](pair, dealt).astype(np.float32),
            kind="jackknife",
            units=groups,
        )
    compute = BOOTSTRAP.get(name) or CONDITIONAL.get(name) or LINEAR.get(name)
    if compute is None:
        return _NOTHING
    drawn = _draws(pair.truth, case, len(pair.truth.X), "cells", n_resamples)
    return _bootstrap(drawn, compute(pair, drawn.of()), linear=name in LINEAR)


def _over_perturbations(
    case: LatentShiftCase,
    metric: Metric,
    pair: Pair,
    predict: Callable[[Inputs], FloatArray],
    n_resamples: int,
) -> Replicates:
    """Draw perturbations with all their cells, and their scores with them."""
    units = case.dataset.perturbation[case.split.test].astype(str)
    names, of_cell = np.unique(units, return_inverse=True)
    inner = metric.name.removeprefix(PREFIX)
    if metric.family == "statistical" and metric.paired:
        pair = case.completed(metric, pair, predict)
        pair = pair.latent if inner != metric.name and pair.latent is not None else pair
        compute = BOOTSTRAP[inner]
        if len(names) < FEWEST_UNITS:
            drawn = _draws(case.truth, case, len(units), "cells", n_resamples)
            return _bootstrap(drawn, compute(pair, drawn.of()))
        drawn = _draws(case.truth, case, len(names), "perturbations", n_resamples)
        return _bootstrap(drawn, compute(pair, drawn.of(of_cell)))
    if metric.family == "statistical":
        scores = case.populations.scores(metric, case.completed(metric, pair, predict))
    else:
        effects = pair.latent if inner != metric.name else pair
        if not isinstance(effects, PerturbationPair):
            return _NOTHING
        scores = per_perturbation(inner, effects)
    return _of_groups(case, scores, names, n_resamples)


def _of_groups(
    case: LatentShiftCase, scores: Mapping[Group, Score], names: StrArray, n_resamples: int
) -> Replicates:
    """Average the scores of the groups of each resample, those of one perturbation together."""
    groups = [group for group, score in scores.items() if not score.reason]
    values = np.array([scores[group].value for group in groups])
    over, units = "perturbations", names.tolist()
    of_group = np.array([units.index(group.perturbation) for group in groups], dtype=np.int64)
    if len(names) < FEWEST_UNITS:
        # Then each in its cell type is one.
        over, of_group = "perturbations in cell types", np.arange(len(groups))
        units = groups
    if len(set(of_group.tolist())) < FEWEST_UNITS:
        return _NOTHING
    drawn = _draws(case.truth, case, len(units), over, n_resamples)
    counts = drawn.of(of_group).counts.astype(np.float64)
    sizes = counts.sum(axis=0)
    found: FloatArray = np.full(len(sizes), np.nan)
    np.divide(values @ counts, sizes, out=found, where=sizes > 0)
    return _bootstrap(drawn, found)


def _bootstrap(drawn: Resampling, values: FloatArray, *, linear: bool = False) -> Replicates:
    return Replicates(
        over=drawn.over,
        resampling=drawn.key,
        values=values.astype(np.float32),
        units=drawn.units,
        linear=linear,
    )


def _draws(truth: Truth, case: Case, n_units: int, over: str, n_resamples: int) -> Resampling:
    """Return the draws of a case, made on first use and kept with its truth."""
    return truth.cached(
        ("intervals", "draws", over, n_units, n_resamples),
        lambda: draw(n_units, n_resamples, over=over, content=_content(case)),
    )


def _content(case: Case) -> str:
    """Name the test cells: equal names mean equal cells in the same order."""
    return digest(case.dataset.sha256, case.split.name, np.asarray(case.split.test))
