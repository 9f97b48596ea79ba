"""Prediction of perturbed cells in an embedding, from control cells and a descriptor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from reconeval.cases._base import Case, nothing_to_ask
from reconeval.cases._populations import Populations
from reconeval.cases._shift_data import descriptors_of, shift_data, strata_of
from reconeval.errors import Undefined
from reconeval.inputs import Inputs
from reconeval.metrics.pair import Pair, Truth
from reconeval.metrics.perturbational.pair import PerturbationPair
from reconeval.metrics.perturbational.truth import PerturbationTruth
from reconeval.offers_embedded import predictor_constructor_offers, predictor_train_offers

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray, IntArray, StrArray
    from reconeval.datasets import PerturbationDataset, PerturbationSplit
    from reconeval.filling import Offer
    from reconeval.metrics.registry import Metric, Score
    from reconeval.offers_embedded import ShiftData

__all__ = ["LEAST_CELLS", "LEAST_SHARE", "LatentShiftCase"]

# Effects are taken within cell types where most cells are in groups of a perturbation and a type
# that have enough cells, and enough controls; the mean of a handful of cells is noise.
LEAST_CELLS = 30
LEAST_SHARE = 0.8


@dataclass(eq=False)
class LatentShiftCase(Case):
    """Perturbed test cells that are to be predicted from control cells.

    A predictor sees the embeddings of real test controls, and a descriptor for each. In genes
    everything has gone through the frozen decoder, the truth and its controls as well: a predictor
    answers for where it puts cells, not for what the decoder makes of them. Effects are taken
    against halves of the test controls: those of the truth against the one, those of the
    prediction against the other, which the predictions start from. Where the control cell that a
    perturbed one came from is known, metrics of the statistical family, which compare cells, are
    computed of a second prediction that starts from these.

    Attributes
    ----------
    dataset, split
        What the case is made of.
    """

    task: ClassVar[str] = "latent_shift"
    column: ClassVar[str] = "dimension"
    compared: ClassVar[str] = "latent_r2"

    dataset: PerturbationDataset
    split: PerturbationSplit
    _positives: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    @property
    def n_columns(self) -> int:
        """The number of dimensions of the embedding."""
        return int(self.dataset.embedding.shape[1])

    @cached_property
    def data(self) -> ShiftData:
        """What training may see: rows of training and validation cells, and their controls."""
        return shift_data(self.dataset, self.split)

    def constructor_offers(self, *, seed: int) -> dict[str, Offer]:
        """Return what a constructor can ask for by name."""
        return predictor_constructor_offers(
            embed_dim=self.n_columns,
            cov_dim=self.data.pert_cov.shape[1],
            n_genes=len(self.dataset.genes),
            seed=seed,
        )

    def train_offers(
        self, *, seed: int, accelerator: str = "cpu", progress: bool = False
    ) -> dict[str, Offer]:
        """Return what `train` can ask for by name."""
        return predictor_train_offers(
            self.data, seed=seed, accelerator=accelerator, progress=progress
        )

    def test_input(self) -> Inputs:
        """Return embeddings of control cells and descriptors, a row for each test cell."""
        return self._inputs(self._partners)

    @property
    def paired(self) -> bool:
        """Whether it is known which control cell each perturbed cell came from."""
        return self.dataset.partner is not None

    def pair(self, prediction: FloatArray) -> PerturbationPair:
        """Put predicted embeddings, and what they decode to, beside those of the test cells."""
        X = self.dataset.decode(prediction)
        if not self.paired:
            return self._complete_pair(prediction, X)
        return self._effects_pair(prediction, X)

    def perfect(self) -> PerturbationPair:
        """Put the test cells beside themselves."""
        embedding = self.dataset.embedding[self.split.test]
        return self._complete_pair(embedding, self.truth.X)

    def score(self, metric: Metric, pair: Pair, predict: Callable[[Inputs], FloatArray]) -> Score:
        """Return a metric's score; of one that compares populations the mean over perturbations."""
        if metric.family != "statistical" or metric.paired:
            return super().score(metric, pair, predict)
        return self.populations.score(metric, self.completed(metric, pair, predict))

    def completed(
        self, metric: Metric, pair: Pair, predict: Callable[[Inputs], FloatArray]
    ) -> Pair:
        """Return the pair of effects, or for a statistical metric the one of all test cells.

        Raises
        ------
        Undefined
            If the metric compares cells one by one and nobody knows which came from which.
        """
        if metric.family != "statistical":
            return pair
        if metric.paired and not self.paired:
            msg = "nobody knows which control cell became which perturbed one, so cells cannot be "
            msg += "compared one by one"
            raise Undefined(msg)

        def build() -> Pair:
            prediction = predict(self._inputs(self.split.test_partner))
            return self._cells_pair(prediction, self.dataset.decode(prediction))

        return pair.cached("all cells", build)

    def positive(self, metric: Metric) -> float | None:
        """Return the score of the perfect prediction, the test cells; None where it has none."""
        if metric.name not in self._positives:
            value = self.score(metric, self._perfect, nothing_to_ask).value
            self._positives[metric.name] = value
        value = self._positives[metric.name]
        return value if math.isfinite(value) else None

    @cached_property
    def truth(self) -> Truth:
        """All test cells, for the metrics that compare cells."""
        X, embedding, split = self._decoded, self.dataset.embedding, self.split
        train = np.concatenate([split.train, split.train_controls])
        truth = Truth(X[split.test], self.dataset.genes, train=X[train])
        truth.latent = Truth(embedding[split.test], self._dimensions, train=embedding[train])
        return truth

    @cached_property
    def populations(self) -> Populations:
        """The test cells by perturbation, in the groups that effects are taken of."""
        effects = self.effects
        rows = {group: self._kept[effects.rows(group)] for group in effects.groups}
        return Populations(self.truth, rows)

    @cached_property
    def effects(self) -> PerturbationTruth:
        """The test cells of perturbations that have enough of them, with their controls.

        Effects are taken by cell type where most test cells are in groups large enough.
        """
        embedding = self.dataset.embedding
        truth = self._effects(self._decoded, self.dataset.genes, embedding=embedding)
        truth.latent = self._effects(embedding, self._dimensions)
        return truth

    def _effects(
        self, X: FloatArray, genes: tuple[str, ...], *, embedding: FloatArray | None = None
    ) -> PerturbationTruth:
        dataset, split = self.dataset, self.split
        rows, controls = split.test[self._kept], split.test_controls
        train = np.concatenate([split.train, split.train_controls])
        types = self._types
        return PerturbationTruth(
            X[rows],
            genes,
            perturbations=dataset.perturbation[rows],
            covariates=None if types is None else types[rows],
            reference=X[controls],
            reference_covariates=None if types is None else types[controls],
            reference_strata=strata_of(dataset, controls),
            train=X[train],
            train_perturbations=dataset.perturbation[train],
            train_covariates=None if types is None else types[train],
            control=dataset.control,
            targets=dataset.targets,
            embedding=None if embedding is None else embedding[rows],
            reference_embedding=None if embedding is None else embedding[controls],
        )

    @cached_property
    def _dimensions(self) -> tuple[str, ...]:
        return tuple(f"dimension {i}" for i in range(self.n_columns))

    @cached_property
    def _large(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which test cells are in a group, of one cell type, that is large enough."""
        dataset, split = self.dataset, self.split
        types = dataset.cell_types
        if types is None:
            return np.zeros(len(split.test), dtype=bool)
        names, controls = np.unique(types[split.test_controls], return_counts=True)
        served = np.isin(types[split.test], names[controls >= LEAST_CELLS])
        _, group, sizes = np.unique(
            np.stack([dataset.perturbation[split.test], types[split.test]]).astype(str),
            axis=1,
            return_inverse=True,
            return_counts=True,
        )
        return np.asarray(served & (sizes[group.ravel()] >= LEAST_CELLS))

    @cached_property
    def _types(self) -> StrArray | None:
        """The cell types within which effects are taken, None for all cells together."""
        return self.dataset.cell_types if self._large.mean() >= LEAST_SHARE else None

    @cached_property
    def _kept(self) -> IntArray:
        """Positions in the test of the cells that `effects` has."""
        everything = np.arange(len(self.split.test))
        return everything if self._types is None else np.flatnonzero(self._large)

    @cached_property
    def _partners(self) -> IntArray:
        """For each test cell the row of a control cell that predictions are taken against.

        The split's own choice where it is among these; else one drawn among those of the same
        cell type and condition, or, where there is none, of the cell type.
        """
        effects, split = self.effects, self.split
        rng = np.random.default_rng(effects.seed)
        allowed = {
            covariate: split.test_controls[effects.halves(covariate)[1]]
            for covariate in sorted(set(effects.covariates))
        }
        partners = split.test_partner.copy()
        types = self._types
        for i, cell in enumerate(split.test):
            pool = allowed.get("" if types is None else str(types[cell]))
            if pool is None or partners[i] in pool:  # of a group that no effect is taken of
                continue
            for labels in (self.dataset.cell_types, self.dataset.conditions):
                if labels is not None:
                    alike = pool[labels[pool] == labels[cell]]
                    pool = alike if len(alike) else pool
            partners[i] = rng.choice(pool)
        return partners

    def _inputs(self, partners: IntArray) -> Inputs:
        dataset, test = self.dataset, self.split.test
        labels = {"cell_type": dataset.cell_types, "condition": dataset.conditions}
        return Inputs(
            {
                "ctrl_emb": dataset.embedding[partners],
                "pert_cov": descriptors_of(dataset, dataset.perturbation[test]),
            },
            {name: values[test] for name, values in labels.items() if values is not None},
        )

    def _effects_pair(self, embedding: FloatArray, X: FloatArray) -> PerturbationPair:
        truth, kept = self.effects, self._kept
        pair = PerturbationPair(truth, X[kept], embedding=embedding[kept])
        if isinstance(truth.latent, PerturbationTruth):
            pair.latent = PerturbationPair(truth.latent, embedding[kept])
        return pair

    def _cells_pair(self, embedding: FloatArray, X: FloatArray) -> Pair:
        pair = Pair(self.truth, X)
        if self.truth.latent is not None:
            pair.latent = Pair(self.truth.latent, embedding)
        return pair

    def _complete_pair(self, embedding: FloatArray, X: FloatArray) -> PerturbationPair:
        pair = self._effects_pair(embedding, X)
        pair.cached("all cells", lambda: self._cells_pair(embedding, X))
        return pair

    @cached_property
    def _decoded(self) -> FloatArray:
        """Cells of training and test in genes, as the decoder gives them; NaN for all others."""
        split, dataset = self.split, self.dataset
        rows = [split.train, split.train_controls, split.test, split.test_controls]
        used = np.unique(np.concatenate(rows))
        X = np.full((len(dataset.embedding), len(dataset.genes)), np.nan, dtype=np.float32)
        X[used] = dataset.decode(dataset.embedding[used])
        return X

    @cached_property
    def _perfect(self) -> PerturbationPair:
        return self.perfect()
