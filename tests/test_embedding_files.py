from __future__ import annotations

import re

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from reconeval.embedders import read_embedding, write_embedding
from reconeval.errors import UsageError

N_CELLS, N_DIM = 12, 3


def cells(names=None, **obsm):
    names = [f"cell{i}" for i in range(N_CELLS)] if names is None else list(names)
    obs = pd.DataFrame(index=pd.Index(names, dtype=str))
    return anndata.AnnData(np.zeros((len(names), 2), np.float32), obs=obs, obsm=obsm)


@pytest.fixture
def adata():
    return cells()


@pytest.fixture
def embedding():
    return np.random.default_rng(0).normal(size=(N_CELLS, N_DIM))


def fails(source, adata, *parts):
    """Return the message, once it is one line that says all the parts."""
    with pytest.raises(UsageError) as caught:
        read_embedding(source, adata)
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text
    return text


@pytest.mark.parametrize("kind", ["array", "sparse", "table", "integers"])
def test_a_key_of_obsm_gives_float32_rows(kind, adata, embedding):
    stored = {
        "array": embedding,
        "sparse": sparse.csr_matrix(embedding),
        "table": pd.DataFrame(embedding, index=adata.obs_names, columns=list("abc")),
        "integers": np.arange(N_CELLS * N_DIM).reshape(N_CELLS, N_DIM),
    }[kind]
    adata.obsm["X_fm"] = stored
    read = read_embedding("X_fm", adata)
    expected = stored if kind == "integers" else embedding
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, np.asarray(expected, dtype=np.float32))


@pytest.mark.parametrize("end", [".h5ad", ".npy"])
@given(order=st.permutations(range(N_CELLS)), n_more=st.integers(0, 3))
def test_rows_follow_the_names_whatever_their_order(tmp_path_factory, end, order, n_more):
    rng = np.random.default_rng(1)
    written = rng.normal(size=(N_CELLS + n_more, N_DIM)).astype(np.float32)
    names = [f"cell{i}" for i in order] + [f'another, "{i}"' for i in range(n_more)]
    path = tmp_path_factory.mktemp("files") / f"embedding{end}"
    write_embedding(path, written, names)
    read = read_embedding(path, cells())
    for name, row in zip(cells().obs_names, read, strict=True):
        np.testing.assert_array_equal(row, written[names.index(name)])


def test_only_the_asked_for_cells_count(tmp_path, embedding):
    embedding[5] = np.nan
    write_embedding(tmp_path / "e.h5ad", embedding, cells().obs_names)
    few = cells(["cell7", "cell0"])
    expected = embedding[[7, 0]].astype(np.float32)
    np.testing.assert_array_equal(read_embedding(tmp_path / "e.h5ad", few), expected)
    fails(
        tmp_path / "e.h5ad", cells(["cell5", "cell0"]), "NaN or infinite values in 1 of 2", "cell5"
    )


def test_npy_without_names_has_the_cells_in_order(tmp_path, adata, embedding):
    np.save(tmp_path / "e.npy", embedding)
    read = read_embedding(str(tmp_path / "e.npy"), adata)
    np.testing.assert_array_equal(read, embedding.astype(np.float32))
    np.save(tmp_path / "e.npy", embedding[:-1])
    fails(tmp_path / "e.npy", adata, "11 rows", "expected 12", "e.txt")


def test_names_of_npy_may_be_lines_or_the_table_of_cells(tmp_path, adata, embedding):
    order = np.random.default_rng(2).permutation(N_CELLS)
    np.save(tmp_path / "e.npy", embedding[order])
    shuffled = adata[order].copy()
    shuffled.obs["donor"] = "a"
    shuffled.obs.to_csv(tmp_path / "e.csv")
    expected = embedding.astype(np.float32)
    np.testing.assert_array_equal(read_embedding(tmp_path / "e.npy", adata), expected)
    (tmp_path / "e.txt").write_text("\r\n".join(shuffled.obs_names) + "\r\n")
    fails(tmp_path / "e.npy", adata, "e.txt", "e.csv", "keep one")
    (tmp_path / "e.csv").unlink()
    np.testing.assert_array_equal(read_embedding(tmp_path / "e.npy", adata), expected)
    (tmp_path / "e.txt").write_text("cell0\n")
    fails(tmp_path / "e.npy", adata, "12 rows but 1 cell names")


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data")
@pytest.mark.parametrize("end", [".h5ad", ".zarr"])
def test_anndata_files_hold_one_array_or_say_which(tmp_path, adata, embedding, end):
    def write(**obsm):
        path = tmp_path / f"{'-'.join(obsm) or 'none'}{end}"
        made = cells(adata.obs_names[::-1], **obsm)
        made.write_zarr(path) if end == ".zarr" else made.write_h5ad(path)
        return path

    one = write(X_fm=embedding[::-1])
    expected = embedding.astype(np.float32)
    np.testing.assert_array_equal(read_embedding(one, adata), expected)
    table = pd.DataFrame(embedding[::-1], index=adata.obs_names[::-1], columns=list("abc"))
    two = write(X_fm=sparse.csr_matrix(embedding[::-1]), X_pca=2 * table)
    np.testing.assert_array_equal(read_embedding(f"{two}:X_fm", adata), expected)
    np.testing.assert_array_equal(read_embedding(f"{two}:X_pca", adata), 2 * expected)
    fails(two, adata, "X_fm, X_pca", "say which")
    fails(f"{two}:X_fn", adata, "no 'X_fn'", "did you mean X_fm?")
    # Without obsm the matrix itself is the embedding.
    np.testing.assert_array_equal(read_embedding(write(), adata), np.zeros((N_CELLS, 2)))


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_missing_and_repeated_cells_are_refused(tmp_path, adata, embedding):
    names = [f"cell{i}" for i in range(N_CELLS - 2)]
    write_embedding(tmp_path / "e.h5ad", embedding[:-2], names)
    fails(tmp_path / "e.h5ad", adata, "no embedding for 2 of 12 cells", "cell10, cell11", "cell0")
    np.save(tmp_path / "e.npy", embedding)
    (tmp_path / "e.txt").write_text("\n".join([*names, "cell0", "cell10"]))
    fails(tmp_path / "e.npy", adata, "1 cell names in the file occur more than once (cell0)")
    write_embedding(tmp_path / "all.h5ad", embedding, adata.obs_names)
    twice = cells(["cell0", "cell0"])
    fails(tmp_path / "all.h5ad", twice, "1 cell names of the data set", "(cell0)")


@pytest.mark.parametrize(
    ("values", "part"),
    [
        (np.zeros((N_CELLS, N_DIM, 1)), "shape (12, 3, 1)"),
        (np.zeros((N_CELLS, 0)), "shape (12, 0)"),
        (np.full((N_CELLS, N_DIM), np.inf), "NaN or infinite values in 12 of 12 cells"),
        (np.full((N_CELLS, N_DIM), 1e300), "NaN or infinite values in 12 of 12 cells"),
        (np.full((N_CELLS, N_DIM), 1j), "complex"),
        (np.full((N_CELLS, N_DIM), "a"), "expected numbers"),
    ],
)
def test_what_is_no_finite_matrix_is_refused(tmp_path, adata, values, part):
    np.save(tmp_path / "e.npy", values)
    fails(tmp_path / "e.npy", adata, "e.npy", part)


def test_pickles_are_not_loaded(tmp_path, adata):
    np.save(tmp_path / "e.npy", np.array([[object()]] * N_CELLS), allow_pickle=True)
    fails(tmp_path / "e.npy", adata, "cannot be read as .npy")


def test_damaged_and_unknown_sources_are_refused(tmp_path, adata, embedding):
    adata.obsm["X_fm"] = embedding
    fails("X_fn", adata, "did you mean X_fm?", ".npy, .zarr, .h5ad")
    write_embedding(tmp_path / "one.h5ad", embedding, adata.obs_names)
    fails(tmp_path / "onne.h5ad", adata, "no such file", "did you mean one.h5ad?")
    (tmp_path / "damaged.h5ad").write_bytes(b"\x89HDF")
    fails(tmp_path / "damaged.h5ad", adata, "cannot be opened as .h5ad")
    (tmp_path / "empty.zarr").mkdir()
    fails(tmp_path / "empty.zarr", adata, "empty.zarr")
    (tmp_path / "damaged.npy").write_bytes(b"")
    fails(tmp_path / "damaged.npy", adata, "cannot be read as .npy")
    np.save(tmp_path / "e.npy", embedding)
    (tmp_path / "e.csv").write_bytes(b"")
    fails(tmp_path / "e.npy", adata, "no cell names could be read")


def test_writing_refuses_what_could_not_be_read_back(tmp_path, adata, embedding):
    with pytest.raises(UsageError, match="12 rows and 1 different names of 1"):
        write_embedding(tmp_path / "e.npy", embedding, ["cell0"])
    with pytest.raises(UsageError, match="11 different names"):
        write_embedding(tmp_path / "e.h5ad", embedding, ["cell1", *adata.obs_names[1:]])
    with pytest.raises(UsageError, match=re.escape("as .h5ad or .npy")):
        write_embedding(tmp_path / "e.csv", embedding, adata.obs_names)
    assert not list(tmp_path.iterdir())
