"""The catalogue, and its loaders on tiny files in the layouts that the sources document."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from reconeval.datasets.catalogue import catalogue_names, find_source, read_catalogue
from reconeval.datasets.layouts import load_source
from reconeval.errors import UsageError
from tests.conftest import data_file

CELLS, GENES = 60, 12
OBS = {
    "kang_2018": {
        "label": ["ctrl", "stim"],
        "cell_type": ["CD4 T cells", "B cells"],
        "replicate": ["patient_101", "patient_107"],
    },
    "norman_2019": {
        "perturbation": ["control", "CEBPA", "CEBPB", "CEBPA_CEBPB"],
        "cell_line": ["K562"],
        "nperts": [0, 1, 1, 2],
    },
    "sciplex_2020": {
        "perturbation": ["control", "Trametinib", "Dacinostat", None],
        "dose_value": [0.0, 10.0, 10_000.0, np.nan],
        "cell_line": ["A549", "K562", "MCF7"],
        "replicate": ["rep1", "rep2"],
        "time": [24.0, 24.0, 24.0, np.nan],
    },
    "luca": {
        "disease": ["normal", "lung adenocarcinoma", "squamous cell lung carcinoma"],
        "cell_type": ["neutrophil", "macrophage"],
        "donor_id": ["Kim_Lee_2020_P0025", "Wu_Zhou_2021_P1"],
    },
    "pbmc_cytokines": {
        "cytokine": ["PBS", "IFN-beta", "4-1BBL"],
        "cell_type": ["CD8 Naive", "CD14 Mono"],
        "donor": ["Donor1", "Donor10"],
        "treatment": ["PBS", "cytokine", "cytokine"],
    },
    "tahoe_100m": {
        "drug": ["DMSO_TF", "8-Hydroxyquinoline"],
        "cell_line": ["CVCL_0480", "CVCL_0546"],
        "plate": ["plate4"],
    },
}


@pytest.fixture
def make_file(tmp_path):
    """Return a function that writes a file in a source's layout and gives it with its counts."""

    def make(name, *, form=sparse.csr_matrix, **columns):
        values = {**OBS[name], **columns}
        obs = pd.DataFrame(
            {column: np.resize(np.array(v, dtype=object), CELLS) for column, v in values.items()},
            index=[f"{i:03d}-1" for i in range(CELLS)],
        )
        for column, v in values.items():
            numeric = not any(isinstance(item, str) for item in v)
            obs[column] = obs[column].astype(float if numeric else "category")
        rng = np.random.default_rng(0)
        counts = rng.poisson(rng.uniform(0.5, 4, GENES), (CELLS, GENES)).astype(np.float32) + 1
        adata = anndata.AnnData(form(counts), obs, pd.DataFrame(index=genes("ENSG", GENES)))
        adata.obsm["X_pca"] = np.zeros((CELLS, 2))
        if name == "luca":
            adata.var["feature_name"] = pd.Categorical(genes("SYMBOL", GENES))
            adata.raw = adata.copy()
            adata = adata[:, :5].copy()
            adata.X = adata.X.log1p()
        path = tmp_path / f"{name}.h5ad"
        adata.write_h5ad(path)
        return path, counts, obs

    return make


def genes(prefix, n):
    return [f"{prefix}{i}" for i in range(n)]


def one_line(call, *args, **options):
    with pytest.raises(UsageError) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def expected_rows(name, obs):
    return np.flatnonzero(obs["perturbation"].notna()) if name == "sciplex_2020" else slice(None)


def test_every_layout_is_tested():
    assert set(OBS) == set(catalogue_names())


@pytest.mark.parametrize("name", OBS)
def test_a_file_in_the_documented_layout_becomes_the_common_schema(make_file, name):
    path, counts, obs = make_file(name)
    adata = load_source(find_source(name), path)
    rows = expected_rows(name, obs)
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), counts[rows])
    np.testing.assert_array_equal(adata.obs["total_counts"], counts[rows].sum(axis=1))
    scaled = np.log1p(counts[rows] / counts[rows].sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(adata.X.toarray(), scaled, rtol=1e-5)
    assert list(adata.obs_names) == list(obs.index[rows])
    assert list(adata.var_names) == genes("SYMBOL" if name == "luca" else "ENSG", GENES)
    assert adata.uns["control"] in set(adata.obs["perturbation"])
    assert adata.obs["cell_type"].notna().all()
    assert ("condition" in adata.obs) == (name != "norman_2019")


@pytest.mark.parametrize("name", sorted(set(OBS) - {"norman_2019", "sciplex_2020"}))
def test_labels_are_those_of_the_file(make_file, name):
    path, _, obs = make_file(name)
    layout = find_source(name).layout
    adata = load_source(find_source(name), path)
    for ours, theirs in (
        ("perturbation", layout.perturbation),
        ("cell_type", layout.cell_type),
        ("condition", layout.condition),
    ):
        assert list(adata.obs[ours]) == list(obs[theirs])
    assert adata.uns["parts"] == {}


def test_cells_without_a_type_are_called_unknown(make_file):
    path, _, _ = make_file("kang_2018", cell_type=["B cells", None])
    adata = load_source(find_source("kang_2018"), path)
    assert list(adata.obs["cell_type"][:2]) == ["B cells", "unknown"]


def test_combinations_name_their_parts(make_file):
    adata = load_source(find_source("norman_2019"), make_file("norman_2019")[0])
    assert adata.uns["parts"] == {"CEBPA_CEBPB": ["CEBPA", "CEBPB"]}
    assert set(adata.obs["cell_type"]) == {"K562"}


def test_labels_of_one_combination_become_one(make_file):
    ways = ["control", "CEBPA", "CEBPA_control", "CEBPB_CEBPA", "CEBPA_CEBPB"]
    adata = load_source(find_source("norman_2019"), make_file("norman_2019", perturbation=ways)[0])
    one = ["control", "CEBPA", "CEBPA", "CEBPA_CEBPB", "CEBPA_CEBPB"]
    assert list(adata.obs["perturbation"][:5]) == one
    assert adata.uns["parts"] == {"CEBPA_CEBPB": ["CEBPA", "CEBPB"]}


def test_a_dose_is_part_of_the_label(make_file):
    path, _, obs = make_file("sciplex_2020", time=[24.0, 24.0, 24.0, np.nan, 24.0, 72.0, 24.0, 24])
    adata = load_source(find_source("sciplex_2020"), path)
    assert set(adata.obs["perturbation"]) == {"control", "Trametinib 10 nM", "Dacinostat 10000 nM"}
    kept = obs[obs["perturbation"].notna() & (obs["time"] == 24)]
    assert list(adata.obs_names) == list(kept.index)
    assert list(adata.obs["condition"]) == list(kept["replicate"])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_cells_are_drawn_by_seed_and_read_in_order(make_file, form):
    path, counts, obs = make_file("kang_2018", form=form)
    source = find_source("kang_2018")
    first, again, other = (load_source(source, path, cells=20, seed=s) for s in (0, 0, 1))
    assert list(first.obs_names) == list(again.obs_names) == sorted(first.obs_names)
    assert list(first.obs_names) != list(other.obs_names)
    rows = obs.index.get_indexer(first.obs_names)
    np.testing.assert_array_equal(first.layers["counts"].toarray(), counts[rows])
    assert load_source(source, path, cells=CELLS).n_obs == CELLS


def test_the_most_variable_genes_stay_in_order_and_the_library_is_of_all(make_file):
    path, counts, _ = make_file("kang_2018")
    adata = load_source(find_source("kang_2018"), path, genes=4)
    logs = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    best = np.sort(np.argsort(-logs.var(axis=0))[:4])
    assert list(adata.var_names) == [genes("ENSG", GENES)[i] for i in best]
    np.testing.assert_array_equal(adata.obs["total_counts"], counts.sum(axis=1))


def test_fractions_are_rounded_where_the_source_has_them(make_file):
    path, counts, _ = make_file("luca")
    with h5py.File(path, "r+") as file:
        file["raw/X/data"][...] = file["raw/X/data"][...] + np.float32(0.25)
    adata = load_source(find_source("luca"), path)
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), counts)


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        ("no column", ["no column label in obs", "expected the layout"]),
        ("no control", ["no cell has label = 'ctrl'", "labels: stim"]),
        ("fractions", ["values such as", "expected raw counts"]),
        ("empty cell", ["1 cells have no counts"]),
        ("cut", ["cannot be read"]),
    ],
)
def test_a_file_of_another_layout_is_refused(make_file, damage, parts):
    source = find_source("kang_2018")
    labels = ["stim"] if damage == "no control" else ["ctrl", "stim"]
    path, _, _ = make_file("kang_2018", form=np.asarray, label=labels)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:2000])
    else:
        with h5py.File(path, "r+") as file:
            if damage == "no column":
                file["obs"].move("label", "labels")
            elif damage == "fractions":
                file["X"][...] = np.log1p(file["X"][...])
            elif damage == "empty cell":
                file["X"][3] = 0
    message = one_line(load_source, source, path)
    for part in (str(path), *parts):
        assert part in message


def test_missing_places_are_named(make_file):
    path, _, _ = make_file("kang_2018")
    source = find_source("kang_2018")
    other = replace(source, layout=replace(source.layout, counts="layers/counts"))
    assert "no matrix layers/counts" in one_line(load_source, other, path)
    other = replace(source, layout=replace(source.layout, genes="symbol"))
    assert "no column symbol in var" in one_line(load_source, other, path)


def test_files_of_older_anndata_keep_their_labels(make_file):
    path, _, obs = make_file("kang_2018")
    with h5py.File(path, "r+") as file:
        group = file["obs"]
        group.attrs["encoding-version"] = "0.1.0"
        for name in OBS["kang_2018"]:
            new = group[name]
            categories, codes = new["categories"][...], new["codes"][...]
            del group[name]
            group[f"__categories/{name}"] = categories
            group[name] = codes
            group[name].attrs["categories"] = group[f"__categories/{name}"].ref
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adata = load_source(find_source("kang_2018"), path)
    assert list(adata.obs["perturbation"]) == list(obs["label"])
    assert list(adata.obs["condition"]) == list(obs["replicate"])
    assert list(adata.obs_names) == list(obs.index)


def test_real_stimulated_cells():
    """The local file has the cells of the catalogue's, in other columns."""
    source, path = find_source("kang_2018"), data_file("kang_ifnb_counts.h5ad")
    columns = {"perturbation": "condition", "cell_type": "cell_type_transferred"}
    layout = replace(source.layout, condition="donor", **columns)
    adata = load_source(replace(source, layout=layout), path, cells=500, genes=300)
    assert adata.shape == (500, 300)
    file = anndata.read_h5ad(path)[adata.obs_names]
    np.testing.assert_array_equal(
        adata.layers["counts"].toarray(), file[:, adata.var_names].X.toarray()
    )
    np.testing.assert_array_equal(adata.obs["total_counts"], file.X.sum(axis=1).A1)
    assert list(adata.obs["perturbation"]) == list(file.obs["condition"])
    stimulated = np.asarray(adata.obs["perturbation"] == "stim")
    isg15 = adata[:, "ISG15"].X.toarray().ravel()
    assert isg15[stimulated].mean() > isg15[~stimulated].mean() + 1


@pytest.mark.parametrize("name", catalogue_names())
def test_entries_say_what_a_user_needs(name):
    source = read_catalogue()[name]
    assert re.fullmatch(r"[a-z0-9_]+", name)
    assert re.fullmatch(r"10\.\d{4,5}/\S+", source.doi)
    assert source.page.startswith("https://")
    assert source.licence
    assert source.title
    assert source.citation
    assert bool(source.url) != bool(source.by_hand)
    if source.url:
        assert source.url.startswith("https://")
        assert source.size
    if source.checksum:
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", source.checksum)


def test_an_unknown_name_gets_a_hint():
    assert "did you mean norman_2019?" in one_line(find_source, "norman2019")
