"""Does the model do what every other test relies on?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconeval.contract import SUBJECTS, few_cells, run_check
from reconeval.errors import ReconevalError

if TYPE_CHECKING:
    from reconeval.contract import Subject
    from reconeval.session import Session
    from reconeval.spec import ModelSpec


@pytest.fixture(scope="session")
def subject(model: ModelSpec, session: Session) -> Subject[Any]:
    """The model with a few cells of the first dataset and split."""
    case = session.case(*session.places[0])
    failure = ""
    try:
        data, inputs = few_cells(case.data, case.test_input())
    except ReconevalError as error:  # an embedder that fails
        failure = str(error)
    if failure:
        pytest.fail(failure, pytrace=False)
    return SUBJECTS[model.task](model, data, inputs)


def test_contract(subject: Subject[Any], check: str) -> None:
    """One rule of the contract; a failure says which and what was seen."""
    outcome = run_check(check, subject)
    if outcome.status == "failed":
        pytest.fail(outcome.message, pytrace=False)
    if outcome.status == "excepted":
        pytest.xfail(outcome.message)
    if outcome.status == "not offered":
        pytest.skip(outcome.message)
