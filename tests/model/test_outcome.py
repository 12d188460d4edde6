"""What a locked model is a model of: in the contract, without any patient's time; another time is refused."""

import pytest

from promet.core.errors import UsageError
from promet.model import contract, parts
from promet.study.outcome import PAPER, Outcome

OVER_TIME = Outcome.model_validate(
    {"learn": {"kind": "time_to_event", "edges": [12, 24, 36, 48], "competing": "died"}}
)
OTHER = Outcome.model_validate(
    {
        "learn": {"kind": "binary", "column": "psa_persistence"},
        "words": {"psa_persistence": "PSA persistence"},
    }
)


def test_the_papers_says_nothing_more() -> None:
    assert contract.learnt(PAPER) is None


def test_kind_columns_horizon_and_edges() -> None:
    told = contract.learnt(OVER_TIME)
    assert told == {
        "kind": "time_to_event",
        "columns": ["progression", "died", "months"],
        "called": "progression",
        "competing": "death",
        "horizon_months": 48.0,
        "edges_months": [12.0, 24.0, 36.0, 48.0],
        "loss": "hazard",
    }
    other = contract.learnt(OTHER)
    assert other == {"kind": "binary", "columns": ["psa_persistence"], "called": "PSA persistence"}
    for one in (told, other):
        parts.Learnt.model_validate(one)


@pytest.mark.parametrize(
    ("outcome", "months", "words"),
    [
        (OVER_TIME, 60, "the risk of progression within 48 months and by no other time"),
        (OTHER, 48, "the probability of PSA persistence, which is no risk within a time"),
        (PAPER, 48, "metastases on the scan, which is no risk within a time"),
    ],
)
def test_another_time_is_refused(outcome, months, words) -> None:
    told = contract.learnt(outcome)
    held = {"outcome": told} if told else {}
    with pytest.raises(UsageError, match=words) as error:
        contract.require_horizon(held, months)
    assert error.value.code == "E_MODEL_OUTCOME"
    contract.require_horizon(held, None)


def test_its_own_time_is_answered() -> None:
    contract.require_horizon({"outcome": contract.learnt(OVER_TIME)}, 48.0)
