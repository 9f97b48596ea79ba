"""Cells, layers in NumPy and common checks for the embedders of foundation models."""

from __future__ import annotations

import math
import random
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import erf

from reconeval.errors import UsageError

N_CELLS, N_VOCABULARY, N_KNOWN, N_OTHER = 12, 60, 48, 6
EMPTY = 4  # the cell without a count in a known gene


def vocabulary(name="G{}"):
    """Return gene names in an order that is not sorted."""
    order = np.random.default_rng(7).permutation(N_VOCABULARY)
    return [name.format(i) for i in order]


def cells(genes):
    """Return cells whose counts are all different within a cell, so that no tie is broken.

    Some genes are not in the vocabulary, the columns are in an order of their own, and one cell
    expresses only unknown genes.
    """
    rng = np.random.default_rng(11)
    known = list(rng.permutation(sorted(genes)[:N_KNOWN]))
    counts = np.zeros((N_CELLS, N_KNOWN + N_OTHER), dtype=np.float32)
    for row in counts:
        expressed = rng.permutation(N_KNOWN)[: rng.integers(30, 40)]
        row[expressed] = rng.permutation(np.arange(1, 101))[: len(expressed)]
    counts[EMPTY] = 0
    counts[:, N_KNOWN:] = rng.poisson(3, size=(N_CELLS, N_OTHER)) + 1
    var = pd.DataFrame(index=[*known, *(f"unknown{i}" for i in range(N_OTHER))])
    adata = anndata.AnnData(np.log1p(counts), var=var, layers={"counts": sparse.csr_matrix(counts)})
    return adata[:, rng.permutation(adata.n_vars)].copy()


def known_counts(adata, genes):
    """Return a dense array of shape (n_cells, n_vocabulary), zero where a gene is not measured."""
    counts = np.zeros((adata.n_obs, len(genes)), dtype=np.float32)
    dense = adata.layers["counts"].toarray()
    for column, gene in enumerate(adata.var_names):
        if gene in genes:
            counts[:, genes.index(gene)] = dense[:, column]
    return counts


def embed(embedder, adata):
    """Return an embedding and the text of all warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embedding = embedder.embed(adata)
    return embedding, [str(warning.message) for warning in caught]


def draws():
    """Return the next draw of each global generator, and leave them as they were."""
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    drawn = random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    return drawn


def check(make, first, second, expected, *, genes, tolerance):
    """Hold what every embedder must do.

    Parameters
    ----------
    make
        Makes an embedder of a checkpoint.
    first, second
        Checkpoints with the same genes and other weights.
    expected
        What an independent forward pass through the first gives, for cells with known genes.
    genes
        The model's vocabulary.
    tolerance
        Of each value.
    """
    adata = cells(genes)
    before = adata.copy()
    embedder = make(first)
    expected_draw = draws()
    embedding, texts = embed(embedder, adata)
    assert any("48 of 54 genes are among the 60" in text for text in texts)
    assert any("1 of 12 cells have no count" in text for text in texts)
    assert embedding.dtype == np.float32
    filled = np.delete(np.arange(N_CELLS), EMPTY)
    np.testing.assert_allclose(embedding[filled], expected(adata)[filled], atol=tolerance)
    np.testing.assert_array_equal(embedding[EMPTY], 0)
    assert np.abs(embedding[filled]).max(axis=1).min() > 0.1
    # The caller's cells and generators are left as they were.
    assert draws() == expected_draw
    np.testing.assert_array_equal(adata.X, before.X)
    assert list(adata.var) == list(before.var)
    np.testing.assert_array_equal(embed(embedder, adata)[0], embedding)
    shuffled = adata[:, np.random.default_rng(3).permutation(adata.n_vars)].copy()
    np.testing.assert_array_equal(embed(make(first), shuffled)[0], embedding)
    assert np.abs(embed(make(second), adata)[0] - embedding).max() > 0.05
    with pytest.raises(
        UsageError, match=r"48 of 54 genes .* expected at least 49.*lower min_genes"
    ):
        make(first, min_genes=49).embed(adata)
    assert_one_line(make, first, adata)


def assert_one_line(make, checkpoint, adata):
    """A checkpoint that does not exist is an error of one line."""
    with pytest.raises(UsageError) as caught:
        make(checkpoint.parent / "absent").embed(adata)
    assert "\n" not in str(caught.value)
    assert "absent" in str(caught.value)


def tied(genes):
    """Return cells with few and equal counts, as real ones have."""
    counts = np.random.default_rng(5).poisson(1.0, size=(N_CELLS, N_KNOWN)).astype(np.float32)
    return anndata.AnnData(counts, var=pd.DataFrame(index=sorted(genes)[:N_KNOWN]))


def layer_norm(x, tensors, name):
    x = x - x.mean(axis=-1, keepdims=True)
    scaled = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def linear(x, tensors, name, suffixes=(".weight", ".bias")):
    made = x @ tensors[name + suffixes[0]].T
    return made + tensors[name + suffixes[1]] if name + suffixes[1] in tensors else made


def attention(x, tensors, projection, output, n_heads, suffixes=(".weight", ".bias")):
    """Self-attention of one sequence, all of whose tokens see each other."""
    n, d = x.shape
    parts = np.split(linear(x, tensors, projection, suffixes), 3, axis=-1)
    q, k, v = (part.reshape(n, n_heads, d // n_heads).transpose(1, 0, 2) for part in parts)
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(d // n_heads)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return linear((weights @ v).transpose(1, 0, 2).reshape(n, d), tensors, output)


def gelu(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def as_arrays(state_dict):
    return {name: tensor.detach().double().numpy() for name, tensor in state_dict.items()}
