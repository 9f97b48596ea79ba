from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconeval.datasets import (
    PerturbationDataset,
    load_perturbation_dataset,
    make_perturbation_split,
    perturbation_dataset_names,
    perturbation_split_names,
)
from reconeval.errors import UsageError

FROZEN = [
    (name, split)
    for name in perturbation_dataset_names()
    for split in perturbation_split_names(name)
]


def made(labels, *, types=None, donors=None, partner=None, sources=None):
    """A dataset of the user's own without any expression, for its splits."""
    n = len(labels)
    return PerturbationDataset(
        name="mine",
        version="user",
        sha256="0" * 64,
        genes=("a", "b"),
        X=np.zeros((n, 2), np.float32),
        embedding=np.zeros((n, 2), np.float32),
        perturbation=np.asarray(labels),
        control="ctrl",
        descriptors={},
        decode=lambda z: z,
        cell_types=None if types is None else np.asarray(types),
        conditions=None if donors is None else np.asarray(donors),
        partner=partner,
        sources=sources,
    )


def sides(split):
    train = np.concatenate([split.train, split.val])
    return (
        np.concatenate([train, split.train_controls]),
        np.concatenate([split.test, split.test_controls]),
    )


def assert_sound(dataset, split, *, all_cells=True):
    """All that a split promises, whatever its name."""
    control = dataset.perturbation == dataset.control
    cells = np.concatenate([split.train, split.val, split.test])
    controls = np.concatenate([split.train_controls, split.test_controls])
    assert cells.dtype == controls.dtype == np.int64
    assert len(set(cells)) == len(cells)
    assert sorted(controls) == np.flatnonzero(control).tolist()
    assert not control[cells].any()
    if all_cells:
        assert sorted(cells) == np.flatnonzero(~control).tolist()
    assert len(split.train)
    assert len(split.test)
    for rows, partner, pool in (
        (split.train, split.train_partner, split.train_controls),
        (split.val, split.val_partner, split.train_controls),
        (split.test, split.test_partner, split.test_controls),
    ):
        assert partner.shape == rows.shape
        assert set(partner) <= set(pool)
        if dataset.partner is not None:
            assert np.array_equal(partner, dataset.partner[rows])
        else:
            assert_alike(dataset, rows, partner, pool)
    training, test = sides(split)
    if dataset.sources is not None:
        assert not set(dataset.sources[training]) & set(dataset.sources[test])


def assert_alike(dataset, rows, partner, pool):
    """A partner has the cell type and condition of its cell where its side has such a control."""
    labels = [label for label in (dataset.cell_types, dataset.conditions) if label is not None]
    for row, mate in zip(rows, partner, strict=True):
        for n in range(len(labels), 0, -1):
            if any(all(label[row] == label[c] for label in labels[:n]) for c in pool):
                assert all(label[row] == label[mate] for label in labels[:n])
                break


@pytest.mark.parametrize(("name", "split_name"), FROZEN)
def test_frozen_splits_keep_their_promises_at_any_seed(name, split_name):
    dataset = load_perturbation_dataset(name)
    held_out = set()
    for seed in (0, 1):
        split = make_perturbation_split(dataset, split_name, seed=seed)
        assert_sound(dataset, split)
        held_out.add(split.held_out)
    assert len(held_out) == 1  # scores of other seeds are scores of the same question


@pytest.mark.parametrize(("name", "split_name"), FROZEN)
def test_the_seed_alone_decides(name, split_name):
    dataset = load_perturbation_dataset(name)
    first, again, other = (
        make_perturbation_split(dataset, split_name, seed=seed) for seed in (0, 0, 1)
    )
    for part in ("train", "test", "train_controls", "test_controls", "train_partner"):
        assert np.array_equal(getattr(first, part), getattr(again, part))
    fixed = (name, split_name) == ("latent_synthetic", "iid")
    assert np.array_equal(first.train, other.train) == fixed
    assert np.array_equal(first.train_partner, other.train_partner) == fixed


@pytest.mark.parametrize(
    ("split_name", "labels"),
    [("perturbation", "perturbation"), ("cell_type", "cell_types"), ("condition", "conditions")],
)
def test_held_out_groups_of_immune_shift_are_in_the_test_alone(split_name, labels):
    dataset = load_perturbation_dataset("immune_shift")
    split = make_perturbation_split(dataset, split_name)
    groups = getattr(dataset, labels)
    training, test = sides(split)
    assert set(groups[split.test]) == set(split.held_out)
    assert not set(groups[training]) & set(split.held_out)
    if split_name != "perturbation":
        assert set(groups[test]) == set(split.held_out)


def test_parts_of_held_out_combinations_are_in_the_training():
    dataset = load_perturbation_dataset("immune_shift")
    split = make_perturbation_split(dataset, "perturbation")
    combinations = [name for name in split.held_out if name in dataset.parts]
    assert len(combinations) >= 2
    assert len(split.held_out) > len(combinations)
    for name in combinations:
        assert set(dataset.parts[name]) <= set(dataset.perturbation[split.train])


def test_iid_takes_60_10_and_30_percent_of_each_perturbation():
    labels = ["ctrl"] * 40 + ["a"] * 100 + ["b"] * 50 + ["c"] * 10
    dataset = made(labels)
    split = make_perturbation_split(dataset, "iid")
    for name, sizes in {"a": (60, 10, 30), "b": (30, 5, 15), "c": (6, 1, 3)}.items():
        parts = (split.train, split.val, split.test)
        assert tuple((dataset.perturbation[p] == name).sum() for p in parts) == sizes
    assert len(split.train_controls) == 28


def test_shares_are_near_where_cells_have_common_sources():
    dataset = load_perturbation_dataset("immune_shift")
    split = make_perturbation_split(dataset, "iid")
    for name in dataset.descriptors:
        n = (dataset.perturbation == name).sum()
        assert 0.2 < (dataset.perturbation[split.test] == name).sum() / n < 0.4


def test_sorted_cells_are_mixed():
    dataset = made(["ctrl"] * 100 + ["a"] * 100 + ["b"] * 100)
    split = make_perturbation_split(dataset, "iid")
    for part in (split.train, split.test, split.train_controls, split.test_controls):
        assert (np.diff(part) < 0).mean() > 0.3


@st.composite
def datasets(draw, with_sources=False, with_partner=False):
    n_perturbations = draw(st.integers(3, 6))
    n_types, n_donors = draw(st.integers(3, 4)), draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(150, 300))
    labels = np.where(
        rng.random(n) < 0.3,
        "ctrl",
        np.char.add("p", rng.integers(0, n_perturbations, n).astype(str)),
    )
    types = np.char.add("t", rng.integers(0, n_types, n).astype(str))
    donors = np.char.add("d", rng.integers(0, n_donors, n).astype(str))
    control = np.flatnonzero(labels == "ctrl")
    partner = np.where(labels == "ctrl", -1, rng.choice(control, n)) if with_partner else None
    sources = rng.integers(0, n // 2, n) if with_sources else None
    if with_sources:  # a source has one type and one donor, as a measured cell has
        types, donors = types[sources], donors[sources]
    return made(labels, types=types, donors=donors, partner=partner, sources=sources)


@given(datasets(), st.sampled_from(perturbation_split_names()), st.integers(0, 2**32 - 1))
def test_splits_of_any_cells_keep_their_promises(dataset, name, seed):
    split = make_perturbation_split(dataset, name, seed=seed)
    assert_sound(dataset, split)
    if name != "iid":
        groups = {
            "perturbation": dataset.perturbation,
            "cell_type": dataset.cell_types,
            "condition": dataset.conditions,
        }[name]
        assert set(groups[split.test]) == set(split.held_out)
        share = len(split.test) / (dataset.perturbation != "ctrl").sum()
        assert 0.2 <= share <= 0.5


@given(
    datasets(with_sources=True),
    st.sampled_from(perturbation_split_names()),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_no_source_is_on_both_sides(dataset, name, seed):
    try:
        split = make_perturbation_split(dataset, name, seed=seed)
    except UsageError:
        assume(False)
    training, test = sides(split)
    assert not set(dataset.sources[training]) & set(dataset.sources[test])
    assert_sound(dataset, split, all_cells=name != "perturbation")


@given(datasets(with_partner=True), st.sampled_from(["iid", "perturbation"]), st.integers(0, 99))
def test_no_partner_is_on_both_sides(dataset, name, seed):
    try:
        split = make_perturbation_split(dataset, name, seed=seed)
    except UsageError:
        assume(False)
    assert_sound(dataset, split, all_cells=name == "iid")
    assert not set(split.train_partner) & set(split.test_partner)


def test_a_side_without_a_like_control_takes_the_next_best():
    labels = ["ctrl"] * 20 + ["a"] * 20 + ["b"] * 20
    types = ["T"] * 10 + ["B"] * 10 + ["T"] * 20 + ["mast"] * 20
    dataset = made(labels, types=types)
    split = make_perturbation_split(dataset, "iid")
    assert_sound(dataset, split)
    mast = dataset.cell_types[split.test] == "mast"
    assert mast.any()
    assert set(split.test_partner[mast]) <= set(split.test_controls)


def test_a_type_without_controls_is_not_held_out():
    rng = np.random.default_rng(0)
    types = rng.choice(["T", "B", "NK", "mast"], 400)
    labels = np.where((rng.random(400) < 0.4) & (types != "mast"), "ctrl", "a")
    dataset = made(labels, types=types)
    for seed in range(10):
        split = make_perturbation_split(dataset, "cell_type", seed=seed)
        assert "mast" not in split.held_out
        assert_sound(dataset, split)


def test_names_of_splits_follow_the_labels():
    labels = ["ctrl"] * 40 + ["a", "b", "c", "d"] * 40
    types = ["T", "B", "NK", "DC"] * 10 + ["T"] * 40 + ["B"] * 40 + ["NK"] * 40 + ["DC"] * 40
    assert perturbation_split_names() == ("iid", "perturbation", "cell_type", "condition")
    assert perturbation_split_names(made(labels)) == ("iid", "perturbation")
    assert perturbation_split_names(made(labels, types=types)) == (
        "iid",
        "perturbation",
        "cell_type",
    )
    assert perturbation_split_names(made(["ctrl"] * 20 + ["a"] * 20)) == ("iid",)
    assert perturbation_split_names("myoblast") == ("iid", "perturbation")
    immune_shift = load_perturbation_dataset("immune_shift")
    assert perturbation_split_names(immune_shift) == perturbation_split_names()


@pytest.mark.parametrize(
    ("labels", "name", "message"),
    [
        (["ctrl"] * 20 + ["a"] * 20, "perturbations", r"did you mean perturbation\?"),
        (["ctrl"] * 20 + ["a"] * 20, "perturbation", "cannot hold out whole perturbations"),
        (["ctrl"] * 20 + ["a"] * 20, "cell_type", "needs cell types; add --cell-type-key COLUMN"),
        (["ctrl"] * 20 + ["a"] * 20, "condition", "needs conditions such as donors"),
        (["ctrl"] + ["a"] * 20, "iid", "leaves no test controls"),
        (["ctrl"] * 20 + ["a"], "iid", "leaves no test cells"),
    ],
)
def test_what_cannot_be_split_is_refused(labels, name, message):
    with pytest.raises(UsageError, match=message) as caught:
        make_perturbation_split(made(labels), name)
    assert "\n" not in str(caught.value)
    assert "mine" in str(caught.value)


def test_a_frozen_dataset_without_such_groups_names_its_splits():
    dataset = load_perturbation_dataset("myoblast")
    with pytest.raises(UsageError, match=r"cell_type.*iid, perturbation"):
        make_perturbation_split(dataset, "cell_type")
