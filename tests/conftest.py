"""Shared by the tests: a row to vary, and where the project's data lie beside a checkout."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from reconeval.rows import Row

# Before torch is loaded: waiting threads must not take the cores from other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

pytest_plugins = ["pytester"]

# Two cores shared with whatever else runs: a slow example is no fault of the code.
# In CI the same examples every time, so that a failure belongs to the change that is tested.
settings.register_profile(
    "reconeval",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=40,
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("reconeval")

_COUNT = itertools.count()

ROOT = Path(__file__).resolve().parents[1]


def data_file(name: str) -> Path:
    """Return a local data file, or skip the test with the reason."""
    folders = [ROOT.parent / "shared" / "data"]
    if "RECONEVAL_DATA_DIR" in os.environ:
        folders.append(Path(os.environ["RECONEVAL_DATA_DIR"]))
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"needs {name} in ../shared/data or $RECONEVAL_DATA_DIR")


@pytest.fixture(scope="session")
def loaded_once():
    """Load what cannot be imported twice in a process, before pytester takes modules away."""
    import anndata
    import pandas.core.arrays.arrow.extension_types
    import pyarrow.parquet
    import sklearn.linear_model
    import torch

    return anndata, pandas, pyarrow, sklearn, torch


@pytest.fixture
def pytester(loaded_once, pytester):
    """A folder of its own; runs in it forget what they loaded, but not what came before."""
    return pytester


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    """Give each test a cache of its own: none finds what another has finished, or the user's."""
    folder = tmp_path_factory.getbasetemp() / "caches" / str(next(_COUNT))
    monkeypatch.setenv("RECONEVAL_CACHE", str(folder))


ROW = Row(
    model="Model",
    spec="mine:Model",
    task="end_to_end",
    dataset="immune",
    dataset_version="1",
    dataset_sha256="a" * 64,
    split="iid",
    metric="mse",
    metric_version=1,
    family="statistical",
    value=0.8,
    low=0.8,
    high=0.8,
    n=300,
    seeds=1,
    unit="",
    higher_is_better=False,
)


@pytest.fixture
def make_row():
    """Return a function that makes a row, with the given fields changed."""

    def make(**changes):
        if "value" in changes:
            changes = {"low": changes["value"], "high": changes["value"], **changes}
        return replace(ROW, **changes)

    return make
