"""Which notes the page shows depends on no word of them."""

import html
import json
import re

import pytest

from promet.report import read
from promet.report.page import context, render
from promet.report.settings import Report
from promet.report.style import Drawn, Figures

SENTENCES = {"notes", "excluded", "warnings", "reason", "sentence", "censoring", "competing"}
PRODUCTS = ("metrics", "survival", "permutation", "bayes")
WHOLE = ("characteristics", "pooled")


def coded(value, tokens, key=""):
    """``value`` with every sentence of another room replaced by a token; the same sentence by the same one."""
    if isinstance(value, dict):
        return {k: coded(v, tokens, k) for k, v in value.items()}
    if isinstance(value, list):
        return [coded(v, tokens, key) for v in value]
    if isinstance(value, str) and value and key in SENTENCES:
        return tokens.setdefault(value, f"⟦{len(tokens)}⟧")
    return value


def shown(study, tmp_path):
    figures = Figures(tmp_path)
    figures.drawn["flow"] = Drawn("flow", "", "", "", [])
    return render(context(study, Report(patient_level=True), figures))


@pytest.mark.parametrize("name", ["full", "poor"])
def test_notes_are_shown_whatever_they_say(name, request, tmp_path):
    fake = request.getfixturevalue(name)
    mine, other = (read.study(fake.study, fake.cohort, fake.ledger, fake.config) for _ in range(2))
    tokens = {}
    for place, names in ((other.splits[0], PRODUCTS), (other, WHOLE)):
        for attribute in names:
            setattr(place, attribute, coded(json.loads(json.dumps(getattr(place, attribute))), tokens))
    words = {
        token: html.escape(sentence, quote=False).replace("'", "&#39;").replace('"', "&#34;")
        for sentence, token in tokens.items()
    }
    told = shown(other, tmp_path)
    assert len(set(re.findall(r"⟦\d+⟧", told))) > (10 if name == "full" else 3)
    assert re.sub(r"⟦\d+⟧", lambda token: words[token[0]], told) == shown(mine, tmp_path)
