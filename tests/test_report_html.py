"""The report by its structure: what stands where, for whom, and how large it is."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconeval.cli import main
from reconeval.errors import UsageError
from reconeval.gate._saved import saved_of
from reconeval.report.html import _chart, _svg, write_report
from reconeval.report.html._page import SECTIONS, render
from reconeval.report.html._ranking import heatmaps
from reconeval.report.html._results import gather
from reconeval.report.html._style import FAMILIES, style_sheet
from reconeval.report.themes import contrast
from tests.report_runs import COSTS, EVIL, PLACES, RUN, long_names, made_run

FEW = ("mse", "r2", "c2st_auc", "pathway")
VOID = {"meta", "link", "input", "br", "wbr", "img"}


class Page(HTMLParser):
    """Tags with their attributes and texts; fails where they are not nested."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self._open = text, [], []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", "of": [one["tag"] for one in self._open], **dict(attrs)}
        element["parts"] = []
        self.tags.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.tags.append({"tag": tag, "text": "", **dict(attrs)})

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1]["tag"] == tag, f"</{tag}> closes <{self._open[-1]['tag']}>"
        element = self._open.pop()
        element["text"] = "".join(element.pop("parts"))
        self.handle_data(element["text"])

    def handle_data(self, data):
        if self._open:
            self._open[-1]["parts"].append(data)

    def all(self, tag, **attributes):
        return [
            one
            for one in self.tags
            if one["tag"] == tag
            and all(one.get(name.strip("_")) == value for name, value in attributes.items())
        ]

    def section(self, name):
        (found,) = self.all("section", id=name)
        return found["text"]


def without(run, **changes):
    """The same run, its rows changed."""
    rows = [replace(row, **changes).to_dict() for row in run.rows.values()]
    return saved_of({"run": dict(run.run), "rows": rows}, run.name)


@pytest.fixture(scope="module")
def run():
    return made_run(["Good", "Other", "Third"], PLACES[:2], FEW, genes=50)


@pytest.fixture(scope="module")
def page(run):
    return Page(render([run]))


def test_has_every_section_and_links_to_each(page):
    ids = [one["id"] for one in page.all("section")]
    assert ids == [name for name, _ in SECTIONS]
    links = [one["href"] for one in page.all("a")]
    assert links == ["#main", *(f"#{name}" for name in ids)]
    assert not re.search(r"class=\"missing\"", page.text)  # this run lacks nothing


def test_rows_of_a_training_from_the_cache_say_so_and_the_page_what_that_means(run, page):
    assert "cached" not in page.section("scores")
    rows = [
        replace(row, cached=row.model == "Other", verdict="pass").to_dict()
        for row in run.rows.values()
    ]
    marked = Page(render([saved_of({"run": dict(run.run), "rows": rows}, run.name)]))
    lines = [one for one in marked.all("tr") if "data-f" in one]
    assert len(lines) == len(rows)
    for line in lines:  # a word, once, for those who see no colour and for the field that finds
        assert line["text"].count("cached") == ("Other" in line["text"])
    n = sum(row["cached"] for row in rows)
    assert 0 < n < len(rows)
    (legend,) = [one["text"] for one in marked.all("p") if "cached" in one["text"]]
    assert f"here in {n} of {len(rows)} rows: an earlier run trained the model" in legend
    assert "times and memory are those of that run" in legend


def test_needs_nothing_beside_it(page):
    for one in page.tags:
        for name in ("src", "href", "data", "action", "xlink:href"):
            assert one.get(name, "#").startswith(("#", "data:")), one
    assert not re.search(r"@import|url\((?!data:)", page.text)
    (policy,) = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none';")


def test_is_sane_for_those_who_do_not_see_it(page):
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    levels = [int(one["tag"][1]) for one in page.tags if re.fullmatch("h[1-6]", one["tag"])]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [one["id"] for one in page.tags if "id" in one]
    assert len(ids) == len(set(ids))
    for one in page.tags:
        assert one.get("aria-labelledby", ids[0]) in ids
    heads = page.all("th")
    assert {one.get("scope") for one in heads} <= {"col", "row", "colgroup"}
    assert all(one["text"].strip() or one.get("aria-label") for one in heads)
    for one in page.all("button"):
        assert one.get("aria-label") or one["text"].strip()
    pictures = page.all("svg")
    assert pictures
    for one in pictures:
        assert one.get("role") == "img" or one.get("aria-hidden") == "true"
    described = [one for one in pictures if one.get("role") == "img"]
    assert len(page.all("desc")) == len(described) > 0
    assert all(one["text"].strip() for one in (*page.all("desc"), *page.all("title")))
    scrolled = [one for one in page.all("div") if "scroll" in one.get("class", "")]
    assert all(
        one["tabindex"] == "0" and one["role"] == "region" and one["aria-label"] for one in scrolled
    )
    inputs = page.all("input") + page.all("select")
    assert all("label" in one["of"] for one in inputs)


def test_the_table_has_every_score(page, run):
    (table,) = page.all("table", id="rows")
    lines = [one for one in page.all("tr") if "data-c" in one]
    assert len(lines) == len(run.rows) == 3 * 2 * (len(FEW) + len(COSTS))
    row = run.rows["Other", "immune", "iid", "mse"]
    (line,) = [one["text"] for one in lines if re.search(r"Other\s*immune/iidmse", one["text"])]
    for number in (row.value, row.ci_low, row.ci_high, row.baseline):
        assert f"{number:.4g}" in line
    assert f"{row.skill:.2f}" in line
    heads = [one["text"].strip() for one in page.all("th") if "thead" in one["of"]]
    assert {"95 % interval", "skill", "verdict", "baseline"} <= set(heads)
    assert table["text"].count("~") == 3 * 2  # r2 is not informative here


def test_ranks_models_and_leaves_out_what_is_not_informative(run):
    results = gather([run])
    places = results.by_place()
    ranking, each = heatmaps(places)
    heat = each[next(iter(places))]
    assert [column.voting for column in heat.columns if column.name == "r2"] == [False]
    assert all(line.circles["r2"].percentile is None for line in heat.lines)
    values = {row.model: row.value for row in places[next(iter(places))] if row.metric == "mse"}
    best = min(values, key=values.get)
    assert {line.model: line.circles["mse"].percentile for line in heat.lines}[best] == 1
    overall = [line.bars[0].value for line in ranking.lines]
    assert overall == sorted(overall, reverse=True)
    means = {
        line.model: np.mean(
            [
                other.bars[0].value
                for one in each.values()
                for other in one.lines
                if other.model == line.model
            ]
        )
        for line in ranking.lines
    }
    assert overall == pytest.approx([means[line.model] for line in ranking.lines])


def test_a_model_that_was_scored_on_fewer_places_carries_a_star(run):
    rows = [
        row.to_dict() for row in run.rows.values() if row.model != "Third" or row.split == "iid"
    ]
    results = gather([saved_of({"rows": rows}, "x.json")])
    ranking, _ = heatmaps(results.by_place())
    informative = len(FEW) - 1
    missing = {line.model: line.bars[0].missing for line in ranking.lines}
    assert missing == {"Good": 0, "Other": 0, "Third": informative}
    page = Page(render([saved_of({"rows": rows}, "x.json")]))
    assert "* over fewer metrics" in page.section("overview")
    assert "* over fewer metrics" not in Page(render([run])).section("overview")


def test_one_model_alone_is_not_ranked(run):
    one = saved_of(
        {"rows": [row.to_dict() for row in run.rows.values() if row.model == "Good"]}, "one.json"
    )
    page = Page(render([one]))
    assert "Nothing is ranked" in page.section("overview")
    assert "median skill" in page.section("cost")


points = st.lists(st.tuples(st.floats(1e-3, 1e5), st.floats(-5, 2)), min_size=1, max_size=12).map(
    lambda pairs: [_chart.Point(i, f"M{i}", *pair) for i, pair in enumerate(pairs, start=1)]
)


@given(points)
def test_the_front_has_the_models_that_none_beats(models):
    front = _chart.front(models)
    assert front
    for one in models:
        beaten = any(
            (other.cost < one.cost and other.quality >= one.quality)
            or (other.cost <= one.cost and other.quality > one.quality)
            for other in models
        )
        assert (one.number in front) is not beaten


@example([_chart.Point(1, "M1", 1.0, 5e-324)])
@given(points)
def test_every_model_stands_within_the_chart(models):
    picture = str(_chart.cost_chart(models, cost="time", quality="skill", title="t"))
    found = re.findall(r'<circle cx="(-?\d+)" cy="(-?\d+)"', picture)
    assert len(found) == len(models)
    assert all(0 <= int(x) <= _chart.WIDTH and 0 <= int(y) <= _chart.HEIGHT for x, y in found)
    numbers = re.findall(r">(\d+)</text></g>", picture)
    assert sorted(map(int, numbers)) == [one.number for one in models]


cells = st.lists(
    st.tuples(*[st.floats(width=32, allow_nan=True, allow_infinity=True)] * 2),
    min_size=1,
    max_size=30,
).map(lambda values: np.array(values, np.float32))


@given(cells, cells)
def test_dots_stay_within_the_frame(truth, predicted):
    bounds = _svg.window(truth)
    path = _svg.dots(predicted, bounds)
    steps = np.array(re.findall(r"m(-?\d+) (-?\d+)h0", path), int).reshape(-1, 2)
    at = steps.cumsum(axis=0)
    assert ((at >= 0) & (at <= _svg.SIDE)).all()
    finite = np.isfinite(predicted).all(axis=1)
    assert len(at) <= finite.sum()
    assert bool(len(at)) is bool(finite.any())
    assert _svg.outside(truth, bounds) == (~np.isfinite(truth).all(axis=1)).sum()


class TestBaseline:
    def test_regressions_come_first(self, page):
        text = page.section("baseline")
        found = [
            re.search(r"(\d+) worse", one["text"])
            for one in page.all("summary")
            if re.search(r"\d (worse|better|same)", one["text"])
        ]
        counts = [int(match[1]) if match else 0 for match in found]
        assert counts == sorted(counts, reverse=True)
        assert len(counts) == len(FEW)
        assert "No row has a baseline" not in text

    def test_a_change_without_a_word_of_the_gate_is_named_by_its_direction(self, run):
        rows = [
            replace(row, verdict="pass", baseline=row.value + 0.1)
            for row in run.rows.values()
            if row.metric in ("mse", "pathway", "c2st_auc") and row.model == "Good"
        ]
        text = render([saved_of({"rows": [row.to_dict() for row in rows]}, "x.json")])
        page = Page(text)
        words = {
            one["text"].split()[0]: one["text"].split()[-1]
            for one in page.all("summary")
            if re.search(r"\d (worse|better)$", one["text"].strip())
        }
        assert words["mse"] == "better"
        assert words["pathway"] == "worse"

    def test_without_one_says_how_to_get_one(self, run):
        page = Page(render([without(run, baseline=None, verdict="pass")]))
        assert "--baseline FILE" in page.section("baseline")


class TestHealth:
    def test_says_which_metrics_the_controls_doubt_and_why(self, run):
        doubt = "Mean scores 0.9, no worse than the positive control, 0.8"
        rows = [
            replace(row, reason=f"not informative: {doubt}" if row.metric == "r2" else "it failed")
            for row in run.rows.values()
        ]
        page = Page(render([saved_of({"rows": [row.to_dict() for row in rows]}, "x.json")]))
        lines = [one["text"] for one in page.all("tr") if one["text"].strip().startswith("r2 ↑")]
        assert len(lines) == 2  # one for each place
        assert all(line.strip() == f"r2 ↑no0.10.9{doubt}" for line in lines)
        assert "1 of 4 not informative" in page.section("health")
        assert "it failed" not in page.section("health")


class TestMissing:
    def test_older_results_say_what_they_lack(self, run):
        older = without(
            run,
            ci_low=None,
            ci_high=None,
            ci_method="",
            negative=None,
            positive=None,
            skill=None,
            informative=None,
            baseline=None,
        )
        page = Page(render([older]))
        assert "No intervals" in page.section("scores")
        assert "No skill" in page.section("scores")
        assert "Nothing to draw" in page.section("predictions")
        assert "No controls were scored" in page.section("health")
        heads = [one["text"].strip() for one in page.all("th")]
        assert "95 % interval" not in heads
        assert "mean rank percentile" in page.section("cost")

    def test_a_run_without_an_environment_has_no_command(self, run):
        bare = saved_of({"rows": [row.to_dict() for row in run.rows.values()]}, "bare.json")
        page = Page(render([bare]))
        assert "the command was not kept" in page.section("reproduce")
        assert "Nothing was kept of where this ran" in page.section("runs")

    def test_scores_that_are_not_defined_are_no_numbers(self, run):
        page = Page(render([without(run, value=float("nan"), reason="no two genes vary")]))
        assert "undefined" in page.section("scores")
        assert "no two genes vary" in page.section("scores")
        assert "nan" not in page.section("scores").split()

    def test_metrics_of_other_versions_are_shown(self, run):
        page = Page(
            render([without(run, metric="of_tomorrow", higher_is_better=None, family="new")])
        )
        assert "of_tomorrow" in page.section("scores")

    def test_no_rows_are_refused(self):
        with pytest.raises(UsageError, match="hold no rows"):
            render([saved_of({"rows": []}, "none.json")])


class TestCommands:
    def commands(self, page):
        return json.loads(re.search(r'id="data">(.*?)</script>', page.text, re.DOTALL)[1])["places"]

    def test_each_row_has_the_exact_one(self, page):
        found = self.commands(page)
        assert len(found) == 3 * 2
        assert found[0]["command"] == (
            "pytest benchmarks --model mine:Good --dataset immune --split iid --seeds 3"
        )
        lines = [one for one in page.all("tr") if "data-c" in one]
        narrowed = {one["data-n"] for one in lines}
        assert "--metrics mse" in narrowed
        assert {"-k test_train_time", "-k test_predict_time"} <= narrowed

    def test_names_the_file_the_embedding_and_the_suite(self, run):
        own = saved_of(
            {
                "run": {
                    **RUN,
                    "command": ["pytest", "--pyargs", "reconeval.benchmarks", "--model", "x"],
                    "arguments": ["--embedding", "X fm", "--seed", "7"],
                    "datasets": {"mine": "my data/mine.h5ad"},
                },
                "rows": [
                    replace(row, dataset="mine", spec="m:K?k=3&l=4 --embedding X fm").to_dict()
                    for row in run.rows.values()
                ],
            },
            "own.json",
        )
        command = self.commands(Page(render([own])))[0]["command"]
        assert command == (
            "pytest --pyargs reconeval.benchmarks --model 'm:K?k=3&l=4' --dataset "
            "'my data/mine.h5ad' --split iid --embedding 'X fm' --seed 7"
        )

    def test_of_an_older_file_it_is_that_of_the_run(self, run):
        older = dict(RUN)
        del older["arguments"]
        rows = [row.to_dict() for row in run.rows.values()]
        page = Page(render([saved_of({"run": older, "rows": rows}, "old.json")]))
        assert self.commands(page)[0]["command"] == " ".join(RUN["command"])
        assert "the command of the whole run is shown" in page.section("reproduce")


class TestSeveralRuns:
    def test_models_of_two_files_stand_side_by_side(self, run):
        other = made_run(["Fourth"], PLACES[:2], FEW, genes=50, name="b/other.json")
        results = gather([run, other])
        assert results.models == ["Good", "Other", "Third", "Fourth"]
        assert list(results.runs) == ["made", "other"]

    def test_two_releases_of_a_model_are_told_apart(self, run):
        new = made_run(["Good"], PLACES[:2], FEW, seed=1, genes=50, name="b/new.json")
        results = gather([run, new])
        assert results.models == ["Good (made)", "Other", "Third", "Good (new)"]
        assert ("Good (new)", "immune", "iid") in results.material.predicted
        page = Page(render([run, new]))
        assert "Good (new)" in page.section("predictions")

    def test_the_same_rows_twice_stand_once(self, run):
        assert len(gather([run, run]).rows) == len(run.rows)

    def test_a_merged_file_has_the_environment_of_each_part(self, run):
        parts = [
            {**RUN, "commit": "a" * 40, "timed": [["Good", "immune", "iid"]]},
            {**RUN, "commit": "b" * 40, "timed": [["Other", "immune", "iid"]]},
        ]
        rows = [row.to_dict() for row in run.rows.values()]
        results = gather([saved_of({"run": {"parts": parts}, "rows": rows}, "all.json")])
        assert [one["commit"][0] for one in results.runs.values()] == ["a", "b"]
        assert results.run_of["Other", "immune", "iid"]["commit"] == "b" * 40


class TestSafety:
    def test_names_and_reasons_are_text(self, run):
        evil = made_run([EVIL, "Good"], PLACES[:1], FEW, genes=50)
        evil = saved_of(
            {
                "run": {**RUN, "command": ["pytest", EVIL], "commit": EVIL},
                "rows": [
                    replace(row, reason=EVIL, ci_method=EVIL, dataset_version=EVIL).to_dict()
                    for row in evil.rows.values()
                ],
                "material": evil.document["material"],
            },
            f"{EVIL}.json",
        )
        page = Page(render([evil], title=EVIL))
        assert len(page.all("script")) == 2  # data and ours
        assert not page.all("img")
        assert not [name for one in page.tags for name in one if name.startswith("on")]
        assert EVIL in page.section("overview")
        assert "</script" not in re.search(r'id="data">(.*?)</script>', page.text, re.DOTALL)[1]

    def test_only_our_script_may_run(self, page):
        import base64
        import hashlib

        (policy,) = [one["content"] for one in page.all("meta") if "http-equiv" in one]
        allowed = re.search(r"script-src 'sha256-([^']+)'", policy)[1]
        script = re.search(r"<script>(.*?)</script>", page.text, re.DOTALL)[1]
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed


class TestColours:
    def pairs(self):
        """Every `light-dark(a,b)` variable by name, as two colours."""
        found = re.findall(r"--(\w+):light-dark\(#(\w{6}),#(\w{6})\)", style_sheet())
        return {name: (self.rgb(light), self.rgb(dark)) for name, light, dark in found}

    @staticmethod
    def rgb(code):
        return tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))

    @pytest.mark.parametrize("ground", ["page", "stripe"])
    @pytest.mark.parametrize("text", ["ink", "muted", "link", "good", "bad", "accent", "control"])
    def test_text_can_be_read_in_both_themes(self, text, ground):
        pairs = self.pairs()
        for theme in (0, 1):
            assert contrast(pairs[text][theme], pairs[ground][theme]) >= 4.5

    def test_borders_of_controls_and_badges_stand_out(self):
        pairs = self.pairs()
        for theme in (0, 1):
            assert contrast(pairs["edge"][theme], pairs["page"][theme]) >= 3
            assert contrast(pairs["ink"][theme], pairs["track"][theme]) >= 4.5

    def test_numbers_in_circles_can_be_read(self):
        both = r"light-dark\(#(\w+),#(\w+)\)"
        rule = rf"\.f-(\w+)\.s\d+\{{background:{both};color:{both}"
        found = re.findall(rule, style_sheet())
        assert len(found) == 11 * len(FAMILIES)
        for _, *codes in found:
            light, dark, on_light, on_dark = map(self.rgb, codes)
            assert contrast(light, on_light) >= 4.5
            assert contrast(dark, on_dark) >= 4.5


def test_twenty_models_with_long_names_are_under_5_megabytes(tmp_path):
    out = tmp_path / "out.html"
    write_report(out, [made_run(long_names(20))])
    assert out.stat().st_size < 5e6
    page = Page(out.read_text())
    assert page.all("table", id="rows")
    assert "20 models, 4 places, 27 metrics" in page.text


def test_the_same_results_give_the_same_page(run):
    assert render([run]) == render([run])


class TestCommandLine:
    def test_writes_the_page_of_both_kinds_of_files(self, tmp_path, run, capsys):
        document = dict(run.document)
        plain, benchmark = tmp_path / "a.json", tmp_path / "b.json"
        plain.write_text(json.dumps(document))
        benchmark.write_text(json.dumps({"benchmarks": [], "reconeval": document}))
        out = tmp_path / "out.html"
        assert main(["report", str(plain), str(benchmark), "-o", str(out), "--title", "Mine"]) == 0
        assert "report written to" in capsys.readouterr().out
        page = Page(out.read_text())
        assert page.all("h1")[0]["text"] == "Mine"
        assert "3 models" in page.text

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["missing.json", "-o", "out.html"], "missing.json: cannot be read"),
            (["bad.json", "-o", "out.html"], "bad.json: not a JSON file"),
            (["empty.json", "-o", "out.html"], "empty.json: has no reconeval rows"),
            (["bad.json", "-o", "out.pdf"], "--out out.pdf: unknown ending '.pdf'"),
            (["bad.json", "-o", "none/out.html"], "folder"),
            (["bad.json"], "required: -o"),
        ],
    )
    def test_refuses_in_one_line(self, tmp_path, monkeypatch, capsys, args, message):
        monkeypatch.chdir(tmp_path)
        Path("bad.json").write_text("{")
        Path("empty.json").write_text("{}")
        assert main(["report", *args]) == 4
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not Path("out.html").exists()
