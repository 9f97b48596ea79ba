"""A run that is stopped says so, and leaves the rows of what was finished."""

import json
import signal
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import ROOT
from tests.example_models import BROKEN, GOOD

METRICS = str(ROOT / "benchmarks" / "test_metrics.py")
QUICK = ("--dataset", "pbmc68k", "--split", "iid", "--metrics", "r2,mse", "--no-intervals")

# Makes of an interrupt what Lightning makes of it, and logs what is trained afterwards.
STOPPED = """
import signal
from pathlib import Path

class Stopped:
    def __init__(self, number):
        self.number = number

    def train(self, X):
        with Path("stopped.log").open("a") as log:
            log.write("trained ")
        try:
            signal.raise_signal(self.number)
        except KeyboardInterrupt:
            raise SystemExit(1)

    def predict(self, X):
        return X
"""


@pytest.fixture(autouse=True)
def user_folder(pytester, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(mymodel=GOOD, broken=BROKEN, stopped=STOPPED)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_a_run_and_leave_the_rows_so_far(pytester, number):
    result = pytester.runpytest_subprocess(
        *(METRICS, *QUICK, "--seeds=2", "--results=out.csv", "--report=out.html"),
        *("--model=mymodel:Good", f"--model=stopped:Stopped?number={int(number)}"),
        "--model=late=mymodel:Good?n_components=5",
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(passed=2)
    name = "!!* KeyboardInterrupt: SIGTERM *!!" if number == signal.SIGTERM else "!!*Interrupt *!!"
    result.stdout.fnmatch_lines(
        ["rows so far written to out.csv", "report so far written to out.html", name]
    )
    assert Path("stopped.log").read_text() == "trained "
    assert Path("trainings.log").read_text() == "420 0\n420 1\n"  # the late model never was
    assert set(pd.read_csv("out.csv")["model"]) == {"Good"}
    assert Path("out.html").is_file()


def test_the_handler_of_sigterm_is_put_back(pytester):
    before = signal.getsignal(signal.SIGTERM)
    assert pytester.runpytest(METRICS, *QUICK, "--model=mymodel:Good").ret == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_without_rows_says_which_file_is_of_an_earlier_run(pytester):
    Path("old.csv").write_text("model\nbefore\n")
    files = ("--results=old.csv", "--report=new.html")
    # The broken contract stops the run before anything is scored.
    result = pytester.runpytest(
        *(str(ROOT / "benchmarks"), *QUICK, *files, "-x", "-k=contract or mse"),
        "--model=broken:Nan",
    )
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "no rows: old.csv was not written; what is there is of an earlier run",
            "no rows: new.html was not written",
        ]
    )
    assert Path("old.csv").read_text() == "model\nbefore\n"
    assert not Path("new.html").exists()


def test_collecting_says_nothing_of_files(pytester):
    flags = ("--results=out.csv", "--collect-only", "--model=mymodel:Good")
    result = pytester.runpytest(METRICS, *QUICK, *flags)
    assert "out.csv" not in result.stdout.str()


def test_each_file_that_is_asked_for_is_written(pytester):
    files = ("--results=out.csv", "--results=out.json", "--results=out.csv")
    reports = ("--report=a.html", "--report=b.html")
    result = pytester.runpytest(METRICS, *QUICK, *files, *reports, "--model=mymodel:Good")
    assert result.ret == 0
    lines = [line for line in result.outlines if " written to " in line]
    assert lines == [
        "rows written to out.csv",
        "rows written to out.json",
        "report written to a.html",
        "report written to b.html",
    ]
    rows = json.loads(Path("out.json").read_text())["rows"]
    assert list(pd.read_csv("out.csv")["value"]) == pytest.approx([row["value"] for row in rows])
    assert Path("a.html").is_file()
    assert Path("b.html").is_file()


def test_what_is_swept_is_drawn_once_beside_tables_of_one_name(pytester):
    files = ("--results=out.csv", "--results=out.json", "--sweep=n_components=2,4")
    result = pytester.runpytest(METRICS, *QUICK, *files, "--model=mymodel:Good")
    plots = [line for line in result.outlines if line.startswith("plot written to ")]
    assert plots
    assert len(set(plots)) == len(plots)


def test_a_file_that_cannot_be_written_is_refused_whichever_it_is(pytester):
    files = ("--results=out.csv", "--results=out.xlsx")
    result = pytester.runpytest(METRICS, *QUICK, *files, "--model=mymodel:Good")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--results out.xlsx: unknown ending*"])
