"""Whatever evaluate and survive make in a test of this room has the form that their readers are told."""

import functools
import json

import pytest

from promet.core.files import as_json
from promet.evaluation import evaluate, survive
from promet.study.forms import shapes
from promet.study.forms.metrics import Metrics
from promet.study.forms.survival import Survival


@pytest.fixture(autouse=True)
def _forms(monkeypatch):
    def held(kind, module, part):
        make = module.study

        @functools.wraps(make)
        def made(*given):
            found = make(*given)
            value = part(found)
            assert shapes.checked(kind, as_json(value), "made.json") == json.loads(as_json(value))
            return found

        monkeypatch.setattr(module, "study", made)

    held(Metrics, evaluate, lambda found: found[0])
    held(Survival, survive, lambda found: found)
