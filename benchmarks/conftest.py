"""Fixtures of the suite: a model on a dataset and split, trained once for all its tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconeval.cases.query_mapping import QUERY
from reconeval.costs import find
from reconeval.errors import UsageError
from reconeval.plugin import ROW, SESSION
from reconeval.preflight import check_settings
from reconeval.query_mapping.models import check_offers
from reconeval.query_mapping.places import n_trainings
from reconeval.report.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconeval.cases import Case
    from reconeval.metrics.registry import Metric
    from reconeval.rows import Row
    from reconeval.runs import Run
    from reconeval.session import Session
    from reconeval.spec import ModelSpec

_QUERY_MAPPING = "test_query_mapping.py"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    session = metafunc.config.stash.get(SESSION, None)
    names = metafunc.fixturenames
    if session is None:  # refused in one line below, once all is collected
        return
    if "model" in names:
        metafunc.parametrize("model", list(session.specs), indirect=True, scope="session")
    if session.task == "query_mapping" and {"case", "metric"} <= set(names):
        questions = [
            pytest.param(place, metric, id=f"{'-'.join(place)}-{metric}")
            for place in session.places
            for metric in session.metric_names
            if (find(metric).family == "query_mapping") == (place[1] == QUERY)
        ]
        metafunc.parametrize("case,metric", questions, indirect=["case"], scope="session")
        return
    if "case" in names:
        mapping = session.task == "query_mapping"
        places = [place for place in session.places if not mapping or place[1] == QUERY]
        ids = [f"{dataset}-{split}" for dataset, split in places]
        metafunc.parametrize("case", places, ids=ids, indirect=True, scope="session")
    if "metric" in names:
        metafunc.parametrize("metric", session.metric_names)
    if "check" in names:
        from reconeval.contract import check_names

        metafunc.parametrize("check", check_names(session.task))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave query mapping out unless it is asked for, and then all else; named files stay."""
    session = config.stash.get(SESSION, None)
    if session is None or not collection_path.name.startswith("test_"):
        return None
    mapping = collection_path.name == _QUERY_MAPPING
    return True if mapping != (session.task == "query_mapping") else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    mine = [item for item in items if "model" in getattr(item, "fixturenames", ())]
    mine = [item for item in mine if item.path.parent.samefile(Path(__file__).parent)]
    if not mine:
        return
    session = config.stash.get(SESSION, None)
    if session is None:
        msg = "benchmarks need a model: add --model MODULE:CLASS, e.g. --model models:ReconPCA"
        raise pytest.UsageError(msg)
    others = {item.path.name for item in mine} - {_QUERY_MAPPING}
    if session.task == "query_mapping" and others:
        msg = f"{min(others)} is not part of query mapping; run it without {_QUERY_MAPPING}"
        raise pytest.UsageError(msg)
    if config.option.collectonly:
        return
    try:  # what cannot be used stops the run before anything is trained
        check_settings(session.specs.values())
        if session.task == "query_mapping":
            check_offers(session.specs.values())
        for item in mine:
            place = getattr(item, "callspec", None) and item.callspec.params.get("case")
            if place:
                session.case(*place)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture(scope="session")
def session(request: pytest.FixtureRequest) -> Session:
    return request.config.stash[SESSION]


@pytest.fixture(scope="session")
def progress(request: pytest.FixtureRequest, session: Session) -> Iterator[Progress]:
    mapping = session.task == "query_mapping"
    each = n_trainings(session.places) if mapping else len(session.places)
    total = len(session.specs) * len(session.options.seeds) * each
    with Progress(request.config, total) as bar:
        yield bar


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest, session: Session) -> ModelSpec:
    return session.specs[request.param]


@pytest.fixture(scope="session")
def case(request: pytest.FixtureRequest, session: Session) -> Case:
    return session.case(*request.param)


@pytest.fixture(scope="session")
def run(
    request: pytest.FixtureRequest,
    model: ModelSpec,
    case: Case,
    session: Session,
    progress: Progress,
) -> Run:
    """The model trained on the case, once per seed; `run.error` says what a broken model did."""
    timed = any(one.name.startswith("test_predict_time[") for one in request.session.items)
    place = case.dataset.name, case.split.name
    trained = session.train(model.id, *place, progress, timed=timed)
    progress.pause()
    session.observe(trained)
    return trained


@pytest.fixture
def record(
    request: pytest.FixtureRequest, session: Session, run: Run
) -> Callable[[Row, Metric], str]:
    """Record a row; returns the failure in one line, empty if there is none."""

    def _record(row: Row, metric: Metric) -> str:
        row, failure = session.verdicts.judge(row, run)
        seconds = run.metric_seconds.get(metric.name)
        content = {**row.to_dict(), "metric_seconds": seconds}
        replicates = None if metric.family == "cost" else run.replicates(metric)
        content["replicates"] = None if replicates is None else replicates.to_dict()
        content["reference_seconds"] = session.reference.seconds
        content["kept_reference"] = session.reference.kept.get(row.key[:3])
        request.node.user_properties.append((ROW, json.dumps(content)))
        return failure

    return _record
