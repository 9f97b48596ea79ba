"""What the embedders of foundation models share."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from reconeval.embedders._cells import known_cells, with_empty_cells
from reconeval.embedders._checkpoints import check_package
from reconeval.errors import UsageError
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from anndata import AnnData

    from reconeval._typing import FloatArray

__all__ = ["FoundationEmbedder", "seeded", "silent"]


class FoundationEmbedder(ABC):
    """Embed cells by the code of a foundation model's own package.

    The model is loaded with the first cells that are embedded, and kept.

    Parameters
    ----------
    checkpoint
        Folder or file with the model.
    batch_size
        Cells in one pass through the model; default the class's `default_batch_size`.
    device
        Where to compute, e.g. "cpu" or "cuda"; default the GPU where there is one.
    seed
        Seeds what the package draws at random.
    min_genes
        The least number of the model's genes that the data must have; default the class's
        `default_min_genes`.
    gene_key
        Column of `var` with the names of the genes; default `var_names`.
    trust_pickle
        Load a checkpoint that holds more than tensors and plain values. Loading it can run any
        code, so do so only with a file from a source that you trust.

    Raises
    ------
    UsageError
        If the package is not installed, or if `batch_size` or `min_genes` is below 1.
    """

    package: ClassVar[str]
    environment: ClassVar[str]
    loggers: ClassVar[tuple[str, ...]] = ()
    default_batch_size: ClassVar[int] = 64
    default_min_genes: ClassVar[int] = 500

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
    ) -> None:
        self.name = type(self).__name__
        check_package(self.package, where=self.name, environment=self.environment)
        batch_size = self.default_batch_size if batch_size is None else batch_size
        min_genes = self.default_min_genes if min_genes is None else min_genes
        for option, value in (("batch_size", batch_size), ("min_genes", min_genes)):
            if value < 1:
                msg = f"{self.name}: {option}={value}, expected at least 1"
                raise UsageError(msg)
        self.checkpoint = Path(checkpoint).expanduser()
        self.batch_size = batch_size
        self.device = device
        self.seed = seed
        self.min_genes = min_genes
        self.gene_key = gene_key
        self.trust_pickle = trust_pickle
        self._loaded = False

    def embed(self, adata: AnnData) -> FloatArray:
        """Embed cells.

        Parameters
        ----------
        adata
            Cells with raw counts in `layers["counts"]`, or in `X` where there is no such layer.
            The order of its genes does not matter.

        Returns
        -------
        Float32 array of shape (n_cells, d). Zeros for a cell without a count in any gene that
        the model knows; a warning says how many there are.

        Raises
        ------
        UsageError
            If the checkpoint cannot be used, if the data have no raw counts, or fewer than
            `min_genes` genes that the model knows.
        """
        with silent(self.loggers), seeded(self.seed):
            if not self._loaded:
                self._load()
                self._loaded = True
            vocabulary = self._vocabulary()
        cells, rows = known_cells(
            adata,
            vocabulary,
            where=self.name,
            min_genes=self.min_genes,
            gene_key=self.gene_key,
        )
        with silent(self.loggers), seeded(self.seed):
            embedding = self._encode(cells)
        return with_empty_cells(embedding, rows, adata.n_obs, where=self.name)

    def _torch_device(self) -> torch.device:
        import torch

        if self.device is None:
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            msg = f"{self.name}: device={self.device!r} is none of torch's, such as cpu or cuda:0"
            raise UsageError(msg) from error
        if device.type == "cuda" and not torch.cuda.is_available():
            msg = f"{self.name}: device={self.device!r}, but torch sees no GPU here; use cpu"
            raise UsageError(msg)
        return device

    @abstractmethod
    def _load(self) -> None:
        """Check the checkpoint and load it by the package."""

    @abstractmethod
    def _vocabulary(self) -> Mapping[str, str]:
        """Return the model's genes in its order, under each name that they may have."""

    @abstractmethod
    def _encode(self, cells: AnnData) -> Any:
        """Return the embedding of cells that `known_cells` made."""


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators that a package draws from, and put them back afterwards."""
    import torch

    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002  (the packages draw from it)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


@contextlib.contextmanager
def silent(loggers: tuple[str, ...] = ()) -> Iterator[None]:
    """Drop what a package prints, logs and warns; errors pass."""
    found = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in found]
    sink = io.StringIO()
    with (
        quiet(),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
    ):
        warnings.simplefilter("ignore")
        for logger in found:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(found, levels, strict=True):
                logger.setLevel(level)
