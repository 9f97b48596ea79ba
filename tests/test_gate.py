"""The gate: what is worse, what cannot be compared, what was lost."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconeval.cli import main
from reconeval.costs import find
from reconeval.errors import UsageError
from reconeval.gate import Tolerance, compare, lost_rows, read_baseline, read_saved
from tests.conftest import ROW

VALUES = st.floats(-10, 10, allow_nan=False)
METRICS = ["r2", "mse", "c2st_auc"]  # higher, lower, towards one half


def outcome(was, now, *, metric="mse", tolerance=None, **base):
    row = replace(ROW, metric=metric, value=now, low=now, high=now)
    baseline = replace(row, **{"value": was, "low": was, "high": was, **base})
    return compare(row, baseline, find(metric), tolerance)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r2:0.01", ("r2", Tolerance(0.01))),
        ("mse:5%", ("mse", Tolerance(0.05, relative=True))),
        ("mse:7.5%", ("mse", Tolerance(0.075, relative=True))),
        ("mse:0", ("mse", Tolerance(0.0))),
    ],
)
def test_tolerances(text, expected):
    assert Tolerance.parse(text) == expected


@pytest.mark.parametrize("text", ["r2", "r2:", ":0.1", "r2:x", "r2:-1", "r2:nan", "r2:inf", ""])
def test_tolerances_that_are_none(text):
    with pytest.raises(UsageError, match="expected METRIC:TOLERANCE"):
        Tolerance.parse(text)


@pytest.mark.parametrize(
    ("metric", "was", "now", "word"),
    [
        ("r2", 0.9, 0.8, "worse"),
        ("r2", 0.8, 0.9, "better"),
        ("mse", 0.8, 0.9, "worse"),
        ("mse", 0.9, 0.8, "better"),
        ("c2st_auc", 0.6, 0.9, "worse"),
        ("c2st_auc", 0.6, 0.2, "worse"),
        ("c2st_auc", 0.2, 0.6, "better"),
        ("c2st_auc", 0.4, 0.6, "same"),
    ],
)
def test_direction(metric, was, now, word):
    assert outcome(was, now, metric=metric).word == word


def test_the_message_says_what_changed_and_what_was_allowed():
    result = outcome(0.912, 0.839, metric="r2", tolerance=Tolerance(0.01))
    assert result.fails
    assert result.message == "r2 on immune/iid: 0.912 -> 0.839, worse by 0.073 (allowed 0.01)"


@given(VALUES, VALUES, st.floats(0, 5), st.sampled_from(METRICS))
def test_fails_exactly_beyond_the_tolerance(was, now, amount, metric):
    entry = find(metric)
    loss = entry.badness(now) - entry.badness(was)
    assume(abs(loss - amount) > 1e-6)
    assert outcome(was, now, metric=metric, tolerance=Tolerance(amount)).fails == (loss > amount)


@given(VALUES, VALUES, st.sampled_from(METRICS))
def test_better_and_worse_mirror_each_other(was, now, metric):
    there, back = outcome(was, now, metric=metric).word, outcome(now, was, metric=metric).word
    assert (there, back) in {("better", "worse"), ("worse", "better"), ("same", "same")}


def test_a_relative_tolerance_is_a_share_of_the_baseline():
    five = Tolerance(0.05, relative=True)
    assert not outcome(0.8, 0.8 * 1.04, tolerance=five).fails
    assert outcome(0.8, 0.8 * 1.06, tolerance=five).fails


def test_the_spread_of_the_baselines_seeds_is_allowed():
    assert not outcome(0.8, 0.85, tolerance=Tolerance(0.0), low=0.75, high=0.85).fails
    assert outcome(0.8, 0.95, tolerance=Tolerance(0.0), low=0.75, high=0.85).fails


def test_without_a_tolerance_nothing_fails():
    assert outcome(0.1, 9.0).word == "worse"
    assert not outcome(0.1, 9.0).fails


@pytest.mark.parametrize("change", [{"dataset_sha256": "b" * 64}, {"metric_version": 2}])
def test_other_data_or_another_definition_cannot_be_compared(change):
    assert outcome(0.8, 0.8, **change).word == "incomparable"
    assert not outcome(0.8, 0.8, **change).fails
    result = outcome(0.8, 0.8, tolerance=Tolerance(1.0), **change)
    assert result.fails
    assert "save a new baseline" in result.message
    assert result.baseline is None


@pytest.mark.parametrize(
    ("was", "now", "word", "fails"),
    [
        (0.8, math.nan, "worse", True),
        (math.nan, 0.8, "better", False),
        (math.nan, math.nan, "same", False),
    ],
)
def test_undefined_values(was, now, word, fails):
    result = outcome(was, now, tolerance=Tolerance(9.0))
    assert (result.word, result.fails) == (word, fails)


def test_a_new_row_passes():
    result = compare(ROW, None, find("mse"), Tolerance(0.0))
    assert (result.word, result.fails) == ("new", False)


def test_lost_rows_are_those_of_this_runs_models_and_places(make_row):
    baseline = [
        make_row(),
        make_row(metric="r2"),
        make_row(model="Other"),
        make_row(split="cell_type"),
    ]
    lost = lost_rows(baseline, [make_row(value=9.0)], models=["Model"], places=["immune/iid"])
    assert [row.metric for row in lost] == ["r2"]


@pytest.mark.parametrize("wrap", [True, False])
def test_a_baseline_is_read_from_either_json(tmp_path, make_row, wrap):
    document = {"schema": 1, "rows": [make_row().to_dict()]}
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"benchmarks": [], "reconeval": document} if wrap else document))
    assert read_baseline(path) == [make_row()]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "cannot be read"),
        ("{", "not a JSON file"),
        ("{}", "has no reconeval rows"),
        ('{"benchmarks": []}', "has no reconeval rows"),
        ("[1]", "has no reconeval rows"),
        ('{"rows": [1]}', "has no reconeval rows"),
        ('{"rows": [{"model": "A"}]}', "not a row"),
    ],
)
def test_what_is_no_baseline(tmp_path, content, match):
    path = tmp_path / "old.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=match):
        read_baseline(path)


@pytest.mark.parametrize(
    ("run", "match"),
    [
        (3, "run is 3, expected a table"),
        ({"duration_s": "x"}, r"run\.duration_s is 'x', expected a number"),
        ({"duration_s": True}, r"run\.duration_s is True, expected a number"),
        ({"reference_seconds": "1"}, r"run\.reference_seconds is '1', expected a number"),
        ({"parts": [1]}, r"run\.parts is \[1\], expected a list of tables"),
        ({"parts": [{"timed": 3}]}, r"run\.parts\[0\]\.timed is 3, expected a list"),
        ({"datasets": 3}, r"run\.datasets is 3, expected a table of names"),
        ({"seeds": 3}, r"run\.seeds is 3, expected a list"),
    ],
)
def test_a_damaged_run_is_refused_wherever_it_is_read(
    tmp_path, monkeypatch, capsys, make_row, run, match
):
    monkeypatch.chdir(tmp_path)
    write_document(run=run, rows=[make_row().to_dict()])
    for command in ("compare old.json old.json", "merge old.json -o all.json"):
        assert main(command.split()) == 4
        assert re.search(f"old.json: {match}; save the run again", capsys.readouterr().err)
    assert main(["report", "old.json", "-o", "out.html"]) == 4
    assert re.search(match, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"ci_low": "a"}, "ci_low is 'a', expected a number or null"),
        ({"threshold": "x"}, "threshold is 'x', expected a number or null"),
        ({"value": True}, "value is True, expected a number"),
        ({"model": ["A"]}, r"model is \['A'\], expected text"),
        ({"seeds": "3"}, "seeds is '3', expected an integer"),
        ({"informative": 1}, "informative is 1, expected a bool or null"),
    ],
)
def test_a_damaged_row_is_refused(tmp_path, monkeypatch, make_row, change, match):
    monkeypatch.chdir(tmp_path)
    write_document(rows=[{**make_row().to_dict(), **change}])
    with pytest.raises(UsageError, match=f"old.json: not a row of a reconeval result: {match}"):
        read_saved(Path("old.json"))


def test_numbers_that_json_does_not_have_are_absent(tmp_path, monkeypatch, make_row):
    monkeypatch.chdir(tmp_path)
    row = {**make_row().to_dict(), "value": math.nan, "ci_low": math.inf}
    write_document(run={"duration_s": math.nan, "seeds": None}, rows=[row])
    saved = read_saved(Path("old.json"))
    (read,) = saved.rows.values()
    assert math.isnan(read.value)
    assert read.ci_low is None
    assert saved.run == {}
    assert main(["merge", "old.json", "-o", "all.json"]) == 0


def write_document(**document):
    Path("old.json").write_text(json.dumps({"schema": 1, **document}))
