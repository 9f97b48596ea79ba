"""Floors hold for every model, bands for one, and an update keeps what a person wrote."""

import math
import tomllib

import pytest

from reconeval.costs import find
from reconeval.errors import UsageError
from reconeval.thresholds import Thresholds, packaged_path

TEXT = """\
# Floors are written by hand.
[immune.iid.floor]
mse = 0.9  # the training mean reaches 0.935
r2 = 0.5

[immune.iid."mine:Model"]
mse = [0.7, 0.8]
"""


@pytest.fixture
def thresholds(tmp_path):
    path = tmp_path / "thresholds.toml"
    path.write_text(TEXT)
    return Thresholds.read(path)


def test_the_stricter_of_floor_and_band_counts(thresholds, make_row):
    assert thresholds.bound(make_row(), "mine:Model", find("mse")) == 0.8
    assert thresholds.bound(make_row(), "mine:Other", find("mse")) == 0.9
    assert thresholds.bound(make_row(metric="r2"), "mine:Model", find("r2")) == 0.5


def test_no_bound_elsewhere(thresholds, make_row):
    assert thresholds.bound(make_row(split="cell_type"), "mine:Model", find("mse")) is None
    assert thresholds.bound(make_row(dataset="mine"), "mine:Model", find("mse")) is None


def test_the_bound_of_a_metric_with_its_best_in_the_middle(tmp_path, make_row):
    path = tmp_path / "t.toml"
    path.write_text('[immune.iid."m:M"]\nc2st_auc = [0.45, 0.8]\n')
    row = make_row(metric="c2st_auc")
    assert Thresholds.read(path).bound(row, "m:M", find("c2st_auc")) == 0.8


def test_an_update_keeps_floors_and_comments(thresholds, make_row, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    thresholds.check_writable()
    thresholds.note(make_row(value=0.75), "mine:Model", find("mse"), 0.0)
    thresholds.note(make_row(value=0.5, split="cell_type"), "mine:Model", find("mse"), 0.1)
    thresholds.note(make_row(metric="r2", value=math.nan), "mine:Model", find("r2"), 0.0)
    thresholds.write()
    text = thresholds.path.read_text()
    assert "# the training mean reaches 0.935" in text
    tables = tomllib.loads(text)
    assert tables["immune"]["iid"]["floor"] == {"mse": 0.9, "r2": 0.5}
    assert tables["immune"]["iid"]["mine:Model"] == {"mse": [0.7425, 0.7575]}
    assert tables["immune"]["cell_type"]["mine:Model"] == {"mse": [0.2, 0.8]}
    assert Thresholds.read(thresholds.path).bound(make_row(), "mine:Model", find("mse")) == 0.7575


def test_a_band_covers_the_seeds(thresholds, make_row):
    thresholds.note(make_row(value=0.5, low=0.1, high=0.9), "mine:Model", find("mse"), 0.0)
    assert thresholds.updates["immune", "iid", "mine:Model"]["mse"] == [0.1, 0.9]


@pytest.mark.parametrize(
    ("metric", "value", "deviation", "band"),
    [
        ("mse", 0.5, 0.0, [0.48, 0.52]),  # 5 % of the way to the floor of 0.9
        ("mse", 0.8999, 0.0, [0.8989, 0.9009]),  # the least
        ("mse", 0.5, 0.1, [0.2, 0.8]),  # three deviations
        ("mae", 0.4, 0.0, [0.38, 0.42]),  # no floor: 5 % of the way to the best value
        ("r2", 0.995, 0.1, [0.695, 1.0]),  # clipped to what the metric can reach
        ("mse", 0.1, 0.1, [0.0, 0.4]),
    ],
)
def test_the_width_of_a_band(thresholds, make_row, metric, value, deviation, band):
    thresholds.note(make_row(metric=metric, value=value), "mine:Model", find(metric), deviation)
    [written] = thresholds.updates.values()
    assert written[metric] == pytest.approx(band)


def test_updates_are_refused_in_ci(thresholds, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(UsageError, match="refused in CI"):
        thresholds.check_writable()


def test_updates_of_an_installed_package_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    path = tmp_path / "site-packages" / "thresholds.toml"
    path.parent.mkdir()
    path.write_text("")
    with pytest.raises(UsageError, match="your own --thresholds FILE"):
        Thresholds.read(path).check_writable()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "cannot be read"),
        ("[", "not valid TOML"),
        ("immune = 1", "expected a table"),
        ("[immune]\niid = 1", "expected a table"),
        ("[immune.iid]\nfloor = 1", "expected a table"),
        ("[immune.iid.floor]\nmze = 1", "did you mean mse"),
        ("[immune.iid.floor]\nmse = [0, 1]", "expected a number"),
        ('[immune.iid.floor]\nmse = "x"', "expected a number"),
        ("[immune.iid.floor]\nmse = nan", "expected a number"),
        ("[immune.iid.floor]\nmse = true", "expected a number"),
        ("[immune.iid.floor]\nmze = 1", r"t\.toml: \[immune.iid.floor\] "),
        ('[immune.iid."a:A"]\nmse = 1', r"expected \[low, high\]"),
        ('[immune.iid."a:A"]\nmse = [1]', r"expected \[low, high\]"),
    ],
)
def test_what_is_no_thresholds_file(tmp_path, content, match):
    path = tmp_path / "t.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=match):
        Thresholds.read(path)


def test_the_suites_own_file_is_valid_and_not_empty():
    thresholds = Thresholds.read()
    assert thresholds.path == packaged_path()
    for dataset in ("immune", "pbmc68k"):
        for split in ("iid", "cell_type"):
            assert thresholds.tables[dataset][split]["floor"]
