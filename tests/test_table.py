"""The terminal table shows every row, marks the best and tells each failure once."""

import math

import pytest

from reconeval.report.table import summary_lines


@pytest.fixture
def rows(make_row):
    return [
        make_row(model="A", value=0.8),
        make_row(model="B", value=0.7),
        make_row(model="A", metric="r2", value=0.99, higher_is_better=True),
        make_row(model="B", metric="r2", value=0.9, higher_is_better=True),
    ]


def line_of(lines, start):
    return next(line for line in lines if line.startswith(start))


def test_models_are_rows_and_the_best_is_marked_by_direction(rows):
    lines = summary_lines(rows)
    assert line_of(lines, "A").split() == ["A", "0.8", "0.99*"]
    assert line_of(lines, "B").split() == ["B", "0.7*", "0.9"]


def test_colour_shows_the_best_in_bold(rows):
    text = "\n".join(summary_lines(rows, color=True))
    assert "\x1b[1m0.7\x1b[0m" in text
    assert "0.7*" not in text


def test_header_and_legend_have_direction_and_range(rows):
    text = "\n".join(summary_lines(rows))
    assert "↑" in text
    assert "↓" in text
    assert "r2: " in text


def test_equal_values_have_no_best(make_row):
    text = "\n".join(summary_lines([make_row(model="A"), make_row(model="B")]))
    assert "0.8*" not in text


def test_each_dataset_and_split_has_its_table(make_row):
    text = "\n".join(summary_lines([make_row(), make_row(split="cell_type", n=217)]))
    assert "immune / iid  (300 test cells, 1 seed)" in text
    assert "immune / cell_type  (217 test cells, 1 seed)" in text


def test_seeds_show_mean_and_spread(make_row):
    lines = summary_lines([make_row(value=0.8, low=0.75, high=0.85, seeds=3)])
    assert "0.8 [0.75, 0.85]" in line_of(lines, "Model")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_wide_table_is_folded_not_cut(make_row, width):
    names = ["r2", "mse", "mae", "pearson_cell", "energy_distance_pca", "sinkhorn_divergence"]
    rows = [make_row(metric=name, value=index + 0.25) for index, name in enumerate(names)]
    lines = summary_lines(rows, width=width)
    tables = lines[: next(i for i, line in enumerate(lines) if line.startswith("↑ higher"))]
    text = "\n".join(lines)
    for index in range(len(names)):
        assert f"{index}.25" in text
    assert max(map(len, tables)) <= width


def test_an_undefined_value_is_shown_and_never_best(make_row):
    rows = [
        make_row(model="A", value=math.nan, verdict="fail", reason="mse on immune/iid: undefined"),
        make_row(model="B", value=9.0),
        make_row(model="C", value=8.0),
    ]
    lines = summary_lines(rows)
    assert line_of(lines, "A").split() == ["A", "undefined"]
    assert line_of(lines, "C").split() == ["C", "8*"]


def test_a_failure_is_one_line(make_row):
    message = "mse on immune/iid: 0.8 -> 0.9, worse by 0.1 (allowed 0.01)"
    lines = summary_lines([make_row(verdict="fail: worse", reason=message)])
    assert lines[-1] == f"  Model: {message}"


def test_one_cause_of_many_failures_is_told_once(make_row):
    cause = "training Model on immune/iid, seed 0 raised ValueError: no"
    rows = [
        make_row(
            metric=name,
            value=math.nan,
            verdict="fail",
            reason=f"{name} on immune/iid: undefined, {cause}",
        )
        for name in ("mse", "r2", "mae")
    ]
    lines = summary_lines(rows)
    assert [line for line in lines if cause in line] == [
        f"  Model on immune/iid: {cause} (3 metrics)"
    ]


def test_what_the_data_cannot_serve_is_told_once_and_is_no_failure(make_row):
    cause = "1 markers of phase S"
    rows = [
        make_row(model=model, metric=name, value=math.nan, verdict=verdict, reason=cause)
        for model, verdict in (("A", "skip"), ("B", "skip: new"))
        for name in ("cellcycle_S", "cellcycle_G1")
    ]
    lines = summary_lines(rows)
    assert [line for line in lines if cause in line] == [
        f"  cellcycle_S, cellcycle_G1 on immune/iid: {cause}"
    ]
    assert line_of(lines, "A").split() == ["A", "-", "-"]
    assert not [line for line in lines if line.startswith("failed")]


def test_lost_rows_are_listed(make_row):
    lines = summary_lines([make_row()], [make_row(metric="r2", value=0.9)])
    assert lines[-1] == "  Model: r2 on immune/iid was 0.9"
