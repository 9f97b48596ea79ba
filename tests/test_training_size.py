"""The study of training-set size: its draws, its errors, its intervals, its tables and picture."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA as SklearnPCA

from reconeval.benchmarks import training_size
from reconeval.benchmarks.training_size import Result, difference, load, part_of, read, study
from reconeval.benchmarks.training_size_report import score_table, training_table, write_plot
from reconeval.datasets import load_dataset, make_split
from reconeval.errors import UsageError
from tests.conftest import data_file

CHEAP = ("PCA-10=models:ReconPCA?n_components=2", "Mean=models:Mean")
RESULT = Result(
    dataset="immune",
    model="PCA-10",
    n_train=30,
    seed=0,
    mse=0.5,
    of_cells=(0.4, 0.6),
    train_mse=0.3,
    epochs=0,
    best_epoch=0,
    losses=(),
)


@given(
    n_cells=st.integers(1, 60),
    sizes=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    seed=st.integers(0, 5),
)
def test_fewer_cells_are_a_part_of_more(n_cells, sizes, seed):
    train = np.arange(100, 100 + n_cells)
    fewer, more = (part_of(train, n, seed) for n in sorted(sizes))
    assert list(fewer) == list(more[: len(fewer)])
    assert len(set(more)) == min(max(sizes), n_cells)
    assert set(more) <= set(train)


def test_seeds_draw_other_cells():
    train = np.arange(600)
    assert set(part_of(train, 100, 0)) != set(part_of(train, 100, 1))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A file of results and the results, of two cheap models."""
    path = tmp_path_factory.mktemp("study") / "results.jsonl"
    return path, study(load("immune"), (30, 60), (0, 1), models=CHEAP, keep=path)


def test_errors_are_those_of_plain_calls(kept):
    dataset = load_dataset("immune")
    split = make_split(dataset, "iid")
    test = dataset.X[split.test].astype(np.float64)
    for result in kept[1]:
        train = dataset.X[part_of(split.train, result.n_train, result.seed)].astype(np.float64)
        if result.model == "Mean":
            of = {"train": train.mean(axis=0), "test": train.mean(axis=0)}
        else:
            pca = SklearnPCA(2, svd_solver="full").fit(train)
            of = {"train": pca.inverse_transform(pca.transform(train))}
            of["test"] = pca.inverse_transform(pca.transform(test))
        cells = ((test - of["test"]) ** 2).mean(axis=1)
        np.testing.assert_allclose(result.of_cells, cells, rtol=1e-4)
        assert result.mse == pytest.approx(cells.mean(), rel=1e-4)
        assert result.train_mse == pytest.approx(((train - of["train"]) ** 2).mean(), rel=1e-4)
        assert (result.epochs, result.best_epoch, result.losses) == (0, 0, ())


def test_what_is_kept_is_not_trained_again(kept, monkeypatch):
    path, results = kept
    assert [one.key for one in read(path)] == [one.key for one in results]

    def train_again(*args):
        raise AssertionError(args)

    monkeypatch.setattr(training_size, "measure", train_again)
    again = study(load("immune"), (30, 60), (0, 1), models=CHEAP, keep=path)
    assert [one.mse for one in again] == [one.mse for one in results]
    with pytest.raises(AssertionError):
        study(load("immune"), (30,), (2,), models=CHEAP, keep=path)


def test_losses_of_an_autoencoder():
    models = ("AE-10=models:ReconAE?n_latent=4&train.max_epochs=3",)
    (result,) = study(load("immune"), (40,), (0,), models=models)
    assert result.epochs == len(result.losses) == 3
    assert result.losses[result.best_epoch - 1] == min(result.losses)


@pytest.mark.skipif(
    importlib.util.find_spec("scvi") is None,
    reason="needs scvi-tools: pip install 'reconeval[scvi]'",
)
def test_losses_of_a_model_of_scvi_tools():
    models = ("nlscVI-10=models:ReconNLSCVI?n_latent=4&train.max_epochs=2",)
    (result,) = study(load("immune"), (40,), (0,), models=models)
    assert result.epochs == 2
    assert np.isfinite(result.losses).all()


def test_a_model_that_breaks_is_named():
    models = ("PCA-10=models:ReconPCA?n_components=50",)
    with pytest.raises(RuntimeError, match="n_components=50 is more than 30 cells"):
        study(load("immune"), (30,), (0,), models=models)


def paired(gaps):
    """Results of two models that differ by an array of shape (n_seeds, n_cells)."""
    base = np.linspace(0.5, 1, gaps.shape[1])
    return [
        replace(RESULT, model=model, seed=seed, of_cells=tuple(cells))
        for seed, row in enumerate(gaps)
        for model, cells in (("AE-10", base + row), ("PCA-10", base))
    ]


def test_interval_over_cells():
    rng = np.random.default_rng(0)
    gaps = np.tile(rng.normal(0.02, 0.1, 400), (3, 1))  # seeds that do not differ
    mean, low, high = difference(paired(gaps), "AE-10")
    assert mean == pytest.approx(gaps.mean())
    half = 1.96 * gaps[0].std() / np.sqrt(400)
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_interval_over_seeds():
    gaps = np.repeat([[-0.1], [0.0], [0.4]], 50, axis=1)  # cells that do not differ
    mean, low, high = difference(paired(gaps), "AE-10")
    assert mean == pytest.approx(0.1)
    # One seed three times has the chance 1/27, above 2.5 %.
    assert (low, high) == (pytest.approx(-0.1), pytest.approx(0.4))


def test_seeds_are_paired_whatever_their_order():
    rng = np.random.default_rng(1)
    results = paired(rng.normal(size=(3, 20)))
    assert difference(results[::-1], "AE-10") == difference(results, "AE-10")


def test_tables():
    results = [
        *(replace(RESULT, model="PCA-10", seed=seed, mse=0.5) for seed in (0, 1)),
        replace(RESULT, model="AE-10", mse=0.6, of_cells=(0.5, 0.7), epochs=9, best_epoch=4),
        replace(RESULT, model="AE-10", mse=0.8, of_cells=(0.5, 0.7), epochs=7, seed=1),
    ]
    first = score_table(results).splitlines()
    assert first[0] == "| dataset | cells | PCA-10 | AE-10 | AE-10 minus PCA-10 |"
    assert first[2] == (
        "| immune | 30 | 0.5000 (0.5000 to 0.5000) | 0.7000 (0.6000 to 0.8000) | "
        "+0.1000 (+0.1000 to +0.1000) |"
    )
    second = training_table(results).splitlines()
    assert second[2] == "| immune | 30 | PCA-10 | 0.3000 | 0.5000 | 0.2000 | - | - |"
    assert second[3] == "| immune | 30 | AE-10 | 0.3000 | 0.7000 | 0.4000 | 7 to 9 | 0 to 4 |"


def test_plot(kept, tmp_path):
    paths = [tmp_path / name for name in ("one.svg", "two.svg")]
    for path in paths:
        write_plot(kept[1], path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    texts = {"".join(node.itertext()) for node in ET.parse(paths[0]).iter()}
    assert {"immune/iid", "PCA-10", "Mean", "30", "60", "training cells"} <= texts


def test_results_survive_the_file(kept):
    path, results = kept
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(results) == 8
    assert json.loads(lines[0])["model"] == "PCA-10"
    assert read(path.with_name("none.jsonl")) == []


@pytest.mark.parametrize("name", ["kang_ifnb", "kang_2018"])
def test_data_that_are_not_there(name, monkeypatch, tmp_path):
    monkeypatch.setenv("RECONEVAL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RECONEVAL_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match=name):
        load(name)


def test_an_unknown_dataset_is_refused_with_the_known():
    with pytest.raises(UsageError, match=r"dataset immun: .*did you mean immune"):
        load("immun")


def test_real_cells_of_kang(monkeypatch):
    path = data_file("kang_ifnb_counts.h5ad")
    monkeypatch.setenv("RECONEVAL_DATA_DIR", str(path.parent))
    dataset = load("kang_ifnb")
    assert dataset.adata.shape == (2000, 2000)
    assert dataset.counts is not None
    assert set(dataset.adata.obs["perturbation"]) == {"ctrl", "stim"}
    assert len(make_split(dataset, "iid").train) == max(training_size.SIZES["kang_ifnb"])


def test_the_fetched_cells_of_kang_are_scored_like_others(monkeypatch):
    """As `load_fetched` gives them; the source's own file is too large for a test."""
    path = data_file("kang_ifnb_counts.h5ad")
    monkeypatch.setenv("RECONEVAL_DATA_DIR", str(path.parent))
    cells = load("kang_ifnb").adata[:60].copy()

    def load_fetched(name, *, genes):
        assert (name, genes) == ("kang_2018", 2000)
        return cells

    monkeypatch.setattr(training_size, "load_fetched", load_fetched)
    monkeypatch.setattr(training_size, "fetched_path", lambda name: path)
    dataset = load("kang_2018")
    assert (dataset.name, len(dataset.sha256)) == ("kang_2018", 64)
    results = study(dataset, (20, 36), (0,), models=CHEAP)
    assert {one.dataset for one in results} == {"kang_2018"}
    assert [len(one.of_cells) for one in results] == [18] * 4
