"""docs/troubleshooting.md: no code is forgotten, and its wording is the one a person sees."""

import re
from pathlib import Path

import pytest

from promet.core.errors import UsageError
from promet.messages import GAP, PACKAGE, messages, page
from promet.study import table


def literals() -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    return {code for text in texts for code in re.findall(r'"(E_[A-Z0-9_]+)"', text)}


def test_every_code_of_the_source_is_on_the_page():
    assert len(literals()) > 100
    assert literals() - {message.code for message in messages()} == set()


def test_every_message_says_something():
    said = {m.code: (m.found + m.expected + m.remedy).replace(GAP, "").strip() for m in messages()}
    bare = [code for code, text in said.items() if len(text) < 20]
    assert bare == []


def test_the_wording_is_the_one_that_is_raised(tmp_path: Path):
    with pytest.raises(UsageError) as error:
        table.read(tmp_path / "none.tsv")
    rows = {m.code: m for m in messages()}
    wording = rows[error.value.code].found
    assert re.fullmatch(re.escape(wording).replace(GAP, ".*"), error.value.found)


def test_a_row_per_code():
    rows = re.findall(r"^\| `(E_[A-Z0-9_]+)` \|", page(), re.MULTILINE)
    assert len(rows) == len(messages())
