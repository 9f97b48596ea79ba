from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest

from reconeval import cli
from reconeval.datasets import (
    dataset_id,
    dataset_names,
    load_dataset,
    make_split,
    manifest,
    perturbation_dataset_names,
)
from reconeval.errors import UsageError
from reconeval.resources import (
    load_cell_cycle_genes,
    load_cytokine_programmes,
    load_progeny,
    read_gmt,
)

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
needs_sources = pytest.mark.skipif(
    not (SHARED / "data" / "immune_counts.h5ad").is_file(),
    reason="the source files lie in ../shared/data, which this checkout does not have beside it",
)


@pytest.fixture
def broken_immune(tmp_path, monkeypatch):
    """A copy of the frozen files whose immune.h5ad a test may damage."""
    for path in manifest.FROZEN.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(manifest, "FROZEN", tmp_path)
    return tmp_path / "immune.h5ad"


def expressed_in_test(dataset, split_name):
    """Genes that 20 test cells express, as the gene-set metrics filter them."""
    test = make_split(dataset, split_name).test
    genes = np.asarray(dataset.genes)
    return set(genes[(dataset.X[test] > 0).sum(axis=0) >= 20])


def test_names_and_ids():
    assert dataset_names() == ("immune", "pbmc68k", "immune_batches")
    assert dataset_id("immune") == "immune"
    assert dataset_id("data/my cells (v2).h5ad") == "my_cells__v2_"
    assert dataset_id(Path("/a/b/Kang-8.1+x.h5ad")) == "Kang-8.1+x"
    assert dataset_id("elsewhere/immune.h5ad") == "user:immune"


@pytest.mark.parametrize("name", dataset_names())
def test_a_frozen_dataset_is_what_its_manifest_says(name):
    entry, dataset = manifest.read_manifest()[name], load_dataset(name)
    assert dataset.adata.shape == (entry.cells, entry.genes)
    assert len(set(dataset.cell_types)) == entry.cell_types
    sha256 = entry.cells_sha256 or entry.sha256
    assert (dataset.name, dataset.version, dataset.sha256) == (name, entry.version, sha256)
    assert len(set(dataset.genes)) == entry.genes
    assert set(entry.held_out) < set(dataset.cell_types)


@pytest.mark.parametrize("name", dataset_names())
def test_values_are_log1p_of_counts_per_10_000(name):
    dataset = load_dataset(name)
    counts, library = dataset.counts, dataset.library
    assert dataset.X.dtype == np.float32
    assert (counts >= 0).all()
    assert np.array_equal(counts, np.round(counts))
    assert (library >= counts.sum(axis=1)).all()
    expected = np.log1p(counts.astype(np.float64) / library[:, None] * 1e4)
    np.testing.assert_allclose(dataset.X, expected, rtol=1e-6)


@pytest.mark.parametrize("name", dataset_names())
def test_scanpy_normalises_to_the_same_values(name):
    import scanpy as sc

    dataset = load_dataset(name)
    rest = dataset.library - dataset.counts.sum(axis=1)
    # One more column stands for the genes that did not ship, so that the totals are the library.
    adata = anndata.AnnData(np.column_stack([dataset.counts, rest]))
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    np.testing.assert_allclose(dataset.X, adata.X[:, :-1], rtol=2e-5, atol=1e-6)


def test_a_frozen_dataset_is_loaded_once():
    assert load_dataset("pbmc68k") is load_dataset("pbmc68k")


def test_all_data_take_less_than_10_mb():
    folders = (manifest.FROZEN, ROOT / "reconeval" / "resources")
    files = [path for folder in folders for path in folder.iterdir() if path.suffix != ".py"]
    perturbed = [entry.path for entry in manifest.read_perturbation_manifest().values()]
    files = [path for path in files if path.is_file() and path not in perturbed]
    assert sum(path.stat().st_size for path in files) < 4e6
    assert sum(path.stat().st_size for path in perturbed) < 6e6


def test_every_cell_cycle_gene_of_the_source_is_there():
    s_genes, g2m_genes = load_cell_cycle_genes()
    genes = set(load_dataset("immune").genes)
    assert len(genes & set(s_genes)) == 26
    assert len(genes & set(g2m_genes)) == 38


@pytest.mark.parametrize("split_name", ["iid", "cell_type"])
def test_gene_set_metrics_have_enough_genes_on_immune(split_name):
    genes = expressed_in_test(load_dataset("immune"), split_name)
    s_genes, g2m_genes = load_cell_cycle_genes()
    assert len(genes & set(s_genes)) >= 5
    assert len(genes & set(g2m_genes)) >= 5
    assert sum(len(genes & set(members)) >= 5 for members in read_gmt().values()) >= 45
    progeny = load_progeny()
    assert progeny["source"].nunique() == 14
    for _, targets in progeny.groupby("source"):
        assert len(genes & set(targets["target"])) >= 25
    assert all(len(genes & set(members)) >= 5 for members in load_cytokine_programmes().values())


def test_marker_metrics_have_several_types_on_held_out_cells():
    for name in dataset_names():
        dataset = load_dataset(name)
        types = dataset.cell_types[make_split(dataset, "cell_type").test]
        assert (np.unique(types, return_counts=True)[1] >= 20).sum() >= 3


@needs_sources
def test_counts_and_library_are_those_of_the_source():
    for name, labels in (("immune", "cell_type_annotations"), ("pbmc68k", "bulk_labels")):
        dataset = load_dataset(name)
        source = anndata.read_h5ad(SHARED / "data" / f"{name}_counts.h5ad")
        assert np.array_equal(dataset.adata.obs_names, source.obs_names)
        assert np.array_equal(dataset.cell_types, source.obs[labels].astype(str))
        assert np.array_equal(dataset.counts, source[:, list(dataset.genes)].X.toarray())
        if name == "immune":
            assert np.array_equal(dataset.library, np.asarray(source.X.sum(axis=1)).ravel())
        else:
            assert np.array_equal(dataset.library, source.obs["n_counts"])


@needs_sources
def test_the_2000_most_variable_genes_are_there():
    source = anndata.read_h5ad(SHARED / "data" / "immune_counts.h5ad")
    counts = source.X.toarray().astype(np.float64)
    log1p = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
    order = np.argsort(-log1p.astype(np.float64).var(axis=0), kind="stable")[:2000]
    genes = load_dataset("immune").genes
    assert set(source.var_names[order]) <= set(genes)
    kept = source.var_names[source.var_names.isin(genes)]
    assert tuple(kept) == genes  # the order of the file


@needs_sources
def test_the_tool_makes_the_shipped_files_again(tmp_path):
    command = [sys.executable, ROOT / "tools" / "make_datasets.py", "--out", tmp_path]
    command += ["--source", SHARED / "data", "--resources", SHARED / "resources"]
    subprocess.run(command, check=True, capture_output=True)
    made = tomllib.loads((tmp_path / "MANIFEST.toml").read_text(encoding="utf-8"))
    shipped = tomllib.loads((manifest.FROZEN / "MANIFEST.toml").read_text(encoding="utf-8"))
    for name, table in shipped.items():
        # Other versions of HDF5 write other bytes; the content must be the same everywhere.
        assert made[name] | {"sha256": table["sha256"]} == table
        file = manifest.read_manifest()[name].file
        ours, theirs = (anndata.read_h5ad(folder / file) for folder in (manifest.FROZEN, tmp_path))
        assert (ours.layers["counts"] != theirs.layers["counts"]).nnz == 0
        assert ours.obs.equals(theirs.obs)
        assert ours.var_names.equals(theirs.var_names)


@needs_sources
def test_shipped_gene_sets_are_those_of_the_sources():
    for path in (SHARED / "resources").iterdir():
        if path.name != "README.md":
            shipped = ROOT / "reconeval" / "resources" / path.name
            assert shipped.read_bytes() == path.read_bytes()


def one_line_error(name_or_path, **options):
    with pytest.raises(UsageError) as caught:
        load_dataset(name_or_path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_name_names_the_nearest():
    message = one_line_error("imune")
    assert "did you mean immune?" in message
    assert "pbmc68k" in message


def test_options_for_a_user_file_are_refused_for_a_frozen_one():
    assert "--cell-type-key" in one_line_error("immune", cell_type_key="cell_type")


@pytest.mark.parametrize("damage", ["truncate", "edit", "remove"])
def test_a_damaged_frozen_file_is_refused(broken_immune, damage, capsys):
    content = broken_immune.read_bytes()
    if damage == "remove":
        broken_immune.unlink()
    else:
        edited = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
        broken_immune.write_bytes(content[: len(content) // 2] if damage == "truncate" else edited)
    with pytest.raises(UsageError, match=r"immune.*install reconeval again"):
        manifest.verify(manifest.read_manifest()["immune"])
    assert cli.main(["datasets", "verify"]) == 1
    out, err = capsys.readouterr()
    assert "pbmc68k 1: ok" in out
    assert [line.split()[1] for line in err.splitlines()] == ["immune:", "immune_batches:"]
    assert cli.main(["datasets", "list"]) == 0
    assert ("missing" in capsys.readouterr().out) == (damage == "remove")


def test_loading_checks_the_checksum(monkeypatch):
    from reconeval.datasets import loading

    entry = manifest.read_manifest()["pbmc68k"]
    wrong = {"pbmc68k": replace(entry, sha256="0" * 64)}
    monkeypatch.setattr(loading, "read_manifest", lambda: wrong)
    loading._load_frozen.cache_clear()
    assert "expected 000000000000..." in one_line_error("pbmc68k")


def test_list_has_a_line_per_dataset(capsys):
    assert cli.main(["datasets", "list"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    columns = ["name", "version", "cells", "genes", "types", "perturbations", "size", "licence"]
    assert header.split() == columns
    assert [line.split()[0] for line in lines] == [*dataset_names(), *perturbation_dataset_names()]
    assert lines[0].split()[2:5] == ["1000", "2296", "14"]


def test_list_and_ids_load_nothing_heavy():
    code = (
        "import sys, json; from reconeval import cli; cli.main(['datasets', 'list']);"
        "from reconeval.datasets import dataset_id; dataset_id('immune'); dataset_id('a.h5ad');"
        "print(json.dumps(sorted(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(json.loads(run.stdout.splitlines()[-1]))
    assert not loaded & {"anndata", "scanpy", "pandas", "scipy", "h5py", "sklearn", "torch"}


@pytest.mark.parametrize("name", dataset_names())
def test_describe_tells_source_terms_and_splits(name, capsys):
    assert cli.main(["datasets", "describe", name]) == 0
    out = capsys.readouterr().out
    entry = manifest.read_manifest()[name]
    for fact in (entry.source, entry.doi, entry.licence, entry.rule, str(entry.path)):
        assert fact in out
    test = make_split(load_dataset(name), "cell_type").test
    assert f"{len(test)} test; held out: {', '.join(entry.held_out)}" in out


@pytest.mark.parametrize("action", ["describe", "verify"])
@pytest.mark.parametrize(("name", "meant"), [("pbmc68", "pbmc68k"), ("kang_2019", "kang_2018")])
def test_an_unknown_name_is_bad_usage(action, name, meant, capsys):
    assert cli.main(["datasets", action, name]) == 4
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_verify_of_one_file(broken_immune, capsys):
    broken_immune.unlink()
    assert cli.main(["datasets", "verify", "pbmc68k"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("pbmc68k 1: ok")
    assert (out.count("\n"), err) == (1, "")
    assert cli.main(["datasets", "verify", "immune"]) == 1
