"""Decoders on embeddings as a user runs them: `--model mine:Decoder --embedding X_fm`."""

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pandas.core.arrays.arrow.extension_types
import pyarrow.parquet  # noqa: F401  (pytester restores sys.modules; these load once)
import pytest
import torch  # noqa: F401
from sklearn.linear_model import LogisticRegression  # noqa: F401

import reconeval.contract  # noqa: F401  (likewise)
from reconeval.cases import DecodeCase
from reconeval.datasets import load_dataset, make_split
from reconeval.embedders import write_embedding
from reconeval.embedding import StoredEmbedding, parse_embedder
from reconeval.errors import UsageError
from reconeval.offers import OFFERED
from tests.conftest import ROOT
from tests.example_models import GOOD
from tests.task_models import DECODERS, EMBEDDERS, PREDICTORS

BENCHMARKS = str(ROOT / "benchmarks")
METRICS = str(ROOT / "benchmarks" / "test_metrics.py")
SMALL = ("--dataset", "pbmc68k", "--split", "iid")
QUICK = (*SMALL, "--metrics", "r2,mse")
AXES = ("--embedder", "fm:Axes")
# A decoder that looks at labels alone, whatever the embedding.
NOISE = """
import numpy as np


class AnyColumn:
    task = "decode"

    def __init__(self):
        self.means = None

    def train(self, embedding, X, obs):
        kinds = self.kinds(obs)
        self.means = {kind: X[kinds == kind].mean(axis=0) for kind in set(kinds)}
        self.mean = X.mean(axis=0)

    def predict(self, embedding, obs=None):
        if self.means is None:
            raise RuntimeError("call train first")
        if obs is None:
            return np.tile(self.mean, (len(embedding), 1))
        return np.stack([self.means.get(kind, self.mean) for kind in self.kinds(obs)])

    def kinds(self, obs):
        columns = [obs[name].astype(str) for name in obs if obs[name].nunique() < 50]
        return np.array(["|".join(row) for row in zip(*columns)] or len(obs) * [""])
"""


@pytest.fixture(autouse=True)
def user_folder(pytester, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(mine=DECODERS, fm=EMBEDDERS, shifts=PREDICTORS, whole=GOOD)
    return pytester


def bench(pytester, *args, models=("mine:Linear",), path=METRICS):
    flags = [flag for model in models for flag in ("--model", model)]
    return pytester.runpytest(path, *flags, *args)


def rows(path="out.json"):
    return pd.DataFrame(json.loads(Path(path).read_text())["rows"]).set_index("metric")


def calls():
    return [json.loads(line) for line in Path("calls.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def pbmc():
    return load_dataset("pbmc68k")


def by_axes(dataset, d=20):
    """The embedding of `fm:Axes`, made here of the training cells of the iid split."""
    train = dataset.X[make_split(dataset, "iid").train]
    axes = np.linalg.svd(train - train.mean(0), full_matrices=False)[2][:d]
    return ((dataset.X - train.mean(0)) @ axes.T).astype(np.float32)


class TestEmbedder:
    def test_a_decoder_runs_through_the_whole_suite(self, pytester):
        result = bench(
            pytester, *SMALL, *AXES, "--results=out.json", "-k", "not coexp", path=BENCHMARKS
        )
        assert result.ret == 0, result.stdout.str()
        found = rows()
        assert set(found["model"]) == {"Linear/Axes"}
        assert set(found["spec"]) == {"mine:Linear --embedder fm:Axes"}
        assert set(found["task"]) == {"decode"}
        assert {"poisson_deviance", "pathway", "train_seconds"} <= set(found.index)
        assert found.loc["predict_cells_per_second", "value"] > 0
        assert found.loc["mse", "threshold"] > found.loc["mse", "value"] > 0

    def test_only_training_cells_fit_it_and_each_part_is_embedded_by_itself(self, pytester, pbmc):
        args = ("--metrics", "mse,poisson_deviance", "--seeds=2", "--seed=3")
        models = ("mine:Linear", "again=mine:Linear")
        assert bench(pytester, *SMALL, *AXES, *args, models=models).ret == 0
        split, names = make_split(pbmc, "iid"), np.asarray(pbmc.adata.obs_names)
        parts = [list(names[part]) for part in (split.train, split.train, split.test, split.val)]
        found = calls()
        assert [one["call"] for one in found] == ["fit"] + 4 * ["embed"]
        assert [one["cells"] for one in found] == [*parts, parts[2]]
        assert {one["seed"] for one in found} == {3}
        # the last are the test cells again, without a tenth of their molecules
        assert found[4]["depth"] == pytest.approx(0.9 * found[2]["depth"], rel=0.01)

    def test_settings_and_an_alias_name_it(self, pytester):
        bench(pytester, *QUICK, "--embedder=fm:Axes?d=5", "--results=five.json")
        chosen = ("-k", "Linear/deep and mse", "--results=forty.json")
        result = bench(pytester, *QUICK, "--embedder=deep=fm:Axes?d=40", *chosen)
        result.assert_outcomes(passed=1, deselected=1)
        five, forty = rows("five.json"), rows("forty.json")
        assert set(five["model"]) == {"Linear/Axes+d:5"}
        assert set(forty["model"]) == {"Linear/deep"}
        assert forty.loc["mse", "value"] < five.loc["mse", "value"]

    def test_what_it_draws_from_a_global_generator_is_seeded(self, pytester):
        values = []
        for name in ("a.json", "b.json"):
            bench(pytester, *QUICK, "--no-cache", "--embedder=fm:Noise", f"--results={name}")
            values.append(rows(name)["value"].tolist())
        assert values[0] == values[1]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("Raises", "*embedding the training cells by Raises on pbmc68k/iid raised OSError: *"),
            ("Short", "*Short on pbmc68k/iid: embed of the training cells*shape (419, 3)*"),
            ("Flat", "*expected a floating numpy array of shape (420, d)"),
        ],
    )
    def test_a_broken_one_fails_every_row_in_one_line(self, pytester, name, message):
        result = bench(pytester, *QUICK, f"--embedder=fm:{name}", "--results=out.json")
        assert result.ret == 1
        result.assert_outcomes(failed=2)
        result.stdout.fnmatch_lines([f"mse on pbmc68k/iid: undefined, {message}"])
        result.stdout.no_fnmatch_line("*Traceback*")
        assert rows()["value"].isna().all()


class TestStored:
    @pytest.fixture
    def file(self, pbmc):
        """A user's file with an embedding in obsm, and the same embedding in files of its own."""
        embedding, names = by_axes(pbmc), np.asarray(pbmc.adata.obs_names)
        adata = anndata.AnnData(pbmc.X, obs=pbmc.adata.obs, var=pbmc.adata.var[[]])
        adata.obsm["X_fm"] = embedding
        adata.write_h5ad("cells.h5ad")
        order = np.random.default_rng(0).permutation(len(names))
        write_embedding("other.h5ad", embedding[order], names[order])
        write_embedding("other.npy", embedding[order], names[order])

    @pytest.mark.usefixtures("file")
    def test_obsm_and_files_in_any_order_give_the_same_scores(self, pytester):
        values = {}
        for source in ("X_fm", "other.h5ad", "other.npy"):
            args = ("--dataset=cells.h5ad", "--metrics=r2,mse,poisson_deviance")
            result = bench(pytester, *args, "--embedding", source, "--results=out.json")
            assert result.ret == 0
            found = rows()
            assert set(found["model"]) == {f"Linear/{source.partition('.')[0]}"}
            assert set(found["spec"]) == {f"mine:Linear --embedding {source}"}
            values[source] = found["value"].dropna().tolist()
        assert len(values["X_fm"]) == 2
        assert values["X_fm"] == values["other.h5ad"] == values["other.npy"]

    @pytest.mark.usefixtures("file")
    def test_a_key_of_obsm_may_have_a_dot(self, pytester):
        adata = anndata.read_h5ad("cells.h5ad")
        adata.obsm["X_fm.v2"] = adata.obsm["X_fm"]
        adata.write_h5ad("cells.h5ad")
        args = ("--dataset=cells.h5ad", "--metrics=mse", "--embedding=X_fm.v2")
        assert bench(pytester, *args, "--results=out.json").ret == 0
        assert set(rows()["model"]) == {"Linear/X_fm.v2"}
        result = bench(pytester, *args[:2], "--embedding=X_fm.v3")
        result.stderr.fnmatch_lines(["*cells.h5ad: no 'X_fm.v3' in obsm; did you mean X_fm.v2?*"])

    @pytest.mark.usefixtures("file")
    def test_it_scores_as_the_embedder_that_made_it(self, pytester):
        bench(pytester, *QUICK, "--embedding=other.npy", "--results=stored.json")
        bench(pytester, *QUICK, *AXES, "--results=made.json")
        stored, made = rows("stored.json")["value"], rows("made.json")["value"]
        np.testing.assert_allclose(stored, made, rtol=1e-5)

    @pytest.mark.usefixtures("file")
    def test_thinned_cells_have_no_stored_embedding(self, pytester):
        args = ("--metrics=mse,poisson_deviance", "--embedding=other.npy", "--results=out.json")
        result = bench(pytester, *SMALL, *args)  # the suite's floor does not ask in vain
        result.assert_outcomes(passed=1, skipped=1)
        assert (
            rows()
            .loc["poisson_deviance", "reason"]
            .startswith("needs the embedding of thinned cells")
        )

    @pytest.mark.usefixtures("file")
    def test_two_embeddings_are_two_models_to_a_baseline_and_to_bands(self, pytester):
        Path("mine.toml").write_text("")
        args = (*QUICK, "--thresholds=mine.toml")
        stored = ("--embedding=other.npy",)
        json_file = ("--benchmark-json=old.json", "-k", "not contract")
        bench(pytester, *args, *stored, "--update-thresholds")
        assert '"mine:Linear/other"' in Path("mine.toml").read_text()
        assert bench(pytester, *args, *stored, *json_file, path=BENCHMARKS).ret == 0
        assert bench(pytester, *args, "--embedder=fm:Axes?d=1").ret == 0  # no band of its own
        gate = ("--benchmark-compare=old.json", "--metric-compare-fail=mse:0.1")
        assert bench(pytester, *args, *stored, *gate).ret == 0
        result = bench(pytester, *args, *AXES, *gate)
        assert result.ret == 4
        result.stderr.fnmatch_lines(["*no mse of Linear/Axes*has Linear/other on pbmc68k/iid*"])


class TestDecoders:
    def test_labels_reach_a_decoder_by_name_alone_and_stand_in_its_id(self, pytester):
        models = ("mine:Linear", "mine:ByType")
        args = ("--dataset=immune", "--split=iid", "--metrics=mse", "--embedder=fm:Axes?d=1")
        result = bench(pytester, *args, models=models)
        result.assert_outcomes(passed=1, failed=1)  # no label, no cell type
        result.stdout.fnmatch_lines(["*training ByType/Axes+d:1*KeyError: 'cell_type'*"])
        asked = ("--covariate=cell_type", "--results=out.json")
        bench(pytester, *args, *asked, models=models)
        found = rows().set_index("model")
        by_type, linear = (f"{name}/Axes+d:1+obs:cell_type" for name in ("ByType", "Linear"))
        assert found["value"].notna().all()
        assert found.loc[by_type, "value"] != found.loc[linear, "value"]
        typed = "mine:ByType --embedder fm:Axes?d=1 --covariate cell_type"
        assert found.loc[by_type, "spec"] == typed

    @pytest.mark.parametrize(
        ("options", "columns"),
        [
            ((), []),
            (("--batch-key=part",), ["part"]),
            (("--covariate=day", "--covariate=part", "--batch-key=part"), ["part", "day"]),
        ],
    )
    def test_no_other_column_of_a_users_file_reaches_one(self, pytester, pbmc, options, columns):
        obs = pbmc.adata.obs.assign(part=["a", "b"] * 350, day=range(700))
        anndata.AnnData(pbmc.X, obs=obs, var=pbmc.adata.var[[]]).write_h5ad("cells.h5ad")
        args = ("--dataset=cells.h5ad", "--cell-type-key=cell_type", "--split=iid")
        asked = ("--embedder=fm:Noise", "--metrics=mse", "--results=out.json", *options)
        bench(pytester, *args, *asked, models=("mine:Spy",)).assert_outcomes(passed=1)
        found = [call["columns"] for call in calls() if call["call"] == "obs"]
        assert found == [[columns] * 4]
        assert rows()["model"].tolist() == ["Spy/Noise" + "".join(f"+obs:{c}" for c in columns)]

    def test_the_cells_that_one_decodes_have_no_names(self, pbmc):
        embedder = parse_embedder("fm:Axes", folder=Path.cwd())
        case = DecodeCase(pbmc, make_split(pbmc, "iid"), embedding=embedder)
        assert list(case.test_input().labels["obs"].index) == [str(row) for row in range(210)]

    def test_embedded_noise_and_every_label_on_offer_miss_the_floors(self, pytester):
        Path("noise.py").write_text(NOISE)
        args = ("--dataset=immune", "--split=iid", "--metrics=mse,pearson_gene,pathway")
        blind, labelled = (
            bench(pytester, *args, "--embedder=fm:Noise", *more, models=("noise:AnyColumn",))
            for more in ((), ("--covariate=cell_type",))
        )
        blind.assert_outcomes(failed=3)
        labelled.assert_outcomes(passed=3)  # why labels are for the user to give

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ("Raises", "*training Raises/Axes on pbmc68k/iid, seed 0 raised ValueError: no good*"),
            ("Narrow", "*(210, 764)*(210, 765)*"),
        ],
    )
    def test_a_broken_one_does_not_take_others_along(self, pytester, model, message):
        models = (f"mine:{model}", "mine:Linear")
        result = bench(pytester, *QUICK, *AXES, "--results=out.json", models=models)
        result.assert_outcomes(passed=2, failed=2)
        result.stdout.fnmatch_lines([f"mse on pbmc68k/iid: undefined, {message}"])
        found = rows().set_index("model")["value"]
        assert found["Linear/Axes"].notna().all()
        assert found[f"{model}/Axes"].isna().all()

    def test_all_that_is_declared_is_offered(self, pbmc, pytester):
        embedder = parse_embedder("fm:Axes", folder=Path.cwd())
        case = DecodeCase(pbmc, make_split(pbmc, "iid"), embedding=embedder)
        offers = case.train_offers(seed=4)
        assert set(offers) == set(OFFERED["decode"].train)
        constructor = case.constructor_offers(seed=4)
        assert set(constructor) == set(OFFERED["decode"].constructor)
        assert constructor["embed_dim"].make() == constructor["input_dim"].make() == 20
        split, made = case.split, {name: offer.make() for name, offer in offers.items()}
        np.testing.assert_array_equal(made["X"], pbmc.X[split.train])
        np.testing.assert_array_equal(made["counts"], pbmc.counts[split.train])
        np.testing.assert_allclose(made["embedding"], by_axes(pbmc)[split.train], atol=1e-4)
        np.testing.assert_allclose(made["val_embedding"], by_axes(pbmc)[split.val], atol=1e-4)
        assert list(made["obs"].index) == list(pbmc.adata.obs_names[split.train])
        assert list(made["val_obs"].index) == list(pbmc.adata.obs_names[split.val])
        inputs = case.test_input()
        np.testing.assert_allclose(inputs.first, by_axes(pbmc)[split.test], atol=1e-4)
        inputs.first[:] = np.nan
        assert np.isfinite(case.test_input().first).all()


class TestRefused:
    @pytest.mark.parametrize(
        ("args", "models", "message"),
        [
            ((), ("mine:Linear",), "a decoder needs an embedding: add --embedding KEY_OR_FILE *"),
            (
                ("--embedding=X", *AXES),
                ("mine:Linear",),
                "--embedding and --embedder are both given; keep one*",
            ),
            (("--embedding=X",), ("whole:Good",), "--embedding is for decoders *end_to_end*"),
            (AXES, ("whole:Good",), "--embedder is for decoders*"),
            (("--covariate=a",), ("whole:Good",), "--covariate a: is for decoders*end_to_end*"),
            (
                (*AXES, "--covariate=cell_typ"),
                ("mine:Linear",),
                "--covariate cell_typ on pbmc68k: no such column of obs; did you mean cell_type? *",
            ),
            (AXES, ("shifts:Linear",), "--embedder is for decoders*latent_shift*"),
            (
                AXES,
                ("mine:Linear", "whole:Good"),
                "--model mine:Linear is for the task decode, --model whole:Good for end_to_end; *",
            ),
            (
                ("--embedding=X_fm",),
                ("mine:Linear",),
                "*X_fm on pbmc68k: frozen datasets have no obsm; add --dataset FILE.h5ad whose*",
            ),
            (("--embedding=no.npy",), ("mine:Linear",), "*no.npy: no such file*"),
            (("--embedder=fm:Axis",), ("mine:Linear",), "*did you mean Axes*"),
            (("--embedder=fm:Mute",), ("mine:Linear",), "*Mute has no method embed(adata)*"),
            (("--embedder=fm:Axes?k=1",), ("mine:Linear",), "*Axes() takes no 'k'*"),
            (("--embedder=fm:Axes?train.k=1",), ("mine:Linear",), "*constructor alone, not k"),
            (
                (*AXES, "--perturbation-key=x"),
                ("mine:Linear",),
                "--perturbation-key is for perturbation predictors*",
            ),
            ((*AXES, "--split=perturbation"), ("mine:Linear",), "--split perturbation: unknown*"),
        ],
    )
    def test_in_one_line(self, pytester, args, models, message):
        result = bench(pytester, "--dataset=pbmc68k", *args, models=models)
        assert result.ret == 4
        lines = [line for line in result.errlines if line.strip()]
        assert len(lines) == 1, lines
        result.stderr.fnmatch_lines([f"ERROR: {message}"])

    def test_a_file_that_lacks_cells(self, pbmc):
        names = np.asarray(pbmc.adata.obs_names)[1:]
        write_embedding("short.npy", np.ones((len(names), 2), np.float32), names)
        case = DecodeCase(pbmc, make_split(pbmc, "iid"), embedding=StoredEmbedding("short.npy"))
        with pytest.raises(
            UsageError, match=r"--embedding short.npy on pbmc68k: .* 1 of 700 cells"
        ):
            case.embedded
