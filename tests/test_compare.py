"""`reconeval compare`: the worst first, three formats, exit code 1 on a regression."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from reconeval.cli import main
from reconeval.compare import compare_runs
from reconeval.errors import UsageError
from reconeval.rows import KEY
from tests.test_gate_run import cost, saved, scored

OLD = {"mse": 0.5, "mae": 0.5, "poisson_deviance": 0.5, "zero_fraction_error": 0.5}
WORSE = {**OLD, "mse": 0.6, "mae": 0.9, "poisson_deviance": 0.3}


def scores(values, **changes):
    return [scored(name, value, **changes) for name, value in values.items()]


def write(path, scores, *, run=None, wrap=False):
    document = {
        "schema": 1,
        "run": run or {},
        "rows": [one.row.to_dict() for one in scores],
        "replicates": [
            {**dict(zip(KEY, one.row.key, strict=True)), **one.replicates.to_dict()}
            for one in scores
            if one.replicates
        ],
    }
    whole = {"benchmarks": [], "reconeval": document} if wrap else document
    Path(path).write_text(json.dumps(whole))
    return str(path)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    write("old.json", scores(OLD), wrap=True)
    write("same.json", scores(OLD))
    write("worse.json", scores(WORSE))


def test_the_worst_comes_first_and_the_best_last():
    found = compare_runs(saved(scores(OLD)), saved(scores(WORSE)))
    words = [(one.row.metric, one.word) for one in found]
    assert words == [
        ("mae", "worse"),
        ("mse", "worse"),
        ("zero_fraction_error", "same"),
        ("poisson_deviance", "better"),
    ]
    assert [one.fails for one in found] == [True, True, False, False]


def test_a_lost_row_of_a_partial_run_fails_only_where_its_place_was_run():
    old = saved([*scores(OLD), *scores(OLD, split="cell_type"), *scores(OLD, model="Retired")])
    new = scores({name: value for name, value in OLD.items() if name != "mae"})
    found = compare_runs(old, saved(new), partial=True)
    assert [(one.row.metric, one.word, one.fails) for one in found[:2]] == [
        ("mae", "lost", True),
        ("mse", "same", False),
    ]
    assert len(found) == 4


def test_a_model_and_a_split_that_vanished_are_lost(files, capsys):
    gone = [*scores(OLD, split="cell_type"), *scores(OLD, model="Retired")]
    write("old.json", [*scores(OLD), *gone])
    for kind in ("table", "md", "json"):
        assert main(["compare", "old.json", "same.json", "--format", kind]) == 1
        out = capsys.readouterr().out
        assert "Retired" in out
        assert "cell_type" in out
        assert main(["compare", "old.json", "same.json", "--format", kind, "--partial"]) == 0
        assert "Retired" not in capsys.readouterr().out
    found = compare_runs(saved([*scores(OLD), *gone]), saved(scores(OLD)))
    assert sum(one.word == "lost" and one.fails for one in found) == len(gone)


def test_a_value_that_was_lost_comes_before_any_number():
    new = scores(WORSE)
    new[3] = new[3]._replace(row=replace(new[3].row, value=math.nan, reason="nothing varies"))
    found = compare_runs(saved(scores(OLD)), saved(new))
    assert found[0].row.metric == "zero_fraction_error"
    assert found[0].fails


def test_costs_are_scaled_by_both_runs_references():
    was, now = cost("train_seconds", 10.0), cost("train_seconds", 18.0)
    old = saved([*scores(OLD), scored("mse", 0.5)._replace(row=was, replicates=None)])
    runs = {
        factor: saved(
            [*scores(OLD), scored("mse", 0.5)._replace(row=now, replicates=None)],
            {"reference_seconds": 0.1 * factor},
        )
        for factor in (1.0, 1.5)
    }
    old.run["reference_seconds"] = 0.1
    assert [
        [one.row.metric for one in compare_runs(old, new) if one.fails] for new in runs.values()
    ] == [["train_seconds"], []]


def test_runs_with_nothing_in_common_are_refused():
    with pytest.raises(UsageError, match="nothing in common: Model on immune/iid against Other"):
        compare_runs(saved(scores(OLD)), saved(scores(OLD, model="Other")))


@pytest.mark.parametrize("name", ["same.json", "worse.json"])
@pytest.mark.parametrize("kind", ["table", "md", "json"])
def test_the_exit_code_tells_of_a_regression_in_every_format(files, capsys, kind, name):
    assert main(["compare", "old.json", name, "--format", kind]) == (name == "worse.json")
    assert capsys.readouterr().out


def test_the_table_shows_what_changed_with_its_interval(files, capsys):
    main(["compare", "old.json", "worse.json"])
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "old.json -> worse.json: 2 regressions (2 worse, 1 better, 1 same)"
    assert "zero_fraction_error" not in out
    (mae,) = [line for line in lines if line.startswith("Model ") and " mae " in line]
    assert mae.split()[3:7] == ["0.5", "0.9", "worse", "by"]
    assert mae.split()[-1] == "worse"
    assert "Model: mae on immune/iid: 0.5 -> 0.9, worse by 0.4 (95 % interval" in out
    main(["compare", "old.json", "worse.json", "--all"])
    assert "zero_fraction_error" in capsys.readouterr().out


def test_markdown_is_fit_for_a_pull_request(files, capsys):
    main(["compare", "old.json", "worse.json", "--format", "md"])
    out = capsys.readouterr().out
    head, *details = out.split("<details>")
    assert head.startswith("### reconeval: 2 regressions\n")
    assert "| Model | mae | immune/iid | 0.5 | 0.9 | worse by 0.4 |" in head
    assert "poisson_deviance" not in head
    assert "<summary>all comparisons (4)</summary>" in details[-1]
    assert out.count("<details>") == out.count("</details>") == 2
    tables = [line for line in out.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {9}


def test_markdown_escapes_what_ends_a_cell(tmp_path, capsys):
    old = write(tmp_path / "old.json", scores(OLD, model="A|<b>"))
    new = write(tmp_path / "new.json", scores(WORSE, model="A|<b>"))
    main(["compare", old, new, "--format", "md"])
    assert "| A\\|&lt;b> | mae |" in capsys.readouterr().out


def test_a_comment_stays_short_enough_for_a_forge(tmp_path, capsys):
    many = [f"model_with_a_rather_long_name_{i}" for i in range(300)]
    old = write(tmp_path / "old.json", [one for m in many for one in scores(OLD, model=m)])
    new = write(tmp_path / "new.json", [one for m in many for one in scores(OLD, model=m)])
    main(["compare", old, new, "--format", "md"])
    out = capsys.readouterr().out
    assert "and 1050 more" in out
    assert len(out) < 65_536


def test_json_holds_all_numbers(files, capsys):
    main(["compare", "old.json", "worse.json", "same.json", "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    worse, same = document["compared"]
    assert (worse["regressions"], same["regressions"]) == (2, 0)
    assert same["counts"] == {"same": 4}
    first = worse["rows"][0]
    assert (first["metric"], first["verdict"], first["fails"]) == ("mae", "worse", True)
    assert (first["old"], first["new"]) == (0.5, 0.9)
    assert first["loss"] == pytest.approx(0.4)
    low, high = first["loss_ci"]
    assert low < first["loss"] < high
    assert first["p"] < 1e-6


def test_the_output_goes_to_a_file(files, capsys):
    assert main(["compare", "old.json", "same.json", "--format", "md", "-o", "out.md"]) == 0
    assert capsys.readouterr().out == ""
    assert Path("out.md").read_text().startswith("### reconeval: no regression")


def test_a_bound_of_ones_own(files, capsys):
    bounds = ["--metric-compare-fail", "mse:1", "--metric-compare-fail", "mae:1"]
    assert main(["compare", "old.json", "worse.json", *bounds]) == 0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["old.json", "missing.json"], "run missing.json: cannot be read"),
        (["old.json", "bad.json"], "run bad.json: not a JSON file"),
        (["old.json", "same.json", "-o", "no/such/folder.md"], "--out no/such/folder.md: cannot"),
        (["old.json"], "see reconeval compare --help"),
    ],
)
def test_what_cannot_be_compared(files, capsys, arguments, match):
    Path("bad.json").write_text("{")
    assert main(["compare", *arguments]) == 4
    assert match in capsys.readouterr().err


def test_a_bound_without_a_row_is_refused_and_one_of_ones_own_always_judges(files, capsys):
    assert main(["compare", "old.json", "worse.json", "--metric-compare-fail", "r2:0"]) == 4
    assert "has no r2" in capsys.readouterr().err
    write("vague.json", scores(WORSE, informative=False))
    assert main(["compare", "old.json", "vague.json"]) == 0
    capsys.readouterr()
    assert main(["compare", "old.json", "vague.json", "--metric-compare-fail", "mae:0"]) == 1
    assert "; mae is not informative there\n" in capsys.readouterr().out
