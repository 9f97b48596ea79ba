"""scConcept (Bahrami et al. 2025, doi 10.1101/2025.10.14.682419)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from reconeval.embedders._checkpoints import check_files, check_tensors, load_plain, loading
from reconeval.embedders._foundation import FoundationEmbedder
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anndata import AnnData

__all__ = ["ScConceptEmbedder"]

_FILES = ("config.yaml", "model.ckpt", "gene_mappings")


class ScConceptEmbedder(FoundationEmbedder):
    """Embed cells by scConcept's cell token (package `sc-concept`).

    Deterministic unless the model's own settings ask for random genes or bins, which are seeded.
    The package computes in bfloat16, so another `batch_size` moves values by some 1e-3.

    The package may read its checkpoint as a pickle. It is read once before without, so a file
    that holds more than tensors and plain values is refused unless `trust_pickle` is set.

    The package itself asks for Python 3.12 or later.

    Parameters
    ----------
    checkpoint
        The folder of a model, with `config.yaml`, `model.ckpt`, `gene_mappings/SPECIES.csv` and,
        where the model uses it, `pretrained_vocabulary`.
    batch_size, device, seed, min_genes, trust_pickle
        As for `FoundationEmbedder`.
    gene_key
        Column of `var` with Ensembl gene ids or with symbols; default `var_names`.
    species
        The species of the cells, one of those in `gene_mappings`.

    Raises
    ------
    UsageError
        If the package is not installed, or an option out of range.
    """

    package: ClassVar[str] = "sc-concept"
    environment: ClassVar[str] = "scconcept"
    loggers: ClassVar[tuple[str, ...]] = ("concept", "lamin_dataloader")

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        batch_size: int | None = None,
        device: str | None = None,
        seed: int = 0,
        min_genes: int | None = None,
        gene_key: str | None = None,
        trust_pickle: bool = False,
        species: str = "hsapiens",
    ) -> None:
        super().__init__(
            checkpoint,
            batch_size=batch_size,
            device=device,
            seed=seed,
            min_genes=min_genes,
            gene_key=gene_key,
            trust_pickle=trust_pickle,
        )
        self.species = species
        self._model: Any = None

    def _load(self) -> None:
        check_files(self.checkpoint, _FILES, where=self.name)
        config, weights, mappings = (self.checkpoint / name for name in _FILES)
        stored = load_plain(weights, where=self.name, trust_pickle=self.trust_pickle)
        vocabulary = self.checkpoint / "pretrained_vocabulary"
        from concept import scConcept

        with loading(self.checkpoint, where=self.name):
            model = scConcept()
            model.load_config_and_model(
                config=str(config),
                model_path=str(weights),
                gene_mappings_path=str(mappings),
                pretrained_vocabulary_path=str(vocabulary) if vocabulary.exists() else None,
            )
        model.device = self._torch_device()
        # Lightning's files call the tensors `state_dict`, Fabric's `model`.
        found = stored.get("state_dict", stored.get("model", {}))
        check_tensors(model.model.state_dict(), found, where=self.name)
        if self.species not in model.species:
            msg = f"{self.name}: species={self.species!r}: the model knows none such"
            raise UsageError(msg + hint(self.species, model.species))
        self._model = model

    def _vocabulary(self) -> Mapping[str, str]:
        tokenizer = self._model.tokenizer
        special = (tokenizer.CLS_VOCAB, tokenizer.PAD_VOCAB)
        ids = tokenizer.get_tokenizer(self.species).gene_mapping
        known = {str(gene): str(gene) for gene in ids if gene not in special}
        symbols = self._model.get_gene_name_to_id_mapping(self.species)
        # An id is unambiguous, so it comes first where a symbol of another gene reads the same.
        return {**{s: g for s, g in symbols.items() if g in known}, **known}

    def _encode(self, cells: AnnData) -> Any:
        embedded = self._model.extract_embeddings(
            cells, species=self.species, batch_size=self.batch_size, num_workers=0
        )
        return np.asarray(embedded["cls_cell_emb"], dtype=np.float32)
