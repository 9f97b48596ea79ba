"""Rows keep their values through every format, and no format is ever left half written."""

import dataclasses
import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval.errors import UsageError
from reconeval.rows import Row, atomic_write, check_results_path, latest, write_results
from tests.conftest import ROW

RUN = {"reconeval": "0", "command": ["pytest"]}


@given(st.floats(allow_nan=True, allow_infinity=True), st.text(), st.booleans() | st.none())
def test_a_row_survives_json(value, reason, higher):
    row = dataclasses.replace(ROW, value=value, reason=reason, higher_is_better=higher)
    back = Row.from_dict(json.loads(json.dumps(row.to_dict(), allow_nan=False)))
    if math.isfinite(value):
        assert back == row
    else:
        assert math.isnan(back.value)
        assert dataclasses.replace(back, value=0.0) == dataclasses.replace(row, value=0.0)


def test_a_row_of_a_later_schema_is_read():
    assert Row.from_dict({**ROW.to_dict(), "later": 1}) == ROW


def test_what_is_no_row_is_refused():
    with pytest.raises(UsageError, match="not a row"):
        Row.from_dict({"model": "A"})


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
def test_every_format_holds_every_field(tmp_path, make_row, ending):
    rows = [make_row(), make_row(metric="r2", value=math.nan, reason="why", higher_is_better=True)]
    path = tmp_path / f"out{ending}"
    write_results(path, rows, RUN)
    if ending == ".json":
        document = json.loads(path.read_text())
        assert document["schema"] == 1
        assert document["run"] == RUN
        table = pd.DataFrame(document["rows"])
    else:
        table = pd.read_csv(path) if ending == ".csv" else pd.read_parquet(path)
    assert list(table.columns) == [field.name for field in dataclasses.fields(Row)]
    assert table["value"].tolist()[0] == 0.8
    assert math.isnan(table["value"].tolist()[1])
    assert table["reason"].tolist()[1] == "why"
    assert [bool(v) for v in table["higher_is_better"]] == [False, True]
    assert os.listdir(tmp_path) == [path.name]


def test_parquet_holds_the_run(tmp_path, make_row):
    write_results(tmp_path / "a.parquet", [make_row()], RUN)
    assert pd.read_parquet(tmp_path / "a.parquet").attrs["reconeval"]["run"] == RUN


@pytest.mark.parametrize("name", ["out.xlsx", "out", "missing/out.csv"])
def test_a_path_that_cannot_be_written_is_refused(tmp_path, make_row, name):
    with pytest.raises(UsageError, match="--results"):
        write_results(tmp_path / name, [make_row()], RUN)


def test_a_folder_that_takes_no_file_is_found_out_before(tmp_path):
    """Permissions do not tell: a file system of the kernel's, as root."""
    with pytest.raises(UsageError, match=r"--out /proc/x\.json: cannot be written there"):
        check_results_path(Path("/proc/x.json"), option="--out")
    (tmp_path / "a.json").mkdir()
    with pytest.raises(UsageError, match=r"cannot be written there \(Is a directory\)"):
        check_results_path(tmp_path / "a.json")
    check_results_path(tmp_path / "b.json")
    assert os.listdir(tmp_path) == ["a.json"], "nothing is left of the trial"


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "kept.json"
    path.write_text("old")

    def broken(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, b"new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept.json"]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    atomic_write(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_the_latest_row_of_a_key_counts(make_row):
    rows = [make_row(value=1.0), make_row(metric="r2", value=2.0), make_row(value=3.0)]
    assert [(row.metric, row.value) for row in latest(rows)] == [("mse", 3.0), ("r2", 2.0)]
