"""The published calls on AnnData pairs."""

import inspect
import re
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csc_matrix, csr_matrix

import reconeval.metrics
from reconeval.errors import UndefinedMetricWarning, UsageError
from reconeval.metrics import (
    METRICS,
    aligned_pair,
    compute_statistical_metrics,
    energy_distance,
    metric_energy_distance,
    metric_mse,
    metric_r2,
    mse,
    r2,
)
from tests.conftest import data_file

GENES = [f"gene{i}" for i in range(12)]


def adata_of(X, genes=GENES, cells=None):
    obs = None if cells is None else pd.DataFrame(index=cells)
    return AnnData(np.asarray(X), obs=obs, var=pd.DataFrame(index=list(genes)))


def close(expected):
    return pytest.approx(expected, rel=1e-6)  # float32 products round by order


@pytest.fixture
def sides():
    rng = np.random.default_rng(0)
    X = np.log1p(rng.poisson(1.0, (20, 12))).astype(np.float32)
    return X, (X * 0.9 + rng.normal(0, 0.1, X.shape)).astype(np.float32)


@pytest.fixture
def expected(sides):
    return {"r2": r2(*sides), "mse": mse(*sides), "energy_distance": energy_distance(*sides)}


def test_the_default_is_the_published_dictionary(sides, expected):
    truth, prediction = map(adata_of, sides)
    got = compute_statistical_metrics(truth, prediction)
    assert list(got) == ["r2", "mse", "energy_distance"]
    assert got == close(expected)
    assert all(type(value) is float for value in got.values())
    assert metric_r2(truth, prediction) == expected["r2"]
    assert metric_mse(truth, prediction) == close(expected["mse"])
    assert metric_energy_distance(truth, prediction) == got["energy_distance"]


def test_the_tutorials_calls_run_on_real_cells():
    """An array reconstructed from a file's cells, wrapped with the file's `var` alone."""
    adata = anndata.read_h5ad(data_file("pbmc68k_counts.h5ad"))[:100].copy()
    adata.X = np.log1p(adata.X.toarray())
    X_recon = adata.X * 0.9
    recon = AnnData(X_recon, var=adata.var)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = compute_statistical_metrics(adata, recon)
    assert got["mse"] == pytest.approx(np.square(0.1 * adata.X).mean(), rel=1e-5)
    assert got["energy_distance"] == close(energy_distance(adata.X, X_recon))


@pytest.mark.parametrize("make", [csr_matrix, csc_matrix, np.asfortranarray, np.float64])
def test_storage_does_not_matter(sides, expected, make):
    X, Y = sides
    truth, prediction = (AnnData(make(M), var=pd.DataFrame(index=GENES)) for M in (X, Y))
    assert compute_statistical_metrics(truth, prediction) == close(expected)
    assert compute_statistical_metrics(adata_of(X), prediction) == close(expected)


def test_views_and_backed_files_are_read(sides, expected, tmp_path):
    X, Y = sides
    adata_of(Y).write_h5ad(tmp_path / "prediction.h5ad")
    backed = anndata.read_h5ad(tmp_path / "prediction.h5ad", backed="r")
    wide = adata_of(np.hstack([X, X]), [*GENES, *(f"more{i}" for i in range(12))])
    got = compute_statistical_metrics(wide[:, GENES], backed)
    assert got == close(expected)


def test_genes_are_matched_by_name(sides, expected):
    X, Y = sides
    order = np.random.default_rng(1).permutation(12)
    prediction = adata_of(Y[:, order], np.array(GENES)[order])
    assert compute_statistical_metrics(adata_of(X), prediction) == close(expected)
    aligned = aligned_pair(adata_of(X), prediction, prediction[:4])
    assert aligned.genes == tuple(GENES)
    assert np.array_equal(aligned.prediction, Y)
    assert np.array_equal(aligned.others[0], Y[:4])


@pytest.mark.parametrize(
    ("genes", "text"),
    [
        ([*GENES[:10], "x", "y"], r"lacks 2 of the 12 genes \(gene10, gene11\) and has 2 .*x, y"),
        ([f"a{i}" for i in range(12)], r"lacks 12 of the 12 genes \(gene0, gene1, gene2, \.\.\.\)"),
        ([*GENES[:11], "gene0"], r"adata_pred has 1 gene names more than once \(gene0\)"),
        ([str(i) for i in range(12)], "pass var=adata_true.var to AnnData"),
    ],
)
def test_genes_that_differ_are_refused_with_the_difference(sides, genes, text):
    X, Y = sides
    with pytest.raises(UsageError, match=text) as error:
        compute_statistical_metrics(adata_of(X), adata_of(Y, genes))
    assert "\n" not in str(error.value)


def test_a_subset_of_genes_is_refused_with_what_is_missing(sides):
    X, Y = sides
    for truth, prediction, text in [
        (adata_of(X), adata_of(Y[:, :11], GENES[:11]), "adata_pred lacks 1 of the 12"),
        (adata_of(X[:, :11], GENES[:11]), adata_of(Y), r"has 1 that are not among them \(gene11\)"),
        (adata_of(X, [*GENES[:11], "gene0"]), adata_of(Y), "adata_true has 1 gene names more"),
    ]:
        with pytest.raises(UsageError, match=text):
            compute_statistical_metrics(truth, prediction)


def test_cells_are_matched_by_name_where_both_sides_name_the_same(sides, expected):
    X, Y = sides
    names = np.array([f"cell{i}" for i in range(20)])
    order = np.random.default_rng(1).permutation(20)
    prediction = adata_of(Y[order], cells=names[order])
    assert metric_mse(adata_of(X, cells=names), prediction) == close(expected["mse"])


@pytest.mark.parametrize("named", ["truth", "prediction", "both"])
def test_cells_are_matched_by_position_where_names_say_nothing(sides, expected, named):
    X, Y = sides
    names = [f"cell{i}" for i in range(20)]
    truth = adata_of(X, cells=names if named != "prediction" else None)
    others = [f"recon{i}" for i in range(20)] if named == "both" else names
    prediction = adata_of(Y, cells=others if named != "truth" else None)
    assert metric_mse(truth, prediction) == close(expected["mse"])


def test_numbers_as_names_are_no_names(sides, expected):
    """A subset keeps its old numbers, a bare array starts from 0: they overlap by chance."""
    X, Y = sides
    truth = adata_of(X, cells=[str(i) for i in range(5, 25)])
    assert metric_mse(truth, adata_of(Y)) == close(expected["mse"])
    assert metric_r2(adata_of(X), adata_of(Y[:7])) == r2(X, Y[:7])


def test_the_same_numbers_in_another_order_are_refused(sides):
    """A shuffled AnnData has them, and so has a new one around an array in any order."""
    X, _ = sides
    truth = adata_of(X)
    shuffled = truth[np.random.default_rng(0).permutation(20)].copy()
    for pair in ((truth, shuffled), (shuffled, truth), (shuffled, adata_of(X))):
        with pytest.raises(
            UsageError, match=r"numbers from 0 to 19 .* give the cells names"
        ) as error:
            metric_mse(*pair)
        assert "\n" not in str(error.value)
    assert metric_mse(shuffled, shuffled.copy()) == 0
    other = shuffled[np.random.default_rng(1).permutation(20)].copy()
    assert metric_mse(shuffled, other) == 0, "neither was counted afresh, so these are names"


def test_cells_that_overlap_in_part_are_refused(sides):
    X, Y = sides
    truth = adata_of(X, cells=[f"cell{i}" for i in range(20)])
    prediction = adata_of(Y, cells=[f"cell{i}" for i in range(5, 25)])
    text = "15 of the 20 cells .* 5 (cell0, cell1, cell2, ...), only in adata_pred: 5 (cell20,"
    with pytest.raises(UsageError, match=re.escape(text).replace(r"\.\*", ".*")):
        metric_r2(truth, prediction)
    with pytest.raises(UsageError, match="only in adata_pred: 0"):
        metric_r2(truth, truth[:5].copy())


def test_repeated_cell_names_in_another_order_are_refused(sides):
    X, Y = sides
    names = ["a"] * 10 + ["b"] * 10
    truth = adata_of(X, cells=names)
    assert metric_mse(truth, adata_of(Y, cells=names)) == mse(X, Y)
    with pytest.raises(UsageError, match="with repeats; call obs_names_make_unique"):
        metric_mse(truth, adata_of(Y, cells=names[::-1]))


def test_other_numbers_of_cells_are_refused_by_paired_metrics_alone(sides):
    X, Y = sides
    truth, fewer = adata_of(X), adata_of(Y[:7])
    assert metric_energy_distance(truth, fewer) == pytest.approx(
        energy_distance(X, Y[:7]), rel=1e-6
    )
    for call in (metric_mse, compute_statistical_metrics):
        with pytest.raises(UsageError, match="mse compares cell by cell: adata_pred has 7"):
            call(truth, fewer)


def test_an_undefined_metric_is_nan_with_a_warning_that_says_why():
    flat = adata_of(np.ones((4, 12)))
    with pytest.warns(UndefinedMetricWarning, match="r2 is undefined: all genes have the same"):
        got = compute_statistical_metrics(flat, flat)
    assert np.isnan(got["r2"])
    assert got["mse"] == 0
    with pytest.warns(UndefinedMetricWarning, match="same mean") as caught:
        assert np.isnan(metric_r2(flat, flat))
    assert caught[0].filename == __file__
    with pytest.warns(UndefinedMetricWarning, match="same mean") as caught:
        compute_statistical_metrics(flat, flat, metrics=["r2"])
    assert caught[0].filename == __file__


def test_more_metrics_come_on_request_in_the_order_asked_for(sides):
    X, Y = sides
    truth, prediction = adata_of(X), adata_of(Y)
    names = ["mae", "c2st_auc", "r2"]
    got = compute_statistical_metrics(truth, prediction, metrics=names, adata_train=truth)
    assert list(got) == names
    assert all(np.isfinite(list(got.values())))
    with pytest.warns(UndefinedMetricWarning, match="c2st_auc is undefined: needs train"):
        compute_statistical_metrics(truth, prediction, metrics=["c2st_auc"])


def test_all_means_all_that_the_arguments_suffice_for(sides):
    X, Y = sides
    truth, prediction = adata_of(X), adata_of(Y)
    known = [m for m in METRICS.values() if m.family == "statistical"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UndefinedMetricWarning)
        few = compute_statistical_metrics(truth, prediction, metrics="all")
        many = compute_statistical_metrics(truth, prediction, metrics="all", adata_train=truth)
        unpaired = compute_statistical_metrics(truth, adata_of(Y[:9]), metrics="all")
    assert list(few) == [m.name for m in known if not m.needs]
    assert list(many) == [m.name for m in known if m.needs <= {"train"}]
    assert list(unpaired) == [m.name for m in known if not m.needs and not m.paired]


def test_bad_requests_are_refused(sides):
    truth, prediction = map(adata_of, sides)
    bare = adata_of(sides[0])
    bare.X = None
    for arguments, text in [
        ((truth, prediction, ["r22"]), "unknown metric 'r22'; did you mean r2"),
        ((truth, prediction, "r2"), "'r2' is a string, expected names in a list"),
        ((truth, bare, ["r2"]), "adata_pred has no X"),
    ]:
        with pytest.raises(UsageError, match=text):
            compute_statistical_metrics(*arguments[:2], metrics=arguments[2])


@pytest.mark.parametrize("name", [name for name in reconeval.metrics._LAZY if "metric" in name])
@pytest.mark.parametrize("position", [0, 1])
def test_arrays_are_refused_with_what_takes_them(sides, name, position):
    call = getattr(reconeval.metrics, name)
    arguments = [adata_of(X) for X in (*sides, sides[0])]
    parameters = [p for p in inspect.signature(call).parameters if p.startswith("adata_")]
    arguments[position] = arguments[position].X
    expected = f"{parameters[position]} is a numpy.ndarray, expected an AnnData; arrays .*mse"
    with pytest.raises(UsageError, match=expected):
        call(**dict(zip(parameters, arguments, strict=False)))


def test_neither_side_is_changed(sides):
    X, Y = sides
    truth, prediction = adata_of(X.copy()), adata_of(csr_matrix(Y).toarray()[:, ::-1], GENES[::-1])
    before = truth.copy(), prediction.copy()
    compute_statistical_metrics(truth, prediction, metrics="all")
    for adata, copy in zip((truth, prediction), before, strict=True):
        assert np.array_equal(adata.X, copy.X)
        assert adata.var_names.equals(copy.var_names)
