from __future__ import annotations

import hashlib

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from reconeval.datasets import load_dataset, make_split
from reconeval.errors import UsageError
from tests.conftest import data_file

N_CELLS, N_GENES = 40, 6


@pytest.fixture
def counts():
    """Raw counts of a few cells; none is empty, some entries are large."""
    counts = np.random.default_rng(0).negative_binomial(1, 0.1, (N_CELLS, N_GENES))
    counts[:, 0] += 1
    return counts.astype(np.float32)


@pytest.fixture
def log1p(counts):
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file from `X` and layers, with types and batches."""

    def write(X, *, layers=None, name="mine.h5ad", **replaced):
        n_cells, n_genes = X.shape
        obs = pd.DataFrame(
            {
                "kind": [f"type{i % 4}" for i in range(n_cells)],
                "batch": [i % 2 for i in range(n_cells)],
            },
            index=replaced.get("cells", [f"cell{i}" for i in range(n_cells)]),
        )
        obs = obs.assign(**replaced.get("columns", {}))
        var = pd.DataFrame(index=replaced.get("genes", [f"gene{i}" for i in range(n_genes)]))
        adata = anndata.AnnData(X, obs=obs, var=var, layers=layers)
        adata.write_h5ad(tmp_path / name)
        return tmp_path / name

    return write


def refused(path, **options):
    """Return the message of the refusal; it is one line and names the file."""
    with pytest.raises(UsageError) as caught:
        load_dataset(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


CONTAINERS = {
    "dense32": lambda values: values.astype(np.float32),
    "dense64": lambda values: values.astype(np.float64),
    "fortran": np.asfortranarray,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "csc64": lambda values: sparse.csc_matrix(values.astype(np.float64)),
    "csr_array": sparse.csr_array,
}
COUNT_TYPES = [np.uint8, np.int64, np.float64]


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_log1p_is_taken_as_it_is_in_any_container(write, log1p, container):
    dataset = load_dataset(write(container(log1p)))
    assert dataset.X.dtype == np.float32
    np.testing.assert_array_equal(dataset.X, log1p)
    assert dataset.counts is None
    assert dataset.library is None
    assert dataset.cell_types is None


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_counts_of_a_layer_are_normalised(write, counts, log1p, container):
    scaled = np.random.default_rng(1).normal(size=counts.shape)
    path = write(scaled, layers={"umi": container(counts), "other": scaled})
    dataset = load_dataset(path, counts_layer="umi")
    np.testing.assert_allclose(dataset.X, log1p, rtol=1e-6)
    np.testing.assert_array_equal(dataset.counts, counts)
    np.testing.assert_array_equal(dataset.library, counts.sum(axis=1))
    assert list(dataset.adata.layers) == ["counts"]


@pytest.mark.parametrize("dtype", COUNT_TYPES)
def test_counts_in_X_are_normalised(write, counts, log1p, dtype):
    dataset = load_dataset(write(counts.astype(dtype)), counts_layer="X")
    np.testing.assert_allclose(dataset.X, log1p, rtol=1e-6)
    np.testing.assert_array_equal(dataset.counts, counts)


def test_the_library_is_counted_anew(write, counts):
    stale = {"total_counts": np.ones(N_CELLS)}
    dataset = load_dataset(write(counts, columns=stale), counts_layer="X")
    np.testing.assert_array_equal(dataset.adata.obs["total_counts"], counts.sum(axis=1))


def test_an_unnamed_counts_layer_is_not_used(write, counts, log1p):
    assert load_dataset(write(log1p, layers={"counts": counts})).counts is None


def test_what_was_computed_from_all_cells_is_left_behind(tmp_path, log1p):
    adata = anndata.AnnData(log1p, obsm={"X_pca": np.ones((N_CELLS, 2))})
    adata.obs_names, adata.var_names = adata.obs_names + "c", adata.var_names + "g"
    adata.write_h5ad(tmp_path / "mine.h5ad")
    loaded = load_dataset(tmp_path / "mine.h5ad").adata
    assert not loaded.obsm
    assert not loaded.layers


def test_labels_names_and_checksum(write, log1p):
    path = write(log1p, name="my cells.h5ad")
    dataset = load_dataset(str(path), cell_type_key="kind", batch_key="batch")
    assert (dataset.name, dataset.version) == ("my_cells", "user")
    assert dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (dataset.cell_type_key, dataset.batch_key) == ("kind", "batch")
    assert dataset.cell_types.tolist() == [f"type{i % 4}" for i in range(N_CELLS)]
    assert dataset.genes == tuple(f"gene{i}" for i in range(N_GENES))
    assert make_split(dataset, "cell_type").held_out


def test_no_column_is_guessed(write, log1p):
    path = write(log1p, columns={"cell_type": ["a", "b"] * (N_CELLS // 2)})
    assert load_dataset(path).cell_type_key is None


def test_a_users_file_may_share_a_frozen_name(write, log1p):
    dataset = load_dataset(write(log1p, name="immune.h5ad"))
    assert dataset.name == "user:immune"
    assert dataset.adata.shape == (N_CELLS, N_GENES)


def test_a_missing_file(tmp_path):
    assert "no such file" in refused(tmp_path / "absent.h5ad")


def test_a_folder(tmp_path):
    (tmp_path / "folder.h5ad").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.h5ad")


def test_another_ending(tmp_path):
    (tmp_path / "cells.csv").write_text("a,b\n1,2\n")
    assert "nor a path to an .h5ad file" in refused(tmp_path / "cells.csv")


def test_an_empty_file(tmp_path):
    (tmp_path / "none.h5ad").touch()
    assert "empty" in refused(tmp_path / "none.h5ad")


def test_text_under_the_right_ending(tmp_path):
    (tmp_path / "text.h5ad").write_text("gene,cell\n")
    assert "not an HDF5 file" in refused(tmp_path / "text.h5ad")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file(write, log1p, share):
    path = write(log1p)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated" in refused(path)


@pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning")
def test_hdf5_of_another_kind(tmp_path):
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["table"] = np.ones(3)
    assert "of another kind" in refused(tmp_path / "other.h5ad")


def test_no_X_and_no_layer_named(tmp_path, counts):
    adata = anndata.AnnData(layers={"umi": counts})
    adata.obs_names, adata.var_names = adata.obs_names + "c", adata.var_names + "g"
    adata.write_h5ad(tmp_path / "mine.h5ad")
    assert "X is absent" in refused(tmp_path / "mine.h5ad")
    assert load_dataset(tmp_path / "mine.h5ad", counts_layer="umi").X.shape == counts.shape


def test_too_few_cells_or_genes(write, log1p):
    assert "19 cells x 6 genes" in refused(write(log1p[:19]))
    assert "40 cells x 1 genes" in refused(write(log1p[:, :1]))


@pytest.mark.filterwarnings("ignore:(Variable|Observation) names are not unique")
def test_repeated_names(write, log1p):
    genes = ["CD4", "CD4", "CD8A", "CD8A", "a", "b"]
    message = refused(write(log1p, genes=genes))
    assert "2 gene names occur more than once (CD4, CD8A)" in message
    cells = ["twice", "twice", *map(str, range(N_CELLS - 2))]
    assert "1 cell names occur more than once (twice)" in refused(write(log1p, cells=cells))


@pytest.mark.parametrize("key", ["cell_type_key", "batch_key"])
def test_an_absent_column(write, log1p, key):
    message = refused(write(log1p), **{key: "kinds"})
    assert f"--{key.replace('_', '-')} kinds" in message
    assert "did you mean kind? (has kind, batch)" in message


@pytest.mark.parametrize("missing", [np.nan, None])
@pytest.mark.parametrize("categorical", [True, False], ids=["categorical", "text"])
def test_missing_labels(write, log1p, missing, categorical):
    labels = pd.Series([missing, missing, *["a", "b"] * (N_CELLS // 2 - 1)]).to_numpy(object)
    values = pd.Categorical(labels) if categorical else labels
    path = write(log1p, columns={"part": values})
    assert "2 of 40 cells have no label" in refused(path, cell_type_key="part")
    assert "2 of 40 cells have no label" in refused(path, batch_key="part")


def test_an_absent_layer(write, log1p, counts):
    path = write(log1p, layers={"counts": counts})
    message = refused(path, counts_layer="count")
    assert "did you mean counts? (has counts, X)" in message


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(write, log1p, counts, container, bad):
    log1p[3, 2] = counts[3, 2] = bad
    path = write(container(log1p), layers={"umi": container(counts)})
    assert "X has 1 NaN or infinite values" in refused(path)
    assert "--counts-layer umi has 1 NaN" in refused(path, counts_layer="umi")


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_negative_values(write, log1p, counts, container):
    log1p[0, 0], counts[0, 0] = -0.5, -2
    path = write(container(log1p), layers={"umi": container(counts)})
    assert "negative values (lowest -0.5), so it was scaled" in refused(path)
    assert "values such as -2" in refused(path, counts_layer="umi")


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_raw_counts_where_log1p_is_meant(write, counts, container):
    assert "add --counts-layer X" in refused(write(container(counts)))


def test_counts_per_10_000_without_the_logarithm(write, log1p):
    assert "too high for a logarithm" in refused(write(np.expm1(log1p)))


def test_log1p_where_counts_are_meant(write, log1p):
    assert "expected whole numbers" in refused(write(log1p), counts_layer="X")


def test_cells_without_counts(write, counts):
    counts[5] = 0
    assert "1 cells have no counts" in refused(write(counts), counts_layer="X")


@pytest.mark.parametrize("counts_layer", [None, "X"])
def test_nothing_but_zeros(write, counts_layer):
    path = write(np.zeros((N_CELLS, N_GENES), np.float32))
    assert "holds only zeros" in refused(path, counts_layer=counts_layer)


def test_values_that_are_not_numbers(write, log1p):
    path = write(log1p)
    with h5py.File(path, "r+") as file:
        attributes = dict(file["X"].attrs)
        del file["X"]
        file["X"] = np.full(log1p.shape, b"many")
        file["X"].attrs.update(attributes | {"encoding-type": "string-array"})
    assert "expected numbers" in refused(path)


def test_a_real_file():
    path = data_file("kang_ifnb_counts.h5ad")
    options = {"cell_type_key": "cell_type_transferred", "batch_key": "condition"}
    dataset = load_dataset(path, counts_layer="X", **options)
    raw = anndata.read_h5ad(path).X.toarray().astype(np.float64)
    np.testing.assert_array_equal(dataset.library, raw.sum(axis=1))
    expected = np.log1p(raw / raw.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(dataset.X, expected, rtol=1e-6)
    assert len(make_split(dataset, "cell_type").test) >= 400
    assert "add --counts-layer X" in refused(path)
