"""Query mapping with models of scvi-tools, on real cells with synthesised proteins."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reconeval.cases.query_mapping import QueryMappingCase, make_query_split
from reconeval.datasets import load_dataset
from reconeval.datasets._types import Dataset
from reconeval.errors import Undefined, UsageError
from reconeval.fits import trained
from reconeval.query_mapping.cells import query_cells
from reconeval.query_mapping.checks import CHECKS
from reconeval.query_mapping.entries import MAPPING, MOST_DIFFERENCE
from reconeval.query_mapping.models import check_offers, mapper_of
from reconeval.query_mapping.runs import Mappings
from reconeval.query_mapping.trainings import Trainings
from reconeval.spec import parse_models
from tests.conftest import ROOT, data_file

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("scvi") is None, reason="needs scvi-tools: pip install reconeval[scvi]"
)

BATCHES = ("b3", "b4")
SMALL = "n_latent=5&n_hidden=32&train.max_epochs=4"
LAYERS = "use_layer_norm=both&use_batch_norm='none'"  # the architecture of scArches
MODELS = {
    "default": f"scvi.model:SCVI?{SMALL}",
    "scarches": f"scvi.model:SCVI?{SMALL}&{LAYERS}&n_layers=2&encode_covariates=true",
    "recon": f"models:ReconSCVI?{SMALL}&{LAYERS}&encode_covariates=true",
    "proteins": f"scvi.model:TOTALVI?{SMALL}&{LAYERS}&n_layers_encoder=2&n_layers_decoder=2",
}
LIBRARY = {"library": f"models:ReconMLSCVI?{SMALL}&{LAYERS}&encode_covariates=true"}
MAPPED = [name for name in MODELS if name != "default"]  # query training moves their queries
QUICK = {"max_epochs": 5, "batch_size": 16}


@pytest.fixture(scope="module")
def dataset():
    """400 cells and the 200 most variable genes of `immune_batches`, and 8 proteins."""
    whole = load_dataset("immune_batches")
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(whole.adata.n_obs, 400, replace=False))
    genes = np.sort(np.argsort(-whole.X.var(axis=0))[:200])
    adata = whole.adata[rows, genes].copy()
    kinds, codes = np.unique(np.asarray(adata.obs["cell_type"].astype(str)), return_inverse=True)
    levels = rng.gamma(1.0, 10.0, size=(len(kinds), 8))
    adata.obsm["proteins"] = pd.DataFrame(
        rng.poisson(levels[codes] + 1).astype(np.float32),
        index=adata.obs_names,
        columns=[f"protein{i}" for i in range(8)],
    )
    return Dataset("small", "1", "0" * 64, adata, "cell_type", "batch")


@pytest.fixture(scope="module")
def case(dataset):
    return QueryMappingCase(dataset, make_query_split(dataset, BATCHES))


@pytest.fixture(scope="module")
def references(case):
    """The trained reference of each architecture."""
    models = {}

    def get(name):
        if name not in models:
            (spec,) = parse_models([(MODELS | LIBRARY)[name]])
            models[name], _ = trained(spec, case, 0)
        return models[name]

    return get


@pytest.fixture(scope="module")
def mappings(case, references):
    """The trainings of each architecture, for the settings of a mapping."""
    made = {}

    def get(name, **surgery):
        key = (name, *surgery.items())
        if key not in made:
            mapper = mapper_of(references(name), {**QUICK, **surgery})
            made[key] = Trainings(mapper, query_cells(case.dataset, case.split))
        return made[key]

    return get


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "check", [name for name, entry in MAPPING.items() if entry.limit is not None]
)
def test_a_mapping_without_weight_decay_keeps_every_limit(mappings, name, check):
    assert CHECKS[check](mappings(name)).value <= MAPPING[check].limit


@pytest.mark.parametrize("name", MODELS)
def test_weight_decay_moves_the_reference_and_the_check_fails(mappings, name):
    found = CHECKS["reference_drift"](mappings(name, weight_decay=1e-3, max_epochs=20))
    assert found.value > 2 * MOST_DIFFERENCE
    assert "weight_decay=0" in found.cause


def test_batch_normalisation_of_the_decoder_moves_what_the_reference_decodes_to(mappings):
    check = CHECKS["reference_reconstruction_drift"]
    assert check(mappings("default")).value > 1e-3
    assert check(mappings("default", freeze_batchnorm_decoder=True)).value <= MOST_DIFFERENCE
    assert check(mappings("scarches")).value <= MOST_DIFFERENCE


def test_the_encoder_of_the_library_size_moves_it_without_any_batch_normalisation(mappings):
    trainings = mappings("library")
    assert CHECKS["reference_drift"](trainings).value <= MOST_DIFFERENCE
    assert CHECKS["reference_reconstruction_drift"](trainings).value > 1e-3


def test_an_encoder_that_is_frozen_whole_leaves_the_recipe_no_say(mappings):
    trainings = mappings("default")
    for name in ("query_separate_vs_joint_epochs", "query_separate_vs_joint_steps"):
        assert CHECKS[name](trainings).value == 0
    with pytest.raises(Undefined, match="no weights that query training changes"):
        CHECKS["query_steps_share"](trainings)


@pytest.mark.parametrize("name", MAPPED)
def test_with_encoded_batches_the_recipe_matters(mappings, name):
    trainings = mappings(name)
    assert CHECKS["query_separate_vs_joint_epochs"](trainings).value > 1e-3
    assert CHECKS["query_separate_vs_joint_steps"](trainings).value > 1e-3
    assert CHECKS["query_steps_share"](trainings).value < 1
    joint = trainings.joint.n_steps
    assert {one.n_steps for one in trainings.separate_by_steps.values()} == {joint}
    assert all(one.n_steps < joint for one in trainings.separate.values())


@pytest.mark.parametrize("name", MAPPED)
def test_surgery_alone_takes_up_new_batches_and_leaves_the_reference(mappings, references, name):
    trainings = mappings(name)
    before = {key: weight.clone() for key, weight in references(name).module.state_dict().items()}
    untrained = trainings.untrained
    assert untrained.n_steps == 0
    reference = trainings.cells.reference
    same = np.abs(untrained.latent(reference.copy()) - trainings.mapper.latent(reference.copy()))
    assert same.max() <= MOST_DIFFERENCE
    assert np.isfinite(untrained.latent(trainings.cells.query.copy())).all()
    after = references(name).module.state_dict()
    assert all((after[key] == weight).all() for key, weight in before.items())


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_is_reconstructed_before_and_after(dataset, references, monkeypatch, name):
    from reconeval.metrics import get_metric
    from reconeval.query_mapping import runs

    (spec,) = parse_models([MODELS[name]])
    monkeypatch.setattr(runs, "trained", lambda *_, **__: (references(name), None))
    mappings, mse = Mappings((0,)), {}
    for stage in ("before", "after"):
        case = QueryMappingCase(dataset, make_query_split(dataset, BATCHES, f"query:b3:{stage}"))
        run = mappings.run(spec.mapping(QUICK), case, lambda _: None)
        rows = [run.row(get_metric(metric)) for metric in ("mse", "poisson_deviance")]
        assert all(np.isfinite(row.value) for row in rows), rows
        mse[stage] = rows[0].value
    truth = case.dataset.X[case.split.test]
    assert mse["before"] != mse["after"]
    assert max(mse.values()) < np.square(truth).mean()  # of a prediction of zeros


def test_a_class_without_surgery_is_refused_in_one_line():
    (spec,) = parse_models(["scvi.model:LinearSCVI"])
    with pytest.raises(UsageError, match="LinearSCVI: offers no query mapping") as caught:
        check_offers([spec])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("surgery", "message"),
    [
        ({"weight_decai": 0}, "takes no 'weight_decai'; did you mean weight_decay?"),
        ({"accelerator": "cpu"}, "'accelerator' is set by query mapping itself"),
        ({"early_stopping": True}, "'early_stopping' is set by query mapping itself"),
        ({"adata": 1}, "'adata' is set by query mapping itself"),
        ({"seed": 1}, "'seed' is set by query mapping itself"),
        ({"max_epochs": 0}, "max_epochs must be at least 1, got 0"),
        ({"batch_size": True}, "batch_size must be a whole number of at least 1, got True"),
        ({"weight_decay": "no"}, "weight_decay must be a number of at least 0, got 'no'"),
        ({"plan_kwargs": 3}, "plan_kwargs is 3, expected settings like"),
        ({"plan_kwargs": {"lrr": 1e-3}}, "plan_kwargs takes no 'lrr'; did you mean lr?"),
    ],
)
@pytest.mark.parametrize("model", ["scvi.model:TOTALVI", "models:ReconSCVI"])
def test_settings_that_no_mapping_takes_are_refused_in_one_line(model, surgery, message):
    (spec,) = parse_models([model])
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        check_offers([spec.mapping(surgery)])
    ((name, value),) = surgery.items()
    assert str(caught.value).startswith(f"--surgery {name}={value}: ")
    assert "\n" not in str(caught.value)


def test_settings_of_surgery_training_and_trainer_pass():
    specs = parse_models(["scvi.model:SCVI", "scvi.model:SCANVI", "scvi.model:TOTALVI"])
    surgery = {**QUICK, "weight_decay": 0, "freeze_dropout": True, "plan_kwargs": {"lr": 1e-3}}
    check_offers(spec.mapping({**surgery, "gradient_clip_val": 1.0}) for spec in specs)


def test_wrong_settings_of_a_mapping_stop_the_run_before_anything_is_trained(pytester):
    file = ROOT / "benchmarks" / "test_query_mapping.py"
    asked = ("--model", "scvi.model:SCVI", "--surgery", "accelerator=cpu")
    result = pytester.runpytest(file, *asked)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --surgery accelerator=cpu: *; leave it out"])


def test_the_real_cite_seq_cells_map_by_the_command(pytester):
    import anndata

    adata = anndata.read_h5ad(data_file("citeseq_counts.h5ad"))
    adata = adata[:, np.argsort(-adata.X.toarray().var(axis=0))[:100]].copy()
    adata.write_h5ad("cite.h5ad")
    result = pytester.runpytest(
        ROOT / "benchmarks" / "test_query_mapping.py",
        *("--model", f"scvi.model:TOTALVI?{SMALL}&{LAYERS}", "--surgery", "max_epochs=2"),
        *("--dataset", "cite.h5ad", "--counts-layer", "X", "--protein-key", "protein_counts"),
        *("--batch-key", "hto_max", "--query-batches", "HTO30_5P", "--results", "out.json"),
        *("--metrics", "reference_drift,query_reload_difference,mse"),
    )
    assert result.ret == 0, result.stdout.str()
    result.assert_outcomes(passed=5)
    rows = {
        (row["split"], row["metric"]): row
        for row in json.loads(Path("out.json").read_text())["rows"]
    }
    assert rows["query", "reference_drift"]["value"] <= MOST_DIFFERENCE
    assert rows["query:HTO30_5P:after", "mse"]["n"] == 50
