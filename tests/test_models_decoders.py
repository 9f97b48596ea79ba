from __future__ import annotations

import copy
import pickle
import random
import weakref
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse, special
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reconeval.datasets import load_dataset, make_split
from reconeval.errors import UsageError
from reconeval.models import KNNDecoder, Mean, MLPDecoder, ReconPCA, TransformerDecoder
from reconeval.models._decoder_module import PairedCells
from reconeval.models.gene_queries import GeneQueries
from reconeval.models.likelihoods import ACTIVATIONS, INVERSES
from reconeval.protocols import task_of
from reconeval.spec import parse_models

D, N_GENES = 6, 21
DISTRIBUTIONS = ["normal", "huber", "l1", "normal_mle_fixed", "normal_mle_gene", "nb_gene"]
TINY = {"dim_model": 8, "n_heads": 2, "n_layers": 1, "n_tokens": 3}

mlp = partial(MLPDecoder, D, N_GENES, n_hidden=[16], learning_rate=0.01)
transformer = partial(TransformerDecoder, D, N_GENES, **TINY, gene_chunk=8, learning_rate=0.01)
knn = partial(KNNDecoder, D, N_GENES, k=5)

NETWORKS = pytest.mark.parametrize("make", [mlp, transformer], ids=["mlp", "transformer"])
ALL = pytest.mark.parametrize("make", [mlp, transformer, knn], ids=["mlp", "transformer", "knn"])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """So small products are slower on several cores than on one, where others want them, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def simulate(n_cells=120, seed=0):
    """Embeddings and the counts that they stand for."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n_cells, D)).astype(np.float32)
    axes = np.random.default_rng(1).normal(size=(D, N_GENES))
    return Z, rng.poisson(np.exp(0.4 * Z @ axes + 1)).astype(np.float32)


Z, COUNTS = simulate()
X = np.log1p(COUNTS)


def trained(make, cells=Z, target=X, **options):
    model = make()
    if not isinstance(model, KNNDecoder):
        options = {"max_epochs": 3, **options}
    model.train(cells, target, accelerator="cpu", **options)
    return model


# What every decoder does


@ALL
def test_is_a_decoder(make):
    assert task_of(make()) == "decode"


def test_each_can_be_asked_for_by_name():
    names = ["MLPDecoder", "TransformerDecoder", "KNNDecoder"]
    assert [s.task for s in parse_models([f"models:{name}" for name in names])] == ["decode"] * 3


@ALL
def test_prediction_is_float32_and_the_input_is_left_alone(make):
    given_ = [a.copy() for a in (Z, X)]
    for array in given_:
        array.setflags(write=False)
    model = trained(make, *given_)
    out = model.predict(given_[0])
    assert out.dtype == np.float32
    assert out.shape == X.shape
    assert np.array_equal(out, model.predict(given_[0]))
    assert np.array_equal(given_[0], Z)
    assert np.array_equal(given_[1], X)
    assert model.predict(Z[:0]).shape == (0, N_GENES)


@ALL
def test_a_cell_is_predicted_whatever_the_order_and_the_others(make):
    model = trained(make)
    whole = model.predict(Z)
    order = np.random.default_rng(0).permutation(len(Z))
    np.testing.assert_allclose(model.predict(Z[order]), whole[order], rtol=1e-4, atol=1e-5)
    alone = np.concatenate([model.predict(row[None]) for row in Z[:9]])
    np.testing.assert_allclose(alone, whole[:9], rtol=1e-4, atol=1e-5)
    many = np.concatenate([Z] * 10)  # more than one batch of prediction
    np.testing.assert_allclose(model.predict(many)[-len(Z) :], whole, rtol=1e-4, atol=1e-5)


@ALL
def test_what_was_given_may_change_afterwards(make):
    cells, target = Z.copy(), X.copy()
    model = trained(make, cells, target)
    before = model.predict(Z)
    cells[:], target[:] = 0, 0
    assert np.array_equal(model.predict(Z), before)


@ALL
def test_sparse_and_float64_input_equal_dense_float32(make):
    whole = trained(make).predict(Z)
    other = trained(make, sparse.csr_matrix(Z.astype(np.float64)), sparse.csr_matrix(X))
    assert np.array_equal(other.predict(Z.astype(np.float64)), whole)


@ALL
def test_training_again_starts_afresh(make):
    model = trained(make, 3 * Z[:50], X[:50] + 1)
    model.train(Z, X, accelerator="cpu", **({} if make is knn else {"max_epochs": 3}))
    assert np.array_equal(model.predict(Z), trained(make).predict(Z))


@ALL
def test_save_and_load_give_the_same_predictions(make, tmp_path):
    model = trained(make)
    model.save(tmp_path / "decoder")
    loaded = type(model).load(tmp_path / "decoder")
    assert [path.name for path in tmp_path.iterdir()] == ["decoder"]
    assert np.array_equal(loaded.predict(Z), model.predict(Z))
    with pytest.raises(UsageError, match=rf"holds {type(model).__name__}, expected ReconPCA"):
        ReconPCA.load(tmp_path / "decoder")
    loaded.save(tmp_path / "again")
    assert np.array_equal(type(model).load(tmp_path / "again").predict(Z), model.predict(Z))


@ALL
def test_use_before_training_fails_clearly(make, tmp_path):
    model = make()
    for use in (model.predict, model.save, model.to):
        with pytest.raises(RuntimeError, match=r"not trained: call train\(embedding, X\) first"):
            use(tmp_path / "x")


@ALL
@pytest.mark.parametrize(
    ("cells", "target", "message"),
    [
        (Z[:, 1:], X, "embedding has 5 columns, expected 6"),
        (Z, X[:, 1:], "X has 20 columns, expected 21"),
        (Z[1:], X, "embedding has 119 rows and X 120; pass the same cells"),
        (np.full_like(Z, np.nan), X, "embedding has NaN"),
    ],
    ids=["embedding", "genes", "rows", "nan"],
)
def test_what_does_not_fit_is_refused_before_training(make, cells, target, message):
    model = trained(make)
    before = model.predict(Z)
    with pytest.raises(UsageError, match=message):
        model.train(cells, target, accelerator="cpu")
    assert np.array_equal(model.predict(Z), before)
    if cells is not Z and len(cells) == len(Z):
        with pytest.raises(UsageError, match=message):
            model.predict(cells)


# Real cells


@pytest.fixture(scope="module")
def pbmc():
    """Principal components and expression of pbmc68k: training, validation and test."""
    dataset = load_dataset("pbmc68k")
    split = make_split(dataset, "iid", seed=0)
    pca = ReconPCA(n_components=20)
    pca.train(dataset.X[split.train])
    embedding = pca.get_latent_representation(dataset.X)
    parts = [(embedding[rows], dataset.X[rows]) for rows in (split.train, split.val, split.test)]
    mean = Mean()
    mean.train(parts[0][1])
    return parts, mse(mean.predict(parts[2][1]), parts[2][1])


def mse(a, b):
    return float(((a - b) ** 2).mean())


def test_the_perceptron_beats_the_mean_by_far(pbmc):
    ((cells, target), (val, val_X), (test, test_X)), of_mean = pbmc
    decoder = MLPDecoder(20, target.shape[1], n_hidden=[64])
    decoder.train(cells, target, val_embedding=val, val_X=val_X, accelerator="cpu", max_epochs=30)
    assert mse(decoder.predict(test), test_X) < 0.75 * of_mean
    best = min(decoder.losses)
    assert mse(decoder.predict(val), val_X) == pytest.approx(best, rel=1e-4)


def test_the_nearest_neighbours_beat_the_mean_by_far(pbmc):
    ((cells, target), _, (test, test_X)), of_mean = pbmc
    decoder = KNNDecoder(20, target.shape[1], k=15)
    decoder.train(cells, target, accelerator="cpu")
    assert mse(decoder.predict(test), test_X) < 0.85 * of_mean
    distance = np.sqrt(((test[:, None] - cells[None]) ** 2).sum(axis=2, dtype=np.float64))
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :15]
    np.testing.assert_allclose(decoder.predict(test), target[nearest].mean(axis=1), atol=1e-5)


def test_the_transformer_beats_the_mean(pbmc):
    ((cells, target), _, (test, test_X)), of_mean = pbmc
    some = np.argsort(-target.var(axis=0), kind="stable")[:100]
    of_mean = mse(target[:, some].mean(axis=0), test_X[:, some])
    decoder = TransformerDecoder(20, 100, **TINY | {"dim_model": 16}, learning_rate=0.01)
    decoder.train(cells, target[:, some], accelerator="cpu", max_epochs=12)
    assert mse(decoder.predict(test), test_X[:, some]) < 0.8 * of_mean


# Nearest neighbours


def brute_force(queries, cells, target, k):
    out = []
    for query in queries.astype(np.float64):
        squared = [sum((a - b) ** 2 for a, b in zip(query, cell, strict=True)) for cell in cells]
        nearest = sorted(range(len(cells)), key=lambda row: (squared[row], row))[:k]
        out.append(target[nearest].mean(axis=0))
    return np.array(out)


@given(
    # Whole numbers, of which every distance is exact, so that many cells tie.
    cells=hnp.arrays(np.float64, st.tuples(st.integers(1, 15), st.just(2)),
                     elements=st.integers(-2, 2)),
    queries=hnp.arrays(np.float64, (5, 2), elements=st.integers(-3, 3)),
    data=st.data(),
)  # fmt: skip
def test_equally_far_cells_are_taken_in_order(cells, queries, data):
    k = data.draw(st.integers(1, len(cells)))
    target = np.arange(3.0 * len(cells)).reshape(-1, 3) ** 2
    decoder = KNNDecoder(2, 3, k=k)
    decoder.train(cells, target, accelerator="cpu")
    expected = brute_force(queries, cells, target, k)
    np.testing.assert_allclose(decoder.predict(queries), expected, rtol=1e-6)


def test_neighbours_are_told_apart_far_from_the_origin():
    rng = np.random.default_rng(0)
    cells = (1e4 + rng.normal(size=(300, 8))).astype(np.float32)
    queries = (1e4 + rng.normal(size=(40, 8))).astype(np.float32)
    target = rng.random((300, 4)).astype(np.float32)
    decoder = KNNDecoder(8, 4, k=3)
    decoder.train(cells, target, accelerator="cpu")
    expected = brute_force(queries, cells.astype(np.float64), target, 3)
    np.testing.assert_allclose(decoder.predict(queries), expected, rtol=1e-6)


def test_the_nearest_training_cell_is_the_cell_itself():
    one = trained(partial(KNNDecoder, D, N_GENES, k=1))
    assert np.array_equal(one.predict(Z), X)
    all_of_them = trained(partial(KNNDecoder, D, N_GENES, k=len(Z)))
    expected = np.repeat(X.mean(axis=0)[None], len(Z), axis=0)
    np.testing.assert_allclose(all_of_them.predict(Z), expected, rtol=1e-5)


def test_equal_training_cells_are_no_trouble(monkeypatch):
    from reconeval.models import knn_decoder

    monkeypatch.setattr(knn_decoder, "_BLOCK_ENTRIES", 7 * len(Z))
    same = trained(knn, np.ones_like(Z))
    expected = np.repeat(X[:5].mean(axis=0)[None], len(Z), axis=0)
    np.testing.assert_allclose(same.predict(Z), expected, rtol=1e-5)


def test_more_neighbours_than_cells_are_refused():
    with pytest.raises(UsageError, match=r"k=5 is more than the 4 training cells; take k=4 or"):
        knn().train(Z[:4], X[:4])
    with pytest.raises(UsageError, match="k must be at least 1, got 0"):
        KNNDecoder(D, N_GENES, k=0)


@pytest.mark.parametrize("k", [2.5, "5", True, None])
def test_a_number_of_neighbours_that_is_not_whole_is_refused(k):
    with pytest.raises(UsageError, match="KNNDecoder: k must be a whole number of at least 1, got"):
        KNNDecoder(D, N_GENES, k=k)
    assert KNNDecoder(D, N_GENES, k=np.int64(5)).k == 5
    with pytest.raises(UsageError, match="accelerator is 'tpu', expected auto, cpu or gpu"):
        knn().train(Z, X, accelerator="tpu")


# Training of networks


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@NETWORKS
def test_every_distribution_learns(make, distribution):
    target = COUNTS if distribution == "nb_gene" else X
    decoder = make(distribution=distribution)
    decoder.train(Z, target, max_epochs=9, accelerator="cpu")
    assert decoder.losses[-1] < 0.98 * decoder.losses[0]
    error = np.abs(decoder.predict(Z) - target).mean()
    assert error < np.abs(target.mean(axis=0) - target).mean()


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [("relu", 0, np.inf), ("softplus", 0, np.inf), ("sigmoid", 0, 1)],
    ids=["relu", "softplus", "sigmoid"],
)
def test_output_activation_bounds_the_prediction(activation, low, high):
    target = X - X.mean()
    assert trained(mlp, target=target).predict(Z).min() < 0
    out = trained(partial(mlp, output_activation=activation), target=target).predict(Z)
    assert low <= out.min()
    assert out.max() <= high


@pytest.mark.parametrize("activation", sorted(INVERSES))
def test_training_starts_from_the_mean_cell(activation):
    means = torch.tensor([0.02, 0.3, 0.9], dtype=torch.float64)
    found = ACTIVATIONS[activation]()(INVERSES[activation](means))
    torch.testing.assert_close(found, means)
    extreme = torch.tensor([-3.0, 0.0, 1e4], dtype=torch.float64)
    assert torch.isfinite(INVERSES[activation](extreme)).all()


def test_the_inverse_of_softplus_is_that_of_scipy():
    means = np.array([0.05, 1, 30, 5000])
    expected = np.append(special.xlogy(1, np.expm1(means[:3])), 5000)
    found = INVERSES["softplus"](torch.tensor(means))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_a_transformer_without_training_is_the_mean_cell():
    still = partial(transformer, learning_rate=1e-12)
    mean = np.repeat(X.mean(axis=0)[None], len(Z), axis=0)
    np.testing.assert_allclose(trained(still).predict(Z), mean, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_scale_of_the_embedding_does_not_matter(scale):
    moved = (Z.astype(np.float64) + 2) * scale
    out = trained(mlp, moved, max_epochs=8).predict(moved)
    expected = trained(mlp, max_epochs=8).predict(Z)
    np.testing.assert_allclose(out, expected, atol=2e-2)
    assert mse(out, X) < 0.8 * mse(X.mean(axis=0), X)


def test_a_constant_embedding_trains_to_the_mean():
    same = np.ones_like(Z)
    out = trained(transformer, same, max_epochs=8).predict(same)
    np.testing.assert_allclose(out[0], X.mean(axis=0), atol=0.1)


@NETWORKS
def test_same_seed_same_prediction_whatever_the_global_state(make):
    torch.manual_seed(1)
    first = trained(partial(make, seed=5)).predict(Z)
    torch.manual_seed(2)
    before = torch.get_rng_state(), random.getstate()
    assert np.array_equal(first, trained(partial(make, seed=5)).predict(Z))
    assert np.array_equal(first, trained(partial(make, seed=0), seed=5).predict(Z))
    assert not np.array_equal(first, trained(partial(make, seed=6)).predict(Z))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_the_order_of_training_depends_on_the_seed_alone():
    def order(seed):
        cells = PairedCells((Z, X), None, batch_size=50, seed=seed)
        return [batch[0] for _ in range(2) for batch in cells.train_dataloader()]

    assert [len(batch) for batch in order(0)] == [50, 50, 20] * 2
    assert torch.equal(torch.cat(order(0)), torch.cat(order(0)))
    assert not torch.equal(torch.cat(order(0)), torch.cat(order(1)))
    assert sorted(map(tuple, torch.cat(order(0)[:3]).tolist())) == sorted(map(tuple, Z.tolist()))


def test_validation_decides_on_the_end_of_training():
    noise = np.random.default_rng(0).normal(size=(40, N_GENES)).astype(np.float32) + 2
    val = {"val_embedding": Z[:40], "val_X": noise}
    decoder = trained(mlp, max_epochs=60, early_stopping_patience=4, **val)
    assert len(decoder.losses) < 60
    assert mse(decoder.predict(Z[:40]), noise) == pytest.approx(min(decoder.losses), rel=1e-4)
    without = trained(mlp, max_epochs=6, val_embedding=Z[:0], val_X=X[:0])
    assert without.losses == trained(mlp, max_epochs=6).losses


@NETWORKS
def test_a_last_batch_of_one_cell_is_no_trouble(make):
    decoder = trained(make, Z[:65], X[:65], val_embedding=Z[:1], val_X=X[:1])
    assert np.isfinite(decoder.predict(Z)).all()


@NETWORKS
def test_training_is_silent_and_writes_no_file(make, capfd, recwarn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(make)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert not list(tmp_path.iterdir())


@NETWORKS
def test_a_trained_model_can_be_copied_without_the_data(make):
    large = np.repeat(Z, 40, axis=0), np.repeat(X, 40, axis=0)
    decoder = trained(make, *large, max_epochs=1)
    assert len(pickle.dumps(decoder)) < large[0].nbytes
    assert np.array_equal(copy.deepcopy(decoder).predict(Z), decoder.predict(Z))


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(RuntimeError, match=r"the loss was (inf|nan); lower learning_rate"):
        trained(mlp, target=X * 1e30)


# The transformer


def network(gene_chunk, n_genes=N_GENES, **changes):
    torch.manual_seed(0)
    sizes = {**TINY, "dropout": 0.0, **changes}
    net = GeneQueries(D, n_genes, gene_chunk=gene_chunk, **sizes)
    torch.nn.init.normal_(net.weight)
    return net


@given(gene_chunk=st.integers(1, N_GENES + 3))
def test_the_size_of_the_chunks_changes_nothing(gene_chunk):
    whole, chunked = network(N_GENES), network(gene_chunk)
    outs = [net(torch.tensor(Z[:9])) for net in (whole, chunked)]
    torch.testing.assert_close(outs[1], outs[0], rtol=1e-4, atol=1e-5)
    for out in outs:
        out.square().mean().backward()
    for (name, a), b in zip(whole.named_parameters(), chunked.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_the_size_of_the_chunks_does_not_change_what_is_learnt():
    outs = [trained(partial(transformer, gene_chunk=size)).predict(Z) for size in (4, N_GENES)]
    np.testing.assert_allclose(outs[0], outs[1], atol=1e-3)
    assert np.abs(outs[0] - X.mean(axis=0)).max() > 0.05


def test_with_dropout_the_way_back_sees_the_units_of_the_way_there():
    torch.manual_seed(3)
    net = network(4, dropout=0.5)
    inputs = torch.tensor(Z[:5], dtype=torch.float64, requires_grad=True)
    net.double()

    def out(values):
        torch.manual_seed(7)
        return net(values)

    assert torch.autograd.gradcheck(out, inputs)


def test_genes_do_not_see_one_another():
    net = network(N_GENES)
    cells = torch.tensor(Z[:4])
    before = net(cells)
    with torch.no_grad():
        net.queries[5] *= -1
    changed = (net(cells) - before).abs().amax(dim=0) > 1e-6
    assert changed.nonzero().flatten().tolist() == [5]


class LiveBytes(TorchDispatchMode):
    """Count the bytes of tensors made inside that are alive at once."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage):
        key = storage._cdata
        if key in self._seen:
            return
        size = storage.nbytes()

        def gone(_):
            del self._seen[key]
            self.now -= size

        self._seen[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def peak(gene_chunk, n_genes, *, training):
    net = network(gene_chunk, n_genes, dim_model=16)
    cells = torch.tensor(Z[:32])
    with LiveBytes() as live, torch.set_grad_enabled(training):
        out = net(cells)
        if training:
            out.square().mean().backward()
    # What any decoder needs: outputs, and gradients of the parameters that each gene has.
    return live.peak - 4 * n_genes * (8 * len(cells) + 8 * 16)


@pytest.mark.parametrize("training", [True, False], ids=["training", "prediction"])
def test_memory_does_not_grow_with_the_number_of_genes(training):
    few, many, at_once = (
        peak(*sizes, training=training) for sizes in ((64, 128), (64, 1024), (1024, 1024))
    )
    assert many < 1.3 * few
    assert at_once > 5 * few


def test_a_batch_of_prediction_has_fewer_cells_where_chunks_are_large():
    rows = [TransformerDecoder(D, 20_000, gene_chunk=c).rows_at_once for c in (128, 20_000)]
    assert rows == [256, 1]
    decoder = trained(transformer)
    whole = decoder.predict(Z)
    decoder.rows_at_once = 7
    np.testing.assert_allclose(decoder.predict(Z), whole, atol=1e-5)


# Covariates


def with_batches(n_cells=200, seed=0):
    """Cells whose expression depends on a batch that the embedding does not show."""
    rng = np.random.default_rng(seed)
    batch = rng.choice(["a", "b"], size=n_cells, p=[0.75, 0.25])
    cells = rng.normal(size=(n_cells, D))
    target = np.repeat(np.where(batch == "a", 0.0, 4.0)[:, None], N_GENES, axis=1)
    target += cells[:, :1] + 0.1 * rng.normal(size=target.shape)
    return cells, target, pd.DataFrame({"batch": batch, "other": 1.5})


@NETWORKS
def test_covariates_matter(make, tmp_path):
    cells, target, obs = with_batches()
    decoder = trained(partial(make, covariates=["batch"]), cells, target, obs=obs, max_epochs=25)
    test, test_target, test_obs = with_batches(100, seed=1)
    found = decoder.predict(test, obs=test_obs)
    blind = trained(make, cells, target, max_epochs=25).predict(test)
    assert mse(found, test_target) < 0.3 * mse(blind, test_target)
    swapped = test_obs.assign(batch=np.where(test_obs["batch"] == "a", "b", "a"))
    gap = decoder.predict(test, obs=swapped) - found
    assert (np.sign(gap.mean(axis=1)) == np.where(test_obs["batch"] == "a", 1, -1)).all()
    decoder.save(tmp_path / "decoder")
    loaded = type(decoder).load(tmp_path / "decoder")
    assert np.array_equal(loaded.predict(test, test_obs), found)


def test_an_unknown_category_counts_as_the_average_with_a_warning():
    cells, target, obs = with_batches()
    linear = MLPDecoder(D, N_GENES, n_hidden=[], covariates=["batch"], learning_rate=0.05)
    linear.train(cells, target, obs=obs, max_epochs=60, accelerator="cpu")
    of_a, of_b = (linear.predict(cells, obs.assign(batch=batch)) for batch in "ab")
    unknown = obs.assign(batch=["new"] * 150 + [None] * 50)
    message = r"200 of 200 cells have a 'batch' that training did not have \(None, new\)"
    with pytest.warns(UserWarning, match=message) as caught:
        found = linear.predict(cells, obs=unknown)
    assert caught[0].filename == __file__
    share = (obs["batch"] == "a").mean()
    np.testing.assert_allclose(found, share * of_a + (1 - share) * of_b, atol=1e-4)


def test_categories_may_be_categorical_numbers_or_in_another_order():
    cells, target, obs = with_batches()
    number = obs["batch"].map({"a": 0, "b": 1})
    forms = [number, number.astype("category"), number.astype(str)]
    outs = []
    for form in forms:
        table = pd.DataFrame({"batch": form})
        decoder = trained(partial(mlp, covariates=("batch",)), cells, target, obs=table)
        outs.append(decoder.predict(cells[::-1], obs=table[::-1]))
    assert np.array_equal(outs[0], outs[1])
    assert np.array_equal(outs[0], outs[2])


def test_annotations_that_do_not_fit_are_refused():
    cells, target, obs = with_batches()
    conditional = partial(mlp, covariates=["batch"])
    cases = [
        ({}, "covariate 'batch' needs the annotations of the cells; pass obs"),
        ({"obs": obs[["other"]]}, "no column 'batch'; it has other; in benchmarks, add --cov"),
        ({"obs": obs[1:]}, "obs has 199 rows, expected 200"),
        ({"obs": obs.assign(batch=None)}, "200 training cells have no 'batch'; fill or drop"),
        (
            {"obs": obs, "val_embedding": cells, "val_X": target},
            r"train \(validation\): covariate 'batch' needs the annotations",
        ),
    ]
    for options, message in cases:
        with pytest.raises(UsageError, match=message):
            trained(conditional, cells, target, **options)
    decoder = trained(conditional, cells, target, obs=obs)
    with pytest.raises(UsageError, match="predict: covariate 'batch' needs the annotations"):
        decoder.predict(cells)


# Bad use


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (mlp, {"distribution": "poisson"}, "distribution is 'poisson', expected normal or huber"),
        (mlp, {"output_activation": "tanh"}, "output_activation with 'normal' is 'tanh', expected"),
        (
            mlp,
            {"distribution": "nb_gene", "output_activation": "relu"},
            "output_activation with 'nb_gene' is 'relu', expected softplus",
        ),
        (mlp, {"n_hidden": [8, 0]}, "MLPDecoder: n_hidden must be at least 1, got 0"),
        (mlp, {"n_hidden": [8.0]}, "n_hidden must be a whole number of at least 1, got 8.0"),
        (mlp, {"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        (mlp, {"learning_rate": 0}, "learning_rate must be above 0, got 0"),
        (mlp, {"covariates": "batch"}, r"covariates is 'batch', expected a list: \['batch'\]"),
        (transformer, {"n_tokens": 0}, "TransformerDecoder: n_tokens must be at least 1, got 0"),
        (transformer, {"n_heads": 3}, "dim_model=8 is no multiple of n_heads=3"),
        (transformer, {"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
    ],
)
def test_bad_options_are_refused(make, options, message):
    with pytest.raises(UsageError, match=message):
        make(**options)
    with pytest.raises(UsageError, match="embed_dim must be at least 1, got 0"):
        make.func(0, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_X": X}, "val_embedding is missing; pass both or none"),
        ({"val_embedding": Z}, "val_X is missing; pass both or none"),
        ({"max_epochs": 0}, "max_epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"batch_size": 8.5}, "batch_size must be a whole number of at least 2, got 8.5"),
    ],
    ids=["no-embedding", "no-expression", "epochs", "batch", "part-of-a-cell"],
)
def test_bad_training_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        trained(mlp, **options)


def test_one_cell_is_too_few_for_batch_normalisation_alone():
    with pytest.raises(UsageError, match="n_cells must be at least 2, got 1"):
        trained(mlp, Z[:1], X[:1])
    np.testing.assert_allclose(trained(transformer, Z[:1], X[:1]).predict(Z[:1]), X[:1], atol=0.1)
    with pytest.raises(UsageError, match="n_cells must be at least 1, got 0"):
        trained(transformer, Z[:0], X[:0])


def test_negative_binomial_refuses_what_is_not_counts():
    with pytest.raises(UsageError, match="not counts; pass raw counts from Python, or take"):
        trained(partial(mlp, distribution="nb_gene"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@ALL
def test_cuda_and_cpu_agree(make):
    decoder = trained(make)
    cpu = decoder.predict(Z)
    np.testing.assert_allclose(decoder.to("cuda").predict(Z), cpu, rtol=1e-3, atol=1e-3)
    assert np.array_equal(decoder.to("cpu").predict(Z), cpu)
