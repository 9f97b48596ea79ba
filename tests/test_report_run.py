"""`--report FILE.html` in a run of the benchmarks, and what the run keeps for later reports."""

import json
from pathlib import Path

# pytester restores sys.modules after each run in this process; what cannot be imported twice
# has to be there before.
import anndata  # noqa: F401
import pytest
import torch  # noqa: F401

from reconeval.cli import main
from tests.conftest import ROOT
from tests.example_models import GOOD, MEAN

METRICS, TIMING = (str(ROOT / "benchmarks" / f"test_{name}.py") for name in ("metrics", "timing"))
SMALL = ("--dataset", "pbmc68k", "--split", "iid", "--metrics", "r2,mse")


@pytest.fixture(autouse=True)
def user_folder(pytester):
    pytester.makepyfile(mymodel=GOOD, mean=MEAN)
    return pytester


def bench(pytester, *args, path=METRICS):
    models = ("--model", "mymodel:Good", "--model", "mean:Constant")
    return pytester.runpytest(path, *models, *SMALL, *args)


def test_a_run_writes_its_report_and_what_another_needs(pytester):
    result = bench(pytester, "--report", "out.html", "--results", "out.json")
    result.stdout.fnmatch_lines(["report written to out.html"])
    page = Path("out.html").read_text()
    assert "Benchmark of Good, Constant" in page
    assert page.count('class="gene"') == 2
    assert "--model mean:Constant --dataset pbmc68k --split iid" in page
    material = json.loads(Path("out.json").read_text())["material"]
    assert [one["model"] for one in material["predicted"]] == ["Good", "Constant"]
    assert len(material["measured"]) == 1
    assert main(["report", "out.json", "-o", "again.html"]) == 0
    assert Path("again.html").read_text().count('class="gene"') == 2


def test_a_run_from_the_cache_marks_its_rows(pytester):
    for name in ("first", "again"):
        bench(pytester, "--report", f"{name}.html", "--cache-dir", "kept", "--no-intervals")
    assert 'class="kept"' not in Path("first.html").read_text()
    assert "here in 4 of 4 rows: an earlier run trained the model" in Path("again.html").read_text()


def test_a_benchmark_file_keeps_it_too(pytester):
    result = bench(pytester, "--benchmark-json=bench.json", "-k", "Good and train", path=TIMING)
    assert "report written" not in result.stdout.str()
    material = json.loads(Path("bench.json").read_text())["reconeval"]["material"]
    assert [one["model"] for one in material["predicted"]] == ["Good"]


@pytest.mark.parametrize(
    ("path", "message"),
    [("out.pdf", "unknown ending '.pdf'"), ("none/out.html", "does not exist")],
)
def test_a_report_that_cannot_be_written_stops_the_run_before_it_trains(pytester, path, message):
    result = bench(pytester, "--report", path)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--report {path}: *{message}*"])
    assert not Path("trainings.log").exists()
