from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import warnings
from types import ModuleType

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from reconeval.datasets import load_dataset
from reconeval.embedders import PCAEmbedder, ScGPTEmbedder, read_embedding
from reconeval.embedders.__main__ import main
from reconeval.embedders._checkpoints import check_tensors, load_plain
from reconeval.embedders._foundation import FoundationEmbedder
from reconeval.embedders._torchtext import Vocab, torchtext_for_import, vocab
from reconeval.errors import UsageError
from reconeval.protocols import Embedder
from tests.conftest import ROOT

GENES = ["B", "D", "A", "C"]


class Sum(FoundationEmbedder):
    """A package that draws, prints, logs and warns; it embeds a cell as its counts, twice."""

    package, environment, loggers = "numpy", "nowhere", ("chatty",)
    default_min_genes = 2

    def _load(self):
        print("loading")
        self.loads = getattr(self, "loads", 0) + 1

    def _vocabulary(self):
        return {gene: gene for gene in GENES} | {"delta": "D"}

    def _encode(self, cells):
        print("embedding")
        logging.getLogger("chatty").warning("embedding")
        warnings.warn("chatter", stacklevel=1)
        self.seen = cells
        counts = cells.X.toarray()
        return np.hstack([counts, counts + np.random.random(counts.shape)])  # noqa: NPY002


def counted(counts, genes, *, layer=True):
    counts = np.asarray(counts, dtype=np.float32)
    var = pd.DataFrame(index=genes)
    if not layer:
        return anndata.AnnData(counts, var=var)
    return anndata.AnnData(np.log1p(counts), var=var, layers={"counts": counts})


def fails(call, *parts):
    with pytest.raises(UsageError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


@pytest.mark.filterwarnings("ignore:Sum. [0-9]+ of")
@given(
    order=st.permutations(range(5)),
    empty=st.sets(st.integers(0, 5), max_size=5),
    kind=st.sampled_from([np.asarray, sparse.csr_matrix, sparse.csc_matrix]),
)
def test_genes_come_in_the_order_of_the_model_and_empty_cells_are_zeros(order, empty, kind):
    names = ["A", "B", "x", "C", "delta"]
    counts = np.random.default_rng(0).integers(1, 9, size=(6, 5)).astype(np.float32)
    for row in empty:
        counts[row, [0, 1, 3, 4]] = 0
    adata = counted(counts, names)
    adata.layers["counts"] = kind(counts)
    embedder = Sum("unused")
    embedding = embedder.embed(adata[:, list(order)].copy())
    assert list(embedder.seen.var_names) == ["B", "A", "C", "D"]
    expected = counts[:, [1, 0, 3, 4]]
    np.testing.assert_array_equal(embedding[:, :4], expected)
    np.testing.assert_array_equal(embedding[sorted(empty)], 0)
    assert embedder.loads == 1


def test_what_a_package_says_is_dropped_and_what_is_left_out_is_told(capfd, caplog):
    adata = counted([[1, 2, 0], [0, 0, 4], [3, 3, 3]], ["A", "B", "x"])
    with pytest.warns(UserWarning) as warned:  # noqa: PT030  (both texts are checked below)
        Sum("unused").embed(adata)
    assert [str(w.message) for w in warned] == [
        "Sum: 2 of 3 genes are among the 4 that the model knows; it never sees the others",
        "Sum: 1 of 3 cells have no count in a gene that the model knows; their embedding is zeros",
    ]
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert all(w.filename == __file__ for w in warned)


def test_draws_follow_the_seed_and_leave_the_generators_alone():
    adata = counted([[1, 2], [3, 4]], ["A", "B"])
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    first = Sum("unused").embed(adata)
    assert np.random.random() == expected  # noqa: NPY002
    embedder = Sum("unused")
    np.testing.assert_array_equal(embedder.embed(adata), first)
    np.testing.assert_array_equal(embedder.embed(adata), first)
    assert np.abs(Sum("unused", seed=1).embed(adata) - first).max() > 0.01


def test_counts_may_be_in_x_and_must_be_counts():
    raw = counted([[1, 2], [3, 4]], ["A", "B"], layer=False)
    np.testing.assert_array_equal(Sum("unused").embed(raw)[:, :2], [[2, 1], [4, 3]])
    logs = raw.copy()
    logs.X = np.log1p(logs.X)
    fails(lambda: Sum("unused").embed(logs), "X does not hold raw counts", "layers['counts']")
    for bad in (-1, np.nan):
        raw.X[0, 0] = bad
        fails(lambda: Sum("unused").embed(raw), "X does not hold raw counts")
    raw.X = None
    fails(lambda: Sum("unused").embed(raw), "needs raw counts")


def test_genes_that_do_not_fit_are_refused():
    few = counted([[1, 2]], ["A", "x"])
    fails(lambda: Sum("unused").embed(few), "1 of 2 genes", "at least 2", "B, D, A", "gene_key")
    twice = counted([[1, 2, 3]], ["A", "D", "delta"])
    fails(lambda: Sum("unused").embed(twice), "1 genes of the model", "more than one column (D)")
    fails(lambda: Sum("unused", gene_key="symbl").embed(few), "no such column", "has nothing")
    few.var["symbol"] = ["C", "B"]
    named = Sum("unused", gene_key="symbol").embed(few)
    np.testing.assert_array_equal(named[:, :2], [[2, 1]])
    empty = counted([[0, 0], [0, 0]], ["A", "B"])
    fails(lambda: Sum("unused").embed(empty), "none of the 2 cells")


def test_options_out_of_range_are_refused():
    adata = counted([[1, 2]], ["A", "B"])
    fails(lambda: Sum("unused", batch_size=0), "batch_size=0", "at least 1")
    fails(lambda: Sum("unused", min_genes=0), "min_genes=0", "at least 1")
    on = Sum("unused", device="gpuu")
    fails(on._torch_device, "device='gpuu'")
    import torch

    if not torch.cuda.is_available():
        fails(Sum("unused", device="cuda:0")._torch_device, "no GPU here")
        assert Sum("unused")._torch_device() == torch.device("cpu")

    class Broken(Sum):
        def _encode(self, cells):
            return np.full((cells.n_obs, 2), np.nan)

    fails(lambda: Broken("unused").embed(adata), "NaN or infinite embeddings for 1 of 1 cells")


def test_a_package_that_is_not_installed_names_its_environment():
    class Absent(Sum):
        package = "no-such-package-of-anybody"

    fails(lambda: Absent("unused"), "no-such-package-of-anybody", "tools/embed nowhere")


def test_only_tensors_and_plain_values_are_loaded(tmp_path):
    import torch

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    path = tmp_path / "model.pt"
    torch.save({"weight": torch.ones(2), "settings": {"n": 3}}, path)
    assert load_plain(path, where="here")["settings"] == {"n": 3}
    torch.save({"weight": torch.ones(2), "evil": Evil()}, path)
    fails(lambda: load_plain(path, where="here"), "mkdir", "trust_pickle=true")
    assert not (tmp_path / "made").exists()
    load_plain(path, where="here", trust_pickle=True)
    assert (tmp_path / "made").exists()
    path.write_bytes(b"PK nothing")
    fails(lambda: load_plain(path, where="here"), "cannot be read as torch.save writes it")
    fails(lambda: load_plain(tmp_path / "absent.pt", where="here"), "no file", "absent.pt")


def test_missing_and_misshapen_tensors_are_refused():
    expected = {"a": np.zeros((2, 3)), "b": np.zeros(2)}
    check_tensors(expected, {**expected, "more": np.zeros(1)}, where="here")
    fails(
        lambda: check_tensors(expected, {"a": expected["a"]}, where="here"), "lacks 1 of 2", "(b)"
    )
    other = {**expected, "a": np.zeros((3, 2))}
    fails(lambda: check_tensors(expected, other, where="here"), "shape (3, 2), expected (2, 3)")


@given(st.lists(st.text(max_size=3), unique=True), st.data())
def test_the_stand_in_for_torchtext_keeps_tokens_in_order(tokens, data):
    made, reference = Vocab([]), []
    for token in tokens:
        place = data.draw(st.integers(0, len(reference)))
        made.insert_token(token, place)
        reference.insert(place, token)
    assert made.get_itos() == Vocab(made.vocab).get_itos() == reference
    assert made(reference) == list(range(len(reference)))
    assert made.get_stoi() == {token: place for place, token in enumerate(reference)}
    with pytest.raises(RuntimeError, match="not found and default index is not set"):
        made["four letters"]
    made.append_token("four letters")
    assert made["four letters"] == len(tokens) == len(made) - 1
    made.set_default_index(7)
    assert made["unknown"] == 7
    assert "unknown" not in made
    for bad in (("four letters", 0), ("unknown", -1), ("unknown", len(made) + 1)):
        with pytest.raises(RuntimeError, match=r"already exists|out of bounds"):
            made.insert_token(*bad)


def test_the_stand_in_stays_only_while_it_is_needed(monkeypatch):
    assert vocab({"a": 3, "b": 1, "c": 2}, min_freq=2).get_itos() == ["a", "c"]
    monkeypatch.setitem(sys.modules, "torchtext", None)  # as if it were not installed
    with torchtext_for_import():
        from torchtext.vocab import Vocab as Imported
    assert Imported is Vocab
    assert not [name for name in sys.modules if name.startswith("torchtext.")]
    real, part = ModuleType("torchtext"), ModuleType("torchtext.vocab")
    monkeypatch.setitem(sys.modules, "torchtext", real)
    monkeypatch.setitem(sys.modules, "torchtext.vocab", part)
    with torchtext_for_import():
        assert sys.modules["torchtext.vocab"] is part
    assert sys.modules["torchtext"] is real


def test_pca_is_fitted_on_training_cells_and_finds_genes_by_name():
    dataset = load_dataset("immune")
    train, test = dataset.adata[:300].copy(), dataset.adata[300:350].copy()
    embedder = PCAEmbedder(n_components=5, seed=1)
    assert isinstance(embedder, Embedder)
    fails(lambda: embedder.embed(test), "call fit(adata)")
    embedder.fit(train)
    embedding = embedder.embed(test[:, ::-1].copy())
    dense = train.X.toarray().astype(np.float64)
    _, _, axes = np.linalg.svd(dense - dense.mean(axis=0), full_matrices=False)
    expected = (test.X.toarray() - dense.mean(axis=0)) @ axes[:5].T
    assert embedding.dtype == np.float32
    # Components are unique up to their sign; the randomised solver is near, not exact.
    signs = np.sign((embedding * expected).sum(axis=0))
    np.testing.assert_allclose(embedding, expected * signs, atol=0.05 * np.abs(expected).max())
    again = PCAEmbedder(n_components=5, seed=1)
    again.fit(train)
    np.testing.assert_array_equal(again.embed(test), embedder.embed(test))
    fails(lambda: embedder.embed(test[:, 3:].copy()), "3 of 2296 genes", "missing")
    fails(lambda: PCAEmbedder(n_components=400).fit(train), "n_components=400")
    fails(lambda: PCAEmbedder(n_components=0), "at least 1")


def test_the_command_writes_what_embedding_reads(tmp_path, monkeypatch, capsys):
    (tmp_path / "depths.py").write_text(
        "import numpy as np\n"
        "class Depth:\n"
        "    def __init__(self, scale=1.0): self.scale = scale\n"
        "    def embed(self, adata):\n"
        "        total = np.asarray(adata.layers['counts'].sum(axis=1)).ravel()\n"
        "        return self.scale * np.stack([total, -total], axis=1)\n"
        "class Fitted(Depth):\n"
        "    def fit(self, adata): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["depths:Depth?scale=2", "immune", "out.h5ad"]) == 0
    assert "1000 cells, 2 dimensions" in capsys.readouterr().out
    adata = load_dataset("immune").adata
    total = np.asarray(adata.layers["counts"].sum(axis=1)).ravel()
    read = read_embedding("out.h5ad", adata[::-1].copy())
    np.testing.assert_allclose(read, 2 * np.stack([total, -total], axis=1)[::-1])
    adata[:30].write_h5ad("few.h5ad")
    assert main(["depths:Depth", "few.h5ad", "few.npy"]) == 0
    np.testing.assert_allclose(read_embedding("few.npy", adata[:30])[:, 0], total[:30])
    capsys.readouterr()
    for arguments, part in (
        (["depths:Depth", "absent.h5ad", "out.h5ad"], "no such file"),
        (["depths:Depth", "immune", "out.csv"], "ends in .h5ad or .npy"),
        (["depths:Fitted", "immune", "out.h5ad"], "pytest --embedder"),
        (["depths:Depth?scal=2", "immune", "out.h5ad"], "did you mean scale"),
        (["reconeval.embedders:ScGPTEmbedder?checkpoint=a&seeed=1", "immune", "o.npy"], "seeed"),
    ):
        assert main(arguments) == 4
        error = capsys.readouterr().err
        assert part in error
        assert error.count("\n") == 1


def test_importing_the_embedders_loads_nothing_heavy():
    code = (
        "import sys, reconeval.embedders\n"
        "heavy = {'torch', 'anndata', 'pandas', 'scipy', 'sklearn', 'lightning', 'h5py', 'zarr'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_embedders_of_packages_satisfy_the_protocol():
    assert issubclass(ScGPTEmbedder, Embedder)


def test_the_page_about_embeddings_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "embeddings.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names = {}
    for block in blocks:
        exec(block, names)
    assert (tmp_path / "fm.h5ad").is_file()
    embedded = names["Depth"](scale=2).embed(names["cells"])
    assert embedded.shape == (names["cells"].n_obs, 2)
    assert len(blocks) == 2
