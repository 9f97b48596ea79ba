"""Floors hold for every model, bands for one, and an update keeps what a person wrote."""

import math
import re
import tomllib

import pytest

from reconeval._threshold_tables import idle_tables
from reconeval.costs import find
from reconeval.errors import UsageError
from reconeval.spec import ModelSpec
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
    assert thresholds.bound(make_row(spec="mine:Other"), "mine:Other", find("mse")) == 0.9
    assert thresholds.bound(make_row(metric="r2"), "mine:Model", find("r2")) == 0.5


KEY = "noisy:Noisy+b:1-2+sd:0.5"  # of --model "noisy:Noisy?b=[1,2]&sd=0.5"


@pytest.mark.parametrize(
    "owner",
    [
        KEY,
        "noisy:Noisy?sd=0.5&b=[1,2]",
        "noisy:Noisy?b=[1,2]&sd=0.50",
        "Mine=noisy:Noisy?b=[1,2]&sd=0.5",
        "models.toml:mine",  # as the row says that it was typed
    ],
)
def test_a_band_is_found_by_key_and_by_what_was_typed(tmp_path, make_row, owner):
    path = tmp_path / "t.toml"
    path.write_text(f"[immune.iid.'{owner}']\nmse = [0.1, 0.2]\n")
    thresholds, row = Thresholds.read(path), make_row(spec="models.toml:mine")
    assert thresholds.bound(row, KEY, find("mse")) == 0.2
    assert thresholds.bound(make_row(), "noisy:Noisy+sd:0.4", find("mse")) is None
    thresholds.note(make_row(value=0.5, spec="models.toml:mine"), KEY, find("mse"), 0.0)
    thresholds.write()  # into the same table, not into a second one of that model
    assert list(tomllib.loads(path.read_text())["immune"]["iid"]) == [owner]
    assert Thresholds.read(path).bound(row, KEY, find("mse")) == 0.525


def test_the_stricter_of_two_tables_of_a_model_counts(tmp_path, make_row):
    path = tmp_path / "t.toml"
    bands = "[immune.iid.'a:A+n:1']\nmse = [0.1, 0.2]\n[immune.iid.'a:A?n=1']\nmse = [0, 0.15]\n"
    path.write_text(bands)
    assert Thresholds.read(path).bound(make_row(), "a:A+n:1", find("mse")) == 0.15


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


def test_an_update_makes_a_new_file(tmp_path, make_row, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    path = tmp_path / "new.toml"
    with pytest.raises(UsageError, match="cannot be read"):
        Thresholds.read(path)
    thresholds = Thresholds.read(path, may_be_new=True)
    thresholds.check_writable()
    assert not path.exists()
    thresholds.note(make_row(value=0.5), "mine:Model", find("mse"), 0.0)
    thresholds.write()
    assert tomllib.loads(path.read_text()) == {
        "immune": {"iid": {"mine:Model": {"mse": [0.475, 0.525]}}}
    }


def test_a_new_file_needs_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    thresholds = Thresholds.read(tmp_path / "no" / "new.toml", may_be_new=True)
    with pytest.raises(UsageError, match=r"--thresholds .*new.toml: folder .* does not exist"):
        thresholds.check_writable()


class TestIdleTables:
    """What a file has for nothing, but nearly for what is run."""

    SPEC = ModelSpec(
        id="Noisy+sd:0.0",
        source="noisy:Noisy?sd=0.0",
        target="noisy:Noisy",
        task="end_to_end",
        factory=object,
        kwargs={"sd": 0.0},
    )

    def lines(self, text):
        places = [("immune", "iid"), ("mine", "iid")]
        return idle_tables(tomllib.loads(text), places, [self.SPEC], ["immune", "pbmc68k"])

    @pytest.mark.parametrize(
        ("header", "line"),
        [
            ("immun.iid.floor", r"\[immun\.iid\] is for no dataset of this run; .* immune\?"),
            ("minne.iid.floor", r"\[minne\.iid\] .* did you mean mine\?"),
            ("pbmc68k.iid.floor", r"no table for a place of this run \(immune\.iid, mine\.iid\)"),
            ("immune.cell_type.floor", r"no table for a place of this run"),
            (
                "immune.iid.'noisy:Noisey'",
                r'.* stand under \[immune\.iid\."noisy:Noisy\+sd:0\.0"\]',
            ),
            ("immune.iid.'noisy:Noisy'", r".* bands of noisy:Noisy\?sd=0\.0 stand under"),
            ("immune.iid.'Noisy+sd:0.0'", r'\[immune\.iid\."Noisy\+sd:0\.0"\] is for no model'),
            ("immune.iid.'noisy:Noisy/X_pca'", r"\[immune\.iid\..* is for no model of this run"),
        ],
    )
    def test_a_slip_is_named(self, header, line):
        [found] = self.lines(f"[{header}]\nmse = 1")
        assert re.search(line, found)

    @pytest.mark.parametrize(
        "header",
        [
            "immune.iid.floor",
            "immune.iid.'noisy:Noisy?sd=0.0'",
            "immune.iid.'noisy:Noisy?sd=0.0']\n[immune.iid.'noisy:Noisy'",  # other settings
            "immune.iid.'noisy:Quiet'",
            "immune.iid.floor]\n[pbmc68k.iid.floor]\n[other.iid.floor",
        ],
    )
    def test_what_other_runs_need_is_left_alone(self, header):
        assert self.lines(f"[{header}]\nmse = 1") == []


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
        ('[immune.iid."a:A"]\nmse = [0.9, 0.1]', r"a:A\".mse = \[0.9, 0.1\], .* turn the two"),
        ("[immune.idd.floor]\nmse = 1", "no split 'idd'; did you mean iid"),
        ("[immune.iid.flor]\nmse = 1", r"\[immune.iid.flor\]: is neither floor nor a model"),
        ('[immune.iid."a:A?n"]\nmse = [0, 1]', r"\[immune.iid.\"a:A\?n\"\]: expected key=value"),
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
