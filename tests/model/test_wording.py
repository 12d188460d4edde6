"""What a hospital is told names nothing that only the house of the training has."""

import re

import pytest

from promet.core.errors import DataError
from promet.messages import messages
from promet.model.wording import HERE, here

# Of the house that trained the model: its configuration, its table, its commands.
ELSEWHERE = re.compile(
    r"(?i)\bsettings?\b|imaging\.|promet (?:intake|run|retry|check|imaging|network)\b|cohort table|\bcolumn\b"
    r"|configuration|totalsegmentator"
)
# Only stages that no locked model runs say these.
NEVER = {"E_ORGANS_NO_PROSTATE"}
SAID = [
    message
    for message in messages()
    if message.room in ("imaging", "study", "core")
    and message.kind == "DataError"
    and message.code not in NEVER
]


def test_there_is_something_to_translate():
    of_the_house = {m.code for m in SAID if ELSEWHERE.search(f"{m.expected} {m.remedy}")}
    assert of_the_house == HERE.keys()


@pytest.mark.parametrize("message", SAID, ids=lambda m: m.code)
def test_no_message_of_the_image_stages_sends_elsewhere(message):
    told = here(DataError(message.code, message.found, message.expected, message.remedy))
    assert told.code == message.code and told.found == message.found
    assert not ELSEWHERE.search(f"{told.expected} {told.remedy}")
    assert (told.expected, told.remedy) != ("", "") or (message.expected, message.remedy) == ("", "")


def test_what_needs_no_other_words_stays():
    told = here(DataError("E_MASK_NAN", "found", "expected", "remedy"))
    assert told.sentence() == "found. Expected: expected. remedy."
