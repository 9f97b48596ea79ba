"""Protein counts of the user's own file: what is taken, and what models see of it."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from reconeval.cases import EndToEndCase
from reconeval.datasets import load_dataset, make_split
from reconeval.datasets._proteins import read_proteins
from reconeval.errors import UsageError
from tests.conftest import data_file

N_CELLS = 30


def cells_with(proteins):
    rng = np.random.default_rng(0)
    names = [f"cell{i}" for i in range(N_CELLS)]
    adata = anndata.AnnData(
        rng.poisson(3, (N_CELLS, 5)).astype(np.float32) + 1,
        obs=pd.DataFrame({"batch": ["a", "b"] * (N_CELLS // 2)}, index=names),
        var=pd.DataFrame(index=[f"g{i}" for i in range(5)]),
    )
    if isinstance(proteins, pd.DataFrame):
        proteins = proteins.set_axis(names)
    adata.obsm["adt"] = proteins
    return adata


@pytest.fixture
def counts():
    return np.random.default_rng(1).poisson(8, (N_CELLS, 3))


def load(tmp_path, proteins, key="adt"):
    cells_with(proteins).write_h5ad(tmp_path / "cite.h5ad")
    return load_dataset(
        tmp_path / "cite.h5ad", counts_layer="X", batch_key="batch", protein_key=key
    )


@pytest.mark.parametrize(
    "container", [np.asarray, sparse.csr_matrix, lambda c: pd.DataFrame(c, columns=list("xyz"))]
)
def test_any_container_gives_the_same_counts(tmp_path, counts, container):
    dataset = load(tmp_path, container(counts))
    assert np.array_equal(dataset.proteins, counts)
    assert list(dataset.proteins.index) == list(dataset.adata.obs_names)
    named = isinstance(container(counts), pd.DataFrame)
    assert list(dataset.proteins) == (list("xyz") if named else [f"protein {i}" for i in range(3)])


def test_models_get_the_proteins_of_their_cells(tmp_path, counts):
    dataset = load(tmp_path, counts)
    split = make_split(dataset, "iid")
    case = EndToEndCase(dataset, split)
    assert np.array_equal(case.data.proteins, counts[split.train])
    assert np.array_equal(case.data.val_proteins, counts[split.val])
    assert np.array_equal(case.data.adata().obsm["proteins"], counts[split.train])
    asked = case.test_input().labels["proteins"]
    assert np.array_equal(asked, counts[split.test])
    assert list(asked.index) == [str(row) for row in range(len(split.test))]


def test_a_file_without_the_option_has_none(tmp_path, counts):
    cells_with(counts).write_h5ad(tmp_path / "cite.h5ad")
    dataset = load_dataset(tmp_path / "cite.h5ad", counts_layer="X")
    assert dataset.proteins is None
    assert "proteins" not in EndToEndCase(dataset, make_split(dataset, "iid")).test_input().labels


@pytest.mark.parametrize("bad", [-1.0, 0.5, np.nan, np.inf])
def test_what_is_no_count_is_refused(tmp_path, counts, bad):
    counts = counts.astype(np.float64)
    counts[3, 1] = bad
    with pytest.raises(UsageError, match="--protein-key adt: expected raw counts") as caught:
        load(tmp_path, counts)
    assert "\n" not in str(caught.value)


def test_another_key_and_a_frozen_dataset_are_refused(tmp_path, counts):
    with pytest.raises(UsageError, match=r"no such key of obsm; did you mean adt\?"):
        load(tmp_path, counts, key="adts")
    with pytest.raises(UsageError, match="--protein-key are for your own file"):
        load_dataset("immune", protein_key="adt")


@given(st.lists(st.lists(st.integers(0, 2**20), min_size=2, max_size=2), min_size=2, max_size=9))
def test_counts_are_exact(rows):
    values = np.asarray(rows)
    adata = anndata.AnnData(np.ones((len(rows), 1), dtype=np.float32), obsm={"adt": values})
    assert np.array_equal(read_proteins("f.h5ad", adata, "adt"), values)


def test_the_real_cite_seq_file():
    path = data_file("citeseq_counts.h5ad")
    dataset = load_dataset(
        path, counts_layer="X", batch_key="hto_max", protein_key="protein_counts"
    )
    assert dataset.proteins.shape == (500, 49)
    assert (dataset.proteins.sum(axis=1) > 0).all()
