"""The funky heatmap by its structure: what is written where, how large and how legible."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, Rectangle

from reconeval.errors import UsageError
from reconeval.metrics.aggregate import aggregate_rank_percentile
from reconeval.report.heatmap import funky_heatmap
from reconeval.report.themes import THEMES, contrast

SCORES = pd.DataFrame(
    {
        "r2": [0.98, 0.9987, 0.91],
        "mse": [0.795, 0.324, 1.2],
        "variance_log2_ratio": [-0.01, -20.5, 0.3],
        "mae": [0.5, 0.5, 0.5],
        "train_seconds": [3.2, 123456, 0.0004],
        "mine": [np.nan, 2.0, 1.0],
    },
    index=["ReconAE+n_latent:32", "ReconPCA", "Mean"],
)
OPTIONS = {"higher_is_better": {"mine": True}}


def many(n=20):
    rng = np.random.default_rng(0)
    names = [f"scvi.model:SCVI+n_latent:{i}+gene_likelihood:nb+quite_long" for i in range(n)]
    values = rng.lognormal(0, 4, (n, 6)) * rng.choice([-1, 1], (n, 6))
    return pd.DataFrame(values, index=names, columns=SCORES.columns)


def artists(figure, kind, cls=None):
    """Artists whose gid starts with `kind-`, by the rest of it."""
    found = figure.findobj(lambda artist: (artist.get_gid() or "").startswith(f"{kind}-"))
    assert cls is None or all(isinstance(artist, cls) for artist in found)
    return {artist.get_gid().removeprefix(f"{kind}-"): artist for artist in found}


def texts(figure, kind):
    return {key: artist.get_text() for key, artist in artists(figure, kind).items()}


@pytest.fixture(scope="module")
def figure():
    return funky_heatmap(SCORES, **OPTIONS, title="immune / iid")


def test_methods_stand_in_the_order_of_their_overall_rank(figure):
    rows = sorted(artists(figure, "method").items())
    assert [artist.get_text() for _, artist in rows] == ["ReconPCA", "ReconAE+n_latent:32", "Mean"]
    heights = [artist.get_position()[1] for _, artist in rows]
    assert heights == sorted(heights)
    assert figure.axes[0].yaxis_inverted()


def test_columns_are_grouped_by_family_costs_last(figure):
    headings = sorted(artists(figure, "heading").values(), key=lambda one: one.get_position()[0])
    expected = ["mean percentile", "statistical", "other", "cost"]
    assert [heading.get_text() for heading in headings] == expected
    names = artists(figure, "name")
    left_to_right = sorted(names.values(), key=lambda one: one.get_position()[0])
    assert [name.get_text() for name in left_to_right] == [
        *("overall", "statistical", "other", "cost"),
        *("r2", "mse", "variance_log2_ratio", "mae", "mine", "train_seconds"),
    ]


def test_arrows_say_the_direction_and_are_not_turned(figure):
    signs = [
        text
        for text in figure.axes[0].texts
        if text.get_text() and text.get_text()[0] in "↑↓→" and text.get_rotation() == 0
    ]
    signs.sort(key=lambda text: text.get_position()[0])
    assert [text.get_text() for text in signs] == ["↑", "↓", "→0", "↓", "↑", "↓"]


def test_raw_values_are_written_in(figure):
    values = texts(figure, "value")
    written = [[values[f"{row}-{j}"] for j in range(6)] for row in range(3)]
    assert written == [
        ["0.999", "0.324", "-20.5", "0.500", "2.00", "123k"],
        ["0.980", "0.795", "-0.010", "0.500", "n/a", "3.20"],
        ["0.910", "1.20", "0.300", "0.500", "1.00", "4e-4"],
    ]


def test_circles_grow_with_the_percentile_and_leave_out_what_is_not_ranked(figure):
    circles = artists(figure, "circle", Circle)
    table = aggregate_rank_percentile(
        SCORES, {"mine": True, "train_seconds": False}, families={"train_seconds": "cost"}
    ).loc[["ReconPCA", "ReconAE+n_latent:32", "Mean"]]
    columns = ["r2", "mse", "variance_log2_ratio", "mae", "mine", "train_seconds"]
    ranked = table[columns].notna().to_numpy()
    assert {tuple(map(int, key.split("-"))) for key in circles} == set(zip(*ranked.nonzero()))
    by_size = sorted(
        (table[columns].iloc[row, j], circles[f"{row}-{j}"].radius)
        for row, j in zip(*ranked.nonzero())
    )
    for (low, small), (high, large) in pairwise(by_size):
        assert (small < large) if low < high else (small == large)
    page = THEMES["light"].page
    worst, middle, best = (
        contrast(circles[f"{row}-0"].get_facecolor()[:3], page) for row in (2, 1, 0)
    )
    assert worst < middle < best


def test_bars_are_as_long_as_the_means(figure):
    bars, tracks = artists(figure, "bar", Rectangle), artists(figure, "track", Rectangle)
    written = texts(figure, "mean")
    assert len(bars) == 3 * 4 - 1, "the method without a value has no bar in that family"
    for key, bar in bars.items():
        share = bar.get_width() / tracks[key].get_width()
        assert f"{share:.2f}" == written[key].rstrip("*")
    assert written["1-2"] == "n/a"
    assert [written[f"{row}-0"].endswith("*") for row in range(3)] == [False, True, False]
    assert any("for want of a value" in text.get_text() for text in figure.axes[0].texts)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("scores", [SCORES, many()], ids=["3", "20"])
def test_text_is_legible_and_neither_cut_nor_overlapping(theme, scores):
    figure = funky_heatmap(scores, theme=theme, title="A title", **OPTIONS)
    renderer = figure.canvas.get_renderer()
    drawn = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in drawn]
    page = figure.bbox
    for text, box in zip(drawn, boxes, strict=True):
        assert page.x0 <= box.x0 < box.x1 <= page.x1, text
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text
    for i, one in enumerate(boxes):
        for j in range(i):
            assert not one.padded(-0.5).overlaps(boxes[j].padded(-0.5)), (drawn[i], drawn[j])
    circles = artists(figure, "circle")
    colors = THEMES[theme]
    for text in drawn:
        circle = circles.get((text.get_gid() or "").removeprefix("value-"))
        grounds = [circle.get_facecolor()[:3]] if circle else [colors.page, colors.stripe]
        assert all(contrast(to_rgb(text.get_color()), one) >= 4.5 for one in grounds), text


@pytest.mark.parametrize("theme", THEMES)
def test_numbers_stick_out_of_small_circles_only_where_the_page_is_like_them(theme):
    """A number wider than its circle must be legible on the page, too."""
    figure = funky_heatmap(many(), theme=theme, **OPTIONS)
    renderer = figure.canvas.get_renderer()
    circles, colors = artists(figure, "circle"), THEMES[theme]
    for key, text in artists(figure, "value").items():
        if key in circles:
            wide = text.get_window_extent(renderer).width / figure.dpi
            if wide > 2 * circles[key].radius:
                for ground in (colors.page, colors.stripe):
                    assert contrast(to_rgb(text.get_color()), ground) >= 4.5


def test_saves_both_formats(tmp_path):
    funky_heatmap(SCORES, path=tmp_path / "scores", **OPTIONS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scores.png", "scores.svg"]
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    root = ET.parse(tmp_path / "scores.svg").getroot()
    written = {
        "".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")
    }
    assert {"ReconPCA", "0.999", "variance_log2_ratio", "-20.5"} <= written, "text must stay text"
    first = (tmp_path / "scores.svg").read_bytes()
    funky_heatmap(SCORES, path=str(tmp_path / "scores.svg"), **OPTIONS)
    assert (tmp_path / "scores.svg").read_bytes() == first


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0.000"),
        (-0.9104, "-0.910"),
        (9.994, "9.99"),
        (-20.54, "-20.5"),
        (9876.5, "9876"),
        (12_345.0, "12k"),
        (3.2e7, "32M"),
        (5e13, "5e13"),
        (-0.00009, "-9e-5"),
        (-np.inf, "-inf"),
    ],
)
def test_numbers_are_short(value, written):
    scores = pd.DataFrame({"r2": [value, 1.0]}, index=["one", "other"])
    assert written in texts(funky_heatmap(scores), "value").values()


def test_one_method_without_a_rank_is_drawn():
    figure = funky_heatmap(SCORES.iloc[:1], **OPTIONS)
    assert not artists(figure, "circle")
    assert set(texts(figure, "mean").values()) == {"n/a"}


def test_pyplot_is_left_alone():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    funky_heatmap(SCORES, **OPTIONS)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (SCORES, {"theme": "sepia"}, "theme 'sepia' is unknown, expected one of light, dark"),
        (SCORES, {"path": "scores.pdf"}, r"unknown ending '.pdf', expected .svg or .png or none"),
        (SCORES, {"path": "nowhere/scores.svg"}, "does not exist"),
        (SCORES.iloc[:0], {}, "nothing to draw: 0 methods x 6 metrics"),
        (SCORES, {"higher_is_better": {}}, "direction of metric 'mine' is unknown"),
    ],
)
def test_bad_use(scores, options, message):
    with pytest.raises(UsageError, match=message):
        funky_heatmap(scores, **(OPTIONS | options))
