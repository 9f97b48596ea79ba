"""Does the model do what every other test relies on?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconeval.contract import Subject, contract_data, run_check
from reconeval.datasets import make_split

if TYPE_CHECKING:
    from reconeval.session import Session
    from reconeval.spec import ModelSpec


@pytest.fixture(scope="session")
def subject(model: ModelSpec, session: Session) -> Subject:
    """The model with a few cells of the first dataset."""
    dataset = session.case(*session.places[0]).dataset
    return Subject(model, *contract_data(dataset, make_split(dataset, "iid")))


def test_contract(subject: Subject, check: str) -> None:
    """One rule of the contract; a failure says which and what was seen."""
    outcome = run_check(check, subject)
    if outcome.status == "failed":
        pytest.fail(outcome.message, pytrace=False)
    if outcome.status == "excepted":
        pytest.xfail(outcome.message)
    if outcome.status == "not offered":
        pytest.skip(outcome.message)
