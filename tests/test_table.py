"""The summary: a line per model, each row with interval, skill and verdict, each failure once."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval.contract import Outcome
from reconeval.report.table import summary_lines
from reconeval.report.texts import interval
from tests.conftest import ROW

NAMES = ["r2", "mse", "mae", "pearson_cell", "energy_distance_pca", "sinkhorn_divergence"]
JUDGED = {
    "ci_low": 0.71,
    "ci_high": 0.92,
    "ci_method": "bootstrap over cells (percentile, 1000)",
    "skill": 0.375,
    "negative": 1.1,
    "positive": 0.3,
    "threshold": 0.95,
    "informative": True,
    "verdict": "pass",
}


@pytest.fixture
def rows(make_row):
    return [
        make_row(model=model, metric=metric, value=value, verdict="pass")
        for metric, values in {"mse": (0.8, 0.7), "r2": (0.99, 0.9)}.items()
        for model, value in zip("AB", values, strict=True)
    ]


def details(lines):
    """Return the lines below the first table's title."""
    start = next(i for i, line in enumerate(lines) if "test cells" in line)
    return lines[start:]


def line_with(lines, *words):
    return next(line for line in details(lines) if line.split()[: len(words)] == list(words))


def test_the_first_lines_are_the_models(rows):
    lines = summary_lines([*rows, replace(rows[0], metric="mae", verdict="fail", reason="no")])
    assert lines[0].split() == ["model", "pass", "fail"]
    assert lines[2].split() == ["A", "2", "1"]
    assert lines[3].split() == ["B", "2", "0"]


def test_each_metric_has_a_line_per_model_and_the_best_is_marked_by_direction(rows):
    lines = summary_lines(rows)
    assert line_with(lines, "mse").split() == ["mse", "↓", "A", "0.8", "pass"]
    assert line_with(lines, "B", "0.7*").split() == ["B", "0.7*", "pass"]
    assert line_with(lines, "r2").split() == ["r2", "↑", "A", "0.99*", "pass"]


def test_colour_shows_the_best_in_bold(rows):
    text = "\n".join(summary_lines(rows, color=True))
    assert "\x1b[1m0.7\x1b[0m" in text
    assert "0.7*" not in text


def test_one_model_stands_in_the_title_and_needs_no_column(make_row):
    lines = summary_lines([make_row(verdict="pass")])
    assert "Model on immune / iid  (300 test cells, 1 seed)" in lines
    assert line_with(lines, "mse").split() == ["mse", "↓", "0.8", "pass"]


def test_value_interval_skill_baseline_and_verdict_stand_in_eighty_columns(make_row):
    rows = [
        make_row(model=model, metric=name, baseline=0.88, **{**JUDGED, "verdict": "pass: worse"})
        for name in ("mse", "cellcycle_proportion_same_phase")
        for model in ("ReconPCA", "ReconAE")
    ]
    lines = summary_lines(rows, width=80)
    expected = ["mse", "↓", "ReconPCA", "0.8", "[0.71,", "0.92]", "0.38", "0.88", "worse"]
    assert line_with(lines, "mse").split() == expected
    assert max(map(len, lines)) <= 80
    assert sum("verdict" in line for line in lines) == 1


def test_a_wide_terminal_shows_the_controls_as_well(make_row):
    rows = [make_row(**JUDGED)]
    wide, narrow = (summary_lines(rows, width=width) for width in (120, 60))
    assert line_with(wide, "mse").split()[-2:] == ["1.1", "0.3"]
    assert line_with(narrow, "mse").split()[-1] == "pass"


def test_an_interval_is_not_mistaken_for_the_spread_of_the_seeds(make_row):
    spread = make_row(value=0.8, low=0.75, high=0.85, seeds=3)
    assert interval(spread) == "0.75 … 0.85"
    assert interval(replace(spread, ci_low=0.7, ci_high=0.9)) == "[0.7, 0.9]"
    lines = summary_lines([spread])
    assert "Model on immune / iid  (300 test cells, mean of 3 seeds)" in lines
    assert "a … b: lowest and highest over seeds or rounds" in lines
    assert interval(make_row()) == ""


def test_a_metric_that_is_not_informative_is_marked_and_left_out_of_the_skill(make_row):
    rows = [
        make_row(**{**JUDGED, "skill": 0.2}),
        make_row(metric="mae", **{**JUDGED, "skill": 0.6}),
        make_row(metric="r2", **{**JUDGED, "skill": 40.0, "informative": False}),
    ]
    lines = summary_lines(rows)
    assert line_with(lines, "r2").split()[:3] == ["r2", "↑", "~"]
    assert "~" not in line_with(lines, "mse")
    assert lines[3].split() == ["Model", "3", "0", "0.40"]
    assert [line for line in lines if line.startswith("~ not informative")]


def test_the_overview_counts_what_is_better_and_worse_than_the_baseline(make_row):
    verdicts = ["pass: better", "pass: same", "fail: worse", "pass: same (scaled 1.8x)"]
    rows = [
        make_row(metric=name, verdict=verdict)
        for name, verdict in zip(NAMES, verdicts, strict=False)
    ]
    lines = summary_lines(rows)
    assert lines[0].split() == ["model", "pass", "fail", "better", "same", "worse"]
    assert lines[2].split() == ["Model", "3", "1", "1", "2", "1"]


class TestContract:
    OUTCOMES = {
        "A": {"prediction": Outcome("prediction", "passed", "")},
        "B": {
            "untrained": Outcome("untrained", "excepted", "comes with weights"),
            "prediction": Outcome("prediction", "failed", "B: shape (3, 2); the rule: as X"),
            "one_cell": Outcome("one_cell", "failed", "as above: training failed"),
            "cell_order": Outcome("cell_order", "failed", "as above: training failed"),
        },
    }

    @pytest.mark.parametrize("verbosity", [-1, 0, 1])
    def test_broken_rules_are_counted_by_model_and_listed_with_what_failed(self, rows, verbosity):
        rows = [*rows, replace(rows[0], metric="mae", verdict="fail", reason="no")]
        lines = summary_lines(rows, outcomes=self.OUTCOMES, verbosity=verbosity)
        assert lines[0].split() == ["model", "pass", "fail", "contract"]
        assert lines[2].split() == ["A", "2", "1", "1", "kept"]
        assert lines[3].split() == ["B", "2", "0", "3", "broken"]
        assert lines[-4:] == [
            "failed (3):",
            "  B: contract prediction: shape (3, 2); the rule: as X",
            "  B: contract: as above: training failed (2 checks)",
            "  A: mae on immune/iid: no",
        ]

    def test_a_contract_alone_has_its_lines(self):
        lines = summary_lines([], outcomes=self.OUTCOMES)
        assert lines[0].split() == ["model", "contract"]
        assert lines[2].split() == ["A", "1", "kept"]
        assert lines[4:6] == ["", "failed (2):"]

    def test_a_model_that_was_not_checked_has_none(self, rows):
        lines = summary_lines(rows, outcomes={"A": self.OUTCOMES["A"]})
        assert lines[3].split() == ["B", "2", "0"]
        assert "contract" not in "\n".join(summary_lines(rows))


class TestUnits:
    def told(self, lines):
        start = next(i for i, line in enumerate(lines) if line.startswith("units:"))
        more = itertools.takewhile(lambda line: line.startswith("  "), lines[start + 1 :])
        return " ".join([lines[start], *map(str.strip, more)])

    def test_the_legend_tells_the_unit_of_what_is_shown(self, make_row):
        rows = [make_row(metric=name) for name in NAMES]
        rows.append(make_row(metric="variance_log2_ratio", verdict="skip"))
        rows.append(make_row(metric="train_seconds", family="cost"))
        lines = summary_lines(rows, width=80)
        assert self.told(lines) == (
            "units: (log1p CP10k)² for mse; log1p CP10k for mae, energy_distance_pca, "
            "sinkhorn_divergence; else none; costs as named"
        )
        assert max(map(len, lines)) <= 80

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"metric": "r2"}, "units: none"),
            ({"metric": "latent_mse"}, "units: (latent units)² for latent_mse"),
            ({"metric": "peak_rss_mb", "family": "cost"}, "units: costs as named"),
        ],
    )
    def test_a_single_kind(self, make_row, changes, expected):
        assert self.told(summary_lines([make_row(**changes)])) == expected

    def test_verbose_tells_it_with_each_meaning_instead(self, rows):
        lines = summary_lines(rows, verbosity=1)
        assert not [line for line in lines if line.startswith("units:")]


class TestVerbosity:
    def test_quiet_is_a_line_per_model_and_what_failed(self, rows):
        failed = replace(rows[0], verdict="fail", reason="mse on immune/iid: 0.8, expected 0.5")
        lost = replace(rows[1], model="C")
        lines = summary_lines([*rows, failed], [lost], verbosity=-1)
        assert [line.split()[0] for line in lines[2:4]] == ["A", "B"]
        assert lines[4:] == [
            "",
            "failed (1):",
            "  A: mse on immune/iid: 0.8, expected 0.5",
            "",
            "lost since the baseline (1):",
            "  C: mse on immune/iid was 0.7",
        ]

    def test_verbose_shows_every_column_meaning_method_and_note(self, make_row):
        row = make_row(low=0.7, high=0.9, seeds=3, reason="the controls are in wrong order")
        row = replace(row, **{**JUDGED, "informative": False})
        lines = summary_lines([row], width=160, verbosity=1)
        text = "\n".join(lines)
        shown = line_with(lines, "mse").split()
        assert shown[3:] == ["0.8", "[0.71,", "0.92]", "0.38", "pass", "1.1", "0.3", *shown[-3:]]
        assert shown[-3:] == ["0.95", "0.7", "0.9"]
        assert "interval by bootstrap over cells (percentile, 1000): mse" in text
        assert "  mse: mean squared error of paired cells [0, inf], (log1p CP10k)²" in text
        assert "  mse on immune/iid: the controls are in wrong order" in text
        plain = "\n".join(summary_lines([row], width=160))
        assert "bootstrap" not in plain
        assert "wrong order" not in plain

    @given(
        width=st.integers(30, 200),
        verbosity=st.integers(-1, 1),
        models=st.lists(st.text("abcXYZ_/+:", min_size=1, max_size=40), min_size=1, unique=True),
        changes=st.dictionaries(st.sampled_from(NAMES), st.booleans(), min_size=1),
    )
    def test_any_rows_fit_any_terminal(self, width, verbosity, models, changes):
        rows = [
            replace(ROW, model=model, metric=name, **(JUDGED if judged else {"verdict": "pass"}))
            for name, judged in changes.items()
            for model in models[:4]
        ]
        kept = {"prediction": Outcome("prediction", "passed", "")}
        outcomes = dict.fromkeys(models, kept) if changes.get("r2") else {}
        lines = summary_lines(rows, outcomes=outcomes, width=width, verbosity=verbosity)
        assert max(map(len, lines)) <= max(width, 40)
        if verbosity >= 0:
            assert "\n".join(lines).count("0.8") >= len(rows)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_wide_table_is_folded_not_cut(make_row, width):
    rows = [make_row(metric=name, value=index + 0.25, **JUDGED) for index, name in enumerate(NAMES)]
    lines = summary_lines(rows, width=width, verbosity=1)
    text = "\n".join(lines)
    for word in ("skill", "verdict", "threshold", "[0.71, 0.92]", *map("{}.25".format, range(6))):
        assert word in text, word
    assert "…" not in text
    assert max(map(len, lines)) <= width


def test_equal_values_have_no_best(make_row):
    text = "\n".join(summary_lines([make_row(model="A"), make_row(model="B")]))
    assert "0.8*" not in text


def test_each_dataset_and_split_has_its_table(make_row):
    text = "\n".join(summary_lines([make_row(), make_row(split="cell_type", n=217)]))
    assert "immune / iid  (300 test cells, 1 seed)" in text
    assert "immune / cell_type  (217 test cells, 1 seed)" in text


def test_an_undefined_value_is_shown_and_never_best(make_row):
    rows = [
        make_row(model="A", value=math.nan, verdict="fail", reason="mse on immune/iid: undefined"),
        make_row(model="B", value=9.0),
        make_row(model="C", value=8.0),
    ]
    lines = summary_lines(rows)
    assert line_with(lines, "mse").split() == ["mse", "↓", "A", "undefined", "fail"]
    assert line_with(lines, "C").split() == ["C", "8*"]


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
        for name in ("cellcycle_S", "cellcycle_G1")
        for model, verdict in (("A", "skip"), ("B", "skip: new"))
    ]
    lines = summary_lines(rows)
    assert [line for line in lines if cause in line] == [
        f"  cellcycle_S, cellcycle_G1 on immune/iid: {cause}"
    ]
    assert not [line for line in lines if line.startswith(("failed", "cellcycle_S"))]
    full = summary_lines(rows, verbosity=1)
    assert line_with(full, "cellcycle_S").split() == ["cellcycle_S", "↑", "A", "-", "skip"]


def test_lost_rows_are_listed(make_row):
    lines = summary_lines([make_row()], [make_row(metric="r2", value=0.9)])
    assert lines[-1] == "  Model: r2 on immune/iid was 0.9"
