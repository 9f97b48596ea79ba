from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from reconeval import cli
from reconeval.datasets import (
    dataset_id,
    load_dataset,
    load_perturbation_dataset,
    make_perturbation_split,
    manifest,
    perturbation_dataset_names,
    perturbation_loading,
    perturbation_split_names,
)
from reconeval.datasets.immune_shift import CAP, true_effects
from reconeval.datasets.latent_synthetic import draw
from reconeval.errors import UsageError
from reconeval.resources import load_cytokine_programmes
from tests.conftest import data_file

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=perturbation_dataset_names())
def dataset(request):
    return load_perturbation_dataset(request.param)


@pytest.fixture
def immune_shift():
    return load_perturbation_dataset("immune_shift")


@pytest.fixture
def recipe(monkeypatch):
    """The script that made `immune_shift`."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    import immune_shift

    return immune_shift


def shift(values, of, control):
    return values[of].mean(axis=0) - values[control].mean(axis=0)


def test_a_frozen_dataset_is_what_its_manifest_says(dataset):
    entry = manifest.read_perturbation_manifest()[dataset.name]
    assert dataset.X.shape == (entry.cells, entry.genes)
    assert len(set(dataset.genes)) == entry.genes
    assert (dataset.version, dataset.sha256) == (entry.version, entry.sha256)
    assert len(dataset.descriptors) == entry.perturbations
    for labels, n in (
        (dataset.cell_types, entry.cell_types),
        (dataset.conditions, entry.conditions),
    ):
        assert (labels is None) == (n == 0)
        assert labels is None or len(set(labels)) == n


def test_shapes_types_and_labels_agree(dataset):
    n_cells, n_genes = dataset.X.shape
    assert dataset.X.dtype == dataset.embedding.dtype == np.float32
    assert dataset.embedding.shape[0] == dataset.perturbation.shape[0] == n_cells
    assert {*dataset.descriptors, dataset.control} == set(dataset.perturbation)
    lengths = {row.shape for row in dataset.descriptors.values()}
    assert len(lengths) == 1
    assert all(row.dtype == np.float32 for row in dataset.descriptors.values())
    decoded = dataset.decode(dataset.embedding[:7])
    assert decoded.shape == (7, n_genes)
    assert decoded.dtype == np.float32
    assert (decoded >= 0).all()
    np.testing.assert_allclose(dataset.decode(dataset.embedding[3:4]), decoded[3:4], atol=1e-5)
    assert load_perturbation_dataset(dataset.name) is dataset


def test_an_embedding_of_another_width_is_refused(dataset):
    with pytest.raises(UsageError, match=rf"expected {dataset.embedding.shape[1]}"):
        dataset.decode(dataset.embedding[:, :-1])


class TestLatentSynthetic:
    @pytest.fixture
    def dataset(self):
        return load_perturbation_dataset("latent_synthetic")

    def test_training_and_test_cells_are_those_of_the_published_recipe(self, dataset):
        """The recipe's draws in its order, in float32 throughout as it has them."""
        rng = np.random.default_rng(0)
        book = rng.standard_normal((5, 16)).astype(np.float32)
        matrix = (0.3 * rng.standard_normal((128, 16))).astype(np.float32)
        train, test = [], []
        for code in book:
            before = rng.standard_normal((500, 128)).astype(np.float32)
            noise = rng.standard_normal((500, 128)).astype(np.float32) * np.float32(0.1)
            after = before + matrix @ code + noise
            order = rng.permutation(500)
            test.append((before[order[:100]], after[order[:100]], np.tile(code, (100, 1))))
            train.append((before[order[100:]], after[order[100:]], np.tile(code, (400, 1))))
        split = make_perturbation_split(dataset, "iid", seed=7)
        for parts, rows, partner in (
            (train, split.train, split.train_partner),
            (test, split.test, split.test_partner),
        ):
            before, after, codes = (np.concatenate(part) for part in zip(*parts, strict=True))
            np.testing.assert_allclose(dataset.embedding[partner], before, atol=1e-6)
            np.testing.assert_allclose(dataset.embedding[rows], after, atol=3e-6)
            mine = [dataset.descriptors[name] for name in dataset.perturbation[rows]]
            np.testing.assert_array_equal(mine, codes)
        assert len(split.val) == 0

    def test_the_decoder_has_learnt_the_genes_of_the_recipe(self, dataset):
        # Its weights are the next draws after the cells.
        weights = draw().rng.standard_normal((128, 600)) / np.sqrt(128)
        test = make_perturbation_split(dataset, "iid").test
        expected = np.maximum(0, dataset.embedding[test] @ weights)
        error = np.mean((dataset.X[test] - expected) ** 2)
        assert error < 0.05 * np.var(expected)

    def test_numpy_decodes_as_torch_does(self, dataset):
        import torch
        from safetensors.torch import load_file

        entry = manifest.read_perturbation_manifest()["latent_synthetic"]
        layers = (torch.nn.Linear(128, 256), torch.nn.GELU(), torch.nn.Linear(256, 600))
        decoder = torch.nn.Sequential(*layers, torch.nn.ReLU())
        decoder.load_state_dict(load_file(entry.path))
        with torch.no_grad():
            expected = decoder(torch.tensor(dataset.embedding[::50])).numpy()
        np.testing.assert_allclose(dataset.X[::50], expected, atol=1e-5)

    def test_other_draws_are_refused(self, monkeypatch):
        from reconeval.datasets import latent_synthetic

        entry = manifest.read_perturbation_manifest()["latent_synthetic"]
        with pytest.raises(UsageError, match=r"NumPy .* draws cells .* expected 000000000000"):
            latent_synthetic.load(replace(entry, cells_sha256="0" * 64))


class TestImmuneShift:
    def test_there_are_combinations_donors_and_types_that_do_not_answer(self, immune_shift):
        assert len(immune_shift.descriptors) >= 12
        assert len(immune_shift.parts) >= 3
        assert set(immune_shift.conditions) == {"donor1", "donor2"}
        effects = true_effects()
        silent = {
            t
            for t in set(immune_shift.cell_types)
            if not any(effects[p, t, "donor1"].any() for p in immune_shift.descriptors)
        }
        assert silent == {"plasma"}
        for name, parts in immune_shift.parts.items():
            assert name == "+".join(parts)
            expected = sum(immune_shift.descriptors[part] for part in parts)
            np.testing.assert_allclose(immune_shift.descriptors[name], expected, atol=1e-6)

    def test_X_is_log1p_of_its_counts(self, immune_shift):
        entry = manifest.read_perturbation_manifest()["immune_shift"]
        library = anndata.read_h5ad(entry.path).obs["total_counts"].to_numpy()
        expected = np.log1p(immune_shift.counts.astype(np.float64) / library[:, None] * 1e4)
        np.testing.assert_allclose(immune_shift.X, expected, rtol=1e-6)
        assert (library >= immune_shift.counts.sum(axis=1)).all()

    def test_every_cell_is_a_measured_one_with_fewer_molecules(self, immune_shift):
        immune = load_dataset("immune")
        columns = [immune.genes.index(gene) for gene in immune_shift.genes]
        source = immune.counts[immune_shift.sources][:, columns]
        assert (immune_shift.counts <= source).all()
        assert (immune_shift.cell_types == immune.cell_types[immune_shift.sources]).all()
        assert immune_shift.partner is None
        control = immune_shift.perturbation == "control"
        assert not set(immune_shift.sources[control]) & set(immune_shift.sources[~control])
        assert len(set(immune_shift.sources[control])) == control.sum()

    def test_the_effects_are_those_that_the_counts_show(self, immune_shift):
        """The share of molecules kept, in treated cells over controls, is the fold change."""
        immune = load_dataset("immune")
        columns = [immune.genes.index(gene) for gene in immune_shift.genes]
        source = immune.counts[immune_shift.sources][:, columns]
        effects = true_effects()
        checked = 0
        for (name, cell_type, donor), effect in effects.items():
            mine = (immune_shift.cell_types == cell_type) & (immune_shift.conditions == donor)
            treated = mine & (immune_shift.perturbation == name)
            plain = mine & (immune_shift.perturbation == "control")
            kept, of = immune_shift.counts[treated].sum(axis=0), source[treated].sum(axis=0)
            kept0, of0 = immune_shift.counts[plain].sum(axis=0), source[plain].sum(axis=0)
            enough = (kept >= 20) & (kept0 >= 20)
            share, share0 = (kept / of.clip(1))[enough], (kept0 / of0.clip(1))[enough]
            # A share of a binomial; near 1 its deviation is hard to tell from few molecules.
            variance = (1 - share.clip(0, 0.9)) / kept[enough]
            variance += (1 - share0.clip(0, 0.9)) / kept0[enough]
            z = np.log(share / share0) - effect[enough] * np.log(2)
            assert np.abs(z / np.sqrt(variance)).max() < 6
            checked += int((np.abs(effect[enough]) > 0.5).sum())
        assert checked > 1000

    def test_genes_are_those_of_real_programmes(self, immune_shift):
        entry = manifest.read_perturbation_manifest()["immune_shift"]
        adata = anndata.read_h5ad(entry.path)
        shipped = load_cytokine_programmes()
        genes = np.asarray(immune_shift.genes)
        for k, programme in enumerate(adata.uns["programmes"]):
            mine = set(genes[adata.varm["programmes"][:, k] > 0])
            assert len(mine) >= 50
            assert mine <= set(shipped[programme])

    def test_effects_level_off_and_go_both_ways(self):
        effects = np.stack(list(true_effects().values()))
        assert effects.max() > 3
        assert effects.min() < -2
        assert np.abs(effects).max() < CAP

    def test_the_frozen_decoder_keeps_the_shifts(self, immune_shift):
        decoded = immune_shift.decode(immune_shift.embedding)
        control = immune_shift.perturbation == "control"
        kept = []
        for name in immune_shift.descriptors:
            mine = immune_shift.perturbation == name
            measured, back = (shift(v, mine, control) for v in (immune_shift.X, decoded))
            kept.append(pearsonr(measured, back)[0])
        assert np.mean(kept) > 0.78
        assert min(kept) > 0.7
        split = make_perturbation_split(immune_shift, "iid")
        assert immune_shift.for_split(split) is immune_shift

    def test_the_embedding_tells_no_control_from_another_sample(self, immune_shift):
        """Controls and perturbed cells of a type that answers nothing lie in one cloud."""
        plasma = immune_shift.cell_types == "plasma"
        control = immune_shift.perturbation == "control"
        norms = np.linalg.norm(immune_shift.embedding, axis=1)
        for donor in ("donor1", "donor2"):
            mine = plasma & (immune_shift.conditions == donor)
            ratio = norms[mine & control].mean() / norms[mine & ~control].mean()
            assert 0.75 < ratio < 1.33

    def test_held_out_perturbations_follow_from_their_descriptors(self, immune_shift):
        split = make_perturbation_split(immune_shift, "perturbation")
        control = immune_shift.perturbation == "control"
        names = np.asarray(list(immune_shift.descriptors))
        codes = np.stack(list(immune_shift.descriptors.values()))
        shifts = np.stack(
            [
                shift(immune_shift.embedding, immune_shift.perturbation == name, control)
                for name in names
            ]
        )
        held = np.isin(names, split.held_out)
        weights = np.linalg.lstsq(codes[~held], shifts[~held], rcond=None)[0]
        for code, true in zip(codes[held], shifts[held], strict=True):
            assert pearsonr(code @ weights, true)[0] > 0.85
            assert pearsonr(shifts[~held].mean(axis=0), true)[0] < 0.8

    def test_the_script_makes_the_shipped_cells_again(self, recipe):
        entry = manifest.read_perturbation_manifest()["immune_shift"]
        shipped, made = anndata.read_h5ad(entry.path), recipe.build()
        assert (made.layers["counts"] != shipped.layers["counts"]).nnz == 0
        assert made.obs.equals(shipped.obs)
        assert made.var_names.equals(shipped.var_names)
        for key in ("programmes", "center", "kept"):
            np.testing.assert_allclose(made.varm[key], shipped.varm[key], rtol=1e-5)
        # An axis may point the other way with another linear algebra.
        along = np.abs((made.varm["axes"] * shipped.varm["axes"]).sum(axis=0))
        np.testing.assert_allclose(along, 1, atol=1e-3)


class TestMyoblast:
    @pytest.fixture
    def dataset(self):
        return load_perturbation_dataset("myoblast")

    def test_values_are_log1p_of_fpkm_per_10_000(self, dataset):
        source = anndata.read_h5ad(data_file("myoblast_timecourse_fpkm.h5ad"))
        fpkm = source.X.toarray().astype(np.float64)
        expected = np.log1p(fpkm / fpkm.sum(axis=1, keepdims=True) * 1e4)
        columns = source.var_names.get_indexer(dataset.genes)
        np.testing.assert_allclose(dataset.X, expected[:, columns], rtol=1e-5, atol=1e-6)
        assert (dataset.perturbation == source.obs["condition"]).all()
        variable = np.argsort(-expected.var(axis=0), kind="stable")[:1000]
        assert set(source.var_names[variable]) <= set(dataset.genes)

    def test_descriptors_are_the_time_and_the_medium(self, dataset):
        assert dataset.control == "T0h"
        times = {name: row.tolist() for name, row in dataset.descriptors.items()}
        assert times["T72h"] == [1, 1]
        assert times["T24h"] == pytest.approx([1 / 3, 1])

    @pytest.mark.parametrize("name", ["iid", "perturbation"])
    def test_the_embedding_of_a_split_knows_no_test_cell(self, dataset, name):
        split = make_perturbation_split(dataset, name)
        fitted = dataset.for_split(split)
        other = dataset.X.copy()
        test = np.concatenate([split.test, split.test_controls, split.val])
        other[test] = np.random.default_rng(0).exponential(size=other[test].shape)
        rows = np.concatenate([split.train, split.train_controls])
        refit = dataset.refit.func
        embedding, decode = refit(rows, X=other)
        np.testing.assert_array_equal(embedding[rows], fitted.embedding[rows])
        np.testing.assert_array_equal(decode(embedding[rows]), fitted.decode(embedding[rows]))

    def test_the_decoder_keeps_the_shift_of_a_time_that_it_has_not_seen(self, dataset):
        split = make_perturbation_split(dataset, "perturbation")
        fitted = dataset.for_split(split)
        decoded = fitted.decode(fitted.embedding)
        measured, back = (shift(v, split.test, split.test_controls) for v in (dataset.X, decoded))
        assert pearsonr(measured, back)[0] > 0.8
        before = dataset.decode(dataset.embedding)
        assert pearsonr(measured, shift(before, split.test, split.test_controls))[0] < 0.7

    def test_muscle_genes_rise_and_the_cell_cycle_stops(self, dataset):
        hours = [int(name[1:-1]) for name in dataset.perturbation]
        for gene, sign in {"MYH3": 1, "ACTA1": 1, "MYL1": 1, "CCNB2": -1, "CDK1": -1}.items():
            rho = spearmanr(hours, dataset.X[:, dataset.genes.index(gene)])[0]
            assert sign * rho > 0.2


def test_commands_know_the_perturbation_data(capsys):
    assert cli.main(["datasets", "verify"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name} 1: ok" in out for name in perturbation_dataset_names())


def test_describe_tells_source_terms_and_splits(dataset, capsys):
    assert cli.main(["datasets", "describe", dataset.name]) == 0
    out = capsys.readouterr().out
    entry = manifest.read_perturbation_manifest()[dataset.name]
    for fact in (entry.source, entry.doi, entry.licence, entry.rule, str(entry.path)):
        assert fact in out
    for name in perturbation_split_names(dataset):
        split = make_perturbation_split(dataset, name)
        assert f"{len(split.test)} test" in out
        assert ", ".join(split.held_out) in out


def test_a_damaged_file_is_refused(monkeypatch):
    entry = manifest.read_perturbation_manifest()["myoblast"]
    wrong = {"myoblast": replace(entry, sha256="0" * 64)}
    monkeypatch.setattr(perturbation_loading, "read_perturbation_manifest", lambda: wrong)
    perturbation_loading._load_frozen.cache_clear()
    with pytest.raises(UsageError, match=r"expected 000000000000.*install reconeval again"):
        load_perturbation_dataset("myoblast")


def test_unknown_names_and_options_for_frozen_data_are_refused():
    with pytest.raises(UsageError, match=r"did you mean immune_shift\?"):
        load_perturbation_dataset("imune_shift")
    with pytest.raises(UsageError, match=r"--control.*leave it out"):
        load_perturbation_dataset("immune_shift", control="control")
    assert dataset_id("elsewhere/myoblast.h5ad") == "user:myoblast"
    assert dataset_id("myoblast") == "myoblast"


def test_names_load_nothing_heavy():
    code = (
        "import sys, json; from reconeval.datasets import *;"
        "perturbation_dataset_names(); perturbation_split_names('immune_shift');"
        "print(json.dumps(sorted(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(json.loads(run.stdout))
    assert not loaded & {"anndata", "scanpy", "pandas", "scipy", "h5py", "sklearn", "torch"}
