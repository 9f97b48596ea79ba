"""Principal components as an embedding: the plain example of an embedder that is fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import UsageError
from reconeval.filling import listed

if TYPE_CHECKING:
    from anndata import AnnData

    from reconeval._typing import FloatArray

__all__ = ["PCAEmbedder"]


class PCAEmbedder:
    """Embed cells by the principal components of the training cells.

    Parameters
    ----------
    n_components
        Dimensions of the embedding.
    seed
        Seeds the randomised solver that large data get.

    Raises
    ------
    UsageError
        If `n_components` is below 1.
    """

    def __init__(self, n_components: int = 50, *, seed: int = 0) -> None:
        if n_components < 1:
            msg = f"PCAEmbedder: n_components={n_components}, expected at least 1"
            raise UsageError(msg)
        self.n_components = n_components
        self.seed = seed
        self._genes: list[str] = []
        self._pca: Any = None

    def fit(self, adata: AnnData) -> None:
        """Find the components.

        Parameters
        ----------
        adata
            Training cells, log1p of counts per 10 000 in `X`.

        Raises
        ------
        UsageError
            If there are fewer cells or genes than components.
        """
        from sklearn.decomposition import PCA

        if self.n_components > min(adata.shape):
            msg = f"PCAEmbedder.fit: {adata.n_obs} cells x {adata.n_vars} genes have fewer than "
            msg += f"n_components={self.n_components} components; ask for fewer"
            raise UsageError(msg)
        self._genes = list(adata.var_names)
        self._pca = PCA(self.n_components, random_state=self.seed).fit(_expression(adata))

    def embed(self, adata: AnnData) -> FloatArray:
        """Project cells on the components.

        Parameters
        ----------
        adata
            Cells with the genes of the training cells, in any order, on the same scale.

        Returns
        -------
        Float32 array of shape (n_cells, n_components).

        Raises
        ------
        UsageError
            If `fit` was not called, or if a gene is missing.
        """
        if self._pca is None:
            msg = "PCAEmbedder.embed: no components yet; call fit(adata) with training cells first"
            raise UsageError(msg)
        missing = [gene for gene in self._genes if gene not in adata.var_names]
        if missing:
            msg = f"PCAEmbedder.embed: {len(missing)} of {len(self._genes)} genes of the training "
            msg += f"cells are missing ({listed(missing[:3])}); embed cells with the same genes"
            raise UsageError(msg)
        embedding = self._pca.transform(_expression(adata[:, self._genes]))
        return np.ascontiguousarray(embedding, dtype=np.float32)


def _expression(adata: AnnData) -> FloatArray:
    from scipy import sparse

    X = adata.X
    return np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float32)
