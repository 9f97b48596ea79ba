"""What docs/tasks.md says to type is complete, short, and works."""

import re
import shlex
import subprocess
import sys
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
from tests.conftest import ROOT, data_file

PAGE = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
SECTIONS = dict(
    zip(*[iter(re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)[1:])] * 2, strict=True)
)
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def recipes(section):
    """Yield each recipe: files by name, and the commands that follow them."""
    files = {}
    for language, text in BLOCK.findall(SECTIONS[section]):
        if language == "python":
            name, code = re.fullmatch(r"# (\w+\.py)\n(.*)", text, re.DOTALL).groups()
            files[name] = code
        else:
            yield files, text.replace("\\\n", " ").splitlines()
            files = {}


ALL = [(section, i) for section in SECTIONS for i, _ in enumerate(recipes(section))]


# What the lines do is asked about by a few metrics; all of them have tests of their own.
FEW = {"decode": "r2,mse", "latent_shift": "latent_r2,latent_pearson_delta,knn_purity"}


def run(pytester, line):
    """Run a line as a shell would, but pytest in this process, and with few metrics."""
    program, *arguments = shlex.split(line)
    if program == "python":
        command = [sys.executable, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return
    assert (program, arguments[0]) == ("pytest", "benchmarks")
    few = FEW["decode" if "Decoder" in line else "latent_shift"]
    result = pytester.runpytest(str(ROOT / "benchmarks"), *arguments[1:], "--metrics", few)
    failed = [line for line in result.outlines if line.startswith("FAILED")]
    expected = "[NoShift-" if "models:NoShift" in arguments else "nothing"
    assert all("test_metric[" in line and expected in line for line in failed), failed
    assert result.ret == (1 if expected != "nothing" else 0)
    assert result.parseoutcomes()["passed"] > 10


@pytest.fixture
def cells(pytester):
    """Part of real stimulated cells, under the names that the page uses."""
    whole = anndata.read_h5ad(data_file("kang_ifnb_counts.h5ad"))
    rng = np.random.default_rng(0)
    genes = np.argsort(-np.asarray(whole.X.sum(axis=0)).ravel())[:600]
    part = whole[rng.permutation(whole.n_obs)[:900], genes].copy()
    obs = pd.DataFrame(
        {
            "condition": part.obs["condition"].astype(str),
            "cell_type": part.obs["cell_type_transferred"].astype(str),
        }
    )
    anndata.AnnData(part.X, obs=obs, var=part.var[[]]).write_h5ad("mine.h5ad")


@pytest.mark.parametrize(("section", "number"), ALL, ids=lambda value: str(value).replace(" ", "-"))
def test_each_recipe_runs_and_has_ten_lines_at_most(
    pytester, monkeypatch, request, section, number
):
    monkeypatch.delenv("CI", raising=False)
    if "perturbation data" in section:
        request.getfixturevalue("cells")
    files, commands = list(recipes(section))[number]
    lines = [line for text in (*files.values(), "\n".join(commands)) for line in text.splitlines()]
    assert len([line for line in lines if line.strip()]) <= 11
    for name, code in files.items():
        Path(name).write_text(code)
    for line in commands:
        run(pytester, line)


def test_the_page_has_recipes_for_all_three():
    assert {section for section, _ in ALL} == {
        "Bring an embedding",
        "Bring a predictor",
        "Bring perturbation data",
    }
