"""`reconeval score` from the shell's side, on real cells."""

import errno
import json
import os
import pty
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from sklearn.decomposition import PCA

from reconeval.cli import main
from reconeval.datasets import load_dataset, make_split
from reconeval.metrics import METRICS, compute_all_metrics
from reconeval.rows import Row

QUICK = ["--metrics", "r2,mse,pathway"]
CONTROL = ["--reference", "control.h5ad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Truth, training, control and predicted cells as files; the prediction in another order."""
    path = tmp_path_factory.mktemp("score")
    dataset = load_dataset("immune")
    split = make_split(dataset, "iid")
    true, train = dataset.adata[split.test].copy(), dataset.adata[split.train[:60]].copy()
    control = dataset.adata[split.val].copy()
    pca = PCA(20, random_state=0).fit(train.X.toarray())
    for cells in (true, control):
        cells.obsm["X_pca"] = pca.transform(cells.X.toarray())
    pred = AnnData(
        pca.inverse_transform(true.obsm["X_pca"]).astype(np.float32),
        obs=true.obs[[]],
        var=true.var,
        obsm={"X_pca": true.obsm["X_pca"] + 0.1},
    )
    pred = pred[::-1, ::-1].copy()
    wide = control.copy()
    wide.obsm["X_pca"] = wide.obsm["X_pca"][:, :3]
    files = {"truth": true, "train": train, "control": control, "pred": pred, "wide": wide}
    for name, cells in files.items():
        cells.write_h5ad(path / f"{name}.h5ad")
    return path


@pytest.fixture(autouse=True)
def in_the_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


def values(out):
    """The table's lines by metric: value, direction and all the rest."""
    lines = [line.split() for line in out.splitlines()]
    return {line[0]: line[1:] for line in lines if line and line[0] in METRICS}


def refused(capsys, *arguments):
    assert main(["score", *map(str, arguments)]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("reconeval score: ")
    assert len(captured.err.splitlines()) == 1
    return captured.err


def test_every_metric_that_two_files_suffice_for(folder, capsys):
    assert main(["score", "truth.h5ad", "pred.h5ad"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "", "no progress bar where there is no terminal"
    expected = compute_all_metrics(read_h5ad("truth.h5ad"), read_h5ad("pred.h5ad"))
    table = values(captured.out)
    assert list(table) == list(expected)
    for name, (value, arrow, *_) in table.items():
        assert float(value) == pytest.approx(expected[name], rel=1e-3, abs=1e-6)
        assert arrow == METRICS[name].arrow
    left_out = [line for line in captured.out.splitlines() if line.startswith("left out")]
    assert any("for want of --train: energy_distance_pca" in line for line in left_out)
    assert any("--reference or --cell-type-key: deg_dice_at_50" in line for line in left_out)
    named = {name for line in left_out for name in line.partition(": ")[2].split(", ")}
    assert named | set(table) == set(METRICS), "each metric is scored or said to be left out"


def test_reference_training_cells_and_embedding_add_metrics(folder, capsys):
    files = ["truth.h5ad", "pred.h5ad", "--reference", "control.h5ad", "--train", "train.h5ad"]
    assert main(["score", *files, "--embedding", "X_pca", "--out", "s.json"]) == 0
    out = capsys.readouterr().out
    table = values(out)
    assert {"c2st_auc", "deg_dice_at_100", "knn_purity", "relative_distance"} <= set(table)
    assert table["discrimination_l1"][0] == "undefined"
    assert "the only perturbation there is" in out
    rows = {row["metric"]: row for row in json.loads((folder / "s.json").read_text())["rows"]}
    numbers = {"de_n_significant_true", "de_n_significant_pred"}
    assert rows.keys() == table.keys() | numbers
    cells = [read_h5ad(f"{name}.h5ad") for name in ("truth", "pred", "control")]
    found = compute_all_metrics(*cells, metrics=["de_pr_auc"])
    for name in numbers:
        line = next(line.split() for line in out.splitlines() if line.startswith(name))
        assert line == [name, f"{found[name]:.4g}"], "neither direction is better"
        assert rows[name]["value"] == found[name]
        assert rows[name]["higher_is_better"] is None
    assert rows["discrimination_l1"]["value"] is None
    assert "the only perturbation" in rows["discrimination_l1"]["reason"]
    options = {"adata_train": read_h5ad("train.h5ad"), "use_rep": "X_pca"}
    names = ["c2st_auc", "deg_dice_at_100", "knn_purity"]
    cells = [read_h5ad(f"{name}.h5ad") for name in ("truth", "pred", "control")]
    expected = compute_all_metrics(*cells, metrics=names, **options)
    assert {name: rows[name]["value"] for name in names} == pytest.approx(expected)
    in_genes = compute_all_metrics(*cells, metrics=["knn_purity"])
    assert in_genes["knn_purity"] != expected["knn_purity"]


def test_perturbations_by_their_labels(tmp_path, capsys):
    rng = np.random.default_rng(0)

    def write(name, labels):
        shift = {"a": np.arange(30) < 5, "b": np.arange(30) > 24}
        X = np.concatenate([rng.random((30, 30)) + 3 * shift.get(one, 0) for one in labels])
        obs = pd.DataFrame({"drug": np.repeat(labels, 30)}, index=[f"c{i}" for i in range(len(X))])
        AnnData(X, obs=obs).write_h5ad(tmp_path / name)
        return str(tmp_path / name)

    truth, pred = write("truth.h5ad", ["a", "b"]), write("pred.h5ad", ["a", "b"])
    more = ["--reference", write("ctrl.h5ad", ["dmso"])]
    more += ["--train", write("train.h5ad", ["dmso", "a", "b", "c"]), "--control", "dmso"]
    family = ["--perturbation-key", "drug", "--metric-family", "perturbational"]
    assert main(["score", truth, pred, *more, *family]) == 0
    out = capsys.readouterr().out
    table = values(out)
    in_genes = {name: one for name, one in METRICS.items() if "latent" not in one.needs}
    assert set(table) == {name for name, one in in_genes.items() if one.family == "perturbational"}
    assert float(table["discrimination_l1"][0]) == 1
    assert float(table["pearson_delta_pert"][0]) > 0.9
    # The label of the controls is that of training cells.
    wrong = [*more[:-1], "vehicle", *family]
    message = refused(capsys, truth, pred, *wrong)
    assert f"--control vehicle: no cell of {tmp_path / 'train.h5ad'} has that label" in message
    assert "(it has a, b, c, dmso)" in message
    bare = write("bare.h5ad", ["a", "b", "c"])
    without = ["--reference", more[1], "--train", bare, "--control", "", *family]
    assert main(["score", truth, pred, *without]) == 0
    assert values(capsys.readouterr().out).keys() == table.keys()


def test_the_targeted_gene_is_left_out(tmp_path, capsys):
    """Of perturbation a only the change of its target is predicted, and that earns nothing."""
    rng = np.random.default_rng(0)

    def write(name, labels, shifts):
        X = np.concatenate([rng.random((30, 30)) for _ in labels])
        for number, gene in enumerate(shifts):
            X[30 * number : 30 * number + 30, gene] += 6
        obs = pd.DataFrame({"drug": np.repeat(labels, 30)}, index=[f"c{i}" for i in range(len(X))])
        X[:30, 10] += 9 * (name == "truth.h5ad")
        AnnData(X, obs=obs).write_h5ad(tmp_path / name)
        return str(tmp_path / name)

    truth = write("truth.h5ad", ["a", "b", "c", "d"], range(4))
    pred = write("pred.h5ad", ["a", "b", "c", "d"], range(4))
    options = ["--reference", write("ctrl.h5ad", ["dmso"], []), "--perturbation-key", "drug"]
    options += ["--metrics", "discrimination_l1", "--out", str(tmp_path / "s.csv")]

    def value(*more):
        assert main(["score", truth, pred, *options, *more]) == 0
        capsys.readouterr()
        return pd.read_csv(tmp_path / "s.csv")["value"][0]

    table = tmp_path / "targets.csv"
    table.write_text("perturbation,gene\na,0\nb,1\nc,2\nd,3\nelse,GENE\n")
    targets = {"a": "0", "b": "1", "c": "2", "d": "3"}
    cells = [read_h5ad(tmp_path / f"{name}.h5ad") for name in ("truth", "pred", "ctrl")]
    expected = compute_all_metrics(
        *cells, perturbation_key="drug", targets=targets, metrics=["discrimination_l1"]
    )["discrimination_l1"]
    assert value() == 1
    assert value("--targets", str(table)) == expected < 1
    for text, part in (
        ("perturbation,gene\na,0\na,1\n", "a has more than one gene"),
        ("perturbation,gene\nx,0\n", "names none of the perturbations of"),
        ("perturbation,gene\na,G7\n", "names none of the genes of"),
        ("perturbation,target\na,0\n", "no column gene"),
        ("perturbation,gene\na,0,1\n", "1 of 1 rows have other than the 2 fields"),
    ):
        table.write_text(text)
        assert part in refused(capsys, truth, pred, *options, "--targets", table)


def test_numbers_as_names_in_another_order(tmp_path, capsys):
    rng = np.random.default_rng(0)
    cells = AnnData(rng.random((30, 30)))
    cells.write_h5ad(tmp_path / "truth.h5ad")
    cells[rng.permutation(30)].copy().write_h5ad(tmp_path / "pred.h5ad")
    message = refused(capsys, tmp_path / "truth.h5ad", tmp_path / "pred.h5ad")
    assert "numbers from 0 to 29 as obs_names, in another order" in message
    assert "give the cells names" in message


def test_a_full_disk_is_one_line(folder, capsys, tmp_path, monkeypatch):
    """However it comes, before scoring or after."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "scores.json"
    assert main(["score", "truth.h5ad", "pred.h5ad", *QUICK, "--out", str(path)]) == 4
    error = capsys.readouterr().err
    assert f"--out {path}: cannot be written there (No space left on device)" in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet"])
def test_rows_are_written_with_where_they_come_from(folder, tmp_path, suffix, capsys):
    path = tmp_path / f"scores{suffix}"
    path.write_text("an earlier file")
    assert main(["score", "truth.h5ad", "pred.h5ad", *QUICK, "--out", str(path)]) == 0
    assert f"scores written to {path}" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    if suffix == ".json":
        document = json.loads(path.read_text())
        records, run = document["rows"], document["run"]
        from reconeval.datasets.manifest import sha256_of

        digests = {name: sha256_of(folder / f"{name}.h5ad") for name in ("truth", "pred")}
        assert run["files"]["truth"] == {"path": "truth.h5ad", "sha256": digests["truth"]}
        assert run["files"]["prediction"]["sha256"] == digests["pred"]
        assert records[0]["dataset_sha256"] == digests["truth"]
        assert {"versions", "machine", "start", "duration", "command"} <= run.keys()
        assert [Row.from_dict(record).metric for record in records] == QUICK[1].split(",")
    else:
        table = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
        assert list(table["metric"]) == QUICK[1].split(",")
        assert list(table["model"]) == ["pred"] * 3
        assert list(table["dataset"]) == ["truth"] * 3
        assert table["value"].between(0, 1).all()


def test_families_choose(folder, capsys):
    assert main(["score", "truth.h5ad", "pred.h5ad", "--metric-family", "biological"]) == 0
    assert {METRICS[name].family for name in values(capsys.readouterr().out)} == {"biological"}


def test_genes_and_cells_that_do_not_fit(folder, capsys, tmp_path):
    pred = read_h5ad("pred.h5ad")
    pred[:, 3:].copy().write_h5ad(tmp_path / "genes.h5ad")
    message = refused(capsys, "truth.h5ad", tmp_path / "genes.h5ad")
    gone = pred.var_names[:3]
    assert "adata_pred lacks 3 of the" in message
    assert all(gene in message for gene in gone)
    assert f"adata_pred is {tmp_path / 'genes.h5ad'}" in message
    assert "adata_true is truth.h5ad" in message
    pred[5:].copy().write_h5ad(tmp_path / "cells.h5ad")
    message = refused(capsys, "truth.h5ad", tmp_path / "cells.h5ad")
    assert f"adata_pred has {pred.n_obs - 5} of the {pred.n_obs} cells" in message
    assert pred.obs_names[4] in message


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (np.expm1, "too high for a logarithm"),
        (np.rint, "holds whole numbers"),
        (lambda X: np.where(X < 0, np.nan, X), "NaN or infinite values"),
        (np.zeros_like, "holds only zeros"),
    ],
)
def test_a_prediction_on_another_scale(folder, capsys, tmp_path, change, part):
    pred = read_h5ad("pred.h5ad")
    pred.X = change(pred.X * 2)
    pred.write_h5ad(tmp_path / "other.h5ad")
    message = refused(capsys, "truth.h5ad", tmp_path / "other.h5ad")
    assert part in message
    assert "--counts-layer" not in message


def test_only_a_prediction_may_be_negative(folder, capsys):
    assert read_h5ad("pred.h5ad").X.min() < 0
    message = refused(capsys, "pred.h5ad", "truth.h5ad")
    assert "pred.h5ad: X has negative values" in message


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["pred.h5ad", "--metrics", "r2,pathwy"], "unknown metric 'pathwy'; did you mean pathway?"),
        (["pred.h5ad", "--metrics", "knn_purity"], "knn_purity: needs --reference"),
        (["pred.h5ad", "--metrics", "c2st_auc"], "c2st_auc: needs --train"),
        (["pred.h5ad", "--metrics", "deg_dice_at_50"], "needs --reference or --cell-type-key"),
        (["pred.h5ad", "--metric-family", "biology"], "did you mean biological?"),
        (["pred.h5ad", *QUICK, "--metric-family", "perturbational"], "no metric is in both"),
        (["pred.h5ad", "--metric-family", "perturbational"], "needs --reference"),
        (["pred.h5ad", "--metrics", ","], "--metrics ,: names nothing"),
        (["pred.h5ad", "--metric-family", " "], "--metric-family  : names nothing"),
        (["pred.h5ad", "--embedding", "X_pca"], "--embedding X_pca: needs --reference FILE"),
        (["pred.h5ad", "--covariate-key", "cell_type"], "--covariate-key cell_type: needs --ref"),
        (
            ["pred.h5ad", *CONTROL, "--embedding", "X_fm"],
            "--embedding X_fm: truth.h5ad has no such obsm (it has X_pca)",
        ),
        (
            ["pred.h5ad", "--reference", "wide.h5ad", "--embedding", "X_pca"],
            "--embedding X_pca: wide.h5ad has 3 columns there, expected the 20 columns of truth",
        ),
        (["pred.h5ad", "--cell-type-key", "kind"], "truth.h5ad: --cell-type-key kind: no such"),
        (
            ["pred.h5ad", *CONTROL, "--perturbation-key", "drug"],
            "truth.h5ad: --perturbation-key drug: no such column",
        ),
        (
            ["pred.h5ad", *CONTROL, "--targets", "targets.csv"],
            "--targets targets.csv: needs --perturbation-key",
        ),
        (["pred.h5ad", "--seed", "-1"], "argument --seed: '-1' is no seed, expected a whole"),
        (["pred.h5ad", "--seed", "1.5"], "'1.5' is no seed"),
        (["pred.h5ad", "--out", "/proc/x.json"], "--out /proc/x.json: cannot be written there"),
        (["pred.h5ad", "--device", "tpu"], "device 'tpu', expected 'cpu'"),
        (["pred.h5ad", "--out", "scores.txt"], "--out scores.txt: unknown ending '.txt'"),
        (["pred.h5ad", "--out", "no/scores.csv"], "does not exist"),
        (["nowhere.h5ad"], "nowhere.h5ad: no such file"),
        ([__file__], "not an HDF5 file"),
    ],
)
def test_bad_use_is_one_line_and_exit_code_4(folder, capsys, arguments, part):
    assert part in refused(capsys, "truth.h5ad", *arguments)


def test_a_missing_argument_is_bad_use(capsys):
    assert main(["score", "truth.h5ad"]) == 4
    assert "prediction" in capsys.readouterr().err


def test_a_terminal_shows_progress_and_the_table_alone_is_left(folder):
    """On a real terminal of its own; the table goes to standard output."""
    reading, terminal = pty.openpty()
    command = [sys.executable, "-m", "reconeval.cli", "score", "truth.h5ad", "pred.h5ad", *QUICK]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=terminal, env=environment, check=True, timeout=120
    )
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(reading, 65536):
            shown += chunk
    except OSError:  # how Linux says that the terminal was closed
        pass
    os.close(reading)
    assert b"pathway" in shown
    assert list(values(done.stdout.decode())) == QUICK[1].split(",")
    assert b"\x1b" not in done.stdout
