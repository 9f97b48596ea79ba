from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconeval.datasets import (
    Dataset,
    dataset_names,
    default_splits,
    load_dataset,
    make_split,
    split_names,
)
from reconeval.errors import UsageError


def labelled(labels, *, key="kind"):
    obs = pd.DataFrame(
        {"kind": list(labels)}, index=[f"cell{i}" for i in range(len(labels))], dtype=str
    )
    adata = anndata.AnnData(np.zeros((len(labels), 2), np.float32), obs=obs)
    return Dataset("mine", "user", "0" * 64, adata, cell_type_key=key)


def sorted_labels(sizes):
    return [f"type{i}" for i, size in enumerate(sizes) for _ in range(size)]


label_sizes = st.lists(st.integers(1, 60), min_size=1, max_size=12).filter(lambda s: sum(s) >= 20)


def assert_partition(split, n_cells):
    parts = (split.train, split.val, split.test)
    assert all(part.dtype == np.int64 and len(part) for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(n_cells))


def held_out_exists(sizes):
    """Whether any set of types has 20 to 50 % of the cells and leaves two, by trying them all."""
    total = sum(sizes)
    for chosen in range(1, 2 ** len(sizes)):
        taken = [size for i, size in enumerate(sizes) if chosen >> i & 1]
        if 0.2 * total <= sum(taken) <= 0.5 * total and len(taken) <= len(sizes) - 2:
            return True
    return False


@pytest.mark.parametrize("name", dataset_names())
@pytest.mark.parametrize("split_name", split_names())
def test_frozen_splits_are_a_shuffled_partition(name, split_name):
    dataset = load_dataset(name)
    split = make_split(dataset, split_name)
    assert_partition(split, dataset.adata.n_obs)
    assert len(split.test) >= 200
    for part in (split.train, split.val, split.test):
        assert (np.diff(part) < 0).mean() > 0.3


@pytest.mark.parametrize("name", dataset_names())
def test_frozen_held_out_types_are_in_the_test_cells_alone(name):
    dataset = load_dataset(name)
    types = dataset.cell_types
    for seed in range(3):
        split = make_split(dataset, "cell_type", seed=seed)
        assert set(types[split.test]) == set(split.held_out)
        assert not set(types[np.concatenate([split.train, split.val])]) & set(split.held_out)
        assert len(split.held_out) >= 2


@pytest.mark.parametrize("name", dataset_names())
def test_iid_parts_have_60_10_and_30_percent(name):
    dataset = load_dataset(name)
    split = make_split(dataset, "iid")
    shares = [len(part) / dataset.adata.n_obs for part in (split.train, split.val, split.test)]
    np.testing.assert_allclose(shares, [0.6, 0.1, 0.3])
    assert split.held_out == ()


@pytest.mark.parametrize("name", dataset_names())
@pytest.mark.parametrize("split_name", split_names())
def test_the_seed_alone_decides(name, split_name):
    dataset = load_dataset(name)
    first, again, other = (make_split(dataset, split_name, seed=seed) for seed in (0, 0, 1))
    for part in ("train", "val", "test"):
        assert np.array_equal(getattr(first, part), getattr(again, part))
        assert not np.array_equal(getattr(first, part), getattr(other, part))


def test_cells_sorted_by_type_are_mixed():
    dataset = labelled(sorted_labels([300, 300, 300]))
    split = make_split(dataset, "iid")
    for part in (split.train, split.val, split.test):
        shares = np.unique(dataset.cell_types[part], return_counts=True)[1] / len(part)
        assert len(shares) == 3
        assert shares.min() > 0.2


@given(label_sizes, st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_iid_is_a_partition_of_any_number_of_cells(sizes, seed):
    dataset = labelled(sorted_labels(sizes))
    assert_partition(make_split(dataset, "iid", seed=seed), sum(sizes))


@given(label_sizes, st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
@settings(max_examples=80)
def test_cell_type_holds_whole_types_out_of_any_labels(sizes, seed, random):
    assume(held_out_exists(sizes))
    labels = sorted_labels(sizes)
    random.shuffle(labels)
    dataset = labelled(labels)
    split = make_split(dataset, "cell_type", seed=seed)
    assert_partition(split, len(labels))
    types = dataset.cell_types
    assert set(types[split.test]) == set(split.held_out)
    seen = set(types[np.concatenate([split.train, split.val])])
    assert not seen & set(split.held_out)
    assert len(seen) >= 2
    assert 0.2 * len(labels) <= len(split.test) <= 0.5 * len(labels)


@given(label_sizes, st.integers(0, 100))
@settings(max_examples=80)
def test_cell_type_is_refused_exactly_where_no_choice_fits(sizes, seed):
    dataset = labelled(sorted_labels(sizes))
    possible = held_out_exists(sizes)
    assert default_splits(dataset) == (("iid", "cell_type") if possible else ("iid",))
    if not possible:
        with pytest.raises(UsageError, match="cannot hold out whole types"):
            make_split(dataset, "cell_type", seed=seed)


def test_the_seed_draws_other_types():
    dataset = labelled(sorted_labels([10] * 10))
    drawn = {make_split(dataset, "cell_type", seed=seed).held_out for seed in range(5)}
    assert len(drawn) > 1


def test_without_labels_there_is_iid_alone():
    dataset = labelled(["a"] * 30, key=None)
    assert default_splits(dataset) == ("iid",)
    with pytest.raises(UsageError, match="--cell-type-key"):
        make_split(dataset, "cell_type")


def test_an_unknown_split_names_the_nearest():
    dataset = labelled(["a"] * 30)
    with pytest.raises(UsageError, match=r"no split 'celltype'; did you mean cell_type\?"):
        make_split(dataset, "celltype")
