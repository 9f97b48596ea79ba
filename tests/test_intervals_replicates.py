"""Replicates keep their values through JSON, and travel from a test into the results."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from reconeval.documents import document, write_results
from reconeval.errors import UsageError
from reconeval.intervals import Replicates
from reconeval.options import Options
from reconeval.plugin import ROW, _Benchmarks
from reconeval.session import Session


def replicates(values=(0.5, math.nan, 2.0), resampling="abc/iid/cells/1000", **changes):
    values = np.asarray(values, dtype=np.float32)
    return Replicates(over="cells", resampling=resampling, values=values, **changes)


@given(
    npst.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32)),
    st.sampled_from(["bootstrap", "jackknife", "none"]),
    st.lists(st.floats(allow_infinity=False)),
)
def test_they_survive_json(values, kind, seeds):
    one = replicates(values, kind=kind, seeds=tuple(seeds))
    back = Replicates.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False)))
    np.testing.assert_array_equal(back.values, values)
    np.testing.assert_array_equal(back.seeds, seeds)
    assert (back.over, back.resampling, back.kind) == (one.over, one.resampling, kind)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"values": "no base64!"}, "base64"),
        ({"values": "AAA="}, "buffer"),
        ({"values": None}, "None"),
        ({"kind": "guess"}, "kind is 'guess'"),
        ({"seeds": ["many"]}, "many"),
    ],
)
def test_what_are_none_are_refused(changes, says):
    with pytest.raises(UsageError, match=says):
        Replicates.from_dict({**replicates().to_dict(), **changes})


def test_a_missing_key_is_named():
    with pytest.raises(UsageError, match="no 'values'"):
        Replicates.from_dict({"over": "cells", "resampling": "x"})


@pytest.mark.parametrize(
    ("other", "paired"),
    [
        (replicates((9.0, 8.0, 7.0)), True),
        (replicates(resampling="other"), False),
        (replicates((1.0,)), False),
        (replicates(kind="jackknife"), False),
    ],
)
def test_equal_resamples_are_paired(other, paired):
    assert replicates().paired(other) is paired
    assert other.paired(replicates()) is paired


def test_they_travel_with_the_row_into_document_and_results(tmp_path, make_row):
    options = Options(
        models=("models:ReconPCA",),
        datasets=("immune",),
        splits=("iid",),
        results=(tmp_path / "out.json",),
    )
    session = Session(options)
    hooks = _Benchmarks(SimpleNamespace(args=[]), session)
    model = next(iter(session.specs))
    row = make_row(model=model, dataset="immune", split="iid", metric="r2")
    content = {**row.to_dict(), "replicates": replicates().to_dict()}
    report = SimpleNamespace(
        when="call", outcome="passed", user_properties=[(ROW, json.dumps(content))]
    )
    hooks.pytest_runtest_logreport(report)
    write_results(session)
    written = json.loads((tmp_path / "out.json").read_text())
    for found in (document(session), written):
        (entry,) = found["replicates"]
        assert (entry["model"], entry["dataset"], entry["split"], entry["metric"]) == row.key
        back = Replicates.from_dict(entry)
        np.testing.assert_array_equal(back.values, replicates().values)
