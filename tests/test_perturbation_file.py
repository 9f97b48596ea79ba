from __future__ import annotations

import hashlib

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr

from reconeval.datasets import (
    load_perturbation_dataset,
    make_perturbation_split,
    perturbation_split_names,
)
from reconeval.datasets._labels import canonical_label
from reconeval.errors import UsageError
from tests.conftest import data_file

N_PER, N_GENES = 30, 150
LABELS = ["ctrl", "IFNB", "TNF", "IFNB+TNF"]
KEYS = {"perturbation_key": "drug", "control": "ctrl"}


@pytest.fixture
def cells():
    """Counts of cells in which each drug raises genes of its own."""
    rng = np.random.default_rng(0)
    drug = np.repeat(LABELS, N_PER)
    mean = np.full((len(drug), N_GENES), 5.0)
    mean[[("IFNB" in d) for d in drug], :5] *= 4
    mean[[("TNF" in d) for d in drug], 5:10] *= 4
    obs = pd.DataFrame(
        {
            "drug": drug,
            "kind": rng.choice(["T", "B", "NK"], len(drug)),
            "donor": rng.choice(["d1", "d2", "d3"], len(drug)),
        },
        index=[f"cell{i}" for i in range(len(drug))],
    )
    var = pd.DataFrame(index=["TNF", *(f"gene{i}" for i in range(1, N_GENES))])
    return anndata.AnnData(rng.poisson(mean).astype(np.float32), obs=obs, var=var)


@pytest.fixture
def load(tmp_path):
    """Return a function that writes cells and loads them as perturbed ones."""

    def load(cells, **options):
        cells.write_h5ad(tmp_path / "mine.h5ad")
        return load_perturbation_dataset(
            tmp_path / "mine.h5ad", **{"counts_layer": "X", **KEYS, **options}
        )

    return load


@pytest.fixture
def refused(load, tmp_path):
    """Return a function that gives the message of the refusal: one line that names the file."""

    def refused(cells, **options):
        with pytest.raises(UsageError) as caught:
            load(cells, **options)
        message = str(caught.value)
        assert "\n" not in message
        assert str(tmp_path / "mine.h5ad") in message
        return message

    return refused


def test_a_file_becomes_a_dataset(cells, load):
    dataset = load(cells, cell_type_key="kind", batch_key="donor")
    counts = cells.X.astype(np.float64)
    expected = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(dataset.X, expected, rtol=1e-6)
    assert (dataset.name, dataset.version, dataset.control) == ("mine", "user", "ctrl")
    assert dataset.perturbation.tolist() == cells.obs["drug"].tolist()
    assert dataset.cell_types.tolist() == cells.obs["kind"].tolist()
    assert dataset.conditions.tolist() == cells.obs["donor"].tolist()
    assert dataset.partner is None
    assert dataset.targets == {"TNF": "TNF"}
    assert perturbation_split_names(dataset)[0] == "iid"


def test_combinations_are_read_from_their_names(cells, load):
    dataset = load(cells)
    assert dataset.parts == {"IFNB+TNF": ("IFNB", "TNF")}
    rows = {name: row.tolist() for name, row in dataset.descriptors.items()}
    assert rows == {"IFNB": [1, 0], "TNF": [0, 1], "IFNB+TNF": [1, 1]}


def in_many_ways(cells):
    """Write each perturbation in several ways, in turn from cell to cell."""
    ways = {
        "ctrl": ["ctrl", "ctrl+ctrl"],
        "IFNB": ["IFNB", "IFNB+ctrl", "ctrl + IFNB"],
        "TNF": ["ctrl+TNF"],
        "IFNB+TNF": ["IFNB+TNF", "TNF+IFNB", "TNF+ctrl+IFNB"],
    }
    cells.obs["plain"] = cells.obs["drug"]
    cells.obs["drug"] = [ways[d][i % len(ways[d])] for i, d in enumerate(cells.obs["drug"])]


def test_a_perturbation_of_several_labels_is_one(cells, load):
    in_many_ways(cells)
    with pytest.warns(UserWarning, match=r"IFNB\+ctrl is IFNB, .*TNF\+IFNB is IFNB\+TNF") as told:
        dataset = load(cells)
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    assert dataset.perturbation.tolist() == cells.obs["plain"].tolist()
    assert dataset.parts == {"IFNB+TNF": ("IFNB", "TNF")}
    assert dataset.targets == {"TNF": "TNF"}
    rows = {name: row.tolist() for name, row in dataset.descriptors.items()}
    assert rows == {"IFNB": [1, 0], "IFNB+TNF": [1, 1], "TNF": [0, 1]}


@pytest.mark.filterwarnings("ignore:.*--perturbation-key drug")
def test_what_is_held_out_is_in_no_training_cell_under_another_label(cells, load):
    in_many_ways(cells)
    dataset = load(cells)
    for seed in range(6):
        split = make_perturbation_split(dataset, "perturbation", seed=seed)
        held = cells.obs["plain"].iloc[split.test].unique().tolist()
        assert held == list(split.held_out)
        assert not cells.obs["plain"].iloc[split.train].isin(held).any()
        assert (cells.obs["plain"].iloc[split.train] != "ctrl").all()


@pytest.mark.filterwarnings("ignore:.*--perturbation-key drug")
def test_descriptors_may_have_the_labels_of_the_file(cells, load, refused):
    in_many_ways(cells)
    cells.uns["codes"] = table(**{"ctrl+IFNB": [1, 2], "TNF": [3, 4], "TNF+IFNB": [9, 9]})
    rows = load(cells, descriptor_key="codes").descriptors
    assert {name: row.tolist() for name, row in rows.items()} == {
        "IFNB": [1, 2],
        "IFNB+TNF": [9, 9],
        "TNF": [3, 4],
    }
    cells.uns["codes"] = table(**{"IFNB": [1, 2], "IFNB+ctrl": [1, 3], "TNF": [3, 4]})
    message = refused(cells, descriptor_key="codes")
    assert "IFNB+ctrl and another name of IFNB have different rows" in message


NAMES = st.text("AB cC", min_size=1).map(str.strip).filter(bool)


@given(st.lists(NAMES, min_size=1), NAMES, st.randoms(use_true_random=False))
def test_a_canonical_label_knows_neither_order_nor_control(parts, control, random):
    label = canonical_label("+".join(parts), control)
    assert canonical_label(label, control) == label
    assert label == ("+".join(sorted(set(parts) - {control})) or control)
    other = [*parts, control, random.choice(parts)]
    random.shuffle(other)
    assert canonical_label(" + ".join(other), control) == label


@pytest.mark.parametrize(
    ("label", "control", "expected"),
    [
        ("ctrl", "ctrl+ctrl", "ctrl+ctrl"),
        ("A+ctrl", "ctrl+ctrl", "A"),
        ("b+a", "a+b", "a+b"),  # a control of two parts is one as a whole
        ("a+c", "a+b", "a+c"),
        ("CD4+", "CD4+", "CD4+"),
        ("CD4+ ", "CD8", "CD4+ "),  # not a join, so taken as it is
    ],
)
def test_canonical_labels(label, control, expected):
    assert canonical_label(label, control) == expected


@pytest.mark.parametrize("name", ["CD4+", "+", "+TNF"])
def test_a_plus_without_a_part_on_each_side_is_part_of_the_name(cells, load, name):
    cells.obs["drug"] = cells.obs["drug"].replace("IFNB+TNF", name)
    dataset = load(cells)
    assert dataset.parts == {}
    assert len(dataset.descriptors[name]) == 3


def test_components_of_a_split_know_no_test_cell(cells, load):
    cells.X[(cells.obs["drug"] == "TNF").to_numpy(), -1] += 50  # what no other cell varies in
    dataset = load(cells)
    for seed in range(20):
        split = make_perturbation_split(dataset, "perturbation", seed=seed)
        if split.held_out == ("TNF",):
            break
    fitted = dataset.for_split(split)
    assert fitted.embedding.shape[1] <= len(split.train) + len(split.train_controls) - 1
    last = dataset.genes.index(f"gene{N_GENES - 1}")
    decoded = fitted.decode(fitted.embedding)[split.test, last]
    assert decoded.mean() < dataset.X[split.test, last].mean() - 0.5
    seen = make_perturbation_split(dataset, "iid")
    refitted = dataset.for_split(seen)
    decoded = refitted.decode(refitted.embedding)[seen.test]
    np.testing.assert_allclose(decoded.mean(0), dataset.X[seen.test].mean(0), atol=0.4)


@pytest.mark.parametrize("where", ["obsm", "npy"])
def test_an_own_embedding_gets_a_decoder_of_the_training_cells(cells, load, tmp_path, where):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(cells.n_obs, 3)).astype(np.float32)
    slope = rng.uniform(0, 0.2, size=(3, N_GENES))
    cells.X = (3 + values @ slope).clip(0.1).astype(np.float32)
    source = "X_own"
    if where == "obsm":
        cells.obsm["X_own"] = values
    else:
        source = str(tmp_path / "own.npy")
        np.save(source, values)
    dataset = load(cells, embedding=source, counts_layer=None)
    np.testing.assert_array_equal(dataset.embedding, values)
    split = make_perturbation_split(dataset, "iid")
    fitted = dataset.for_split(split)
    np.testing.assert_array_equal(fitted.embedding, values)
    decoded = fitted.decode(values[split.test])
    np.testing.assert_allclose(decoded, dataset.X[split.test], atol=0.02)


def test_a_key_of_obsm_may_have_a_dot(cells, load):
    cells.obsm["X_own.v2"] = np.arange(2.0 * cells.n_obs, dtype=np.float32).reshape(-1, 2)
    dataset = load(cells, embedding="X_own.v2")
    np.testing.assert_array_equal(dataset.embedding, cells.obsm["X_own.v2"])


def test_an_absent_embedding_names_what_there_is(cells, refused):
    cells.obsm["X_own"] = np.zeros((cells.n_obs, 2), np.float32)
    message = refused(cells, embedding="X_pca")
    assert "--embedding X_pca" in message
    assert "X_own" in message


def table(**rows):
    return pd.DataFrame.from_dict(rows, orient="index").astype(float).rename(columns=str)


def test_descriptors_of_a_table_or_mapping(cells, load):
    cells.uns["codes"] = table(IFNB=[1, 2], TNF=[3, 4], other=[0, 0])
    cells.uns["named"] = {"IFNB": np.ones(3), "TNF": np.zeros(3), "IFNB+TNF": np.full(3, 9.0)}
    codes = load(cells, descriptor_key="codes").descriptors
    assert {name: row.tolist() for name, row in codes.items()} == {
        "IFNB": [1, 2],
        "TNF": [3, 4],
        "IFNB+TNF": [4, 6],  # not in the table: the sum of its parts
    }
    assert codes["TNF"].dtype == np.float32
    named = load(cells, descriptor_key="named").descriptors
    assert named["IFNB+TNF"].tolist() == [9, 9, 9]


def test_descriptors_of_the_rows_of_cells(cells, load, refused):
    order = cells.obs["drug"].map({name: i for i, name in enumerate(LABELS)}).to_numpy(float)
    cells.obsm["codes"] = np.stack([order, order**2], axis=1)
    assert load(cells, descriptor_key="codes").descriptors["IFNB+TNF"].tolist() == [3, 9]
    cells.obsm["codes"] = np.random.default_rng(0).normal(size=(cells.n_obs, 2))
    assert "is this an embedding of cells?" in refused(cells, descriptor_key="codes")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (table(IFNB=[1.0, 2.0]), "none for IFNB+TNF, TNF"),
        (table(IFNB=[1.0], TNF=[np.nan]), "of TNF"),
        ({"IFNB": np.ones(2), "TNF": np.ones(3), "IFNB+TNF": np.ones(2)}, "lengths 2, 3"),
        ({"IFNB": np.ones(1), "TNF": np.ones(2)}, "lengths 1, 2"),  # of which a sum is wanted
        ({"IFNB": "high", "TNF": np.ones(3)}, "of IFNB: 'high'"),
        (np.ones((3, 2)), "store a pandas DataFrame"),
    ],
    ids=["absent", "nan", "lengths", "lengths of parts", "text", "array"],
)
def test_unfit_descriptors(cells, refused, value, message):
    cells.uns["codes"] = value
    got = refused(cells, descriptor_key="codes")
    assert "--descriptor-key codes" in got
    assert message in got


def test_an_absent_descriptor_key_names_the_nearest(cells, refused):
    cells.uns["codes"] = table(IFNB=[1.0], TNF=[2.0])
    assert "did you mean codes?" in refused(cells, descriptor_key="code")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perturbation_key": None}, "add it, nothing is guessed"),
        ({"control": None}, "--control LABEL"),
        ({"perturbation_key": "drugs"}, "did you mean drug?"),
        ({"control": "ctl"}, "did you mean ctrl?"),
        ({"counts_layer": None}, "add --counts-layer X"),
        ({"cell_type_key": "type"}, "--cell-type-key type: no such column"),
    ],
)
def test_unfit_options(cells, refused, options, message):
    assert message in refused(cells, **options)


def test_too_few_cells_of_a_perturbation(cells, refused):
    cells.obs.loc[cells.obs_names[40:], "drug"] = "ctrl"
    cells.obs.loc[cells.obs_names[:5], "drug"] = "rare"
    assert "fewer than 10 cells of rare (5)" in refused(cells)


def test_control_cells_alone(cells, refused):
    cells.obs["drug"] = "ctrl"
    assert "ctrl alone; add perturbed cells" in refused(cells)


def test_missing_labels(cells, refused):
    cells.obs.loc[cells.obs_names[:3], "drug"] = np.nan
    assert "3 of 120 cells have no label" in refused(cells)


def test_another_ending(tmp_path):
    with pytest.raises(UsageError, match="neither a frozen dataset nor a path"):
        load_perturbation_dataset(tmp_path / "cells.csv", **KEYS)


def test_real_stimulated_cells():
    dataset = load_perturbation_dataset(
        data_file("kang_ifnb_counts.h5ad"),
        perturbation_key="condition",
        control="ctrl",
        cell_type_key="cell_type_transferred",
        batch_key="donor",
        counts_layer="X",
    )
    assert dataset.X.shape == (2000, 9015)
    assert perturbation_split_names(dataset) == ("iid", "cell_type", "condition")
    split = make_perturbation_split(dataset, "condition")
    assert not set(dataset.conditions[split.test]) & set(dataset.conditions[split.train])
    fitted = dataset.for_split(split)
    assert fitted.embedding.shape == (2000, 50)
    decoded = fitted.decode(fitted.embedding)
    measured, back = (
        values[split.test].mean(axis=0) - values[split.test_controls].mean(axis=0)
        for values in (dataset.X, decoded)
    )
    assert pearsonr(measured, back)[0] > 0.9
    raised = np.argsort(-measured)[:30]
    assert {"ISG15", "IFIT3", "IFI6"} <= {dataset.genes[i] for i in raised}


def write_fetched(folder, monkeypatch):
    """Put a file in the layout of `norman_2019` where fetched files lie."""
    from reconeval.datasets import catalogue

    monkeypatch.setenv("RECONEVAL_CACHE", str(folder))
    source = catalogue.find_source("norman_2019")
    rng = np.random.default_rng(0)
    labels = ["control", "CEBPA", "CEBPB", "CEBPA_CEBPB"] * 15
    labels += ["control", "CEBPA", "control_CEBPB", "CEBPB_CEBPA"] * 15 + ["rare"] * 3
    obs = pd.DataFrame({source.layout.perturbation: labels})
    if source.layout.cell_type is not None:
        obs[source.layout.cell_type] = "K562"
    obs.index = [f"cell{i}" for i in range(len(obs))]
    counts = rng.poisson(2, (len(obs), 60)).astype(np.float32)
    var = pd.DataFrame(index=["CEBPA", *(f"G{i}" for i in range(59))])
    folder.mkdir()
    path = folder / "norman_2019.h5ad"
    anndata.AnnData(counts, obs, var).write_h5ad(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "norman_2019.h5ad.sha256").write_text(f"{sha256}  {path.name}\n")
    return sha256


def test_fetched_data_become_a_dataset(tmp_path, monkeypatch):
    sha256 = write_fetched(tmp_path / "cache", monkeypatch)
    dataset = load_perturbation_dataset("norman_2019")
    assert (dataset.name, dataset.version, dataset.sha256) == ("norman_2019", "fetched", sha256)
    assert dataset.control == "control"
    assert dataset.parts == {"CEBPA_CEBPB": ("CEBPA", "CEBPB")}
    assert set(dataset.perturbation) == {"control", "CEBPA", "CEBPB", "CEBPA_CEBPB"}
    assert dataset.targets == {"CEBPA": "CEBPA"}
    assert dataset.X.shape == (120, 60)
    assert "perturbation" in perturbation_split_names(dataset)


def test_what_was_not_fetched_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("RECONEVAL_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="reconeval datasets fetch kang_2018"):
        load_perturbation_dataset("kang_2018")
    with pytest.raises(UsageError, match="--control: for your own file"):
        load_perturbation_dataset("kang_2018", control="ctrl")
