"""Predicted cells of several perturbations beside the measured ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconeval.errors import UsageError
from reconeval.metrics.pair import Pair
from reconeval.metrics.perturbational.expression import de_table
from reconeval.metrics.perturbational.shifts import mean_profile
from reconeval.metrics.perturbational.truth import Group, check_embedding, labels, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconeval._typing import FloatArray, IntArray, StrArray
    from reconeval.metrics.perturbational.recovery import DETable
    from reconeval.metrics.perturbational.truth import PerturbationTruth

__all__ = ["PerturbationPair"]


class PerturbationPair(Pair):
    """Predicted cells of the perturbations of a truth.

    Parameters
    ----------
    truth
        The prepared truth.
    prediction
        Array of shape (n_predicted_cells, n_genes), same scale and genes as `truth.X`. As many
        cells of each perturbation as were measured make the significance tests comparable.
    perturbations, covariates
        Arrays of shape (n_predicted_cells,). By default the predicted cells carry the labels of
        the measured ones, in their order.
    embedding
        Array of shape (n_predicted_cells, d): the prediction where `truth.embedding` is.

    Raises
    ------
    UsageError
        If labels or embeddings do not fit the cells, a measured perturbation was not predicted or
        a predicted one not measured, or an embedding is on one side alone or of another width.
    """

    def __init__(
        self,
        truth: PerturbationTruth,
        prediction: FloatArray,
        *,
        perturbations: StrArray | Sequence[str] | None = None,
        covariates: StrArray | Sequence[str] | None = None,
        embedding: FloatArray | None = None,
    ) -> None:
        super().__init__(truth, prediction)
        if (embedding is None) != (truth.embedding is None):
            side = "truth" if embedding is None else "prediction"
            msg = f"only the {side} has an embedding; give one for both or for neither"
            raise UsageError(msg)
        n = len(self.prediction)
        if embedding is not None and truth.embedding is not None:
            check_embedding(embedding, n, "prediction")
            found, expected = embedding.shape[1], truth.embedding.shape[1]
            if found != expected:
                msg = (
                    f"the prediction's embedding has {found} columns, expected the {expected} of "
                    "the truth's; embed both alike"
                )
                raise UsageError(msg)
        if perturbations is None:
            perturbations = truth.perturbations
            covariates = truth.covariates if covariates is None else covariates
        self.perturbation_truth = truth
        self.perturbations = labels(perturbations, n, "perturbations of the prediction")
        self.covariates = labels(covariates, n, "covariates of the prediction")
        self.embedding = embedding
        self._check_groups()

    def _check_groups(self) -> None:
        # leaving out the hard ones must not raise the mean over perturbations
        labelled = zip(self.perturbations, self.covariates, strict=True)
        predicted = {Group(str(p), str(c)) for p, c in labelled}
        measured = set(self.perturbation_truth.groups)
        for groups, fault in (
            (measured - predicted, "measured but not predicted"),
            (predicted - measured, "predicted but not measured"),
        ):
            if groups:
                some = ", ".join(str(group) for group in sorted(groups)[:3])
                msg = f"{len(groups)} perturbations {fault} ({some}); label both sides alike"
                raise UsageError(msg)

    @property
    def neighbours_in_genes(self) -> bool:
        """Whether a metric looks for neighbours among distances over all genes."""
        return self.embedding is None

    def rows(self, group: Group) -> IntArray:
        """Rows of a group's cells in `prediction`."""
        return self.cached(
            ("rows", group), lambda: rows_of(self.perturbations, self.covariates, group)
        )

    def mean(self, group: Group) -> FloatArray:
        """Mean profile of the predicted cells of a group."""
        return self.cached(("mean", group), lambda: mean_profile(self.prediction[self.rows(group)]))

    def de_table(self, group: Group) -> DETable:
        """Differential expression of the predicted cells against their half of the controls."""
        return self.cached(
            ("de_table", group),
            lambda: de_table(
                self.prediction[self.rows(group)],
                self.perturbation_truth.prediction_controls(group.covariate),
            ),
        )
