"""One model becomes one per swept value, and their scores are drawn against the values."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval._settings import parse_settings
from reconeval.errors import UsageError
from reconeval.report.sweep import plot_paths, sweep_figures, write_plots
from reconeval.spec import parse_models
from reconeval.sweep import MOST, read_sweeps, swept_of, swept_text
from tests.conftest import ROOT
from tests.example_models import GOOD

METRICS = str(ROOT / "benchmarks" / "test_metrics.py")
SMALL = ("--dataset", "pbmc68k", "--split", "iid", "--metrics", "mse,r2")
PCA = "models:ReconPCA"

words = st.text("abcdef", min_size=1, max_size=4)


def message(*sweeps, model=PCA):
    with pytest.raises(UsageError) as caught:
        parse_models([model], sweeps=sweeps)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestGrid:
    @given(st.dictionaries(words, st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
                           max_size=3))  # fmt: skip
    def test_every_combination_comes_once_and_the_last_keyword_changes_first(self, axes):
        texts = [f"{key}={','.join(map(str, values))}" for key, values in axes.items()]
        grid = read_sweeps(texts)
        assert len({tuple(point.values()) for point in grid}) == len(grid)
        assert len(grid) == np.prod([len(values) for values in axes.values()], dtype=int)
        firsts = [{key: str(values[0]) for key, values in axes.items()}]
        assert grid[:1] == tuple(firsts)
        if axes and len(grid) > 1:
            last = next(key for key in reversed(axes) if len(axes[key]) > 1)
            assert grid[1] == grid[0] | {last: str(axes[last][1])}

    def test_lists_and_text_with_commas_are_one_value(self):
        grid = read_sweeps(['n_hidden=[128,64],[32],"a,b"'])
        assert [point["n_hidden"] for point in grid] == ["[128,64]", "[32]", '"a,b"']

    @pytest.mark.parametrize(
        ("sweeps", "expected"),
        [
            (["n_components"], "expected KEYWORD=VALUE,VALUE"),
            (["n_components="], "expected KEYWORD=VALUE,VALUE"),
            (["2d=1"], "expected KEYWORD=VALUE,VALUE"),
            (["n_components=2,,3"], "a value is missing between two commas"),
            (["n_components=2,3,2"], "2 is given twice"),
            (["n_components=2,3,2.0"], "2.0 is the same value as 2; keep one"),
            (["n_hidden=[2, 3],[2,3]"], "[2,3] is the same value as [2, 3]"),
            (["train.rule=none,None"], "None is the same value as none"),
            (["n_components=2", "n_components=3"], "n_components is swept twice"),
            (["n_components=[2"], "] is missing"),
            ([f"a={','.join(map(str, range(MOST)))}", "b=1,2"], f"over {MOST} variants"),
        ],
    )
    def test_a_sweep_that_cannot_be_read(self, sweeps, expected):
        assert message(*sweeps).startswith("--sweep ")
        assert expected in message(*sweeps)


class TestModels:
    def test_a_variant_is_the_model_with_that_setting(self):
        variants = parse_models([PCA], sweeps=["n_components=2,10"])
        named = parse_models([f"{PCA}?n_components={n}" for n in (2, 10)])
        for one, other in zip(variants, named, strict=True):
            assert (one.id, one.key, one.kwargs) == (other.id, other.key, other.kwargs)

    def test_keywords_of_train_are_crossed_with_those_of_the_constructor(self):
        specs = parse_models(
            ["models:ReconAE?n_hidden=[8]"], sweeps=["n_latent=2,3", "train.max_epochs=1,5"]
        )
        assert [(spec.kwargs["n_latent"], spec.train_kwargs["max_epochs"]) for spec in specs] == [
            (2, 1), (2, 5), (3, 1), (3, 5)
        ]  # fmt: skip
        assert specs[0].id == "ReconAE+n_hidden:8+n_latent:2+train.max_epochs:1"

    def test_what_was_typed_gives_the_variant_again(self):
        for text in ("models:ReconAE?n_hidden=[8]", "small=models:ReconAE"):
            for spec in parse_models([text], sweeps=["n_latent=2,3", "train.max_epochs=4"]):
                model, point = swept_of(spec.typed)
                assert (model, point) == (text, dict(spec.swept))
                sweeps = [f"{key}={value}" for key, value in point.items()]
                (again,) = parse_models([model], sweeps=sweeps)
                assert (again.id, again.key, again.typed) == (spec.id, spec.key, spec.typed)

    @given(st.dictionaries(words, words, max_size=3), st.sampled_from(["", " --embedding X_fm"]))
    def test_the_point_is_read_from_what_was_typed(self, point, more):
        assert swept_of(f"m:M?x=1{swept_text(point)}{more}")[1] == point

    def test_models_of_a_file_keep_their_names(self, tmp_path):
        (tmp_path / "models.toml").write_text(f'[small]\ntarget = "{PCA}"\n[big]\ntarget = "{PCA}"')
        specs = parse_models(["models.toml"], folder=tmp_path, sweeps=["n_components=2,3"])
        assert [spec.id for spec in specs] == [
            f"{name}+n_components:{n}" for name in ("small", "big") for n in (2, 3)
        ]

    def test_what_a_model_does_not_take_is_refused_by_name(self):
        assert message("n_latemt=2,3", model="models:ReconAE").startswith("--model models:ReconAE")
        assert "did you mean n_latent" in message("n_latemt=2,3", model="models:ReconAE")
        fixed = message("n_components=2,3", model=f"{PCA}?n_components=5")
        assert "n_components is fixed here and swept" in fixed
        assert "takes no" in message("train.epochs=2,3", model="models:ReconAE")


@pytest.fixture
def swept_rows(make_row):
    """Two models at three values of n and two of rate, two metrics, one of them undefined once."""
    rows = []
    for model in ("m:A", "m:B?k=1"):
        for n in (100, 2, 10):
            for rate in ("low", "high"):
                spec = model + swept_text({"n": str(n), "rate": rate})
                value = n + len(rate) / 10 + (model == "m:A")
                for metric in ("mse", "r2"):
                    hole = metric == "r2" and n == 2
                    rows.append(
                        make_row(spec=spec, metric=metric, value=np.nan if hole else value)
                    )  # fmt: skip
    return rows


class TestPlot:
    def test_lines_are_the_rows(self, swept_rows):
        figures = sweep_figures(swept_rows)
        assert set(figures) == {"n", "rate"}
        axes = [axis for axis in figures["n"].axes if axis.axison]
        assert [axis.get_title() for axis in axes] == ["mse ↓", "r2 ↑"]
        assert [len(axis.lines) for axis in axes] == [4, 4]
        assert axes[0].get_xscale() == "log"
        x, y = axes[0].lines[0].get_data()
        assert list(x) == [2, 10, 100]
        np.testing.assert_allclose(y, [3.3, 11.3, 101.3])
        assert list(axes[1].lines[0].get_xdata()) == [10, 100]
        legend = [text.get_text() for text in figures["n"].findobj() if hasattr(text, "get_text")]
        models = ("m:A", "m:B?k=1")
        names = {f"{m}, rate {r} on immune/iid" for m in models for r in ("low", "high")}
        assert names <= set(legend)

    def test_words_stand_on_the_axis_as_words(self, swept_rows):
        axis = sweep_figures(swept_rows)["rate"].axes[0]
        assert [label.get_text() for label in axis.get_xticklabels()] == ["low", "high"]
        assert axis.get_xscale() == "linear"

    def test_the_band_is_the_spread_over_seeds(self, make_row):
        rows = [
            make_row(spec=f"m:A --sweep n={n}", value=2.0 * n, low=n, high=3.0 * n) for n in (1, 2)
        ]
        (band,) = sweep_figures(rows)["n"].axes[0].collections
        vertices = {tuple(vertex) for vertex in band.get_paths()[0].vertices}
        assert {(1, 1), (1, 3), (2, 2), (2, 6)} <= vertices

    def test_nothing_is_drawn_of_one_value_or_none(self, make_row):
        assert sweep_figures([make_row(), make_row(spec="m:A --sweep n=1")]) == {}

    def test_files_stand_beside_the_results(self, swept_rows, tmp_path):
        written = write_plots(swept_rows, tmp_path / "out.csv")
        expected = [path for key in ("n", "rate") for path in plot_paths(tmp_path / "out.csv", key)]
        assert written == expected
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "out-n.png", "out-n.svg", "out-rate.png", "out-rate.svg"
        ]  # fmt: skip
        first = expected[0].read_bytes()
        assert b"<svg" in first
        assert expected[1].read_bytes().startswith(b"\x89PNG")
        assert b"mse" in first

    def test_a_folder_that_is_gone_is_said(self, swept_rows, tmp_path):
        with pytest.raises(UsageError, match="cannot be written"):
            write_plots(swept_rows, tmp_path / "gone" / "out.csv")


class TestRun:
    def test_a_variant_that_breaks_leaves_the_others_their_scores(self, pytester):
        # Too many components for the cells: the model's own error, as a failed test of its own.
        pytester.makepyfile(mymodel=GOOD.replace(
            "        self.mean =", "        if self.n_components > 500:\n"
            "            raise ValueError('too many components')\n        self.mean =",
        ))  # fmt: skip
        result = pytester.runpytest(
            METRICS, "--model", "mymodel:Good", "--sweep", "n_components=4,20,1000", *SMALL,
            "--results", "out.json",
        )  # fmt: skip
        assert result.ret == 1
        result.stdout.fnmatch_lines(
            ["*Good+n_components:1000 on pbmc68k/iid: *too many components*"]
        )
        rows = {row["model"]: row for row in json.loads(Path("out.json").read_text())["rows"]
                if row["metric"] == "mse"}  # fmt: skip
        assert list(rows) == [f"Good+n_components:{n}" for n in (4, 20, 1000)]
        assert rows["Good+n_components:20"]["value"] < rows["Good+n_components:4"]["value"]
        assert rows["Good+n_components:1000"]["value"] is None
        result.stdout.fnmatch_lines(["plot written to out-n_components.svg"])
        assert b"n_components" in Path("out-n_components.svg").read_bytes()

    def test_k_selects_a_variant(self, pytester):
        pytester.makepyfile(mymodel=GOOD)
        result = pytester.runpytest(
            METRICS, "--model", "mymodel:Good", "--sweep", "n_components=4,20", *SMALL,
            "-k", "n_components:4 and mse",
        )  # fmt: skip
        result.assert_outcomes(passed=1, deselected=3)

    def test_a_bad_sweep_ends_in_one_line(self, pytester):
        result = pytester.runpytest(METRICS, "--model", PCA, "--sweep", "n_components=")
        assert result.ret == 4
        assert result.stderr.lines == [
            "ERROR: --sweep n_components=: expected KEYWORD=VALUE,VALUE,..., such as n_latent=10,32,128",  # noqa: E501
            "",
        ]


def test_values_are_read_as_after_the_question_mark():
    point = read_sweeps(["rate=1e-3,none,relu"])
    texts = [one["rate"] for one in point]
    values = [parse_settings(f"rate={text}", where="")[0]["rate"] for text in texts]
    assert values == [1e-3, None, "relu"]
