"""What is refused before anything is trained, in one line and with exit code 4."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval._ranges import check_least, check_positive, check_share
from reconeval.cli import main
from reconeval.errors import UsageError
from reconeval.models import ReconAE, ReconPCA
from reconeval.preflight import check_settings
from reconeval.query_mapping.models import check_offers
from reconeval.spec import parse_models
from tests.conftest import ROOT

needs_scvi = pytest.mark.skipif(
    importlib.util.find_spec("scvi") is None,
    reason="needs scvi-tools: pip install 'reconeval[scvi]'",
)

BROKEN = {
    "ImportError": "raise ImportError('cannot import name old\\nfrom numpy')",
    "AttributeError": "import numpy; numpy.no_such_function",
    "RuntimeError": "raise RuntimeError('compiled for another NumPy')",
    "ModuleNotFoundError": "import no_such_dependency",
    "SystemExit": "raise SystemExit(2)",
}
OF_SCVI = ("scvi.model:SCVI", "models:ReconSCVI", "models:ReconNLSCVI", "models:ReconMLSCVI")


def broken_scvi(folder, code):
    """Write a package that a search finds as scvi, and that raises when it is imported."""
    (folder / "scvi" / "model").mkdir(parents=True)
    (folder / "scvi" / "__init__.py").write_text(f"{code}\n")
    (folder / "scvi" / "model" / "__init__.py").write_text("class SCVI:\n    pass\n")


@pytest.mark.parametrize("error", BROKEN)
def test_scvi_tools_that_cannot_be_imported_is_told_in_one_line(error, tmp_path, monkeypatch):
    broken_scvi(tmp_path, BROKEN[error])
    for name in [name for name in sys.modules if name.partition(".")[0] == "scvi"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "reconeval.models._scvi_classes", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    for target in OF_SCVI:
        (spec,) = parse_models([target])
        for refuse in (lambda: check_settings([spec]), lambda: check_offers([spec.mapping({})])):
            with pytest.raises(UsageError) as caught:
                refuse()
            text = str(caught.value)
            name = spec.name
            assert text.startswith(f"--model {target}: {name} needs scvi-tools, which is installed")
            assert f" cannot be imported: {error}" in text
            assert text.endswith("for instance by pip install --upgrade 'reconeval[scvi]'")
            assert "\n" not in text
            assert "scvi" not in sys.modules


@pytest.mark.parametrize(
    "command",
    [
        ["pytest", "-q", "benchmarks", "--model", "models:ReconSCVI", "--dataset", "pbmc68k"],
        ["pytest", "-q", "benchmarks", "--model", "scvi.model:SCVI", "--task", "query_mapping"],
        ["reconeval.cli", "check", "scvi.model:SCVI"],
    ],
)
def test_a_command_ends_before_anything_is_trained(command, tmp_path):
    broken_scvi(tmp_path, BROKEN["ImportError"])
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert "which is installed but cannot be imported: ImportError: cannot import name" in line
    assert "Traceback" not in done.stdout + done.stderr


REFUSED = [
    ("models:ReconPCA?n_components=0", "ReconPCA: n_components must be at least 1, got 0"),
    ("models:ReconPCA?n_components=2.5", "n_components must be a whole number of at least 1, got"),
    ("models:ReconAE?n_latent=0", "ReconAE: n_latent must be at least 1, got 0"),
    ("models:ReconAE?n_latent=two", "n_latent must be a whole number of at least 1, got 'two'"),
    ("models:ReconAE?n_hidden=[64,0]", "ReconAE: n_hidden must be at least 1, got 0"),
    ("models:ReconAE?n_hidden=64", "building it raised TypeError: "),
    ("models:ReconAE?learning_rate=-0.1", "ReconAE: learning_rate must be above 0, got -0.1"),
    ("models:ReconAE?learning_rate=fast", "learning_rate must be a number above 0, got 'fast'"),
    ("models:ReconAE?train.max_epochs=0", "ReconAE.train(): max_epochs must be at least 1, got 0"),
    ("models:ReconAE?train.max_epochs=-3", "max_epochs must be at least 1, got -3"),
    ("models:MLPDecoder?train.batch_size=-1", "batch_size must be at least 1, got -1"),
    ("models:MLPDecoder?train.max_epochs=0", "MLPDecoder.train(): max_epochs must be at least"),
    ("models:TransformerDecoder?learning_rate=0", "learning_rate must be above 0, got 0"),
    ("models:TransformerDecoder?dim_model=10", "dim_model=10 is no multiple of n_heads=8"),
    ("models:KNNDecoder?k=0", "KNNDecoder: k must be at least 1, got 0"),
    ("models:MLPPerturbationPredictor?lr=-1", "MLPPerturbationPredictor: lr must be above 0, got"),
    ("models:MLPPerturbationPredictor?train.epochs=0", "epochs must be at least 1, got 0"),
    ("models:MLPPerturbationPredictor?train.batch_size=0", "batch_size must be at least 1, got 0"),
    ("models:AdditiveShift?ridge=-1", "ridge must be at least 0, got -1"),
]
REFUSED_OF_SCVI = [
    ("?n_latent=0", "n_latent must be at least 1, got 0"),
    ("?train.max_epochs=0", ".train(): max_epochs must be at least 1, got 0"),
    ("?train.batch_size=-2", ".train(): batch_size must be at least 1, got -2"),
    ("?train.plan_kwargs={'lr':-0.1}", ".train(): plan_kwargs: lr must be above 0, got -0.1"),
    ("?train.plan_kwargs={'weight_decay':-1}", "weight_decay must be at least 0, got -1"),
    ("?train.plan_kwargs=3", ".train(): plan_kwargs is 3, expected settings like {'lr': 0.001}"),
    ("?train.plan_kwargs={'weight_decai':0}", "takes no 'weight_decai'; did you mean weight_d"),
]


def check_refused(target, message):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        check_settings(parse_models(["models:ReconPCA?n_components=2", target]))
    assert str(caught.value).startswith(f"--model {target}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("target", "message"), REFUSED)
def test_settings_that_can_only_fail_are_refused(target, message):
    check_refused(target, message)


@needs_scvi
@pytest.mark.parametrize("model", ["scvi.model:SCVI", "scvi.model:TOTALVI", "models:ReconMLSCVI"])
@pytest.mark.parametrize(("settings", "message"), REFUSED_OF_SCVI)
def test_settings_of_scvi_tools_that_can_only_fail_are_refused(model, settings, message):
    check_refused(model + settings, message)


@needs_scvi
def test_a_plan_given_as_its_configuration_is_checked_too():
    target = "scvi.model:SCVI?train.plan_config={'n_epochs_kl_warm':9}"
    check_refused(target, "plan_config takes no 'n_epochs_kl_warm'; did you mean n_epochs_kl")


@needs_scvi
@pytest.mark.parametrize(
    "target",
    [
        "scvi.model:SCVI?train.plan_kwargs={'lr':0.01,'eps':0.1,'max_kl_weight':0.5}",
        "scvi.model:SCANVI?train.plan_kwargs={'classification_ratio':10,'eps':0.1}",
        "scvi.model:TOTALVI?train.plan_kwargs={'pro_recons_weight':0.5,'lr_min':0}",
        "scvi.external:TOTALANVI?train.plan_kwargs={'scale_adversarial_loss':2.0}",
        "models:ReconSCVI?train.plan_kwargs={'weight_decay':0,'n_epochs_kl_warmup':None}",
    ],
)
def test_what_a_training_plan_or_its_loss_takes_passes(target):
    check_settings(parse_models([target]))


@pytest.mark.skipif(
    importlib.util.find_spec("drvi") is None,
    reason="needs drvi-py: pip install 'reconeval[drvi]'",
)
def test_the_plan_of_drvi_is_checked():
    check_settings(parse_models(["drvi.model:DRVI?train.plan_kwargs={'lr':0.01,'eps':0.1}"]))
    target = "drvi.model:DRVI?train.plan_kwargs={'weight_decai':0}"
    check_refused(target, "plan_kwargs takes no 'weight_decai'; did you mean weight_decay?")


@needs_scvi
def test_a_plan_of_a_model_in_ones_own_hands_is_checked_too():
    import numpy as np
    from anndata import AnnData

    from reconeval.models import ReconNLSCVI

    cells = AnnData(np.random.default_rng(0).normal(size=(20, 8)).astype("f4"))
    model = ReconNLSCVI(n_latent=2)
    with pytest.raises(UsageError, match=r"plan_kwargs takes no 'weigth_decay'; did you mean wei"):
        model.train(cells, max_epochs=1, plan_kwargs={"weigth_decay": 0.0})
    model.train(cells, max_epochs=1, plan_kwargs={"weight_decay": 0.0})


class Own:
    """A model of the user's own, whose settings are its own affair."""

    def __init__(self, n_latent=2):
        raise ValueError(n_latent)

    def train(self, X, max_epochs=3):
        pass

    def predict(self, X):
        return X


class OwnTraining(ReconPCA):
    """A model with a constructor of ours, and a training of its own."""

    def train(self, X, *, max_epochs=3):
        pass


def test_the_users_own_code_is_left_alone():
    module = "tests.test_preflight"
    check_settings(
        parse_models(
            [
                f"{module}:Own?n_latent=0&train.max_epochs=0",
                f"{module}:OwnTraining?train.max_epochs=0",
                "sklearn.decomposition:PCA?n_components=0",
                "models:ReconPCA?n_components=100000",  # too many for some data only
            ]
        )
    )
    check_refused(f"{module}:OwnTraining?n_components=0", "ReconPCA: n_components must be")


def test_right_settings_pass():
    check_settings(
        parse_models(
            [
                "models:ReconAE?n_hidden=[8]&learning_rate=1&train.max_epochs=1",
                "models:Mean",
                "models:Shuffle",
                "models:NoShift",
                "models:MeanShift",
                "models:AdditiveShift?ridge=0",
                "models:MLPDecoder",
                "models:MLPPerturbationPredictor?train.epochs=1&train.batch_size=1",
            ]
        )
    )


def test_a_run_with_such_a_setting_ends_with_exit_code_4(pytester, capsys):
    target = "models:ReconAE?train.max_epochs=0"
    result = pytester.runpytest(
        ROOT / "benchmarks", "--model", "models:Mean", "--model", target, "--dataset", "pbmc68k"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = f"{target}: ReconAE.train(): max_epochs must be at least 1, got 0"
    result.stderr.fnmatch_lines([f"ERROR: --model {told}"])
    result.stdout.no_fnmatch_line("*passed*")
    capsys.readouterr()
    assert main(["check", target]) == 4
    assert capsys.readouterr().err == f"reconeval check: {told}\n"


def test_what_hangs_on_the_data_is_the_failure_of_the_row(pytester):
    result = pytester.runpytest(
        ROOT / "benchmarks" / "test_metrics.py",
        *("--model", "models:ReconPCA?n_components=421", "--dataset", "pbmc68k"),
        *("--split", "iid", "--metrics", "mse", "--no-intervals", "--no-cache"),
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*n_components=421 is more than 420 cells x 765 genes allow; *"])


def test_models_refuse_from_python_as_well():
    with pytest.raises(UsageError, match=r"ReconAE\.train: max_epochs must be at least 1, got -1"):
        ReconAE(input_dim=3).train(None, max_epochs=-1)
    with pytest.raises(UsageError, match="learning_rate must be a number above 0, got nan"):
        ReconAE(input_dim=3, learning_rate=float("nan"))


@given(st.integers(), st.integers(-3, 3))
def test_whole_numbers_from_the_least_pass_and_no_others(value, least):
    if value >= least:
        check_least("here", least, size=value)
    else:
        with pytest.raises(UsageError, match=rf"^here: size must be at least {least}, got {value}"):
            check_least("here", least, size=value)


@given(st.one_of(st.floats(), st.booleans(), st.text(max_size=3), st.none()), st.booleans())
def test_finite_numbers_above_0_pass_and_no_others(value, zero):
    number = isinstance(value, float) and abs(value) < float("inf")
    if number and (value > 0 or (zero and value == 0)):
        check_positive("here", zero=zero, rate=value)
    else:
        with pytest.raises(UsageError, match=r"^here: rate must be "):
            check_positive("here", zero=zero, rate=value)


@given(st.one_of(st.floats(), st.floats(0, 1), st.booleans(), st.text(max_size=3), st.none()))
def test_shares_below_1_pass_and_no_others(value):
    if isinstance(value, float) and 0 <= value < 1:
        check_share("here", dropout=value)
    else:
        with pytest.raises(UsageError, match=r"^here: dropout must be in \[0, 1\), got "):
            check_share("here", dropout=value)


@pytest.mark.parametrize("value", [True, 2.0, "2", None])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(UsageError, match=r"^here: size must be a whole number of at least 1, got "):
        check_least("here", 1, size=value)
