"""Reconstruction of cells from a frozen embedding of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from reconeval.cases.end_to_end import ReconstructionCase
from reconeval.errors import ReconevalError, Undefined, UsageError
from reconeval.filling import hint
from reconeval.inputs import Inputs
from reconeval.offers import training_data
from reconeval.offers_embedded import (
    DecodingData,
    decoder_constructor_offers,
    decoder_train_offers,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconeval._typing import FloatArray
    from reconeval.embedding import Embedded, Embedding
    from reconeval.filling import Offer
    from reconeval.metrics.pair import Pair
    from reconeval.metrics.registry import Metric

__all__ = ["DecodeCase"]


@dataclass(eq=False)
class DecodeCase(ReconstructionCase):
    """Test cells of which a decoder sees the embedding.

    Attributes
    ----------
    dataset, split
        What the case is made of.
    embedding
        Where the embedding comes from.
    seed
        Seeds an embedder; the embedding is one and the same for all models and seeds of a run.
    file
        Where the dataset came from, if it is the user's own.
    covariates
        Columns of `obs` that a decoder gets in training and prediction, beside the dataset's
        batches. It gets no others: a cell type or library size of the test cells would stand
        for the cells that are to be decoded.

    Raises
    ------
    UsageError
        If the dataset has no such column.
    """

    task: ClassVar[str] = "decode"

    embedding: Embedding = field(kw_only=True)
    seed: int = field(default=0, kw_only=True)
    file: Path | None = field(default=None, kw_only=True)
    covariates: tuple[str, ...] = field(default=(), kw_only=True)
    _failure: ReconevalError | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        known = list(map(str, self.dataset.adata.obs))
        for column in self.covariates:
            if column not in known:
                msg = f"--covariate {column} on {self.dataset.name}: no such column of obs"
                raise UsageError(msg + hint(column, known, "it has"))

    @property
    def _columns(self) -> list[str]:
        batch = self.dataset.batch_key
        return list(dict.fromkeys([*([] if batch is None else [batch]), *self.covariates]))

    @cached_property
    def _embedded(self) -> Embedded:
        return self.embedding.of(self.dataset, self.split, file=self.file, seed=self.seed)

    @property
    def embedded(self) -> Embedded:
        """The cells in the embedding, made on first use; one that failed is not tried again."""
        if self._failure is not None:
            raise self._failure
        try:
            return self._embedded
        except ReconevalError as error:
            self._failure = error
            raise

    @cached_property
    def data(self) -> DecodingData:
        """What training may see: training and validation cells, never test cells."""
        embedded = self.embedded
        cells = vars(training_data(self.dataset, self.split))
        for name in ("obs", "val_obs"):
            if cells[name] is not None:
                cells[name] = cells[name][self._columns]
        return DecodingData(
            embedding=embedded.train,
            val_embedding=embedded.val if len(self.split.val) else None,
            **cells,
        )

    def constructor_offers(self, *, seed: int) -> dict[str, Offer]:
        """Return what a constructor can ask for by name."""
        embed_dim = self.embedded.train.shape[1]
        return decoder_constructor_offers(embed_dim=embed_dim, n_genes=self.n_columns, seed=seed)

    def train_offers(
        self, *, seed: int, accelerator: str = "cpu", progress: bool = False
    ) -> dict[str, Offer]:
        """Return what `train` can ask for by name."""
        return decoder_train_offers(
            self.data, seed=seed, accelerator=accelerator, progress=progress
        )

    def test_input(self) -> Inputs:
        """Return a fresh copy of the test cells' embedding, (n_test, d), and their covariates."""
        return self._inputs(self.embedded.test)

    def completed(
        self, metric: Metric, pair: Pair, predict: Callable[[Inputs], FloatArray]
    ) -> Pair:
        """Add the prediction for thinned cells where a metric of counts needs it.

        Raises
        ------
        Undefined
            If the embedding of thinned cells cannot be had, since it was stored.
        """
        if "counts" not in metric.needs or self.dataset.counts is None:
            return pair
        if self.embedded.thinned is None:
            msg = (
                "needs the embedding of thinned cells, which a stored one does not have; "
                "give the class that embeds them by --embedder"
            )
            raise Undefined(msg)
        if pair.thinned_prediction is None and self._thinned_embedding is not None:
            pair.thinned_prediction = predict(self._inputs(self._thinned_embedding))
        return pair

    @cached_property
    def _thinned_embedding(self) -> FloatArray | None:
        parts, embed = self.thinned(), self.embedded.thinned
        return None if parts is None or embed is None else embed(parts)

    def excused(self, metric: Metric) -> bool:
        """Return whether a metric needs the embedding of other cells than those stored."""
        return "counts" in metric.needs and self.embedded.thinned is None

    def _inputs(self, embedding: FloatArray) -> Inputs:
        obs = self.dataset.adata.obs[self._columns].iloc[self.split.test]
        # By number: the names of cells may say of what type or sample they are.
        numbered = obs.set_axis([str(row) for row in range(len(obs))])
        return Inputs({"embedding": embedding.copy()}, {"obs": numbered})
