"""`compute_all_metrics` against the families' own calls, and a truth prepared once."""

import doctest
import math
import warnings
from importlib import import_module

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix
from sklearn.decomposition import PCA

from reconeval.datasets import load_dataset, make_split
from reconeval.errors import UndefinedMetricWarning, UsageError
from reconeval.metrics import (
    METRICS,
    Pair,
    compute_all_metrics,
    compute_biological_metrics,
    compute_perturbational_metrics,
    compute_statistical_metrics,
    prepare,
    score,
)
from reconeval.metrics.perturbational import PERTURBATIONAL
from reconeval.resources import (
    load_cell_cycle_genes,
    load_cytokine_programmes,
    load_progeny,
    read_gmt,
)
from tests.conftest import data_file


def wrapped(X, like):
    return AnnData(np.asarray(X, dtype=np.float32), obs=like.obs, var=like.var)


class Immune:
    """Real cells: test and training cells, and two reconstructions of the test cells."""

    def __init__(self):
        dataset = load_dataset("immune")
        split = make_split(dataset, "iid")
        self.key = dataset.cell_type_key
        self.true = dataset.adata[split.test].copy()
        self.train = dataset.adata[split.train[:60]].copy()
        self.ctrl = dataset.adata[split.val].copy()
        X, train = self.true.X.toarray(), self.train.X.toarray()
        pca = PCA(20, random_state=0).fit(train)
        self.pred = wrapped(pca.inverse_transform(pca.transform(X)), self.true)
        self.blur = wrapped((X + np.roll(X, 1, axis=0)) / 2, self.true)


@pytest.fixture(scope="module")
def immune():
    return Immune()


@pytest.fixture
def drugs():
    """Predicted, measured, control and training cells of two perturbations."""
    rng = np.random.default_rng(0)
    effect = {"a": np.r_[np.full(5, 3.0), np.zeros(35)], "b": np.r_[np.zeros(35), np.full(5, 3.0)]}

    def make(names, labels, n=30):
        X = np.concatenate([rng.normal(1 + effect.get(one, 0), 1, (n, 40)) for one in labels])
        obs = pd.DataFrame(
            {"drug": np.repeat(labels, n)}, index=[f"{names}{i}" for i in range(len(X))]
        )
        adata = AnnData(
            X.astype(np.float32), obs=obs, var=pd.DataFrame(index=[f"G{j}" for j in range(40)])
        )
        adata.obsm["X_fm"] = adata.X[:, :3] + 10
        return adata

    return (
        make("cell", ["a", "b"]),
        make("cell", ["a", "b"]),
        make("ctrl", ["dmso"]),
        make("train", ["dmso", "a", "b", "c"]),
    )


def test_it_is_the_three_families_on_real_cells(immune):
    true, pred, ctrl, train = immune.true, immune.pred, immune.ctrl, immune.train
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # one perturbation has no rank
        got = compute_all_metrics(true, pred, ctrl, adata_train=train)
        expected = {
            **compute_statistical_metrics(true, pred, metrics="all", adata_train=train),
            **compute_biological_metrics(true, pred, ctrl, k=(50, 100, 200)),
            **compute_perturbational_metrics(pred, true, ctrl, metrics="all"),
        }
    assert len(got) == 42
    assert list(got)[-2:] == ["de_n_significant_true", "de_n_significant_pred"]
    assert {METRICS[name].family for name in got if name in METRICS} == {
        "statistical",
        "biological",
        "perturbational",
    }
    for name, value in got.items():
        assert value == pytest.approx(expected[name], rel=1e-6, nan_ok=True), name


def test_markers_of_cell_types_take_the_place_of_controls(immune):
    got = compute_all_metrics(immune.true, immune.pred, cell_type_key=immune.key)
    expected = compute_biological_metrics(immune.true, immune.pred, cell_type_key=immune.key)
    for name in ("deg_dice_at_100", "deg_logfc_spearman", "coexpression", "pathway"):
        assert got[name] == pytest.approx(expected[name], rel=1e-6)
    assert not any(METRICS[name].family == "perturbational" for name in got)
    assert all(math.isfinite(value) for value in got.values())


def test_all_leaves_out_what_the_arguments_do_not_suffice_for(immune):
    paired = compute_all_metrics(immune.true, immune.pred)
    assert not any(name.startswith("deg_") for name in paired)
    assert not {"c2st_auc", "poisson_deviance", "knn_purity"} & set(paired)
    fewer = compute_all_metrics(immune.true, AnnData(immune.pred.X[:100], var=immune.true.var))
    assert set(paired) - set(fewer) == {name for name in paired if METRICS[name].paired} != set()


def test_gene_sets_of_the_user(immune):
    shipped = compute_all_metrics(immune.true, immune.pred)
    s_genes, g2m_genes = load_cell_cycle_genes()
    same = {
        "s_genes": s_genes,
        "g2m_genes": g2m_genes,
        "gene_sets": read_gmt(),
        "net": load_progeny(),
        "cytokine_dict": load_cytokine_programmes(),
    }
    assert compute_all_metrics(immune.true, immune.pred, **same) == pytest.approx(shipped)
    other = {
        "s_genes": g2m_genes,
        "g2m_genes": s_genes,
        "gene_sets": dict(list(read_gmt().items())[:9]),
        "net": load_progeny(top=50),
        "cytokine_dict": dict(list(load_cytokine_programmes().items())[:9]),
    }
    got = compute_all_metrics(immune.true, immune.pred, **other)
    expected = compute_biological_metrics(immune.true, immune.pred, **other)
    for name, value in got.items():
        if METRICS[name].family == "biological":
            assert value == pytest.approx(expected[name], rel=1e-9), name
            assert value != shipped[name] or name.startswith("cellcycle_"), name
        else:
            assert value == pytest.approx(shipped[name], rel=1e-6), name
    with pytest.raises(UsageError, match="got one list"):
        compute_all_metrics(immune.true, immune.pred, s_genes=s_genes)


def test_gene_sets_serve_a_prediction_of_other_cells_too(immune):
    """`cellcycle_proportion_mean_diff` needs no pairs, with whatever markers."""
    s_genes, g2m_genes = load_cell_cycle_genes()
    fewer = AnnData(immune.pred.X[:250], var=immune.true.var)
    expected = compute_all_metrics(immune.true, fewer)
    got = compute_all_metrics(immune.true, fewer, s_genes=s_genes, g2m_genes=g2m_genes)
    assert got == pytest.approx(expected)
    assert "cellcycle_proportion_mean_diff" in got


def test_gene_sets_are_prepared_with_the_truth(immune):
    own = {"net": load_progeny(top=50), "gene_sets": dict(list(read_gmt().items())[:9])}
    names = ["pathway", "coexpression", "cytokine"]
    truth = prepare(immune.true, metrics=names, **own)
    before = dict(truth._memo)
    got = compute_all_metrics(truth, immune.pred, metrics=names)
    assert got == compute_all_metrics(immune.true, immune.pred, metrics=names, **own)
    assert truth._memo == before
    with pytest.raises(UsageError, match="net came too late; give it to prepare"):
        compute_all_metrics(truth, immune.pred, net=own["net"])
    with pytest.raises(UsageError, match="got one list"):
        prepare(immune.true, s_genes=["MCM5"])


def test_a_phase_that_no_cell_is_in_has_no_value(immune):
    rng = np.random.default_rng(0)
    genes = [f"g{i}" for i in range(100)]
    X = rng.random((40, 100)).astype(np.float32)
    X[:, :10] += 3  # the markers of S stand out in every cell
    true = AnnData(X, var=pd.DataFrame(index=genes))
    with pytest.warns(UndefinedMetricWarning, match="cellcycle_G2M is undefined: none of 40"):
        got = compute_all_metrics(
            true,
            true,
            s_genes=genes[:10],
            g2m_genes=genes[10:20],
            metrics=["cellcycle_S", "cellcycle_G2M"],
        )
    assert got["cellcycle_S"] == 1
    assert math.isnan(got["cellcycle_G2M"])


def test_perturbations_with_labels_embedding_and_covariates(drugs):
    pred, true, ctrl, train = drugs
    for cells in drugs:
        cells.obs["type"] = np.where(np.arange(cells.n_obs) % 2, "T", "B")
    options = {
        "perturbation_key": "drug",
        "covariate_key": "type",
        "use_rep": "X_fm",
        "adata_train": train,
        "control": "dmso",
        "targets": {"a": "G0"},
        "seed": 3,
    }
    names = [metric.name for metric in PERTURBATIONAL if metric.name != "knn_purity_k50"]
    got = compute_all_metrics(true, pred, ctrl, metrics=names, **options)
    expected = compute_perturbational_metrics(pred, true, ctrl, metrics=names, **options)
    assert got == expected
    assert list(got) == [*names, "de_n_significant_true", "de_n_significant_pred"]
    assert all(math.isfinite(value) for value in got.values())


def test_training_cells_without_the_label_of_the_controls_are_refused(drugs):
    """Else its controls would be one of the perturbations that others are compared with."""
    pred, true, ctrl, train = drugs
    options = {"perturbation_key": "drug", "metrics": ["pearson_delta_pert"]}
    for call in (compute_all_metrics, lambda t, p, *rest, **o: prepare(t, *rest, **o)):
        with pytest.raises(UsageError, match=r"labelled 'control' \(labels: a, b, c, dmso\)"):
            call(true, pred, ctrl, adata_train=train, **options)
    with pytest.raises(UsageError, match="no training cell is labelled 'control'"):
        compute_perturbational_metrics(pred, true, ctrl, adata_train=train, **options)
    right = compute_all_metrics(true, pred, ctrl, adata_train=train, control="dmso", **options)
    bare = train[train.obs["drug"] != "dmso"].copy()
    with pytest.raises(UsageError, match="or say control=None if there are none"):
        compute_all_metrics(true, pred, ctrl, adata_train=bare, **options)
    got = compute_all_metrics(true, pred, ctrl, adata_train=bare, control=None, **options)
    assert got == pytest.approx(right)
    truth = prepare(true, ctrl, adata_train=bare, control=None, **options)
    assert compute_all_metrics(truth, pred, metrics=["pearson_delta_pert"]) == pytest.approx(right)
    with pytest.raises(UsageError, match="control came too late"):
        compute_all_metrics(truth, pred, control=None)


def test_embeddings_of_different_width_are_refused(drugs):
    pred, true, ctrl, _ = drugs
    options = {"use_rep": "X_fm", "metrics": ["knn_purity"]}
    ctrl.obsm["X_fm"] = ctrl.X[:, :2]
    with pytest.raises(UsageError, match="has 3 columns in the truth and 2 in the reference"):
        compute_all_metrics(true, pred, ctrl, **options)
    ctrl.obsm["X_fm"], pred.obsm["X_fm"] = ctrl.X[:, :3], pred.X[:, :4]
    with pytest.raises(UsageError, match="prediction's embedding has 4 columns, expected the 3"):
        compute_all_metrics(true, pred, ctrl, **options)


def test_a_model_that_fails_is_nan_everywhere_and_the_warning_points_here(immune):
    """Whichever of the model's outputs is NaN: cells, controls or their embedding."""
    bad = immune.pred.copy()
    bad.X[0, 0] = np.nan
    with pytest.warns(UndefinedMetricWarning, match="the prediction has NaN") as caught:
        got = compute_all_metrics(immune.true, bad, immune.ctrl)
    assert np.isnan([got[name] for name in got if name != "de_n_significant_true"]).all()
    assert {warning.filename for warning in caught} == {__file__}
    bad_ctrl = immune.ctrl.copy()
    bad_ctrl.X = np.full(bad_ctrl.shape, np.inf, dtype=np.float32)
    with pytest.warns(UndefinedMetricWarning, match="the predicted reference has NaN"):
        got = compute_all_metrics(
            immune.true, immune.pred, immune.ctrl, bad_ctrl, metrics=["deg_dice_at_50", "r2"]
        )
    assert math.isnan(got["deg_dice_at_50"])
    assert math.isfinite(got["r2"])


def test_a_nan_in_the_predicted_embedding_is_a_nan(drugs):
    pred, true, ctrl, _ = drugs
    pred.obsm["X_fm"][0, 0] = np.nan
    with pytest.warns(UndefinedMetricWarning, match="knn_purity is undefined: .*embedding has NaN"):
        got = compute_all_metrics(true, pred, ctrl, use_rep="X_fm", metrics=["knn_purity", "r2"])
    assert math.isnan(got["knn_purity"])
    assert math.isfinite(got["r2"])


@pytest.mark.parametrize("seed", [-1, 1 << 32, 1.5, "0"])
def test_a_seed_that_is_none_is_refused(immune, seed):
    with pytest.raises(UsageError, match=r"seed is .*, expected a whole number from 0"):
        compute_all_metrics(immune.true, immune.pred, metrics=["r2"], seed=seed)


def test_labels_and_embedding_follow_the_cells_into_the_order_of_the_truth(drugs):
    pred, true, ctrl, _ = drugs
    names = ["discrimination_l2", "knn_purity", "weighted_mse", "mse"]
    options = {"perturbation_key": "drug", "use_rep": "X_fm", "metrics": names}
    expected = compute_all_metrics(true, pred, ctrl, **options)
    shuffled = pred[np.random.default_rng(1).permutation(pred.n_obs)].copy()
    shuffled.X = csr_matrix(shuffled.X)
    assert compute_all_metrics(true, shuffled, ctrl, **options) == pytest.approx(expected)
    del shuffled.obs["drug"]  # the same cells: the truth's labels are theirs
    assert compute_all_metrics(true, shuffled, ctrl, **options) == pytest.approx(expected)
    more = anndata.concat([pred, pred], index_unique="-")
    got = compute_all_metrics(true, more, ctrl, **{**options, "metrics": names[:3]})
    assert got == pytest.approx({name: expected[name] for name in names[:3]}, rel=1e-4)
    del more.obs["drug"]
    with pytest.raises(UsageError, match=r"adata_pred\.obs has no column 'drug'"):
        compute_all_metrics(true, more, ctrl, **{**options, "metrics": names[:3]})


def test_the_predicted_reference_serves_differential_expression_alone(immune):
    shifted = wrapped(immune.ctrl.X.toarray() * 1.3, immune.ctrl)
    args = (immune.true, immune.pred, immune.ctrl)
    names = ["deg_logfc_pearson", "pearson_delta"]
    plain = compute_all_metrics(*args, metrics=names)
    got = compute_all_metrics(*args, shifted, metrics=names)
    expected = compute_biological_metrics(*args, shifted)
    assert got["deg_logfc_pearson"] == pytest.approx(expected["deg_logfc_pearson"], rel=1e-6)
    assert got["deg_logfc_pearson"] != plain["deg_logfc_pearson"]
    assert got["pearson_delta"] == plain["pearson_delta"]


def test_a_metric_without_a_value_is_nan_and_the_warning_points_here(immune):
    with pytest.warns(UndefinedMetricWarning, match="needs train") as caught:
        got = compute_all_metrics(immune.true, immune.pred, metrics=["c2st_auc"])
    assert math.isnan(got["c2st_auc"])
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "r2"}, "is a string"),
        ({"metrics": ["r3"]}, "unknown metric 'r3'"),
        ({"cell_type_key": "kind"}, "adata_true.obs has no column 'kind'"),
        ({"perturbation_key": "drug"}, "got perturbation_key without adata_ctrl"),
        ({"use_rep": "X_pca"}, "got use_rep without adata_ctrl"),
        ({"adata_ctrl_pred": True}, "adata_ctrl_pred without adata_ctrl"),
    ],
)
def test_bad_use(immune, options, message):
    if "adata_ctrl_pred" in options:
        options = {"adata_ctrl_pred": immune.ctrl}
    with pytest.raises(UsageError, match=message):
        compute_all_metrics(immune.true, immune.pred, **options)


def test_genes_and_cells_that_do_not_fit_are_refused(immune):
    with pytest.raises(UsageError, match="adata_pred lacks 2 of the"):
        compute_all_metrics(immune.true, immune.pred[:, 2:].copy())
    with pytest.raises(UsageError, match="adata_pred has 299 of the 300 cells"):
        compute_all_metrics(immune.true, immune.pred[1:].copy())


# prepare


@pytest.mark.parametrize("against", ["cell types", "controls"])
def test_predictions_of_a_prepared_truth_do_none_of_its_work(immune, against):
    """Whatever the prediction is like: close, collapsed, the truth itself, or shorter."""
    parts = {"adata_train": immune.train, "cell_type_key": immune.key}
    if against == "controls":
        parts["adata_ctrl"] = immune.ctrl
    truth = prepare(immune.true, **parts)
    prepared = dict(truth._memo)
    X = immune.true.X.toarray()
    predictions = [
        immune.pred,
        wrapped(np.repeat(X.mean(axis=0, keepdims=True), len(X), axis=0), immune.true),
        immune.true,
        AnnData(X[:220], var=immune.true.var),
    ]
    for adata_pred in predictions:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            compute_all_metrics(truth, adata_pred)
        assert truth._memo.keys() == prepared.keys()
        assert all(truth._memo[key] is prepared[key] for key in prepared)


def test_a_prepared_truth_gives_the_same_values(immune):
    parts = {"adata_train": immune.train, "cell_type_key": immune.key}
    truth = prepare(immune.true, **parts)
    expected = compute_all_metrics(immune.true, immune.blur, **parts)
    assert compute_all_metrics(truth, immune.blur) == pytest.approx(expected, rel=1e-6)


def test_the_truth_is_not_ranked_measured_or_scored_again(immune, monkeypatch):
    """Counts the work itself, in whatever memory its outcome is kept."""
    truth = prepare(immune.true, adata_train=immune.train, cell_type_key=immune.key)
    seen = []

    def watch(place):
        module, _, name = place.rpartition(".")
        plain = getattr(import_module(module), name)

        def watched(first, *args, **options):
            # Sums between two matrices have the truth first, too.
            within = not (args and getattr(args[0], "shape", None) == truth.X.shape)
            seen.append((name, first is truth.X and within))
            return plain(first, *args, **options)

        monkeypatch.setattr(place, watched)

    biological = "reconeval.metrics.biological"
    watch("reconeval.metrics._shared.pair_sums")
    watch(f"{biological}.cell_cycle.cell_cycle_phases")
    watch(f"{biological}.co_expression.set_correlations")
    watch(f"{biological}.pathways.ulm_scores")
    watch(f"{biological}.cytokines.signature_scores")
    watch(f"{biological}.table.contrast_types")
    compute_all_metrics(truth, immune.pred)
    compute_all_metrics(truth, immune.blur)
    assert len({name for name, _ in seen}) >= 5, "or the functions have other names by now"
    assert not any(is_truth for _, is_truth in seen)


def test_only_the_chosen_metrics_are_prepared(immune):
    few = prepare(immune.true, metrics=["r2", "coexpression"])
    assert ("biological", "correlations") in few._memo
    assert not any("phases" in key or "genes" in key for key in few._memo if key != "origin")
    value = compute_all_metrics(few, immune.pred, metrics=["energy_distance"])
    expected = compute_all_metrics(immune.true, immune.pred, metrics=["energy_distance"])
    assert value == pytest.approx(expected, rel=1e-9)
    with pytest.raises(UsageError, match="unknown metric"):
        prepare(immune.true, metrics=["r3"])


def test_arrays_can_stand_beside_a_prepared_truth(immune):
    truth = prepare(immune.true, metrics=["mse", "pathway"])
    pair = Pair(truth, immune.pred.X)
    expected = compute_all_metrics(truth, immune.pred, metrics=["mse", "pathway"])
    assert {name: score(METRICS[name], pair).value for name in expected} == expected


def test_the_device_is_the_truths(immune):
    from reconeval.metrics.device import AGREEMENT

    names = ["energy_distance", "coexpression", "pathway"]
    expected = compute_all_metrics(immune.true, immune.pred, metrics=names)
    truth = prepare(immune.true, metrics=names, device="torch:cpu")
    assert truth.device == "torch:cpu"
    assert compute_all_metrics(truth, immune.pred, metrics=names) == pytest.approx(
        expected, rel=AGREEMENT
    )
    got = compute_all_metrics(immune.true, immune.pred, metrics=names, device="torch:cpu")
    assert got == pytest.approx(expected, rel=AGREEMENT)
    with pytest.raises(UsageError, match="device 'tpu'"):
        compute_all_metrics(immune.true, immune.pred, device="tpu")


def test_a_prepared_truth_takes_no_further_measured_cells(immune):
    truth = prepare(immune.true, metrics=["r2"])
    with pytest.raises(UsageError, match="adata_train, seed came too late; give it to prepare"):
        compute_all_metrics(truth, immune.pred, adata_train=immune.train, seed=0)


def test_a_prepared_truth_is_a_copy(drugs):
    """What is cached and what is not must stay of the same cells."""
    pred, true, ctrl, train = drugs
    options = {"perturbation_key": "drug", "control": "dmso", "use_rep": "X_fm"}
    truth = prepare(true, ctrl, adata_train=train, metrics=["r2"], **options)
    names = ["r2", "mse", "c2st_auc", "knn_purity", "pearson_delta"]
    expected = compute_all_metrics(
        true.copy(), pred, ctrl.copy(), adata_train=train.copy(), metrics=names, **options
    )
    for cells in (true, ctrl, train):
        cells.X *= 2
        cells.obsm["X_fm"][:] = 0
    assert compute_all_metrics(truth, pred, metrics=names) == expected


def test_inputs_are_left_alone(immune):
    X, Y = immune.true.X.copy(), immune.pred.X.copy()
    truth = prepare(immune.true, cell_type_key=immune.key)
    compute_all_metrics(truth, immune.pred)
    assert (immune.true.X != X).nnz == 0
    assert np.array_equal(immune.pred.X, Y)


@pytest.mark.parametrize("name", ["all_metrics", "prepared"])
def test_docstring_examples(name):
    result = doctest.testmod(import_module(f"reconeval.metrics.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_stimulated_cells_against_controls():
    """The published use, perturbed cells and controls: a replicate is near, doing nothing far."""
    counts = anndata.read_h5ad(data_file("kang_ifnb_counts.h5ad"))
    X = counts.X.toarray().astype(np.float64)
    X = np.log1p(X / X.sum(axis=1, keepdims=True) * 1e4)
    genes = np.sort(np.argsort(X.var(axis=0))[-600:])
    cells = AnnData(X[:, genes].astype(np.float32), obs=counts.obs, var=counts.var.iloc[genes])
    stim, ctrl = (cells[cells.obs["condition"] == one] for one in ("stim", "ctrl"))
    truth = prepare(
        stim[:200].copy(),
        ctrl[:200].copy(),
        metrics=["knn_purity", "relative_distance", "deg_dice_at_100"],
    )
    replicate, nothing = (
        compute_all_metrics(truth, one, metrics=["knn_purity", "relative_distance"])
        for one in (stim[200:400].copy(), ctrl[200:400].copy())
    )
    assert replicate["knn_purity"] > 0.8
    assert nothing["knn_purity"] < 0.2
    assert replicate["relative_distance"] < 0.1
    assert nothing["relative_distance"] > 0.9
    same = compute_all_metrics(truth, stim[:200].copy(), metrics=["deg_dice_at_100"])
    assert same["deg_dice_at_100"] == 1
