"""The pytest side: options in, hooks, and nothing else.

Loaded in every pytest run of an environment that has reconeval, so it imports only the standard
library and pytest at its top, and does nothing unless benchmarks are collected.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconeval.errors import UsageError
from reconeval.interrupts import interrupted_by_sigterm

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from reconeval.rows import Row
    from reconeval.session import Session

__all__ = ["OUTCOME", "ROW", "SESSION"]

SESSION = pytest.StashKey["Session"]()
ROW = "reconeval"  # the user property that carries a row, also through xdist and junit
OUTCOME = "reconeval-contract"  # the same of what came of a check of a model's contract

_MARKS = {
    "gpu": "needs a CUDA device; skipped with the reason without one, failed by --require-gpu",
    "speed": "compares speeds within one run; deselected unless -m asks for it",
    "published": "compares with published figures; deselected unless -m asks for it",
    "gate": "tries the regression gate on many trainings; deselected unless -m asks for it",
}
_ONLY_WHEN_ASKED = ("speed", "published", "gate")
# Options of pytest-benchmark that say that its tables are wanted.
_TIMINGS = ("autosave", "columns", "compare", "histogram", "json", "save")


def pytest_addoption(parser: pytest.Parser) -> None:
    from reconeval._flags import add_options

    add_options(parser)


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # What is asked for first is done last, after pytest's own collections of garbage.
    early_config.add_cleanup(lambda: gc.unfreeze() if SESSION in early_config.stash else None)


def pytest_configure(config: pytest.Config) -> None:
    for name, text in _MARKS.items():
        config.addinivalue_line("markers", f"{name}: {text}")
    if not config.getoption("model"):
        return
    if config.getoption("benchmark_disable", None) is None:
        msg = "benchmarks need the plugin pytest-benchmark: drop -p no:benchmark, or install it"
        raise pytest.UsageError(msg)
    # Read by OpenMP when torch is loaded, which is later. Threads that spin while they wait make
    # a training ten times slower on a machine that is busy with something else.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The costs stand in rows; the tables of timings are for those who ask for them.
    asked = any(config.getoption(f"benchmark_{name}", None) for name in _TIMINGS)
    if config.get_verbosity() < 0 or (config.get_verbosity() == 0 and not asked):
        config.option.benchmark_quiet = True
    if config.getoption("benchmark_columns", "") is None:
        config.option.benchmark_columns = ["min", "median", "max", "rounds"]
    from reconeval._flags import keep_saved_run, read_options
    from reconeval.session import Session

    try:
        session = Session(read_options(config))
        keep_saved_run(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION] = session
    config.pluginmanager.register(_Benchmarks(config, session), "reconeval-benchmarks")


def pytest_report_header(config: pytest.Config) -> list[str]:
    session = config.stash.get(SESSION, None)
    if session is None:
        return []
    places = ", ".join(f"{dataset}/{split}" for dataset, split in session.places)
    run = session.environment
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    return [
        f"reconeval {run['reconeval']}: {', '.join(session.specs)} on {places}",
        f"seeds {', '.join(map(str, run['seeds']))} on {run['device']}; {versions}",
        *([_baseline(session)] if session.baseline else []),
        *(session.cache.header(verbose=session.options.verbose) if session.cache else []),
    ]


def _baseline(session: Session) -> str:
    options = session.options
    assumed = options.fail_on_regression and len(options.seeds) < 2
    note = " (one seed: what another would change is assumed; say --seeds 3)" if assumed else ""
    return f"baseline {options.baseline}{note}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for mark in _ONLY_WHEN_ASKED:
        marked = [item for item in items if item.get_closest_marker(mark)]
        if marked and mark not in config.option.markexpr and not _named(config, marked):
            items[:] = [item for item in items if item not in marked]
            config.hook.pytest_deselected(items=marked)
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu or config.option.collectonly:
        return
    reason = _no_cuda()
    if reason and not config.getoption("require_gpu"):
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason=reason))


def _named(config: pytest.Config, items: Sequence[pytest.Item]) -> bool:
    """Whether the user wrote the path of a file of these items on the command line."""
    return any(item.path.name in str(argument) for item in items for argument in config.args)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # Before the fixtures, so that no model is trained for a test that cannot run.
    if item.config.getoption("require_gpu") and item.get_closest_marker("gpu"):
        reason = _no_cuda()
        if reason:
            pytest.fail(f"--require-gpu: {reason}", pytrace=False)


def _no_cuda() -> str:
    """Return why no CUDA device can be used, empty if one can."""
    driver = any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg"))
    if sys.platform == "linux" and not driver:  # spares the import of torch
        return "needs CUDA: this machine has no NVIDIA device"
    import torch

    return "" if torch.cuda.is_available() else "needs CUDA: torch.cuda.is_available() is False"


# The tests that make rows; a run without one of them is a selection.
_SCORING = {"test_metric", "test_train_time", "test_predict_time"}
_MAPPING = {"test_query_mapping"}


class _Benchmarks:
    """The hooks of a run that has models."""

    def __init__(self, config: pytest.Config, session: Session) -> None:
        self.config = config
        self.session = session
        self.partial = any("::" in arg for arg in config.args)
        self.lost: list[Row] = []
        self.stopped = False
        self.plots: list[Path] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        option = self.config.option
        tests = {getattr(item, "originalname", "") for item in session.items}
        left_out = getattr(option, "benchmark_only", False) or getattr(
            option, "benchmark_skip", False
        )
        scoring = _MAPPING if self.session.task == "query_mapping" else _SCORING
        if left_out or option.collectonly or not tests >= scoring:
            self.partial = True
        # Torch alone brings half a million objects. pytest collects garbage twice in the end, and
        # need not look through all that was loaded before the first test.
        gc.freeze()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        with interrupted_by_sigterm():  # what is written on Ctrl-C, a run out of time leaves too
            return (yield)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            if not any(item.get_closest_marker(mark) for mark in _ONLY_WHEN_ASKED):
                self.partial = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        from reconeval.contract import Outcome
        from reconeval.intervals import Replicates
        from reconeval.rows import Row

        if report.when != "call" or report.outcome not in ("passed", "failed", "skipped"):
            return
        for name, value in report.user_properties:
            if name == OUTCOME:
                content = json.loads(str(value))
                outcomes = self.session.outcomes.setdefault(content.pop("model"), {})
                outcomes[content["name"]] = Outcome(**content)
            if name == ROW:
                content = json.loads(str(value))
                row = Row.from_dict(content)
                self.session.rows.append(row)
                if content.get("metric_seconds") is not None:
                    self.session.metric_seconds[row.key] = content["metric_seconds"]
                self.session.reference.note(content.get("reference_seconds"))
                self.session.reference.note_kept(row.key[:3], content.get("kept_reference"))
                if content.get("replicates") is not None:
                    found = Replicates.from_dict(content["replicates"])
                    self.session.replicates[row.key] = found

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        from reconeval import documents

        output_json["reconeval"] = documents.document(self.session)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.session.cache is not None:
            self.session.cache.trim()
        if hasattr(self.config, "workerinput"):  # an xdist worker; the controller has all rows
            return
        from reconeval import documents

        run = self.session
        finished = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        self.stopped = bool(session.shouldstop or session.shouldfail or not finished)
        if run.baseline and not (self.partial or self.stopped):
            self.lost = run.lost()
        gating = run.tolerances or run.options.fail_on_regression
        failed = bool(self.lost and gating)
        if run.options.update_thresholds and run.thresholds.updates:
            run.thresholds.write()
            failed = True
        if run.options.results and run.rows:
            documents.write_results(run)
            self.plots = documents.write_plots(run)
        if run.rows:
            documents.write_report(run)
        if failed and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        from reconeval.report.table import summary_lines

        run, out = self.session, terminalreporter
        if run.rows or run.outcomes:
            width = min(out._tw.fullwidth, 200)  # noqa: SLF001  (pytest offers no public width)
            out.section("reconeval")
            lines = summary_lines(
                run.sorted_rows(),
                self.lost,
                outcomes=run.outcomes,
                width=width,
                color=out.hasmarkup,
                verbosity=self.config.get_verbosity(),
            )
            for line in lines:
                out.write_line(line)
        for line in run.idle_thresholds():
            out.write_line(line)
        if run.cache is not None:
            for line in run.cache.summary(run.rows):
                out.write_line(line)
        for line in self._files():
            out.write_line(line)
        if run.options.update_thresholds and run.thresholds.updates:
            out.write_line(f"bands written to {run.thresholds.path}: review and commit them")

    def _files(self) -> Iterator[str]:
        """Say what became of each file that was asked for."""
        options, so_far = self.session.options, " so far" if self.stopped else ""
        if self.session.rows:
            yield from (f"rows{so_far} written to {path}" for path in options.results)
            yield from (f"plot written to {path}" for path in self.plots)
            yield from (f"report{so_far} written to {path}" for path in options.reports)
        elif not self.config.option.collectonly:
            for path in (*options.results, *options.reports):
                old = "; what is there is of an earlier run" if path.exists() else ""
                yield f"no rows: {path} was not written{old}"
