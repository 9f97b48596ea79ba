"""`pytest benchmarks -k contract` for decoders and predictors: the checks of the run's task."""

# pytester restores sys.modules after each run in this process; what cannot be imported twice
# has to be there before.
import anndata  # noqa: F401
import numpy as np
import pandas.core.arrays.arrow.extension_types  # noqa: F401
import pytest
import torch  # noqa: F401

from reconeval.contract import check_names
from tests.conftest import ROOT

CONTRACT = str(ROOT / "benchmarks" / "test_contract.py")
BROKEN = f"{ROOT / 'tests' / 'broken_by_task.py'}"


def run(pytester, name, *args):
    return pytester.runpytest(CONTRACT, "-v", "--model", f"{BROKEN}:{name}", *args)


@pytest.fixture(autouse=True)
def at_a_desk(monkeypatch):
    monkeypatch.delenv("CI", raising=False)  # there pytest repeats messages in full


@pytest.fixture
def embedding(pytester):
    """An embedding of the frozen cells in a file."""
    from reconeval.datasets import load_dataset

    X = load_dataset("pbmc68k").X
    axes = np.linalg.svd(X[:200] - X.mean(axis=0), full_matrices=False)[2][:6]
    np.save("pc.npy", (X @ axes.T).astype(np.float32))
    return ("--dataset", "pbmc68k", "--embedding", "pc.npy")


def checked(result):
    lines = [line for line in result.outlines if "::test_contract[" in line and "%]" in line]
    return [line.partition("[")[2].partition("]")[0].rpartition("-")[2] for line in lines]


def test_a_decoder_is_checked_as_a_decoder(pytester, embedding):
    result = run(pytester, "SoundDecoder", *embedding)
    result.assert_outcomes(passed=len(check_names("decode")))
    assert checked(result) == list(check_names("decode"))


def test_a_predictor_is_checked_as_a_predictor(pytester):
    names = check_names("latent_shift")
    result = run(pytester, "SoundPredictor", "--dataset", "latent_synthetic")
    result.assert_outcomes(passed=len(names))
    assert checked(result) == list(names)


def test_a_predictor_that_takes_no_notice_of_descriptors_fails(pytester):
    result = run(pytester, "PredictorIgnoresDescriptor", "--dataset", "latent_synthetic")
    result.assert_outcomes(passed=len(check_names("latent_shift")) - 1, failed=1)
    result.stdout.fnmatch_lines(["*the same prediction with the descriptor of P* as with that of*"])


def test_a_training_that_fails_is_told_once(pytester):
    result = run(pytester, "PredictorTrainRaises", "--dataset", "latent_synthetic")
    n = len(check_names("latent_shift"))
    result.assert_outcomes(passed=2, failed=n - 2)
    text = result.stdout.str()
    # Once in the tests and once in the summary.
    assert text.count("learning rate is negative") == 2
    assert text.count("as above: training failed") == n - 3 + 1


def test_a_broken_rule_stands_in_the_summary_also_from_the_cache(pytester):
    pytester.makepyfile(
        mine="""
        import numpy as np

        class Vain:
            def train(self, X):
                self.mean = X.mean(axis=0)
            def predict(self, X):
                X[:] = self.mean
                return X.copy()

        class Sound(Vain):
            def predict(self, X):
                if X.ndim != 2 or not isinstance(X, np.ndarray):
                    raise TypeError("no matrix")
                if not hasattr(self, "mean"):
                    raise RuntimeError("train first")
                return np.repeat(self.mean[None], len(X), axis=0)
        """
    )
    suite = (str(ROOT / "benchmarks" / "test_metrics.py"), CONTRACT)
    options = ("--model=mine:Vain", "--model=mine:Sound", "--dataset=pbmc68k", "--split=iid")
    for flags in ((), ("-q",)):
        result = pytester.runpytest_subprocess(*suite, *options, "--metrics=r2", *flags)
        assert result.ret == 1
        broken = result.parseoutcomes()["failed"]
        assert broken >= 2
        result.stdout.re_match_lines(
            [
                r"model .*contract",
                rf"Vain .*\b{broken} broken",
                r"Sound .*\b\d+ kept",
                rf"failed \({broken}\):",
                r"  Vain: contract input_untouched: predict .*; the rule: ",
            ]
        )


def test_an_embedder_that_fails_is_told_in_one_line(pytester):
    pytester.makepyfile(
        mine="class Lost:\n    def embed(self, adata):\n        raise OSError('no weights')\n"
    )
    result = run(
        pytester,
        "SoundDecoder",
        "--dataset",
        "pbmc68k",
        "--embedder",
        "mine:Lost",
        "-k",
        "one_cell",
    )
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "embedding the training cells by Lost on * raised OSError: no *",
            "SoundDecoder/Lost * 1 broken",
            "  SoundDecoder/Lost: contract one_cell: embedding the training cells by Lost on *",
        ]
    )
    assert "Traceback" not in result.stdout.str()
