"""`reconeval merge`: results of a split run in one file, duplicates and conflicts refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reconeval.cli import main
from reconeval.compare import compare_runs
from reconeval.errors import UsageError
from reconeval.gate import read_saved
from reconeval.gate._saved import saved_of
from reconeval.merge import merge_runs
from tests.test_compare import OLD, scores, write
from tests.test_gate_run import cost, saved, scored


@pytest.fixture
def parts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    timing = scored("mse", 0.5)._replace(row=cost("train_seconds", 2.0), replicates=None)
    first = {"reconeval": "1", "start": "2026-01-02", "duration_s": 5.0, "reference_seconds": 0.1}
    second = {**first, "start": "2026-01-01", "reference_seconds": 0.3}
    other = timing._replace(row=replace(timing.row, model="Other"))
    write("a.json", [*scores(OLD), timing], run=first, wrap=True)
    write("b.json", [*scores(OLD, model="Other"), other], run=second)


def test_rows_replicates_and_references_of_all_parts_are_there(parts, capsys):
    assert main(["merge", "a.json", "b.json", "-o", "all.json"]) == 0
    assert "10 rows of 2 runs written to all.json" in capsys.readouterr().out
    merged, a, b = (read_saved(Path(name)) for name in ("all.json", "a.json", "b.json"))
    assert merged.rows == {**a.rows, **b.rows}
    assert set(merged.replicates) == {*a.replicates, *b.replicates}
    references = {
        row.model: merged.reference_seconds(row)
        for row in merged.rows.values()
        if row.metric == "train_seconds"
    }
    assert references == {"Model": 0.1, "Other": 0.3}
    assert merged.run["start"] == "2026-01-01"
    assert merged.run["duration_s"] == 10.0


def test_a_merged_file_compares_as_its_parts_do(parts):
    main(["merge", "a.json", "b.json", "-o", "all.json"])
    whole = compare_runs(read_saved(Path("all.json")), read_saved(Path("all.json")))
    assert {one.word for one in whole} == {"same"}
    assert len(whole) == 10


def test_a_merged_file_can_be_merged_again(parts):
    write("c.json", scores(OLD, split="cell_type"), run={"reconeval": "1"})
    main(["merge", "a.json", "b.json", "-o", "ab.json"])
    assert main(["merge", "ab.json", "c.json", "-o", "all.json"]) == 0
    merged = read_saved(Path("all.json"))
    assert len(merged.rows) == 14
    assert [part["file"] for part in merged.run["parts"]] == ["a.json", "b.json", "c.json"]


def test_tables_beside_the_rows_are_merged_too(parts):
    for name in ("a", "b"):
        document = json.loads(Path(f"{name}.json").read_text())
        inner = document.get("reconeval", document)
        inner["metric_seconds"] = {f"{name} mse": 1.0}
        inner["material"] = {"measured": [{"dataset": "immune"}], "predicted": [{"model": name}]}
        Path(f"{name}.json").write_text(json.dumps(document))
    main(["merge", "a.json", "b.json", "-o", "all.json"])
    merged = json.loads(Path("all.json").read_text())
    assert merged["metric_seconds"] == {"a mse": 1.0, "b mse": 1.0}
    assert merged["material"] == {
        "measured": [{"dataset": "immune"}],
        "predicted": [{"model": "a"}, {"model": "b"}],
    }


def named(scores, name="new.json", **run):
    return replace(saved(scores, run), name=name)


class TestRefused:
    def test_a_row_that_stands_twice(self):
        with pytest.raises(UsageError, match="mse on immune/iid of Model in a and in b"):
            merge_runs([named(scores(OLD)[:1], "a"), named(scores(OLD)[:1], "b")])

    def test_many_rows_are_named_and_counted(self):
        many = [one for i in range(4) for one in scores(OLD, model=f"M{i}")]
        with pytest.raises(UsageError, match=r"mse on immune/iid of M0, .* and 8 more rows"):
            merge_runs([named(many, "a"), named(many, "b")])

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"dataset_sha256": "b" * 64}, "dataset immune has dataset_sha256 aaaaaaaaaaaa in a "),
            ({"metric_version": 2}, "metric mse has metric_version 1 in a and 2 in b "),
        ],
    )
    def test_other_data_or_another_definition(self, change, match):
        other = scores({"mse": 0.5}, model="Other", **change)
        with pytest.raises(UsageError, match=match) as error:
            merge_runs([named(scores(OLD), "a"), named(other, "b")])
        assert "mse on immune/iid of Other" in str(error.value)

    def test_another_model_of_the_same_name(self):
        first = named(scores({"mse": 0.5}, spec="mypkg:Model?size=1"), "a")
        other = named(scores({"mae": 0.5}, spec="mypkg:Model?size=2", split="cell_type"), "b")
        match = r"model Model has spec mypkg:Model\?size=1 in a and .*size=2 in b \(mae on immune/c"
        with pytest.raises(UsageError, match=match):
            merge_runs([first, other])

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"seeds": [1, 2, 3]}, r"has seeds \[0, 1, 2\] in a and \[1, 2, 3\] in b"),
            ({"device": "gpu"}, "has device cpu in a and gpu in b"),
            ({"versions": {"torch": "2.9", "pytest": "8"}}, "has torch 2.8 in a and 2.9 in b"),
        ],
    )
    def test_one_place_made_in_two_ways(self, change, match):
        run = {"seeds": [0, 1, 2], "device": "cpu", "versions": {"torch": "2.8", "pytest": "9"}}
        first = named(scores({"mse": 0.5}), "a", **run)
        with pytest.raises(UsageError, match=f"Model on immune/iid {match} .mae on immune/iid of"):
            merge_runs([first, named(scores({"mae": 0.5}), "b", **{**run, **change})])
        elsewhere = named(scores({"mae": 0.5}, split="cell_type"), "b", **{**run, **change})
        whole = merge_runs([first, elsewhere])
        assert len(whole["rows"]) == 2
        # A merged file still knows which part made a row.
        third = named(scores({"r2": 0.5}, split="cell_type"), "c", **run)
        with pytest.raises(
            UsageError, match=r"Model on immune/cell_type has .* in all and .* in c"
        ):
            merge_runs([saved_of(whole, "all"), third])

    def test_one_place_with_another_number_of_seeds(self):
        runs = [named(scores({"mse": 0.5}), "a"), named(scores({"mae": 0.5}, seeds=2), "b")]
        with pytest.raises(UsageError, match="has number of seeds 3 in a and 2 in b"):
            merge_runs(runs)

    def test_another_version_of_reconeval(self):
        runs = [
            named(scores(OLD), "a", reconeval="1"),
            named(scores(OLD, model="Other"), "b", reconeval="2"),
        ]
        with pytest.raises(UsageError, match="a was made by reconeval 1 and b by 2, with mse on"):
            merge_runs(runs)

    @pytest.mark.parametrize(
        ("out", "match"),
        [("all.csv", "ends in .json"), ("no/such/folder/all.json", "cannot be written")],
    )
    def test_a_file_that_cannot_be_written(self, parts, capsys, out, match):
        assert main(["merge", "a.json", "b.json", "-o", out]) == 4
        assert match in capsys.readouterr().err

    def test_nothing_is_written_where_parts_conflict(self, parts, capsys):
        assert main(["merge", "a.json", "a.json", "-o", "all.json"]) == 4
        assert not Path("all.json").exists()
        assert "in a.json and in a.json; leave one of them out" in capsys.readouterr().err
