"""SCimilarity (Heimberg et al. 2024, doi 10.1038/s41586-024-08411-y)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

from reconeval.embedders._checkpoints import check_files, load_plain, loading
from reconeval.embedders._foundation import FoundationEmbedder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

__all__ = ["SCimilarityEmbedder"]

_FILES = ("encoder.ckpt", "gene_order.tsv", "layer_sizes.json", "label_ints.csv")


class SCimilarityEmbedder(FoundationEmbedder):
    """Embed cells by SCimilarity's encoder (package `scimilarity`).

    Deterministic; rows have length 1. Counts are normalised by the package, to 10 000 over the
    genes that the model knows.

    The package reads its checkpoint as a pickle. It is read once before without, so a file that
    holds more than tensors and plain values is refused unless `trust_pickle` is set.

    The options are those of `FoundationEmbedder`. `checkpoint` is the folder of a model, with
    `encoder.ckpt`, `gene_order.tsv`, `layer_sizes.json` and `label_ints.csv`. Genes are known by
    symbol; the package asks for at least 5000 of them. `seed` changes nothing.
    """

    package: ClassVar[str] = "scimilarity"
    environment: ClassVar[str] = "scimilarity"
    default_batch_size: ClassVar[int] = 10_000
    default_min_genes: ClassVar[int] = 5000

    _model: Any = None

    def _load(self) -> None:
        check_files(self.checkpoint, _FILES, where=self.name)
        load_plain(self.checkpoint / _FILES[0], where=self.name, trust_pickle=self.trust_pickle)
        from scimilarity import CellEmbedding

        # The package loads strictly, so tensors that are missing raise here.
        with loading(self.checkpoint, where=self.name), self._on_device():
            self._model = CellEmbedding(
                model_path=str(self.checkpoint), use_gpu=self._torch_device().type == "cuda"
            )

    def _vocabulary(self) -> Mapping[str, str]:
        return {gene: gene for gene in self._model.gene_order}

    def _encode(self, cells: AnnData) -> Any:
        from scimilarity.utils import align_dataset, lognorm_counts

        cells.layers["counts"] = cells.X.copy()
        aligned = align_dataset(
            cells, self._model.gene_order, gene_overlap_threshold=self.min_genes
        )
        # The package joins genes by an outer join, which may sort them by name.
        aligned = lognorm_counts(aligned[:, self._model.gene_order].copy())
        with self._on_device():
            return self._model.get_embeddings(aligned.X, buffer_size=self.batch_size)

    def _on_device(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        device = self._torch_device()
        # The package only knows "the GPU", which is torch's current one.
        return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
