"""Each foundation model from a tiny checkpoint with random weights, in its package's own format.

The packages need environments of their own: `tools/test-in-own-environment NAME`.
"""

from __future__ import annotations

import importlib.util
import json
import os

import anndata
import numpy as np
import pandas as pd
import pytest

from reconeval.embedders import (
    ScConceptEmbedder,
    ScGPTEmbedder,
    SCimilarityEmbedder,
    SEEmbedder,
)
from reconeval.errors import UsageError
from tests.embedder_checks import (
    EMPTY,
    N_VOCABULARY,
    as_arrays,
    attention,
    cells,
    check,
    gelu,
    known_counts,
    layer_norm,
    linear,
    tied,
    unit,
    vocabulary,
)


def needs(module, environment):
    return pytest.mark.skipif(
        importlib.util.find_spec(module) is None,
        reason=f"needs {module}; run tools/test-in-own-environment {environment}",
    )


# SCimilarity


def scimilarity(checkpoint, **options):
    return SCimilarityEmbedder(
        checkpoint, **{"min_genes": 40, "batch_size": 5, "device": "cpu", **options}
    )


def write_scimilarity(folder, seed):
    import torch
    from scimilarity.nn_models import Encoder

    torch.manual_seed(seed)
    encoder = Encoder(n_genes=N_VOCABULARY, latent_dim=8, hidden_dim=[16, 12])
    for name, buffer in encoder.named_buffers():  # as training leaves them
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    folder.mkdir()
    encoder.save_state(str(folder / "encoder.ckpt"))
    (folder / "gene_order.tsv").write_text("\n".join(vocabulary()) + "\n")
    shapes = {k: list(v.shape) for k, v in encoder.state_dict().items() if "weight" in k}
    (folder / "layer_sizes.json").write_text(json.dumps(shapes))
    pd.DataFrame({"0": ["B cell", "T cell"]}).to_csv(folder / "label_ints.csv")
    return as_arrays(encoder.state_dict())


@needs("scimilarity", "scimilarity")
def test_scimilarity(tmp_path):
    tensors = write_scimilarity(tmp_path / "a", 0)
    write_scimilarity(tmp_path / "b", 1)

    def forward(adata):
        counts = known_counts(adata, vocabulary()).astype(np.float64)
        counts[EMPTY] = 1
        x = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
        for layer in ("network.0", "network.1"):
            x = linear(x, tensors, f"{layer}.1")
            mean, var = (tensors[f"{layer}.2.running_{what}"] for what in ("mean", "var"))
            x = (x - mean) / np.sqrt(var + 1e-5)
            x = x * tensors[f"{layer}.2.weight"] + tensors[f"{layer}.2.bias"]
            x = np.where(x > 0, x, x * tensors[f"{layer}.3.weight"])
        return unit(linear(x, tensors, "network.2"))

    check(scimilarity, tmp_path / "a", tmp_path / "b", forward, genes=vocabulary(), tolerance=1e-5)


@needs("scimilarity", "scimilarity")
def test_scimilarity_refuses_a_damaged_checkpoint(tmp_path):
    import torch

    write_scimilarity(tmp_path / "a", 0)
    path = tmp_path / "a" / "encoder.ckpt"
    stored = torch.load(path, weights_only=True)
    lacking = {k: v for k, v in stored["state_dict"].items() if k != "network.1.1.weight"}
    torch.save({"state_dict": lacking}, path)
    with pytest.raises(UsageError, match=r"Missing key.*network\.1\.1\.weight"):
        scimilarity(tmp_path / "a").embed(cells(vocabulary()))
    torch.save({"state_dict": stored["state_dict"], "run": pytest.raises}, path)
    with pytest.raises(UsageError, match=r"holds objects of .*raises.*trust_pickle"):
        scimilarity(tmp_path / "a").embed(cells(vocabulary()))
    with pytest.warns(UserWarning, match="48 of 54 genes"):
        scimilarity(tmp_path / "a", trust_pickle=True).embed(cells(vocabulary()))
    (tmp_path / "a" / "gene_order.tsv").unlink()
    with pytest.raises(UsageError, match=r"has no gene_order\.tsv"):
        scimilarity(tmp_path / "a").embed(cells(vocabulary()))


# scGPT


def scgpt(checkpoint, **options):
    return ScGPTEmbedder(
        checkpoint, **{"min_genes": 40, "batch_size": 5, "device": "cpu", **options}
    )


def write_scgpt(folder, seed):
    import torch

    from reconeval.embedders._torchtext import torchtext_for_import

    with torchtext_for_import():
        from scgpt.model import TransformerModel
        from scgpt.tokenizer import GeneVocab
    folder.mkdir()
    tokens = [*vocabulary(), "<pad>", "<cls>", "<eoc>"]
    places = {token: place for place, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(places))
    settings = {"embsize": 16, "nheads": 4, "d_hid": 24, "nlayers": 2, "n_layers_cls": 3}
    settings |= {"dropout": 0.2, "pad_token": "<pad>", "pad_value": -2}
    (folder / "args.json").write_text(json.dumps(settings))
    vocab = GeneVocab.from_file(folder / "vocab.json")
    torch.manual_seed(seed)
    options = {"vocab": vocab, "pad_value": -2, "do_mvc": True, "dropout": 0.2}
    model = TransformerModel(len(tokens), 16, 4, 24, 2, **options)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    # Published checkpoints have flash-attn's names.
    renamed = {k.replace("in_proj_", "Wqkv."): v for k, v in model.state_dict().items()}
    torch.save(renamed, folder / "best_model.pt")
    return as_arrays(model.state_dict())


@needs("scgpt", "scgpt")
def test_scgpt(tmp_path):
    tensors = write_scgpt(tmp_path / "a", 0)
    write_scgpt(tmp_path / "b", 1)

    def embed(counts):
        expressed = np.flatnonzero(counts)
        edges = np.quantile(counts[expressed], np.linspace(0, 1, 50))
        values = np.array([-2, *np.digitize(counts[expressed], edges)])
        genes = tensors["encoder.embedding.weight"][[N_VOCABULARY + 1, *expressed]]
        x = layer_norm(genes, tensors, "encoder.enc_norm")
        hidden = np.maximum(linear(values[:, None], tensors, "value_encoder.linear1"), 0)
        hidden = linear(hidden, tensors, "value_encoder.linear2")
        x = x + layer_norm(hidden, tensors, "value_encoder.norm")
        for i in range(2):
            layer = f"transformer_encoder.layers.{i}"
            names = (f"{layer}.self_attn.in_proj", f"{layer}.self_attn.out_proj")
            x = x + attention(x, tensors, *names, 4, suffixes=("_weight", "_bias"))
            x = layer_norm(x, tensors, f"{layer}.norm1")
            hidden = np.maximum(linear(x, tensors, f"{layer}.linear1"), 0)
            x = layer_norm(
                x + linear(hidden, tensors, f"{layer}.linear2"), tensors, f"{layer}.norm2"
            )
        return unit(x[0])

    def forward(adata):
        counts = known_counts(adata, vocabulary())
        counts[EMPTY, 0] = 1
        return np.stack([embed(row) for row in counts])

    check(scgpt, tmp_path / "a", tmp_path / "b", forward, genes=vocabulary(), tolerance=1e-4)


@needs("scgpt", "scgpt")
def test_scgpt_draws_by_its_seed_and_refuses_missing_tensors(tmp_path):
    import torch

    write_scgpt(tmp_path / "a", 0)
    adata = tied(vocabulary())
    first = scgpt(tmp_path / "a").embed(adata)
    for options in ({}, {"max_length": 12}):
        seeded = scgpt(tmp_path / "a", **options).embed(adata)
        np.testing.assert_array_equal(scgpt(tmp_path / "a", **options).embed(adata), seeded)
        other = scgpt(tmp_path / "a", seed=1, **options).embed(adata)
        assert 1e-4 < np.abs(other - seeded).max() < 1
    assert np.abs(seeded - first).max() > 1e-3
    path = tmp_path / "a" / "best_model.pt"
    stored = torch.load(path, weights_only=True)
    name = "transformer_encoder.layers.1.self_attn.Wqkv.weight"
    torch.save({k: v for k, v in stored.items() if k != name}, path)
    with pytest.raises(UsageError, match=r"lacks 1 of .*layers\.1\.self_attn\.in_proj_weight"):
        scgpt(tmp_path / "a").embed(adata)
    torch.save(stored | {"encoder.enc_norm.bias": torch.zeros(3)}, path)
    with pytest.raises(UsageError, match=r"enc_norm\.bias has shape \(3,\), expected \(16,\)"):
        scgpt(tmp_path / "a").embed(adata)
    torch.save({k: v for k, v in stored.items() if not k.startswith("cls_decoder")}, path)
    np.testing.assert_array_equal(scgpt(tmp_path / "a").embed(adata), first)


# SE

N_SENTENCE, N_TOKEN, CLS_PLACE = 12, 10, 3


def se(checkpoint, **options):
    return SEEmbedder(checkpoint, **{"min_genes": 40, "batch_size": 5, "device": "cpu", **options})


def write_lightning(model, path):
    import lightning

    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, enable_checkpointing=False, barebones=False, **silent
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path, weights_only=True)


def write_se(path, seed):
    import torch
    from omegaconf import OmegaConf
    from state.emb.nn.model import StateEmbeddingModel

    settings = OmegaConf.create(
        {
            "embeddings": {"current": "tiny", "tiny": {"size": N_TOKEN, "num": N_VOCABULARY}},
            "dataset": {
                "current": "tiny",
                "pad_length": N_SENTENCE,
                "P": 4,
                "N": 4,
                "S": 4,
                "cls_token_idx": CLS_PLACE,
                "tiny": {"num_datasets": 2},
            },
            "model": {"batch_size": 8, "rda": True, "counts": True, "dataset_correction": True},
            "loss": {"name": "tabular"},
        }
    )
    OmegaConf.update(settings, "embeddings.tiny.valid_genes_masks", None)
    torch.manual_seed(seed)
    model = StateEmbeddingModel(N_TOKEN, 8, 2, 16, 2, 6, emb_size=N_TOKEN, cfg=settings)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    proteins = {gene: torch.randn(N_TOKEN) for gene in vocabulary()}
    model.protein_embeds = proteins
    write_lightning(model, path)
    return as_arrays(model.state_dict()) | {"proteins": as_arrays(proteins)}


def skip_block(x, tensors, name):
    hidden = np.maximum(linear(x, tensors, f"{name}.intermediate_dense"), 0)
    return layer_norm(linear(hidden, tensors, f"{name}.dense") + x, tensors, f"{name}.layer_norm")


def se_forward(tensors, counts, measured):
    """Embed one cell, whose most expressed genes fill the sentence."""
    logs = np.log1p(counts.astype(np.float64))
    ranked = np.argsort(-logs)[: N_SENTENCE - 1]
    proteins = np.stack([tensors["proteins"][vocabulary()[i]] for i in ranked])
    x = np.concatenate([tensors["cls_token"], unit(proteins), tensors["dataset_token"]])
    x = layer_norm(linear(x, tensors, "encoder.0"), tensors, "encoder.1")
    x = x / (1 + np.exp(-x)) * np.sqrt(8)
    # The package gives its cell token the count of the gene in a fixed column of the data.
    shares = 100 * np.array([logs[measured[CLS_PLACE]], *logs[ranked]]) / logs.sum()
    hidden = linear(shares[:, None], tensors, "count_encoder.0")
    bins = linear(np.where(hidden > 0, hidden, hidden * 0.01), tensors, "count_encoder.2")
    bins = np.exp(bins - bins.max(axis=1, keepdims=True))
    bins /= bins.sum(axis=1, keepdims=True)
    x[:-1] += bins @ tensors["bin_encoder.weight"]
    for i in range(2):
        layer = f"transformer_encoder.layers.{i}"
        x = x + attention(x, tensors, f"{layer}.qkv_proj", f"{layer}.out_proj", 2)
        x = layer_norm(x, tensors, f"{layer}.norm1")
        hidden = linear(gelu(linear(x, tensors, f"{layer}.linear1")), tensors, f"{layer}.linear2")
        x = layer_norm(x + hidden, tensors, f"{layer}.norm2")
    x = linear(skip_block(x, tensors, "decoder.0"), tensors, "decoder.1")
    return np.concatenate([unit(x[0]), linear(x[-1], tensors, "dataset_embedder")])


@needs("state", "state")
def test_se(tmp_path):
    tensors = write_se(tmp_path / "a.ckpt", 0)
    write_se(tmp_path / "b.ckpt", 1)

    def forward(adata):
        genes = vocabulary()
        counts = known_counts(adata, genes)
        counts[EMPTY] = np.arange(N_VOCABULARY)
        measured = [i for i, gene in enumerate(genes) if gene in adata.var_names]
        return np.stack([se_forward(tensors, row, measured) for row in counts])

    first, second = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    check(se, first, second, forward, genes=vocabulary(), tolerance=1e-4)


@needs("state", "state")
def test_se_takes_low_counts_for_counts(tmp_path):
    tensors = write_se(tmp_path / "a.ckpt", 0)
    rng = np.random.default_rng(2)
    # The package by itself would take so low values for logarithms.
    counts = np.stack([rng.permutation([*range(1, 15)] + [0] * (N_VOCABULARY - 14)) for _ in "ab"])
    adata = anndata.AnnData(counts.astype(np.float32), var=pd.DataFrame(index=vocabulary()))
    expected = [se_forward(tensors, row, range(N_VOCABULARY)) for row in counts]
    np.testing.assert_allclose(se(tmp_path / "a.ckpt").embed(adata), expected, atol=1e-4)


@needs("state", "state")
def test_se_draws_by_its_seed_and_refuses_what_is_not_whole(tmp_path):
    import torch

    path = tmp_path / "a.ckpt"
    write_se(path, 0)
    adata = tied(vocabulary())
    first = se(path).embed(adata)
    np.testing.assert_array_equal(se(path).embed(adata), first)
    assert 1e-4 < np.abs(se(path, seed=1).embed(adata) - first).max() < 1
    full = adata.copy()
    full.X = full.X + 1
    with pytest.raises(UsageError, match="12 cells express all 48 genes"):
        se(path).embed(full)
    stored = torch.load(path, weights_only=False)
    lacking = {k: v for k, v in stored["state_dict"].items() if k != "encoder.0.weight"}
    torch.save(stored | {"state_dict": lacking}, path)
    with pytest.raises(UsageError, match=r"lacks 1 of .* tensors \(encoder\.0\.weight\)"):
        se(path).embed(adata)
    torch.save({"state_dict": stored["state_dict"]}, path)
    with pytest.raises(UsageError, match="no protein_embeds_dict"):
        se(path).embed(adata)
    torch.save(stored | {"run": os.system}, path)
    with pytest.raises(UsageError, match=r"holds objects of posix\.system.*trust_pickle"):
        se(path).embed(adata)


# scConcept


def ensembl():
    return vocabulary("ENSG{:011d}")


def scconcept(checkpoint, **options):
    return ScConceptEmbedder(
        checkpoint, **{"min_genes": 40, "batch_size": 5, "device": "cpu", **options}
    )


def write_scconcept(folder, seed):
    from pathlib import Path

    import concept
    import torch
    from concept import ContrastiveModel, scConcept
    from omegaconf import OmegaConf

    (folder / "gene_mappings").mkdir(parents=True)
    ids, names = ["<cls>", "<pad>", *ensembl()], ["<cls>", "<pad>", *vocabulary()]
    table = pd.DataFrame({"gene_id": ids, "gene_name": names, "token": range(len(ids))})
    table.to_csv(folder / "gene_mappings" / "hsapiens.csv", index=False)
    defaults = Path(concept.__file__).parent / "conf" / "model" / "ContrastiveModel.yaml"
    sizes = {"dim_gene_embs": 10, "dim_model": 8, "num_head": 2, "dim_hid": 16, "nlayers": 2}
    model = OmegaConf.merge(
        OmegaConf.load(defaults), sizes, {"flash_attention": False, "pe_max_len": 100}
    )
    data = {
        "species": ["hsapiens"],
        "normalization": "raw",
        "dataset": {"train": {"max_tokens": 30}},
    }
    settings = scConcept.load_config(OmegaConf.create({"model": model, "datamodule": data}))
    OmegaConf.save(settings, folder / "config.yaml")
    torch.manual_seed(seed)
    made = ContrastiveModel(
        settings.model, pad_token_id=1, cls_token_id=0, vocab_sizes={"hsapiens": len(ids)}
    )
    for name, parameter in made.named_parameters():
        if "norm" in name or name == "cls_embedding":
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    write_lightning(made, folder / "model.ckpt")
    return as_arrays(made.state_dict())


def scconcept_forward(tensors, counts):
    """Embed one cell as its 30 most expressed genes in falling order, whatever their counts."""
    ranked = np.argsort(-counts)[: min(30, int((counts > 0).sum()))]
    genes = tensors["gene_token_encoder.learnable_embs.hsapiens.weight"][ranked + 2]
    x = linear(genes, tensors, "gene_token_encoder.adapter2")
    x = layer_norm(x, tensors, "gene_token_encoder.enc_norm")
    x = np.concatenate([tensors["cls_embedding"][None], x])
    angles = np.arange(len(x))[:, None] / 10_000 ** (np.arange(0, 8, 2) / 8)
    x[:, 0::2] += np.sin(angles)
    x[:, 1::2] += np.cos(angles)
    for i in range(2):
        layer = f"transformer_encoder.layers.{i}"
        names = (f"{layer}.self_attn.Wqkv", f"{layer}.self_attn.out_proj")
        x = x + attention(layer_norm(x, tensors, f"{layer}.norm1"), tensors, *names, 2)
        hidden = gelu(linear(layer_norm(x, tensors, f"{layer}.norm2"), tensors, f"{layer}.linear1"))
        x = x + linear(hidden, tensors, f"{layer}.linear2")
    return unit(x[0])


@needs("concept", "scconcept")
def test_scconcept(tmp_path):
    tensors = write_scconcept(tmp_path / "a", 0)
    write_scconcept(tmp_path / "b", 1)

    def forward(adata):
        counts = known_counts(adata, ensembl())
        counts[EMPTY, 0] = 1
        return np.stack([scconcept_forward(tensors, row) for row in counts])

    # The package computes in bfloat16, which has three significant digits.
    check(scconcept, tmp_path / "a", tmp_path / "b", forward, genes=ensembl(), tolerance=0.03)


@needs("concept", "scconcept")
def test_scconcept_knows_symbols_and_refuses_missing_tensors(tmp_path):
    import torch

    write_scconcept(tmp_path / "a", 0)
    adata = tied(ensembl())
    first = scconcept(tmp_path / "a").embed(adata)
    symbol = dict(zip(ensembl(), vocabulary(), strict=True))
    adata.var["symbol"] = [symbol[gene] for gene in adata.var_names]
    by_symbol = scconcept(tmp_path / "a", gene_key="symbol").embed(adata)
    np.testing.assert_array_equal(by_symbol, first)
    with pytest.raises(UsageError, match=r"species='mmusculus'.*has hsapiens"):
        scconcept(tmp_path / "a", species="mmusculus").embed(adata)
    path = tmp_path / "a" / "model.ckpt"
    stored = torch.load(path, weights_only=False)
    name = "gene_token_encoder.enc_norm.weight"
    torch.save(
        stored | {"state_dict": {k: v for k, v in stored["state_dict"].items() if k != name}}, path
    )
    with pytest.raises(UsageError, match=r"Missing key.*enc_norm\.weight"):
        scconcept(tmp_path / "a").embed(adata)
