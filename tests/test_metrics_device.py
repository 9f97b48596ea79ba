"""The dense work on torch agrees with NumPy's, on the processor and, where there is one, a GPU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval.errors import UsageError
from reconeval.metrics import METRICS, Truth, score
from reconeval.metrics.biological.co_expression import set_correlations
from reconeval.metrics.biological.scores import gene_set_scores
from reconeval.metrics.device import AGREEMENT, BLOCK, matmul, on_torch
from reconeval.metrics.kernels import pair_sums
from reconeval.metrics.perturbational import (
    PerturbationPair,
    PerturbationTruth,
    knn_purity,
)
from reconeval.resources import load_cell_cycle_genes, read_gmt


@pytest.fixture(scope="module", params=["torch:cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU that torch can use")
    return request.param


@pytest.fixture(scope="module")
def cells():
    """Measured, predicted and control cells of genes that the gene sets know."""
    s, g2m = load_cell_cycle_genes()
    known = dict.fromkeys([*s, *g2m, *(gene for genes in read_gmt().values() for gene in genes)])
    genes = list(known)[:600]
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.5, 2.0, len(genes)) * np.exp(rng.normal(0, 0.5, (300, len(genes))))
    X, R = (np.log1p(rng.poisson(rates[half])) for half in (slice(150), slice(150, None)))
    Y = 0.8 * np.log1p(rates[:150]) + 0.1
    return genes, X.astype(np.float32), Y.astype(np.float32), R.astype(np.float32)


def test_devices_are_named():
    assert on_torch(None) is None
    assert on_torch("cpu") is None
    assert on_torch("torch:cpu") is not None
    for name in ("gpu", "cuda:", "cuda:x", "torch:cuda", ""):
        with pytest.raises(UsageError, match="expected 'cpu', 'cuda', 'cuda:N' or 'torch:cpu'"):
            on_torch(name)
    with pytest.raises(UsageError, match=r"device 'cuda:99': torch finds \d+ GPUs here"):
        on_torch("cuda:99")


def test_a_truth_refuses_a_device_that_cannot_be_had():
    with pytest.raises(UsageError, match="device 'tpu'"):
        Truth(np.ones((2, 2)), ["A", "B"], device="tpu")


@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 30),
    m=st.integers(1, 30),
    within=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_pair_sums(device, seed, n, m, within, dtype):
    rng = np.random.default_rng(seed)
    A, B = rng.normal(5, 1, (n, 6)).astype(dtype), rng.normal(5, 1, (m, 6)).astype(dtype)
    B = None if within else B
    expected = pair_sums(A, B, gammas=[0.1, 1.0], exact=True)
    got = pair_sums(A, B, gammas=[0.1, 1.0], device=device)
    assert (got.pairs, got.selves) == (expected.pairs, expected.selves)
    assert got.distance == pytest.approx(expected.distance, rel=AGREEMENT, abs=1e-9)
    assert got.rbf == pytest.approx(expected.rbf, rel=AGREEMENT)


def test_pair_sums_over_several_blocks(device):
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(BLOCK + 5, 3)), rng.normal(size=(BLOCK + 1, 3))
    for other in (None, B):
        expected, got = pair_sums(A, other, exact=True), pair_sums(A, other, device=device)
        assert got.distance == pytest.approx(expected.distance, rel=1e-9)


@given(seed=st.integers(0, 1000), k=st.integers(1, 9), ties=st.booleans())
def test_neighbours(device, seed, k, ties):
    rng = np.random.default_rng(seed)
    X, Y, controls = (rng.normal(3, 1, (n, 4)) for n in (12, 7, 9))
    if ties:
        X, Y, controls = (np.round(part) for part in (X, Y, controls))
    expected = knn_purity(X, Y, controls, k=k)
    assert knn_purity(X, Y, controls, k=k, device=device) == pytest.approx(expected, abs=1e-12)


def test_matrices_keep_their_type(device, cells):
    _, X, Y, _ = cells
    for dtype in (np.float32, np.float64):
        a, b = X.astype(dtype), Y.astype(dtype).T
        product = matmul(a, b, device=device)
        assert product.dtype == dtype
        np.testing.assert_allclose(product, a.astype(np.float64) @ b, rtol=AGREEMENT)


def test_correlations_and_scores(device, cells):
    _, X, _, _ = cells
    sets = {"a": np.arange(40), "b": np.arange(20, 70)}
    expected = set_correlations(X, sets)
    for name, values in set_correlations(X, sets, device=device).items():
        np.testing.assert_allclose(values, expected[name], atol=AGREEMENT)
    np.testing.assert_allclose(
        gene_set_scores(X, list(sets.values()), device=device),
        gene_set_scores(X, list(sets.values())),
        atol=1e-12,
    )


def test_every_metric_agrees_through_a_truth(device, cells):
    """The device that a truth carries reaches each metric, and no value depends on it."""
    genes, X, Y, R = cells

    def values(where):
        truth = PerturbationTruth(
            X, genes, perturbations=["P"] * len(X), reference=R, train=R, device=where
        )
        pair = PerturbationPair(truth, Y)
        slow = {"sinkhorn_divergence", "c2st_auc"}  # not dense work of ours
        known = {name: metric for name, metric in METRICS.items() if name not in slow}
        scores = {name: score(metric, pair) for name, metric in known.items()}
        return {name: found.value for name, found in scores.items() if not found.reason}

    expected, got = values(None), values(device)
    assert {"energy_distance", "knn_purity", "coexpression", "pathway"} <= expected.keys()
    assert got == pytest.approx(expected, rel=AGREEMENT, abs=1e-9)


def test_a_truth_on_torch_computes_there(cells, monkeypatch):
    """Every kernel asks torch: none of NumPy's is reached by another way."""
    from reconeval.metrics.device import Torch

    asked = set()
    for name in ("sum_pairs", "count_neighbours", "put"):
        original = getattr(Torch, name)

        def spy(self, *args, _name=name, _original=original, **options):
            asked.add(_name)
            return _original(self, *args, **options)

        monkeypatch.setattr(Torch, name, spy)
    genes, X, Y, R = cells
    truth = PerturbationTruth(
        X, genes, perturbations=["P"] * len(X), reference=R, device="torch:cpu"
    )
    pair = PerturbationPair(truth, Y)
    for name, method in (("energy_distance", "sum_pairs"), ("knn_purity", "count_neighbours")):
        asked.clear()
        assert not score(METRICS[name], pair).reason
        assert method in asked
    for name in ("cellcycle_proportion_same_phase", "coexpression", "pathway"):
        asked.clear()
        assert not score(METRICS[name], pair).reason
        assert asked == {"put"}
