"""What several metrics read: computed once per truth or per prediction, and kept there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics.classifier import decide
from reconeval.metrics.components import fit_components
from reconeval.metrics.device import on_torch
from reconeval.metrics.distances import median_gammas
from reconeval.metrics.kernels import pair_sums
from reconeval.metrics.transport import subsample, transport
from reconeval.metrics.two_sample import two_sample

if TYPE_CHECKING:
    from reconeval._typing import FloatArray
    from reconeval.metrics.classifier import Decisions
    from reconeval.metrics.components import Components
    from reconeval.metrics.kernels import PairSums
    from reconeval.metrics.pair import Pair, Truth
    from reconeval.metrics.transport import Transport
    from reconeval.metrics.two_sample import TwoSample

__all__ = [
    "bandwidth_gammas",
    "between_in_genes",
    "decisions",
    "in_components",
    "in_genes",
    "moves",
    "projected",
]

PUBLISHED_GAMMAS = (1.0,)
KEPT_PAIRS = 1 << 25  # 128 MB


def in_genes(pair: Pair) -> TwoSample:
    """Distances and the published kernel over all genes and cells."""
    truth = pair.truth

    def within(exact: bool) -> PairSums:  # noqa: FBT001  (a callback of one argument)
        return truth.cached(
            ("shared", "genes", exact),
            lambda: pair_sums(truth.X, gammas=PUBLISHED_GAMMAS, exact=exact, device=truth.device),
        )

    def compare() -> TwoSample:
        return two_sample(
            truth.X,
            pair.prediction,
            gammas=PUBLISHED_GAMMAS,
            truth=within,
            device=truth.device,
            between=lambda exact: between_in_genes(pair, exact=exact)[0],
        )

    return pair.cached(("shared", "genes"), compare)


def between_in_genes(pair: Pair, *, exact: bool = False) -> tuple[PairSums, FloatArray | None]:
    """Return sums over the pairs of a measured and a predicted cell, and their squared distances.

    The distances themselves, float32, are kept for pairs that look for neighbours in genes, and
    up to `KEPT_PAIRS` of them; otherwise there is None in their place.
    """
    X, Y, device = pair.truth.X, pair.prediction, pair.truth.device

    def compute() -> tuple[PairSums, FloatArray | None]:
        kept = pair.neighbours_in_genes and len(X) * len(Y) <= KEPT_PAIRS
        kept = kept and on_torch(device) is None
        squared = np.empty((len(Y), len(X)), dtype=np.float32) if kept else None
        return pair_sums(
            Y, X, gammas=PUBLISHED_GAMMAS, exact=exact, keep=squared, device=device
        ), squared

    return pair.cached(("shared", "genes", "between", exact), compute)


def in_components(pair: Pair) -> TwoSample:
    """Distances and, where there is a bandwidth, the kernels of the medians, in components."""
    truth = pair.truth

    def compare() -> TwoSample:
        X, Y = projected(pair)
        try:
            gammas = bandwidth_gammas(truth)
        except Undefined:  # the distances need no bandwidth
            gammas = ()
        within = truth.cached(
            ("shared", "components", "sums"),
            lambda: pair_sums(X, gammas=gammas, exact=True, device=truth.device),
        )
        return two_sample(
            X, Y, gammas=gammas, exact=True, truth=lambda _: within, device=truth.device
        )

    return pair.cached(("shared", "components", "sums"), compare)


def bandwidth_gammas(truth: Truth) -> tuple[float, ...]:
    """Return the factors of `mmd_rbf_median`'s kernels."""
    truth = truth.whole or truth
    return truth.cached(
        ("shared", "components", "gammas"),
        lambda: median_gammas(_components(truth).project(_train(truth)), seed=truth.seed),
    )


def projected(pair: Pair) -> tuple[FloatArray, FloatArray]:
    """Return truth and prediction in components of the training truth."""
    truth, components = pair.truth, _components(pair.truth)
    key = ("shared", "components", "cells")
    return (
        truth.cached(key, lambda: components.project(truth.X)),
        pair.cached(key, lambda: components.project(pair.prediction)),
    )


def decisions(pair: Pair) -> Decisions:
    """Tell measured from predicted cells in components, by classifiers fitted on others."""
    return pair.cached(
        ("shared", "decisions"), lambda: decide(*projected(pair), seed=pair.truth.seed)
    )


def moves(pair: Pair) -> tuple[Transport, Transport, Transport]:
    """Move the measured cells onto the predicted ones, and either onto itself, up to 500."""
    truth = pair.truth

    def compute() -> tuple[Transport, Transport, Transport]:
        X = subsample(truth.X, seed=truth.seed)
        Y = subsample(pair.prediction, seed=truth.seed)
        within = truth.cached(("shared", "transport"), lambda: transport(X, X))
        return transport(X, Y), within, transport(Y, Y)

    return pair.cached(("shared", "transport"), compute)


def _components(truth: Truth) -> Components:
    truth = truth.whole or truth
    return truth.cached(("shared", "components"), lambda: fit_components(_train(truth)))


def _train(truth: Truth) -> FloatArray:
    if truth.train is None:
        msg = "needs train, which the data do not have"
        raise Undefined(msg)
    return truth.train
