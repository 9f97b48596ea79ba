"""Classifier two-sample test: how well a linear model tells predicted from measured cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reconeval.errors import Undefined
from reconeval.metrics._checks import check_pair
from reconeval.metrics.components import N_COMPONENTS, fit_components

if TYPE_CHECKING:
    from reconeval._typing import BoolArray, FloatArray, IntArray

__all__ = ["Decisions", "c2st_auc", "decide", "separation_auc"]

N_FOLDS = 3


class Decisions(NamedTuple):
    """What classifiers say of cells that they were not fitted on, measured ones first.

    Attributes
    ----------
    predicted
        Array of shape (n_cells + n_predicted_cells,): whether a cell is a predicted one.
    folds
        Array of the same shape: the fold of each cell, told by the classifier of the others.
    values
        Array of the same shape: higher where the cell looks predicted.
    """

    predicted: BoolArray
    folds: IntArray
    values: FloatArray

    def auc(self) -> float:
        """Return the mean AUC over the folds, in [0, 1]."""
        from sklearn.metrics import roc_auc_score

        aucs = []
        for fold in range(N_FOLDS):
            test = self.folds == fold
            aucs.append(roc_auc_score(self.predicted[test], self.values[test]))
        return float(np.mean(aucs))


def c2st_auc(
    X: FloatArray,
    Y: FloatArray,
    *,
    train: FloatArray,
    n_components: int = N_COMPONENTS,
    seed: int = 0,
) -> float:
    """Cross-validated AUC of a logistic regression of predicted against measured cells.

    In principal components of the training truth, standardised on the fitted folds; the mean AUC
    over three folds. Where both sides have the same number of cells, cell i of either side falls
    into the same fold. A reconstruction is nearly a copy of its cell: were they apart, the
    classifier would have learned the one as measured, call the other so, too, and reach an AUC
    below 0.5.

    A linear classifier sees shifts, not spreads: the average of the very cells that are scored,
    predicted for each, comes out at or below 0.5, so read it beside `variance_log2_ratio`.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Truth.
    Y
        Array of shape (n_predicted_cells, n_genes). Prediction, same scale.
    train
        Array of shape (n_train_cells, n_genes). Measured training cells, same scale; the
        components are fitted on these alone.
    n_components
        How many at most; fewer where the training cells span fewer directions.
    seed
        Assigns cells to folds.

    Returns
    -------
    In [0, 1], 0.5 is best: not to be told apart; 1 is told apart always. Exactly 0.5 for equal
    cells.

    Raises
    ------
    Undefined
        If a side has fewer than 3 cells, or the training cells are fewer than 2 or all equal.
    UsageError
        If the shapes do not fit or a value is not finite.

    References
    ----------
    doi:10.48550/arXiv.1610.06545

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(30, 4))
    >>> c2st_auc(X, X, train=X)
    0.5
    >>> c2st_auc(X, X + 9.0, train=X)
    1.0
    >>> c2st_auc(X[:2], X, train=X)
    Traceback (most recent call last):
    reconeval.errors.Undefined: 3 folds need 3 cells on both sides (2 measured, 30 predicted)
    """
    X, Y = check_pair(X, Y)
    components = fit_components(train, n_components=n_components)
    return separation_auc(components.project(X), components.project(Y), seed=seed)


def separation_auc(X: FloatArray, Y: FloatArray, *, seed: int = 0) -> float:
    """Cross-validated AUC of a logistic regression, as `c2st_auc`, in given coordinates.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_components). Truth.
    Y
        Array of shape (n_predicted_cells, n_components). Prediction.
    seed
        Assigns cells to folds.

    Returns
    -------
    In [0, 1], 0.5 is best.

    Raises
    ------
    Undefined
        If a side has fewer than 3 cells.
    """
    return decide(X, Y, seed=seed).auc()


def decide(X: FloatArray, Y: FloatArray, *, seed: int = 0) -> Decisions:
    """Tell predicted from measured cells by logistic regressions fitted on other cells.

    Parameters
    ----------
    X, Y, seed
        As for `separation_auc`.

    Returns
    -------
    The decision about each cell.

    Raises
    ------
    Undefined
        If a side has fewer than 3 cells.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if min(len(X), len(Y)) < N_FOLDS:
        sides = f"{len(X)} measured, {len(Y)} predicted"
        msg = f"{N_FOLDS} folds need {N_FOLDS} cells on both sides ({sides})"
        raise Undefined(msg)
    cells = np.concatenate([X, Y])
    predicted = np.repeat([False, True], [len(X), len(Y)])
    folds = np.concatenate([_folds(len(X), seed), _folds(len(Y), seed)])
    values = np.empty(len(cells))
    for fold in range(N_FOLDS):
        test = folds == fold
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        classifier.fit(cells[~test], predicted[~test])
        values[test] = classifier.decision_function(cells[test])
    return Decisions(predicted, folds, values)


def _folds(n_cells: int, seed: int) -> IntArray:
    """Return a fold for each cell: the same for each side of one size, and of equal sizes."""
    return np.random.default_rng(seed).permutation(np.arange(n_cells) % N_FOLDS)
