"""SE, the embedding model of STATE (Adduri et al. 2025, doi 10.1101/2025.06.26.661135)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from reconeval.embedders._checkpoints import check_tensors, load_plain, loading
from reconeval.embedders._foundation import FoundationEmbedder
from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

__all__ = ["SEEmbedder"]

# Set by the package after loading, from the checkpoint's protein embeddings.
_SET_LATER = "pe_embedding."


class SEEmbedder(FoundationEmbedder):
    """Embed cells by SE, the embedding model of STATE (package `arc-state`).

    The first columns of an embedding have length 1; where the model corrects for data sets,
    ten more follow. SE draws at random: genes that a cell does not express fill its sentence,
    and ties are broken. The draws are seeded; they go by the cells in their order and batches,
    so another order or `batch_size` gives slightly other embeddings.

    The package guesses for each cell whether its values are counts or logarithms, and takes
    cells with low counts for logarithms. It is given the log1p of counts, which it recognises.
    It computes on the GPU, in bfloat16, wherever there is one, so `device="cpu"` is refused
    there.

    The package reads its checkpoint as a pickle, and ignores tensors that it lacks. Here it is
    read once before without pickle (OmegaConf's settings are plain values too), and a missing
    tensor is an error.

    The options are those of `FoundationEmbedder`. `checkpoint` is a `.ckpt` file with its
    settings and protein embeddings inside, as the package writes it. Genes are known by the
    names in there, which are symbols in the published models.
    """

    package: ClassVar[str] = "arc-state"
    environment: ClassVar[str] = "state"
    loggers: ClassVar[tuple[str, ...]] = ("state", "state.emb.inference", "state.emb.data.loader")

    _inference: Any = None

    def _load(self) -> None:
        stored = load_plain(
            self.checkpoint,
            where=self.name,
            trust_pickle=self.trust_pickle,
            plain=_omegaconf_classes(),
        )
        lacking = [k for k in ("state_dict", "protein_embeds_dict") if k not in stored]
        if lacking:
            msg = f"{self.name}: {self.checkpoint} has no {lacking[0]}; expected a checkpoint "
            msg += "written by arc-state, with its protein embeddings inside"
            raise UsageError(msg)
        self._check_device()
        from state.emb.inference import Inference

        with loading(self.checkpoint, where=self.name):
            inference = Inference()
            inference.load_model(str(self.checkpoint))
            inference.model.to(self._torch_device())
        own = inference.model.state_dict()
        used = {name: own[name] for name in own if not name.startswith(_SET_LATER)}
        check_tensors(used, stored["state_dict"], where=self.name)
        self._inference = inference

    def _vocabulary(self) -> Mapping[str, str]:
        return {gene: gene for gene in self._inference.protein_embeds}

    def _encode(self, cells: AnnData) -> Any:
        n_expressed = np.diff(cells.X.indptr)
        n_full = int((n_expressed == cells.n_vars).sum())
        if n_full:
            msg = (
                f"{self.name}: {n_full} cells express all {cells.n_vars} genes that the model "
                "knows, and it needs one that they do not; give it cells with more genes"
            )
            raise UsageError(msg)
        cells.X = cells.X.log1p()
        with tempfile.TemporaryDirectory() as folder:  # the package takes a path
            path = Path(folder) / "cells.h5ad"
            cells.write_h5ad(path)
            return self._inference.encode_adata(str(path), batch_size=self.batch_size)

    def _check_device(self) -> None:
        import torch

        if self._torch_device().type == "cpu" and torch.cuda.is_available():
            msg = f"{self.name}: device='cpu', but arc-state takes the GPU wherever torch sees "
            msg += "one; hide it with CUDA_VISIBLE_DEVICES="
            raise UsageError(msg)


def _omegaconf_classes() -> list[Any]:
    """Return the classes of OmegaConf's settings, which hold values and do nothing else."""
    from collections import defaultdict

    from omegaconf import DictConfig, ListConfig, base, nodes

    names = ("AnyNode", "BooleanNode", "FloatNode", "IntegerNode", "StringNode", "PathNode")
    containers = [DictConfig, ListConfig, base.ContainerMetadata, base.Metadata]
    return [*containers, *(getattr(nodes, n) for n in names), Any, defaultdict, dict, list, int]
