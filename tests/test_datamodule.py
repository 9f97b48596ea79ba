from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from reconeval import InMemoryDataModule
from reconeval.errors import UsageError


def rows(loader) -> np.ndarray:
    """All cells of a loader, in its order."""
    return np.concatenate([batch["X"].numpy() for batch in loader])


def cells(n: int, n_genes: int = 3) -> np.ndarray:
    """Cells that can be told apart: cell i starts with i."""
    return np.arange(n)[:, None] + np.linspace(0, 0.5, n_genes)[None]


def test_batches_are_dicts_of_float32():
    dm = InMemoryDataModule(cells(100), batch_size=32)
    for loader in (dm.train_dataloader(), dm.val_dataloader()):
        for batch in loader:
            assert set(batch) == {"X"}
            assert batch["X"].dtype == torch.float32
            assert batch["X"].shape[1] == 3


def test_a_single_cell_can_be_read():
    dataset = InMemoryDataModule(cells(10), val_X=cells(2)).train_dataloader().dataset
    np.testing.assert_allclose(dataset[4]["X"], cells(10)[4])


def test_cut_follows_the_seeded_permutation():
    X = cells(50)
    dm = InMemoryDataModule(X, val_frac=0.3, seed=7)
    order = np.random.default_rng(7).permutation(50)
    np.testing.assert_allclose(rows(dm.val_dataloader()), X[order[:15]])
    np.testing.assert_allclose(np.sort(rows(dm.train_dataloader())[:, 0]), np.sort(order[15:]))


@given(
    n=st.integers(2, 150),
    batch_size=st.integers(1, 40),
    val_frac=st.floats(0, 0.9),
    seed=st.integers(0, 5),
)
def test_every_cell_is_in_one_part_and_no_last_batch_is_a_single_cell(
    n, batch_size, val_frac, seed
):
    dm = InMemoryDataModule(cells(n), batch_size=batch_size, val_frac=val_frac, seed=seed)
    batches = [batch["X"].numpy()[:, 0] for batch in dm.train_dataloader()]
    train = np.concatenate(batches)
    val = rows(dm.val_dataloader())[:, 0] if int(n * val_frac) else np.empty(0)
    assert len(val) == int(n * val_frac)
    n_train = n - len(val)
    dropped = n_train - len(train)
    assert dropped == (batch_size > 1 and n_train > batch_size and n_train % batch_size == 1)
    assert len(np.unique(np.concatenate([train, val]))) == n - dropped
    if batch_size > 1 and n_train > 1:
        assert min(map(len, batches)) > 1


def test_val_X_validates_and_all_of_X_trains():
    dm = InMemoryDataModule(cells(20), val_X=cells(5) + 100)
    assert sorted(rows(dm.train_dataloader())[:, 0]) == list(range(20))
    np.testing.assert_allclose(rows(dm.val_dataloader()), cells(5) + 100)


def test_order_depends_on_the_seed_alone():
    X = cells(64)
    dm = InMemoryDataModule(X, batch_size=16, seed=1)
    torch.manual_seed(0)
    first = rows(dm.train_dataloader())
    torch.manual_seed(1)
    assert np.array_equal(first, rows(dm.train_dataloader()))
    assert np.array_equal(
        first, rows(InMemoryDataModule(X, batch_size=16, seed=1).train_dataloader())
    )
    other = rows(InMemoryDataModule(X, batch_size=16, seed=2).train_dataloader())
    assert not np.array_equal(first, other)


def test_order_changes_between_epochs():
    loader = InMemoryDataModule(cells(64)).train_dataloader()
    assert not np.array_equal(rows(loader), rows(loader))


@pytest.mark.parametrize("convert", [sparse.csr_matrix, sparse.csc_array, np.asfortranarray])
def test_sparse_equals_dense(convert):
    X = np.random.default_rng(0).poisson(1.0, size=(40, 6)).astype(np.float64)
    dense, other = (InMemoryDataModule(M, seed=3) for M in (X, convert(X)))
    assert np.array_equal(rows(dense.train_dataloader()), rows(other.train_dataloader()))
    assert np.array_equal(rows(dense.val_dataloader()), rows(other.val_dataloader()))


@pytest.mark.parametrize("own_val", [False, True])
def test_later_changes_of_the_matrix_do_not_reach_the_batches(own_val):
    X, val = np.ones((30, 2), np.float32), np.ones((4, 2), np.float32)
    dm = InMemoryDataModule(X, val_X=val if own_val else None)
    X[:], val[:] = 9, 9
    assert (rows(dm.train_dataloader()) == 1).all()
    assert (rows(dm.val_dataloader()) == 1).all()


def test_read_only_input_is_accepted_without_a_warning(recwarn):
    X = np.ones((30, 2), np.float32)
    X.setflags(write=False)
    InMemoryDataModule(X, val_X=X).train_dataloader()
    assert not recwarn.list


def test_no_validation_cells_means_no_validation_loader():
    assert InMemoryDataModule(cells(5), val_frac=0.1).val_dataloader() == []


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((np.ones(5),), {}, r"X must be a matrix \(n_cells, n_genes\), got shape \(5,\)"),
        (([["a"]],), {}, "must be a numeric matrix"),
        ((np.array([[1, np.nan]]),), {}, "has NaN, infinite"),
        ((np.empty((0, 4)),), {}, "X has no cells"),
        ((np.ones((5, 2)), 0), {}, "batch_size must be at least 1, got 0"),
        ((np.ones((5, 2)), 4, 1.0), {}, r"val_frac must be in \[0, 1\), got 1.0"),
        ((np.ones((5, 2)),), {"val_X": np.ones((5, 3))}, "val_X has 3 columns, expected 2"),
    ],
    ids=["vector", "text", "nan", "empty", "batch-size", "val-frac", "other-genes"],
)
def test_bad_input_is_refused_in_one_line(args, kwargs, message):
    with pytest.raises(UsageError, match=message) as error:
        InMemoryDataModule(*args, **kwargs)
    assert "\n" not in str(error.value)


def test_an_anndata_is_refused_with_the_way_out():
    import anndata

    with pytest.raises(UsageError, match=r"got AnnData; pass its \.X"):
        InMemoryDataModule(anndata.AnnData(np.ones((5, 2))))
