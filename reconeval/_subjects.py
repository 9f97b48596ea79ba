"""The subjects of the contract by task: what each is offered, and how wide its predictions are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from reconeval._subject import Subject
from reconeval.offers import TrainingData, constructor_offers, train_offers
from reconeval.offers_embedded import (
    DecodingData,
    ShiftData,
    decoder_constructor_offers,
    decoder_train_offers,
    predictor_constructor_offers,
    predictor_train_offers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray
    from reconeval.filling import Offer
    from reconeval.inputs import Inputs

__all__ = ["SUBJECTS", "DecoderSubject", "PredictorSubject", "ReconstructionSubject"]


class ReconstructionSubject(Subject[TrainingData]):
    """A model that reconstructs cells from the cells themselves."""

    task = "end_to_end"
    asked_with = "the cells"

    @property
    def n_columns(self) -> int:
        """The number of genes."""
        return len(self.data.genes)

    def constructor_offers(self) -> dict[str, Offer]:
        """Return what the constructor can ask for by name."""
        return constructor_offers(n_genes=self.n_columns, seed=self.seed)

    def train_offers(self, data: TrainingData) -> dict[str, Offer]:
        """Return what `train` can ask for by name."""
        return train_offers(data, seed=self.seed, accelerator=self.accelerator)


class DecoderSubject(Subject[DecodingData]):
    """A decoder, which reconstructs cells from an embedding of them."""

    task = "decode"
    asked_with = "the embedding (and obs where it is named)"

    @property
    def n_columns(self) -> int:
        """The number of genes."""
        return len(self.data.genes)

    def constructor_offers(self) -> dict[str, Offer]:
        """Return what the constructor can ask for by name."""
        embed_dim = self.data.embedding.shape[1]
        return decoder_constructor_offers(
            embed_dim=embed_dim, n_genes=self.n_columns, seed=self.seed
        )

    def train_offers(self, data: DecodingData) -> dict[str, Offer]:
        """Return what `train` can ask for by name."""
        return decoder_train_offers(data, seed=self.seed, accelerator=self.accelerator)


class PredictorSubject(Subject[ShiftData]):
    """A predictor, which moves the embeddings of control cells by a perturbation's descriptor."""

    task = "latent_shift"
    asked_with = "ctrl_emb and pert_cov (and labels where they are named)"
    column = "dimension"
    # What `train` got as `decode`, and what that gave for `data.ctrl_emb` before.
    handed_decoder: tuple[Callable[[FloatArray], FloatArray], FloatArray] | None = None

    @property
    def n_columns(self) -> int:
        """The number of dimensions of the embedding."""
        return int(self.data.ctrl_emb.shape[1])

    @property
    def descriptors(self) -> dict[str, FloatArray]:
        """The distinct descriptors of the training cells, by the name of the perturbation."""
        distinct, first = np.unique(self.data.pert_cov, axis=0, return_index=True)
        names = self.data.perturbation[first]
        return dict(zip(map(str, names), distinct, strict=True))

    def constructor_offers(self) -> dict[str, Offer]:
        """Return what the constructor can ask for by name."""
        return predictor_constructor_offers(
            embed_dim=self.n_columns,
            cov_dim=self.data.pert_cov.shape[1],
            n_genes=self.data.n_genes,
            seed=self.seed,
        )

    def train_offers(self, data: ShiftData) -> dict[str, Offer]:
        """Return what `train` can ask for by name."""
        return predictor_train_offers(data, seed=self.seed, accelerator=self.accelerator)

    def _watched(self) -> dict[str, Offer]:
        """Return what `train` is offered, with `handed_decoder` kept where it takes `decode`."""
        offers = super()._watched()
        if "decode" not in offers:
            return offers

        def make() -> Callable[[FloatArray], FloatArray]:
            decode: Callable[[FloatArray], FloatArray] = offers["decode"].make()
            self.handed_decoder = decode, np.array(decode(self.data.ctrl_emb.copy()))
            return decode

        return offers | {"decode": replace(offers["decode"], make=make)}

    def described_by(self, descriptor: FloatArray) -> Inputs:
        """Return the inputs with one descriptor, of shape (c,), for all cells."""

        def change(name: str, array: FloatArray) -> FloatArray:
            if name == "pert_cov":
                array[:] = descriptor
            return array

        return self.inputs.change(change)

    def with_others_changed(self, kept: int) -> Inputs:
        """Return the inputs with every row from number `kept` on changed."""
        changed = super().with_others_changed(kept)
        cov = self.inputs.arrays["pert_cov"].copy()
        cov[kept:] = cov[0]  # a descriptor that there is, rather than one that nothing has
        return changed.change(lambda name, array: cov if name == "pert_cov" else array)


SUBJECTS = {
    subject.task: subject for subject in (ReconstructionSubject, DecoderSubject, PredictorSubject)
}
