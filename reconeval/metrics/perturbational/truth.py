"""Measured cells of several perturbations, prepared once for all predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.filling import listed
from reconeval.metrics.pair import Truth
from reconeval.metrics.perturbational.expression import de_table
from reconeval.metrics.perturbational.shifts import control_halves, mean_profile
from reconeval.metrics.perturbational.weighted import response_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconeval._typing import FloatArray, IntArray, StrArray
    from reconeval.metrics.perturbational.recovery import DETable

__all__ = ["Group", "PerturbationTruth", "check_embedding", "labels", "rows_of"]


class Group(NamedTuple):
    """The cells of one perturbation and, where there are several, one covariate."""

    perturbation: str
    covariate: str

    def __str__(self) -> str:
        return " in ".join(part for part in self if part)


class PerturbationTruth(Truth):
    """Measured cells of one or more perturbations, with their controls.

    Shifts and tests of the truth are taken against one half of the controls, those of the
    prediction against the other (`control_halves`, by `seed`), within each covariate. Give a
    model that starts from control cells those of `prediction_controls`.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Measured perturbed cells, log1p of counts per 10 000.
    genes
        n_genes unique gene names, in the order of the columns.
    perturbations
        Array of shape (n_cells,). The perturbation of each cell.
    reference
        Array of shape (n_reference_cells, n_genes), same scale. Measured control cells.
    covariates, reference_covariates
        Arrays of shape (n_cells,) and (n_reference_cells,). A label such as the cell type;
        effects are taken and perturbations ranked within each value. By default all the same.
    reference_strata
        Array of shape (n_reference_cells,). Labels of which both halves of the controls get the
        same share, such as the cell type where effects are taken of all types together.
    train, train_perturbations, train_covariates
        Measured training cells and their labels. The mean of their perturbations is what
        `pearson_delta_pert` and `weighted_r2_delta_pert` are taken against.
    control
        Label of the control cells in `train_perturbations`, None where there are none among them.
    targets
        For a perturbation, the gene it targets; perturbations and genes that are missing have
        none.
    embedding, reference_embedding
        Arrays of shape (n_cells, d) and (n_reference_cells, d): where `knn_purity` looks for
        neighbours; by default in genes.
    seed
        Seeds the halves of the controls.
    **options
        As for `Truth`.

    Raises
    ------
    UsageError
        If labels or embeddings do not fit the cells, a covariate has no controls, a measured
        perturbed cell has the label of the controls, or no training cell has it.
    """

    def __init__(
        self,
        X: FloatArray,
        genes: Sequence[str],
        *,
        perturbations: StrArray | Sequence[str],
        reference: FloatArray,
        covariates: StrArray | Sequence[str] | None = None,
        reference_covariates: StrArray | Sequence[str] | None = None,
        reference_strata: StrArray | Sequence[str] | None = None,
        train: FloatArray | None = None,
        train_perturbations: StrArray | Sequence[str] | None = None,
        train_covariates: StrArray | Sequence[str] | None = None,
        control: str | None = "control",
        targets: Mapping[str, str] | None = None,
        embedding: FloatArray | None = None,
        reference_embedding: FloatArray | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(X, genes, train=train, reference=reference, seed=seed, **options)
        if (embedding is None) != (reference_embedding is None):
            msg = "an embedding is needed for truth and reference both, or for neither"
            raise UsageError(msg)
        if train is None and train_perturbations is not None:
            msg = "train_perturbations came without train, the cells that they label"
            raise UsageError(msg)
        n_train = 0 if train is None else len(train)
        self.controls = reference
        self.perturbations = labels(perturbations, len(X), "perturbations")
        self.covariates = labels(covariates, len(X), "covariates")
        self.control_covariates = labels(
            reference_covariates, len(reference), "reference_covariates"
        )
        self.control_strata = _labels_if_given(reference_strata, len(reference), "reference_strata")
        self.train_perturbations = _labels_if_given(
            train_perturbations, n_train, "train_perturbations"
        )
        self.train_covariates = labels(train_covariates, n_train, "train_covariates")
        self.control = control
        self.targets = dict(targets or {})
        self.embedding = embedding
        self.reference_embedding = reference_embedding
        self._check_controls()
        self._check_embeddings()

    def _check_controls(self) -> None:
        if self.control in self.perturbations.tolist():
            msg = f"the truth has cells of {self.control!r}; give control cells as reference"
            raise UsageError(msg)
        bare = set(self.covariates) - set(self.control_covariates)
        if bare:
            msg = f"no control cells for {', '.join(sorted(bare))}; add them to the reference"
            raise UsageError(msg)
        known = [] if self.train_perturbations is None else sorted(set(self.train_perturbations))
        if known and self.control is not None and self.control not in known:
            # They would pass for one more perturbation, in the mean that others are taken against.
            msg = (
                f"no training cell is labelled {self.control!r} (labels: {listed(known)}); name "
                "the label of the controls by control, or say control=None if there are none"
            )
            raise UsageError(msg)

    def _check_embeddings(self) -> None:
        if self.embedding is None or self.reference_embedding is None:
            return
        widths = {}
        for name, embedding, cells in (
            ("truth", self.embedding, self.X),
            ("reference", self.reference_embedding, self.controls),
        ):
            check_embedding(embedding, len(cells), name)
            widths[name] = embedding.shape[1]
        if len(set(widths.values())) > 1:
            msg = (
                f"the embedding has {widths['truth']} columns in the truth and "
                f"{widths['reference']} in the reference; embed both alike"
            )
            raise UsageError(msg)

    @property
    def provides(self) -> frozenset[str]:
        """What a metric's `needs` can ask for and this truth has."""
        extra = {"perturbations"}
        if self.train_perturbations is not None:
            extra.add("train_perturbations")
        return super().provides | extra

    @property
    def groups(self) -> tuple[Group, ...]:
        """Perturbations by covariate, sorted; most values are computed for one of them."""
        pairs = zip(self.perturbations, self.covariates, strict=True)
        return self.cached(
            "groups", lambda: tuple(sorted({Group(str(p), str(c)) for p, c in pairs}))
        )

    def rows(self, group: Group) -> IntArray:
        """Rows of a group's cells in `X`."""
        return self.cached(
            ("rows", group), lambda: rows_of(self.perturbations, self.covariates, group)
        )

    def control_rows(self, covariate: str) -> IntArray:
        """Rows of a covariate's controls in `reference`, both halves."""
        return np.flatnonzero(self.control_covariates == covariate)

    def halves(self, covariate: str) -> tuple[IntArray, IntArray]:
        """Rows in `reference` of the controls for the truth and of those for the prediction."""

        def split() -> tuple[IntArray, IntArray]:
            rows = self.control_rows(covariate)
            strata = None if self.control_strata is None else self.control_strata[rows]
            first, second = control_halves(len(rows), self.seed, strata=strata)
            return rows[first], rows[second]

        return self.cached(("halves", covariate), split)

    def prediction_controls(self, covariate: str = "") -> FloatArray:
        """Control cells that predictions are taken against, and may start from."""
        return self.controls[self.halves(covariate)[1]]

    def control_mean(self, covariate: str, half: int) -> FloatArray:
        """Mean profile of the controls for the truth (half 0) or for the prediction (1)."""
        return self.cached(
            ("control_mean", covariate, half),
            lambda: mean_profile(self.controls[self.halves(covariate)[half]]),
        )

    def mean(self, group: Group) -> FloatArray:
        """Mean profile of a group."""
        return self.cached(("mean", group), lambda: mean_profile(self.X[self.rows(group)]))

    def weights(self, group: Group) -> FloatArray:
        """Weights of genes by their response, against all other cells of the covariate."""

        def build() -> FloatArray:
            others = (self.covariates == group.covariate) & (
                self.perturbations != group.perturbation
            )
            controls = self.controls[self.control_rows(group.covariate)]
            rest = np.concatenate([self.X[others], controls])
            return response_weights(self.X[self.rows(group)], rest)

        return self.cached(("weights", group), build)

    def de_table(self, group: Group) -> DETable:
        """Differential expression of a group against its half of the controls."""
        return self.cached(
            ("de_table", group),
            lambda: de_table(
                self.X[self.rows(group)], self.controls[self.halves(group.covariate)[0]]
            ),
        )

    def background(self, group: Group) -> FloatArray:
        """Mean of the mean profiles of the other perturbations of the training set.

        Of the same covariate where the training set has it, otherwise of all of them.
        """

        def build() -> FloatArray:
            if self.train is None or self.train_perturbations is None:
                msg = "needs labelled training cells"
                raise Undefined(msg)
            same = self.train_covariates == group.covariate
            usable = same if same.any() else np.ones_like(same)
            names = set(self.train_perturbations[usable]) - {self.control, group.perturbation}
            if not names:
                msg = f"the training set has no perturbation other than {group.perturbation}"
                raise Undefined(msg)
            profiles = [
                mean_profile(self.train[usable & (self.train_perturbations == name)])
                for name in sorted(names)
            ]
            return np.asarray(np.mean(profiles, axis=0))

        return self.cached(("background", group), build)


def check_embedding(embedding: FloatArray, n_cells: int, name: str) -> None:
    """Refuse an embedding that is no matrix with a row for each cell."""
    if embedding.ndim != 2 or len(embedding) != n_cells:
        msg = f"the embedding of the {name} has shape {embedding.shape}, expected ({n_cells}, d)"
        raise UsageError(msg)


def labels(values: StrArray | Sequence[str] | None, n: int, name: str) -> StrArray:
    """Return one label per cell as text; empty ones where none are given."""
    array = np.full(n, "") if values is None else np.asarray(values).astype(str)
    if array.shape != (n,):
        msg = f"{name} has shape {array.shape}, expected ({n},): one label per cell"
        raise UsageError(msg)
    return array


def _labels_if_given(values: StrArray | Sequence[str] | None, n: int, name: str) -> StrArray | None:
    return None if values is None else labels(values, n, name)


def rows_of(perturbations: StrArray, covariates: StrArray, group: Group) -> IntArray:
    """Positions of the labels that are those of a group."""
    return np.flatnonzero((perturbations == group.perturbation) & (covariates == group.covariate))
