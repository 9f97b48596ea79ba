"""Links hold on the forge as on the site, and what the pages tell to type works."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
WHOLE = re.MULTILINE | re.DOTALL


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), flags=WHOLE)


def anchors(path):
    """Return the anchors of a page's headings, as the forge and MyST make them."""
    without_code = re.sub(r"^```.*?^```$", "", path.read_text(), flags=WHOLE)
    titles = re.findall(r"^#+ (.+)$", without_code, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=WHOLE)
    for target, anchor in LINK.findall(text):
        path = (page.parent / target) if target else page
        assert path.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}: no such heading"


def test_every_page_stands_in_the_table_of_contents():
    index = (ROOT / "docs" / "index.md").read_text()
    listed = {
        name
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```$", index, flags=WHOLE)
        for name in tree.splitlines()
        if name and not name.startswith(":")
    }
    pages = {str(page.relative_to(ROOT / "docs"))[: -len(".md")] for page in PAGES[1:]}
    assert listed == {page for page in pages if not re.match("index$|api/(?!index)", page)}


def test_the_first_model_is_the_same_wherever_it_is_shown():
    (quick,) = blocks(ROOT / "docs" / "quick-start.md", "python")
    readme = blocks(ROOT / "README.md", "python")[0]
    assert quick.partition("import")[2] == readme.partition("import")[2]


def test_a_metric_of_ones_own_is_scored_as_told(tmp_path):
    page = ROOT / "docs" / "add-a-metric.md"
    name, code = re.fullmatch(r"# (\w+\.py)\n(.*)", blocks(page, "python")[0], re.DOTALL).groups()
    (tmp_path / name).write_text(code)
    (told,) = blocks(page, "sh")
    assert told.startswith(
        "python -m pytest -p mymetric benchmarks --model models:ReconPCA --metrics"
    )
    arguments = told.split()[1:]
    arguments[arguments.index("benchmarks")] = str(ROOT / "benchmarks")
    arguments += ["--dataset=pbmc68k", "--split=iid", "--results=rows.csv", "-k", "metric"]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={**os.environ, "RECONEVAL_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^top_gene_agreement ↑ +0\.\d+ ", done.stdout, flags=re.MULTILINE)
    assert (tmp_path / "rows.csv").read_text().count("ReconPCA") >= 2
