"""Classes of scvi-tools by name: without their import, and without the package."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval.adapters import adapt
from reconeval.adapters._scvi_names import READ, check_package, find_named, refusal
from reconeval.errors import ModelError, UsageError
from reconeval.preflight import check_settings
from reconeval.spec import parse_models
from tests.conftest import ROOT

needs_scvi = pytest.mark.skipif(
    importlib.util.find_spec("scvi") is None,
    reason="needs scvi-tools: pip install 'reconeval[scvi]'",
)
RECON = ("models:ReconSCVI", "models:ReconNLSCVI", "models:ReconMLSCVI")


def python(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@needs_scvi
def test_models_are_named_without_importing_scvi_tools():
    code = (
        "import sys; from reconeval.spec import parse_models; parse_models(sys.argv[1:]); "
        "print([name for name in ('scvi', 'torch', 'lightning') if name in sys.modules])"
    )
    done = python(code, "scvi.model:SCVI?n_latent=3", "scvi.model:TOTALVI", *RECON)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@needs_scvi
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("scvi.model:PEAKVI", "PEAKVI models open chromatin: probabilities of peaks, not expr"),
        ("scvi.model:MULTIVI", "MULTIVI models open chromatin beside genes"),
        ("scvi.model:CondSCVI", "CondSCVI encodes the cell type of each cell"),
        ("scvi.model:SCVII", r"scvi.model has no 'SCVII'; did you mean SCVI\?"),
        ("scvi.external:MRVI", "MRVI asks for the sample of each cell"),
        ("scvi.external:SysVI", "SysVI models normalised expression with an enc"),
        ("scvi.external:SCAR", "SCAR asks for a profile of ambient molecules"),
        ("scvi.external:VELOVI", "VELOVI models spliced and unspliced counts"),
        ("scvi.external:ContrastiveVI", "ContrastiveVI asks for cells of a background"),
        ("scvi.module:VAE", "VAE is no model class that the adapter reads; take SCVI, "),
        ("scvi.dataloaders:DataSplitter", "DataSplitter is no model class that the adapter re"),
        ("scvi.modl:SCVI", "no module 'scvi.modl' in the installed scvi"),
    ],
)
def test_what_is_no_such_model_is_refused_in_one_line(target, message):
    with pytest.raises(UsageError, match=rf"^--model {target}: {message}") as caught:
        parse_models([target])
    assert "\n" not in str(caught.value)


@needs_scvi
@pytest.mark.parametrize("module", ["scvi.model", "scvi.external"])
def test_every_class_is_read_or_refused_with_a_reason(module):
    source = check_package("scvi", who="the test").parent / module.removeprefix("scvi.")
    exported = ast.literal_eval(
        re.search(r"__all__ = (\[[^]]*\])", (source / "__init__.py").read_text())[1]
    )
    models = [name for name in exported if name[0].isupper()]
    assert len(models) > 5
    for name in models:
        if name not in READ:
            assert refusal([name]), f"{name}: say why it is not read, or read it"


def test_a_distribution_that_is_not_read_is_the_error_of_the_model():
    import torch

    from reconeval.adapters._scvi_decoding import Decoded

    for decoded, got in (
        ({"px": torch.distributions.Bernoulli(torch.tensor(0.5))}, "decodes a Bernoulli, expect"),
        ({"other": 1}, "decodes no px, expected a normal"),
    ):
        with pytest.raises(ModelError, match=rf"^Linear {got}") as caught:
            Decoded.of(torch.nn.Linear(1, 1), decoded)
        assert "\n" not in str(caught.value)


@needs_scvi
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("scvi.model:SCVI?n_latnt=10", r"SCVI\(\) takes no 'n_latnt'; did you mean n_latent\?"),
        ("scvi.model:TOTALVI?n_latent=0", "n_latent must be at least 1, got 0"),
        ("models:ReconSCVI?n_layer=2", r"ReconSCVI\(\) takes no 'n_layer'; did you mean n_layers"),
        ("models:ReconSCVI?rule=mean", "rule is 'mean', expected mean_of_log or log_of_mean"),
        ("scvi.model:SCVI?train.bogus=1", r"SCVI.train\(\) takes no 'bogus'"),
        ("scvi.model:SCVI?train.train_size=0.5", r"SCVI.train\(\) takes no 'train_size'"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(target, message):
    with pytest.raises(UsageError, match=message) as caught:
        check_settings(parse_models(["models:ReconPCA?n_components=2", target]))
    assert str(caught.value).startswith(f"--model {target}: ")
    assert "\n" not in str(caught.value)


@needs_scvi
def test_right_settings_pass():
    train = "train.max_epochs=3&train.batch_size=64&train.early_stopping_patience=5"
    train += "&train.gradient_clip_val=1.0&train.plan_kwargs={'lr':0.01}&train.accelerator=cpu"
    check_settings(
        parse_models(
            [
                f"scvi.model:SCVI?n_latent=3&dispersion=gene-batch&{train}",
                "scvi.model:TOTALVI?train.lr=0.01",
                "scvi.model:SCANVI?train.n_samples_per_label=10",
                *RECON,
            ]
        )
    )


@needs_scvi
def test_wrong_settings_stop_the_run_before_anything_is_trained():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "benchmarks"]
    command += ["--model", "scvi.model:SCVI?n_latnt=10", "--dataset", "pbmc68k"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "SCVI() takes no 'n_latnt'" in done.stderr
    assert " failed" not in done.stdout
    again = subprocess.run(
        [*command, "--collect-only"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, "names are collected without scvi-tools"


def test_other_packages_are_left_alone():
    assert find_named("sklearn.decomposition:PCA", where="") is None
    assert find_named("mine.py:SCVI", where="") is None
    assert refusal(["Mine", "BaseModelClass"]) == ""


def test_without_the_package_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scvi", None)
    monkeypatch.setitem(sys.modules, "drvi", None)
    for target, package in (("scvi.model:SCVI", "scvi"), ("drvi.model:DRVI", "drvi")):
        with pytest.raises(UsageError, match=rf"which is not installed: .*reconeval\[{package}\]"):
            parse_models([target])
    for target in RECON:
        (spec,) = parse_models([target])
        with pytest.raises(UsageError, match=r"needs scvi-tools, which is not installed: pip inst"):
            spec.build({})


@needs_scvi
@pytest.mark.parametrize("name", ["test_adapters_scvi", "test_models_reconscvi"])
def test_without_the_package_tests_are_skipped_in_one_line(name):
    code = (
        "import sys; sys.modules['scvi'] = None; import pytest; "
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[1:]]))"
    )
    done = python(code, f"tests/{name}.py")
    assert done.returncode == 0, done.stdout
    reasons = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert reasons
    assert all("needs scvi-tools: pip install 'reconeval[scvi]'" in line for line in reasons)
    assert " passed" not in done.stdout


class Base:
    """In the manner of a model class of scvi-tools."""

    @classmethod
    def setup_anndata(cls, adata, layer=None):
        pass

    def train(self):
        pass


def test_a_class_of_ones_own_is_adapted():
    mine = type("Mine", (Base,), {})
    adapted = adapt(mine)
    assert adapted.__name__ == "Mine"
    assert adapted.scvi_class() is mine
    assert adapt(adapted) is None
    with pytest.raises(UsageError, match="name the class Mine itself"):
        adapt(mine, mine.mro, where="--model m:make")
    with pytest.raises(UsageError, match="--model m:Mine: PEAKVI models open chromatin"):
        adapt(type("Mine", (type("PEAKVI", (Base,), {}),), {}), where="--model m:Mine")


def expected_log1p(distribution, factor):
    counts = np.arange(distribution.ppf(1 - 1e-9) + 1)
    return float(np.sum(distribution.pmf(counts) * np.log1p(factor * counts)))


@given(st.floats(1e-4, 200.0), st.floats(0.05, 50.0), st.floats(0.0, 0.99), st.floats(0.05, 40.0))
def test_the_expected_log_is_the_sum_over_counts(rate, theta, absent, factor):
    import torch
    from scipy import stats

    from reconeval.adapters._scvi_decoding import Decoded

    def of(*parameters):
        decoded = Decoded(*(None if one is None else torch.tensor([[one]]) for one in parameters))
        return decoded.log1p(torch.tensor([[factor]])).item(), decoded.mean.item()

    nb = stats.nbinom(theta, theta / (theta + rate))
    for got, distribution, share in (
        (of(rate, theta, None), nb, 1.0),
        (of(rate, theta, absent), nb, 1 - absent),
        (of(rate, None, None), stats.poisson(rate), 1.0),
    ):
        value, mean = got
        assert value == pytest.approx(
            share * expected_log1p(distribution, factor), rel=2e-4, abs=2e-4
        )
        assert mean == pytest.approx(share * rate, rel=1e-5)


def test_nothing_decoded_is_nothing():
    import torch

    from reconeval.adapters._scvi_decoding import Decoded

    zero = torch.zeros(1, 1)
    assert Decoded(zero, torch.ones(1, 1)).log1p(torch.ones(1, 1)).item() == 0
    assert Decoded(zero + 5, torch.ones(1, 1)).log1p(zero).item() == 0
    below = Decoded(zero - 1, normal=True)
    assert below.log1p(torch.ones(1, 1)).item() == 0
    assert below.mean.item() == -1
