"""Does the model do what every other test relies on?"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from reconeval.contract import SUBJECTS, Outcome, few_cells, run_check
from reconeval.errors import ReconevalError
from reconeval.plugin import OUTCOME

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval.contract import Subject
    from reconeval.session import Session
    from reconeval.spec import ModelSpec


@pytest.fixture(scope="session")
def subject(model: ModelSpec, session: Session) -> Callable[[], Subject[Any]]:
    """Returns the model with a few cells of the first dataset and split, made on first use."""

    @cache
    def make() -> Subject[Any]:
        case = session.case(*session.places[0])
        data, inputs = few_cells(case.data, case.test_input())
        return SUBJECTS[model.task](model, data, inputs)

    return make


def test_contract(
    model: ModelSpec,
    session: Session,
    subject: Callable[[], Subject[Any]],
    check: str,
    record_property: Callable[[str, object], None],
) -> None:
    """One rule of the contract; a failure says which and what was seen."""
    try:
        outcome = session.outcome(model.id, check, lambda: run_check(check, subject()))
    except ReconevalError as error:  # an embedder that fails
        outcome = Outcome(check, "failed", str(error))
    record_property(OUTCOME, json.dumps({"model": model.id, **outcome._asdict()}))
    if outcome.status == "failed":
        pytest.fail(outcome.message, pytrace=False)
    if outcome.status == "excepted":
        pytest.xfail(outcome.message)
    if outcome.status == "not offered":
        pytest.skip(outcome.message)
