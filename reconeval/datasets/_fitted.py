"""Embeddings and decoders that are fitted on the training cells of a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.datasets._decoders import AffineDecoder, LinearEmbedding

if TYPE_CHECKING:
    from reconeval._typing import FloatArray, IntArray
    from reconeval.datasets._perturbations import Embedded

__all__ = ["N_COMPONENTS", "fit_components", "fit_decoder"]

N_COMPONENTS = 50
_PENALTIES = 10.0 ** np.arange(-2, 5)


def fit_components(rows: IntArray, *, X: FloatArray) -> Embedded:
    """Embed cells by principal components, with the way back as the decoder.

    Parameters
    ----------
    rows
        The cells to fit on.
    X
        Array of shape (n_cells, n_genes), log1p of counts per 10 000.

    Returns
    -------
    The embedding of all cells, float32 of shape (n_cells, d), and the decoder: 50 components, or
    fewer where the fitted cells do not span as many.
    """
    from sklearn.decomposition import PCA

    n_kept = min(N_COMPONENTS, len(rows) - 1, X.shape[1])
    pca = PCA(n_kept, random_state=0).fit(X[rows])
    both_ways = LinearEmbedding(pca.components_.T, pca.mean_, np.ones(n_kept, dtype=np.float32))
    return both_ways.encode(X), both_ways


def fit_decoder(rows: IntArray, *, X: FloatArray, embedding: FloatArray) -> Embedded:
    """Fit a decoder of a given embedding by ridge regression.

    The penalty is the one of 0.01 to 10 000 (for an embedding of unit variance) with the least
    error on cells left out.

    Parameters
    ----------
    rows
        The cells to fit on.
    X
        Array of shape (n_cells, n_genes), log1p of counts per 10 000.
    embedding
        Array of shape (n_cells, d).

    Returns
    -------
    The embedding as it is, and the decoder.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(embedding[rows])
    ridge = RidgeCV(alphas=_PENALTIES).fit(scaler.transform(embedding[rows]), X[rows])
    slope = (ridge.coef_ / scaler.scale_).T
    return embedding, AffineDecoder(slope, ridge.intercept_ - scaler.mean_ @ slope)
