"""Every registered metric has its section: facts as registered, formula, picture, pitfalls."""

import importlib
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from reconeval.metrics import METRICS, score

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "metrics"
TWIN = "latent_"


def facts(metric):
    """Return the line that a metric's section begins with."""
    direction = {True: "higher is better", False: "lower is better", None: "nearer is better"}
    low, high = (f"{bound:.3g}".replace("inf", "∞") for bound in metric.range)
    parts = [f"{direction[metric.higher_is_better]}, best {metric.best:g}, from {low} to {high}"]
    if metric.unit:
        parts.append(f"unit {metric.unit}")
    parts.append("compares cell with cell" if metric.paired else "cells need no order")
    if metric.needs:
        parts.append(f"needs {', '.join(sorted(metric.needs))}")
    number = metric.source.removeprefix("doi:")
    linked = f"[{metric.source}](https://doi.org/{number})"
    parts.append(metric.source if metric.source == number else linked)
    return f"*{'; '.join(parts)}*"


def sections():
    """Return the text of each metric's section, by the names in its heading."""
    found = {}
    for page in sorted(PAGES.glob("*.md")):
        for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
            for name in re.findall(r"`(\w+)`", section.partition("\n")[0]):
                assert name not in found, f"two sections for {name}"
                found[name] = (page, section)
    return found


def section_of(name):
    return sections()[name.removeprefix(TWIN)]


def test_no_section_is_of_a_metric_that_does_not_exist():
    assert set(sections()) == {name for name in METRICS if not name.startswith(TWIN)}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_has_formula_facts_picture_and_pitfalls(name):
    page, section = section_of(name)
    assert page.stem == METRICS[name].family
    assert re.search(r"^\$\$[^$]+\$\$$", section, flags=re.MULTILINE), (
        "a formula in a block of its own"
    )
    assert re.search(r"^\*\*Pitfalls\.\*\* \w[^\n]{60,}", section, flags=re.MULTILINE)
    assert re.search(r"^!\[\w+\]\(pictures/\w+\.svg\)$", section, flags=re.MULTILINE)
    if name.startswith(TWIN):
        assert f"`{name}`" in section
    else:
        assert facts(METRICS[name]) in section, f"expected: {facts(METRICS[name])}"


@pytest.mark.parametrize("name", sorted({page.stem for page in (PAGES / "pictures").iterdir()}))
def test_a_picture_is_small_described_and_used(name):
    path = PAGES / "pictures" / f"{name}.svg"
    assert path.stat().st_size < 50_000
    root = ET.parse(path).getroot()
    inside = {child.tag.rpartition("}")[2]: child.text for child in root}
    assert name in inside["title"]
    assert re.fullmatch(r"good: \S+; half: \S+; collapsed: (\S+|no value)", inside["desc"])
    _page, section = section_of(name)
    assert f"![{name}](pictures/{name}.svg)" in section


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("cells", ["r2", "mse", "pearson_gene", "coexpression", "deg_logfc_pearson"]),
        ("perturbations", ["pearson_delta", "discrimination_l1", "relative_distance"]),
    ],
)
def test_pictures_show_what_the_metrics_say_today(monkeypatch, module, names):
    monkeypatch.syspath_prepend(ROOT / "tools" / "pictures")
    pairs = importlib.import_module(module).predictions()
    for name in names:
        now = {kind: score(METRICS[name], pair) for kind, pair in pairs.items()}
        drawn = ET.parse(PAGES / "pictures" / f"{name}.svg").find("{*}desc").text
        shown = dict(part.split(": ") for part in drawn.split("; "))
        for kind, found in now.items():
            if found.reason:
                assert shown[kind] == "no value"
            else:  # other processors round otherwise
                assert float(shown[kind]) == pytest.approx(found.value, rel=0.02, abs=0.002), name
