"""scGPT (Cui et al. 2024, doi 10.1038/s41592-024-02201-0)."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import mock

from reconeval.embedders._checkpoints import check_files, check_tensors, load_plain, loading
from reconeval.embedders._foundation import FoundationEmbedder
from reconeval.embedders._torchtext import torchtext_for_import
from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from anndata import AnnData

__all__ = ["ScGPTEmbedder"]

_FILES = ("best_model.pt", "args.json", "vocab.json")
_SPECIAL = ("<pad>", "<cls>", "<eoc>")
# The parts that an embedding goes through; the decoders' weights may be absent.
_USED = ("encoder.", "value_encoder.", "transformer_encoder.")


class ScGPTEmbedder(FoundationEmbedder):
    """Embed cells by scGPT's cell token (package `scgpt`).

    Rows have length 1. scGPT draws at random: it breaks ties when it bins the counts of a cell,
    and picks genes of a cell that expresses more than `max_length`. The draws are seeded; they
    go by the cells in their order, so another order of cells gives slightly other embeddings,
    as does a GPU, where scGPT computes in half precision.

    The package ignores tensors that a checkpoint lacks; here they are an error.

    The options are those of `FoundationEmbedder` and `max_length`. `checkpoint` is the folder of
    a model, with `best_model.pt`, `args.json` and `vocab.json`. Genes are known by symbol.

    Parameters
    ----------
    checkpoint, batch_size, device, seed, min_genes, gene_key, trust_pickle
        As for `FoundationEmbedder`.
    max_length
        The most genes of a cell that are used, one for the cell token included.

    Raises
    ------
    UsageError
        If the package is not installed, or an option out of range.
    """

    package: ClassVar[str] = "scgpt"
    environment: ClassVar[str] = "scgpt"
    loggers: ClassVar[tuple[str, ...]] = ("scGPT",)

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
        max_length: int = 1200,
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
        if max_length < 2:
            msg = f"{self.name}: max_length={max_length}, expected at least 2"
            raise UsageError(msg)
        self.max_length = max_length
        self._genes: dict[str, str] = {}

    def _load(self) -> None:
        check_files(self.checkpoint, _FILES, where=self.name)
        load_plain(self.checkpoint / _FILES[0], where=self.name, trust_pickle=self.trust_pickle)
        with loading(self.checkpoint, where=self.name):
            tokens = json.loads((self.checkpoint / "vocab.json").read_text(encoding="utf-8"))
            self._genes = {gene: gene for gene in tokens if gene not in _SPECIAL}

    def _vocabulary(self) -> Mapping[str, str]:
        return self._genes

    def _encode(self, cells: AnnData) -> Any:
        with torchtext_for_import():
            from scgpt.tasks import cell_emb
        device = self._torch_device()
        with _reproducible(cell_emb, self.name), loading(self.checkpoint, where=self.name):
            embedded = cell_emb.embed_data(
                cells,
                self.checkpoint,
                gene_col="index",
                max_length=self.max_length,
                batch_size=self.batch_size,
                device=device,
                use_fast_transformer=device.type == "cuda",
            )
        return embedded.obsm["X_scGPT"]


@contextlib.contextmanager
def _reproducible(cell_emb: Any, name: str) -> Iterator[None]:
    """Within the block, scGPT checks its weights and draws the same on every machine.

    It starts as many workers as there are cores, each with draws of its own.
    """
    load_pretrained = cell_emb.load_pretrained

    def checked(model: Any, tensors: Any, **options: Any) -> Any:
        own = {k: v for k, v in model.state_dict().items() if k.startswith(_USED)}
        fast = model.use_fast_transformer
        # As scGPT renames them for attention without flash-attn.
        found = tensors if fast else {k.replace("Wqkv.", "in_proj_"): tensors[k] for k in tensors}
        check_tensors(own, found, where=name)
        return load_pretrained(model, tensors, **options)

    class InOrder(cell_emb.DataLoader):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "num_workers": 0, "pin_memory": False})

    with (
        mock.patch.object(cell_emb, "load_pretrained", checked),
        mock.patch.object(cell_emb, "DataLoader", InOrder),
    ):
        yield
