from __future__ import annotations

import copy
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reconeval import InMemoryDataModule
from reconeval.adapters import frozen as frozen_module
from reconeval.adapters.frozen import FrozenDecoder, freeze_decoder
from reconeval.errors import UsageError
from reconeval.models import KNNDecoder, MLPDecoder, ReconAE, ReconPCA, TransformerDecoder
from tests.conftest import ROOT

D, N_GENES = 5, 12
RNG = np.random.default_rng(0)
Z = RNG.normal(size=(64, D)).astype(np.float32)
X = np.abs(Z @ RNG.normal(size=(D, N_GENES)) + 1).astype(np.float32)
BATCH = pd.DataFrame({"batch": ["a", "b"] * 32})
FEW = {"accelerator": "cpu", "max_epochs": 2}


# The shape of a model of scvi-tools, of which this environment has none: a decoder that takes
# dispersion, z, the log library size and codes of categories, and gives four outputs.


class Layers(nn.Module):
    def __init__(self, n_cat_list):
        super().__init__()
        self.n_cat_list = [n if n > 1 else 0 for n in n_cat_list]
        self.linear = nn.Linear(D + sum(self.n_cat_list), 8)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x, *cat_list):
        codes = zip(self.n_cat_list, cat_list, strict=True)
        one_hot = [nn.functional.one_hot(code.squeeze(-1), n) for n, code in codes if n > 1]
        return self.dropout(self.norm(self.linear(torch.cat([x, *one_hot], dim=-1)))).relu()


class ScviDecoder(nn.Module):
    def __init__(self, n_cat_list, *, library):
        super().__init__()
        self.px_decoder = Layers(n_cat_list)
        self.px_scale_decoder = nn.Linear(8, N_GENES)
        self.library = library

    def forward(self, dispersion, z, library, *cat_list):
        assert dispersion == "gene"
        scale = self.px_scale_decoder(self.px_decoder(z, *cat_list))
        rate = library.exp() * scale.softmax(dim=-1) if self.library else scale
        return scale + 100, None, rate, torch.zeros_like(scale)


def scvi_model(*n_cat_list, library=False, is_trained=True):
    torch.manual_seed(0)
    decoder = ScviDecoder(n_cat_list or (1,), library=library)
    decoder(
        "gene",
        torch.randn(20, D),
        torch.zeros(20, 1),
        *[torch.zeros(20, 1, dtype=torch.int64)] * len(n_cat_list or (1,)),
    )  # sets the running means of batch normalisation
    module = SimpleNamespace(
        decoder=decoder, dispersion="gene", n_latent=D, n_batch=(n_cat_list or (1,))[0]
    )
    return SimpleNamespace(module=module, is_trained=is_trained)


def pca():
    model = ReconPCA(n_components=D)
    model.train(X)
    return model, model.decode


def autoencoder():
    model = ReconAE(N_GENES, n_hidden=[8], n_latent=D, output_activation="relu")
    model.train(InMemoryDataModule(X), **FEW)
    return model, model.decode


def mlp():
    model = MLPDecoder(D, N_GENES, n_hidden=[8], dropout=0.5, output_activation="softplus")
    model.train(Z, X, **FEW)
    return model, model.predict


def transformer():
    model = TransformerDecoder(
        D, N_GENES, dim_model=8, n_heads=2, n_layers=1, gene_chunk=5, dropout=0.5
    )
    model.train(Z, X, **FEW)
    return model, model.predict


def scvi():
    model = scvi_model()

    def decode(cells):
        decoder = copy.deepcopy(model.module.decoder).eval()
        with torch.no_grad():
            z = torch.tensor(cells)
            code = torch.zeros(len(z), 1, dtype=torch.int64)
            return decoder("gene", z, torch.ones(len(z), 1), code)[2].numpy()

    return model, decode


@pytest.fixture(scope="module", params=[pca, autoencoder, mlp, transformer, scvi])
def case(request):
    """A trained model, what it decodes to by its own means, and the frozen module."""
    model, decode = request.param()
    return model, decode, freeze_decoder(model)


class Parent(nn.Module):
    """A network in front of a frozen decoder, as in perturbation prediction."""

    def __init__(self, decoder):
        super().__init__()
        self.shift = nn.Linear(D, D)
        self.decoder = decoder

    def forward(self, z):
        return self.decoder(self.shift(z))


def test_it_decodes_as_the_model_does(case):
    _, decode, frozen = case
    assert isinstance(frozen, FrozenDecoder)
    assert (frozen.embed_dim, frozen.n_genes) == (D, N_GENES)
    np.testing.assert_allclose(frozen(torch.tensor(Z)).detach(), decode(Z), rtol=1e-5, atol=1e-5)


@given(leading=st.lists(st.integers(0, 3), max_size=4))
def test_any_number_of_leading_dimensions(case, leading):
    _, _, frozen = case
    n = int(np.prod(leading, dtype=int))
    rows = torch.randn(n, D, generator=torch.Generator().manual_seed(0))
    out = frozen(rows.reshape(*leading, D))
    assert out.shape == (*leading, N_GENES)
    torch.testing.assert_close(out.reshape(n, N_GENES), frozen(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_embeddings_of_any_type_of_number(case, dtype):
    _, _, frozen = case
    z = torch.tensor(Z).to(dtype)
    out = frozen(z)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, frozen(z.float()))
    double = copy.deepcopy(frozen).double()(z)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), out, rtol=1e-4, atol=1e-5)


def test_gradients_reach_an_input_of_another_type(case):
    z = torch.tensor(Z, dtype=torch.float64, requires_grad=True)
    case[2](z).square().mean().backward()
    assert z.grad.dtype == torch.float64
    assert z.grad.abs().sum() > 0


def test_a_decoder_of_double_precision_is_frozen():
    network = nn.Linear(D, 3).double()
    frozen = FrozenDecoder(network, D)
    torch.testing.assert_close(frozen(torch.tensor(Z)), network(torch.tensor(Z).double()).detach())


def test_it_stays_in_evaluation_mode_inside_a_training_parent(case):
    _, decode, frozen = case
    parent = Parent(copy.deepcopy(frozen)).train()
    assert parent.training
    assert not any(module.training for module in parent.decoder.modules())
    assert parent.decoder.train() is parent.decoder
    assert not any(module.training for module in parent.decoder.modules())
    out = [parent.decoder(torch.tensor(Z)).detach() for _ in range(2)]
    assert torch.equal(*out)  # no dropout, no new running means
    np.testing.assert_allclose(out[0], decode(Z), rtol=1e-5, atol=1e-5)


def test_gradients_reach_the_input_and_no_weight(case):
    _, _, frozen = case
    parent = Parent(copy.deepcopy(frozen)).requires_grad_()
    z = torch.tensor(Z, requires_grad=True)
    parent(z).square().mean().backward()
    assert z.grad.abs().sum() > 0
    assert parent.shift.weight.grad.abs().sum() > 0
    assert {name for name, _ in parent.named_parameters()} == {"shift.weight", "shift.bias"}
    for weight in parent.decoder.state_dict(keep_vars=True).values():
        assert not weight.requires_grad
        assert weight.grad is None


def test_the_gradient_is_the_right_one(case):
    _, _, frozen = case
    double = copy.deepcopy(frozen).double()
    z = torch.tensor(Z[:3, None], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(double, z)


def test_training_a_parent_leaves_it_as_it_was(case):
    _, _, frozen = case
    parent = Parent(copy.deepcopy(frozen)).train().requires_grad_()
    before = {name: value.clone() for name, value in parent.decoder.state_dict().items()}
    optimiser = torch.optim.AdamW(parent.parameters(), lr=0.1, weight_decay=0.5)
    z, target = torch.tensor(Z), torch.tensor(X)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = (parent(z) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert min(losses) < losses[0]
    after = parent.decoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_it_is_saved_and_loaded_with_a_parent(case):
    _, decode, frozen = case
    other = copy.deepcopy(frozen)
    for buffer in other.buffers():
        buffer.zero_()
    parent, loaded = Parent(frozen), Parent(other)
    assert any(name.startswith("decoder.network.") for name in parent.state_dict())
    loaded.load_state_dict(parent.state_dict())
    found = loaded.decoder(torch.tensor(Z)).detach()
    np.testing.assert_allclose(found, decode(Z), rtol=1e-5, atol=1e-5)


def test_it_moves_with_its_parent(case):
    parent = Parent(copy.deepcopy(case[2])).to("meta")
    assert {value.device.type for value in parent.state_dict().values()} == {"meta"}
    assert parent.decoder(torch.empty(7, D, device="meta")).shape == (7, N_GENES)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_and_cpu_agree(case):
    _, decode, frozen = case
    found = copy.deepcopy(frozen).to("cuda")(torch.tensor(Z, device="cuda"))
    np.testing.assert_allclose(found.detach().cpu(), decode(Z), rtol=1e-3, atol=1e-3)


def test_it_is_a_copy_that_later_training_does_not_change():
    model, _ = mlp()
    frozen = freeze_decoder(model)
    before = frozen(torch.tensor(Z))
    assert any(p.requires_grad for p in model.module.parameters())
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.add_(1)
    assert torch.equal(frozen(torch.tensor(Z)), before)
    assert not any(b.requires_grad for b in frozen.buffers())


def test_all_cells_are_decoded_with_the_covariates_that_are_named():
    model = MLPDecoder(D, N_GENES, n_hidden=[8], covariates=["batch"])
    model.train(Z, X + (BATCH == "b").to_numpy() * 3, obs=BATCH, **FEW)
    outs = []
    for batch in "ab":
        frozen = freeze_decoder(model, covariates={"batch": batch})
        outs.append(frozen(torch.tensor(Z)[None])[0].numpy())
        expected = model.predict(Z, BATCH.assign(batch=batch))
        np.testing.assert_allclose(outs[-1], expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(outs[0], outs[1])
    cases = [
        (None, "got categories of nothing, expected those of batch"),
        ({"donor": "a"}, "got categories of donor, expected those of batch"),
        ({"batch": "c"}, r"training had no batch 'c' \(it had a, b\)"),
    ]
    for covariates, message in cases:
        with pytest.raises(UsageError, match=message):
            freeze_decoder(model, covariates=covariates)
    with pytest.raises(UsageError, match="got categories of batch, expected those of nothing"):
        freeze_decoder(mlp()[0], covariates={"batch": "a"})


def test_batches_of_a_model_of_scvi_tools_are_chosen_by_code():
    model = scvi_model(3, 1, 2)
    z = torch.tensor(Z)
    found = [freeze_decoder(model, categories=codes)(z) for codes in ([0, 0, 0], [2, 0, 1])]
    assert not torch.allclose(*found)
    decoder = copy.deepcopy(model.module.decoder).eval()
    codes = [torch.full((len(z), 1), code) for code in (2, 0, 1)]
    with torch.no_grad():
        torch.testing.assert_close(found[1], decoder("gene", z, torch.zeros(len(z), 1), *codes)[2])
    with pytest.raises(UsageError, match=r"pass categories, a code below each of \[3, 1, 2\]"):
        freeze_decoder(model)
    for codes in ([0, 0], [3, 0, 0], [0, 0, -1]):
        with pytest.raises(UsageError, match=r"expected a code below each of \[3, 1, 2\]"):
            freeze_decoder(model, categories=codes)


def test_what_cannot_be_frozen_is_refused():
    with pytest.raises(UsageError, match="multiplies by the library size"):
        freeze_decoder(scvi_model(library=True))
    with pytest.raises(RuntimeError, match="is not trained"):
        freeze_decoder(scvi_model(is_trained=False))
    with pytest.raises(RuntimeError, match="ReconPCA is not trained"):
        freeze_decoder(ReconPCA())
    with pytest.raises(RuntimeError, match="MLPDecoder is not trained"):
        freeze_decoder(MLPDecoder(D, N_GENES))
    with pytest.raises(UsageError, match="KNNDecoder has neither decoder_network"):
        freeze_decoder(KNNDecoder(D, N_GENES))
    totals = ReconAE(N_GENES, n_hidden=[8], n_latent=D, library_size_mode="observed")
    totals.train(InMemoryDataModule(X), **FEW)
    with pytest.raises(UsageError, match="decodes with the total of each cell"):
        freeze_decoder(totals)
    with pytest.raises(UsageError, match="ReconPCA takes no categories"):
        freeze_decoder(pca()[0], categories=[0])
    with pytest.raises(UsageError, match="takes no covariates"):
        freeze_decoder(scvi_model(), covariates={"batch": "a"})
    needs_more = scvi_model()
    needs_more.module.n_latent = D - 1
    with pytest.raises(UsageError, match="cannot decode an embedding of width 4"):
        freeze_decoder(needs_more)


def test_embeddings_of_another_width_are_refused(case):
    frozen = case[2]
    for shape in ((3, 1), (2, D + 1), ()):
        with pytest.raises(UsageError, match=r"expected \(\.\.\., 5\)"):
            frozen(torch.zeros(shape))


def test_a_model_of_ones_own_is_frozen_by_its_decoder_network():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(D, 3), nn.ReLU())
    frozen = freeze_decoder(SimpleNamespace(embed_dim=D, decoder_network=lambda: network))
    torch.testing.assert_close(frozen(torch.tensor(Z)), network(torch.tensor(Z)).detach())
    with pytest.raises(UsageError, match=r"made \(2, 5, 1\) of 2 embeddings, expected a tensor"):
        FrozenDecoder(nn.Unflatten(1, (D, 1)), D)


def test_the_example_in_the_docstring_holds():
    import doctest

    outcome = doctest.testmod(frozen_module)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_the_code_of_the_description_runs():
    text = (ROOT / "docs" / "decoders.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 2
    cells = np.random.default_rng(0).normal(size=(30, 32)).astype(np.float32)
    names = {"torch": torch, "Z": cells, "X": cells[:, :9] + 1, "Z_test": cells[:4]}
    names |= {"Z_val": names["Z"][20:], "X_val": names["X"][20:]}
    for block in blocks:
        exec(block, names)
    assert names["decoder"].predict(names["Z_test"]).shape == (4, 9)
    assert names["decode"](torch.zeros(16, 4, 32)).shape == (16, 4, 9)
