"""The batches that are made of `immune`: what was done to the counts, and nothing else."""

from __future__ import annotations

import anndata
import numpy as np
import pytest

from reconeval import cli
from reconeval.datasets import load_dataset, manifest
from reconeval.datasets.immune_batches import BATCHES, DEPTHS, QUERY_BATCHES, checksum, derive
from reconeval.errors import UsageError


@pytest.fixture(scope="module")
def immune():
    return load_dataset("immune")


@pytest.fixture(scope="module")
def batches():
    return load_dataset("immune_batches")


def rows_of(dataset, batch):
    return np.flatnonzero(dataset.adata.obs["batch"] == batch)


def test_it_is_what_the_manifest_says(batches):
    entry = manifest.read_manifest()["immune_batches"]
    assert batches.sha256 == entry.cells_sha256 == checksum(batches.adata)
    assert entry.query_batches == QUERY_BATCHES
    assert batches.batch_key == "batch"
    sizes = batches.adata.obs["batch"].value_counts(sort=False)
    assert dict(sizes) == {"b1": 300, "b2": 200, "b3": 300, "b4": 200}


def test_cells_genes_and_types_are_those_of_immune(immune, batches):
    assert batches.adata.obs_names.equals(immune.adata.obs_names)
    assert batches.genes == immune.genes
    assert np.array_equal(batches.cell_types, immune.cell_types)


def test_the_first_batch_is_as_measured_and_no_molecule_is_added(immune, batches):
    first = rows_of(batches, "b1")
    assert np.array_equal(batches.counts[first], immune.counts[first])
    assert np.array_equal(batches.library[first], immune.library[first])
    assert (batches.counts <= immune.counts).all()
    assert (batches.library <= immune.library).all()
    assert (batches.library >= batches.counts.sum(axis=1)).all()
    assert batches.library.min() >= 50


@pytest.mark.parametrize(("batch", "depth"), list(zip(BATCHES, DEPTHS, strict=True))[1:])
def test_a_batch_keeps_its_share_of_the_molecules(immune, batches, batch, depth):
    rows = rows_of(batches, batch)
    # Capture is 0.75 in the mean of all genes, which those with most molecules need not have.
    assert batches.library[rows].sum() / immune.library[rows].sum() == pytest.approx(
        0.75 * depth, rel=0.05
    )


@pytest.mark.parametrize(("batch", "depth"), list(zip(BATCHES, DEPTHS, strict=True))[1:])
def test_each_gene_is_captured_at_its_own_rate(immune, batches, batch, depth):
    rows = rows_of(batches, batch)
    measured, kept = immune.counts[rows].sum(axis=0), batches.counts[rows].sum(axis=0)
    common = measured > 200
    share = kept[common] / measured[common] / depth
    error = 4 * np.sqrt(0.25 / measured[common]) / depth
    assert (share > 0.5 - error).all()
    assert (share < 1 + error).all()
    assert share.std() == pytest.approx(np.sqrt(1 / 48), rel=0.2)  # of a uniform number
    # Half of the cells have the rate of the other half: it belongs to the gene, not to the cell.
    halves = [
        batches.counts[part].sum(axis=0)[common] / immune.counts[part].sum(axis=0)[common]
        for part in (rows[::2], rows[1::2])
    ]
    assert np.corrcoef(halves)[0, 1] > 0.8


def test_batches_have_the_same_cell_types(batches):
    for cell_type in set(batches.cell_types):
        here = batches.cell_types == cell_type
        for batch, share in zip(BATCHES, (0.3, 0.2, 0.3, 0.2), strict=True):
            found = (batches.adata.obs["batch"] == batch).to_numpy()[here].sum()
            assert abs(found - share * here.sum()) <= 2


def test_making_it_changes_nothing_and_repeats(immune):
    source = anndata.read_h5ad(manifest.read_manifest()["immune"].path)
    before = source.layers["counts"].copy()
    first, second = derive(source), derive(source)
    assert (source.layers["counts"] != before).nnz == 0
    assert list(source.obs) == ["cell_type", "total_counts"]
    assert checksum(first) == checksum(second)
    assert np.array_equal(source.layers["counts"].toarray(), immune.counts)


def test_other_cells_are_refused():
    source = anndata.read_h5ad(manifest.read_manifest()["immune"].path)
    source.layers["counts"].data[0] += 1
    entry = manifest.read_manifest()["immune_batches"]
    with pytest.raises(UsageError, match=r"^dataset immune_batches: NumPy .*another version"):
        derive(source, expected=entry.cells_sha256)


def test_the_command_line_knows_it(capsys):
    assert cli.main(["datasets", "describe", "immune_batches"]) == 0
    out = capsys.readouterr().out
    assert "b1 300, b2 200, b3 300, b4 200 cells; query: b3, b4" in out
    assert cli.main(["datasets", "verify", "immune_batches"]) == 0
    sha256 = manifest.read_manifest()["immune_batches"].cells_sha256
    assert f"immune_batches 1: ok (sha256 {sha256[:12]}...)" in capsys.readouterr().out
