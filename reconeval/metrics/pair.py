"""What metrics read: the truth, prepared once, and one prediction for it.

`Truth` belongs to a dataset and split and serves every model and seed. `Pair` belongs to one
prediction. Both keep what they computed, so that metrics that share a quantity (distances,
ranks, components) pay for it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from reconeval.errors import Undefined, UsageError
from reconeval.metrics.device import on_torch
from reconeval.metrics.gene_sets import GeneSets

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from reconeval._typing import FloatArray, StrArray

__all__ = ["Pair", "Truth"]

T = TypeVar("T")


class _Memo:
    """Remembers what was computed, an undefined outcome included."""

    def __init__(self) -> None:
        self._memo: dict[Hashable, Any] = {}

    def cached(self, key: Hashable, build: Callable[[], T]) -> T:
        """Return the value for `key`, building it on first use.

        Parameters
        ----------
        key
            Name of the quantity; take a tuple that starts with the metric module's name.
        build
            Computes the value. If it raises `Undefined`, the same is raised on every later use.

        Returns
        -------
        The value, the same object on every call.
        """
        if key not in self._memo:
            try:
                self._memo[key] = build()
            except Undefined as reason:
                self._memo[key] = reason
        value = self._memo[key]
        if isinstance(value, Undefined):
            raise value
        return cast("T", value)


class Truth(_Memo):
    """Measured cells and all that metrics need beside them.

    Parameters
    ----------
    X
        Array of shape (n_cells, n_genes). Measured expression, log1p of counts per 10 000.
    genes
        n_genes unique gene names, in the order of the columns.
    train
        Array of shape (n_train_cells, n_genes), same scale. Measured training cells; the
        principal components of distance metrics are fitted on these alone.
    counts
        Array of shape (n_cells, n_genes). Raw counts of the same cells.
    library
        Array of shape (n_cells,). Total counts of each cell over all genes that were measured,
        also those left out of `genes`; default the row sums of `counts`.
    cell_types
        Array of shape (n_cells,). A label for each cell.
    reference
        Array of shape (n_reference_cells, n_genes), same scale. Measured control cells.
    gene_sets
        Gene sets of the biological metrics; default the shipped ones.
    seed
        Seeds every random choice of a metric (thinning, folds, halves): from 0 to 2**32 - 1.
    device
        Where the dense work of metrics is done: None or "cpu" for NumPy, "cuda" or "cuda:N" for
        a GPU with torch; see `reconeval.metrics.device`.

    Attributes
    ----------
    latent
        The same cells in an embedding, whose dimensions are its columns, or None.
    whole
        The truth whose cells these are a part of, or None. It has the same training cells, and
        keeps what they determine for all of its parts.

    Raises
    ------
    UsageError
        If the shape does not fit the genes, the seed is no such number, or the device cannot be
        had.
    """

    def __init__(
        self,
        X: FloatArray,
        genes: Sequence[str],
        *,
        train: FloatArray | None = None,
        counts: FloatArray | None = None,
        library: FloatArray | None = None,
        cell_types: StrArray | None = None,
        reference: FloatArray | None = None,
        gene_sets: GeneSets | None = None,
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if X.ndim != 2 or X.shape[1] != len(genes):
            msg = f"truth has shape {X.shape}, expected (n_cells, {len(genes)}) for its gene names"
            raise UsageError(msg)
        if not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 32:
            msg = f"seed is {seed!r}, expected a whole number from 0 to 2**32 - 1; name another"
            raise UsageError(msg)
        self.X = X
        self.genes = tuple(genes)
        self.train = train
        self.counts = counts
        self.library = library if library is not None or counts is None else counts.sum(axis=1)
        self.cell_types = cell_types
        self.reference = reference
        self.gene_sets = GeneSets() if gene_sets is None else gene_sets
        self.seed = seed
        self.device = device
        self.latent: Truth | None = None
        self.whole: Truth | None = None
        on_torch(device)  # a device that cannot be had is refused now, not in the first metric

    @property
    def provides(self) -> frozenset[str]:
        """What a metric's `needs` can ask for and this truth has."""
        parts = ("train", "counts", "cell_types", "reference", "latent")
        return frozenset(part for part in parts if getattr(self, part) is not None)


class Pair(_Memo):
    """One prediction beside its truth.

    Parameters
    ----------
    truth
        The prepared truth.
    prediction
        Array of shape (n_cells, n_genes), same scale, genes and, for paired metrics, the same
        cells in the same order as `truth.X`.
    thinned_prediction
        Array of shape (n_cells, n_genes). The model's output for the thinned cells
        (`reconeval.metrics.thinning.thinned`), for `poisson_deviance`.
    reference_prediction
        Array of shape (n_reference_cells, n_genes). The model's output for `truth.reference`.

    Attributes
    ----------
    latent
        The prediction beside `truth.latent`, or None.
    """

    def __init__(
        self,
        truth: Truth,
        prediction: FloatArray,
        *,
        thinned_prediction: FloatArray | None = None,
        reference_prediction: FloatArray | None = None,
    ) -> None:
        super().__init__()
        prediction = np.asarray(prediction)
        if prediction.ndim != 2 or prediction.shape[1] != truth.X.shape[1]:
            msg = (
                f"prediction has shape {prediction.shape}, expected (n_cells, {truth.X.shape[1]}) "
                "with the genes of the truth in their order"
            )
            raise UsageError(msg)
        self.truth = truth
        self.prediction = prediction
        self.thinned_prediction = thinned_prediction
        self.reference_prediction = reference_prediction
        self.latent: Pair | None = None

    @property
    def neighbours_in_genes(self) -> bool:
        """Whether a metric looks for neighbours among distances over all genes."""
        return False
