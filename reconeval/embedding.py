"""Where the embedding of a run comes from: stored values, or a class that embeds cells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from reconeval._loading import class_of, load_target
from reconeval._settings import parse_settings, settings_id
from reconeval.calls import call_model, checked_prediction, one_line
from reconeval.errors import ModelError, UsageError
from reconeval.filling import check_keywords, fill, plan, signature_of
from reconeval.offers import fixed
from reconeval.quiet import quiet
from reconeval.seeding import seed_everything

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anndata import AnnData

    from reconeval._typing import FloatArray, IntArray
    from reconeval.datasets import Dataset, Split
    from reconeval.metrics.thinning import Thinned

__all__ = ["Embedded", "EmbedderSpec", "Embedding", "StoredEmbedding", "parse_embedder"]

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_:+\-./]")
_OFFERS = ("seed", "random_state")


@dataclass(frozen=True, eq=False)
class Embedded:
    """The cells of a split in an embedding.

    Attributes
    ----------
    train, val, test
        Float32 arrays of shape (n_cells, d), in the order of the split's rows.
    thinned
        Embeds the thinned test cells; None where only stored values are known.
    """

    train: FloatArray
    val: FloatArray
    test: FloatArray
    thinned: Callable[[Thinned], FloatArray] | None = None


class Embedding(Protocol):
    """Embeds the cells of a split."""

    @property
    def name(self) -> str:
        """What stands in a model's id after the slash."""

    @property
    def option(self) -> str:
        """What the user typed, for messages and results."""

    def of(self, dataset: Dataset, split: Split, *, file: Path | None, seed: int) -> Embedded:
        """Embed the cells of a split.

        Parameters
        ----------
        dataset
            The cells.
        split
            Row numbers into them.
        file
            Where the dataset came from, if it is the user's own.
        seed
            Seeds what an embedder draws.

        Raises
        ------
        UsageError
            If the embedding cannot be had.
        ModelError
            If an embedder raises, or returns no finite array of a row per cell.
        """
        ...


@dataclass(frozen=True, eq=False)
class StoredEmbedding:
    """An embedding in `obsm` or in a file.

    Parameters
    ----------
    source
        A key of `obsm`, or a file as `reconeval.embedders.read_embedding` takes it.
    """

    source: str

    @property
    def option(self) -> str:
        """What the user typed."""
        return f"--embedding {self.source}"

    @property
    def name(self) -> str:
        """The key, or the file's name without folder and ending."""
        head, colon, key = self.source.rpartition(":")
        path = Path(head if colon else self.source)
        stem = path.stem if path.suffix in {".npy", ".zarr", ".h5ad"} else path.name
        return _NOT_IN_IDS.sub("-", f"{stem}{colon}{key if colon else ''}")

    def of(self, dataset: Dataset, split: Split, *, file: Path | None, seed: int) -> Embedded:  # noqa: ARG002  (nothing is drawn)
        """Read the rows of all cells; see `Embedding.of`."""
        from reconeval.embedders import read_embedding
        from reconeval.embedders.files import names_file

        source, obsm = self.source, dataset.adata.obsm
        if source not in obsm and not names_file(source):
            if file is None and not len(obsm):
                msg = (
                    f"{self.option} on {dataset.name}: frozen datasets have no obsm; add --dataset "
                    f"FILE.h5ad whose obsm has {source}, or name a file .npy, .zarr or .h5ad"
                )
                raise UsageError(msg)
            if file is not None:  # the dataset itself keeps no obsm of the user's file
                source = f"{file}:{source}"
        try:
            values = read_embedding(source, dataset.adata)
        except UsageError as error:
            msg = f"{self.option} on {dataset.name}: {error}"
            raise UsageError(msg) from None
        return Embedded(values[split.train], values[split.val], values[split.test])


@dataclass(frozen=True, eq=False)
class EmbedderSpec:
    """A class that embeds cells, as the user named it.

    Attributes
    ----------
    name, option
        As for `Embedding`.
    target
        `MODULE:CLASS`.
    factory
        Makes the embedder.
    kwargs
        What the user wrote for its constructor.
    """

    name: str
    option: str
    target: str
    factory: Callable[..., Any] = field(repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def of(self, dataset: Dataset, split: Split, *, file: Path | None, seed: int) -> Embedded:  # noqa: ARG002  (the dataset is enough)
        """Fit, where the class has `fit`, on training cells, and embed each part by itself."""
        who = f"{self.name} on {dataset.name}/{split.name}"
        offers = {name: fixed(seed) for name in _OFFERS}
        args, kwargs = fill(self.factory, offers, self.kwargs, where=f"{self.option}: {who}")
        seed_everything(seed)
        with quiet():
            embedder = call_model(f"building {who}", self.factory, *args, **kwargs)
            if callable(getattr(embedder, "fit", None)):
                cells = cells_of(dataset, split.train)
                call_model(f"fitting {who}", embedder.fit, cells)

        def embed(cells: AnnData, part: str) -> FloatArray:
            seed_everything(seed)
            n = cells.n_obs
            with quiet():
                raw = call_model(f"embedding the {part} cells by {who}", embedder.embed, cells)
            return _checked(raw, n, f"{who}: embed of the {part} cells")

        def thinned(parts: Thinned) -> FloatArray:
            return embed(thinned_cells(dataset, split.test, parts), "thinned test")

        train = embed(cells_of(dataset, split.train), "training")
        test = embed(cells_of(dataset, split.test), "test")
        val = train[:0]
        if len(split.val):
            val = embed(cells_of(dataset, split.val), "validation")
        if len({train.shape[1], val.shape[1], test.shape[1]}) > 1:
            widths = f"{train.shape[1]}, {val.shape[1]} and {test.shape[1]}"
            msg = f"{who}: embed gave training, validation and test cells {widths} dimensions"
            raise ModelError(msg)
        return Embedded(train, val, test, thinned)


def parse_embedder(text: str, *, folder: Path | None = None) -> EmbedderSpec:
    """Read `[ALIAS=]MODULE:CLASS[?key=value]`; imports the module, builds nothing.

    Parameters
    ----------
    text
        What the user typed.
    folder
        Where modules are looked up first; default the current folder.

    Returns
    -------
    The embedder.

    Raises
    ------
    UsageError
        If it cannot be read, imported or filled, or has no method `embed`.
    """
    where = f"--embedder {text}"
    head, question, query = text.partition("?")
    alias, _, target = head.rpartition("=")
    kwargs, others = parse_settings(query, where=where) if question else ({}, {})
    if others:
        msg = f"{where}: takes settings of the constructor alone, not {', '.join(others)}"
        raise UsageError(msg)
    found = load_target(target, folder=Path.cwd() if folder is None else folder, where=where)
    made = class_of(found, where=where)
    name = target.rpartition(":")[2]
    if not callable(getattr(made, "embed", None)):
        msg = f"{where}: {made.__name__} has no method embed(adata) that returns an array"
        raise UsageError(msg)
    signature = signature_of(found)
    if signature is not None:
        parameters = signature.parameters.values()
        check_keywords(parameters, kwargs, where=f"{where}: {name}()")
        plan(parameters, _OFFERS, kwargs, where=f"{where}: {name}()")
    shown = _NOT_IN_IDS.sub("-", alias or name + settings_id(kwargs, {}))
    return EmbedderSpec(shown, where, target, found, kwargs)


def cells_of(dataset: Dataset, rows: IntArray) -> AnnData:
    """Return some cells as a fresh AnnData: `X`, `obs`, `var` and `layers["counts"]`.

    Made from the arrays, not cut out of the dataset: what else an AnnData may hold was perhaps
    computed with the test cells.
    """
    from anndata import AnnData

    source = dataset.adata
    adata = AnnData(dataset.X[rows], obs=source.obs.iloc[rows].copy(), var=source.var.copy())
    if dataset.counts is not None:
        adata.layers["counts"] = dataset.counts[rows]
    return adata


def thinned_cells(dataset: Dataset, rows: IntArray, parts: Thinned) -> AnnData:
    """Return the same cells without the molecules that are held out."""
    adata = cells_of(dataset, rows)
    adata.X = parts.X.copy()
    adata.layers["counts"] = adata.layers["counts"] - parts.held_out
    if "total_counts" in adata.obs:
        adata.obs["total_counts"] = parts.library
    return adata


def _checked(raw: object, n: int, who: str) -> FloatArray:
    if not isinstance(raw, np.ndarray) or raw.ndim != 2:
        found = f"shape {raw.shape}" if isinstance(raw, np.ndarray) else one_line(type(raw))
        msg = f"{who} returned {found}, expected a floating numpy array of shape ({n}, d)"
        raise ModelError(msg)
    checked = checked_prediction(raw, (n, raw.shape[1]), who, column="dimension")
    return checked.astype(np.float32, copy=False)
